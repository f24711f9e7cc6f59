"""The device that tensors live on, chosen by its name."""

from __future__ import annotations

import torch

from firstsight.errors import InputError


def torch_device(name: str) -> torch.device:
    """Return the torch device with this name; `auto` is a GPU if torch finds one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"device must be auto, cpu or a device torch finds here; got {name!r}") from error
    return device

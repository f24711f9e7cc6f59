"""The methods by name, and fitted ones from files. Whatever subclasses `Method` in this folder is listed and tested."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from firstsight import checkpoint
from firstsight.data import ClassEmbeddings
from firstsight.devices import torch_device
from firstsight.errors import InputError, did_you_mean
from firstsight.methods.abilities import needs_pictures
from firstsight.methods.base import Method

RECOGNISER = "recogniser."  # how names of tensors begin that a recogniser adds to its method's file

METHODS: dict[str, type[Method]] = {}
for _module in pkgutil.iter_modules([str(Path(__file__).parent)]):
    if _module.name != "registry":
        for _kind in vars(importlib.import_module(f"firstsight.methods.{_module.name}")).values():
            if inspect.isclass(_kind) and issubclass(_kind, Method) and not inspect.isabstract(_kind):
                METHODS[_kind.name] = _kind


def named(name: str) -> type[Method]:
    """Return the method of this name."""
    if name not in METHODS:
        hint = did_you_mean(name, METHODS) or f"; methods are {', '.join(METHODS)}"
        raise InputError(f"unknown method {name!r}{hint}")
    return METHODS[name]


def all_names() -> tuple[str, ...]:
    """Name what `all` means: every method that takes any features with any class embeddings, and no more than that."""
    return tuple(name for name, kind in METHODS.items() if not (kind.one_space or needs_pictures(kind)))


def load_method(path: str | Path, device: str = "auto") -> Method:
    """Load a fitted method from a file that `save` wrote, to work on a device, whatever it was trained on.

    Raises:
        InputError: no such file, or not one that `save` wrote; nothing in the file is executed.
    """
    torch_device(device)
    return from_file(path, *checkpoint.read(path), device)


def from_file(path: str | Path, state: Mapping[str, Tensor], metadata: Mapping[str, Any], device: str) -> Method:
    """Restore the method in what `checkpoint.read` found in a file; what a recogniser adds to it is left out."""
    state = {name: tensor for name, tensor in state.items() if not name.startswith(RECOGNISER)}
    try:
        method = named(metadata["method"])(**{**metadata["settings"], "device": device})
        for name, tensor in state.items():
            if not tensor.numel() or tensor.is_complex() or not torch.isfinite(tensor).all():
                raise ValueError(f"{name} without numbers, or with some that are not finite")
        method.restore(state)
        method.trained_on_ = tuple(metadata["classes"])
        if not method.trained_on_ or not all(isinstance(name, str) for name in method.trained_on_):
            raise ValueError("classes that are not a list of names")
        image, vector = (np.zeros((1, len(mean))) for mean in (method.feature_mean_, method.class_mean_))
        method.scores(image, ClassEmbeddings(("blank",), vector))  # fails where what was learned does not fit together
    except (KeyError, TypeError, RuntimeError, AttributeError, ValueError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise InputError(f"{path} must hold a fitted method; got {reason}") from error
    return method

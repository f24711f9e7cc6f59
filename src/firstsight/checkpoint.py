"""Tensors and their metadata <-> one .safetensors file, written whole or not at all; no pickle.

Files come from anywhere, so reading trusts nothing: the header is JSON, the tensors are raw numbers, and whatever
else is found is refused with a sentence.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from firstsight.errors import InputError

KEY = "firstsight"  # our one entry of the file's metadata, a JSON document


def write(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> Path:
    """Write the file beside its place, then move it there, so that a kill leaves the old file or the new one."""
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    header = {KEY: json.dumps({"format": 1, **metadata})}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, unfinished, header)
        os.replace(unfinished, path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} must be a place to write to; got {error}") from error
    finally:
        with contextlib.suppress(OSError):  # where the folder is a file there is nothing to remove
            unfinished.unlink()
    return path


def read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the metadata of a file that `write` made."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"model file must exist; got {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get(KEY, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} must be a .safetensors file; got {error}") from error
    if not isinstance(metadata, dict) or metadata.get("format") != 1:
        raise InputError(f"{path} must be a file written by firstsight; got a .safetensors file without its metadata")
    return tensors, metadata

"""One .safetensors file with tensors and metadata, written whole or not at all; no pickle.

A file may come from anybody, so reading trusts nothing: the header is JSON, tensors are raw numbers, and everything
else is refused with a message.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from firstsight.errors import InputError
from firstsight.files import replacing

KEY = "firstsight"  # entry of the file's metadata that holds a JSON document


def write(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> Path:
    """Write tensors and metadata to a file, replacing it in one step, and return its path."""
    path = Path(path)
    header = {KEY: json.dumps({"format": 1, **metadata})}
    with replacing(path) as unfinished:
        try:
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
            save_file(tensors, unfinished, header)
        except SafetensorError as error:  # raised on a full disk
            raise OSError(str(error)) from error
    return path


def read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and the metadata of a file that `write` made; raise InputError for any other file."""
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

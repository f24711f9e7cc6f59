"""Tensors and their metadata <-> one .safetensors file, written whole or not at all; no pickle.

Files come from anywhere, so reading trusts nothing: the header is JSON, the tensors are raw numbers, and whatever
else is found is refused with a sentence.
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

KEY = "firstsight"  # our one entry of the file's metadata, a JSON document


def write(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> Path:
    """Write tensors and metadata to the file, replacing it in one step."""
    path = Path(path)
    header = {KEY: json.dumps({"format": 1, **metadata})}
    with replacing(path) as unfinished:
        try:
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
            save_file(tensors, unfinished, header)
        except SafetensorError as error:  # what it makes of a full disk
            raise OSError(str(error)) from error
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

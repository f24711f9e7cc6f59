"""A recogniser as one .safetensors file: its method's own, with classes and calibration beside what was learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from firstsight import checkpoint
from firstsight.data import ClassEmbeddings, Floats
from firstsight.devices import torch_device
from firstsight.errors import InputError
from firstsight.methods.registry import RECOGNISER, from_file

Made = TypeVar("Made")
VECTORS = RECOGNISER + "vectors"
NUMBERS = {"gamma": "gamma", "temperature": "temperature", "threshold": "least_score", "caught": "caught"}  # in files
SOURCE = ("backbone", "crops", "transform")  # what the features of another picture must have in common with ours


def write_recogniser(fields: Mapping[str, Any], path: str | Path) -> Path:
    """Write the fields of a recogniser."""
    state, metadata = fields["method"].as_file()
    classes, source = fields["classes"], fields["feature_source"] or {}
    extras = {
        "names": list(classes.names),
        "attributes": list(classes.attributes),
        "is_seen": fields["is_seen"].tolist(),
        **{key: fields[name] for name, key in NUMBERS.items()},
        **{key: source.get(key) for key in SOURCE},
        "text": None if fields["text_source"] is None else dict(fields["text_source"]),
    }
    vectors = torch.tensor(classes.vectors)
    return checkpoint.write(path, {**state, VECTORS: vectors}, {**metadata, "recogniser": extras})


def read_recogniser(make: Callable[..., Made], path: str | Path, device: str) -> Made:
    """Read the file with the class of the recogniser, to work on this device; nothing in the file is executed.

    Raises:
        InputError: no such file, or one with nonsense.
    """
    torch_device(device)
    state, metadata = checkpoint.read(path)
    method = from_file(path, state, metadata, device)
    if "recogniser" not in metadata or VECTORS not in state:
        raise InputError(
            f"{path} must be a recogniser; got a method without classes to choose from; "
            f"make one with `firstsight recogniser {path} --data PATH --out FILE`"
        )
    try:
        return make(method, **_fields(state[VECTORS].numpy(), metadata["recogniser"]))
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise InputError(f"{path} must hold a recogniser; got {reason}") from error


def _fields(vectors: Floats, extras: Any) -> dict[str, Any]:
    """Return the fields of a recogniser except its method; an invalid file raises an exception of any type."""
    from firstsight.semantics.text import checked_source

    for key, kind in (("names", str), ("attributes", str), ("is_seen", bool)):
        if not isinstance(extras[key], list) or not all(isinstance(entry, kind) for entry in extras[key]):
            raise ValueError(f"{key} that are not a list of {kind.__name__}")
    numbers: dict[str, float | None] = {}
    for name, key in NUMBERS.items():
        value = extras.get(key) if name == "threshold" else extras[key]  # ignored in older files: on probabilities
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number and (value is not None or key in ("gamma", "temperature")):
            raise ValueError(f"{key} {value!r}")
        numbers[name] = None if value is None else float(value)
    source = {key: extras[key] for key in SOURCE if extras[key] is not None}
    if not all(isinstance(text, str) for text in source.values()):
        raise ValueError("a source of features that is not text")
    return {
        "classes": ClassEmbeddings(tuple(extras["names"]), vectors, tuple(extras["attributes"])),
        "is_seen": np.array(extras["is_seen"], dtype=bool),
        "feature_source": source or None,
        "text_source": None if extras.get("text") is None else checked_source(extras["text"]),
        **numbers,
    }

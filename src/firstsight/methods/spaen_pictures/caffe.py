"""Learned weights out of a `.caffemodel`, the file in which Caffe kept a network, without Caffe.

Such a file is one protobuf message. Its definition here has only the fields that hold weights, with the numbers they
have in Caffe's own; a reader of protobuf steps over all others. Networks of before 2015 list their layers in another
field (`layers`, V1) than those since (`layer`), and shapes as four numbers; both are read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstsight.errors import InputError
from firstsight.features.weights import package

# message: field: (number, type, whether repeated); lists of numbers are packed
MESSAGES: dict[str, dict[str, tuple[int, str, bool]]] = {
    "Shape": {"dim": (1, "int64", True)},
    "Blob": {
        "num": (1, "int32", False),
        "channels": (2, "int32", False),
        "height": (3, "int32", False),
        "width": (4, "int32", False),
        "data": (5, "float", True),
        "shape": (7, "Shape", False),
        "double_data": (8, "double", True),
    },
    "LayerV1": {"name": (4, "bytes", False), "type": (5, "int32", False), "blobs": (6, "Blob", True)},
    "Layer": {"name": (1, "bytes", False), "type": (2, "bytes", False), "blobs": (7, "Blob", True)},
    "Net": {"layers": (2, "LayerV1", True), "layer": (100, "Layer", True)},
}
KINDS_V1 = {4: "Convolution", 14: "InnerProduct", 39: "Deconvolution"}  # of the V1 numbers, those that hold weights
MOST_BYTES = 2**31 - 1  # of a protobuf message
MOST_AXES = 32  # of Caffe's arrays


@dataclass(frozen=True)
class Layer:
    """What a layer, of a kind by Caffe's name, learned: weights, then biases where it has any, in float32."""

    kind: str
    blobs: list[NDArray[np.float32]]


def read_layers(path: str | Path) -> dict[str, Layer]:
    """Read the layers of a `.caffemodel` that learned something, by name.

    Raises:
        InputError: protobuf is not installed, or the file is missing, cut off or something else.
    """
    path = Path(path)
    package("google.protobuf", "caffe", f"Caffe model {path}")
    net = _parsed(path)
    found = {}
    for layer in (*net.layers, *net.layer):
        if layer.blobs:
            name, kind = _text(layer.name), layer.type
            kind = _text(kind) if isinstance(kind, bytes) else KINDS_V1.get(kind, f"type {kind}")
            if name in found:
                raise InputError(f"Caffe model {path} must have one layer of each name; got two named {name!r}")
            found[name] = Layer(kind, [_array(blob, f"{path}: layer {name!r}") for blob in layer.blobs])
    if not found:
        raise InputError(f"Caffe model {path} must have layers with weights; got none")
    return found


def _parsed(path: Path) -> Any:
    """Parse the whole message."""
    from google.protobuf.message import DecodeError

    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"Caffe model {path} must have at most {MOST_BYTES:,} bytes; got {size:,}")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"Caffe model must be a file that can be read; got {path}: {error.strerror}") from error
    try:
        return net_message().FromString(content)
    except DecodeError as error:
        got = f"{len(content):,} bytes that are cut off or something else"
        raise InputError(f"Caffe model {path} must be a whole .caffemodel file; got {got}") from error


@cache
def net_message() -> Any:
    """Make the class of the message `Net` from the table above."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field_of = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="caffemodel.proto", package="caffemodel", syntax="proto2")
    for message, fields in MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, (number, kind, is_repeated) in fields.items():
            field = described.field.add(name=name, number=number)
            field.label = field_of.LABEL_REPEATED if is_repeated else field_of.LABEL_OPTIONAL
            if kind in MESSAGES:
                field.type, field.type_name = field_of.TYPE_MESSAGE, f".caffemodel.{kind}"
            else:
                field.type = field_of.Type.Value(f"TYPE_{kind.upper()}")
                if is_repeated:
                    field.options.packed = True
    pool = descriptor_pool.DescriptorPool()  # one of its own, so that Caffe's definitions may be loaded beside it
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffemodel.Net"))


def _array(blob: Any, where: str) -> NDArray[np.float32]:
    """Return the numbers of a blob in its shape."""
    with np.errstate(over="ignore"):  # too large for half the digits: inf
        values = np.array(blob.double_data or blob.data, dtype=np.float32)
    legacy = (blob.num, blob.channels, blob.height, blob.width)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else legacy
    if len(shape) > MOST_AXES:
        raise InputError(f"{where} must have at most {MOST_AXES} axes; got {len(shape):,}")
    if min(shape, default=1) < 0 or math.prod(shape) != len(values):
        raise InputError(f"{where} must have as many numbers as its shape {shape} says; got {len(values):,}")
    return values.reshape(shape)


def _text(name: bytes) -> str:
    """Decode a name, whatever its bytes."""
    return name.decode("utf-8", errors="replace")

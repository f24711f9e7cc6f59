"""Caffe's files: what an encoder of its own wrote is read, and what is damaged is refused by name."""

import struct
import sys
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("google.protobuf", reason="needs the extra caffe")

from firstsight.errors import InputError
from firstsight.methods.spaen_pictures import caffe
from firstsight.methods.spaen_pictures.caffe import net_message, read_layers

WEIGHT = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2) - 7.5
BIAS = np.array([0.25, -1e-20], dtype=np.float32)


# Protobuf's bytes by hand, from its description: an oracle that shares nothing with the reader.


def varint(value: int) -> bytes:
    value %= 2**64
    out = b""
    while value > 127:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field * 8) + varint(value)


def piece(field: int, content: bytes) -> bytes:
    return varint(field * 8 + 2) + varint(len(content)) + content


def floats(array) -> bytes:
    return struct.pack(f"<{array.size}f", *array.ravel())


def blob(array) -> bytes:
    """As of 2015: shape 7, packed data 5, and the gradients 6, which are not read."""
    shape = piece(1, b"".join(varint(side) for side in array.shape))
    return piece(5, floats(array)) + piece(6, floats(0 * array)) + piece(7, shape)


def old_blob(array) -> bytes:
    """Before: four numbers, and every value on its own."""
    shape = (1,) * (4 - array.ndim) + array.shape
    values = b"".join(varint(5 * 8 + 5) + struct.pack("<f", value) for value in array.ravel())
    return b"".join(number(field, side) for field, side in enumerate(shape, start=1)) + values


def layer(name: bytes, kind: bytes, *blobs: bytes) -> bytes:
    learned = b"".join(piece(7, each) for each in blobs)
    return piece(100, piece(1, name) + piece(2, kind) + piece(3, b"bottom") + learned + number(10, 1))


def old_layer(name: bytes, kind: int, *blobs: bytes) -> bytes:
    learned = b"".join(piece(6, each) for each in blobs)
    return piece(2, piece(2, b"bottom") + piece(4, name) + number(5, kind) + learned)


NEW = (
    piece(1, b"a net")
    + number(5, 1)
    + layer(b"relu", b"ReLU")
    + layer(b"up", b"Deconvolution", blob(WEIGHT), blob(BIAS))
    + layer(b"fc", b"InnerProduct", blob(WEIGHT[0, 0]))
)
OLD = old_layer(b"data", 5) + old_layer(b"up", 39, old_blob(WEIGHT), old_blob(BIAS))


@pytest.fixture
def file(tmp_path):
    def write(content: bytes):
        path = tmp_path / "net.caffemodel"
        path.write_bytes(content)
        return path

    return write


def says(sentence, path):
    with pytest.raises(InputError) as caught:
        read_layers(path)
    assert str(caught.value) == sentence


def test_a_file_of_today(file):
    layers = read_layers(file(NEW))
    assert [(name, found.kind) for name, found in layers.items()] == [("up", "Deconvolution"), ("fc", "InnerProduct")]
    np.testing.assert_array_equal(layers["up"].blobs[0], WEIGHT)
    np.testing.assert_array_equal(layers["up"].blobs[1], BIAS)
    np.testing.assert_array_equal(layers["fc"].blobs[0], WEIGHT[0, 0])
    assert {array.dtype for found in layers.values() for array in found.blobs} == {np.dtype(np.float32)}


def test_a_file_of_before_2015(file):
    layers = read_layers(file(OLD))
    assert {name: found.kind for name, found in layers.items()} == {"up": "Deconvolution"}
    np.testing.assert_array_equal(layers["up"].blobs[0], WEIGHT)
    np.testing.assert_array_equal(layers["up"].blobs[1], BIAS.reshape(1, 1, 1, 2))


def test_what_protobuf_writes_is_read(file):
    net = net_message()()
    new, old = net.layer.add(name=b"up", type=b"Deconvolution"), net.layers.add(name=b"fc", type=14)
    new.blobs.add(data=WEIGHT.ravel()).shape.dim.extend(WEIGHT.shape)
    new.blobs.add(double_data=BIAS.astype(np.float64)).shape.dim.extend(BIAS.shape)
    old.blobs.add(data=WEIGHT.ravel(), num=1, channels=1, height=6, width=4)
    layers = read_layers(file(net.SerializeToString()))
    np.testing.assert_array_equal(layers["up"].blobs[0], WEIGHT)
    np.testing.assert_array_equal(layers["up"].blobs[1], BIAS)
    np.testing.assert_array_equal(layers["fc"].blobs[0], WEIGHT.reshape(1, 1, 6, 4))
    assert layers["fc"].kind == "InnerProduct"


def test_arrays_may_be_written_to(file):
    assert read_layers(file(NEW))["up"].blobs[0].flags.writeable


def test_names_may_be_any_bytes_and_kinds_any_number(file):
    (name, found), *_ = read_layers(file(old_layer(b"\xff", 77, old_blob(BIAS)))).items()
    assert (name, found.kind) == ("\N{REPLACEMENT CHARACTER}", "type 77")


def test_a_file_that_is_cut_off(file):
    for size in range(len(NEW)):
        try:
            found = read_layers(file(NEW[:size]))
        except InputError:
            continue
        assert set(found) == {"up"}  # cut between two layers, and whole as far as protobuf can tell
    path = file(NEW[:-1])
    says(
        f"Caffe model {path} must be a whole .caffemodel file; "
        f"got {len(NEW) - 1} bytes that are cut off or something else",
        path,
    )


def test_something_else(file, tmp_path):
    path = file(b"<!doctype html><title>404 Not Found</title>")
    says(f"Caffe model {path} must be a whole .caffemodel file; got 43 bytes that are cut off or something else", path)
    for content in (b"", layer(b"relu", b"ReLU")):
        says(f"Caffe model {path} must have layers with weights; got none", file(content))
    says(f"Caffe model must be a file that can be read; got {tmp_path}: Is a directory", tmp_path)
    missing = tmp_path / "missing.caffemodel"
    says(f"Caffe model must be a file that can be read; got {missing}: No such file or directory", missing)


@given(st.binary(max_size=200), st.integers(0, len(NEW)))
@settings(max_examples=200, deadline=None)
def test_no_bytes_raise_anything_else(tmp_path_factory, noise, at):
    path = tmp_path_factory.getbasetemp() / "noise.caffemodel"
    for content in (noise, NEW[:at] + noise + NEW[at + len(noise) :]):
        path.write_bytes(content)
        with suppress(InputError):
            read_layers(path)


def test_lengths_that_are_made_up_take_no_memory(file):
    path = file(varint(100 * 8 + 2) + varint(2**31 - 10) + b"x")
    says(f"Caffe model {path} must be a whole .caffemodel file; got 8 bytes that are cut off or something else", path)
    huge = piece(7, piece(1, varint(2**40) + varint(2**40))) + piece(5, floats(BIAS))
    path = file(layer(b"fc", b"InnerProduct", huge))
    says(
        f"{path}: layer 'fc' must have as many numbers as its shape (1099511627776, 1099511627776) says; got 2",
        path,
    )
    negative = piece(7, piece(1, varint(-1) + varint(-2))) + piece(5, floats(BIAS))
    path = file(layer(b"fc", b"InnerProduct", negative))
    says(f"{path}: layer 'fc' must have as many numbers as its shape (-1, -2) says; got 2", path)
    deep = piece(7, piece(1, varint(1) * 100)) + piece(5, floats(BIAS[:1]))
    path = file(layer(b"fc", b"InnerProduct", deep))
    says(f"{path}: layer 'fc' must have at most 32 axes; got 100", path)


def test_files_past_what_protobuf_reads(tmp_path):
    path = tmp_path / "net.caffemodel"
    with path.open("wb") as opened:
        opened.truncate(2**31)  # a hole, which takes no room
    says(f"Caffe model {path} must have at most 2,147,483,647 bytes; got 2,147,483,648", path)


def test_numbers_that_are_too_large_become_inf(file):
    net = net_message()()
    net.layer.add(name=b"fc", type=b"InnerProduct").blobs.add(double_data=[1e300]).shape.dim.append(1)
    assert np.isinf(read_layers(file(net.SerializeToString()))["fc"].blobs[0]).all()


def test_two_layers_of_one_name(file):
    path = file(NEW + layer(b"up", b"Deconvolution", blob(BIAS)))
    says(f"Caffe model {path} must have one layer of each name; got two named 'up'", path)


def test_protobuf_is_not_installed(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    path = file(NEW)
    says(
        f"Caffe model {path} must have the package google.protobuf; got an installation without it; "
        "pip install 'firstsight[caffe]'",
        path,
    )


def test_definitions_do_not_meet_those_of_others():
    from google.protobuf import descriptor_pool

    net_message()
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("caffemodel.Net")
    assert caffe.net_message() is net_message()

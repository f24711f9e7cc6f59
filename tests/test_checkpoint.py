"""Files come from anywhere: reading gives a method or a sentence, and never runs what it reads."""

import json
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from firstsight import checkpoint
from firstsight.errors import InputError
from firstsight.methods import ESZSL, METHODS, SPAEN, Method, load_method
from tests.support.tiny import tiny_dataset

DATA = tiny_dataset()
SMALL = {"epochs": 0.1, "autoencoder_epochs": 0.1, "batch": 4, "hidden": 3, "device": "cpu"}
FITTED = {
    "eszsl": ESZSL(device="cpu"),
    "spaen": SPAEN(alpha=1.0, beta=0.1, critic_steps=1, **SMALL),
    "cls-only": SPAEN(alpha=0.0, beta=0.0, **SMALL),
}


@pytest.fixture(scope="module", params=FITTED)
def saved(request, tmp_path_factory) -> Path:
    """A file of each kind."""
    method = FITTED[request.param].unfitted().fit(DATA.training_set())
    return method.save(tmp_path_factory.mktemp("saved") / f"{request.param}.safetensors")


def refused(path: Path) -> str:
    """The sentence with which a file is refused."""
    with pytest.raises(InputError) as caught:
        load_method(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path} must ")
    assert "\n" not in sentence
    return sentence


def header_of(path: Path) -> tuple[dict, bytes]:
    """The header and the raw tensors of a .safetensors file."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def with_header(path: Path, header: dict, raw: bytes) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw)
    return path


def changed(saved: Path, path: Path, tensors=None, **metadata) -> Path:
    """The saved file with other metadata, or with what `tensors` makes of its tensors; None leaves an entry out."""
    header, _ = header_of(saved)
    document = json.loads(header["__metadata__"][checkpoint.KEY]) | metadata
    document = {key: value for key, value in document.items() if value is not None}
    content = load_file(saved)
    save_file(tensors(content) if tensors else content, path, {checkpoint.KEY: json.dumps(document)})
    return path


def test_round_trip_of_any_tensors(tmp_path):
    tensors = {
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 4),
        "bytes": torch.get_rng_state(),
        "strided": torch.arange(6.0).reshape(2, 3).T,
        "double": torch.rand(3, dtype=torch.float64, requires_grad=True),
    }
    metadata = {"step": 3, "best": float("inf"), "nested": {"ü": [1, None, "é"]}}
    path = checkpoint.write(tmp_path / "new" / "folder" / "file.safetensors", tensors, metadata)
    read, described = checkpoint.read(path)
    assert described == {"format": 1, **metadata}
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(read[name], tensor)
        assert read[name].dtype == tensor.dtype


def test_paths_may_be_text(tmp_path):
    path = checkpoint.write(str(tmp_path / "file"), {}, {})
    assert checkpoint.read(str(path)) == ({}, {"format": 1})


@pytest.mark.parametrize("what", ["missing", "folder"])
def test_no_such_file(what, tmp_path):
    path = tmp_path if what == "folder" else tmp_path / "missing.safetensors"
    with pytest.raises(InputError) as caught:
        load_method(path)
    assert str(caught.value) == f"model file must exist; got {path}"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        b"\0" * 100,
        np.random.default_rng(0).bytes(5000),
        b"\xff" * 8 + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 10**6) + b'{"a": 1}',
        struct.pack("<Q", 9) + b'{"a": "b"}',
        struct.pack("<Q", 4) + b"\xff\xfe\xfd\xfc",
    ],
)
def test_what_is_no_safetensors_file(content, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert f"{path} must be a .safetensors file; got " in refused(path)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999])
def test_truncated(share, saved, tmp_path):
    content = saved.read_bytes()
    path = tmp_path / "model.safetensors"
    path.write_bytes(content[: int(len(content) * share)])
    assert f"{path} must be a .safetensors file; got " in refused(path)


def test_trailing_bytes(saved, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(saved.read_bytes() + b"more")
    refused(path)


class Bomb:
    """Unpickling it would leave a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("dump", ["pickle", "torch"])
def test_a_pickle_is_not_executed(dump, tmp_path):
    path, trace = tmp_path / "model.safetensors", tmp_path / "executed"
    if dump == "pickle":
        path.write_bytes(pickle.dumps(Bomb(trace)))
    else:
        torch.save(Bomb(trace), path)
    refused(path)
    assert not trace.exists()


def test_a_stranger_s_safetensors_file(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    assert refused(path) == f"{path} must be a file written by firstsight; got a .safetensors file without its metadata"
    save_file({"weight": torch.zeros(2)}, path, {"format": "pt"})
    refused(path)


@pytest.mark.parametrize(
    "document",
    ["null", "[]", "3", '"text"', "{}", '{"format": 2}', '{"format": "1"}', "not json", "", "[" * 100_000, "1" * 5000],
)
def test_metadata_that_is_not_ours(document, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.zeros(2)}, path, {checkpoint.KEY: document})
    refused(path)


def test_deeply_nested_settings(saved, tmp_path):
    header, raw = header_of(saved)
    nested = '{"format": 1, "method": "eszsl", "settings": ' + "[" * 50_000 + "]" * 50_000 + "}"
    header["__metadata__"] = {checkpoint.KEY: nested}
    refused(with_header(tmp_path / "model.safetensors", header, raw))


@pytest.mark.parametrize("method", ["eszzl", "", 3, 1.5, [], {}, True, "Method", "__class__"])
def test_unknown_methods(method, saved, tmp_path):
    path = changed(saved, tmp_path / "model.safetensors", method=method)
    assert refused(path).startswith(f"{path} must hold a fitted method; got ")


def test_an_unknown_method_is_named(saved, tmp_path):
    path = changed(saved, tmp_path / "model.safetensors", method="eszzl")
    assert refused(path) == f"{path} must hold a fitted method; got unknown method 'eszzl'; did you mean 'eszsl'?"


@pytest.mark.parametrize("key", ["method", "settings", "classes"])
def test_missing_entries(key, saved, tmp_path):
    refused(changed(saved, tmp_path / "model.safetensors", **{key: None}))


@pytest.mark.parametrize("classes", [3, True, "", [1, 2], [["owl"]], []])
def test_classes_of_the_wrong_kind(classes, saved, tmp_path):
    refused(changed(saved, tmp_path / "model.safetensors", classes=classes))


@pytest.mark.parametrize(
    "settings",
    [
        [],
        3,
        "text",
        {"nonsense": 1},
        {"seed": "0"},
        {"seed": -1},
        {"seed": 10**400},
        {"seed": float("nan")},
        {"seed": None},
        {"scaling": "other"},
        {"scaling": ["l2"]},
        {"scaling": {}},
        {"name": "x"},
        {"__class__": "x"},
    ],
)
def test_settings_of_the_wrong_kind(settings, saved, tmp_path):
    path = changed(saved, tmp_path / "model.safetensors", settings=settings)
    assert refused(path).startswith(f"{path} must hold a fitted method; got ")


def test_settings_that_do_not_fit_the_weights(tmp_path):
    saved = FITTED["spaen"].unfitted().fit(DATA.training_set()).save(tmp_path / "saved.safetensors")
    settings = load_method(saved).settings()
    for changes in (
        {"hidden": 4},
        {"hidden": 10**12},  # a network of that size would need all memory there is
        {"beta": 0.0},
        {"alpha": 0.0, "beta": 0.0},
    ):
        refused(changed(saved, tmp_path / "model.safetensors", settings=settings | changes))


def test_every_tensor_is_needed(saved, tmp_path):
    for name in load_file(saved):
        without = changed(
            saved,
            tmp_path / "model.safetensors",
            tensors=lambda content, name=name: {key: value for key, value in content.items() if key != name},
        )
        refused(without)


@pytest.mark.parametrize(
    "make",
    [
        lambda tensor: tensor.new_zeros(*tensor.shape, 2),
        lambda tensor: tensor.new_zeros(tensor.numel() + 1),
        lambda tensor: tensor.new_zeros(()),
        lambda tensor: tensor.new_zeros(0),
        lambda tensor: tensor.new_zeros(0, 3),
        lambda tensor: tensor.to(torch.complex64),
        lambda tensor: torch.full_like(tensor, float("nan"), dtype=torch.float32),
        lambda tensor: torch.full_like(tensor, float("inf"), dtype=torch.float32),
    ],
)
def test_every_tensor_must_fit(make, saved, tmp_path):
    for name in load_file(saved):
        path = changed(
            saved,
            tmp_path / "model.safetensors",
            tensors=lambda content, name=name: content | {name: make(content[name])},
        )
        refused(path)


@pytest.mark.parametrize("name", ["scores", "fit", "seed", "scaling", "__class__", "__dict__", "_scores", "name"])
def test_tensors_of_other_names(name, saved, tmp_path):
    refused(changed(saved, tmp_path / "model.safetensors", tensors=lambda content: content | {name: torch.zeros(2)}))


def test_huge_empty_tensors_claim_no_memory(saved, tmp_path):
    header, raw = header_of(saved)
    for name in [name for name in header if name != "__metadata__"]:
        start = header[name]["data_offsets"][0]
        huge = {"dtype": "F32", "shape": [10**12, 0], "data_offsets": [start, start]}
        refused(with_header(tmp_path / "model.safetensors", {**header, name: huge}, raw))


def loads_or_is_refused(path: Path) -> None:
    try:
        method = load_method(path)
        assert isinstance(method, Method)
        assert (len(method.feature_mean_), len(method.class_mean_)) == (7, 4)
        assert np.isfinite(method.scores(DATA.features, DATA.classes)).all()
    except InputError:
        pass


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bytes(data, saved, tmp_path):
    content = bytearray(saved.read_bytes())
    (length,) = struct.unpack("<Q", content[:8])
    where = st.integers(0, 7 + length) | st.integers(0, len(content) - 1)  # the header is where the meaning is
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(where)] = data.draw(st.integers(0, 255) | st.sampled_from(b'0123456789"{}[],:FISU'))
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    loads_or_is_refused(path)


@pytest.mark.parametrize(
    "dtype", ["F64", "F16", "BF16", "I64", "I32", "U8", "BOOL", "F8_E4M3", "F4", "C64", "F8_E8M0", "X"]
)
def test_every_dtype_of_the_format(dtype, saved, tmp_path):
    header, raw = header_of(saved)
    for name in [name for name in header if name != "__metadata__"]:
        loads_or_is_refused(
            with_header(tmp_path / "model.safetensors", {**header, name: {**header[name], "dtype": dtype}}, raw)
        )


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = checkpoint.write(tmp_path / "file.safetensors", {"x": torch.zeros(3)}, {"version": "old"})

    def half(tensors, target, header):
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(checkpoint, "save_file", half)
    with pytest.raises(InputError, match=r"safetensors must be a place to write to; got .*No space left"):
        checkpoint.write(path, {"x": torch.ones(3)}, {"version": "new"})
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.safetensors"]
    assert checkpoint.read(path)[1]["version"] == "old"


def test_a_write_that_is_interrupted_leaves_the_old_file(tmp_path, monkeypatch):
    path = checkpoint.write(tmp_path / "file.safetensors", {}, {"version": "old"})

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.write(path, {}, {"version": "new"})
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.safetensors"]
    assert checkpoint.read(path)[1]["version"] == "old"


@pytest.mark.parametrize("tail", ["model.safetensors", "folder/model.safetensors"])
def test_a_place_that_cannot_be_written_to(tail, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    path = tmp_path / "file" / tail
    with pytest.raises(InputError) as caught:
        ESZSL().fit(DATA.training_set()).save(path)
    assert str(caught.value).startswith(f"{path} must be a place to write to; got ")


def test_a_folder_in_the_place_of_the_file(tmp_path):
    with pytest.raises(InputError, match="must be a place to write to; got "):
        checkpoint.write(tmp_path, {}, {})
    assert not list(tmp_path.parent.glob(f".{tmp_path.name}*"))


def test_the_file_says_what_it_is(saved):
    header, _ = header_of(saved)
    document = json.loads(header["__metadata__"][checkpoint.KEY])
    assert document["format"] == 1
    assert document["method"] in METHODS
    assert document["classes"] == list(DATA.training_set().classes.names)

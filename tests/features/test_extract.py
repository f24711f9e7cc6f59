"""Features of a folder: one row per picture, nothing computed twice, nothing lost when it is killed."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import nn

from firstsight import cli
from firstsight.errors import InputError
from firstsight.features import extract as extraction
from firstsight.features.backbone import Backbone, Preparation
from firstsight.features.extract import extract, pictures_of
from firstsight.features.feature_file import FeatureFile

SMALL = Preparation(resize=12, crop=10, interpolation="bilinear", mean=(0.5,) * 3, std=(0.25,) * 3)


class Counting(nn.Module):
    """Mean colours of the rows of a picture; counts what it is given."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, x):
        self.seen += len(x)
        return x.mean(dim=3).flatten(1)


def backbone(name="counting", preparation=SMALL, **options) -> Backbone:
    made = Backbone(name, Counting(), preparation, torch.device("cpu"), **{"batch": 4, **options})
    made.network.seen = 0
    return made


def paint(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 256, (14 + seed % 5, 17, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    """Eleven pictures of three classes, and files that are not pictures."""
    for seed in range(11):
        paint(
            tmp_path / "birds" / "images" / f"class {'cab'[seed % 3]}" / f"{seed}.{['png', 'JPG', 'webp'][seed % 3]}",
            seed,
        )
    (tmp_path / "birds" / "images" / "class a" / "notes.txt").write_text("no picture")
    (tmp_path / "birds" / "images" / "class a" / "._1.JPG").write_text("what a Mac leaves behind")
    return tmp_path / "birds"


def names_of(folder):
    return [file.path for file in pictures_of(folder)]


def contents(path):
    with safe_open(path, framework="numpy") as file:
        return file.get_tensor("features"), file.metadata()


def says(sentence, function, *arguments, **options):
    with pytest.raises(InputError) as caught:
        function(*arguments, **options)
    assert str(caught.value) == sentence


def test_the_file_holds_a_row_for_every_picture(folder, tmp_path):
    done = extract(folder, backbone(), tmp_path / "new" / "f.safetensors", crops=10)
    rows, metadata = contents(tmp_path / "new" / "f.safetensors")
    files = json.loads(metadata["files"])
    assert files == done.files == names_of(folder) == sorted(files)
    assert files[0] == "images/class a/1.JPG"
    assert len(files) == 11
    assert done.computed == 11
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, backbone().features([folder / file for file in files], crops=10))
    assert json.loads(metadata["sha256"]) == [
        hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in files
    ]
    assert {key: metadata[key] for key in ("backbone", "crops", "transform", "precision")} == {
        "backbone": "counting",
        "crops": "10",
        "transform": str(SMALL),
        "precision": "float32",
    }
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["f.safetensors"]


def test_a_second_run_computes_nothing(folder, tmp_path):
    extract(folder, backbone(), tmp_path / "f.safetensors")
    before = (tmp_path / "f.safetensors").read_bytes()
    network = backbone()
    assert extract(folder, network, tmp_path / "f.safetensors").computed == network.network.seen == 0
    assert (tmp_path / "f.safetensors").read_bytes() == before


def test_only_what_changed_is_computed(folder, tmp_path):
    out = tmp_path / "f.safetensors"
    extract(folder, backbone(), out)
    files = names_of(folder)
    paint(folder / "images" / "class d" / "new.png", 40)
    (folder / files[2]).rename(folder / "images" / "class d" / ("moved" + Path(files[2]).suffix))
    (folder / files[3]).unlink()
    shutil.copy(folder / files[4], folder / "images" / "class d" / ("copy" + Path(files[4]).suffix))
    paint((folder / files[5]).with_suffix(".png"), 41)
    (folder / files[5]).unlink(missing_ok=Path(files[5]).suffix != ".png")
    network = backbone()
    done = extract(folder, network, out)
    assert done.computed == network.network.seen == 2
    rows, metadata = contents(out)
    files = json.loads(metadata["files"])
    np.testing.assert_array_equal(rows, backbone().features([folder / file for file in files]))


def test_equal_pictures_are_computed_once(folder, tmp_path):
    for copy in range(9):
        paint(folder / "images" / "class d" / f"{copy}.png", 50)
    network = backbone(batch=3)
    done = extract(folder, network, tmp_path / "f")
    assert (len(done.files), done.computed, network.network.seen) == (20, 12, 12)


@pytest.mark.parametrize(
    "other",
    [
        {"name": "other"},
        {"preparation": Preparation(12, 10, "bicubic", (0.5,) * 3, (0.25,) * 3)},
        {"precision": "bf16"},
        {"crops": 10},
    ],
)
def test_features_made_in_another_way_are_not_used(folder, tmp_path, other):
    crops = other.pop("crops", 1)
    extract(folder, backbone(), tmp_path / "f")
    assert extract(folder, backbone(**other), tmp_path / "f", crops).computed == 11
    np.testing.assert_array_equal(
        contents(tmp_path / "f")[0],
        backbone(**other).features([folder / file for file in names_of(folder)], crops),
    )


class Stop(Exception):
    pass


def stopped(folder, out, after, network=None):
    def progress(done, total, _):
        if done >= after:
            raise Stop

    with pytest.raises(Stop):
        extract(folder, network or backbone(), out, progress=progress)


def test_what_was_done_is_kept(folder, tmp_path):
    out = tmp_path / "f.safetensors"
    stopped(folder, out, after=8)
    assert not out.exists()
    network = backbone()
    done = extract(folder, network, out)
    assert (done.computed, network.network.seen) == (3, 3)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["f.safetensors"]
    extract(folder, backbone(), tmp_path / "in one go")
    assert out.read_bytes() == (tmp_path / "in one go").read_bytes()


@pytest.mark.parametrize("cut", [1, 31, 33, 100])
def test_a_record_that_breaks_off_is_computed_again(folder, tmp_path, cut):
    out, partial = tmp_path / "f", tmp_path / "f.partial"
    stopped(folder, out, after=8)
    with partial.open("r+b") as file:
        file.truncate(partial.stat().st_size - cut)
    assert extract(folder, backbone(), out).computed == 4
    extract(folder, backbone(), tmp_path / "in one go")
    assert out.read_bytes() == (tmp_path / "in one go").read_bytes()


def test_rows_kept_of_another_backbone_are_dropped(folder, tmp_path):
    stopped(folder, tmp_path / "f", after=8)
    assert extract(folder, backbone("other"), tmp_path / "f").computed == 11


def test_kill_and_continue(folder, tmp_path):
    for seed in range(100, 400):
        paint(folder / "images" / "many" / f"{seed}.png", seed)
    out, partial = tmp_path / "f.safetensors", tmp_path / "f.safetensors.partial"
    words = [str(folder), "--backbone", "random:resnet18", "--batch", "2", "--device", "cpu", "--out", str(out)]
    code = "import torch, sys; torch.set_num_threads(1); from firstsight import cli; cli.main(sys.argv[1:])"
    work = subprocess.Popen([sys.executable, "-c", code, "features", *words], stderr=subprocess.PIPE, text=True)
    record = 32 + 4 * 512
    try:
        end = time.monotonic() + 300
        while not partial.exists() or partial.stat().st_size < 12 * record:
            assert time.monotonic() < end, "nothing came"
            assert work.poll() is None, work.stderr.read()
            time.sleep(0.02)
        os.kill(work.pid, signal.SIGKILL)
    finally:
        work.kill()
        work.wait()
        work.stderr.close()
    assert not out.exists()
    for extra in range(100, 390):  # so that the rest takes a moment only
        (folder / "images" / "many" / f"{extra}.png").unlink()
    kept = (partial.stat().st_size // record) - 1
    cli.main(["features", *words])
    assert len(contents(out)[0]) == 21
    assert kept >= 11
    assert not partial.exists()


def test_pictures_that_cannot_be_read(folder, tmp_path):
    (folder / "images" / "class b" / "bad.jpg").write_bytes(b"nothing")
    (folder / "images" / "class c" / "cut.png").write_bytes((folder / names_of(folder)[8]).read_bytes()[:60])
    sentence = "images/class b/bad.jpg must be a picture (JPEG, PNG, WebP, BMP, TIFF or GIF); got something else"
    says(sentence, extract, folder, backbone(), tmp_path / "f")
    done = extract(folder, backbone(), tmp_path / "f", skip_bad=True)
    assert list(done.skipped) == ["images/class b/bad.jpg", "images/class c/cut.png"]
    assert done.skipped["images/class b/bad.jpg"] == sentence
    rows, metadata = contents(tmp_path / "f")
    assert len(rows) == len(done.files) == 11
    assert json.loads(metadata["files"]) == done.files
    assert not set(done.skipped) & set(done.files)


def test_nothing_but_bad_pictures(tmp_path):
    (tmp_path / "images" / "a").mkdir(parents=True)
    (tmp_path / "images" / "a" / "1.jpg").touch()
    sentence = f"pictures of {tmp_path} must be readable; got none of 1 that is"
    says(sentence, extract, tmp_path, backbone(), tmp_path / "f", skip_bad=True)
    assert not (tmp_path / "f.partial").exists()


def test_no_pictures(tmp_path):
    sentence = f"{tmp_path} must hold a folder images with a folder of pictures per class; got none"
    says(sentence, pictures_of, tmp_path)
    (tmp_path / "images" / "a").mkdir(parents=True)
    says(f"{tmp_path / 'images'} must hold pictures in a folder per class; got none", pictures_of, tmp_path)


def test_a_file_in_the_way_is_not_overwritten(folder, tmp_path):
    for content in (b"a letter to a friend", b"", b"\xff" * 40):
        (tmp_path / "f").write_bytes(content)
        sentence = f"{tmp_path}/f must be a file of features or not be there; got something else; name another file"
        says(sentence, extract, folder, backbone(), tmp_path / "f")
        assert (tmp_path / "f").read_bytes() == content


def test_features_that_are_not_finite(folder, tmp_path):
    network = backbone()
    network._std *= 0
    network._mean *= 0
    sentence = "features must be finite; 4 of 4 rows contain NaN or inf, first of images/class a/1.JPG"
    says(sentence, extract, folder, network, tmp_path / "f")


def test_progress_counts_pictures(folder, tmp_path):
    told = []
    extract(folder, backbone(), tmp_path / "f", progress=lambda *report: told.append(report))
    assert told == [(4, 11, {}), (8, 11, {}), (11, 11, {})]


def test_memory_does_not_grow_with_the_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "ROWS", 16)
    paint(tmp_path / "one.png", 0)

    class Wide(nn.Module):
        def forward(self, x):
            return x.flatten(1).repeat(1, 84)  # 100 kB a row

    def peak(n):
        folder = tmp_path / str(n)
        (folder / "images" / "a").mkdir(parents=True)
        for number in range(n):  # each another file
            content = (tmp_path / "one.png").read_bytes() + number.to_bytes(2)
            (folder / "images" / "a" / f"{number}.png").write_bytes(content)
        made = Backbone("wide", Wide(), SMALL, torch.device("cpu"), batch=8)
        tracemalloc.start()
        try:
            assert extract(folder, made, folder / "f").computed == n
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few = peak(50)
    assert peak(300) - few < 2_000_000  # bytes; the rows have 25 MB more


# on the command line


@pytest.fixture
def run(capfd):
    def run(*words):
        capfd.readouterr()
        code = 0
        try:
            cli.main([str(word) for word in words])
        except SystemExit as stop:
            code = stop.code or 0
        return code, *capfd.readouterr()

    return run


def test_the_command(folder, run):
    words = ["features", folder, "--backbone", "random:resnet18", "--device", "cpu"]
    out = folder / "features.safetensors"
    name = "512 features each by random:torchvision:resnet18"
    assert run(*words) == (0, f"11 pictures, {name}, are in {out}\n", "")
    assert run(*words) == (0, f"11 pictures, 11 of them known before, {name}, are in {out}\n", "")
    (folder / "images" / "class a" / "bad.png").touch()
    sentence = "images/class a/bad.png must be a picture (JPEG, PNG, WebP, BMP, TIFF or GIF); got an empty file"
    assert run(*words) == (2, "", f"firstsight: {sentence}\n")
    code, text, errors = run(*words, "--skip-bad", "--json", "--batch", "5")
    assert (code, errors) == (0, f"skipped: {sentence}\n")
    assert json.loads(text) == {
        "out": str(out),
        "pictures": 11,
        "computed": 0,
        "width": 512,
        "backbone": "random:torchvision:resnet18",
        "batch": 5,
        "skipped": {"images/class a/bad.png": sentence},
    }


def test_the_command_refuses_a_folder_before_it_loads_weights(tmp_path, run):
    sentence = f"firstsight: {tmp_path} must hold a folder images with a folder of pictures per class; got none\n"
    assert run("features", tmp_path) == (2, "", sentence)


def test_the_command_says_which_batch_fitted(folder, run, monkeypatch):
    forward = Backbone._forward

    def hungry(self, crops):
        if len(crops) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, crops)

    monkeypatch.setattr(Backbone, "_forward", hungry)
    words = ["features", folder, "--backbone", "random:resnet18", "--device", "cpu", "--batch", "8"]
    assert run(*words)[2] == "memory was too small for 8 crops at once; 2 were taken\n"


def test_the_command_says_where_it_goes_on(folder, run, monkeypatch):
    forward = Backbone._forward
    passes = []

    def interrupted(self, crops):
        passes.append(len(crops))
        if len(passes) == 4:
            raise KeyboardInterrupt
        return forward(self, crops)

    monkeypatch.setattr(Backbone, "_forward", interrupted)
    words = ["features", folder, "--backbone", "random:resnet18", "--device", "cpu", "--batch", "3"]
    partial = folder / "features.safetensors.partial"
    code, _, errors = run(*words)
    assert code == 130
    assert errors == f"stopped; kept in {partial}; the same command continues from there\nfirstsight: stopped\n"
    code, text, errors = run(*words)
    assert (code, errors) == (0, f"continuing from {partial}\n")
    assert "11 pictures, 6 of them known before" in text


def test_crops_are_kept(folder, tmp_path):
    out = tmp_path / "f.safetensors"
    assert extract(folder, backbone(), out, "kept").computed == 11
    file = FeatureFile.open(out).checked()
    files = [folder / name for name in names_of(folder)]
    expected = backbone().features(files, "kept").reshape(11, 11, -1)
    np.testing.assert_array_equal(file.features, expected[:, 0])
    np.testing.assert_array_equal(file.crops, expected[:, 1:])
    np.testing.assert_array_equal(file.features, backbone().features(files, "whole"))
    assert isinstance(file.crops.base, np.memmap)  # which nothing has copied
    assert (file.source["crops"], file.source["kept"]) == ("whole", "10")
    network = backbone()
    (folder / names_of(folder)[3]).unlink()
    paint(folder / "images" / "class d" / "new.png", 40)
    assert extract(folder, network, out, "kept").computed == 1  # the others are known
    file = FeatureFile.open(out).checked()
    files = [folder / name for name in names_of(folder)]
    expected = backbone().features(files, "kept").reshape(11, 11, -1)
    np.testing.assert_array_equal(file.features, expected[:, 0])
    np.testing.assert_array_equal(file.crops, expected[:, 1:])
    assert extract(folder, backbone(), out).computed == 11  # made in another way
    assert FeatureFile.open(out).checked().crops is None


def test_crops_that_are_kept_survive_a_stop(folder, tmp_path):
    out, stop = tmp_path / "f.safetensors", iter([True])

    def progress(done, *_):
        if done >= 4 and next(stop, False):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(folder, backbone(batch=12), out, "kept", progress=progress)
    network = backbone(batch=12)
    assert 0 < extract(folder, network, out, "kept", progress=progress).computed < 11
    files = [folder / name for name in names_of(folder)]
    expected = backbone().features(files, "kept").reshape(11, 11, -1)
    np.testing.assert_allclose(FeatureFile.open(out).crops, expected[:, 1:], atol=1e-5)


def test_the_command_keeps_crops(folder, run):
    code, out, err = run("features", folder, "--backbone", "random:resnet18", "--crops", 10, "--keep")
    assert (code, err) == (0, "")
    assert "512 features each, and of ten crops of each," in out
    assert FeatureFile.open(folder / "features.safetensors").checked().crops.shape == (11, 10, 512)
    code, _, err = run("features", folder, "--backbone", "random:resnet18", "--keep")
    assert (code, err) == (2, "firstsight: crops must be 10 where they are kept; got 1\n")

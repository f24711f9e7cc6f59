"""SP-AEN on pictures from outside: fit, evaluate, bench, reconstruct, imagine, and every bad picture by its name."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import firstsight
from firstsight.cli import main
from firstsight.cli.options import say_skipped
from firstsight.data import ClassEmbeddings
from firstsight.datasets import load
from firstsight.features import of_dataset as frozen
from firstsight.methods import ESZSL, METHODS, load_method
from firstsight.pictures.cache import with_pictures
from firstsight.pictures.decode import open_picture, squared
from firstsight.tuning.settings_file import read_settings
from tests.support.paintings import TINY, painted
from tests.support.tiny import tiny_dataset, write_gbu


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Nothing goes to the user's own cache."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("FIRSTSIGHT_CACHE")
    os.environ["FIRSTSIGHT_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["FIRSTSIGHT_CACHE"]
    else:
        os.environ["FIRSTSIGHT_CACHE"] = before


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of four colours and a fifth class without any; tests leave it as it is."""
    return painted(tmp_path_factory.mktemp("data") / "colours")


@pytest.fixture(scope="module")
def model(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    main(["fit", "spaen-pictures", "--data", str(folder), *TINY, "--out", str(path)])
    return path


@pytest.fixture(scope="module")
def known(folder, model, tmp_path_factory):
    """The recogniser of it."""
    path = tmp_path_factory.mktemp("model") / "r.safetensors"
    main(["recogniser", str(model), "--data", str(folder), "--no-calibrate", "--out", str(path)])
    return path


def fails(run, sentence, *words):
    assert run(*words) == (2, "", f"firstsight: {sentence}\n")


def fit(run, data, out, *more):
    return run("fit", "spaen-pictures", "--data", data, *TINY, "--out", out, *more)


# training and testing


def test_fit_is_the_fit_of_the_library(run, folder, model):
    data, _ = with_pictures(load(folder), 32)
    method = load_method(model).unfitted()
    assert (method.side, method.width, method.device) == (32, 1 / 64, "auto")
    again = method.fit(data.training_set())
    saved = load_method(model)
    for name, value in again.state().items():
        assert torch.equal(value, saved.state()[name]), name


def test_evaluate_calibrates_on_pictures(run, folder, model):
    code, out, err = run("evaluate", model, "--data", folder, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["gamma"] is not None


def test_evaluate_alone_needs_no_pictures(run, folder, model, monkeypatch):
    monkeypatch.setattr("firstsight.pictures.cache.with_pictures", None)
    assert run("evaluate", model, "--data", folder, "--no-calibrate")[0] == 0


def test_a_calibrated_recogniser(run, folder, model, tmp_path):
    code, out, err = run("recogniser", model, "--data", folder, "--out", tmp_path / "r")
    assert (code, err) == (0, "")
    assert out.startswith("spaen-pictures that knows 3 seen and 2 unseen classes is at ")


def test_bench(run, folder, tmp_path, monkeypatch):
    kind = firstsight.methods.METHODS["spaen-pictures"]
    monkeypatch.setitem(kind.presets, "tiny", tiny_settings())
    words = ("--data", folder, "--methods", "eszsl", "spaen-pictures:tiny", "--seeds", 1, "--no-calibrate")
    code, out, _ = run("bench", *words, "--out", tmp_path, "--json")
    assert code == 0
    assert [row["error"] for row in json.loads(out)["rows"]] == [None, None]


def tiny_settings() -> dict:
    words = dict(zip((word[2:].replace("-", "_") for word in TINY[::2]), TINY[1::2], strict=True))
    kinds = firstsight.methods.METHODS["spaen-pictures"]().settings()
    return {name: type(kinds[name])(value) for name, value in words.items()}


def test_atlas_has_pictures_too(run, tmp_path, monkeypatch):
    made = tiny_dataset(pictures=tuple(np.zeros((90, 40, 40, 3), np.uint8)))
    monkeypatch.setattr("firstsight.datasets.atlas.atlas", lambda **_: made)
    code, _, err = fit(run, "atlas", tmp_path / "m")
    assert (code, err) == (0, "")
    assert load_method(tmp_path / "m").draws


def test_tensorboard(run, folder, tmp_path, model):
    from tests.cli.test_tensorboard import told

    assert fit(run, folder, tmp_path / "m", "--tensorboard", tmp_path / "log")[0] == 0
    events = told(tmp_path / "log")
    assert {"training/reconstruction", "training/classification"} <= set(events.Tags()["scalars"])
    assert events.Images("originals_above_reconstructions")
    alike, plain = load_file(tmp_path / "m"), load_file(model)
    assert all(torch.equal(alike[name], plain[name]) for name in plain)


def test_missing_features_are_missed_before_pictures_are_shrunk(run, tmp_path, monkeypatch):
    folder = painted(tmp_path / "bare", 2, with_features=False)
    monkeypatch.setattr("firstsight.pictures.cache.with_pictures", None)
    sentence = "features must be given for data set 'bare'; got pictures only; name a feature file"
    fails(run, sentence, "fit", "spaen-pictures", "--data", folder, *TINY, "--out", tmp_path / "m")


@pytest.mark.parametrize("backbone", ["compact", "random:resnet18"])
def test_a_backbone_makes_the_features_once(backbone, run, folder, tmp_path, monkeypatch):
    assert fit(run, folder, tmp_path / "m", "--backbone", backbone)[0] == 0
    width = {"compact": 320, "random:resnet18": 512}[backbone]
    assert load_method(tmp_path / "m").feature_widths_.tolist() == [width]

    def never(*_, **__):
        raise AssertionError("computed again")

    monkeypatch.setattr(frozen, "compact_features", never)
    monkeypatch.setattr("firstsight.features.backbone.Backbone.rows", never)
    code, _, err = run("evaluate", tmp_path / "m", "--data", folder, "--backbone", backbone)
    assert (code, err) == (0, "")


def test_compact_features_learn_from_training_pictures_alone(tmp_path):
    """Whatever the labels of the test images are, the features are the same."""
    data = load(painted(tmp_path / "x", 4), features=())
    labels = data.labels.copy()
    labels[data.test_unseen] = data.unseen[-1]
    first = frozen.with_frozen_features(data, "compact", cache=tmp_path / "a").features
    again = frozen.with_frozen_features(replace(data, labels=labels), "compact", cache=tmp_path / "b").features
    assert np.array_equal(first, again)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("--backbone", "compact", "--features", "features"),
            "features must be left out where a backbone makes them; got 'features' and 'compact'",
        ),
        (
            ("--reconstruction-features", "features"),
            "reconstruction features must be left out for spaen-pictures, which reconstructs pictures; got 'features'",
        ),
    ],
)
def test_options_that_do_not_go_together(words, sentence, run, folder, tmp_path):
    fails(run, sentence, "fit", "spaen-pictures", "--data", folder, *TINY, "--out", tmp_path / "m", *words)


def test_options_of_other_methods_and_data(run, folder, tmp_path):
    out = ("--out", tmp_path / "m")
    sentence = "backbone must be left out for eszsl, which does not look at pictures; got compact"
    fails(run, sentence, "fit", "eszsl", "--data", folder, "--backbone", "compact", *out)
    sentence = "skip_bad must be left out for eszsl, which does not look at pictures; got True"
    fails(run, sentence, "fit", "eszsl", "--data", folder, "--skip-bad", *out)
    sentence = "backbone must be left out for atlas, which has features; got 'compact'"
    fails(run, sentence, "fit", "spaen-pictures", "--data", "atlas", *TINY, "--backbone", "compact", *out)


def test_tuning(run, folder, tmp_path, monkeypatch):
    """Alpha and beta are chosen on validation classes, beside a method that learns from features alone."""
    kind = METHODS["spaen-pictures"]
    settings = {
        "side": 32,
        "width": 1 / 64,
        "pretrained": "none",
        "hidden": 4,
        "epochs": 1.0,
        "autoencoder_epochs": 1.0,
    }
    monkeypatch.setattr(kind, "presets", {"tiny": settings})
    monkeypatch.setattr(kind, "search", replace(kind.search, space={"alpha": (0.5, 1.0), "beta": (0.005, 0.05)}))
    monkeypatch.setattr(METHODS["eszsl"], "presets", {"tiny": {}})
    out = tmp_path / "tuned.toml"
    words = ("tune", "spaen-pictures", "eszsl", "--data", folder, "--preset", "tiny", "--partitions", "1", "--json")
    code, printed, err = run(*words, "--out", out)
    assert code == 0, err
    rows = {row["method"]: row["trials"] for row in json.loads(printed)["tuned"]}
    assert len(rows["spaen-pictures"]) == 4
    assert len(rows["eszsl"]) == 196
    best = max(rows["spaen-pictures"], key=lambda trial: sum(trial["values"]))
    assert read_settings(out)["colours", "spaen-pictures"].settings["beta"] == best["settings"]["beta"]
    fails(
        run,
        "data set 'TINY' must have pictures; got features only; name the folder with its pictures "
        "(for a GBU folder: --pictures FOLDER)",
        "tune",
        "spaen-pictures",
        "--data",
        write_gbu(tmp_path / "TINY", tiny_dataset()),
        "--out",
        out,
    )


# bad pictures


@pytest.fixture
def spoilt(tmp_path):
    """A folder with a picture that breaks off and one that is no picture."""
    folder = painted(tmp_path / "spoilt")
    whole = (folder / "images/red/0.png").read_bytes()
    (folder / "images/red/0.png").write_bytes(whole[: len(whole) // 2])
    (folder / "images/dark_grey/3.png").write_text("no picture")
    return folder


NO_PICTURE = "images/dark_grey/3.png must be a picture (JPEG, PNG, WebP, BMP, TIFF or GIF); got something else"


def test_the_first_bad_picture_ends_the_work(run, spoilt, tmp_path):
    fails(run, NO_PICTURE, "fit", "spaen-pictures", "--data", spoilt, *TINY, "--out", tmp_path / "m")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("more", [(), ("--backbone", "compact"), ("--backbone", "random:resnet18")])
def test_bad_pictures_are_left_out_and_listed(more, run, spoilt, tmp_path):
    code, out, err = fit(run, spoilt, tmp_path / "m", "--skip-bad", *more)
    assert code == 0
    first, second = err.splitlines()
    assert first == f"skipped: {NO_PICTURE}"
    assert second.startswith("skipped: images/red/0.png must be a whole picture; got one that is broken: ")
    assert " images of 3 classes is at " in out


def test_at_most_twenty_are_listed():
    class Display:
        lines: list[str] = []

        def say(self, line):
            self.lines.append(line)

    display = Display()
    say_skipped(display, {str(number): f"sentence {number}" for number in range(33)})
    assert display.lines == [*(f"skipped: sentence {number}" for number in range(20)), "skipped: 13 more"]


# reconstruct


def test_reconstruct(run, folder, model, tmp_path):
    files = [folder / "images/red/1.png", folder / "images/blue/2.png"]
    code, out, err = run("reconstruct", model, *files, "--out", tmp_path / "r.png", "--json")
    assert (code, err) == (0, "")
    answer = json.loads(out)
    originals = np.stack([squared(open_picture(file), 32) for file in files])
    drawn = load_method(model).reconstructed(originals)
    for row, file, before, after in zip(answer["pictures"], files, originals, drawn, strict=True):
        assert row["source"] == str(file)
        difference = before.astype(float) - after.astype(float)
        assert row["mse"] == pytest.approx((difference**2).mean() / 255**2)
    sheet = np.asarray(Image.open(answer["out"]))
    for picture in (*originals, *drawn):  # each is on the sheet, six times as large
        shown = np.asarray(Image.fromarray(picture).resize((192, 192), Image.Resampling.BICUBIC))
        assert contains(sheet, shown)


def contains(sheet: np.ndarray, picture: np.ndarray) -> bool:
    h, w = picture.shape[:2]
    starts = np.argwhere((sheet[: -h + 1, : -w + 1] == picture[0, 0]).all(axis=2))
    return any(np.array_equal(sheet[y : y + h, x : x + w], picture) for y, x in starts)


def test_reconstruct_a_folder_into_a_folder(run, folder, model, tmp_path):
    code, out, _ = run("reconstruct", model, folder / "images", "--out-folder", tmp_path / "new")
    assert code == 0
    assert out.startswith(f"24 pictures above their reconstructions are in {tmp_path / 'new'}; mean square error of a")
    names = {file.name for file in (tmp_path / "new").iterdir()}
    assert len(names) == 24
    assert {"0.png", "0-2.png", "0-4.png", "5.png"} <= names


def test_reconstruct_names_the_bad_picture(run, spoilt, model, tmp_path):
    bad = spoilt / "images/dark_grey/3.png"
    sentence = f"{bad} must be a picture (JPEG, PNG, WebP, BMP, TIFF or GIF); got something else"
    fails(run, sentence, "reconstruct", model, bad, "--out", tmp_path / "r.png")
    words = ("reconstruct", model, bad.parent, "--out", tmp_path / "r.png", "--skip-bad", "--json")
    code, out, err = run(*words)
    assert (code, err) == (0, f"skipped: {sentence}\n")
    assert json.loads(out)["skipped"] == {str(bad): sentence}
    assert len(json.loads(out)["pictures"]) == 5
    fails_after = run("reconstruct", model, bad, "--out", tmp_path / "r.png", "--skip-bad")
    assert fails_after[0] == 2
    assert fails_after[2].endswith("firstsight: pictures must be readable; got none of 1 that is\n")


def test_reconstruct_refuses(run, folder, model, tmp_path):
    picture = folder / "images/red/1.png"
    fails(run, "picture file must end in .png; got x.jpg", "reconstruct", model, picture, "--out", "x.jpg")
    fails(run, "pictures must be files or folders; got none", "reconstruct", model)
    words = ("--out", "x.png", "--out-folder", "x")
    sentence = "out must be left out where out_folder is named; got x.png and x"
    fails(run, sentence, "reconstruct", model, picture, *words)
    plain = ESZSL().fit(load(folder).training_set()).save(tmp_path / "eszsl")
    sentence = "method must draw pictures to have a size of them; got eszsl; spaen-pictures does"
    fails(run, sentence, "reconstruct", plain, picture)
    fails(run, sentence, "imagine", plain, "--class", "red")


# imagine


@pytest.fixture
def drawn(monkeypatch):
    """The lines that go to the sheet, instead of a sheet."""
    made = {}

    def grid(file, lines, names, notes=()):
        made.update(lines=dict(lines), names=list(names), notes=list(notes))

    monkeypatch.setattr("firstsight.pictures.sheet.grid", grid)
    return made


@pytest.mark.parametrize("source", ["recogniser", "data"])
def test_imagine(source, run, folder, model, known, drawn):
    words = (known,) if source == "recogniser" else (model, "--data", folder)
    code, out, err = run("imagine", *words, "--class", "pink", "--class", "dark grey", "--class", "red", "--json")
    assert (code, err) == (0, "")
    names = ["pink", "dark_grey", "red"]
    assert json.loads(out)["classes"] == [{"class": name, "seen": name == "red"} for name in names]
    classes = load(folder).classes
    expected = load_method(model).imagined(classes[[classes.names.index(name) for name in names]])
    assert np.array_equal(drawn["lines"]["imagined"], expected)
    assert drawn["names"] == names
    assert drawn["notes"] == ["never seen", "never seen", "seen in training"]


def test_imagine_with_attributes_set(run, folder, model, known, drawn):
    words = ("imagine", known, "--class", "blue", "--set", "redness=1", "--set", "blueness=0.5")
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    assert out == "1 class, as imagined, is at imagined.png; below, with redness = 1, blueness = 0.5\n"
    classes = load(folder).classes
    vector = classes.vectors[classes.names.index("blue")].copy()
    vector[0] = classes.vectors[:, 0].max()
    vector[2] = (classes.vectors[:, 2].min() + classes.vectors[:, 2].max()) / 2
    vector /= np.linalg.norm(vector)
    method = load_method(model)
    assert np.array_equal(drawn["lines"]["before"], method.imagined(classes[[classes.names.index("blue")]]))
    assert np.array_equal(drawn["lines"]["after"], method.imagined(ClassEmbeddings(("blue",), vector[None])))


def test_imagine_classes_of_a_table(run, known, drawn, tmp_path):
    more = tmp_path / "more.csv"
    more.write_text("class,redness,greenness,blueness\nyellow,.9,.9,.1\nviolet,.6,.1,.9\n")
    assert run("imagine", known, "--classes", more)[0] == 0
    assert drawn["names"] == ["yellow", "violet"]
    assert run("imagine", known, "--classes", more, "--class", "violet", "--class", "red")[0] == 0
    assert drawn["names"] == ["violet", "red"]


def test_imagine_writes_a_picture(run, known, tmp_path):
    code, out, _ = run("imagine", known, "--class", "pink", "--out", tmp_path / "x.png")
    assert (code, out) == (0, f"1 class, as imagined, is at {tmp_path / 'x.png'}\n")
    with Image.open(tmp_path / "x.png") as image:
        assert image.width >= 192


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "class must be named; got none; --class NAME, or --classes FILE with others"),
        (("--class", "gren"), "class must be one of the 5 known; got 'gren'; did you mean 'green'?"),
        (
            ("--class", "red", "--set", "rednes=1"),
            "attribute must be one of the 3 known; got 'rednes'; did you mean 'redness'?",
        ),
        (
            ("--class", "red", "--set", "redness"),
            "set must be ATTRIBUTE=VALUE with a number, as in red=1; got 'redness'",
        ),
        (
            ("--class", "red", "--set", "redness=much"),
            "set must be ATTRIBUTE=VALUE with a number, as in red=1; got 'redness=much'",
        ),
        (("--class", "red", "--out", "x.gif"), "picture file must end in .png; got x.gif"),
    ],
)
def test_imagine_refuses(words, sentence, run, known):
    fails(run, sentence, "imagine", known, *words)


def test_imagine_needs_classes(run, model):
    sentence = (
        f"{model} must know classes to imagine one; got a method alone; name its training data with --data, "
        f"or make a recogniser: `firstsight recogniser {model} --data PATH --out FILE`"
    )
    fails(run, sentence, "imagine", model, "--class", "red")


# several processes


def torchrun(folder, out, cache, *more):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "FIRSTSIGHT_CACHE": str(cache)}
    environment["PYTHONPATH"] = str(Path(firstsight.__file__).parents[1])
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "firstsight", "fit"]
    words = [*command, *map(str, more), "--data", str(folder), "--out", str(out)]
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=300, check=False)


@pytest.mark.slow
def test_two_processes_train_one_model(folder, tmp_path):
    done = torchrun(folder, tmp_path / "two", tmp_path / "cache", "spaen-pictures", *TINY, "--dropout", 0)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("spaen-pictures trained on ") == 1
    main(["fit", "spaen-pictures", "--data", str(folder), *TINY, "--dropout", "0", "--out", str(tmp_path / "one")])
    two, one = load_file(tmp_path / "two"), load_file(tmp_path / "one")
    assert two.keys() == one.keys()
    for name in one:
        torch.testing.assert_close(two[name].float(), one[name].float(), rtol=1e-3, atol=1e-4)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cache", "one", "two"]


@pytest.mark.slow
def test_two_processes_refuse_what_they_cannot_share(tmp_path):
    done = torchrun(write_gbu(tmp_path / "TINY", tiny_dataset()), tmp_path / "m", tmp_path / "cache", "eszsl")
    assert done.returncode != 0
    sentence = "firstsight: method must be spaen-pictures for several processes to share it; got eszsl"
    assert sentence in done.stderr

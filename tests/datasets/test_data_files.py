"""None is the default and an empty choice is none, for every kind of data set."""

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from firstsight.datasets import DataFiles, data_name, load, load_files
from firstsight.errors import InputError
from firstsight.features.feature_file import FeatureFile
from firstsight.methods import load_method
from tests.support.matlab import toy_variables, write_mat5
from tests.support.paintings import TINY, painted
from tests.support.tiny import tiny_dataset

FEATURES = toy_variables()[0]


@pytest.fixture(params=["folder", "gbu", "atlas"])
def path(request, tmp_path, make_gbu, monkeypatch):
    """A data set of each kind, with features."""
    if request.param == "folder":
        return painted(tmp_path / "colours", 2)
    if request.param == "gbu":
        return make_gbu()
    monkeypatch.setattr("firstsight.datasets.atlas.atlas", lambda **_: tiny_dataset(side=8))
    return "atlas"


def test_the_default_and_none(path):
    default = load(path)
    assert default.features is not None
    for empty in ((), [], ""):
        bare = load(path, features=empty)
        assert (bare.features, bare.feature_widths) == (None, ())
        np.testing.assert_array_equal(bare.labels, default.labels)
        np.testing.assert_array_equal(bare.trainval, default.trainval)
    others = load(path, reconstruction_features="", pictures="").reconstruction_features
    assert (others is None) == (default.reconstruction_features is None)
    with pytest.raises(InputError, match=r"^semantics must name class embeddings, or be left out for the default; got"):
        load(path, semantics="")


def test_load_hands_over_every_choice(path):
    data = load_files(path, DataFiles())
    assert data.fingerprint == load(path).fingerprint
    assert data.name == data_name(path) or path == "atlas"


@pytest.mark.parametrize("files", [{"vgg.mat": FEATURES}, {"labels.mat": {"labels": FEATURES["labels"]}}])
def test_labels_without_features_come_from_any_file_that_has_them(files, make_gbu):
    """Several feature files are no choice to make where none of them is wanted."""
    folder = make_gbu(files={"res101.mat": None, **files, "alexnet.mat": {"features": FEATURES["features"]}})
    data = load(folder, features=())
    assert data.features is None
    np.testing.assert_array_equal(data.labels, FEATURES["labels"].ravel() - 1)


def test_features_are_not_read_for_nothing(make_gbu, monkeypatch):
    folder = make_gbu()
    monkeypatch.setattr(FeatureFile, "stored", property(lambda _: pytest.fail("features were read")))
    assert load(folder, features=()).features is None


def test_fit_with_a_backbone_on_a_benchmark(make_gbu, tmp_path, run, monkeypatch):
    """Feature files of the folder are neither read nor in the way; pictures may lie in any folder."""
    monkeypatch.setenv("FIRSTSIGHT_CACHE", str(tmp_path / "cache"))
    names = [f"/disk/of/the/authors/JPEGImages/{image}.png" for image in range(30)]
    folder = make_gbu(image_files=names, files={"vgg.mat": {"features": np.ones((2, 7))}})
    (tmp_path / "pictures" / "JPEGImages").mkdir(parents=True)
    for image in range(30):
        colour = tuple(np.random.default_rng(image).integers(0, 256, 3).tolist())
        Image.new("RGB", (40, 40), colour).save(tmp_path / "pictures" / "JPEGImages" / f"{image}.png")
    out = tmp_path / "m"
    words = ["--data", folder, "--pictures", tmp_path / "pictures", "--backbone", "random:resnet18", *TINY]
    code, _, err = run("fit", "spaen-pictures", *words, "--out", out)
    assert (code, err) == (0, "")
    assert load_method(out).feature_widths_.tolist() == [512]
    (kept,) = (tmp_path / "cache" / "features").iterdir()
    assert len(load_file(kept)["features"]) == 30
    write_mat5(folder / "alexnet.mat", {"features": np.ones((2, 7))})
    (folder / "labels.mat").write_bytes((folder / "res101.mat").read_bytes())
    (folder / "res101.mat").unlink()
    assert run("evaluate", out, *words[:6], "--no-calibrate")[::2] == (0, "")

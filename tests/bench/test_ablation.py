"""The ablations on pictures: what is trained, what is measured, what a second call does again."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from firstsight.bench import ablation
from firstsight.methods import SPAENPictures
from firstsight.progress import Display
from tests.support.tiny import FAST, flat_parameters, tiny_dataset
from tests.support.trainings import picture_steps

DATA = tiny_dataset(side=37, n_seen=7, n_unseen=4)
SETTINGS = SPAENPictures(**FAST["spaen-pictures"], device="cpu")


@pytest.fixture(scope="module")
def reconstructed(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return ablation.reconstruction(DATA, SETTINGS, out), out


def test_four_ways_to_draw(reconstructed):
    rows, _ = reconstructed
    assert [row.way for row in rows] == ["DirectMap", "SAE-image", "SplitBranch", "SP-AEN"]
    models = [ablation.model_of(row) for row in rows]
    assert [model.variant for model in models] == ["direct-map", "sae-image", "split-branch", "spaen"]
    assert {model.alpha for model in models} == {SETTINGS.alpha}
    for model in models:  # of one recipe
        settings = ablation.with_equal_passes(SETTINGS).settings()
        assert model.settings() == settings | {"variant": model.variant, "device": "auto"}


@pytest.mark.parametrize(("number", "split"), [("mse", "test_unseen"), ("mse_seen", "test_seen")])
def test_the_error_by_a_plain_loop(number, split, reconstructed):
    rows, _ = reconstructed
    for row in rows:
        model = ablation.model_of(row)
        errors = []
        for image in getattr(DATA, split):
            seen = ablation.in_size(DATA.pictures.take([image]), 32)
            drawn = model.reconstructed(seen, DATA.features[[image]])
            errors.append(np.mean((drawn[0].astype(float) - seen[0].astype(float)) ** 2) / 255**2)
        assert getattr(row, number) == pytest.approx(np.mean(errors), rel=1e-3)


def test_what_the_halves_of_a_split_branch_are_worth(reconstructed):
    rows, _ = reconstructed
    [row] = [row for row in rows if row.halves is not None]
    assert row.way == "SplitBranch"
    networks = ablation.model_of(row).networks_
    weight = networks["generator"].hidden.weight.detach().numpy()
    a = weight.shape[1] // 2
    norms = [np.sqrt((half**2).sum()) for half in (weight[:, :a], weight[:, a:])]
    np.testing.assert_allclose(row.halves.merging, norms, rtol=1e-5)
    layers = [np.linalg.norm(layer.weight.detach()) for layer in (networks["merge"].first, networks["merge"].second)]
    np.testing.assert_allclose(row.halves.layers, layers, rtol=1e-5)
    code = ablation.model_of(row).codes(DATA.features[DATA.test_unseen])
    with torch.no_grad():
        merged = networks["merge"](code).numpy()
    for which, error in enumerate(row.halves.without):
        changed = code.clone().chunk(2, dim=1)
        changed[which][:] = changed[which].mean(dim=0)
        drawn = ablation.model_of(row).drawn_of(torch.cat(changed, dim=1)) / 255
        original = ablation.in_size(DATA.pictures.take(DATA.test_unseen), 32) / 255
        assert error == pytest.approx(np.square(drawn - original).mean(), rel=1e-3)
        assert error != row.mse
    reaching = [merged[:, :a] @ weight[:, :a].T, merged[:, a:] @ weight[:, a:].T]
    np.testing.assert_allclose(
        row.halves.reaching, [np.linalg.norm(half, axis=1).mean() for half in reaching], rtol=1e-4
    )


@pytest.mark.parametrize("preset", [None, "paper", "authors", "table2", "figure7"])
def test_g_draws_as_many_pictures_in_each_way(preset, monkeypatch):
    """Steps times the batch of pictures, counted in the stages in which G learns."""
    settings = SPAENPictures.preset(preset) if preset else SPAENPictures()
    tiny = {"side": 32, "width": 1 / 64, "pretrained": "none", "device": "cpu"}
    settings, passes = ablation.with_equal_passes(replace(settings, **tiny)), set()
    joint = replace(settings, schedule="joint", autoencoder_batch=16)
    for each in (settings, ablation.with_equal_passes(joint)):
        passes.clear()
        for variant in ablation.WAYS:
            steps = picture_steps(replace(each, variant=variant))
            drawing = [stage for stage in steps.stages if stage.name != "embedder"]
            [stage] = drawing or steps.stages
            passes.add(stage.steps * each.autoencoder_batch)
        assert max(passes) - min(passes) <= each.autoencoder_batch, passes


def test_the_mean_picture_by_a_plain_loop(monkeypatch):
    monkeypatch.setattr(ablation, "AT_ONCE", 7)
    training = ablation.in_size(DATA.pictures.take(DATA.trainval), 32).astype(float)
    test = ablation.in_size(DATA.pictures.take(DATA.test_unseen), 32).astype(float)
    expected = np.mean((test - training.mean(axis=0)) ** 2) / 255**2
    assert ablation.mean_picture_error(DATA, 32) == pytest.approx(expected)


def test_what_was_measured_is_not_trained_again(reconstructed, monkeypatch):
    rows, out = reconstructed
    monkeypatch.setattr(SPAENPictures, "fit", None)
    assert ablation.reconstruction(DATA, SETTINGS, out) == rows


@pytest.mark.parametrize("change", ["settings", "data", "model"])
def test_what_has_changed_is_trained_again(change, reconstructed, tmp_path, monkeypatch):
    rows = [row for row in reconstructed[0] if row.way == "SP-AEN"]
    monkeypatch.setattr(ablation, "WAYS", {"spaen": "SP-AEN"})
    first = ablation.reconstruction(DATA, SETTINGS, tmp_path)
    assert first[0].mse == rows[0].mse
    fitted = []
    fit = SPAENPictures.fit
    monkeypatch.setattr(SPAENPictures, "fit", lambda self, *rest: fitted.append(1) or fit(self, *rest))
    ablation.reconstruction(DATA, SETTINGS, tmp_path)
    assert not fitted
    data, settings = DATA, SETTINGS
    if change == "settings":
        settings = replace(SETTINGS, alpha=2.0)
    elif change == "data":
        data = replace(DATA, features=DATA.features + 1)
    else:
        (tmp_path / "spaen.safetensors").unlink()
    ablation.reconstruction(data, settings, tmp_path)
    assert len(fitted) == 1


def test_ctrl_c_loses_nothing(reconstructed, tmp_path):
    whole = {row.way: row.mse for row in reconstructed[0]}
    seen = []

    def stop(stage, *_):
        seen.append(stage)
        if len(seen) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ablation.reconstruction(DATA, SETTINGS, tmp_path, stop)
    assert (tmp_path / "direct-map.json").exists()
    rows = ablation.reconstruction(DATA, SETTINGS, tmp_path)
    assert {row.way: row.mse for row in rows} == whole
    assert not list(tmp_path.glob("*.partial"))


def test_the_parts_of_the_objective(tmp_path):
    rows = ablation.objective(DATA, SETTINGS, tmp_path, seeds=2)
    assert [(row.seed, row.parts) for row in rows] == [
        (seed, parts) for seed in (0, 1) for parts in ("Cls. only", "+ reconstruction", "+ critic", "full")
    ]
    by_part = {(row.seed, row.parts): row for row in rows}
    numbers = ("t1", "u", "s", "h", "ausuc", "curve")
    for seed in (0, 1):  # in two stages E hears of F through the critic alone
        only, reconstruction = (by_part[seed, parts] for parts in ("Cls. only", "+ reconstruction"))
        assert [getattr(only, key) for key in numbers] == [getattr(reconstruction, key) for key in numbers]
    assert ablation.objective(DATA, SETTINGS, tmp_path, seeds=2) == rows


def test_each_part_of_the_objective_teaches_something_else(monkeypatch, tmp_path):
    """With a loud critic even a tiny run tells the full objective from the reconstruction alone."""
    taught = {}
    kept = SPAENPictures.fit_each.__func__

    def fit_each(cls, methods, *rest):
        for method in kept(cls, methods, *rest):
            parts = bool(method.alpha), bool(method.beta)
            taught[parts] = flat_parameters(method.networks_["embedder"])
            yield method

    monkeypatch.setattr(SPAENPictures, "fit_each", classmethod(fit_each))
    loud = replace(SETTINGS, beta=50.0, learning_rate=0.05, autoencoder_rate=0.05, epochs=3.0)
    rows = {row.parts: row for row in ablation.objective(DATA, loud, tmp_path, seeds=1)}
    assert set(taught) == {(False, False), (True, False), (False, True), (True, True)}
    assert torch.equal(taught[False, False], taught[True, False])  # in two stages
    for one, other in (((True, True), (True, False)), ((True, True), (False, True)), ((False, True), (True, False))):
        assert not torch.equal(taught[one], taught[other])
    assert rows["full"].curve != rows["+ reconstruction"].curve
    assert rows["full"].curve != rows["+ critic"].curve


def test_the_full_objective_is_that_of_a_fit_of_its_own(tmp_path):
    """F and G are trained once for all parts of a seed, which must not change what comes out."""
    row = next(row for row in ablation.objective(DATA, SETTINGS, tmp_path, seeds=1) if row.parts == "full")
    result = ablation.evaluate(replace(SETTINGS).fit(DATA.training_set()), DATA, calibrate=False)
    assert {key: getattr(row, key) for key in ("t1", "u", "s", "h", "ausuc")} == {
        key: result.metrics()[key] for key in ("t1", "u", "s", "h", "ausuc")
    }


def test_alpha_falls_in_joint_training(tmp_path):
    values = (10.0, 0.1, 0.01)
    rows = ablation.alphas(DATA, SETTINGS, tmp_path, values)
    models = [ablation.model_of(row) for row in rows]
    assert [(model.alpha, model.schedule) for model in models] == [(alpha, "joint") for alpha in values]
    for row, model in zip(rows, models, strict=True):  # each is the one that was measured
        assert ablation.pixel_error(model, DATA, DATA.test_unseen) == row.mse


def test_mean_and_spread():
    rows = [SimpleNamespace(parts=name, h=h) for name, h in (("a", 1.0), ("b", 5.0), ("a", 3.0))]
    assert list(ablation.spread(rows, "parts", "h")) == [("a", 2.0, pytest.approx(2**0.5)), ("b", 5.0, 0.0)]


def test_pictures_of_different_classes_are_shown():
    images = ablation.shown(DATA, 3)
    assert len(set(DATA.labels[images])) == 3
    assert set(images) <= set(DATA.test_unseen)
    assert len(ablation.shown(DATA, 99)) == 4  # all there are


@pytest.fixture
def folder(tmp_path):
    """Own pictures of 8 classes, two of them unseen, with features."""
    rng = np.random.default_rng(0)
    lines = ["class,split,is dark,is warm,is wide"]
    paths = []
    for row in range(8):
        lines.append(f"class {row},{'unseen' if row > 5 else 'seen'},{row % 2},{row % 3},{row + 1}")
        for number in range(6):
            path = tmp_path / "birds" / "images" / f"class {row}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(path)
            paths.append(path.relative_to(tmp_path / "birds").as_posix())
    (tmp_path / "birds" / "classes.csv").write_text("\n".join(lines))
    np.savez(tmp_path / "birds" / "some.npz", features=rng.normal(size=(48, 6)).astype("f4"), image_files=paths)
    return tmp_path / "birds"


def flags(folder, out):
    settings = {key.replace("_", "-"): value for key, value in FAST["spaen-pictures"].items()}
    options = [word for key, value in settings.items() for word in (f"--{key}", value)]
    return ["--data", folder, "--out", out, "--device", "cpu", *options]


def test_commands(folder, tmp_path, run, monkeypatch):
    monkeypatch.setenv("FIRSTSIGHT_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    code, said, errors = run("ablate", "reconstruction", *flags(folder, out))
    assert code == 0, errors
    assert "SplitBranch" in said
    assert "the mean picture" in said
    assert "ridge on E's input" in said
    assert "norm of the weights that merge them" in said
    with Image.open(out / "reconstruction.png") as sheet:
        width, height = sheet.size
    assert height > 5 * 32 < width  # five lines of pictures
    code, said, errors = run("ablate", "objective", *flags(folder, out), "--seeds", 1, "--json")
    assert code == 0, errors
    assert [row["parts"] for row in json.loads(said)["rows"]] == list(ablation.PARTS)
    assert "<svg" in (out / "objective.svg").read_text()
    code, said, errors = run("ablate", "alpha", *flags(folder, out), "--alphas", 1, 0.1)
    assert code == 0, errors
    assert "alpha 0.1" in said
    assert (out / "alpha.png").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--side", "48"), "side must be one of 32, 64, 128, 256; got 48"),
        (("--seeds", "0"), "seeds must be 1 or more; got 0"),
        (("--alpha", "0"), "alpha must be above 0"),
    ],
)
def test_bad_options(words, sentence, folder, tmp_path, run):
    command = "objective" if "--seeds" in words else "reconstruction"
    given = flags(folder, tmp_path / "out")
    for flag, value in zip(words[::2], words[1::2], strict=True):
        given = [*given, flag, value]
    code, _, errors = run("ablate", command, *given)
    assert code == 2
    assert errors.startswith("firstsight: ")
    assert sentence in errors


def test_progress_names_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr(ablation, "WAYS", {"spaen": "SP-AEN"})
    told = []
    ablation.reconstruction(DATA, SETTINGS, tmp_path, lambda *at: told.append(at[:3]))
    assert {stage for stage, *_ in told} == {"spaen"}
    assert told[-1][1] == told[-1][2]
    with Display() as display:
        ablation.reconstruction(DATA, SETTINGS, tmp_path, display)


def test_a_model_trained_end_to_end_draws_from_its_own_features(tmp_path):
    """The data set's features, of the same width, have no say."""
    settings = replace(SETTINGS, end_to_end="compact", variant="direct-map")
    width = 320  # of the small network
    random = np.random.default_rng(0).normal(size=(2, len(DATA.labels), width)).astype(np.float32)
    one, other = (replace(DATA, features=features, feature_widths=(width,)) for features in random)
    method = settings.fit(one.training_set())
    errors = [ablation.pixel_error(method, data, data.test_unseen) for data in (one, other, method.with_features(one))]
    assert errors[0] == errors[1] == pytest.approx(errors[2], rel=1e-6)
    assert ablation.ridge_of(one, settings, tmp_path) is None

"""SP-AEN on pictures: settings, inputs and what comes of a fit."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from firstsight.data import Crops
from firstsight.methods import SPAEN, FitControls, SPAENPictures, loop
from firstsight.methods.distributed import Ranks
from firstsight.methods.loop import Loop
from firstsight.methods.spaen_pictures.steps import PictureSteps
from tests.support.tiny import flat_parameters, tiny_dataset
from tests.support.trainings import DATA, copied, says
from tests.support.trainings import spaen_pictures as make


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"side": 48}, "side must be one of 32, 64, 128, 256; got 48"),
        ({"width": 17.0}, "width must be 16 or less; got 17.0"),
        (
            {"width": 0.5, "pretrained": "imagenet"},
            "width must be 1 with ImageNet weights; got 0.5; --pretrained none trains all",
        ),
        (
            {"generator_file": "x", "side": 64, "width": 1.0},
            "side must be 256 and width 1 for the published generator; got 64 and 1.0",
        ),
        (
            {"generator_file": "x", "side": 256, "width": 0.5},
            "side must be 256 and width 1 for the published generator; got 256 and 0.5",
        ),
        ({"accumulate": 0}, "accumulate must be 1 to autoencoder_batch; got 0 for 6"),
        ({"accumulate": 7}, "accumulate must be 1 to autoencoder_batch; got 7 for 6"),
        ({"autoencoder_batch": 0}, "accumulate must be 1 to autoencoder_batch; got 1 for 0"),
        (
            {"variant": "sae-image", "alpha": 0.0},
            "alpha must be above 0 for sae-image, which reconstructs; got 0",
        ),
    ],
)
def test_bad_settings(changes, sentence):
    says(sentence, make, **changes)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (tiny_dataset(), "training set must have pictures for spaen-pictures; got features alone"),
        (tiny_dataset(side=31), "pictures must be 32 pixels a side or more; got 31"),
        (
            replace(DATA, pictures=np.zeros((90, 40, 50, 3), dtype=np.uint8)),
            "pictures must be square; got 40 x 50",
        ),
    ],
)
def test_bad_pictures(data, sentence):
    says(sentence, make().fit, data.training_set())


def test_the_preset_of_the_paper():
    paper = SPAENPictures.preset("paper")
    assert (paper.side, paper.width, paper.pretrained, paper.autoencoder_batch) == (256, 1, "imagenet", 128)
    assert (paper.learning_rate, paper.autoencoder_rate) == (1e-4, 1e-4)
    assert (paper.alpha, paper.beta, paper.schedule, paper.classification) == (10, 5, "joint", "ranking")


def test_a_few_pictures_are_learned_by_heart():
    data = tiny_dataset(n_seen=3, n_unseen=1, per_class=2, side=32)
    n = len(data.trainval)
    settings = {"width": 1 / 8, "autoencoder_batch": 8, "autoencoder_rate": 3e-3, "decay": "cosine"}
    settings |= {"perceptual_weight": 0.0, "norm_weight": 0.1, "beta": 0.0}
    method = make(**settings, autoencoder_steps=300 * 48 / n).fit(data.training_set())
    pictures = data.training_set().pictures[:].astype(float)
    drawn = method.reconstructed(pictures.astype(np.uint8))
    assert np.square(drawn - pictures).mean() < 0.3 * np.square(pictures.mean(axis=0) - pictures).mean()


def test_autoencoders_are_shared_by_those_that_agree():
    """Which must not change what any of them learns."""
    variants = [
        make(alpha=1.0, beta=0.0),
        make(alpha=1.0, beta=0.1),
        make(alpha=0.0, beta=0.1),
        make(alpha=1.0, seed=4),
    ]
    together = list(SPAENPictures.fit_each(variants, DATA.training_set()))
    for one in together:
        alone = make(alpha=one.alpha, beta=one.beta, seed=one.seed).fit(DATA.training_set())
        for name, parameters in copied(one.networks_).items():
            torch.testing.assert_close(parameters, copied(alone.networks_)[name], rtol=0, atol=0)


def test_only_those_that_agree_share(monkeypatch):
    taken = []
    monkeypatch.setattr(Loop, "skip_to", lambda self, stage: taken.append((stage, self.settings["beta"])))
    variants = [make(beta=0.1), make(beta=0.2), make(beta=0.3, width=1 / 32), make(beta=0.4, schedule="joint")]
    list(SPAENPictures.fit_each(variants, DATA.training_set()))
    assert taken == [("embedder", 0.2)]


@pytest.mark.parametrize("changes", [{}, {"schedule": "joint"}, {"variant": "sae-image"}])
def test_half_the_digits(changes):
    full, half = (make(precision=precision, **changes).fit(DATA.training_set()) for precision in ("float32", "bf16"))
    one, other = (flat_parameters(method.networks_) for method in (full, half))
    assert other.dtype == torch.float32
    assert not torch.equal(one, other)
    assert (one - other).abs().max() < 0.02
    features = DATA.features[:6] if changes.get("variant") else None
    drawn = [method.reconstructed(DATA.pictures[:6], features).astype(int) for method in (full, half)]
    assert np.abs(drawn[0] - drawn[1]).mean() < 3


def test_a_batch_is_shared_evenly():
    sentence = "batch must be a multiple of 3, the processes that share it; got 8"
    says(sentence, make().fit, DATA.training_set(), FitControls(ranks=Ranks(0, 3)))
    sentence = "autoencoder_batch must be a multiple of 4, the processes that share it; got 6"
    says(sentence, make().fit, DATA.training_set(), FitControls(ranks=Ranks(0, 4)))


@pytest.mark.parametrize("classification", ["ranking", "softmax"])
def test_comparisons_with_classification_only_are_paired(classification, monkeypatch):
    """E starts alike and meets the same batches and dropout with and without F, G and D."""
    monkeypatch.setattr(loop, "PERIOD", 1)
    common = {"classification": classification, "dropout": 0.5, "steps": 3}

    def first_loss(**changes):
        seen = []
        run = FitControls(progress=lambda _, total, means: seen.append(means))
        method = make(**common, **changes).fit(DATA.training_set(), run)
        return method.networks_["embedder"], next(
            means["classification"] for means in seen if "classification" in means
        )

    alone, expected = first_loss(alpha=0.0, beta=0.0)
    for changes in ({"beta": 0.0}, {"variant": "direct-map"}):
        beside, _ = first_loss(**changes)
        assert torch.equal(flat_parameters(alone), flat_parameters(beside))
    for schedule in ("two-stage", "joint"):
        assert first_loss(schedule=schedule)[1] == expected


def test_classification_only_is_that_of_spaen_on_features():
    """Without F, G and D, pictures add nothing."""
    own = {"hidden": 5, "batch": 8, "epochs": 0.8, "schedule": "two-stage", "alpha": 0.0, "beta": 0.0, "device": "cpu"}
    plain = SPAEN(**own).fit(DATA.training_set())
    pictures = SPAENPictures(**own, side=32, pretrained="none").fit(DATA.training_set())
    np.testing.assert_array_equal(
        plain.scores(DATA.features, DATA.classes), pictures.scores(DATA.features, DATA.classes)
    )


@pytest.mark.parametrize(
    "changes", [{}, {"schedule": "joint"}, *({"variant": variant} for variant in ("sae-image", "split-branch"))]
)
def test_a_batch_in_pieces_teaches_the_same(changes):
    weights, shown = [], []
    for accumulate in (1, 4):
        means = []
        method = make(accumulate=accumulate, autoencoder_batch=7, steps=5, autoencoder_steps=4, **changes)
        method.fit(DATA.training_set(), FitControls(progress=lambda *report, means=means: means.append(report)))
        weights.append(flat_parameters(method.networks_))
        shown.append(means)
    torch.testing.assert_close(*weights, rtol=1e-3, atol=2e-4)
    for (*one, values), (*other, others) in zip(*shown, strict=True):
        assert one == other
        assert values == pytest.approx(others, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize(
    ("error", "accumulate", "sentence"),
    [
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            1,
            "6 pictures at once; got too little; --accumulate 2 takes 3 at once with the same result, "
            "--autoencoder-batch a smaller batch",
        ),
        (
            torch.OutOfMemoryError("CUDA out of memory"),
            4,
            "2 pictures at once; got too little; --accumulate 6 takes 1 at once with the same result, "
            "--autoencoder-batch a smaller batch",
        ),
        (torch.OutOfMemoryError(""), 6, "1 pictures at once; got too little; a smaller --side or --width takes less"),
    ],
)
def test_too_little_memory(error, accumulate, sentence, monkeypatch):
    def read(*_):
        raise error

    monkeypatch.setattr(PictureSteps, "read", read)
    says(f"device cpu must have memory for {sentence}", make(accumulate=accumulate).fit, DATA.training_set())


def test_other_errors_are_not_about_memory(monkeypatch):
    def read(*_):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(PictureSteps, "read", read)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        make().fit(DATA.training_set())


def test_crops_are_ten():
    store = np.zeros((len(DATA.labels), 5, 7), dtype=np.float32)
    five = replace(DATA, crops=Crops(store, np.arange(len(store))))
    sentence = "crops must be 10 of each picture, as `firstsight features` keeps; got 5"
    says(sentence, make().fit, five.training_set())


def test_the_mean_gradient_is_kept_in_part():
    says("autoencoder_beta1 must be below 1; got 1.0", SPAENPictures, autoencoder_beta1=1.0)

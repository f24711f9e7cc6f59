"""SP-AEN on pictures: settings, each phase of the training and what it draws, against oracles of their own."""

from copy import deepcopy
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from firstsight.data import Pictures
from firstsight.errors import InputError
from firstsight.methods import SPAEN, FitControls, SPAENPictures, load_method, spaen_pictures
from firstsight.methods.base import TrainingTensors
from firstsight.methods.spaen import training
from firstsight.methods.spaen_pictures.crops import whole
from firstsight.methods.spaen_pictures.networks import perceptual_network
from firstsight.methods.spaen_pictures.training import PictureTraining
from tests.support.tiny import FAST, flat_parameters, painted, tiny_dataset

DATA = tiny_dataset(side=37)
TINY = FAST["spaen-pictures"] | {
    "steps": 4,
    "autoencoder_steps": 3,
    "schedule": "two-stage",
    "decay": "constant",
    "dropout": 0.0,
    "device": "cpu",
}
BOTTLENECKS = ("sae-image", "split-branch")


def make(**changes) -> SPAENPictures:
    """Tiny settings; `steps` and `autoencoder_steps` are turned into passes over the 48 images that tests train on."""
    settings = TINY | changes
    for stage, batch in (("", "batch"), ("autoencoder_", "autoencoder_batch")):
        settings[f"{stage}epochs"] = settings.pop(f"{stage}steps") * settings[batch] / 48
    return SPAENPictures(**settings)


def make_training(method: SPAENPictures) -> PictureTraining:
    """A training on random features and painted pictures: 48 images, 7 features, 5 classes of 4 attributes."""
    torch.manual_seed(3)
    features, vectors = torch.randn(48, 7), nn.functional.normalize(torch.randn(5, 4))
    pictures = Pictures(painted(48, 37), np.arange(48))
    tensors = TrainingTensors(features, torch.arange(48) % 5, vectors, features, (7,), pictures)
    networks = method._networks(7, 0, 4)
    has_phi = method.alpha and method.perceptual_weight  # with random weights, which the method itself leaves out
    return PictureTraining(method, networks, tensors, perceptual_network(32, method.width) if has_phi else None)


def copied(networks: nn.ModuleDict) -> dict[str, torch.Tensor]:
    return {name: flat_parameters(network).clone() for name, network in networks.items()}


def says(sentence: str, function, *arguments, **options) -> None:
    with pytest.raises(InputError) as caught:
        function(*arguments, **options)
    assert str(caught.value) == sentence


# settings and inputs


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


# losses


def test_loss_of_reconstruction_by_a_plain_loop():
    made = make_training(make(pixel_weight=3.0, perceptual_weight=2.0))
    pictures, code = torch.rand(2, 3, 32, 32), torch.randn(2, 4)
    with torch.no_grad():
        drawn = made.networks["generator"](code)
        pairs = ((3.0, drawn, pictures), (2.0, made.phi(drawn), made.phi(pictures)))
    expected = 0.0
    for weight, one, other in pairs:
        values = zip(one.flatten().tolist(), other.flatten().tolist(), strict=True)
        expected += weight * sum((a - b) ** 2 for a, b in values) / one.numel()
    assert made._drawing_losses(pictures, code)["reconstruction"].item() == pytest.approx(expected, rel=1e-4)


def test_without_phi_pixels_count_alone():
    made = make_training(make(perceptual_weight=0.0))
    assert made.phi is None
    pictures, code = torch.rand(2, 3, 32, 32), torch.randn(2, 4)
    expected = (made.networks["generator"](code) - pictures).square().mean()
    assert made._drawing_losses(pictures, code)["reconstruction"].item() == pytest.approx(expected.item(), rel=1e-5)


# steps


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({"schedule": "two-stage"}, [{"encoder", "generator"}, {"embedder", "discriminator"}]),
        ({"schedule": "joint"}, [{"embedder", "encoder", "generator", "discriminator"}]),
        ({"alpha": 0.0, "beta": 0.0}, [{"embedder"}]),
        ({"variant": "direct-map"}, [{"embedder"}, {"generator"}]),
        ({"variant": "sae-image"}, [{"embedder", "generator"}]),
        ({"variant": "split-branch"}, [{"embedder", "generator"}]),
    ],
)
def test_who_learns_when(changes, stages):
    made = make_training(make(**changes))
    assert len(made.stages) == len(stages)
    assert set(made.networks) == set().union(*stages)
    for stage, expected in zip(made.stages, stages, strict=True):
        before = copied(made.networks)
        made.step = made.steps - sum(later.steps for later in made.stages[made.stages.index(stage) :])
        made._advance(FitControls())
        assert {name for name, one in copied(made.networks).items() if not torch.equal(one, before[name])} == expected


def with_plain_descent(made: PictureTraining) -> PictureTraining:
    """Every optimiser becomes gradient descent of rate 1, so that a step shows its gradient."""
    for name, optimiser in made.optimisers.items():
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        made.optimisers[name] = torch.optim.SGD(parameters, lr=1.0)
    return made


@pytest.fixture
def unclipped(monkeypatch):
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: None)


def shown_to(made: PictureTraining, monkeypatch) -> list:
    """(crops, rows, which crops) of each piece of a batch, as a step takes them."""
    taken, cut = [], made._crops

    def crops(rows, which):
        taken.append((cut(rows, which), rows, which))
        return taken[-1][0]

    monkeypatch.setattr(made, "_crops", crops)
    return taken


def gradient(loss, network) -> torch.Tensor:
    parts = torch.autograd.grad(loss, tuple(network.parameters()), retain_graph=True)
    return torch.cat([part.flatten() for part in parts])


@pytest.mark.parametrize("accumulate", [1, 4])
def test_gradients_of_a_joint_step(accumulate, monkeypatch, unclipped):
    """Of F and G: alpha (L_rec + norm) and F's side of beta L_adv, over the whole batch, however it is cut."""
    method = make(schedule="joint", accumulate=accumulate, autoencoder_batch=7, alpha=2.0, beta=0.5, norm_weight=3.0)
    made = with_plain_descent(make_training(method))
    monkeypatch.setattr(made, "_critic_steps", lambda: torch.zeros(()))
    taken, before = shown_to(made, monkeypatch), copied(made.networks)
    networks = deepcopy(made.networks)
    shown = made._embedder_step()
    assert [len(rows) for _, rows, _ in taken] == ([7] if accumulate == 1 else [2, 2, 2, 1])
    x = torch.cat([crops for crops, _, _ in taken])
    encoded = networks["encoder"](x)
    drawn = networks["generator"](encoded)
    rebuilt = (drawn - x).square().mean() + (made.phi(drawn) - made.phi(x)).square().mean()
    norm = 3.0 * (encoded.norm(dim=1) - 1).square().mean()
    loss = 2.0 * (rebuilt + norm) + 0.5 * networks["discriminator"](encoded).mean()
    for name in ("generator", "encoder"):
        step = before[name] - flat_parameters(made.networks[name])
        torch.testing.assert_close(step, gradient(loss, networks[name]), rtol=1e-3, atol=1e-4)
    assert shown["reconstruction"].item() == pytest.approx(rebuilt.item(), rel=1e-4)
    assert shown["norm"].item() == pytest.approx(norm.item(), rel=1e-4)


@pytest.mark.parametrize("variant", BOTTLENECKS)
@pytest.mark.parametrize("accumulate", [1, 3])
def test_gradients_through_a_bottleneck(variant, accumulate, monkeypatch, unclipped):
    """Of E: L_cls of what classifies, the first half in split-branch, and alpha L_rec of the whole code."""
    method = make(variant=variant, accumulate=accumulate, alpha=2.0, temperature=3.0)
    made = with_plain_descent(make_training(method))
    taken, before, networks = shown_to(made, monkeypatch), copied(made.networks), deepcopy(made.networks)
    made.stages[0].step()
    x, rows = (torch.cat(parts) for parts in list(zip(*taken, strict=True))[:2])
    code = networks["embedder"](made.features[rows])
    assert code.shape == (6, 8 if variant == "split-branch" else 4)
    first = nn.functional.normalize(code[:, :4])
    drawn = networks["generator"](torch.cat([first, code[:, 4:]], dim=1))
    rebuilt = (drawn - x).square().mean() + (made.phi(drawn) - made.phi(x)).square().mean()
    loss = nn.functional.cross_entropy(3.0 * first @ made.vectors.T, made.labels[rows]) + 2.0 * rebuilt
    for name in ("embedder", "generator"):
        step = before[name] - flat_parameters(made.networks[name])
        torch.testing.assert_close(step, gradient(loss, networks[name]), rtol=1e-3, atol=1e-4)


def test_a_direct_map_draws_from_what_prediction_uses(monkeypatch):
    """G learns from E(x) without dropout, of crops of the same pictures, in pieces too."""
    made = make_training(make(variant="direct-map", dropout=0.5, accumulate=2))
    taken, codes, draw = shown_to(made, monkeypatch), [], made._drawing_losses
    monkeypatch.setattr(made, "_drawing_losses", lambda crops, code: (codes.append(code), draw(crops, code))[1])
    made.networks.train()
    made.stages[1].step()
    made.networks.eval()
    assert len(codes) == 2
    for (_, rows, _), code in zip(taken, codes, strict=True):
        torch.testing.assert_close(code, made.method.embed(made.networks, made.features[rows]).detach())


@pytest.mark.parametrize("changes", [{}, {"schedule": "joint"}, *({"variant": variant} for variant in BOTTLENECKS)])
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


def test_rates_and_betas_of_each_network():
    made = make_training(make(schedule="joint", learning_rate=0.01, autoencoder_rate=0.002))
    of = dict(zip(("embedder", "encoder", "generator"), made.optimisers["embedder"].param_groups, strict=True))
    made._set_rate(0.0)
    assert {name: (group["lr"], group["betas"]) for name, group in of.items()} == {
        "embedder": (0.01, (0.5, 0.999)),
        "encoder": (0.002, (0.9, 0.999)),
        "generator": (0.002, (0.9, 0.999)),
    }


def test_every_crop_of_every_picture_is_drawn(monkeypatch):
    made = make_training(make(alpha=1.0, beta=0.0, autoencoder_batch=48, autoencoder_steps=12))
    taken = shown_to(made, monkeypatch)
    while made.step < 12:
        made._advance(FitControls())
    pairs = {pair for _, rows, which in taken for pair in zip(rows.tolist(), which.tolist(), strict=True)}
    assert len(pairs) > 300  # of 480, in 576 draws
    assert {which for _, which in pairs} == set(range(10))


def test_a_frozen_encoder_reads_whole_pictures_once(monkeypatch):
    monkeypatch.setattr("firstsight.methods.spaen_pictures.training.HASHED", 7)
    made = make_training(make())
    with torch.no_grad():
        expected = made.networks["encoder"](whole(torch.from_numpy(made.pictures[:]), 32))
    rows = torch.tensor([5, 40, 5])
    torch.testing.assert_close(made._encode(rows), expected[rows])
    monkeypatch.setattr(made, "_read", None)
    torch.testing.assert_close(made._encode(rows), expected[rows])


def test_an_encoder_that_learns_reads_crops():
    made = make_training(make(schedule="joint"))
    rows = torch.arange(9)
    with torch.no_grad():
        one, other = made._encode(rows), made._encode(rows)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("classification", ["ranking", "softmax"])
def test_comparisons_with_classification_only_are_paired(classification, monkeypatch):
    """E starts alike and meets the same batches and dropout with and without F, G and D."""
    monkeypatch.setattr(training, "PERIOD", 1)
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

    monkeypatch.setattr(PictureTraining, "_read", read)
    says(f"device cpu must have memory for {sentence}", make(accumulate=accumulate).fit, DATA.training_set())


def test_other_errors_are_not_about_memory(monkeypatch):
    def read(*_):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(PictureTraining, "_read", read)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        make().fit(DATA.training_set())


def test_a_batch_is_shared_evenly(monkeypatch):
    monkeypatch.setattr(spaen_pictures.training.ranks, "n_ranks", lambda: 3)
    says("batch must be a multiple of 3, the processes that share it; got 8", make().fit, DATA.training_set())
    monkeypatch.setattr(spaen_pictures.training.ranks, "n_ranks", lambda: 4)
    sentence = "autoencoder_batch must be a multiple of 4, the processes that share it; got 6"
    says(sentence, make().fit, DATA.training_set())


# what it draws


@pytest.fixture(scope="module")
def method() -> SPAENPictures:
    return make().fit(DATA.training_set())


def test_a_few_pictures_are_learned_by_heart():
    data = tiny_dataset(n_seen=3, n_unseen=1, per_class=2, side=32)
    n = len(data.trainval)
    settings = {"width": 1 / 8, "autoencoder_batch": 8, "autoencoder_rate": 3e-3, "decay": "cosine"}
    settings |= {"perceptual_weight": 0.0, "norm_weight": 0.1, "beta": 0.0}
    method = make(**settings, autoencoder_steps=300 * 48 / n).fit(data.training_set())
    pictures = data.training_set().pictures[:].astype(float)
    drawn = method.reconstructed(pictures.astype(np.uint8))
    assert np.square(drawn - pictures).mean() < 0.3 * np.square(pictures.mean(axis=0) - pictures).mean()


def test_reconstructed(method, monkeypatch):
    pictures = painted(5, 32)
    drawn = method.reconstructed(pictures)
    assert (drawn.shape, drawn.dtype) == ((5, 32, 32, 3), np.uint8)
    with torch.no_grad():
        x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
        expected = method.networks_["generator"](method.networks_["encoder"](x)).clamp(0, 1) * 255
    assert np.abs(drawn - expected.permute(0, 2, 3, 1).numpy()).max() <= 0.51
    np.testing.assert_array_equal(method.reconstructed(pictures), drawn)
    np.testing.assert_array_equal(method.reconstructed(pictures[:0]), drawn[:0])
    monkeypatch.setattr(spaen_pictures, "DRAWN", 2)
    assert np.abs(method.reconstructed(pictures).astype(int) - drawn).max() <= 1


def test_larger_pictures_are_shrunk(method):
    large = painted(3, 32).repeat(4, axis=1).repeat(4, axis=2)
    small = (whole(torch.from_numpy(large), 32) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    assert np.abs(method.reconstructed(large).astype(int) - method.reconstructed(small)).max() <= 2


def test_imagined(method):
    drawn = method.imagined(DATA.classes)
    assert (drawn.shape, drawn.dtype) == ((9, 32, 32, 3), np.uint8)
    with torch.no_grad():
        expected = method.networks_["generator"](method.describe(DATA.classes)).clamp(0, 1) * 255
    assert np.abs(drawn - expected.permute(0, 2, 3, 1).numpy()).max() <= 0.51
    np.testing.assert_array_equal(method.imagined(DATA.classes), drawn)


@pytest.mark.parametrize("variant", get_args(spaen_pictures.Variant))
def test_a_loaded_model_draws_the_same(variant, tmp_path):
    method = make(variant=variant).fit(DATA.training_set())
    loaded = load_method(method.save(tmp_path / "model.safetensors"), "cpu")
    features = None if variant == "spaen" else DATA.features[:5]
    for network, other in zip(method.networks_.values(), loaded.networks_.values(), strict=True):
        assert torch.equal(flat_parameters(network), flat_parameters(other))
    pictures = painted(5, 32)
    np.testing.assert_array_equal(loaded.reconstructed(pictures, features), method.reconstructed(pictures, features))
    assert loaded.draws == method.draws == (variant == "spaen")
    assert loaded.side == 32
    if variant != "split-branch":
        np.testing.assert_array_equal(loaded.imagined(DATA.classes), method.imagined(DATA.classes))


def test_what_cannot_be_drawn(method):
    picture = painted(1, 32)
    says(
        "spaen-pictures must be fitted before it draws; got one without training; call fit",
        make().reconstructed,
        picture,
    )
    for call, given in ((method.reconstructed, picture[0]), (method.reconstructed, picture / 255)):
        says(f"pictures must be [n, h, h, 3] bytes; got {list(given.shape)} of {given.dtype}", call, given)
    blind = make(alpha=0.0, beta=0.0).fit(DATA.training_set())
    assert not blind.draws
    sentence = "alpha must be above 0 for a model that draws; got one trained with 0"
    says(sentence, blind.reconstructed, picture)
    says(sentence, blind.imagined, DATA.classes)
    split = make(variant="split-branch").fit(DATA.training_set())
    says("features must be given for split-branch, which draws from E(x); got none", split.reconstructed, picture)
    says("variant must draw from class embeddings to imagine one; got split-branch", split.imagined, DATA.classes)
    wide = tiny_dataset(a=5).classes
    says("candidates must have 4 columns, as in training; got 5", method.imagined, wide)


def test_the_second_half_of_a_split_code_draws_and_does_not_classify():
    method = make(variant="split-branch").fit(DATA.training_set())
    pictures, features = painted(5, 32), DATA.features[:5]
    scores, drawn = method.scores(features, DATA.classes), method.reconstructed(pictures, features)
    with torch.no_grad():
        method.networks_["embedder"][4].bias[4:] += 3.0
    np.testing.assert_array_equal(method.scores(features, DATA.classes), scores)
    assert not np.array_equal(method.reconstructed(pictures, features), drawn)


def test_what_a_training_shows(monkeypatch):
    monkeypatch.setattr(training, "PERIOD", 2)
    shown = []
    method = make().fit(DATA.training_set(), FitControls(draw=lambda step, pictures: shown.append((step, pictures))))
    assert [step for step, _ in shown] == [2, 3, 5, 7]  # ends of periods and stages
    everything = DATA.training_set().pictures
    pictures = everything[np.linspace(0, len(everything) - 1, 16).astype(int)]  # from all over, so of many classes
    for _, (real, drawn) in shown:
        assert real.shape == drawn.shape == (16, 32, 32, 3)
        seen = whole(torch.from_numpy(pictures), 32).permute(0, 2, 3, 1).numpy() * 255
        assert np.abs(real - seen).max() <= 0.51
    np.testing.assert_array_equal(shown[-1][1][1], method.reconstructed(pictures))
    assert not np.array_equal(shown[0][1][1], shown[-1][1][1])
    quiet = make().fit(DATA.training_set())
    assert torch.equal(flat_parameters(quiet.networks_), flat_parameters(method.networks_))


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
    monkeypatch.setattr(PictureTraining, "take_autoencoder", lambda self, _: taken.append(self.method.beta))
    variants = [make(beta=0.1), make(beta=0.2), make(beta=0.3, width=1 / 32), make(beta=0.4, schedule="joint")]
    list(SPAENPictures.fit_each(variants, DATA.training_set()))
    assert taken == [0.2]

"""SP-AEN: losses, networks and each phase of the training, against oracles of their own."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from firstsight.datasets import load
from firstsight.errors import InputError
from firstsight.evaluation.evaluate import evaluate
from firstsight.methods import SPAEN, FitControls, load_method
from firstsight.methods.scaling import scale_classes, scale_features
from firstsight.methods.spaen import losses, training
from firstsight.methods.spaen.networks import SLOPE, discriminator, perceptron
from firstsight.methods.spaen.training import Training
from tests.support.tiny import flat_parameters, tiny_dataset, tiny_training

TINY = {
    "alpha": 1.0,
    "beta": 0.5,
    "hidden": 6,
    "batch": 8,
    "steps": 4,
    "autoencoder_steps": 3,
    "critic_steps": 2,
    "schedule": "two-stage",
    "lipschitz": "penalty",
    "decay": "constant",
    "learning_rate": 1e-3,
    "dropout": 0.0,
    "device": "cpu",
}


def make(**changes) -> SPAEN:
    """Tiny settings; `steps` and `autoencoder_steps` are turned into passes over the 48 images that tests train on."""
    settings = TINY | changes
    for name in ("steps", "autoencoder_steps"):
        settings[name.replace("steps", "epochs")] = settings.pop(name) * settings["batch"] / 48
    return SPAEN(**settings)


def make_training(method: SPAEN, w: int = 9) -> Training:
    """A training of tiny networks on random tensors: 48 images, 7 features, 5 classes of 4 attributes."""
    torch.manual_seed(3)
    features, vectors = torch.randn(48, 7), nn.functional.normalize(torch.randn(5, 4))
    networks = method._networks(7, w, 4)
    made = Training(method, networks, features, torch.randn(48, w), torch.arange(48) % 5, vectors)
    made._set_rate(0.0)
    return made


def copied(networks: nn.ModuleDict) -> dict[str, torch.Tensor]:
    return {name: flat_parameters(network).clone() for name, network in networks.items()}


# losses


def possible_ranking_terms(compatibility, labels, margin, negatives):
    """For each image, the terms that a draw of its wrong class may give."""
    terms = []
    for row, label in zip(compatibility.tolist(), labels.tolist(), strict=True):
        hinges = [max(0.0, margin - row[label] + score) for wrong, score in enumerate(row) if wrong != label]
        if negatives == "violating":
            hinges = [hinge for hinge in hinges if hinge > 0] or [0.0]
        terms.append(hinges)
    return terms


@pytest.mark.parametrize("negatives", ["random", "violating"])
@pytest.mark.parametrize("margin", [0.0, 0.2, 1.0])
def test_ranking_loss_by_a_double_loop(negatives, margin):
    torch.manual_seed(0)
    compatibility, labels = torch.randn(6, 5), torch.tensor([0, 1, 2, 3, 4, 2])
    terms = possible_ranking_terms(compatibility, labels, margin, negatives)
    n_draws = 4000
    for image in range(6):
        rows = compatibility[[image]].expand(n_draws, -1)
        drawn = [losses.ranking_loss(row[None], labels[[image]], margin, negatives).item() for row in rows[:60]]
        for value in drawn:  # only what may be drawn
            assert min(abs(value - term) for term in terms[image]) < 1e-5
        mean = losses.ranking_loss(rows, labels[[image]].expand(n_draws), margin, negatives).item()
        spread = np.std(terms[image]) / math.sqrt(n_draws)  # each of them equally often
        assert mean == pytest.approx(np.mean(terms[image]), abs=5 * spread + 1e-5)


def test_ranking_loss_draws_every_wrong_class_and_never_the_right_one():
    compatibility = torch.tensor([[0.0, 1.0, 2.0, 4.0]]).expand(400, -1)
    values = {losses.ranking_loss(row[None], torch.tensor([2]), 5.0, "random").item() for row in compatibility}
    assert values == {3.0, 4.0, 7.0}  # 5 would be the right class itself


@pytest.mark.parametrize("negatives", ["random", "violating"])
def test_ranking_loss_is_zero_where_the_right_class_leads(negatives):
    compatibility = (5 * torch.eye(4)).requires_grad_()
    loss = losses.ranking_loss(compatibility, torch.arange(4), 0.2, negatives)
    loss.backward()
    assert loss.item() == 0
    assert not compatibility.grad.any()


def test_ranking_loss_pulls_right_and_wrong_apart():
    compatibility = torch.zeros(3, 4, requires_grad=True)
    losses.ranking_loss(compatibility, torch.tensor([0, 1, 2]), 0.2, "violating").backward()
    assert torch.allclose(compatibility.grad.gather(1, torch.tensor([[0], [1], [2]])), torch.tensor(-1 / 3))
    assert torch.allclose(compatibility.grad.sum(dim=1), torch.zeros(3), atol=1e-7)


def test_softmax_loss_by_hand():
    compatibility, labels = torch.randn(6, 5).double(), torch.tensor([0, 1, 2, 3, 4, 2])
    exps = np.exp(compatibility.numpy())
    expected = -np.log(exps[np.arange(6), labels.numpy()] / exps.sum(axis=1)).mean()
    assert losses.softmax_loss(compatibility, labels).item() == pytest.approx(expected)


def test_reconstruction_loss_by_hand():
    made, real = np.random.default_rng(0).normal(size=(2, 5, 3))
    expected = sum((a - b) ** 2 for x, y in zip(made, real, strict=True) for a, b in zip(x, y, strict=True)) / 5
    assert losses.reconstruction_loss(torch.tensor(made), torch.tensor(real)).item() == pytest.approx(expected)


def test_norm_loss_by_hand():
    embeddings = torch.tensor([[3.0, 4.0], [0.0, 0.5], [1.0, 0.0]])
    assert losses.norm_loss(embeddings).item() == pytest.approx((16 + 0.25 + 0) / 3)


def test_critic_loss_by_hand():
    encoded, embedded = torch.randn(7, 3), torch.randn(5, 3)
    critic = nn.Linear(3, 1)
    expected = critic(embedded).mean().item() - critic(encoded).mean().item()
    assert losses.critic_loss(critic, encoded, embedded).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("length", [0.0, 0.5, 1.0, 3.0])
def test_gradient_penalty_of_a_linear_critic(length):
    weight = length * nn.functional.normalize(torch.randn(4), dim=0)
    critic = lambda x: x @ weight[:, None]  # noqa: E731
    penalty = losses.gradient_penalty(critic, torch.randn(9, 4), torch.randn(9, 4), torch.rand(9, 1))
    assert penalty.item() == pytest.approx((length - 1) ** 2, abs=1e-5)


def test_gradient_penalty_of_a_quadratic_critic():
    """Of |x|^2 / 2 the gradient is x, so a point m of the way from 6e to 2e, for a direction e, gives (5 - 4 m)^2."""
    direction = nn.functional.normalize(torch.randn(1, 4))
    quadratic = lambda x: x.square().sum(dim=1, keepdim=True) / 2  # noqa: E731
    mix = torch.tensor([[0.0], [0.25], [0.9], [1.0]])
    encoded, embedded = (2 * direction).expand(4, -1), (6 * direction).expand(4, -1)
    expected = np.mean([(5 - 4 * m) ** 2 for m in mix.flatten().tolist()])
    assert losses.gradient_penalty(quadratic, encoded, embedded, mix).item() == pytest.approx(expected, rel=1e-5)


def test_points_between_are_drawn_anew_for_each_image_and_step(monkeypatch):
    made, mixes = make_training(make(critic_steps=3)), []
    monkeypatch.setattr(losses, "gradient_penalty", lambda *given: (mixes.append(given[3]), torch.zeros(()))[1])
    made._critic_steps()
    assert [mix.shape for mix in mixes] == [(8, 1)] * 3
    drawn = torch.cat(mixes).flatten()
    assert len(drawn.unique()) == 24
    assert 0 <= drawn.min() < 0.3
    assert 0.7 < drawn.max() <= 1


def test_gradient_penalty_reaches_the_critic_and_nothing_else():
    critic, encoded = discriminator(4), torch.randn(6, 4)
    losses.gradient_penalty(critic, encoded, torch.randn(6, 4), torch.rand(6, 1)).backward()
    assert encoded.grad is None
    assert all(parameter.grad is not None for parameter in list(critic.parameters())[:-1] if parameter.ndim == 2)


# scaling


def test_scaling_of_features():
    torch.manual_seed(0)
    features = torch.randn(50, 5) * torch.tensor([1.0, 2, 3, 4, 0]) + 1
    deviation, mean = torch.std_mean(features, dim=0, correction=0)

    def scaled(kind):
        return scale_features(kind, features.clone(), (2, 3), mean, deviation)

    assert torch.equal(scaled("none"), features)
    standard = scaled("standard")
    assert torch.allclose(standard.mean(dim=0), torch.zeros(5), atol=1e-5)
    assert torch.allclose(standard.std(dim=0, correction=0), torch.tensor([1.0, 1, 1, 1, 0]), atol=1e-5)
    for kind in ("l2", "standard-l2"):
        for part in scaled(kind).split((2, 3), dim=1):
            assert torch.allclose(part.norm(dim=1), torch.ones(50), atol=1e-5)
    assert torch.allclose(scaled("standard-l2")[:, :2], nn.functional.normalize(standard[:, :2]), atol=1e-6)


def test_scaling_of_classes():
    vectors = torch.randn(6, 4) + 2
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    mean = unit[:4].mean(dim=0)
    assert torch.equal(scale_classes("none", vectors, mean), vectors)
    assert torch.allclose(scale_classes("l2", vectors, mean), unit)
    centred = scale_classes("centred", vectors, mean)
    assert torch.allclose(centred, (unit - mean) / (unit - mean).norm(dim=1, keepdim=True), atol=1e-6)


def test_reconstruction_features_have_a_scaling_of_their_own(monkeypatch):
    seen = {}

    class Spy(Training):
        def __init__(self, method, networks, features, targets, labels, vectors):
            seen.update(features=features, targets=targets)
            super().__init__(method, networks, features, targets, labels, vectors)

    monkeypatch.setattr("firstsight.methods.spaen.Training", Spy)
    make(scaling="none", reconstruction_scaling="standard").fit(tiny_training(w=5))
    assert torch.allclose(seen["targets"].mean(dim=0), torch.zeros(5), atol=1e-5)
    make(scaling="none", reconstruction_scaling="standard").fit(tiny_training())
    assert seen["targets"] is seen["features"]


# networks


def linear_layers(network):
    return [tuple(layer.weight.shape[::-1]) for layer in network.modules() if isinstance(layer, nn.Linear)]


def test_sizes_of_the_networks():
    networks = make(hidden=1024)._networks(2048, 4096, 312)
    assert {name: linear_layers(network) for name, network in networks.items()} == {
        "embedder": [(2048, 1024), (1024, 312)],
        "encoder": [(4096, 1024), (1024, 312)],
        "generator": [(312, 1024), (1024, 4096)],
        "discriminator": [(312, 312), (312, 1)],
    }


def test_a_critic_has_no_sigmoid():
    torch.manual_seed(0)
    critic = discriminator(8)
    assert not [layer for layer in critic if isinstance(layer, nn.Sigmoid)]
    assert critic(100 * torch.randn(200, 8)).abs().max() > 1


@pytest.mark.parametrize("output", ["linear", "leaky"])
def test_output_of_the_embedder(output):
    torch.manual_seed(0)
    embeddings = perceptron(5, 8, 6, output, 0.5).eval()(torch.randn(200, 5))
    ratio = -embeddings.min() / embeddings.max()
    assert (ratio < 0.5) == (output == "leaky")


def test_dropout_is_on_the_inputs_of_both_layers_of_the_embedder_only():
    networks = make(dropout=0.4)._networks(7, 9, 4)
    rates = {
        name: [layer.p for layer in part.modules() if isinstance(layer, nn.Dropout)] for name, part in networks.items()
    }
    assert rates["embedder"] == [0.4, 0.4]
    assert not any(sum(rates[name]) for name in ("encoder", "generator", "discriminator"))


@pytest.mark.parametrize("n_in", [50, 400])
def test_he_initialisation(n_in):
    torch.manual_seed(0)
    for network in (perceptron(n_in, 300, 200, "linear", 0.0), discriminator(n_in)):
        for layer in network.modules():
            if isinstance(layer, nn.Linear) and layer.weight.numel() > 2000:
                expected = 2 / ((1 + SLOPE**2) * layer.in_features)
                assert layer.weight.var().item() == pytest.approx(expected, rel=0.1)
                assert layer.weight.mean().item() == pytest.approx(0, abs=0.1 * math.sqrt(expected))
                assert not layer.bias.any()


def test_which_networks_are_built():
    def parts(**changes):
        return set(make(**changes)._networks(7, 9, 4))

    assert parts(alpha=0.0, beta=0.0) == {"embedder"}
    assert parts(alpha=1.0, beta=0.0) == {"embedder", "encoder", "generator"}
    assert parts(alpha=1.0, beta=1.0) == {"embedder", "encoder", "generator", "discriminator"}
    assert "discriminator" in parts(alpha=0.0, beta=1.0)


# settings and presets


def test_presets():
    assert {"paper", "paper-cls-only", "cls-only"} <= set(SPAEN.presets)
    paper = SPAEN.preset("paper", seed=3)
    assert (paper.alpha, paper.beta, paper.seed) == (10.0, 5.0, 3)
    assert (paper.classification, paper.compatibility, paper.schedule) == ("ranking", "dot", "joint")
    assert (paper.lipschitz, paper.decay, paper.negatives) == ("clip", "plateau", "random")
    for name in ("cls-only", "paper-cls-only"):
        settings = SPAEN.preset(name)
        assert (settings.alpha, settings.beta) == (0.0, 0.0)
    assert SPAEN.preset("paper-cls-only").settings() == paper.settings() | {"alpha": 0.0, "beta": 0.0, "seed": 0}


@pytest.mark.parametrize("field", ["batch", "hidden", "critic_steps", "patience"])
def test_counts_are_at_least_one(field):
    with pytest.raises(InputError) as caught:
        SPAEN(**{field: 0})
    assert str(caught.value) == f"{field} must be 1 or more; got 0"


@pytest.mark.parametrize(("epochs", "steps"), [(1, 6), (2.5, 15), (0.01, 1), (0, 1)])
def test_a_pass_takes_as_many_steps_as_there_are_batches(epochs, steps):
    method = SPAEN(**({name: value for name, value in TINY.items() if "steps" not in name} | {"epochs": epochs}))
    assert [stage.steps for stage in make_training(method).stages] == [108, steps]


@pytest.mark.parametrize("dropout", [1.0, 1.5])
def test_dropout_leaves_something(dropout):
    with pytest.raises(InputError) as caught:
        SPAEN(dropout=dropout)
    assert str(caught.value) == f"dropout must be below 1; got {dropout}"


# training


def with_plain_descent(made: Training) -> Training:
    """Every optimiser becomes gradient descent of rate 1, so that a step shows its gradient."""
    for name, optimiser in made.optimisers.items():
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        made.optimisers[name] = torch.optim.SGD(parameters, lr=1.0)
    return made


def as_if_drawn(made: Training, monkeypatch, batches: list) -> None:
    """The next batches, in order."""
    left = [torch.tensor(batch) for batch in batches]
    monkeypatch.setattr(made, "_draw", lambda: left.pop(0))


@pytest.mark.parametrize("schedule", ["two-stage", "joint"])
@pytest.mark.parametrize("classification", ["softmax", "ranking"])
def test_gradients_of_an_embedder_step(schedule, classification, monkeypatch):
    """Of E: classification and critic. Of F and G: nothing, or in `joint` alpha L_rec and F's side of the critic."""
    method = make(
        schedule=schedule,
        classification=classification,
        compatibility="dot",
        critic_steps=1,
        temperature=2.0,
        norm_weight=3.0,
    )
    made = with_plain_descent(make_training(method))
    networks, before = made.networks, copied(made.networks)
    monkeypatch.setattr(made, "_critic_steps", lambda: torch.zeros(()))  # has tests of its own
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: None)
    batch, other = [1, 5, 9, 30], [2, 6, 8, 9]
    as_if_drawn(made, monkeypatch, [batch, other])

    def embedder_loss():
        embeddings = networks["embedder"](made.features[batch])
        scores = embeddings @ made.vectors.T
        torch.manual_seed(9)
        return (
            method.classification_loss(scores, made.labels[batch]) - 0.5 * networks["discriminator"](embeddings).mean()
        )

    def autoencoder_loss():
        x = made.targets[other]
        encoded = networks["encoder"](x)
        rebuilt = (networks["generator"](encoded) - x).square().sum(dim=1).mean()
        norm = 3.0 * (encoded.norm(dim=1) - 1).square().mean()
        return 1.0 * (rebuilt + norm) + 0.5 * networks["discriminator"](encoded).mean()

    expected = {}
    e = torch.autograd.grad(embedder_loss(), tuple(networks["embedder"].parameters()))
    expected["embedder"] = torch.cat([gradient.flatten() for gradient in e])
    for name in ("encoder", "generator"):
        gradients = torch.autograd.grad(autoencoder_loss(), tuple(networks[name].parameters()))
        expected[name] = torch.cat([g.flatten() for g in gradients]) * (schedule == "joint")
    expected["discriminator"] = torch.zeros_like(before["discriminator"])
    torch.manual_seed(9)
    made._embedder_step()
    for name, gradient in expected.items():
        step = before[name] - flat_parameters(networks[name])
        assert torch.allclose(step, gradient, atol=1e-4, rtol=1e-3), name


def test_classification_only_is_the_classification_loss_alone(monkeypatch):
    method = make(alpha=0.0, beta=0.0, classification="softmax", compatibility="dot", temperature=2.0)
    made = make_training(method)
    assert set(made.optimisers) == {"embedder"}
    assert made.steps == 4
    as_if_drawn(made, monkeypatch, [[1, 2, 3]])
    expected = losses.softmax_loss(
        2.0 * made.networks["embedder"](made.features[[1, 2, 3]]) @ made.vectors.T, made.labels[[1, 2, 3]]
    ).item()
    shown = made._embedder_step()
    assert shown.keys() == {"classification"}
    assert shown["classification"].item() == pytest.approx(expected, rel=1e-5)


def test_an_autoencoder_step_moves_encoder_and_generator_only():
    made = make_training(make())
    before = copied(made.networks)
    shown = made._autoencoder_step()
    assert shown.keys() == {"norm", "reconstruction"}
    moved = {name for name, network in made.networks.items() if not torch.equal(flat_parameters(network), before[name])}
    assert moved == {"encoder", "generator"}


def critic_alone(monkeypatch, encoded, embedded, **changes) -> Training:
    """A training whose F and E give these embeddings."""
    method = make(critic_steps=1, batch=len(encoded), learning_rate=0.01, **changes)
    made = make_training(method)
    monkeypatch.setattr(made, "_encode", lambda _: encoded)
    monkeypatch.setattr(method, "embed", lambda *_: embedded, raising=False)
    return made


@pytest.mark.parametrize("lipschitz", ["penalty", "clip"])
def test_the_critic_learns_to_tell_them_apart(lipschitz, monkeypatch):
    torch.manual_seed(0)
    encoded, embedded = torch.randn(30, 4) + 0.7, torch.randn(30, 4) - 0.7
    made = critic_alone(monkeypatch, encoded, embedded, lipschitz=lipschitz, clip=0.05)
    others = {name: parameters for name, parameters in copied(made.networks).items() if name != "discriminator"}
    critic = made.networks["discriminator"]

    def gap():
        return (critic(encoded).mean() - critic(embedded).mean()).item()

    made._critic_steps()  # the first clipping shrinks all
    before = gap()
    gaps = [made._critic_steps().item() for _ in range(60)]
    assert gap() > before
    assert gap() > 0
    assert gaps[-1] > gaps[0]
    assert gaps[0] == pytest.approx(before, abs=1e-5)  # what is shown is D(F(x)) - D(E(x'))
    for name, parameters in others.items():
        assert torch.equal(flat_parameters(made.networks[name]), parameters)


def test_clipping_bounds_the_critic():
    method = make(lipschitz="clip", clip=0.02, steps=6, learning_rate=0.05).fit(tiny_training())
    weights = flat_parameters(method.networks_["discriminator"])
    assert weights.abs().max().item() == pytest.approx(0.02)
    free = make(lipschitz="penalty", clip=0.02, steps=6, learning_rate=0.05).fit(tiny_training())
    assert flat_parameters(free.networks_["discriminator"]).abs().max() > 0.02


def test_the_penalty_keeps_the_slope_of_the_critic_near_one(monkeypatch):
    torch.manual_seed(0)
    encoded, embedded = 3 + torch.randn(60, 4), torch.randn(60, 4)
    made = critic_alone(monkeypatch, encoded, embedded, lipschitz="penalty", penalty=10.0)
    for _ in range(150):
        made._critic_steps()
    mix = torch.rand(60, 1)
    assert losses.gradient_penalty(made.networks["discriminator"], encoded, embedded, mix).item() < 0.2


@pytest.mark.parametrize("schedule", ["two-stage", "joint"])
def test_critic_steps_per_step(schedule, monkeypatch):
    made = make_training(make(critic_steps=4, batch=8, schedule=schedule))
    calls = []
    real = losses.critic_loss
    monkeypatch.setattr(losses, "critic_loss", lambda *given: (calls.append(given[1:]), real(*given))[1])
    made._embedder_step()
    assert len(calls) == 4
    assert all(batch.shape == (8, 4) and not batch.requires_grad for batches in calls for batch in batches)
    assert len({batch.sum().item() for batches in calls for batch in batches}) == 8  # independent draws


def test_the_critic_sees_the_embeddings_of_its_draws(monkeypatch):
    made = make_training(make(critic_steps=1, compatibility="dot"))
    seen = []
    real = losses.critic_loss
    monkeypatch.setattr(losses, "critic_loss", lambda *given: (seen.append(given[1:]), real(*given))[1])
    with torch.no_grad():
        encoded, embedded = made.networks["encoder"](made.targets), made.networks["embedder"](made.features)
    made._critic_steps()
    drawn = []
    for given, table in zip(seen[0], (encoded, embedded), strict=True):
        distances = torch.cdist(given, table, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1)
        assert distances.values.max() < 1e-5
        drawn.append(distances.indices.tolist())
    assert drawn[0] != drawn[1]  # x and x' are independent draws


@pytest.mark.parametrize("classification", ["ranking", "softmax"])
def test_comparisons_with_classification_only_are_paired(classification, monkeypatch):
    """E starts alike and meets the same batches and dropout with and without F, G and D."""
    monkeypatch.setattr(training, "PERIOD", 1)
    common = {"classification": classification, "dropout": 0.5, "steps": 5}
    alone = make(alpha=0.0, beta=0.0, **common).fit(tiny_training())
    beside = make(alpha=1.0, beta=0.0, schedule="two-stage", **common).fit(tiny_training())
    assert torch.equal(flat_parameters(alone.networks_["embedder"]), flat_parameters(beside.networks_["embedder"]))
    for schedule in ("two-stage", "joint"):
        first = {}
        for beta in (0.0, 0.5):
            seen = []
            method = make(alpha=beta, beta=beta, schedule=schedule, **common)
            method.fit(tiny_training(), FitControls(progress=lambda _, total, means, seen=seen: seen.append(means)))
            first[beta] = next(means["classification"] for means in seen if "classification" in means)
        assert first[0.0] == first[0.5]


def test_gradients_are_clipped_to_norm_10():
    made = with_plain_descent(make_training(make()))
    before = flat_parameters(made.networks["embedder"]).clone()
    losses_ = [weight * sum(p.square().sum() for p in made.networks["embedder"].parameters()) for weight in (1e4, 1e3)]
    made._descend("embedder", losses_)
    moved = (flat_parameters(made.networks["embedder"]) - before).norm().item()
    assert moved == pytest.approx(10, rel=1e-3)


def test_a_step_goes_down_the_sum_of_its_losses():
    parts = [[1.0], [0.2, 0.3, 0.5]]
    found = []
    for weights in parts:
        made = with_plain_descent(make_training(make()))
        loss = lambda made=made: made.networks["embedder"](made.features).square().mean()  # noqa: E731
        made._descend("embedder", (weight * loss() for weight in weights))
        made._descend("embedder", (weight * loss() for weight in weights))  # gradients of the first are gone
        found.append(flat_parameters(made.networks["embedder"]))
    assert torch.allclose(*found, atol=1e-5)


def test_in_two_stages_encoder_and_generator_learn_first_and_then_stand_still():
    method = make(steps=6, autoencoder_steps=4)
    made = make_training(method)
    snapshots = [copied(made.networks)]
    while made.step < made.steps:
        made._advance(FitControls())
        snapshots.append(copied(made.networks))
    assert len(snapshots) == 11
    for step, (before, after) in enumerate(pairwise(snapshots)):
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        assert moved == ({"encoder", "generator"} if step < 4 else {"embedder", "discriminator"})


def test_in_one_stage_all_learn_at_every_step():
    made = make_training(make(schedule="joint", steps=3))
    assert made.steps == 3
    for _ in range(3):
        before = copied(made.networks)
        made._advance(FitControls())
        assert all(not torch.equal(before[name], after) for name, after in copied(made.networks).items())


def test_the_critic_reaches_the_embedder():
    training_set = tiny_training()
    weights = {
        beta: flat_parameters(make(beta=beta, seed=1).fit(training_set).networks_["embedder"]) for beta in (0.0, 0.5)
    }
    assert not torch.equal(weights[0.0], weights[0.5])


def rates(made: Training) -> list[float]:
    """The rate at every step."""
    seen = []
    while made.step < made.steps:
        made._advance(FitControls())
        seen.append(made.optimisers["embedder"].param_groups[0]["lr"])
    return seen


def losses_of(made: Training, name: str, step) -> None:
    """The steps of a stage answer with these losses and learn nothing."""
    at = {"autoencoder": 0, "embedder": -1}[name]
    made.stages[at] = replace(made.stages[at], step=step)


def test_constant_rate():
    assert rates(make_training(make(decay="constant", steps=5, alpha=0.0, beta=0.0, learning_rate=0.01))) == [0.01] * 5


def test_cosine_rate_ends_at_zero():
    made = make_training(make(decay="cosine", steps=50, alpha=0.0, beta=0.0, learning_rate=0.01))
    seen = rates(made)
    expected = [0.01 * (1 + math.cos(math.pi * step / 50)) / 2 for step in range(50)]
    assert seen == pytest.approx(expected)
    assert seen[0] == 0.01
    assert seen[-1] < 0.01 * 0.002
    made._set_rate(1.0)
    assert made.optimisers["embedder"].param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)


def test_cosine_rate_starts_anew_for_the_embedder():
    made = make_training(make(decay="cosine", steps=4, autoencoder_steps=4, learning_rate=0.01))
    seen = rates(made)
    assert seen[:4] == seen[4:]


def test_plateau_cuts_the_rate_where_the_loss_stands_still(monkeypatch):
    monkeypatch.setattr(training, "PERIOD", 2)
    made = make_training(make(decay="plateau", patience=3, steps=16, alpha=0.0, beta=0.0, learning_rate=0.01))
    values = iter([5.0] * 2 + [4.0] * 14)  # falls once, after the first period, then stands
    losses_of(made, "embedder", lambda: {"classification": torch.tensor(next(values))})
    # periods end after steps 2, 4, ...; 4.0 is new at step 4, waits at 6, 8, 10, so the rate is cut from step 11 on
    assert rates(made) == pytest.approx([0.01] * 10 + [0.001] * 6)


def test_plateau_does_not_cut_while_the_loss_falls(monkeypatch):
    monkeypatch.setattr(training, "PERIOD", 2)
    made = make_training(make(decay="plateau", patience=1, steps=12, alpha=0.0, beta=0.0, learning_rate=0.01))
    values = iter([0.9**step for step in range(12)])
    losses_of(made, "embedder", lambda: {"classification": torch.tensor(next(values))})
    assert rates(made) == [0.01] * 12


def test_plateau_of_one_stage_does_not_slow_the_next(monkeypatch):
    monkeypatch.setattr(training, "PERIOD", 1)
    made = make_training(make(decay="plateau", patience=1, steps=2, autoencoder_steps=6, learning_rate=0.01))
    losses_of(made, "autoencoder", lambda: {"reconstruction": torch.tensor(1.0)})
    seen = rates(made)
    assert seen[5] < 0.001
    assert seen[6] == 0.01


def test_losses_are_reported_as_means_of_a_period(monkeypatch):
    monkeypatch.setattr(training, "PERIOD", 3)
    made = make_training(make(steps=5, alpha=0.0, beta=0.0))
    values = iter([1.0, 2.0, 3.0, 5.0, 7.0])
    losses_of(made, "embedder", lambda: {"classification": torch.tensor(next(values))})
    reports = []
    made.run(FitControls(progress=lambda *report: reports.append(report)))
    assert reports == [(3, 5, {"classification": 2.0}), (5, 5, {"classification": 6.0})]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_training_that_blows_up_says_so(value, monkeypatch):
    monkeypatch.setattr(losses, "softmax_loss", lambda compatibility, _: compatibility.sum() * value)
    method = make(classification="softmax", steps=3, alpha=0.0, beta=0.0)
    with pytest.raises(InputError) as caught:
        method.fit(tiny_training())
    assert str(caught.value) == (
        "training must stay finite; got {'classification': nan} at step 3; lower learning_rate, alpha or beta"
    )


@pytest.mark.parametrize("classification", ["ranking", "softmax"])
@pytest.mark.parametrize("schedule", ["two-stage", "joint"])
def test_the_loss_falls_on_separable_data(classification, schedule, monkeypatch):
    monkeypatch.setattr(training, "PERIOD", 10)
    seen = []
    method = make(
        classification=classification,
        schedule=schedule,
        compatibility="dot",
        negatives="random",
        margin=0.2,
        temperature=1.0,
        beta=0.01,
        hidden=16,
        batch=32,
        steps=80,
        autoencoder_steps=40,
        learning_rate=0.01,
    )
    data = tiny_dataset(noise=0.05, a=5)
    method.fit(data.training_set(), FitControls(progress=lambda step, total, means: seen.append(means)))
    shown = [means["classification"] for means in seen if "classification" in means]
    assert shown[-1] < 0.6 * shown[0]
    rebuilt = [means["reconstruction"] for means in seen if "reconstruction" in means]
    assert rebuilt[-1] < 0.6 * rebuilt[0]


def test_scores_are_cosines_under_cosine_compatibility():
    data = tiny_dataset()
    scores = (
        make(compatibility="cosine", class_scaling="l2").fit(data.training_set()).scores(data.features, data.classes)
    )
    assert np.abs(scores).max() <= 1 + 1e-5
    louder = make(compatibility="dot", class_scaling="l2").fit(data.training_set()).scores(data.features, data.classes)
    assert not np.allclose(scores, louder)


def test_dropout_is_off_when_scoring(tmp_path):
    data = tiny_dataset()
    method = make(dropout=0.9).fit(data.training_set())
    again = load_method(method.save(tmp_path / "model.safetensors"))
    for fitted in (method, again):
        assert not fitted.networks_.training
    np.testing.assert_array_equal(method.scores(data.features, data.classes), again.scores(data.features, data.classes))


def test_critic_and_autoencoder_are_saved_too(tmp_path):
    method = make().fit(tiny_training(w=5))
    loaded = load_method(method.save(tmp_path / "model.safetensors"))
    for name, network in method.networks_.items():
        assert torch.equal(flat_parameters(network), flat_parameters(loaded.networks_[name]))


def test_seeds_differ():
    one, other = (flat_parameters(make(seed=seed).fit(tiny_training()).networks_) for seed in (0, 1))
    assert not torch.equal(one, other)


@pytest.mark.slow
@pytest.mark.real_data
def test_the_tuned_settings_on_cub(gbu_root):
    """Seeds 0 to 2 reach an AUSUC of .431 to .433 and a calibrated h of 56.0 to 56.8 (docs/spaen.md)."""
    data = load(gbu_root / "CUB", features="resnet_logits.mat")
    result = evaluate(SPAEN(seed=0, device="cpu").fit(data.training_set()), data)
    assert result.ausuc >= 0.42
    assert result.h_cal >= 55

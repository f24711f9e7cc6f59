"""Each phase of the training of SP-AEN on features, against oracles of its own."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from firstsight.errors import InputError
from firstsight.methods import FitControls, loop
from firstsight.methods.spaen import losses
from firstsight.methods.spaen.steps import FeatureSteps, classification_loss
from tests.support.tiny import flat_parameters, tiny_dataset, tiny_training
from tests.support.trainings import copied, feature_steps, loop_of_steps, spaen, with_plain_descent


def test_points_between_are_drawn_anew_for_each_image_and_step(monkeypatch):
    made, mixes = feature_steps(spaen(critic_steps=3)), []
    monkeypatch.setattr(losses, "gradient_penalty", lambda *given: (mixes.append(given[3]), torch.zeros(()))[1])
    made.critic.learn()
    assert [mix.shape for mix in mixes] == [(8, 1)] * 3
    drawn = torch.cat(mixes).flatten()
    assert len(drawn.unique()) == 24
    assert 0 <= drawn.min() < 0.3
    assert 0.7 < drawn.max() <= 1


def test_reconstruction_features_have_a_scaling_of_their_own(monkeypatch):
    seen = {}

    def spy(method, networks, training, ranks):
        seen.update(features=training.features, targets=training.targets)
        return FeatureSteps(method, networks, training, ranks)

    monkeypatch.setattr("firstsight.methods.spaen.FeatureSteps", spy)
    spaen(scaling="none", reconstruction_scaling="standard").fit(tiny_training(w=5))
    assert torch.allclose(seen["targets"].mean(dim=0), torch.zeros(5), atol=1e-5)
    spaen(scaling="none", reconstruction_scaling="standard").fit(tiny_training())
    assert seen["targets"] is seen["features"]


@pytest.mark.parametrize(("epochs", "steps"), [(1, 6), (2.5, 15), (0.01, 1), (0, 1)])
def test_a_pass_takes_as_many_steps_as_there_are_batches(epochs, steps):
    method = replace(spaen(), epochs=epochs, autoencoder_epochs=18.0)
    assert [stage.steps for stage in feature_steps(method).stages] == [108, steps]


def as_if_drawn(made: FeatureSteps, monkeypatch, batches: list) -> None:
    """Draw these batches, in order."""
    left = [torch.tensor(batch) for batch in batches]
    monkeypatch.setattr(made.batches, "rows", lambda _: left.pop(0))


@pytest.mark.parametrize("schedule", ["two-stage", "joint"])
@pytest.mark.parametrize("classification", ["softmax", "ranking"])
@pytest.mark.parametrize(
    "weights",
    [
        {},
        {"critic_output": "sigmoid", "classification_weight": 7.0, "alpha": 5.0, "reconstruction": "mean"},
        {"critic_output": "log", "weight_decay": 0.3, "weight_decay_form": "loss"},
    ],
)
def test_gradients_of_an_embedder_step(schedule, classification, weights, monkeypatch):
    """Of E: classification and critic. Of F and G: nothing, or in `joint` alpha L_rec, norm and F's side of L_adv."""
    method = spaen(
        schedule=schedule,
        classification=classification,
        compatibility="dot",
        critic_steps=1,
        temperature=2.0,
        norm_weight=3.0,
        **weights,
    )
    made = with_plain_descent(feature_steps(method))
    networks, before = made.networks, copied(made.networks)
    monkeypatch.setattr(made.critic, "learn", lambda: torch.zeros(()))  # has tests of its own
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: None)
    batch, other = [1, 5, 9, 30], [2, 6, 8, 9]
    as_if_drawn(made, monkeypatch, [batch, other])
    is_log = method.critic_output == "log"
    side = {"linear": lambda x: x, "sigmoid": torch.sigmoid, "log": lambda x: -torch.log1p((-x).exp())}[
        method.critic_output
    ]

    def decay(network):
        weights = [p for name, p in network.named_parameters() if name.endswith("weight")]
        return 0.15 * sum(p.square().sum() for p in weights) * bool(method.weight_decay)

    def embedder_loss():
        embeddings = networks["embedder"](made.embedder.features(batch))
        scores = embeddings @ made.embedder.training.vectors.T
        torch.manual_seed(9)
        classification = classification_loss(method, scores, made.embedder.training.labels[batch])
        seen = -side(-networks["discriminator"](embeddings)) if is_log else side(networks["discriminator"](embeddings))
        return method.classification_weight * classification - 0.5 * seen.mean() + decay(networks["embedder"])

    def autoencoder_loss():
        x = made.targets[other]
        encoded = networks["encoder"](x)
        rebuilt = (networks["generator"](encoded) - x).square().sum(dim=1).mean()
        rebuilt = rebuilt / (x.shape[1] if method.reconstruction == "mean" else 1)
        norm = 3.0 * (encoded.norm(dim=1) - 1).square().mean()
        critic = side(networks["discriminator"](encoded)).mean()
        return method.alpha * rebuilt + norm + 0.5 * critic + decay(networks["encoder"]) + decay(networks["generator"])

    expected = {}
    e = torch.autograd.grad(embedder_loss(), tuple(networks["embedder"].parameters()))
    expected["embedder"] = torch.cat([gradient.flatten() for gradient in e])
    for name in ("encoder", "generator"):
        gradients = torch.autograd.grad(autoencoder_loss(), tuple(networks[name].parameters()))
        expected[name] = torch.cat([g.flatten() for g in gradients]) * (schedule == "joint")
    expected["discriminator"] = torch.zeros_like(before["discriminator"])
    torch.manual_seed(9)
    made.embedder_step()
    for name, gradient in expected.items():
        step = before[name] - flat_parameters(networks[name])
        assert torch.allclose(step, gradient, atol=1e-4, rtol=1e-3), name


def test_classification_only_is_the_classification_loss_alone(monkeypatch):
    method = spaen(alpha=0.0, beta=0.0, classification="softmax", compatibility="dot", temperature=2.0)
    made = feature_steps(method)
    assert set(made.optimisers) == {"embedder"}
    assert [stage.steps for stage in made.stages] == [4]
    as_if_drawn(made, monkeypatch, [[1, 2, 3]])
    expected = losses.softmax_loss(
        2.0 * made.networks["embedder"](made.embedder.features([1, 2, 3])) @ made.embedder.training.vectors.T,
        made.embedder.training.labels[[1, 2, 3]],
    ).item()
    shown = made.embedder_step()
    assert shown.keys() == {"classification"}
    assert shown["classification"].item() == pytest.approx(expected, rel=1e-5)


def test_an_autoencoder_step_moves_encoder_and_generator_only():
    made = feature_steps(spaen())
    before = copied(made.networks)
    shown = made.autoencoder_step()
    assert shown.keys() == {"norm", "reconstruction"}
    moved = {name for name, network in made.networks.items() if not torch.equal(flat_parameters(network), before[name])}
    assert moved == {"encoder", "generator"}


def critic_alone(encoded, embedded, **changes) -> FeatureSteps:
    """Make steps whose F and E give these embeddings."""
    method = spaen(critic_steps=1, batch=len(encoded), learning_rate=0.01, **changes)
    made = feature_steps(method)
    made.critic.encode, made.critic.embed = (lambda _: encoded), (lambda _: embedded)
    return made


@pytest.mark.parametrize("lipschitz", ["penalty", "clip"])
def test_the_critic_learns_to_tell_them_apart(lipschitz, monkeypatch):
    torch.manual_seed(0)
    encoded, embedded = torch.randn(30, 4) + 0.7, torch.randn(30, 4) - 0.7
    made = critic_alone(encoded, embedded, lipschitz=lipschitz, clip=0.05)
    others = {name: parameters for name, parameters in copied(made.networks).items() if name != "discriminator"}
    critic = made.networks["discriminator"]

    def gap():
        return (critic(encoded).mean() - critic(embedded).mean()).item()

    made.critic.learn()  # the first clipping shrinks all
    before = gap()
    gaps = [made.critic.learn().item() for _ in range(60)]
    assert gap() > before
    assert gap() > 0
    assert gaps[-1] > gaps[0]
    assert gaps[0] == pytest.approx(before, abs=1e-5)  # what is shown is D(F(x)) - D(E(x'))
    for name, parameters in others.items():
        assert torch.equal(flat_parameters(made.networks[name]), parameters)


def test_clipping_bounds_the_critic():
    method = spaen(lipschitz="clip", clip=0.02, steps=6, learning_rate=0.05).fit(tiny_training())
    weights = flat_parameters(method.networks_["discriminator"])
    assert weights.abs().max().item() == pytest.approx(0.02)
    free = spaen(lipschitz="penalty", clip=0.02, steps=6, learning_rate=0.05).fit(tiny_training())
    assert flat_parameters(free.networks_["discriminator"]).abs().max() > 0.02


def test_the_penalty_keeps_the_slope_of_the_critic_near_one(monkeypatch):
    torch.manual_seed(0)
    encoded, embedded = 3 + torch.randn(60, 4), torch.randn(60, 4)
    made = critic_alone(encoded, embedded, lipschitz="penalty", penalty=10.0)
    for _ in range(150):
        made.critic.learn()
    mix = torch.rand(60, 1)
    assert losses.gradient_penalty(made.networks["discriminator"], encoded, embedded, mix).item() < 0.2


@pytest.mark.parametrize("schedule", ["two-stage", "joint"])
def test_critic_steps_per_step(schedule, monkeypatch):
    made = feature_steps(spaen(critic_steps=4, batch=8, schedule=schedule))
    calls = []
    real = losses.adversarial_loss
    monkeypatch.setattr(losses, "adversarial_loss", lambda *given: (calls.append(given[1:3]), real(*given))[1])
    made.embedder_step()
    assert len(calls) == 4
    assert all(batch.shape == (8, 4) and not batch.requires_grad for batches in calls for batch in batches)
    assert len({batch.sum().item() for batches in calls for batch in batches}) == 8  # independent draws


@pytest.mark.parametrize("order", ["before", "after"])
def test_the_critic_learns_before_or_after_the_embedder(order, monkeypatch):
    made = feature_steps(spaen(critic_order=order))
    start, at_its_turn = copied(made.networks)["embedder"], []
    learn = made.critic.learn
    now = lambda: flat_parameters(made.networks["embedder"]).clone()  # noqa: E731
    monkeypatch.setattr(made.critic, "learn", lambda: (at_its_turn.append(now()), learn())[1])
    assert "critic gap" in made.embedder_step()
    assert len(at_its_turn) == 1
    assert torch.equal(at_its_turn[0], start) == (order == "before")


@pytest.mark.parametrize("rows", ["independent", "shared"])
def test_rows_of_the_critic(rows, monkeypatch):
    made, seen = feature_steps(spaen(critic_steps=3, critic_rows=rows)), {"embed": [], "encode": []}
    for name, drawn in seen.items():
        real = getattr(made.critic, name)
        monkeypatch.setattr(made.critic, name, lambda at, real=real, drawn=drawn: (drawn.append(at), real(at))[1])
    made.critic.learn()
    assert len(seen["embed"][0]) == len(seen["encode"][0]) == 24
    assert torch.equal(seen["embed"][0], seen["encode"][0]) == (rows == "shared")


def test_weights_of_the_critic(monkeypatch):
    """Its loss is critic_weight (penalty * gradient penalty - L_adv), with the sigmoid in L_adv alone."""
    encoded, embedded = torch.randn(8, 4), torch.randn(8, 4)
    changes = {"critic_weight": 50.0, "critic_output": "sigmoid", "penalty": 7.0, "lipschitz": "penalty"}
    made = critic_alone(encoded, embedded, **changes)
    taken = []
    monkeypatch.setattr("firstsight.methods.spaen.steps.descend", lambda _, given, *more: taken.append((given, more)))
    torch.manual_seed(5)
    made.critic.learn()
    torch.manual_seed(5)
    for _ in range(2):
        torch.randint(48, (8,))
    network, mix = made.networks["discriminator"], torch.rand(8, 1)
    gap = network(encoded).sigmoid().mean() - network(embedded).sigmoid().mean()
    expected = 50 * (7 * losses.gradient_penalty(network, encoded, embedded, mix) - gap)
    assert taken[0][0][0].item() == pytest.approx(expected.item(), rel=1e-5)


def test_optimisers():
    def kinds(**changes):
        return {type(one) for one in feature_steps(spaen(**changes)).optimisers.values()}

    assert kinds() == {torch.optim.AdamW}
    assert kinds(optimiser="rmsprop") == {torch.optim.RMSprop}


def test_the_critic_sees_the_embeddings_of_its_draws(monkeypatch):
    made = feature_steps(spaen(critic_steps=1, compatibility="dot"))
    seen = []
    real = losses.adversarial_loss
    monkeypatch.setattr(losses, "adversarial_loss", lambda *given: (seen.append(given[1:3]), real(*given))[1])
    with torch.no_grad():
        encoded, embedded = (
            made.networks["encoder"](made.targets),
            made.networks["embedder"](made.embedder.features(torch.arange(48))),
        )
    made.critic.learn()
    drawn = []
    for given, table in zip(seen[0], (encoded, embedded), strict=True):
        distances = torch.cdist(given, table, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1)
        assert distances.values.max() < 1e-5
        drawn.append(distances.indices.tolist())
    assert drawn[0] != drawn[1]  # x and x' are independent draws


@pytest.mark.parametrize("classification", ["ranking", "softmax"])
def test_comparisons_with_classification_only_are_paired(classification, monkeypatch):
    """E starts alike and meets the same batches and dropout with and without F, G and D."""
    monkeypatch.setattr(loop, "PERIOD", 1)
    common = {"classification": classification, "dropout": 0.5, "steps": 5}
    alone = spaen(alpha=0.0, beta=0.0, **common).fit(tiny_training())
    beside = spaen(alpha=1.0, beta=0.0, schedule="two-stage", **common).fit(tiny_training())
    assert torch.equal(flat_parameters(alone.networks_["embedder"]), flat_parameters(beside.networks_["embedder"]))
    for schedule in ("two-stage", "joint"):
        first = {}
        for beta in (0.0, 0.5):
            seen = []
            method = spaen(alpha=beta, beta=beta, schedule=schedule, **common)
            method.fit(tiny_training(), FitControls(progress=lambda _, total, means, seen=seen: seen.append(means)))
            first[beta] = next(means["classification"] for means in seen if "classification" in means)
        assert first[0.0] == first[0.5]


def test_in_two_stages_encoder_and_generator_learn_first_and_then_stand_still():
    method = spaen(steps=6, autoencoder_steps=4)
    made = feature_steps(method)
    snapshots = [copied(made.networks)]
    training = loop_of_steps(made)
    while training.step < training.steps:
        training.advance(FitControls())
        snapshots.append(copied(made.networks))
    assert len(snapshots) == 11
    for step, (before, after) in enumerate(pairwise(snapshots)):
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        assert moved == ({"encoder", "generator"} if step < 4 else {"embedder", "discriminator"})


def test_in_one_stage_all_learn_at_every_step():
    made = feature_steps(spaen(schedule="joint", steps=3))
    training = loop_of_steps(made)
    assert training.steps == 3
    for _ in range(3):
        before = copied(made.networks)
        training.advance(FitControls())
        assert all(not torch.equal(before[name], after) for name, after in copied(made.networks).items())


def test_the_critic_reaches_the_embedder():
    training_set = tiny_training()
    weights = {
        beta: flat_parameters(spaen(beta=beta, seed=1).fit(training_set).networks_["embedder"]) for beta in (0.0, 0.5)
    }
    assert not torch.equal(weights[0.0], weights[0.5])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_training_that_blows_up_says_so(value, monkeypatch):
    monkeypatch.setattr(losses, "softmax_loss", lambda compatibility, _: compatibility.sum() * value)
    method = spaen(classification="softmax", steps=3, alpha=0.0, beta=0.0)
    with pytest.raises(InputError) as caught:
        method.fit(tiny_training())
    assert str(caught.value) == (
        "training must stay finite; got {'classification': nan} at step 3; lower learning_rate, alpha or beta"
    )


@pytest.mark.parametrize("classification", ["ranking", "softmax"])
@pytest.mark.parametrize("schedule", ["two-stage", "joint"])
def test_the_loss_falls_on_separable_data(classification, schedule, monkeypatch):
    monkeypatch.setattr(loop, "PERIOD", 10)
    seen = []
    method = spaen(
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

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from firstsight.data import ClassEmbeddings
from firstsight.errors import InputError
from firstsight.methods import ALE, LATEM, SJE, DeViSE, FitControls
from firstsight.methods.bilinear import Bilinear
from tests.support.tiny import tiny_dataset, tiny_training

KINDS = [DeViSE, ALE, SJE, LATEM]


@dataclass(kw_only=True)
class AllViolators(Bilinear):
    """The rule with nothing to choose: every violator counts once."""

    name = "allviolators"
    dtype = torch.float64
    n_maps: int = 1

    def _weights(self, hinges, labels, generator):
        return (hinges > 0).to(hinges)


def problem(seed, m=1, v=4, a=3, s=5, b=6):
    """maps [m, a, v], features [b, v], labels [b], vectors [s, a], in float64; some hinges are zero, some not."""
    rng = np.random.default_rng(seed)
    maps, features, vectors = rng.normal(size=(m, a, v)), rng.normal(size=(b, v)), rng.normal(size=(s, a))
    return maps, features, rng.integers(0, s, b), vectors


def step(method, maps, features, labels, vectors):
    """The method's own step from these maps: the maps after it, and the loss before it."""
    after = torch.tensor(maps).flatten(0, 1)
    arrays = (torch.tensor(array) for array in (features, labels, vectors))
    loss = method._descend(after, *arrays, torch.Generator().manual_seed(0))
    return after.unflatten(0, maps.shape[:2]).numpy(), float(loss)


def plain_hinges(maps, image, right, vectors, margin):
    """[s] by a double loop over classes and maps; 0 for the right class."""
    scores = [max(float(vector @ weight @ image) for weight in maps) for vector in vectors]
    return [0.0 if y == right else max(0.0, margin + scores[y] - scores[right]) for y in range(len(vectors))]


def plain_loss(maps, features, labels, vectors, margin=1.0, of_image=sum):
    """Summed over images; `of_image` makes one number of an image's hinges."""
    return sum(of_image(plain_hinges(maps, x, r, vectors, margin)) for x, r in zip(features, labels, strict=True))


def numeric_gradient(loss, maps, width=1e-6):
    gradient = np.zeros_like(maps)
    for at in np.ndindex(maps.shape):
        above, below = maps.copy(), maps.copy()
        above[at] += width
        below[at] -= width
        gradient[at] = (loss(above) - loss(below)) / (2 * width)
    return gradient


def check_step(kind, of_image, seed, m=1, margin=1.0):
    """A step of any method whose choice is not random goes down the numeric gradient of its plain loss."""
    maps, *rest = problem(seed, m=m)
    method = kind(learning_rate=0.25, margin=margin)
    after, loss = step(method, maps, *rest)
    assert loss == pytest.approx(plain_loss(maps, *rest, margin, of_image), rel=1e-6)
    expected = maps - 0.25 * numeric_gradient(lambda at: plain_loss(at, *rest, margin, of_image), maps)
    np.testing.assert_allclose(after, expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("margin", [0.0, 1.0, 5.0])
def test_a_step_goes_down_the_summed_gradient(seed, m, margin):
    def kind(**settings):
        return AllViolators(n_maps=m, **settings)

    check_step(kind, sum, seed, m, margin)


def test_a_class_exactly_a_margin_behind_is_no_violator():
    maps, image, vectors = np.array([[[1.0], [0.0]]]), np.array([[2.0]]), np.eye(2)  # scores 2 and 0
    for margin, moves in ((2.0, False), (2.5, True), (1.5, False)):
        after, loss = step(AllViolators(margin=margin), maps, image, np.array([0]), vectors)
        assert (after != maps).any() == moves
        assert loss == max(0, margin - 2)


def test_images_without_violators_change_nothing():
    maps, features, labels, vectors = problem(0, b=40)
    method = AllViolators(margin=0.1)
    calm = np.array([not any(plain_hinges(maps, *pair, vectors, 0.1)) for pair in zip(features, labels, strict=True)])
    assert 0 < calm.sum() < 40
    every, loss = step(method, maps, features, labels, vectors)
    some, loss_of_some = step(method, maps, features[~calm], labels[~calm], vectors)
    np.testing.assert_allclose(every, some, atol=1e-12)
    assert loss == pytest.approx(loss_of_some)
    np.testing.assert_array_equal(step(method, maps, features[calm], labels[calm], vectors)[0], maps)


def test_only_the_ratio_of_margin_and_learning_rate_matters():
    maps, *rest = problem(1)
    after, _ = step(AllViolators(margin=1.0, learning_rate=0.5), maps, *rest)
    scaled, _ = step(AllViolators(margin=3.0, learning_rate=1.5), 3 * maps, *rest)
    np.testing.assert_allclose(scaled, 3 * after, rtol=1e-10)


@pytest.mark.parametrize("a", [2, 4, 9])
@pytest.mark.parametrize(("m", "batch"), [(1, 1), (2, 1), (2, 7)])
def test_training_in_a_basis_is_training_in_full(a, m, batch):
    """Against steps on whole maps [a, v], from the same start and in the same order, by the plain loop's choices."""
    training = tiny_training(a=a, n_seen=4)
    method = AllViolators(n_maps=m, batch=batch, epochs=3, seed=5, scaling="none", class_scaling="none", device="cpu")
    method.fit(training)
    features, vectors = training.features.astype(float), training.classes.vectors
    generator = torch.Generator().manual_seed(5)
    maps = torch.randn(m, a, features.shape[1], generator=generator).numpy() / features.shape[1] ** 0.5
    maps = np.linalg.pinv(vectors) @ vectors @ maps  # onto the span of the class embeddings
    for _ in range(3):
        order = torch.randperm(len(features), generator=generator).numpy()
        for start in range(0, len(order), batch):
            before = maps.copy()
            for row in order[start : start + batch]:
                image, right = features[row], training.labels[row]
                hinges = plain_hinges(before, image, right, vectors, 1.0)
                winners = (before @ image @ vectors.T).argmax(axis=0)  # [s]
                for wrong in np.flatnonzero(hinges):
                    maps[winners[wrong]] -= 0.3 * np.outer(vectors[wrong], image)
                    maps[winners[right]] += 0.3 * np.outer(vectors[right], image)
    np.testing.assert_allclose(method.maps_.numpy(), maps, atol=1e-6)


def test_scores_are_those_of_the_best_map():
    data = tiny_dataset()
    method = LATEM(n_maps=3, epochs=2, scaling="none", device="cpu").fit(data.training_set())
    vectors = data.classes.vectors / np.linalg.norm(data.classes.vectors, axis=1, keepdims=True)
    expected = np.einsum("nv,mav,ka->mnk", data.features, method.maps_.numpy(), vectors)
    assert len(np.unique(expected.argmax(axis=0))) == 3
    np.testing.assert_allclose(method.scores(data.features, data.classes), expected.max(axis=0), rtol=1e-4, atol=1e-5)


def test_every_image_is_seen_once_an_epoch(monkeypatch):
    training = tiny_training()
    batches = []

    def record(self, maps, features, labels, vectors, generator):
        batches.append((features, labels))
        return torch.zeros(())

    monkeypatch.setattr(AllViolators, "_descend", record)
    AllViolators(batch=20, epochs=3, scaling="none", device="cpu").fit(training)
    assert [len(labels) for _, labels in batches] == [20, 20, 8] * 3
    epochs = [torch.cat([features for features, _ in batches[at : at + 3]]).numpy() for at in (0, 3, 6)]
    labels = [torch.cat([labels for _, labels in batches[at : at + 3]]).numpy() for at in (0, 3, 6)]
    for features, rows in zip(epochs, labels, strict=True):
        order, whole = np.lexsort(features.T), np.lexsort(training.features.T)
        np.testing.assert_array_equal(features[order], training.features[whole].astype(float))
        np.testing.assert_array_equal(rows[order], training.labels[whole])
    assert (epochs[0] != epochs[1]).any()
    assert (epochs[1] != epochs[2]).any()


def test_progress_reports_the_mean_loss_a_hundred_times():
    training, seen = tiny_training(), []
    method = AllViolators(learning_rate=0, batch=20, epochs=200, scaling="none", class_scaling="none", device="cpu")
    method.fit(training, FitControls(progress=lambda *report: seen.append(report)))
    assert [(done, of) for done, of, _ in seen] == [(step, 600) for step in range(6, 601, 6)]
    loss = plain_loss(method.maps_.numpy(), training.features, training.labels, training.classes.vectors)
    for _, _, losses in seen:  # six batches of 20, 20 and 8 images are two epochs, and nothing is learned
        assert losses == pytest.approx({"loss": loss / len(training)})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("setting", ["learning_rate", "margin"])
@pytest.mark.parametrize("value", [1e38, 1e300])
def test_training_that_blows_up_says_so(kind, setting, value):
    with pytest.raises(InputError) as caught:
        kind(**{setting: value}, epochs=3, device="cpu").fit(tiny_training())
    assert str(caught.value).startswith("training must stay finite; got a loss of ")
    assert str(caught.value).endswith("; lower learning_rate or margin, or scale features")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("setting", ["batch", "epochs"])
def test_counts_that_must_be_positive(kind, setting):
    with pytest.raises(InputError) as caught:
        kind(**{setting: 0})
    assert str(caught.value) == f"{setting} must be 1 or more; got 0"


@pytest.mark.parametrize("kind", KINDS)
def test_one_seen_class_leaves_nothing_to_rank(kind):
    data = tiny_dataset(n_seen=1, n_unseen=2)
    trained, started = (
        kind(device="cpu", learning_rate=rate, epochs=2).fit(data.training_set()).scores(data.features, data.classes)
        for rate in (1.0, 0.0)
    )
    assert np.isfinite(trained).all()
    np.testing.assert_array_equal(trained, started)


@pytest.mark.parametrize("kind", KINDS)
def test_classes_with_the_same_or_no_embedding(kind):
    data = tiny_dataset()
    vectors = data.classes.vectors.copy()
    vectors[data.seen[1]] = vectors[data.seen[0]]
    vectors[data.seen[2]] = 0
    data = replace(data, classes=ClassEmbeddings(data.classes.names, vectors))
    method = kind(device="cpu", epochs=2).fit(data.training_set())
    assert np.isfinite(method.scores(data.features, data.classes)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_training_lowers_the_loss(kind):
    losses = []
    run = FitControls(progress=lambda done, steps, parts: losses.append(parts["loss"]))
    kind(device="cpu").fit(tiny_training(), run)
    assert losses[-1] < losses[0]

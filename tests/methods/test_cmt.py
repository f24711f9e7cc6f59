import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from firstsight.data import ClassEmbeddings
from firstsight.errors import InputError
from firstsight.methods import CMT, FitControls, cmt
from firstsight.methods.cmt import CMTStar, nearest
from tests.support.tiny import FAST, tiny_dataset, tiny_training

PLAIN = {"scaling": "none", "class_scaling": "l2", "device": "cpu"}  # what the oracles below compute with


def unbalanced(**options):
    """A data set with more training images of some classes than of others."""
    data = tiny_dataset(**options)
    keep = np.random.default_rng(0).random(len(data.trainval)) < 0.7
    keep[np.unique(data.labels[data.trainval], return_index=True)[1]] = True
    return tiny_dataset(**options, trainval=data.trainval[keep])


DATA = unbalanced()


def unit(matrix):
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def points_of(method, features):
    """[n, a] in float64."""
    theta1, theta2 = method.theta1_.double().numpy(), method.theta2_.double().numpy()
    return np.tanh(features.astype(float) @ theta1.T) @ theta2.T


def square_distances(points, vectors):
    return np.square(points[:, None] - vectors[None]).sum(axis=2)


def fast(kind=CMT, data=DATA, **options):
    return kind(**(FAST[kind.name] | PLAIN | options)).fit(data.training_set())


def sides(data):
    """[c] which classes are seen."""
    return data.is_seen


def test_training_ends_where_the_gradient_of_the_objective_is_zero():
    """Mean over images of ||y - theta2 tanh(theta1 x)||^2, and the penalty."""
    training = DATA.training_set()
    options = {"penalty": 0.05, "batch": 100, "learning_rate": 0.05, "hidden": 6}
    X = torch.tensor(training.features.astype(float))
    Y = torch.tensor(unit(training.classes.vectors)[training.labels])

    def gradient(epochs):
        method = fast(epochs=epochs, **options)
        thetas = [theta.double().requires_grad_() for theta in (method.theta1_, method.theta2_)]
        errors = Y - torch.tanh(X @ thetas[0].T) @ thetas[1].T
        objective = errors.square().sum(dim=1).mean() + 0.05 * sum(theta.square().sum() for theta in thetas)
        return max(part.abs().max() for part in torch.autograd.grad(objective, thetas))

    assert gradient(300) < 3e-3 * gradient(1)


def test_every_image_is_met_once_an_epoch(monkeypatch):
    met = []
    mapped = cmt.mapped
    monkeypatch.setattr(cmt, "mapped", lambda x, *thetas: met.append(x) or mapped(x, *thetas))
    reports = []
    training = DATA.training_set()
    method = CMT(**(FAST["cmt"] | PLAIN | {"epochs": 3}))
    method.fit(training, FitControls(progress=lambda *report: reports.append(report)))
    steps = 3 * math.ceil(len(training) / 16)
    assert [done for done, _, _ in reports] == list(range(1, steps + 1))
    assert {total for _, total, _ in reports} == {steps}
    for epoch in range(3):
        batches = torch.cat(met[epoch * steps // 3 : (epoch + 1) * steps // 3])
        assert not np.array_equal(batches, training.features)
        assert sorted(batches.tolist()) == sorted(training.features.tolist())


def test_the_seed_decides_the_weights():
    one, same, other = (fast(learning_rate=0.0, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.theta1_, same.theta1_)
    assert not torch.equal(one.theta1_, other.theta1_)
    assert not one.theta1_.requires_grad


def test_scores_are_negative_squared_distances():
    method = fast(epochs=20)
    expected = -square_distances(points_of(method, DATA.features), unit(DATA.classes.vectors))
    np.testing.assert_allclose(method.scores(DATA.features, DATA.classes), expected, rtol=1e-5, atol=1e-6)


def test_gaussian_novelty_against_scipy():
    """Novel: every density below the same fraction of its peak, the one that a quarter of the training images is."""
    method = fast(CMTStar, novelty="gaussian", outliers=0.25, epochs=20)
    training = DATA.training_set()
    means, points = unit(training.classes.vectors), points_of(method, training.features)
    gaussians = []
    for row, mean in enumerate(means):
        errors = points[training.labels == row] - mean
        gaussians.append(multivariate_normal(mean, np.square(errors).mean()))

    def best_log_density(points):
        """[n] the highest over the classes, less the density's peak."""
        return np.max([gaussian.logpdf(points) - gaussian.logpdf(gaussian.mean) for gaussian in gaussians], axis=0)

    queries = points_of(method, DATA.features)
    np.testing.assert_allclose(
        method._novelty(torch.tensor(queries).float()), best_log_density(queries) * -2 / 4, rtol=1e-4
    )
    unseen = DATA.classes[np.flatnonzero(~sides(DATA))[:1]]
    is_novel = method.scores(DATA.features, unseen)[:, 0] > 0
    threshold = np.quantile(best_log_density(points), 0.25)
    np.testing.assert_array_equal(is_novel, best_log_density(queries) < threshold)
    assert 0 < is_novel.mean() < 1


def loop_by_hand(points, queries, k, self_excluded):
    """Local outlier probabilities of queries, with lambda = 3 (Kriegel et al., CIKM 2009, section 3)."""

    def neighbours(point, own=None):
        others = [(math.dist(point, other), row) for row, other in enumerate(points) if row != own]
        return sorted(others)[:k]

    def pdist(found):
        return 3 * math.sqrt(sum(distance**2 for distance, _ in found) / len(found))

    extents = [pdist(neighbours(point, row)) for row, point in enumerate(points)]

    def plof(found):
        return pdist(found) / (sum(extents[row] for _, row in found) / len(found)) - 1

    factors = [plof(neighbours(point, row)) for row, point in enumerate(points)]
    scale = 3 * math.sqrt(sum(factor**2 for factor in factors) / len(factors))
    asked = factors if self_excluded else [plof(neighbours(query)) for query in queries]
    return [max(0.0, math.erf(factor / scale / math.sqrt(2))) for factor in asked]


@pytest.mark.parametrize("k", [1, 4, 100])
def test_local_outlier_probability_against_loops(k, monkeypatch):
    monkeypatch.setattr(cmt, "ROWS", 7)
    method = fast(CMTStar, novelty="loop", neighbours=k, epochs=20)
    points, queries = method.points_.double().numpy(), points_of(method, DATA.features[DATA.test_unseen])
    np.testing.assert_allclose(points, points_of(method, DATA.features[DATA.trainval]), atol=1e-6)
    found = (method.training_novelty_, method._novelty(torch.tensor(queries).float()))
    for novelty, self_excluded in zip(found, (True, False), strict=True):
        probability = torch.erf(novelty / math.sqrt(2)).clamp(min=0).numpy()
        expected = loop_by_hand(points, queries, k if k < 100 else len(points) - self_excluded, self_excluded)
        np.testing.assert_allclose(probability, expected, rtol=1e-3, atol=1e-4)
        assert probability.any()


def test_nearest_points_are_found_and_never_the_point_itself(monkeypatch):
    monkeypatch.setattr(cmt, "ROWS", 4)
    points = torch.randn(11, 3, generator=torch.Generator().manual_seed(0))
    distances, rows = nearest(points, points, 10, exclude_self=True)
    assert all(sorted([row, *others]) == list(range(11)) for row, others in enumerate(rows.tolist()))
    np.testing.assert_allclose(distances, (points[:, None] - points[rows]).norm(dim=2), rtol=1e-5)


def excess_of(method):
    """[n] novelty above the threshold, of all images."""
    novelty = method._novelty(torch.tensor(points_of(method, DATA.features)).float()).double().numpy()
    return novelty - np.quantile(method.training_novelty_.double().numpy(), 1 - method.outliers)


@pytest.fixture(params=["gaussian", "loop"])
def star(request):
    return fast(CMTStar, novelty=request.param, epochs=20)


def test_novel_images_go_to_unseen_classes_and_others_to_seen_ones(star):
    """In the order of CMT on either side."""
    scores, is_seen, is_novel = star.scores(DATA.features, DATA.classes), sides(DATA), excess_of(star) > 0
    plain = -square_distances(points_of(star, DATA.features), unit(DATA.classes.vectors))
    assert 0 < is_novel.mean() < 1
    possible = is_seen != is_novel[:, None]
    assert (scores[possible] > 0).all()
    assert (scores[~possible] <= 0).all()
    for side in (is_seen, ~is_seen):
        np.testing.assert_array_equal(scores[:, side].argsort(axis=1), plain[:, side].argsort(axis=1))


def test_what_is_impossible_is_lowered_by_how_far_the_threshold_is(star):
    """So gamma of calibrated stacking moves the threshold."""
    excess = excess_of(star)
    closeness = 1 / (1 + square_distances(points_of(star, DATA.features), unit(DATA.classes.vectors)))
    lowered = np.where(sides(DATA) == (excess > 0)[:, None], 1 + np.abs(excess)[:, None], 0)
    np.testing.assert_allclose(star.scores(DATA.features, DATA.classes), closeness - lowered, rtol=1e-4, atol=1e-4)


def test_units_of_class_embeddings_do_not_matter():
    """Weights of the same network for embeddings a thousand times as long."""
    method = fast(CMTStar, class_scaling="none", epochs=20)
    scores = method.scores(DATA.features, DATA.classes)
    method.theta2_, method.seen_vectors_ = 1000 * method.theta2_, 1000 * method.seen_vectors_
    method.variance_ = 1e6 * method.variance_
    longer = ClassEmbeddings(DATA.classes.names, 1000 * DATA.classes.vectors)
    np.testing.assert_allclose(method.scores(DATA.features, longer), scores, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("outliers", [0.0, 0.25, 1.0])
def test_outliers_is_the_fraction_of_the_training_images_that_is_novel(outliers):
    method = fast(CMTStar, novelty="gaussian", outliers=outliers)
    unseen = DATA.classes[np.flatnonzero(~sides(DATA))[:1]]
    is_novel = method.scores(DATA.features[DATA.trainval], unseen)[:, 0] > 0
    assert is_novel.sum() == pytest.approx(outliers * len(is_novel), abs=1)


def test_a_seen_class_is_known_by_its_embedding_not_its_name(star):
    seen = DATA.classes[DATA.seen[:1]]
    rescaled = ClassEmbeddings(("someone",), seen.vectors * (2 + 1e-9))
    moved = ClassEmbeddings((seen.names[0],), seen.vectors + np.eye(4)[:1] / 100)
    is_novel = excess_of(star) > 0
    for classes, is_possible in ((seen, ~is_novel), (rescaled, ~is_novel), (moved, is_novel)):
        np.testing.assert_array_equal(star.scores(DATA.features, classes)[:, 0] > 0, is_possible)


@pytest.mark.parametrize("novelty", ["gaussian", "loop"])
def test_settings_that_differ_in_outliers_alone_share_what_is_learned(novelty, monkeypatch):
    training = tiny_training()
    variants = [
        CMTStar(**(FAST["cmt_star"] | {"novelty": novelty, "outliers": outliers, "penalty": penalty}))
        for outliers in (0.1, 0.5)
        for penalty in (0.0, 0.1)
    ]
    alone = [variant.unfitted().fit(training) for variant in variants]
    trained, fit = [], CMT._fit
    monkeypatch.setattr(CMT, "_fit", lambda *arguments: trained.append(arguments) or fit(*arguments))
    assert list(map(id, CMTStar.fit_each(variants, training))) == list(map(id, variants))
    assert len(trained) == 2
    for variant, expected in zip(variants, alone, strict=True):
        scores = variant.scores(DATA.features, DATA.classes)
        np.testing.assert_array_equal(scores, expected.scores(DATA.features, DATA.classes))


def test_images_that_are_all_alike():
    data = tiny_dataset(features=np.ones((90, 7)))
    for novelty in ("gaussian", "loop"):
        assert np.isfinite(fast(CMTStar, data, novelty=novelty).scores(data.features, data.classes)).all()


@pytest.mark.parametrize("setting", ["hidden", "epochs", "batch", "neighbours"])
def test_settings_that_must_be_positive(setting):
    with pytest.raises(InputError) as caught:
        CMTStar(**{setting: 0})
    assert str(caught.value) == f"{setting} must be 1 or more; got 0"


def test_outliers_is_a_fraction():
    with pytest.raises(InputError) as caught:
        CMTStar(outliers=1.5)
    assert str(caught.value) == "outliers must be 1 or less; got 1.5"

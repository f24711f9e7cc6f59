import numpy as np
import pytest
import torch

from firstsight.methods import DeViSE
from tests.methods.test_bilinear import plain_hinges, problem, step


def weights_of(hinges, right):
    labels = torch.full((len(hinges),), right)
    return DeViSE()._weights(torch.tensor(hinges), labels, torch.Generator().manual_seed(0)).numpy()


def first_violator_in_a_random_order(hinges, rng):
    return next(y for y in rng.permutation(len(hinges)) if hinges[y] > 0)


def test_the_class_is_the_first_violator_in_a_random_order():
    """Its frequencies, against orders drawn and searched one by one."""
    hinges = [0.0, 0.2, 3.0, 0.0, 1.0, 0.0]
    weights = weights_of(np.tile(hinges, (20_000, 1)), right=0)
    assert set(np.unique(weights)) == {0, 1}
    np.testing.assert_array_equal(weights.sum(axis=1), 1)
    rng = np.random.default_rng(0)
    drawn = [first_violator_in_a_random_order(hinges, rng) for _ in range(20_000)]
    expected = np.bincount(drawn, minlength=6) / 20_000
    np.testing.assert_allclose(weights.mean(axis=0), expected, atol=0.015)


def test_images_draw_by_themselves():
    weights = weights_of(np.tile([0.0, 1.0, 1.0], (1000, 1)), right=0)
    chosen = weights.argmax(axis=1)
    assert abs(np.corrcoef(chosen[:-1], chosen[1:])[0, 1]) < 0.1


def test_without_violators_no_class_counts():
    assert not weights_of(np.zeros((3, 4)), right=2).any()


@pytest.mark.parametrize("seed", range(8))
def test_the_update_is_towards_the_right_and_away_from_one_violator(seed):
    maps, features, labels, vectors = problem(seed, b=1)
    hinges = plain_hinges(maps, features[0], labels[0], vectors, 1.0)
    after, loss = step(DeViSE(learning_rate=0.5), maps, features, labels, vectors)
    candidates = [
        maps[0] + 0.5 * np.outer(vectors[labels[0]] - vectors[wrong], features[0]) for wrong in np.flatnonzero(hinges)
    ] or [maps[0]]
    fits = [np.allclose(after[0], candidate) for candidate in candidates]
    assert sum(fits) == 1
    assert loss == pytest.approx(sum(hinges) and hinges[np.flatnonzero(hinges)[fits.index(True)]])

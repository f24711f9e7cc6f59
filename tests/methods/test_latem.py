import numpy as np
import pytest
import torch

from firstsight.errors import InputError
from firstsight.methods import LATEM, SJE
from tests.methods.test_bilinear import numeric_gradient, plain_loss, problem, step
from tests.support.tiny import tiny_training


def test_the_wrong_class_is_drawn_among_all():
    """A class that does not violate is drawn as often, and then nothing happens."""
    n, s = 20_000, 6
    for right in range(s):
        hinges = np.tile([0.0, 0.2, 3.0, 0.0, 1.0, 0.0], (n, 1))
        hinges[:, right] = 0
        generator = torch.Generator().manual_seed(right)
        weights = LATEM()._weights(torch.tensor(hinges), torch.full((n,), right), generator).numpy()
        assert set(np.unique(weights)) == {0, 1}
        np.testing.assert_allclose(weights.mean(axis=0), (hinges[0] > 0) / (s - 1), atol=0.012)


VECTORS = np.eye(2)
IMAGE = np.array([[1.0, 2.0]])


def test_the_winning_maps_of_both_classes_move():
    maps = np.array([[[3.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 2.0]], [[0.0, 1.0], [1.0, -1.0]]])
    assert (maps @ IMAGE[0]).tolist() == [[3, 0], [0, 4], [2, -1]]  # [m, s]
    after, loss = step(LATEM(n_maps=3, learning_rate=0.5), maps, IMAGE, np.array([0]), VECTORS)
    assert loss == 1 + 4 - 3
    expected = maps.copy()
    expected[0, 0] += 0.5 * IMAGE[0]
    expected[1, 1] -= 0.5 * IMAGE[0]
    np.testing.assert_array_equal(after, expected)


def test_one_map_that_wins_for_both_classes_moves_twice():
    maps = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    after, _ = step(LATEM(n_maps=2, learning_rate=0.5), maps, IMAGE, np.array([0]), VECTORS)
    np.testing.assert_array_equal(after[0], maps[0] + 0.5 * np.outer([1, -1], IMAGE[0]))
    np.testing.assert_array_equal(after[1], maps[1])


def test_maps_stay_where_the_drawn_class_does_not_violate():
    maps = np.array([[[9.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    after, loss = step(LATEM(n_maps=2), maps, IMAGE, np.array([0]), VECTORS)
    assert loss == 0
    np.testing.assert_array_equal(after, maps)


@pytest.mark.parametrize("seed", range(3))
def test_one_map_is_bilinear(seed):
    """With two classes no choice is left: the loss is the structured hinge, and so is what is learned."""
    training = tiny_training(n_seen=2, seed=seed)
    settings = {"epochs": 1, "batch": 4, "learning_rate": 0.3, "device": "cpu", "seed": seed}
    latem, sje = LATEM(n_maps=1, **settings).fit(training), SJE(**settings).fit(training)
    assert latem.maps_.shape == (1, 4, 7)
    np.testing.assert_allclose(latem.maps_, sje.maps_, rtol=1e-5, atol=1e-7)
    unmoved = SJE(**settings | {"learning_rate": 0}).fit(training)
    assert not torch.allclose(sje.maps_, unmoved.maps_)


@pytest.mark.parametrize("seed", range(4))
def test_a_step_goes_down_the_hinge_of_the_class_drawn(seed, monkeypatch):
    monkeypatch.setattr(torch, "randint", lambda low, high, size, generator: torch.full(size, 2))
    maps, features, labels, vectors = problem(seed, m=3)
    labels[:] = 1  # so that class 3 is drawn
    after, loss = step(LATEM(n_maps=3, learning_rate=0.5), maps, features, labels, vectors)

    def plain(at):
        return plain_loss(at, features, labels, vectors, of_image=lambda hinges: hinges[3])

    assert loss == pytest.approx(plain(maps))
    np.testing.assert_allclose(after, maps - 0.5 * numeric_gradient(plain, maps), atol=1e-6)


def test_no_maps():
    with pytest.raises(InputError) as caught:
        LATEM(n_maps=0)
    assert str(caught.value) == "n_maps must be 1 or more; got 0"

import numpy as np
import pytest
import torch

from firstsight.methods import ALE
from tests.methods.test_bilinear import check_step


def warp(hinges):
    """The loss of one image, by loops."""
    rank = sum(hinge > 0 for hinge in hinges)
    beta = sum(1 / place for place in range(1, rank + 1))
    return sum(beta / rank * hinge for hinge in hinges if hinge > 0)


@pytest.mark.parametrize("seed", range(6))
def test_a_step_goes_down_the_warp_loss(seed):
    check_step(ALE, warp, seed)


def test_weights_by_hand():
    hinges = torch.tensor([[0, 2, 0, 0], [0.1, 0, 9, 0], [3, 1, 2, 0], [0, 0, 0, 0]])
    expected = [[0, 1, 0, 0], [3 / 4, 0, 3 / 4, 0], [11 / 18, 11 / 18, 11 / 18, 0], [0, 0, 0, 0]]
    weights = ALE()._weights(hinges, torch.tensor([0, 1, 3, 2]), torch.Generator())
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_the_last_rank_of_many():
    hinges = torch.ones(1, 1000)
    hinges[0, 0] = 0
    weights = ALE()._weights(hinges, torch.tensor([0]), torch.Generator())
    assert float(weights.sum()) == pytest.approx(sum(1 / place for place in range(1, 1000)), rel=1e-5)

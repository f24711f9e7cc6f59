import numpy as np
import pytest
import torch

from firstsight.methods import SJE
from tests.methods.test_bilinear import check_step, problem, step


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("margin", [0.0, 1.0])
def test_a_step_goes_down_the_structured_hinge(seed, margin):
    check_step(SJE, max, seed, margin=margin)


def test_the_update_is_towards_the_right_and_away_from_the_worst_class():
    maps, features, _, vectors = problem(3, b=1)
    scores = (vectors @ maps[0] @ features[0]).tolist()
    last, first = int(np.argmin(scores)), int(np.argmax(scores))
    after, loss = step(SJE(learning_rate=0.5), maps, features, np.array([last]), vectors)
    assert loss == pytest.approx(1 + scores[first] - scores[last])
    np.testing.assert_allclose(after[0], maps[0] + 0.5 * np.outer(vectors[last] - vectors[first], features[0]))


def test_weights_by_hand():
    hinges = torch.tensor([[0, 2, 1, 0], [0.1, 0, 9, 3], [0, 0, 0, 0]])
    weights = SJE()._weights(hinges, torch.tensor([0, 1, 2]), torch.Generator())
    assert weights.tolist() == [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]

import numpy as np
import pytest
import torch

from firstsight.features import compact as module
from firstsight.features.compact import compact_features


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Two epochs on one thread: threads cost more than they save on pictures this small."""
    monkeypatch.setattr(module, "N_EPOCHS", 2)
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture
def toys():
    """24 pictures of two classes, of which the first 16 are for training."""
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 2
    pictures = rng.integers(0, 60, (24, 20, 24, 3), dtype=np.uint8)
    pictures[labels == 1, :, :, 0] += 150
    return pictures, np.arange(16), labels


def test_one_finite_unit_row_per_picture(toys):
    features = compact_features(*toys)
    assert features.shape == (24, sum(module.WIDTHS[1:]))
    assert features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)


def test_same_seed_same_features(toys):
    first, again, other = (compact_features(*toys, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_other_pictures_and_labels_have_no_influence(toys):
    pictures, train, labels = toys
    changed, relabelled = pictures.copy(), labels.copy()
    changed[16:] = 255 - changed[16:]
    relabelled[16:] = 7
    before, after = compact_features(*toys), compact_features(changed, train, relabelled)
    np.testing.assert_allclose(before[:16], after[:16], atol=1e-5)
    assert not np.allclose(before[16:], after[16:], atol=1e-2)


def test_random_state_of_the_caller_is_kept(toys):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    compact_features(*toys)
    assert torch.equal(torch.rand(3), expected)


def test_inputs_are_not_written_to(toys):
    copies = [array.copy() for array in toys]
    compact_features(*toys)
    for array, copy in zip(toys, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_progress_is_told_of_every_epoch(toys):
    calls = []
    compact_features(*toys, progress=lambda *call: calls.append(call))
    assert [call[:3] for call in calls] == [("features", 1, 2), ("features", 2, 2)]
    assert all(np.isfinite(call[3]["loss"]) for call in calls)


def test_large_pictures_are_taken_too():
    pictures = np.random.default_rng(0).integers(0, 256, (6, 90, 100, 3), dtype=np.uint8)
    assert np.isfinite(compact_features(pictures, np.arange(4), np.arange(6) % 2)).all()

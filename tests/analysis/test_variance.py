import numpy as np
import pytest

from firstsight.analysis import attribute_variance
from firstsight.datasets import load
from firstsight.errors import InputError


def test_variance_over_images(make_gbu):
    data = load(
        make_gbu(att=np.random.default_rng(3).random((3, 6)), trainval_loc=np.array([[1.0, 2, 3, 6, 7, 11, 16]]))
    )
    report = attribute_variance(data)
    images = data.classes.vectors / np.linalg.norm(data.classes.vectors, axis=1, keepdims=True)
    images = images[data.labels]  # [n, a]
    expected = [images[split].var(axis=0) for split in (data.trainval, data.test_unseen)]
    np.testing.assert_allclose(report.trainval, expected[0])
    np.testing.assert_allclose(report.test_unseen, expected[1])
    assert report.cosine == pytest.approx(
        expected[0] @ expected[1] / np.linalg.norm(expected[0]) / np.linalg.norm(expected[1])
    )
    assert report.attributes == []


def test_class_of_zeros(make_gbu):
    vectors = np.random.default_rng(3).random((3, 6))
    vectors[:, 0] = 0
    assert 0 < attribute_variance(load(make_gbu(att=vectors))).cosine <= 1


def test_one_unseen_class(make_gbu):
    data = load(make_gbu(test_unseen_loc=np.array([[21.0], [22.0]])))
    with pytest.raises(InputError) as caught:
        attribute_variance(data)
    assert str(caught.value) == "test_unseen must hold images of classes that differ; got 1 classes"


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "cosine"), [("SUN", 0.9851), ("CUB", 0.9575), ("AWA2", 0.7459), ("APY", 0.5847)])
def test_head_of_table_1(gbu_root, name, cosine):
    assert round(attribute_variance(load(gbu_root / name)).cosine, 4) == cosine

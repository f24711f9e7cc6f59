import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_distances as reference

from firstsight.analysis import attribute_variance, projection
from firstsight.analysis.projection import cosine_distances, high_variance
from firstsight.data import ClassEmbeddings
from firstsight.errors import InputError
from tests.support.tiny import tiny_dataset

DATA = tiny_dataset(a=8, n_seen=8, n_unseen=4)


def test_the_upper_half_varies_more():
    variance = np.array(attribute_variance(DATA).trainval)
    high = high_variance(DATA)
    assert high.sum() == 4
    assert variance[high].min() >= variance[~high].max()
    assert high_variance(tiny_dataset(a=5)).sum() == 3


def test_distances():
    vectors = np.random.default_rng(0).normal(size=(6, 3))
    found = cosine_distances(vectors)
    off = ~np.eye(6, dtype=bool)
    np.testing.assert_allclose(found[off], reference(vectors)[off], atol=1e-12)
    assert np.isinf(np.diag(found)).all()


def test_a_point_for_each_class_with_test_images():
    some = tiny_dataset(a=8, n_seen=8, n_unseen=4)
    gone = some.unseen[0]
    keep = some.test_unseen[some.labels[some.test_unseen] != gone]
    maps = projection(tiny_dataset(a=8, n_seen=8, n_unseen=4, test_unseen=keep))
    assert maps.class_ == [row for row in range(12) if row != gone]
    assert maps.images == [10 if row in some.unseen else 2 for row in maps.class_]
    assert np.array(maps.all).shape == np.array(maps.high).shape == (11, 2)
    assert np.isfinite(maps.all).all()


def test_distances_to_the_nearest_other_class():
    maps = projection(DATA)
    high = high_variance(DATA)
    is_unseen = ~DATA.is_seen
    for name, vectors in (("all", DATA.classes.vectors), ("high", DATA.classes.vectors[:, high])):
        table = reference(vectors) + 9 * np.eye(12)
        nearest = table.min(axis=1)
        assert getattr(maps.nearest, name).unseen == pytest.approx(nearest[is_unseen].mean())
        assert getattr(maps.nearest, name).seen == pytest.approx(nearest[~is_unseen].mean())
        for one in maps.lost:
            row = DATA.classes.names.index(one.class_)
            assert row in DATA.unseen
            assert getattr(one, name) == pytest.approx(nearest[row])
            if name == "high":
                assert DATA.classes.names[table[row].argmin()] == one.neighbour
    losses = [one.all - one.high for one in maps.lost]
    assert losses == sorted(losses, reverse=True)
    assert all(loss > 0 for loss in losses)


def test_the_same_map_twice():
    assert projection(DATA) == projection(DATA)
    assert projection(DATA, seed=1).nearest == projection(DATA).nearest


def test_groups_stay_groups():
    centres = np.repeat(np.eye(8)[:3], 4, axis=0) * 10
    vectors = centres + np.random.default_rng(0).normal(size=centres.shape) * 0.1
    maps = projection(tiny_dataset(a=8, n_seen=8, n_unseen=4, classes=ClassEmbeddings(DATA.classes.names, vectors)))
    points = np.array(maps.all)
    distances = np.linalg.norm(points[:, None] - points, axis=2) + 1e9 * np.eye(12)
    np.testing.assert_array_equal(distances.argmin(axis=1) // 4, np.arange(12) // 4)


def test_too_little_for_a_map():
    with pytest.raises(InputError) as caught:
        projection(tiny_dataset(a=3))
    assert (
        str(caught.value) == "a map must have 4 test classes and 4 attributes or more; got 9 and 3; choose other data"
    )

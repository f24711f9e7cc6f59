import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_distances as reference

from firstsight.analysis import attribute_variance, projection
from firstsight.analysis.projection import high_variance, nearest_of_others
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


@pytest.mark.parametrize("block", [2, 7, 100])
def test_distances(monkeypatch, block):
    monkeypatch.setitem(nearest_of_others.__globals__, "BLOCK", block)
    rng = np.random.default_rng(0)
    vectors, classes = rng.normal(size=(20, 3)), rng.integers(5, 9, 20)
    table = reference(vectors)
    table[classes[:, None] == classes] = 9
    distances, places = nearest_of_others(vectors, classes)
    np.testing.assert_allclose(distances, table.min(axis=1), atol=1e-12)
    np.testing.assert_array_equal(places, table.argmin(axis=1))


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


def images(seed=0, a=8):
    return np.random.default_rng(seed).integers(0, 2, (len(DATA.labels), a)).astype(np.uint8)


def test_a_point_for_each_test_image():
    own = images()
    maps = projection(DATA, attributes=own)
    tests = DATA.test_images
    assert (maps.of, maps.images) == ("images", [])
    assert maps.class_ == DATA.labels[tests].tolist()
    assert np.array(maps.all).shape == np.array(maps.high).shape == (len(tests), 2)
    assert projection(DATA).of is None


def test_distances_of_images_to_those_of_other_classes():
    own = images()
    own[DATA.test_unseen[:2]] = 0  # an image with no attribute
    maps = projection(DATA, attributes=own)
    labels, is_unseen = DATA.labels[DATA.test_images], ~DATA.is_seen[DATA.labels[DATA.test_images]]
    means = {}
    for name, columns in (("all", np.full(8, True)), ("high", high_variance(DATA))):
        table = reference(own[DATA.test_images][:, columns].astype(float))
        table[labels[:, None] == labels] = 9
        nearest = table.min(axis=1)
        assert getattr(maps.nearest, name).unseen == pytest.approx(nearest[is_unseen].mean())
        assert getattr(maps.nearest, name).seen == pytest.approx(nearest[~is_unseen].mean())
        means[name] = {row: nearest[labels == row].mean() for row in DATA.unseen}
    losses = sorted(((means["all"][row] - means["high"][row], row) for row in DATA.unseen), reverse=True)
    assert [one.class_ for one in maps.lost] == [DATA.classes.names[row] for _, row in losses[:3]]
    for one, (_, row) in zip(maps.lost, losses, strict=False):
        assert (one.all, one.high) == pytest.approx((means["all"][row], means["high"][row]))


def test_the_neighbour_of_a_class_is_that_of_most_of_its_images():
    own = np.zeros((len(DATA.labels), 8))
    own[np.arange(len(own)), DATA.labels % 8] = 1  # all images of class 0 and of class 8 are alike
    (unseen,) = DATA.unseen[:1]
    high = np.flatnonzero(high_variance(DATA))
    low = np.setdiff1d(np.arange(8), high)
    mine, other, third = DATA.labels == unseen, DATA.labels == DATA.seen[0], DATA.labels == DATA.seen[1]
    own[mine | other | third] = 0
    own[mine, low[0]] = own[other | third, low[1]] = 1  # the low half alone parts it from two others
    own[np.ix_(mine | other | third, high[:2])] = 1
    own[third, high[0]] = 0
    rows = np.flatnonzero(mine)
    own[rows[0], high[0]] = 0  # one of ten is nearest to the third
    [found] = [one for one in projection(DATA, attributes=own).lost if one.class_ == DATA.classes.names[unseen]]
    assert found.neighbour == DATA.classes.names[DATA.seen[0]]
    assert found.high == pytest.approx(0)


def test_attributes_of_other_images_or_of_other_columns():
    for own in (images(a=7), images()[:-1], images()[:, 0]):
        with pytest.raises(InputError) as caught:
            projection(DATA, attributes=own)
        assert str(caught.value) == (
            f"attributes of images must be [120 images, 8 attributes of the class embeddings]; got {list(own.shape)}"
        )


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

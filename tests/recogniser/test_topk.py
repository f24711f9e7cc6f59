"""The best of many classes, block by block, against all scores at once."""

import dataclasses
import re
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstsight.data import ClassEmbeddings
from firstsight.errors import InputError
from firstsight.evaluation.calibration import probabilities
from firstsight.methods import ESZSL, METHODS
from firstsight.recogniser import topk
from firstsight.recogniser.topk import ClassIndex, top_classes
from tests.support.tiny import FAST, tiny_dataset, widths

DATA = tiny_dataset()
PRODUCTS = {
    *("ale", "cmt", "conse", "dap", "devise", "eszsl", "iap", "sae", "sje", "spaen", "spaen-pictures", "sse", "sync")
}


def fitted(name, data=DATA, **changes):
    return METHODS[name](**(FAST.get(name, {}) | {"device": "cpu"} | changes)).fit(data.training_set())


@pytest.fixture(scope="module", params=METHODS)
def case(request):
    """Each method with the data that it was fitted on."""
    data = tiny_dataset(**widths(request.param))
    return fitted(request.param, data), data


def some_classes(c: int, a: int = 4, seed: int = 0) -> ClassEmbeddings:
    vectors = np.random.default_rng(seed).normal(size=(c, a))
    return ClassEmbeddings(tuple(map(str, range(c))), vectors)


def brute_force(scores, k):
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return rows, np.take_along_axis(scores, rows, axis=1)


def test_a_score_does_not_depend_on_the_other_candidates(case):
    """What makes blocks valid: a property of every method, and of any that is added."""
    method, data = case
    more = some_classes(30, data.classes.vectors.shape[1])
    classes = ClassEmbeddings(data.classes.names + more.names, np.vstack([data.classes.vectors, more.vectors]))
    whole = method.scores(data.features, classes)
    rng = np.random.default_rng(0)
    for size in (1, 2, 7, 20):
        part = np.sort(rng.choice(len(classes), size, replace=False))
        np.testing.assert_allclose(method.scores(data.features, classes[part]), whole[:, part], rtol=2e-4, atol=2e-5)


def test_blocks_find_what_brute_force_finds(case):
    method, data = case
    classes = some_classes(60, data.classes.vectors.shape[1])
    scores = method.scores(data.features, classes)
    for block in (1, 7, 60, 1000):
        top = top_classes(method, data.features, classes, 5, block=block)
        np.testing.assert_allclose(top.scores, brute_force(scores, 5)[1], rtol=2e-4, atol=2e-5)
        np.testing.assert_allclose(np.take_along_axis(scores, top.rows, 1), top.scores, rtol=2e-4, atol=2e-5)
        assert all(len(set(row)) == 5 for row in top.rows.tolist())


def test_products_are_scores(case):
    method, data = case
    if method.product is None:
        with pytest.raises(InputError, match="must score by a product"):
            ClassIndex(method, data.classes)
        return
    points, vectors = method.project(data.features), method.describe(data.classes)
    scores = method.scores(data.features, data.classes)
    np.testing.assert_allclose((points @ vectors.T).float().numpy(), scores, rtol=1e-4, atol=1e-5)


def test_which_methods_are_products():
    for name in METHODS:
        if not METHODS[name].one_space:
            assert (fitted(name, tiny_dataset(**widths(name))).product is not None) == (name in PRODUCTS), name
    assert fitted("latem", n_maps=1).product is not None
    both = [fitted("sae", direction=direction) for direction in ("v2s", "s2v")]
    for method in both:
        product = (method.project(DATA.features) @ method.describe(DATA.classes).T).numpy()
        np.testing.assert_allclose(product, method.scores(DATA.features, DATA.classes), rtol=1e-5, atol=1e-6)


def test_a_method_that_is_no_product_cannot_be_split():
    method = fitted("cmt_star")
    with pytest.raises(InputError) as caught:
        method.project(DATA.features)
    assert "got cmt_star" in str(caught.value)


@dataclasses.dataclass(kw_only=True)
class Plain(METHODS["eszsl"]):
    """Features are the scores' image side as they come: [n, 4]."""

    def _project(self, features):
        return features


PLAIN = Plain(gamma=1.0, class_scaling="none", device="cpu").fit(tiny_dataset(v=4, a=4).training_set())


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 50), st.integers(0, 1000), st.floats(0.01, 10))
@settings(deadline=None, max_examples=60)
def test_whole_numbers_with_ties(c, k, block, seed, temperature):
    """Scores that are whole numbers tie often: rows must be those of a stable sort, whatever the blocks."""
    rng = np.random.default_rng(seed)
    classes = ClassEmbeddings(tuple(map(str, range(c))), rng.integers(-1, 2, (c, 4)).astype(float))
    images = rng.integers(-1, 2, (6, 4)).astype(float)
    handicap = rng.integers(0, 2, c).astype(float)
    scores = (images @ classes.vectors.T - handicap).astype(np.float32)
    top = top_classes(PLAIN, images, classes, k, handicap, temperature, block)
    rows, best = brute_force(scores, k)
    np.testing.assert_array_equal(top.rows, rows)
    np.testing.assert_array_equal(top.scores, best)
    chances = np.take_along_axis(probabilities(scores, temperature), rows, axis=1)
    np.testing.assert_allclose(top.probabilities, chances, rtol=1e-9, atol=1e-300)


def test_images_come_in_blocks_too(monkeypatch):
    method = fitted("eszsl")
    whole = top_classes(method, DATA.features, DATA.classes, 3)
    monkeypatch.setattr(topk, "IMAGES", 7)
    for name in ("eszsl", "latem"):
        method = fitted(name)
        top = top_classes(method, DATA.features, DATA.classes, 3, block=2)
        rows, _ = brute_force(method.scores(DATA.features, DATA.classes), 3)
        np.testing.assert_array_equal(top.rows, rows)
        if name == "eszsl":
            np.testing.assert_allclose(top.probabilities, whole.probabilities, rtol=1e-5)


def test_extreme_scores_still_give_probabilities():
    classes = ClassEmbeddings(("a", "b", "c"), np.diag([1.0, 2.0, 3.0, 0.0])[:3])
    images = np.array([[1e4, 0.0, 0.0, 0.0], [-1e4, -1e4, -1e4, 0.0]])
    top = top_classes(PLAIN, images, classes, 3, temperature=0.01, block=1)
    np.testing.assert_allclose(top.probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(top.rows, [[0, 1, 2], [0, 1, 2]])


def test_memory_does_not_grow_with_the_number_of_classes(tmp_path):
    peaks = []
    for c in (20_000, 80_000):
        vectors = np.memmap(tmp_path / f"{c}", np.float32, "w+", shape=(c, 4))
        vectors[:] = np.random.default_rng(0).random((c, 4), dtype=np.float32)
        classes = ClassEmbeddings(tuple(map(str, range(c))), vectors)
        tracemalloc.start()
        top_classes(PLAIN, DATA.features[:20, :4], classes, 5, block=1000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"k": 0}, "k must be 1 or more; got 0"),
        ({"temperature": 0.0}, "temperature must be a number above 0; got 0.0"),
        ({"temperature": np.nan}, "temperature must be a number above 0; got nan"),
    ],
)
def test_bad_input(changes, sentence):
    with pytest.raises(InputError) as caught:
        top_classes(PLAIN, DATA.features[:, :4], DATA.classes, **changes)
    assert str(caught.value) == sentence


def test_scores_that_overflow():
    with pytest.raises(InputError, match=re.escape("scores must be finite")), np.errstate(over="ignore"):
        top_classes(PLAIN, np.full((1, 4), 1e30), ClassEmbeddings(("a",), np.full((1, 4), 1e30)))


def test_a_dimension_that_does_not_fit():
    with pytest.raises(InputError) as caught:
        top_classes(PLAIN, DATA.features, DATA.classes)
    assert str(caught.value) == "inputs must have 4 columns, as in training; got 7"
    with pytest.raises(InputError) as caught:
        top_classes(PLAIN, DATA.features[:, :4], ClassEmbeddings(("a",), np.ones((1, 3))))
    assert str(caught.value) == "candidates must have 4 columns, as in training; got 3"


def test_an_index_that_searches_everything_is_exact():
    pytest.importorskip("faiss")
    classes = some_classes(500)
    handicap = np.random.default_rng(1).random(500)
    images = np.random.default_rng(2).normal(size=(20, 4))
    index = ClassIndex(PLAIN, classes, handicap, n_lists=4, n_probe=4, block=128)
    top = index.top(images, 5, n_proposals=500)
    exact = top_classes(PLAIN, images, classes, 5, handicap)
    np.testing.assert_array_equal(top.rows, exact.rows)
    np.testing.assert_allclose(top.scores, exact.scores, rtol=1e-5, atol=1e-5)
    assert np.isnan(top.probabilities).all()


def test_an_index_mostly_agrees():
    pytest.importorskip("faiss")
    classes = some_classes(2000)
    images = np.random.default_rng(2).normal(size=(100, 4))
    index = ClassIndex(PLAIN, classes, n_probe=16)
    exact = top_classes(PLAIN, images, classes, 5).rows

    def agreement():
        found = index.top(images, 5).rows
        return np.mean([len(set(a) & set(b)) / 5 for a, b in zip(found, exact, strict=True)])

    several = agreement()
    index.n_probe = 1
    single = agreement()
    index.n_probe = 1000
    assert index.n_probe == index.n_lists
    assert single < several <= agreement() == 1
    assert several > 0.9


def test_an_index_of_few_classes_says_where_it_found_none():
    pytest.importorskip("faiss")
    top = ClassIndex(PLAIN, some_classes(3)).top(np.ones((2, 4)), 5)
    assert top.rows.shape == (2, 5)
    assert (top.rows[:, 3:] == -1).all()
    assert np.isneginf(top.scores[:, 3:]).all()


def test_an_index_needs_faiss(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(InputError) as caught:
        ClassIndex(ESZSL(device="cpu").fit(DATA.training_set()), DATA.classes)
    assert str(caught.value) == "faiss must be installed for an index; got none; pip install 'firstsight[faiss]'"

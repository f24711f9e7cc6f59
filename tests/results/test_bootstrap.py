"""Intervals and comparisons: against enumeration of every resample, coverage on coins, Holm by hand."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from firstsight.errors import InputError
from firstsight.evaluation.evaluate import evaluate
from firstsight.evaluation.metrics import seen_unseen_curve
from firstsight.methods import ESZSL
from firstsight.results.bootstrap import (
    METRICS,
    Images,
    bootstrap,
    compare,
    enough_resamples,
    holm,
    interval,
    p_value,
)
from firstsight.results.records import DataRecord, RunRecord
from tests.support.tiny import tiny_dataset


def images_of(scores, labels, is_seen):
    """The two facts per image, class by class in plain loops."""
    lead, right = [], []
    for row, label in zip(scores, labels, strict=True):
        seen, unseen = max(row[is_seen]), max(row[~is_seen])
        lead.append(seen - unseen)
        right.append(row[label] == (seen if is_seen[label] else unseen))
    return Images(np.array(lead, dtype=np.float32), np.array(right), np.array(labels), np.array(is_seen))


def some_scores(seed=0, sizes=(3, 2, 2, 3), is_seen=(True, False, True, False), ties=False):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    scores = rng.normal(size=(len(labels), len(sizes))) + 1.2 * np.eye(len(sizes))[labels]
    scores = np.round(scores) if ties else np.round(scores, 3)  # single precision holds the leads apart
    return scores, labels, np.array(is_seen)


def by_hand(scores, labels, is_seen, gamma):
    """All numbers of a set of images from predictions, class by class."""

    def accuracy(chosen, side):
        kept = [row for row in np.unique(labels) if is_seen[row] == side]
        return 100 * np.mean([np.mean(chosen[labels == row] == row) for row in kept])

    def pair(stacked):
        # a tie goes to the unseen side
        chosen = [max(range(len(row)), key=lambda place, row=row: (row[place], not is_seen[place])) for row in stacked]
        u, s = accuracy(np.array(chosen), False), accuracy(np.array(chosen), True)
        return u, s, 2 * u * s / (u + s) if u + s else 0.0

    u, s, h = pair(scores)
    u_cal, s_cal, h_cal = pair(scores - gamma * is_seen)
    alone = np.where(is_seen, -np.inf, scores).argmax(axis=1)
    area = seen_unseen_curve(scores, labels, is_seen).area
    return dict(zip(METRICS, (accuracy(alone, False), u, s, h, area, u_cal, s_cal, h_cal), strict=True))


@pytest.mark.parametrize("seed", range(20))
def test_numbers_follow_from_two_facts_per_image(seed):
    given = some_scores(seed)
    assert images_of(*given).metrics(0.4) == pytest.approx(by_hand(*given, 0.4), abs=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_the_area_with_ties(seed):
    scores, labels, is_seen = some_scores(seed, sizes=(9, 8, 7, 9), ties=True)
    scores += np.arange(4) * 1e-9  # ties between sides stay, those within one side go
    given = images_of(np.round(scores, 6), labels, is_seen)
    best = np.where(given.right, 1.0, 0.0)
    exact = seen_unseen_curve(_scores_of(given.lead, best, labels, is_seen), labels, is_seen).area
    assert given.metrics()["ausuc"] == pytest.approx(exact, abs=1e-12)


def _scores_of(lead, right, labels, is_seen):
    """Scores with these leads and hits: the own class or another of its side is the best there."""
    scores = np.full((len(labels), len(is_seen)), -99.0)
    for row, label in enumerate(labels):
        for side, best in ((True, float(lead[row])), (False, 0.0)):
            places = np.flatnonzero(is_seen == side)
            own = is_seen[label] == side
            place = (label if right[row] else next(one for one in places if one != label)) if own else places[0]
            scores[row, place] = best
    return scores


def test_numbers_are_those_of_evaluate():
    data = tiny_dataset(n_seen=8, n_unseen=5, noise=1.5)
    method = ESZSL().fit(data.training_set())
    result = evaluate(method, data)
    tests = data.test_images
    is_seen = data.is_seen
    given = images_of(method.scores(data.inputs(tests), data.classes), data.labels[tests], is_seen)
    expected = {name: value for name, value in result.metrics().items() if name in METRICS}
    assert given.metrics(result.gamma) == pytest.approx(expected, abs=1e-9)
    assert 0 < result.u < 100  # the case says something
    assert set(given.metrics()) == {name for name in METRICS if not name.endswith("_cal")}


def test_the_bootstrap_draws_from_all_resamples_alike():
    """Every resample of small classes written out: n - 1 of n images of each class, each set as likely."""
    scores, labels, is_seen = some_scores(3)
    draws = [
        list(itertools.product(np.flatnonzero(labels == row), repeat=np.count_nonzero(labels == row) - 1))
        for row in range(4)
    ]
    exact = []
    for chosen in itertools.product(*draws):
        kept = np.concatenate(chosen)
        exact.append(by_hand(scores[kept], labels[kept], is_seen, 0.4))
    resampled = bootstrap({"m": [(images_of(scores, labels, is_seen), 0.4)]}, 20_000)["m"]
    assert list(resampled) == list(METRICS)
    for name, values in resampled.items():
        outcomes = np.array([one[name] for one in exact])
        assert values.mean() == pytest.approx(outcomes.mean(), abs=4.5 * outcomes.std() / 20_000**0.5 + 1e-9), name
        for level in np.unique(outcomes.round(6)):
            share, expected = np.mean(values < level + 1e-4), np.mean(outcomes < level + 1e-4)
            assert share == pytest.approx(expected, abs=0.016), name


def test_seeds_are_averaged_and_share_their_draws():
    first, second = images_of(*some_scores(1)), images_of(*some_scores(2))
    both = bootstrap({"both": [(first, 0.1), (second, 0.2)], "first": [(first, 0.1)], "second": [(second, 0.2)]}, 50)
    for metric in METRICS:
        np.testing.assert_allclose(both["both"][metric], (both["first"][metric] + both["second"][metric]) / 2)
    again = bootstrap({"first": [(first, 0.1)]}, 50)
    np.testing.assert_array_equal(again["first"]["h"], both["first"]["h"])
    assert not np.array_equal(bootstrap({"first": [(first, 0.1)]}, 50, seed=1)["first"]["h"], both["first"]["h"])


def test_memory_is_bounded_without_changing_the_numbers(monkeypatch):
    runs = {"m": [(images_of(*some_scores(1)), 0.1)]}
    monkeypatch.setattr("firstsight.results.bootstrap.CELLS", 30)  # three resamples at a time
    values = bootstrap(runs, 3000)["m"]
    assert all(len(value) == 3000 for value in values.values())
    monkeypatch.undo()
    for metric, whole in bootstrap(runs, 3000)["m"].items():
        assert values[metric].mean() == pytest.approx(whole.mean(), abs=5 * whole.std() * (2 / 3000) ** 0.5 + 1e-9)


@pytest.mark.parametrize("per_class", [4, 12])
def test_intervals_cover_what_they_should(per_class):
    """Coins: u of 40 classes whose images are right with known probabilities; also where classes are small."""
    rng = np.random.default_rng(per_class)
    truth = rng.uniform(0.2, 0.9, size=40)
    labels = np.append(np.repeat(np.arange(40), per_class), 40)
    is_seen = np.arange(41) == 40
    covered = 0
    for trial in range(400):
        right = rng.random(len(labels)) < np.append(truth, 1.0)[labels]
        images = Images(np.where(is_seen[labels], 1, -1).astype(np.float32), right, labels, is_seen)
        low, high = interval(bootstrap({"m": [(images, None)]}, 300, seed=trial)["m"]["u"])
        covered += low <= 100 * truth.mean() <= high
    assert 0.915 <= covered / 400 <= 0.98  # 0.95 with three standard errors, and 300 resamples


def test_equal_methods_are_seldom_called_better():
    """Ten methods that are equally good: the highest was picked on the data, which the correction must allow for."""
    rng = np.random.default_rng(1)
    labels, is_seen = np.append(np.repeat(np.arange(6), 12), 6), np.arange(7) == 6
    lead = np.where(is_seen[labels], 1, -1).astype(np.float32)
    wrong = naive = 0
    for trial in range(200):
        runs = {name: Images(lead, rng.random(len(labels)) < 0.5, labels, is_seen) for name in "abcdefghij"}
        drawn = bootstrap({name: [(images, None)] for name, images in runs.items()}, enough_resamples(10), seed=trial)
        compared = compare(
            {name: images.metrics()["u"] for name, images in runs.items()},
            {name: found["u"] for name, found in drawn.items()},
        )
        wrong += any(one.is_better for one in compared)
        naive += min(holm([one.p for one in compared])) < 0.05
    assert wrong / 200 <= 0.085  # 0.05 and 2.3 standard errors
    assert naive / 200 > 0.085  # what correcting for the pairs shown alone would give


def test_comparison_with_the_highest():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=2000)
    resampled = {"low": 40 + noise, "top": 50 + noise, "near": 50 + rng.normal(size=2000)}
    near, low = compare({"low": 40.0, "top": 50.1, "near": 50.0}, resampled)
    assert (near.best, near.other, low.other) == ("top", "near", "low")
    assert (low.difference, low.low, low.high) == pytest.approx((10.1, 10.0, 10.0))
    assert low.p == pytest.approx(2 / 2001)
    assert low.corrected == pytest.approx(3 * 2 / 2001)  # three pairs, of which two have the smallest p
    assert low.is_better
    assert near.p > 0.5
    assert not near.is_better
    assert compare({"alone": 1.0}, {"alone": noise}) == []


def test_p_counts_ties_on_both_sides_and_is_never_zero():
    assert p_value(np.array([1.0, 2.0, 3.0])) == pytest.approx(0.5)
    assert p_value(np.zeros(99)) == 1.0
    assert p_value(np.array([-1.0] + [1.0] * 98)) == pytest.approx(2 * 2 / 100)


def test_holm_by_hand():
    """0.01, 0.02, 0.03, 0.005 of four: x4, x3, x2, x1 from the smallest, never below the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_enough_resamples_let_the_smallest_p_pass():
    for n_methods in (2, 6, 14, 26):
        pairs = n_methods * (n_methods - 1) / 2
        assert pairs * 2 / (enough_resamples(n_methods) + 1) < 0.05
    assert enough_resamples(1) == 1000


def run_and_data(given, fingerprint=None, **changes):
    """Records of a run with these images, and of their data set."""
    images = replace(Images.encode(given.lead, given.right), **changes)
    data = DataRecord("d", labels=given.labels.tolist(), is_seen=given.is_seen.astype(int).tolist())
    run = RunRecord(data="d", method="m", images=images, fingerprint=fingerprint)
    return run, replace(data, fingerprint=fingerprint)


def test_images_survive_the_record():
    given = images_of(*some_scores(5))
    back = Images.decode(*run_and_data(given))
    for name in ("lead", "right", "labels", "is_seen"):
        np.testing.assert_array_equal(getattr(back, name), getattr(given, name))


def test_no_images_where_there_are_none_or_of_other_data():
    run, data = run_and_data(images_of(*some_scores(5)), "a")
    assert Images.decode(run, data) is not None
    assert Images.decode(replace(run, images=None), data) is None
    assert Images.decode(run, DataRecord("d", fingerprint="a")) is None
    assert Images.decode(run, replace(data, fingerprint="b")) is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"lead": "AAAA"}, r"images.lead must hold 40 bytes for the test images; got 3"),
        ({"right": "AAAAAA=="}, r"images.right must hold 2 bytes for the test images; got 4"),
        ({"right": "?"}, r"images.right must be base64; got "),
        ({"lead": Images.encode(np.full(10, np.nan), []).lead}, r"images.lead must be finite; 10 of 10 are not"),
    ],
)
def test_damaged_images(changes, sentence):
    run, data = run_and_data(images_of(*some_scores(5)), **changes)
    with pytest.raises(InputError, match=f"^{sentence}"):
        Images.decode(run, data)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [([0] * 9 + [4], "labels must be rows of the 4 classes; got 0 to 4"), ([0] * 10, "labels must be of seen and of")],
)
def test_damaged_labels(labels, sentence):
    run, data = run_and_data(images_of(*some_scores(5)))
    with pytest.raises(InputError, match=f"^{sentence}"):
        Images.decode(run, replace(data, labels=labels))


def test_methods_must_answer_the_same_images():
    given = images_of(*some_scores(5))
    other = replace(given, labels=given.labels[::-1])
    with pytest.raises(InputError, match=r"^methods must answer the same test images; got others in 'b'"):
        bootstrap({"a": [(given, None)], "b": [(other, None)]})
    assert bootstrap({}) == {}

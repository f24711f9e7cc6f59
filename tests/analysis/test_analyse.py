"""`analyse`: all analyses of test scores in one small document."""

import json
import time

import numpy as np
import pytest

from firstsight.analysis import analyse
from firstsight.analysis.calibration import calibration
from firstsight.analysis.hubness import hubness
from firstsight.data import ClassEmbeddings
from firstsight.errors import InputError
from firstsight.results.analyses import Analyses
from firstsight.results.document import document, parsed


def a_case(n=300, c=12, a=6, n_seen=8, seed=0):
    rng = np.random.default_rng(seed)
    names = tuple(f"{row:03d}.Some_kind_of_long_named_bird_{row}" for row in range(c))
    classes = ClassEmbeddings(names, rng.random((c, a)), tuple(f"has_some_long_attribute::{at}" for at in range(a)))
    labels = rng.integers(0, c, n)
    scores = (rng.normal(size=(n, c)) + 2 * np.eye(c)[labels]).astype(np.float32)
    return scores, labels, rng.permutation(c) < n_seen, classes


def test_the_parts():
    scores, labels, is_seen, classes = a_case()
    found = analyse(scores, labels, is_seen, classes, gamma=0.5, temperature=0.8, k=3)
    stacked = scores - 0.5 * is_seen
    assert found.probability.fitted.ece == pytest.approx(
        calibration(stacked, labels, is_seen, 0.8).fitted.ece, rel=1e-3
    )
    images, unseen = ~is_seen[labels], np.flatnonzero(~is_seen)
    names = tuple(classes.names[row] for row in unseen)
    expected = hubness(scores[images][:, unseen], np.searchsorted(unseen, labels[images]), names, 3)
    assert found.hubness.uu.counts == expected.counts
    assert found.hubness.uu.hubs == expected.hubs
    assert sum(found.hubness.ut.counts[0]) == images.sum()
    written = json.loads(json.dumps(document(found), allow_nan=False))
    assert written.keys() == {"hubness", "confusion", "attributes", "probability", "reject"}
    assert parsed(Analyses, written) == found


def test_without_gamma_and_temperature():
    found = analyse(*a_case())
    assert found.confusion.calibrated is None
    assert found.attributes is None
    assert found.probability.fitted is None
    assert found.probability.raw.bins.images
    assert found.reject.aurc is None
    assert found.reject.auroc is not None


def test_the_order_of_the_classes_does_not_matter():
    scores, labels, is_seen, classes = a_case()
    order = np.random.default_rng(1).permutation(len(classes))
    own = analyse(scores, labels, is_seen, classes, 0.5, 0.8)
    turned = analyse(scores[:, order], np.argsort(order)[labels], is_seen[order], classes[order], 0.5, 0.8)
    assert turned.reject == own.reject
    assert turned.probability == own.probability
    assert turned.confusion.plain == own.confusion.plain
    assert turned.hubness.ut.counts == own.hubness.ut.counts


def test_as_large_as_cub():
    case = a_case(n=4731, c=200, a=312, n_seen=150)
    start = time.process_time()
    found = analyse(*case, gamma=0.1, temperature=0.8)
    assert time.process_time() - start < 3  # a quarter of a second where nothing else runs
    assert len(json.dumps(document(found))) < 12_000


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"labels": np.zeros(299, dtype=int)},
            "scores must be [299 labels, 12 classes]; got [300, 12] with is_seen of 12",
        ),
        ({"is_seen": np.ones(11)}, "scores must be [300 labels, 12 classes]; got [300, 12] with is_seen of 11"),
        ({"labels": np.full(300, 12)}, "labels must name one of 12 class rows, 0 to 11; got 12"),
        ({"is_seen": np.ones(12)}, "labels must have images of unseen classes; got none"),
        ({"is_seen": np.zeros(12)}, "labels must have images of seen classes; got none"),
        ({"scores": np.full((300, 12), np.nan)}, "scores must be finite; 300 of 300 rows contain NaN or inf"),
    ],
)
def test_bad_input(change, sentence):
    given = dict(zip(("scores", "labels", "is_seen", "classes"), a_case(), strict=True))
    with pytest.raises(InputError) as caught:
        analyse(**(given | change))
    assert str(caught.value) == sentence

"""The five best of very many classes: in blocks against all at once, and by an approximate index against blocks."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from benchmarks import Case
from firstsight.data import ClassEmbeddings, TrainingSet
from firstsight.methods import ESZSL, Method
from firstsight.topk import ClassIndex, top_classes

IMAGES, CLASSES, ATTRIBUTES, TOPICS = 32, 100_000, 300, 2000


def cases() -> Iterator[Case]:
    rng = np.random.default_rng(0)
    topics = rng.standard_normal((TOPICS, ATTRIBUTES), dtype=np.float32)
    method, images = fitted(topics[:200], rng)
    unrelated = rng.standard_normal((CLASSES, ATTRIBUTES), dtype=np.float32)
    related = 0.5 * unrelated + topics[rng.integers(0, TOPICS, CLASSES)]
    for name, vectors in (("related", related), ("unrelated (the worst case)", unrelated)):
        classes = ClassEmbeddings(tuple(map(str, range(CLASSES))), vectors)
        blocks = partial(top_classes, method, images, classes)
        if vectors is related:
            yield Case(f"{CLASSES:,} classes, blocks", blocks, partial(at_once, method, images, classes))
        index = ClassIndex(method, classes)
        found, exact = index.top(images).rows, blocks().rows
        agree = np.mean([len(set(ours) & set(theirs)) / 5 for ours, theirs in zip(found, exact, strict=True)])
        yield Case(f"{name}, index: {100 * agree:.0f} % of the five", partial(index.top, images), blocks)


def fitted(vectors: np.ndarray, rng: np.random.Generator) -> tuple[Method, np.ndarray]:
    """ESZSL of 200 classes, and images of them."""
    labels = rng.integers(0, len(vectors), 4000 + IMAGES)
    features = vectors[labels] @ rng.standard_normal((ATTRIBUTES, 512), dtype=np.float32)
    features += 10 * rng.standard_normal(features.shape, dtype=np.float32)
    classes = ClassEmbeddings(tuple(map(str, range(len(vectors)))), vectors)
    training = TrainingSet(features[IMAGES:], labels[IMAGES:], classes, features[IMAGES:], (512,))
    return ESZSL(scaling="l2", gamma=1.0, device="cpu").fit(training), features[:IMAGES]


def at_once(method: Method, images: np.ndarray, classes: ClassEmbeddings) -> np.ndarray:
    """The common way."""
    return np.argsort(-method.scores(images, classes), axis=1)[:, :5]

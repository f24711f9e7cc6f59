"""The five best of very many classes: in blocks against all together, and by an approximate index against blocks.

python -m speed topk
python -m speed.topk path/to/CUB [resnet_logits.mat]    # a million classes like CUB's, as docs/recogniser.md
"""

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

import firstsight as fs
from firstsight.bench.bench import PeakMemory
from firstsight.data import ClassEmbeddings, TrainingSet
from firstsight.methods import ESZSL, Method
from firstsight.recogniser.topk import ClassIndex, top_classes
from speed import Case

IMAGES, CLASSES, ATTRIBUTES, TOPICS = 32, 100_000, 300, 2000
MILLION, FAMILIES = 1_000_000, 20_000
JITTERS = (0.7, 0.35)  # of families around classes, and of kin around families, in standard deviations of an attribute
PROBES = (8, 32, 128)


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
    """Fit ESZSL on 200 classes; return it and images of them."""
    labels = rng.integers(0, len(vectors), 4000 + IMAGES)
    features = vectors[labels] @ rng.standard_normal((ATTRIBUTES, 512), dtype=np.float32)
    features += 10 * rng.standard_normal(features.shape, dtype=np.float32)
    classes = ClassEmbeddings(tuple(map(str, range(len(vectors)))), vectors)
    training = TrainingSet(features[IMAGES:], labels[IMAGES:], classes, features[IMAGES:], (512,))
    return ESZSL(scaling="l2", gamma=1.0, device="cpu").fit(training), features[:IMAGES]


def at_once(method: Method, images: np.ndarray, classes: ClassEmbeddings) -> np.ndarray:
    """Rank all classes in the common way, in one array."""
    return np.argsort(-method.scores(images, classes), axis=1)[:, :5]


def million(folder: str, features: str | None) -> None:
    """Print time, memory and agreement for a million classes around those of a data set, as rows of a table."""
    data = fs.load(folder, features=features)
    method = ESZSL(scaling="l2", class_scaling="centred", gamma=0.1, device="cpu").fit(data.training_set())
    images = data.inputs(np.random.default_rng(0).choice(data.test_unseen, IMAGES, replace=False))
    classes = ClassEmbeddings(tuple(map(str, range(MILLION))), kin_of(data.classes.vectors))
    print(
        f"{classes.vectors.nbytes / 1e9:.2f} GB of class embeddings\n| | 1 image | {IMAGES} images | memory | found |"
    )
    exact = row("blocks, exact", lambda some: top_classes(method, some, classes), images)
    with PeakMemory() as memory:
        before, start = memory_now(), time.perf_counter()
        index = ClassIndex(method, classes)
        seconds = time.perf_counter() - start
    print(f"| making the index | {seconds:.0f} s | | {(memory.peak - before) / 1e6:.0f} MB at most, ", end="")
    print(f"{(memory_now() - before) / 1e6:.0f} MB kept | |")
    for n_probe in PROBES:
        index.n_probe = n_probe
        row(f"index, {n_probe} of {index.n_lists} lists", index.top, images, exact)


def row(name: str, top: Callable, images: np.ndarray, exact: np.ndarray | None = None) -> np.ndarray:
    """Print a row of the table; return the classes found, [n, 5]."""
    top(images[:1])  # warm up
    seconds = []
    with PeakMemory() as memory:
        before = memory_now()
        for some in (images[:1], images):
            start = time.perf_counter()
            found = top(some).rows
            seconds.append(time.perf_counter() - start)
    share = 1.0 if exact is None else np.mean([np.isin(*pair).mean() for pair in zip(exact, found, strict=True)])
    cells = [f"{second:.3g} s" for second in seconds] + [
        f"{(memory.peak - before) / 1e6:.0f} MB",
        f"{100 * share:.0f} %",
    ]
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    return found


def memory_now() -> int:
    """Return the bytes of memory that this process holds."""
    with PeakMemory() as memory:
        time.sleep(0.02)
    return memory.peak


def kin_of(vectors: np.ndarray) -> np.ndarray:
    """Make class embeddings [1,000,000, a] in groups within groups around these, float32."""
    rng, spread = np.random.default_rng(0), vectors.std(axis=0).astype(np.float32)
    found = vectors.astype(np.float32)
    for number, jitter in zip((FAMILIES, MILLION), JITTERS, strict=True):
        found = np.repeat(found, number // len(found), axis=0)
        for rows in np.array_split(found, 100):  # in place, to save the memory of a second array
            rows += jitter * spread * rng.standard_normal(rows.shape, dtype=np.float32)
    return found


if __name__ == "__main__":
    million(sys.argv[1], sys.argv[2] if sys.argv[2:] else None)

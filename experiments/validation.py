"""The choice of the settings of SP-AEN: AUSUC on validation classes, one change at a time (docs/spaen.md).

    python experiments/validation.py path/to/CUB --features resnet_logits.mat --out runs/validation.jsonl

No test image is used: every fit and every number is inside `Dataset.validation_set`. Finished fits are kept.
"""

import argparse
import functools
import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import torch

import firstsight as fs
from firstsight.data import Dataset
from firstsight.evaluation.metrics import seen_unseen_curve
from firstsight.methods import Method
from firstsight.methods.spaen.presets import CLS_ONLY, PAPER

PARTITIONS = range(3)
CHANGES = {
    "Cls. only": [
        {},
        {"temperature": 10.0},
        {"temperature": 30.0},
        {"classification": "ranking"},
        {"class_scaling": "l2"},
        {"scaling": "l2"},
        {"output": "leaky"},
        {"weight_decay": 0.1},
        {"learning_rate": 1e-3},
        {"learning_rate": 4e-3},
    ],
    "full": [
        {},
        {"beta": 1.0},
        {"beta": 10.0},
        {"schedule": "two-stage"},
    ],
    "paper, Cls. only": [
        {},
        {"learning_rate": 1e-4},
        {"negatives": "violating"},
    ],
}
BASES = {"Cls. only": CLS_ONLY, "full": {}, "paper, Cls. only": PAPER | CLS_ONLY}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--features", default=None)
    parser.add_argument("--out", type=Path, default=Path("runs/validation.jsonl"))
    parser.add_argument("--bases", nargs="*", default=list(BASES), choices=list(BASES))
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()

    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.touch()
    found = {tuple(line["job"]): line["area"] for line in map(json.loads, options.out.read_text().splitlines())}
    named = [(base, described(change), change) for base in options.bases for change in CHANGES[base]]
    todo = {
        (base, text, partition): fs.methods.SPAEN(**(BASES[base] | change))
        for base, text, change in named
        for partition in PARTITIONS
        if (base, text, partition) not in found
    }
    source = (options.data, options.features)
    with ProcessPoolExecutor(options.workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        futures = {pool.submit(area, method, job[2], *source): job for job, method in todo.items()}
        for future in as_completed(futures):
            job = futures[future]
            found[job] = future.result()
            with options.out.open("a") as file:
                file.write(json.dumps({"job": job, "area": found[job]}) + "\n")
    print("| base | change | AUSUC x 100, mean over partitions |\n|---|---|---|")
    for base, text, _ in named:
        print(f"| {base} | {text} | {100 * np.mean([found[base, text, partition] for partition in PARTITIONS]):.1f} |")


def described(change: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in change.items()) or "as it is"


def area(method: Method, partition: int, path: str, features: str | None) -> float:
    data = loaded(path, features).validation_set(partition)
    method.fit(data.training_set())
    images = data.test_images
    is_seen = data.is_seen
    return seen_unseen_curve(method.scores(data.inputs(images), data.classes), data.labels[images], is_seen).area


@functools.cache
def loaded(path: str, features: str | None) -> Dataset:
    return fs.load(path, features=features)


if __name__ == "__main__":
    main()

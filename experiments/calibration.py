"""Which unit of gamma carries over best from validation classes to the full fit? (docs/evaluation.md)

    python experiments/calibration.py path/to/CUB --features resnet_logits.mat

All splits are nested in the training images: the held-out classes of each validation partition take the role of the
unseen classes, gamma is chosen on classes held out from the remaining ones, and the loss of each unit against the best
gamma is measured. The number of held-out classes varies, since the shares of seen and unseen classes in validation
always differ a little from those of the test. No test image is used.
"""

import argparse

import numpy as np

import firstsight as fs
from firstsight.data import Dataset
from firstsight.evaluation.metrics import harmonic_mean, seen_unseen_curve
from firstsight.methods import Method

METHODS = {
    "ESZSL, raw features": fs.methods.ESZSL(gamma=1e3, lam=0.1),
    "ESZSL, unit length": fs.methods.ESZSL(gamma=1.0, lam=0.1, scaling="l2"),
    "ESZSL, unit length, centred": fs.methods.ESZSL(gamma=1.0, lam=1.0, scaling="l2", class_scaling="centred"),
    "SP-AEN Cls. only": fs.methods.SPAEN.preset("cls-only"),
}
HELD_OUT = (20, 33, 50)  # of the 100 classes that remain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--features", default=None)
    options = parser.parse_args()
    data = fs.load(options.data, features=options.features)
    units = {"as it is": lambda *_: 1.0, "deviation": deviation, "lead": lead}
    print("| method | held out | " + " | ".join(units) + " |\n|" + "---|" * (len(units) + 2))
    for name, method in METHODS.items():
        lost = {(n, unit): [] for n in HELD_OUT for unit in units}
        for partition in range(3):
            outer = data.validation_set(partition)
            full = method.unfitted().fit(outer.training_set())
            of_outer = curve(full, outer)
            for n in HELD_OUT:
                inner = outer.validation_set(0, n_held_out=n)
                trial = method.unfitted().fit(inner.training_set())
                gamma, _ = curve(trial, inner).best
                for unit, size in units.items():
                    h = harmonic_mean(*of_outer.at(gamma * size(full, outer) / size(trial, inner)))
                    lost[n, unit].append(of_outer.best[1] - h)
        for n in HELD_OUT:
            cells = (f"{np.mean(lost[n, unit]):.2f} ({np.max(lost[n, unit]):.2f})" for unit in units)
            print(f"| {name} | {n} | " + " | ".join(cells) + " |", flush=True)


def curve(method: Method, data: Dataset):
    images = data.test_images
    is_seen = data.is_seen
    return seen_unseen_curve(method.scores(data.inputs(images), data.classes), data.labels[images], is_seen)


def deviation(method: Method, data: Dataset) -> float:
    """Return the standard deviation of the scores of training images for seen classes."""
    return float(method.scores(data.inputs(data.trainval), data.classes[data.seen]).std(dtype=np.float64))


def lead(method: Method, data: Dataset) -> float:
    """Return the mean over training images of the best seen minus the best unseen score."""
    seen, unseen = (
        method.scores(data.inputs(data.trainval), data.classes[of]).max(axis=1) for of in (data.seen, data.unseen)
    )
    return float(np.mean(seen - unseen, dtype=np.float64))


if __name__ == "__main__":
    main()

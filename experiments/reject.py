"""Which number shows best that the right class is not among the candidates? (docs/recogniser.md)

    python experiments/reject.py path/to/CUB --features resnet_logits.mat --methods eszsl ale sync conse sae devise

On validation classes alone, as a mean over three partitions, with a third of the classes removed from the candidates in
turn. First, the share of images rejected by the threshold that keeps 95 % of the images whose class is a candidate.
Then the same with a threshold from classes held out from the remaining ones, as in a recogniser. No test image is used.
"""

import argparse
import tomllib
from pathlib import Path

import numpy as np
from scipy.special import logsumexp

import firstsight as fs
from firstsight.data import Dataset
from firstsight.evaluation.calibration import fit_temperature, probabilities
from firstsight.evaluation.metrics import seen_unseen_curve
from firstsight.methods import METHODS, Method

STATISTICS = {  # of scores [n, k] with gamma subtracted, and the temperature of the softmax
    "highest probability": lambda x, t: probabilities(x, t).max(axis=1),
    "the same, temperature 4 T": lambda x, t: probabilities(x, 4 * t).max(axis=1),
    "best less next": lambda x, _: np.diff(np.partition(x, -2, axis=1)[:, -2:], axis=1)[:, 0],
    "best less mean": lambda x, _: x.max(axis=1) - x.mean(axis=1),
    "the same in deviations": lambda x, _: (x.max(axis=1) - x.mean(axis=1)) / x.std(axis=1),
    "log sum exp, T": lambda x, t: logsumexp(x / t, axis=1),
    "log sum exp, 4 T": lambda x, t: logsumexp(x / (4 * t), axis=1),
    "best by root mean square": lambda x, _: x.max(axis=1) / np.sqrt((x**2).mean(axis=1)),
    "best score": lambda x, _: x.max(axis=1),
}
CARRIED = ("highest probability", "best by root mean square", "best score")


class Table:
    """Scores of a fit for its validation images [n, k] and its training images [m, k].

    Attributes:
        stacked: [n, k] of the validation images, gamma subtracted.
        training: [m, k] of the training images, the same.
    """

    def __init__(self, method: Method, data: Dataset) -> None:
        images = data.test_images
        self.labels = data.labels[images]
        self.is_seen = data.is_seen
        self.scores = method.scores(data.inputs(images), data.classes).astype(float)
        self.training_scores = method.scores(data.inputs(data.trainval), data.classes).astype(float)
        own_gamma, _ = seen_unseen_curve(self.scores, self.labels, self.is_seen).best
        self.calibrate(own_gamma, fit_temperature(self.scores - own_gamma * self.is_seen, self.labels))

    def calibrate(self, gamma: float, temperature: float) -> None:
        self.gamma, self.temperature = gamma, temperature
        self.stacked, self.training = (each - gamma * self.is_seen for each in (self.scores, self.training_scores))

    @property
    def lead(self) -> float:
        best = (self.training_scores[:, side].max(axis=1) for side in (self.is_seen, ~self.is_seen))
        return float(np.subtract(*best).mean())

    def values(self, statistic: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the statistic [3 n], with a third of the classes removed in turn, and whether the right class is
        removed.
        """
        third = np.random.default_rng(0).permutation(np.arange(len(self.is_seen)) % 3)
        measure = STATISTICS[statistic]
        found = [measure(self.stacked[:, third != out], self.temperature) for out in range(3)]
        return np.concatenate(found), np.concatenate([third[self.labels] == out for out in range(3)])


def threshold(table: Table, statistic: str) -> float:
    values, is_out = table.values(statistic)
    return float(np.quantile(values[~is_out], 0.05, method="lower"))


def outcome(table: Table, statistic: str, least: float) -> tuple[float, float]:
    """Return the percent of images kept if their class is a candidate, and rejected if it is not."""
    values, is_out = table.values(statistic)
    return 100 * float(np.mean(values[~is_out] >= least)), 100 * float(np.mean(values[is_out] < least))


def carried(outer: Table, inner: Table, statistic: str) -> tuple[float, float]:
    least = threshold(inner, statistic)
    if "probability" not in statistic:
        measure = STATISTICS[statistic]
        least *= measure(outer.training, None).mean() / measure(inner.training, None).mean()
    return outcome(outer, statistic, least)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--features", default=None)
    parser.add_argument("--semantics", default=None)
    parser.add_argument("--methods", nargs="*", default=["eszsl", "ale", "sync"], choices=list(METHODS))
    parser.add_argument("--tuned", default="CUB", help="whose table of experiments/tuned.toml")
    options = parser.parse_args()
    data = fs.load(options.data, features=options.features, semantics=options.semantics)
    tuned = tomllib.loads(Path(__file__).with_name("tuned.toml").read_text(encoding="utf-8"))[options.tuned]
    caught = {statistic: np.zeros(len(options.methods)) for statistic in STATISTICS}
    moved = {statistic: np.zeros((len(options.methods), 2)) for statistic in CARRIED}
    for number, name in enumerate(options.methods):
        for partition in range(3):
            sets = [data.validation_set(partition)]
            sets.append(sets[0].validation_set(0))
            method = METHODS[name](**tuned.get(name, {}))
            outer, inner = (Table(method.unfitted().fit(each.training_set()), each) for each in sets)
            for statistic in STATISTICS:
                caught[statistic][number] += outcome(outer, statistic, threshold(outer, statistic))[1] / 3
            scale = outer.lead / inner.lead
            outer.calibrate(inner.gamma * scale, inner.temperature * scale)
            for statistic in CARRIED:
                moved[statistic][number] += np.divide(carried(outer, inner, statistic), 3)
    print("caught where 95 % are kept:", *options.methods)
    for statistic, numbers in caught.items():
        print(f"| {statistic} | " + " | ".join(f"{number:.1f}" for number in [*numbers, numbers.mean()]) + " |")
    print("carried over, kept and caught:")
    for statistic, pairs in moved.items():
        print(f"| {statistic} | " + " | ".join(f"{kept:.1f}, {out:.1f}" for kept, out in pairs) + " |")


if __name__ == "__main__":
    main()

"""Where does the jump of Table 2 come from? Controls for the paper's claim, on any data set (docs/table2.md).

    python experiments/table2.py recipe path/to/CUB --features resnet_logits.mat --out runs/table2
    python experiments/table2.py code path/to/CUB --features resnet_logits.mat --out runs/table2
    python experiments/table2.py code path/to/birds --features features.safetensors --out runs/table2
    python experiments/table2.py table path/to/CUB --features resnet_logits.mat --out runs/table2

`recipe`: classification alone, by the way the wrong class is drawn, dropout and length; with --betas, the critic in
each cell. `code`: the authors' code as it is, by the weight of the critic; with features of ten crops, E and F learn
from crops. --validate trains the first seed on validation classes too. Test numbers are recorded, and nothing is
chosen by them. `code` also records the test numbers at 25 checkpoints, to learn what a choice of the best checkpoint
on test images is worth; that number is no result. `table` prints what is there. Finished runs are kept.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import firstsight as fs
from firstsight.bench.bench import Planned, describe, run_one
from firstsight.data import Dataset
from firstsight.evaluation.metrics import class_accuracies, harmonic_mean
from firstsight.files import file_name, write_text
from firstsight.methods import SPAEN
from firstsight.methods.spaen.presets import AUTHORS, CLS_ONLY
from firstsight.progress import Display
from firstsight.results.bootstrap import Images, bootstrap, interval
from firstsight.results.numbers import METRICS, PLAIN
from firstsight.results.records import DataRecord, RunRecord

RATES = {2_000: 1e-3, 20_000: 1e-4, 200_000: 1e-4}  # learning rate of a training of so many steps
F_STEPS = 20_000  # of F and G, at most
RECIPE = {
    "classification": "ranking",
    "compatibility": "dot",
    "margin": 0.2,
    "scaling": "l2",
    "class_scaling": "l2",
    "reconstruction_scaling": "l2",
    "output": "leaky",
    "decay": "constant",
    "norm_weight": 20.0,
    "schedule": "two-stage",
    "critic_steps": 5,
}
CHECKPOINTS = 25
BATCH = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=["recipe", "code", "table"])
    parser.add_argument("data")
    parser.add_argument("--features", default=None)
    parser.add_argument("--reconstruction-features", default=None)
    parser.add_argument("--out", type=Path, default=Path("runs/table2"))
    parser.add_argument("--steps", type=int, nargs="+", default=[2_000, 20_000], choices=list(RATES))
    parser.add_argument("--betas", type=float, nargs="+", help="weight of the critic beside 1 on L_cls")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--validate", action="store_true", help="train the first seed on validation classes too")
    options = parser.parse_args()
    if options.experiment == "table":
        print_table(options.out)
        return
    data = fs.load(options.data, features=options.features, reconstruction_features=options.reconstruction_features)
    is_code = options.experiment == "code"
    with Display() as display:
        for steps in options.steps:
            for beta in options.betas or ([0.0, 0.005, 0.05, 1.0] if is_code else [0.0]):
                for seed in options.seeds:
                    for part in parts(data, options.validate and seed == 0):
                        describe(part).write(options.out / "data" / f"{file_name(part.name)}.json")
                        for label, method in (code_cells if is_code else recipe_cells)(len(part.trainval), steps, beta):
                            planned = Planned(part, label, replace(method, seed=seed), "given by hand")
                            if not planned.path(options.out).exists():
                                watched = is_code and part is data and seed == 0
                                made(planned, watched, options.out, display)


def made(planned: Planned, watched: bool, out: Path, display: Display) -> None:
    """Fit, test and record one cell; where it is `watched`, record the test numbers at its checkpoints too."""
    look = Checkpoints(planned) if watched else None

    def reports(stage: str, done: int, total: int, losses: Mapping[str, float]) -> None:
        display(stage, done, total, losses)
        if look is not None:
            look(done, total)

    unfinished = planned.unfinished(out)
    run = run_one(planned, False, unfinished, reports)
    if look is not None:
        kept = {"label": planned.label, "data": planned.data.name, "seed": run.seed, "checkpoints": look.found}
        name = f"{file_name(planned.data.name, planned.label, str(run.seed))}.json"
        write_text(out / "checkpoints" / name, json.dumps(kept, indent=1))
    run.write(planned.path(out))
    unfinished.unlink(missing_ok=True)
    display.say(f"{planned}: u {run.u:.1f} s {run.s:.1f} h {run.h:.1f} AUSUC {run.ausuc:.3f}")


def parts(data: Dataset, validates: bool) -> Iterator[Dataset]:
    """Yield the data set and, if asked, its first set of validation classes under a name of its own."""
    yield data
    if validates:
        yield replace(data.validation_set(0), name=f"{data.name}-validation")


def recipe_cells(n_images: int, steps: int, beta: float) -> Iterator[tuple[str, SPAEN]]:
    """Yield label and settings of each cell of the first experiment."""
    lengths = {"epochs": passes(steps, n_images), "autoencoder_epochs": passes(min(steps, F_STEPS), n_images)}
    weights = {"alpha": 10.0 if beta else 0.0, "beta": beta, "learning_rate": RATES[steps]}
    for negatives in ("random", "violating"):
        for dropout in (0.0, 0.5):
            label = f"{negatives}, dropout {dropout:g}, {steps} steps, beta {beta:g}"
            yield label, SPAEN(negatives=negatives, dropout=dropout, **RECIPE, **lengths, **weights)


def code_cells(n_images: int, steps: int, beta: float) -> Iterator[tuple[str, SPAEN]]:
    """Yield label and settings of the authors' code with this weight of the critic."""
    weights = {"beta": beta * AUTHORS["classification_weight"]} if beta else CLS_ONLY
    lengths = {"epochs": passes(steps, n_images), "autoencoder_epochs": passes(min(steps, F_STEPS), n_images)}
    yield f"code, {steps} steps, beta {beta:g}", SPAEN.preset("authors", **weights, **lengths)


def passes(steps: int, n_images: int) -> float:
    """Return how many passes over the images take this many steps."""
    return steps * BATCH / n_images


class Checkpoints:
    """u, s and h on test images at some steps of E; to choose by them would be dishonest."""

    def __init__(self, planned: Planned) -> None:
        data, self.method = planned.data, planned.method
        self.is_seen, self.labels = data.is_seen, data.labels[data.test_images]
        self.features, self.vectors = (
            torch.tensor(array, dtype=torch.float32) for array in (data.inputs(data.test_images), data.classes.vectors)
        )
        self.steps = round(self.method.epochs * len(data.trainval) / BATCH)
        self.found: list[dict[str, float]] = []

    def __call__(self, done: int, total: int) -> None:
        """Test E at this step of the whole training, where it is one of the checkpoints."""
        step = done - (total - self.steps)
        if step <= 0 or step % (self.steps // CHECKPOINTS):
            return
        embedder = self.method.networks_["embedder"].eval()
        with torch.inference_mode():
            scores = self.method.score_tensors(self.features.clone(), self.vectors)
        embedder.train()
        accuracies = class_accuracies(scores.argmax(dim=1).numpy(), self.labels, len(self.is_seen))
        u, s = float(np.nanmean(accuracies[~self.is_seen])), float(np.nanmean(accuracies[self.is_seen]))
        self.found.append({"step": step, "u": u, "s": s, "h": float(harmonic_mean(u, s))})


def print_table(out: Path) -> None:
    """Print a line for each cell, mean and standard deviation over seeds; then what each change of a cell does."""
    runs = [run for file in sorted((out / "runs").glob("*.json")) if not (run := RunRecord.read(file)).error]
    cells: dict[tuple[str, str], list[RunRecord]] = {}
    for run in runs:
        cells.setdefault((run.data, run.method), []).append(run)
    print("| data | cell | seeds | " + " | ".join(PLAIN) + " |\n|" + "---|" * (len(PLAIN) + 3))
    for (data, label), same in cells.items():
        columns = []
        for key in PLAIN:
            values = np.array([run.number(key) for run in same])
            digits = METRICS[key].digits
            spread = f" ± {values.std(ddof=1):.{digits}f}" if len(same) > 1 else ""
            columns.append(f"{values.mean():.{digits}f}{spread}")
        print("| " + " | ".join((data, label, str(len(same)), *columns)) + " |")
    print("\n| data | from | to | seeds | change of h | of AUSUC |\n|---|---|---|---|---|---|")
    for (data, label), same in cells.items():
        for old, new in CHANGES:
            applies = label.endswith(old) if old == ", beta 0" else old in label
            other = cells.get((data, label.replace(old, new)))
            if applies and other:
                print(changed(data, label, same, other, out, old, new))
    for file in sorted((out / "checkpoints").glob("*.json")):
        kept = json.loads(file.read_text(encoding="utf-8"))
        last, best = kept["checkpoints"][-1], max(kept["checkpoints"], key=lambda one: one["h"])
        name = f"{kept['data']}, {kept['label']}, seed {kept['seed']}"
        print(f"{name}: h {last['h']:.1f} at the end, {best['h']:.1f} at the best checkpoint, chosen on test images")


def changed(
    data: str, label: str, runs: Sequence[RunRecord], others: Sequence[RunRecord], out: Path, old: str, new: str
) -> str:
    """Write the paired differences of two cells over the seeds that both have, with 95 % bootstrap intervals."""
    shared = sorted({run.seed for run in runs} & {run.seed for run in others})
    of_data = DataRecord.read(out / "data" / f"{file_name(data)}.json")
    images = {
        name: [(Images.decode(run, of_data), None) for run in same if run.seed in shared]
        for name, same in (("old", runs), ("new", others))
    }
    drawn = bootstrap(images)
    cells = []
    for key in ("h", "ausuc"):
        means = [np.mean([run.number(key) for run in same if run.seed in shared]) for same in (runs, others)]
        low, high = interval(drawn["new"][key] - drawn["old"][key])
        digits = METRICS[key].digits
        cells.append(f"{means[1] - means[0]:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})")
    return "| " + " | ".join((data, label, f"{old.strip(', ')} to {new.strip(', ')}", str(len(shared)), *cells)) + " |"


CHANGES = [  # of a label, each alone
    ("random, ", "violating, "),
    ("dropout 0,", "dropout 0.5,"),
    (" 2000 steps", " 20000 steps"),
    (" 20000 steps", " 200000 steps"),
    *((", beta 0", f", beta {beta}") for beta in ("0.005", "0.05", "1")),
]

if __name__ == "__main__":
    main()

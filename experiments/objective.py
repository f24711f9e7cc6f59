"""Is the full objective of SP-AEN better than classification alone? CUB, tuned settings and `paper` (docs/spaen.md).

    python experiments/objective.py path/to/CUB --features resnet_logits.mat --out runs/objective

`experiments/table2.py` has the authors' code and the controls. Finished runs are kept.
"""

import argparse
from pathlib import Path

import numpy as np

import firstsight as fs
from firstsight.bench.bench import Bench, make_method
from firstsight.progress import Display
from firstsight.results.numbers import CALIBRATED, METRICS, PLAIN

COLUMNS = (*PLAIN, *CALIBRATED, "seconds_fit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--features", default=None)
    parser.add_argument("--out", type=Path, default=Path("runs/objective"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="labels to run; all where none is named")
    options = parser.parse_args()

    methods = {"eszsl": make_method("eszsl", gamma=1e3, lam=0.1)} | {spec: make_method(spec) for spec in SPECS}
    methods = {label: method for label, method in methods.items() if not options.only or label in options.only}
    with Display() as display:
        data = fs.load(options.data, features=options.features)
        runs = Bench([data], methods, range(options.seeds)).run(options.out, display)
    print("| " + " | ".join(("method", *COLUMNS)) + " |\n|" + "---|" * (len(COLUMNS) + 1))
    for label in methods:
        cells = []
        for key in COLUMNS:
            values = np.array([run.number(key) for run in runs if run.method == label])
            digits = METRICS[key].digits if key in METRICS else 1
            cells.append(f"{values.mean():.{digits}f} ± {values.std(ddof=len(values) > 1):.{digits}f}")
        print("| " + " | ".join((label, *cells)) + " |")


SPECS = ("spaen:cls-only", "spaen", "spaen:paper-cls-only", "spaen:paper")

if __name__ == "__main__":
    main()

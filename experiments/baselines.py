"""The tables of docs/baselines.md and docs/methods/, from a results folder of `firstsight bench`.

    firstsight bench --data path/to/CUB --features resnet_logits.mat --semantics att sent --methods all \\
        --settings experiments/tuned.toml --seeds 5 --jobs 2 --out runs/baselines
    python experiments/baselines.py runs/baselines

Each page names its methods in a comment, `<!-- numbers: dap iap -->`; the table is written below it, up to
`<!-- end of numbers -->`. In README.md the comment says `summary`, in docs/atlas.md `atlas`.
"""

import argparse
import re
import tomllib
from importlib import resources
from pathlib import Path

import numpy as np

from firstsight.report.tables import name_of
from firstsight.results.numbers import METRICS, PLAIN
from firstsight.results.records import RunRecord

COLUMNS = (*PLAIN, "h_cal")
ROOT = Path(__file__).parents[1]
SUMMARY = ("t1", "h", "ausuc", "h_cal")
PUBLIC = {  # T1 of public re-implementations on 2,048-d features, attributes
    "devise": "44.1",
    "ale": "49.0",
    "sje": "49.4",
    "eszsl": "53.9",
    "sae": "39.5, 46.7",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    options = parser.parse_args()
    runs = [RunRecord.read(path) for path in sorted((options.results / "runs").glob("*.json"))]
    published = tomllib.loads((resources.files("firstsight") / "report" / "published.toml").read_text())
    docs = ROOT / "docs"
    for page in (ROOT / "README.md", docs / "baselines.md", docs / "atlas.md", *(docs / "methods").glob("*.md")):
        text = page.read_text()
        filled = re.sub(
            r"(<!-- numbers: (.*?) -->\n).*?(<!-- end of numbers -->)",
            lambda found: found[1] + "\n" + content(runs, found[2], published) + "\n" + found[3],
            text,
            flags=re.DOTALL,
        )
        if filled != text:
            page.write_text(filled)
            print(f"wrote {page}")


def content(runs: list[RunRecord], asked: str, published: dict) -> str:
    if asked == "summary":
        return summary(runs, {"CUB": "attributes", "CUB sent": "sentences"})
    if asked == "atlas":
        return summary(runs, {"atlas": "loss 0", "atlas 0.5": "loss .5", "atlas 1": "loss 1"})
    return table(runs, asked.split(), published)


def summary(runs: list[RunRecord], sets: dict[str, str]) -> str:
    """Make a table of all methods on several data sets, sorted by mean AUSUC on the first one."""

    def of(method: str, data: str, metric: str) -> list[float | None]:
        return [run.number(metric) for run in runs if (run.method, run.data) == (method, data)]

    first = next(iter(sets))
    names = {run.method: name_of(run) for run in runs if run.data == first}
    ordered = sorted(names, key=lambda method: -np.mean(of(method, first, "ausuc")))
    head = [
        "",
        *(
            f"{words}: {METRICS[metric].name.replace('calibrated', 'cal.')}"
            for words in sets.values()
            for metric in SUMMARY
        ),
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for method in ordered:
        cells = [spread(of(method, data, metric), METRICS[metric].digits) for data in sets for metric in SUMMARY]
        lines.append("| " + " | ".join([names[method], *cells]) + " |")
    return "\n".join(lines) + "\n"


def table(runs: list[RunRecord], methods: list[str], published: dict) -> str:
    """Make a table of means and, with several seeds, standard deviations, beside published numbers."""
    head = ["", "classes by", *(key.upper() if key == "ausuc" else key for key in COLUMNS), "GBU t1", "u", "s", "h"]
    lines = ["| " + " | ".join([*head, "public t1"]) + " |", "|" + "---|" * (len(head) + 1)]
    for method in methods:
        for data, words in (("CUB", "attributes"), ("CUB sent", "sentences")):
            of_method = [run for run in runs if (run.method, run.data) == (method, data)]
            if not of_method:
                continue
            gbu = published["CUB"].get(method, {}) if data == "CUB" else {}
            cells = [spread([run.number(key) for run in of_method], METRICS[key].digits) for key in COLUMNS]
            beside = [f"{gbu[name]:.1f}" if name in gbu else "-" for name in ("t1", "u", "s", "h")]
            public = PUBLIC.get(method, "-") if data == "CUB" else "-"
            lines.append("| " + " | ".join([f"`{method}`", words, *cells, *beside, public]) + " |")
    return "\n".join(lines) + "\n"


def spread(values: list[float | None], digits: int) -> str:
    known = np.array([value for value in values if value is not None])
    if not len(known):
        return "-"
    mean = f"{known.mean():.{digits}f}"
    return mean if len(known) == 1 else f"{mean} ± {known.std(ddof=1):.{digits}f}"


if __name__ == "__main__":
    main()

"""Results -> what the page shows -> the page's text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from firstsight.report import charts, comparison, names, provenance, tables
from firstsight.report.provenance import Conduct, SettingsTable
from firstsight.report.section import FEW, START, Section, section_of
from firstsight.report.tables import MethodRow
from firstsight.results.numbers import METRICS
from firstsight.results.records import DataRecord, PicturesRecord, Results, RunRecord, Sample


@dataclass(frozen=True)
class View:
    """Everything that the page, the tables and the figures show."""

    verdict: str  # one sentence on all data sets
    sections: Sequence[Section]
    never_shown: Sequence[Sample]  # pictures of unseen classes for the head of the page
    slots: Mapping[str, int]  # colours by method
    names: Mapping[str, str]  # of the methods as people write them
    settings: Sequence[SettingsTable]
    conduct: Sequence[Conduct]
    n_runs: int
    failed: Sequence[RunRecord]  # without numbers
    seeds: Sequence[int]
    machine: Mapping[str, str]
    versions: Mapping[str, Sequence[str]]
    seconds: float  # of fitting and scoring, all runs together


def view(results: Results) -> View:
    """Compute and draw what the page shows."""
    runs = results.finished
    by_data: dict[str, list[RunRecord]] = {}
    for run in runs:
        by_data.setdefault(run.data, []).append(run)
    groups = {name: tables.method_rows(by_data[name]) for name in sorted(by_data, key=str.lower)}
    pictures = {name: results.pictures.get(name) or PicturesRecord(name, []) for name in groups}
    slots = {method: number for number, method in enumerate(_in_order(groups))}
    titles = {row.method: row.name for rows in groups.values() for row in rows}
    sections = [
        section_of(place, rows, results.data.get(name) or DataRecord(name), pictures[name], slots)
        for place, (name, rows) in enumerate(groups.items(), start=1)
    ]
    return View(
        verdict=comparison.verdict(groups, {section.name: section.standing for section in sections}),
        sections=sections,
        never_shown=[one for of_data in pictures.values() for one in of_data.samples if not one.seen][:4],
        slots=slots,
        names={method: titles[method] for method in slots},
        settings=[provenance.settings_table(method, groups) for method in slots],
        conduct=[provenance.conduct(name, row) for name, rows in groups.items() for row in rows],
        n_runs=len(runs),
        failed=results.failed,
        seeds=sorted({run.seed for run in runs}),
        machine=provenance.machine(runs),
        versions=provenance.versions(runs),
        seconds=sum((run.seconds_fit or 0.0) + (run.seconds_score or 0.0) for run in runs),
    )


def render(shown: View) -> str:
    """Write the page's text; the same results give the same bytes."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(source),
    )
    environment.filters.update(
        plain=names.plain_name, method=names.display_name, duration=names.duration, script=_in_script, picture=_inline
    )
    return environment.get_template("page.html.jinja").render(
        **vars(shown),
        columns=tables.COLUMNS,
        groups=tables.GROUPS,
        published_columns=tables.PUBLISHED_COLUMNS,
        metrics=METRICS,
        name_of=tables.name_of,
        style=charts.style(shown.slots.values()),
        start=START,
        few=FEW,
    )


def source(name: str) -> str:
    """Read a template, style sheet or script beside this file."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _inline(picture: str) -> str:
    """Return the address of a picture, base64 of JPEG or PNG, that is in the page itself."""
    return f"data:image/{'jpeg' if picture.startswith('/9j/') else 'png'};base64,{picture}"


def _in_script(value: Any) -> Markup:
    """Write JSON for a script element: no `<` can end it."""
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))


def _in_order(groups: Mapping[str, Sequence[MethodRow]]) -> list[str]:
    """Sort methods: the paper's first, the others by their best rank on any data set, so that colours shown differ."""
    best: dict[str, int] = {}
    for rows in groups.values():
        for place, row in enumerate(rows):
            best[row.method] = min(place, best.get(row.method, place))
    return sorted(best, key=lambda method: (method != names.PAPER, best[method], method))

"""What was run for an item -> the part of the page that shows it: tables with printed numbers, figures, words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from firstsight.bench.ablation import WAYS, PartRow, PictureRow
from firstsight.methods.spaen_pictures import SPAENPictures
from firstsight.report import charts, classes, figures
from firstsight.report.curves import Series, curve_of
from firstsight.report.names import display_name, in_print, published_cosine, published_errors, published_numbers
from firstsight.report.reproduction import (
    ACCURACIES,
    ERROR,
    PAPER_DATA,
    Column,
    Figure,
    Grid,
    Outcome,
    Part,
    Row,
    columns_of,
)
from firstsight.report.tables import Stat, method_rows
from firstsight.results.records import DataRecord, RunRecord

TITLES = {
    "table1": "Table 1",
    "table2": "Table 2",
    "table3": "Table 3",
    "fig1": "Figure 1",
    "fig4": "Figure 4",
    "fig5": "Figure 5",
    "fig7": "Figure 7",
}
TEXTS = {
    "table1": (
        "Thirteen methods and SP-AEN on four data sets: unseen images among unseen classes (U→U), and unseen and seen "
        "images among all classes (U→T, S→T) with their harmonic mean H. The cosine over each data set compares which "
        "attributes vary among training images with which vary among unseen ones: the lower, the more of what "
        "separates unseen classes can get lost in training."
    ),
    "table2": (
        "What the classification loss reaches alone, and what reconstruction and the critic add. On features E, F and "
        "G all work on the same vectors; on pictures F reads and G draws pixels, as in the paper."
    ),
    "table3": (
        "How well pictures of unseen classes are drawn, by four ways to have both a classifier and a drawing: G on a "
        "classifier that stays as it is, one code for both, a code in two halves, and SP-AEN. Lower is better."
    ),
    "fig1": (
        "Semantic loss, before anything is trained. The strips show how much each attribute varies among training "
        "images and among images of unseen classes. The maps place what is tested by its attributes: by all, and by "
        "the half that varies in training, which is what a classifier has a reason to keep."
    ),
    "fig4": (
        "Pictures of unseen classes and what each of the four ways of Table 3 draws of them. The rows SAE-image and "
        "SP-AEN alone are the paper's Figure 1b."
    ),
    "fig5": "What SP-AEN draws as the weight alpha of the reconstruction falls, trained jointly.",
    "fig7": (
        "Seen against unseen accuracy as seen classes are given a handicap. A cross marks no handicap. The area under "
        "a curve (AUSUC) does not depend on the choice of a handicap. The paper shows curves and prints no numbers."
    ),
}


class Drawn(NamedTuple):
    """Ways to draw that were measured, errors of simpler ways by name, a sheet of pictures as PNG, and the settings."""

    rows: Sequence[PictureRow]
    baselines: Mapping[str, float]
    sheet: bytes
    settings: SPAENPictures


class Parts(NamedTuple):
    """Parts of the objective that were trained on pictures, and the settings of the whole."""

    rows: Sequence[PartRow]
    settings: SPAENPictures


def part_of(item: str, outcomes: Sequence[Outcome], results: Sequence[Any], cosines: Mapping[str, float]) -> Part:
    """Make the part of the page for an item.

    Args:
        item: its key.
        outcomes: what became of it, by data set.
        results: pairs of a `reproduce.Piece` and its rows.
        cosines: of attribute variances, by the paper's data set, for the head of Table 1.
    """
    grids: list[Grid]
    drawn: list[Figure] = []
    if item == "table1":
        grids = [_accuracies(item, _caption(item), results, cosines), _cosines(cosines)]
    elif item == "table2":
        on_features = [one for one in results if one[0].role == "features"]
        on_pictures = [one for one in results if one[0].role == "pictures"]
        grids = [_accuracies(item, f"{_caption(item)} On features.", on_features, {})]
        grids += [_parts("table2-pictures", f"{_caption(item)} On pictures.", on_pictures)] if on_pictures else []
    elif item == "table3":
        grids = [_errors(results)]
    elif item == "fig5":
        grids = [_alphas(results)] if results else []
    elif item == "fig7":
        grids = [_areas(results)] if results else []
        drawn = [_curves(piece.source.column, rows) for piece, rows in results]
    else:
        grids = []
    if item == "fig1":
        drawn = [figure for _, record in results for figure in _of_classes(record)]
    if item in ("fig4", "fig5"):
        drawn = [_sheet(item, piece.source.column, rows) for piece, rows in results]
    return Part(item, TITLES[item], TEXTS[item], outcomes, grids, drawn)


def _caption(item: str) -> str:
    """Return the caption of a table of accuracies."""
    return {
        "table1": "Accuracy of every method on every data set, in percent.",
        "table2": "Accuracy with the classification loss alone and with the whole objective, in percent.",
    }[item]


def _printed(method: str) -> dict[str, dict[str, float]]:
    """Return what the paper prints for a method, by data set."""
    return {key: numbers for key in PAPER_DATA if (numbers := published_numbers(key).get(in_print(method)))}


def _accuracies(item: str, caption: str, results: Sequence[Any], cosines: Mapping[str, float]) -> Grid:
    """Make a table of accuracies from runs of `Bench`; the rows that the paper prints are there without runs too."""
    runs: dict[str, list[RunRecord]] = {}
    for _, of_data in results:
        for run in of_data:
            runs.setdefault(run.method, []).append(run)
    if not runs:
        names = [name for name in published_numbers("CUB") if name != "spaen:cls-only"]
        runs = {name: [] for name in (names if item == "table1" else ("spaen:cls-only", "spaen"))}
    by_data = [{row.method: row for row in method_rows(of_data)} for _, of_data in results]
    rows = []
    for method in runs:
        found = {rows[method].runs[0].data: rows[method] for rows in by_data if method in rows}
        rows.append(
            Row(
                next((row.name for row in found.values()), display_name(method)),
                {data: row.stats for data, row in found.items()},
                _printed(method),
                {data: _made(row.runs) for data, row in found.items()},
            )
        )
    columns = columns_of([_with_cosine(piece.source.column, cosines) for piece, _ in results])
    columns = [one if one.data else _with_cosine(one, cosines) for one in columns]
    return Grid(item, caption, columns, rows, ACCURACIES)


def _with_cosine(column: Column, cosines: Mapping[str, float]) -> Column:
    """Write the cosine of a data set below its name, ours and printed; nothing where there are no splits."""
    ours, printed = cosines.get(column.printed), published_cosine(column.printed)
    if ours is None or printed is None:
        return column
    return replace(column, head=(f"cosine {ours:.4f}", f"printed {printed:.4f}"))


def _made(runs: Sequence[RunRecord]) -> str:
    """Say how the runs of one method were trained."""
    first = runs[0]
    length = first.settings.get("epochs")
    seeds = f"{len(runs)} seed{'s' if len(runs) > 1 else ''}"
    return "; ".join(filter(None, [first.settings_from, seeds, f"{length:g} passes over the images" if length else ""]))


def _made_of_pictures(settings: SPAENPictures, seeds: int) -> str:
    """Say how trainings on pictures were made."""
    return (
        f"{seeds} seed{'s' if seeds > 1 else ''}; {settings.schedule}; {settings.epochs:g} passes over the images; "
        f"{settings.side} pixels a side; width {settings.width:g}; "
        f"{'ImageNet weights' if settings.pretrained == 'imagenet' else 'random weights'}"
    )


def _cosines(cosines: Mapping[str, float]) -> Grid:
    """Make the table of the cosines in the head of Table 1."""
    ours = {key: {"cosine": Stat(value, None)} for key, value in cosines.items()}
    printed = {key: {"cosine": value} for key in PAPER_DATA if (value := published_cosine(key)) is not None}
    columns = [Column(key if key in ours else "", key) for key in PAPER_DATA]
    caption = "Cosine of the attribute variances of training images and of images of unseen classes."
    return Grid("table1-cosines", caption, columns, [Row("cosine", ours, printed)], {"cosine": "cosine"}, 4)


def _parts(name: str, caption: str, results: Sequence[Any]) -> Grid:
    """Make a table of the parts of the objective on pictures."""
    labels = {"Cls. only": "spaen:cls-only", "full": "spaen"}
    rows = []
    for part in dict.fromkeys(row.parts for _, found in results for row in found.rows):
        ours, made = {}, {}
        for piece, found in results:
            own = [row for row in found.rows if row.parts == part]
            ours[piece.source.data] = {key: Stat.of(getattr(row, key) for row in own) for key in (*ACCURACIES, "ausuc")}
            made[piece.source.data] = _made_of_pictures(found.settings, len(own))
        rows.append(Row(part, ours, _printed(labels[part]) if part in labels else {}, made))
    return Grid(name, caption, columns_of([piece.source.column for piece, _ in results]), rows, ACCURACIES)


def _errors(results: Sequence[Any]) -> Grid:
    """Make Table 3, with the errors of simpler ways as lines of our own."""
    rows = []
    for variant, way in WAYS.items():
        ours = {
            piece.source.data: {"mse": Stat(row.mse, None)}
            for piece, found in results
            for row in found.rows
            if row.way == way
        }
        printed = {key: {"mse": error} for key in PAPER_DATA if (error := published_errors(key).get(variant))}
        made = {piece.source.data: _made_of_pictures(found.settings, 1) for piece, found in results}
        rows.append(Row(way, ours, printed, made))
    for name in dict.fromkeys(name for _, found in results for name in found.baselines):
        own = ((piece.source.data, found.baselines[name]) for piece, found in results if name in found.baselines)
        rows.append(Row(name, {data: {"mse": Stat(error, None)} for data, error in own}, {}))
    caption = "Mean squared error per pixel of pictures of unseen classes, colours in 0..1."
    return Grid("table3", caption, columns_of([piece.source.column for piece, _ in results]), rows, ERROR, 4, True)


def _alphas(results: Sequence[Any]) -> Grid:
    """Make a table of the errors by alpha, which the paper shows as pictures alone."""
    values = dict.fromkeys(row.alpha for _, found in results for row in found.rows)
    rows = [
        Row(
            f"alpha {alpha:g}",
            {
                piece.source.data: {"mse": Stat(row.mse, None), "h": Stat(row.h, None)}
                for piece, found in results
                for row in found.rows
                if row.alpha == alpha
            },
            {},
            {piece.source.data: _made_of_pictures(found.settings, 1) for piece, found in results},
        )
        for alpha in values
    ]
    return Grid("figure5", "Error of what is drawn, by alpha.", _bare(results), rows, ERROR, 4)


def _bare(results: Sequence[Any]) -> list[Column]:
    """Return the data sets of results as columns without printed numbers."""
    return [Column(piece.source.data, "", piece.source.differs) for piece, _ in results]


def _areas(results: Sequence[Any]) -> Grid:
    """Make a table of the areas under the curves."""
    rows: dict[str, Row] = {}
    for piece, found in results:
        data = piece.source.data
        for name, stat, made in _each_area(found):
            row = rows.setdefault(name, Row(name, {}, {}, {}))
            rows[name] = Row(name, {**row.ours, data: {"ausuc": stat}}, {}, {**row.made, data: made})
    return Grid("figure7", "Area under each curve, 0 to 1.", _bare(results), list(rows.values()), {"ausuc": "AUSUC"}, 3)


def _each_area(found: Any) -> list[tuple[str, Stat | None, str]]:
    """List name, area and training of each curve."""
    if isinstance(found, Parts):
        names = dict.fromkeys(row.parts for row in found.rows)
        own = {name: [row.ausuc for row in found.rows if row.parts == name] for name in names}
        return [(name, Stat.of(own[name]), _made_of_pictures(found.settings, len(own[name]))) for name in names]
    return [(row.name, row.stats["ausuc"], _made(row.runs)) for row in method_rows(found)]


def _curves(column: Column, found: Any) -> Figure:
    """Draw the seen-unseen curves of one data set."""
    if isinstance(found, Parts):
        first = min(row.seed for row in found.rows)
        series = [
            Series(slot, row.parts, row.curve.points, [], (row.u, row.s), None)
            for slot, row in enumerate(row for row in found.rows if row.seed == first)
        ]
        on = "pictures"
    else:
        curves = (curve_of(row, slot) for slot, row in enumerate(method_rows(found)))
        series = [curve for curve in curves if curve is not None]
        on = "features"
    title = f"{column.shown}, on {on}"
    said = f"{column.differs}. " if column.differs else ""
    chart = charts.curve_chart(series, f"Seen-unseen curves on {title}", has_legend=True)
    return Figure(f"figure7-{column.data}-{on}", title, f"{said}Up is seen, right is unseen accuracy.", chart)


def _of_classes(record: DataRecord) -> list[Figure]:
    """Draw the attribute variances and the maps of one data set."""
    found = []
    view = classes.variance_view(record.variance)
    if view is not None and view.cosine is not None:
        said = (
            f"Attributes of {_as_paper(record.name)} from low to high variance in training; darker varies more. "
            f"The half that varies less in training has {view.quiet_share:.0f} % of the variance among unseen classes."
        )
        strips = charts.variance_strips(view, f"Attribute variances of {record.name}")
        found.append(Figure(f"figure1-{record.name}-variance", f"{_as_paper(record.name)}: what varies", said, strips))
    maps = record.projection
    if maps is not None and record.names and record.is_seen:
        label = f"t-SNE of the test data of {record.name} by all and by high-variance attributes"
        drawing = figures.projection_maps(maps, record.names, record.is_seen, label)
        points = "test image by its own attributes" if maps.of else "class"
        said = (
            f"A dot is a {points}. Where unseen classes move together on the right, what separates them hardly varies "
            "in training."
        )
        found.append(
            Figure(
                f"figure1-{record.name}-maps",
                f"{_as_paper(record.name)}: what training has a reason to keep",
                said,
                drawing,
            )
        )
    return found


def _as_paper(data: str) -> str:
    """Write the name of a data set as the paper does, where it is one of the paper's."""
    return PAPER_DATA.get(data.upper(), data)


def _sheet(item: str, column: Column, drawn: Drawn) -> Figure:
    """Show a sheet of pictures."""
    key: Callable[[PictureRow], str] = (
        (lambda row: f"alpha {row.alpha:g}") if item == "fig5" else lambda row: str(row.way)
    )
    errors = ", ".join(f"{key(row)} {row.mse:.4f}" for row in drawn.rows)
    said = f"{column.differs}. " if column.differs else ""
    name = f"{TITLES[item].replace(' ', '').lower()}-{column.data}"
    caption = f"{said}First line: test pictures of unseen classes; below, what is drawn of them. Errors: {errors}."
    return Figure(name, column.shown, caption, None, drawn.sheet)

"""`firstsight reproduce`: the paper's tables and figures in one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from firstsight.cli.options import as_json, at_least_one

if TYPE_CHECKING:
    from firstsight.bench.reproduce import Planned
    from firstsight.report.reproduction import Reproduction


def reproduce(
    items: tuple[str, ...] = ("all",),
    /,
    gbu: Path | None = None,
    pictures: Path | None = None,
    data: tuple[str, ...] = (),
    generator_file: str = "",
    settings: Path | None = None,
    seeds: int | None = None,
    side: int = 256,
    pretrained: Literal["imagenet", "none"] = "imagenet",
    quick: bool = False,
    jobs: int = 1,
    list: bool = False,
    out: Path = Path("reproduction"),
    json: bool = False,
) -> None:
    """Reproduce the tables and figures of the paper: ours, printed, their difference, what differs.

    First lists every item with its inputs, present or missing, and the time that it takes, measured on the first steps
    of its trainings on this machine. Then runs what can run and writes one page, with CSV and LaTeX tables and the
    figures beside it. An item whose inputs are missing is on the page with the reason; the atlas or the given pictures
    stand in for it, and everything that is not of the paper's own input has a mark. Stopped or killed, the same command
    continues.

    The paper's inputs are `res101.mat` of its four data sets (`firstsight data fetch xlsa17`) and their pictures.

    Args:
        items: table1 table2 table3 fig1 fig4 fig5 fig7, or `all`.
        gbu: folder with a folder in the GBU layout for each data set, as `data` of xlsa17.zip is. A data set without
            `res101.mat` but with one other feature file is run on that.
        pictures: folder with the pictures of these data sets, or a folder of pictures with a `classes.csv` and one
            feature file.
        data: folders of GBU to use, as in `CUB SUN`; the paper's four by default.
        generator_file: the published generator's .caffemodel, for pictures of 256 pixels.
        settings: TOML file that `tune` wrote; used where it has the data set and the method.
        seeds: number of seeds, from 0 on; 3 by default, 1 with --quick. The ways to draw are trained once.
        side: pixels of a side of the pictures: 32, 64, 128 or 256 (paper).
        pretrained: start F from ImageNet weights (paper), or from random ones.
        quick: short trainings, one seed, pictures of 32 pixels, narrow networks: to see the page, not the numbers.
        jobs: number of parallel runs on features.
        list: stop after the list.
        out: folder of the page, the tables, the figures and all results.
        json: print one JSON document.
    """
    from firstsight.bench import reproduce as bench
    from firstsight.progress import Display
    from firstsight.tuning.settings_file import read_settings

    count = (1 if quick else 3) if seeds is None else seeds
    at_least_one(seeds=count, jobs=jobs)
    request = bench.Request(
        items=bench.items_named(items),
        out=out,
        gbu=gbu,
        pictures=pictures,
        data=tuple(dict.fromkeys(data)),
        generator_file=generator_file,
        tuned=read_settings(settings) if settings else {},
        seeds=count,
        quick=quick,
        side=side,
        pretrained=pretrained,
        jobs=jobs,
    )
    with Display() as display:
        request = request if list else bench.with_earlier_items(request)
        planned = bench.plan(request, display)
        lines = _lines(planned)
        if not list:
            for line in lines:
                display.say(line)
            try:
                path, shown = bench.reproduce(request, [one.piece for one in planned], display)
            except KeyboardInterrupt:
                display.say(f"stopped; what is finished is kept in {out}; the same command continues")
                raise
    if list:
        print(as_json({"items": [_row(one) for one in planned]}) if json else "\n".join(lines))
        return
    if json:
        print(as_json({"page": str(path), "items": _outcomes(shown)}))
        return
    print(f"The page is at {path}")


def _lines(planned: Sequence[Planned]) -> list[str]:
    """Write the list of items."""
    from firstsight.bench.reproduce_parts import TITLES
    from firstsight.report.names import duration

    lines = []
    for item in dict.fromkeys(one.piece.item for one in planned):
        lines.append(f"{TITLES[item]} ({item})")
        alike: dict[tuple[str, str, str], list[str]] = {}  # names of data sets about which the same is said
        for one in (one for one in planned if one.piece.item == item):
            source = one.piece.source
            time = "missing" if one.seconds is None else "seconds"
            if one.seconds is not None and one.piece.trainings:
                time = f"about {duration(max(1.0, one.seconds))}"
            alike.setdefault((one.piece.role, time, source.said), []).append(source.name)
        lines += [f"  {', '.join(names):<20}{role:<10}{time:<18}{said}" for (role, time, said), names in alike.items()]
    supplies = dict.fromkeys(words for one in planned for words in one.piece.source.supply)
    lines += ["Nearer to the paper:", *(f"  {words}" for words in supplies)] if supplies else []
    total = sum(one.new for one in planned)
    lines.append(
        f"About {duration(max(1.0, total))} of training in all, shared trainings once; finished ones are kept."
    )
    return lines


def _row(one: Planned) -> dict[str, Any]:
    """Return the row of an item on a data set in `--list --json`."""
    source = one.piece.source
    return {
        "item": one.piece.item,
        "data": source.data,
        "role": one.piece.role,
        "is_ready": not source.missing,
        "missing": source.missing or None,
        "differs": source.differs or None,
        "supply": source.supply,
        "seconds": one.seconds,
    }


def _outcomes(shown: Reproduction) -> list[dict[str, Any]]:
    """Return what became of each item, and its numbers, in `--json`."""
    from firstsight.report.reproduction import number_rows

    return [
        {
            "item": part.key,
            "outcomes": [vars(one) for one in part.outcomes],
            "numbers": [row for grid in part.grids for row in number_rows(grid)],
        }
        for part in shown.parts
    ]

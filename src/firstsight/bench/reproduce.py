"""All tables and figures of SP-AEN (Chen et al., CVPR 2018) that the inputs at hand allow, in one page.

    OUT/measured.json           seconds of each training, estimated from its first steps
    OUT/items.json              the items asked for so far, and how; the page shows all that are asked for alike
    OUT/features/               results of `bench`, for Tables 1 and 2 and Figure 7; `firstsight report` reads them
    OUT/pictures/DATA/          results of the ablations on pictures, for Tables 2 and 3 and Figures 4, 5 and 7
    OUT/reproduction.html       the page, written again after every item; beside it `tables/` and `figures/`

Everything runs through `Bench`, `ablation` and `analysis`, which keep what is finished, so a second call continues.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from firstsight.analysis import attribute_variance
from firstsight.bench import ablation, reproduce_parts
from firstsight.bench.bench import Bench, describe, make_method, origin_of
from firstsight.bench.provenance import commit, versions
from firstsight.bench.reproduce_inputs import Loaded, Role, Source, sources
from firstsight.bench.reproduce_times import estimated_seconds, measured_before
from firstsight.data import Dataset
from firstsight.datasets.image_attributes import BY_DATA, find_image_attributes, read_image_attributes
from firstsight.errors import InputError, did_you_mean
from firstsight.files import file_name, write_text
from firstsight.methods import Method
from firstsight.methods.spaen_pictures import SPAENPictures, Variant
from firstsight.progress import Display
from firstsight.report.names import published_numbers
from firstsight.report.reproduction import Outcome, Part, Reproduction, write_reproduction
from firstsight.results.records import DataRecord
from firstsight.tuning.settings_file import Chosen

TABLE2, LETTER, FIGURE7 = "table2", "paper", "figure7"  # presets
ALPHAS = (10.0, 1.0, 0.1, 0.01, 0.001)  # Figure 5
QUICK, MOST = 6, 6  # where quick, trainings are so many times shorter, and have so many passes at most
SMALL = {"side": 32, "width": 0.25, "pretrained": "none"}  # of spaen-pictures, where quick

ROLES: dict[str, tuple[Role, ...]] = {  # what each item is made of
    "table1": ("features",),
    "table2": ("features", "pictures"),
    "table3": ("pictures",),
    "fig1": ("splits",),
    "fig4": ("pictures",),
    "fig5": ("pictures",),
    "fig7": ("features", "pictures"),
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to reproduce, from what.

    Attributes:
        items: keys of ROLES, in their order.
        out: folder of results and page.
        gbu: folder with a folder in the GBU layout for each data set.
        pictures: a folder of pictures with a `classes.csv`, or one with the pictures of the data sets of `gbu`.
        data: names of folders in `gbu`; the paper's four where empty.
        generator_file: the published generator's .caffemodel, for G at 256 pixels.
        tuned: settings by data set and method, in place of defaults and presets.
        seeds: trainings of each method, with seeds from 0 on; the ways to draw are trained once.
        quick: shorter trainings, smaller pictures and networks.
        side: pixels of a side of the pictures.
        pretrained: `imagenet` starts F and phi from published weights, `none` from random ones.
        jobs: runs on features side by side.
    """

    items: tuple[str, ...]
    out: Path
    gbu: Path | None = None
    pictures: Path | None = None
    data: tuple[str, ...] = ()
    generator_file: str = ""
    tuned: Mapping[tuple[str, str], Chosen] = field(default_factory=dict)
    seeds: int = 3
    quick: bool = False
    side: int = 256
    pretrained: Literal["imagenet", "none"] = "imagenet"
    jobs: int = 1

    def __post_init__(self) -> None:
        if self.quick and self.generator_file:
            raise InputError(f"generator file must be left out with quick, which is smaller; got {self.generator_file}")


@dataclass(frozen=True)
class Piece:
    """An item on one data set.

    `trainings` are the methods to train, by label; `seeds` is how often.
    """

    item: str
    role: Role
    source: Source
    trainings: Mapping[str, Method]
    seeds: int


class Planned(NamedTuple):
    """A piece with the seconds that its trainings take, None where it cannot run, and those no earlier piece has."""

    piece: Piece
    seconds: float | None
    new: float


def items_named(words: Sequence[str]) -> tuple[str, ...]:
    """Return the items of these names in the paper's order; all where there are none, or one is `all`."""
    for word in words:
        if word != "all" and word not in ROLES:
            hint = did_you_mean(word, ROLES) or f"; they are {', '.join(ROLES)}, or all"
            raise InputError(f"unknown item {word!r}{hint}")
    return tuple(item for item in ROLES if not words or "all" in words or item in words)


def pieces(request: Request) -> list[Piece]:
    """List the items on all data sets that could serve them, those whose inputs are missing too."""
    found = {
        role: sources(role, request.gbu, request.pictures, request.data)
        for role in dict.fromkeys(role for item in request.items for role in ROLES[item])
    }
    return [
        Piece(
            item, role, source, {} if source.missing else _trainings(item, role, source, request), _seeds(item, request)
        )
        for item in request.items
        for role in ROLES[item]
        for source in found[role]
    ]


def with_earlier_items(request: Request) -> Request:
    """Add the items that earlier calls made in the same folder and in the same way, so that they stay on the page."""
    file = request.out / "items.json"
    facts = {name: value for name, value in vars(request).items() if name not in ("items", "out", "jobs")}
    way = repr(sorted(facts.items()))
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        earlier = found["items"] if found["way"] == way else []
    except (OSError, ValueError, KeyError, TypeError):
        earlier = []
    items = tuple(item for item in ROLES if item in request.items or item in earlier)
    write_text(file, json.dumps({"items": items, "way": way}))
    return replace(request, items=items)


def plan(request: Request, display: Display) -> list[Planned]:
    """Measure how long each piece takes, on the first steps of its trainings; what was measured is kept."""
    file = request.out / "measured.json"
    known = measured_before(file)
    counted: set[str] = set()
    planned = []
    work = pieces(request)
    loaded = Loaded(display)
    for at, piece in enumerate(work):
        display("measuring", at, len(work))
        if piece.source.missing:
            planned.append(Planned(piece, None, 0.0))
            continue
        seconds = new = 0.0
        try:
            for method in piece.trainings.values():
                data = loaded.of(piece.source, _side(piece))
                key = _key(method, data)
                if key not in known:
                    known[key] = estimated_seconds(method, data)
                    write_text(file, json.dumps(known, indent=1))
                seconds += known[key] * (piece.seeds if method.is_random else 1)
                if key not in counted:
                    new += known[key] * (piece.seeds if method.is_random else 1)
                counted.add(key)
        except InputError as error:
            planned.append(Planned(replace(piece, source=replace(piece.source, missing=str(error))), None, 0.0))
            continue
        planned.append(Planned(piece, seconds, new))
    display("measuring", len(work), len(work))
    return planned


def reproduce(request: Request, work: Sequence[Piece], display: Display) -> tuple[Path, Reproduction]:
    """Make what can be made of the pieces, and write the page after every item.

    A piece that fails is on the page with the reason, and the others go on.

    Returns:
        The page's path, and what it shows.
    """
    loaded = Loaded(display)
    parts: list[Part] = []
    path, shown = request.out, Reproduction((), request.quick, ())
    cosines = cosines_of(request, display)
    for item in request.items:
        outcomes, results = [], []
        for piece in (one for one in work if one.item == item):
            source = piece.source
            if not source.missing:
                display.say(f"{item}: {source.name}, {piece.role}")
                try:
                    results.append((piece, _run(piece, request, loaded, display)))
                    outcomes.append(Outcome(source.name, True, source.said, source.supply, not source.differs))
                    continue
                except InputError as error:
                    source = replace(source, missing=str(error))
            outcomes.append(Outcome(source.name, False, source.missing, source.supply))
        parts.append(reproduce_parts.part_of(item, outcomes, results, cosines))
        shown = Reproduction(parts, request.quick, list(_conditions(request)), _versions())
        path = write_reproduction(shown, request.out)
    return path, shown


def _run(piece: Piece, request: Request, loaded: Loaded, display: Display) -> Any:
    """Make one piece and return its rows: of `Bench`, of an ablation, or the record of a data set."""
    data = loaded.of(piece.source, _side(piece))
    if piece.role == "splits":
        return _mapped(data, piece.source, request)
    if piece.role == "features":
        chosen = {(data.name, label): _chosen(label, data.name, request) for label in piece.trainings}
        methods = {label: make_method(label) for label in piece.trainings}
        bench = Bench([data], methods, range(piece.seeds), calibrate=False, tuned=chosen)
        runs = bench.run(request.out / "features", display, request.jobs)
        finished = [run for run in runs if run.error is None]
        if not finished:
            raise InputError(f"runs must finish; got {runs[0].error}")
        return finished
    place = request.out / "pictures" / file_name(data.name)
    settings = _of_pictures(piece.item, data.name, request)
    if piece.item in ("table3", "fig4"):
        rows = ablation.reconstruction(data, settings, place / "reconstruction", display)
        sheet = ablation.write_sheet(place / "reconstruction.png", data, {str(row.way): row for row in rows})
        baselines = {"the mean picture": ablation.mean_picture_error(data, settings.view)}
        if (ridge := ablation.ridge_of(data, settings, place / "reconstruction")) is not None:
            baselines["ridge on E's input"] = ridge.mse
        return reproduce_parts.Drawn(rows, baselines, sheet.read_bytes(), settings)
    if piece.item == "fig5":
        rows = ablation.alphas(data, settings, place / "alpha", _alphas(request), display)
        sheet = ablation.write_sheet(place / "alpha.png", data, {f"alpha {row.alpha:g}": row for row in rows})
        return reproduce_parts.Drawn(rows, {}, sheet.read_bytes(), settings)
    return reproduce_parts.Parts(
        ablation.objective(data, settings, place / piece.item, request.seeds, display), settings
    )


def _mapped(data: Dataset, source: Source, request: Request) -> DataRecord:
    """Return the record of a data set; its map is of test images where the pictures' folder has their attributes."""
    names = BY_DATA.get(source.printed)
    file = find_image_attributes(request.pictures, names) if names and request.pictures else None
    own = read_image_attributes(data, source.path, file) if file else None
    return describe(data, None if own is None else own.values)


def _trainings(item: str, role: Role, source: Source, request: Request) -> dict[str, Method]:
    """Return the trainings of an item on a data set, by label."""
    if role == "splits":
        return {}
    if role == "features":
        chosen = {label: _chosen(label, source.data, request).settings for label in _labels(item, source.data, request)}
        return {label: replace(make_method(label), **settings) for label, settings in chosen.items()}
    settings = _of_pictures(item, source.data, request)
    if item == "fig5":
        return {f"alpha {alpha:g}": replace(settings, alpha=alpha, schedule="joint") for alpha in _alphas(request)}
    if item in ("table3", "fig4"):
        equal = ablation.with_equal_passes(settings)
        return {variant: replace(equal, variant=variant) for variant in get_args(Variant)}
    return {
        part: replace(settings, alpha=settings.alpha * has_alpha, beta=settings.beta * has_beta)
        for part, (has_alpha, has_beta) in ablation.PARTS.items()
    }


def _labels(item: str, data: str, request: Request) -> list[str]:
    """List the methods of an item on features; SP-AEN of Table 1 is the tuned one where the settings have it."""
    if item == "table1":
        rivals = [name for name in published_numbers("CUB") if not name.startswith("spaen")]
        return [*rivals, "spaen" if (data, "spaen") in request.tuned else f"spaen:{TABLE2}"]
    if item == "table2":
        return [f"spaen:{preset}{end}" for preset in (TABLE2, LETTER) for end in ("-cls-only", "")]
    return [f"spaen:{FIGURE7}-cls-only", f"spaen:{FIGURE7}"]


def _chosen(label: str, data: str, request: Request) -> Chosen:
    """Return the settings of a method on features that differ from its label's, and where all come from."""
    method = make_method(label)
    tuned = request.tuned.get((data, label))
    settings: dict[str, Any] = dict(tuned.settings) if tuned else {}
    origin = (tuned.origin or "a settings file") if tuned else origin_of(method)
    if request.quick:
        settings |= _shortened(replace(method, **settings))
    return Chosen(settings, origin)


def _of_pictures(item: str, data: str, request: Request) -> SPAENPictures:
    """Return the settings of SP-AEN on pictures for an item."""
    tuned = request.tuned.get((data, SPAENPictures.name))
    own: dict[str, Any] = {
        "side": request.side,
        "pretrained": request.pretrained,
        "generator_file": request.generator_file,
    }
    own |= SMALL if request.quick else {}
    if tuned and item != "fig7":  # a settings file has what differs from the defaults, not from a preset
        method = SPAENPictures(**{**tuned.settings, **own})
    else:
        method = SPAENPictures.preset(FIGURE7 if item == "fig7" else TABLE2, **own)
    return replace(method, **_shortened(method)) if request.quick else method


def _shortened(method: Method) -> dict[str, Any]:
    """Return the passes of a method, fewer by QUICK and MOST at most; whole ones are one at least."""
    found = {name: value for name, value in method.settings().items() if name in ("epochs", "autoencoder_epochs")}
    shorter = {name: min(n / QUICK, MOST) for name, n in found.items()}
    return {name: max(1, round(n)) if isinstance(found[name], int) else n for name, n in shorter.items()}


def _alphas(request: Request) -> Sequence[float]:
    """Return the values of alpha of Figure 5; every second one where quick."""
    return ALPHAS[::2] if request.quick else ALPHAS


def _seeds(item: str, request: Request) -> int:
    """Return how often the trainings of an item are made."""
    return 1 if item in ("table3", "fig4", "fig5") else request.seeds


def _side(piece: Piece) -> int | None:
    """Return the side of the pictures of a piece; None where it looks at none."""
    return next((method.view for method in piece.trainings.values() if isinstance(method, SPAENPictures)), None)


def _key(method: Method, data: Dataset) -> str:
    """Return the key of a training on a data set."""
    facts = json.dumps([method.name, method.settings(), data.fingerprint], sort_keys=True)
    return f"{data.name} {method.name} {hashlib.sha256(facts.encode()).hexdigest()[:12]}"


def cosines_of(request: Request, display: Display) -> dict[str, float]:
    """Compute the cosine of attribute variances of every data set whose splits are there, by the paper's key."""
    if "table1" not in request.items:
        return {}
    found = {}
    for one in sources("splits", request.gbu, request.pictures, request.data):
        if one.printed and not one.missing:
            with suppress(InputError):  # its piece of the item says why
                found[one.printed] = attribute_variance(one.load(display)).cosine
    return {key: cosine for key, cosine in found.items() if cosine is not None}


def _conditions(request: Request) -> Iterator[str]:
    """Say in sentences how everything was run."""
    yield (
        "Accuracies are means over classes in percent, without calibration; errors are mean squared errors per pixel "
        "of unseen classes' test pictures, colours in 0..1. Test images choose nothing."
    )
    if {"table1", "table2", "fig7"} & {*request.items}:
        yield (
            "There are two readings of beta in the paper's captions. By the letter, Table 2 has beta 5 beside 1 on the "
            "classification loss. Read as flags of the authors' code, it has 5 beside 1,000, which is .005, and "
            "Figure 7 has .05. The paper does not say which one holds; each row names its own."
        )
    if "table1" in request.items:
        yield (
            "SP-AEN of Table 1 is the authors' code with beta .005 where no tuned settings are given. It has 100 "
            "passes, far fewer than theirs."
        )
    if request.tuned:
        yield (
            "Settings are those that tuning chose on validation classes, where the given file has them for the data "
            "set and the method; otherwise presets and defaults."
        )
    else:
        yield "Settings are presets and defaults; none was tuned on these data sets."
    if request.quick:
        yield (
            f"Quick: every training has 1 in {QUICK} of its passes, {MOST} at most; {_counted(request.seeds)}; "
            f"pictures of {SMALL['side']} pixels a side, networks of {SMALL['width']:g} of the paper's width, no "
            "ImageNet weights; every second alpha of Figure 5."
        )
    else:
        weights = "ImageNet weights" if request.pretrained == "imagenet" else "random weights"
        published = ", the published generator" if request.generator_file else ", a generator from random weights"
        yield f"{_counted(request.seeds)}; pictures of {request.side} pixels a side, F from {weights}{published}."


def _counted(seeds: int) -> str:
    """Write a number of seeds."""
    return f"{seeds} seed{'s' if seeds > 1 else ''}"


def _versions() -> dict[str, str]:
    """Return the programs that the numbers depend on."""
    return versions() | ({"commit": found} if (found := commit()) else {})

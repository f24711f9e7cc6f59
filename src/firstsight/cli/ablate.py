"""Commands for the ablations of SP-AEN on pictures in the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firstsight.cli.options import PictureOptions, as_json, at_least_one, option, parsed, with_settings, write_figure

if TYPE_CHECKING:
    from firstsight.bench.ablation import PictureRow
    from firstsight.data import Dataset
    from firstsight.methods.spaen_pictures import SPAENPictures


@dataclass(kw_only=True)
class AblateOptions(PictureOptions):
    """Options of every ablation.

    Attributes:
        out: folder of models, numbers and pictures; the same command continues from the finished models.
        preset: settings to start from; `firstsight methods` lists the presets.
        json: print one JSON document.
    """

    out: Path
    preset: str | None = None
    json: bool = False


@dataclass(kw_only=True)
class ObjectiveOptions(AblateOptions):
    """Options of `ablate objective`.

    Attributes:
        seeds: number of trainings of each model, with seeds from --seed on.
    """

    seeds: int = 3


@dataclass(kw_only=True)
class AlphaOptions(AblateOptions):
    """Options of `ablate alpha`.

    Attributes:
        alphas: values of alpha, in falling order; SP-AEN is trained with each, in joint training.
    """

    alphas: tuple[float, ...] = (10.0, 1.0, 0.1, 0.01, 0.001)


def ablate_reconstruction(argv: Sequence[str]) -> None:
    """Compare four ways to draw pictures of unseen classes: Table 3 and Figure 4 of the paper.

    All four see the same view of a picture and draw equally many pictures. Beside them stand the mean training picture,
    and the best linear map from what E sees: a ridge regression whose penalty is chosen on validation classes.
    """
    from firstsight.bench import ablation
    from firstsight.progress import Display

    options, method = _parse(argv, AblateOptions, "ablate reconstruction", ablate_reconstruction.__doc__)
    with Display() as display:
        data = options.load_for(method, display)
        rows = ablation.reconstruction(data, method, options.out, display)
        baselines = {"the mean picture": ablation.mean_picture_error(data, method.view)}
        if (ridge := ablation.ridge_of(data, method, options.out)) is not None:
            baselines["ridge on E's input"] = ridge.mse
    _show_models(options, data, baselines, {str(row.way): row for row in rows}, "reconstruction.png")


def ablate_objective(argv: Sequence[str]) -> None:
    """Leave out parts of the objective: Table 2 of the paper, with the curves of Figure 7."""
    from firstsight.bench import ablation
    from firstsight.progress import Display
    from firstsight.report.charts import curve_chart
    from firstsight.report.curves import Series
    from firstsight.results.document import document
    from firstsight.results.numbers import METRICS, PLAIN

    options, method = _parse(argv, ObjectiveOptions, "ablate objective", ablate_objective.__doc__)
    at_least_one(seeds=options.seeds)
    with Display() as display:
        data = options.load_for(method, display)
        rows = ablation.objective(data, method, options.out, options.seeds, display)
    file = options.out / "objective.svg"
    firsts = [row for row in rows if row.seed == method.seed]
    series = [Series(slot, row.parts, row.curve.points, [], (row.u, row.s), None) for slot, row in enumerate(firsts)]
    write_figure(file, curve_chart(series, f"Seen-unseen curves on {data.name}", has_legend=True))
    if options.json:
        print(as_json({"data": data.name, "rows": document(rows), "figure": str(file)}))
        return
    print(f"{data.name}, percent, mean and standard deviation of {options.seeds} seeds; no gamma")
    spreads: dict[str, list[str]] = {}
    for key in PLAIN:
        for name, mean, deviation in ablation.spread(rows, "parts", key):
            digits = METRICS[key].digits
            spreads.setdefault(name, []).append(f"{key} {mean:.{digits}f} ± {deviation:.{digits}f}")
    for name in spreads:
        print(f"  {name:<18}" + "  ".join(spreads[name]))
    print(f"The curves of the first seed are at {file}")


def ablate_alpha(argv: Sequence[str]) -> None:
    """Show how reconstructions get worse as alpha falls: Figure 5 of the paper."""
    from firstsight.bench import ablation
    from firstsight.progress import Display

    options, method = _parse(argv, AlphaOptions, "ablate alpha", ablate_alpha.__doc__)
    with Display() as display:
        data = options.load_for(method, display)
        rows = ablation.alphas(data, method, options.out, options.alphas, display)
        mean = ablation.mean_picture_error(data, method.view)
    _show_models(options, data, {"the mean picture": mean}, {f"alpha {row.alpha:g}": row for row in rows}, "alpha.png")


def _show_models(
    options: AblateOptions,
    data: Dataset,
    baselines: Mapping[str, float],
    rows: Mapping[str, PictureRow],
    picture: str,
) -> None:
    """Print the errors of baselines and the numbers of each model, by name; write a sheet of the models' pictures."""
    from firstsight.bench.ablation import write_sheet
    from firstsight.results.document import document

    file = write_sheet(options.out / picture, data, rows)
    if options.json:
        found = {"data": data.name, "baselines": dict(baselines), "mean_picture": baselines["the mean picture"]}
        found["rows"] = document(list(rows.values()))
        print(as_json(found | {"pictures": str(file)}))
        return
    print(f"Mean squared error per pixel of unseen-class test pictures of {data.name}, colours in 0..1")
    for name, error in baselines.items():
        print(f"  {name:<20}{error:.4f}")
    for name, row in rows.items():
        numbers = f"t1 {row.t1:.1f}  h {row.h:.1f}  ausuc {row.ausuc:.3f}"
        print(f"  {name:<20}{row.mse:.4f}   {numbers}  {row.seconds:.0f} s")
    for halves in (row.halves for row in rows.values() if row.halves is not None):
        print("What the halves of SplitBranch's code are worth to G: the half that classifies, the other")
        for words, (first, second) in (
            ("norm of the weights that merge them", halves.merging),
            ("norm of the layer before", halves.layers),
            ("length of what reaches G, unseen classes", halves.reaching),
            ("the error where it is the same for all", halves.without),
        ):
            print(f"  {words:<42}{first:.3g}  {second:.3g}")
    print(f"The pictures are at {file}")


def _parse(argv: Sequence[str], base: type, name: str, description: str | None) -> tuple[Any, SPAENPictures]:
    """Parse the options, and return them with the method that they describe."""
    from firstsight.methods.spaen_pictures import SPAENPictures

    default = SPAENPictures.preset(preset) if (preset := option(argv, "--preset")) else SPAENPictures()
    options = parsed(with_settings(default, base), argv, name, description)
    return options, SPAENPictures(**options.of_method.settings())

"""Commands that analyse the predictions of saved models on a data set, beyond accuracies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from firstsight.cli.options import DataOptions, as_json, say_figure, write_figure
from firstsight.errors import InputError

if TYPE_CHECKING:
    from markupsafe import Markup

    from firstsight.evaluation.evaluate import Result
    from firstsight.methods import Method
    from firstsight.results.analyses import Analyses

Found = TypeVar("Found")


@dataclass(kw_only=True)
class ModelOptions(DataOptions):
    """The test data, and the form of the output.

    Attributes:
        json: print one JSON document.
        figure: SVG file to draw into.
    """

    json: bool = False
    figure: Path | None = None


@dataclass(kw_only=True)
class CalibratedOptions(ModelOptions):
    """The test data, the calibration, and the form of the output.

    Attributes:
        calibrate: leave out the choice of gamma and temperature on validation classes, which trains the same settings a
            second time.
    """

    calibrate: bool = True


class Tested(NamedTuple):
    """A model and its test results; `name` is its method, or its file if two models have the same method."""

    name: str
    file: Path
    data: str
    method: Method
    result: Result
    analyses: Analyses


def analyse_curve(models: tuple[Path, ...], /, test: CalibratedOptions) -> None:
    """Draw the seen-unseen curves of several models together, with both definitions of AUSUC.

    Args:
        models: files that `fit` wrote.
        test: the data.
    """
    from firstsight.report.charts import curve_chart
    from firstsight.report.curves import Series
    from firstsight.results.document import document

    tested = _tested(models, test)
    if test.figure:
        series = []
        for slot, one in enumerate(tested):
            result = one.result
            calibrated = None if result.gamma is None else result.curve.at(result.gamma)
            points = result.curve.thinned().points
            series.append(Series(slot, one.name, points, [], (result.u, result.s), calibrated))
        write_figure(test.figure, curve_chart(series, f"Seen-unseen curves on {tested[0].data}", has_legend=True))
    if test.json:
        rows = [_head(one) | one.result.metrics() | {"curve": document(one.result.curve.thinned())} for one in tested]
        print(as_json({"data": tested[0].data, "models": rows}))
        return
    print(f"Area under the seen-unseen curve on {tested[0].data}, 0 to 1")
    for one in tested:
        result = one.result
        stacked = "" if result.h_cal is None else f", {result.h_cal:.1f} with gamma {result.gamma:.4g}"
        print(
            f"  {one.name:<20}{result.ausuc:.4f} per class, {result.ausuc_per_sample:.4f} per sample; "
            f"h {result.h:.1f}{stacked}"
        )
    say_figure(test.figure)


def analyse_hubness(models: tuple[Path, ...], /, test: ModelOptions) -> None:
    """Find classes that are predicted for too many images: skewness of N_k, and the worst hubs.

    N_k counts the unseen test images that have a class among their k highest scores. A skewness above 1 means hubs.

    Args:
        models: files that `fit` wrote.
        test: the data.
    """
    for one, both in _answers(models, test, "hubness", lambda found: found.hubness):
        print(f"{one.name} on {one.data}, unseen images")
        for hubs, names in ((both.uu, "unseen classes"), (both.ut, "all classes")):
            skews = [f"{_shown(value)} (N{k})" for k, value in zip(hubs.k, hubs.skewness, strict=True)]
            worst = ", ".join(f"{hub.name} {hub.answers} ({hub.images})" for hub in hubs.hubs[:3])
            print(f"  {names:<16}skewness {', '.join(skews)}; {_shown(hubs.perfect)} if all were correct")
            print(f"  {'':<16}images predicted as a class (its own images): {worst}")


def analyse_confusion(models: tuple[Path, ...], /, test: CalibratedOptions) -> None:
    """Count images predicted on the wrong side, seen or unseen, and list the most confused classes.

    Args:
        models: files that `fit` wrote.
        test: the data.
    """
    for one, confusion in _answers(models, test, "confusion", lambda found: found.confusion):
        print(f"{one.name} on {one.data}, percent of images, mean per class")
        for table, words in ((confusion.plain, "without gamma"), (confusion.calibrated, "with gamma")):
            for side, shares in zip(("seen", "unseen"), table or (), strict=table is not None):
                split = f"{shares[0]:>6.1f} predicted seen {shares[1]:>6.1f} predicted unseen"
                print(f"  {side + ' images':<15}{words:<15}{split}")
        for pairs, words in ((confusion.pairs, "all classes"), (confusion.unseen_pairs, "unseen classes")):
            worst = (f"{pair.truth} as {pair.answer} {pair.share:.0f} %" for pair in pairs[:3])
            print(f"  most confused, {words}: {', '.join(worst) or 'none'}")


def analyse_gain(
    model: Path,
    baseline: Path,
    /,
    test: CalibratedOptions,
    number: Literal["accuracy", "accuracy_calibrated", "t1"] | None = None,
) -> None:
    """Show which classes gain and which lose against a baseline.

    Args:
        model: file that `fit` wrote.
        baseline: file that `fit` wrote, of the model to compare with.
        test: the data.
        number: accuracy to compare: among all classes, the same with gamma, or among unseen classes; by default with
            gamma if both models are calibrated.
    """
    from firstsight.report import figures
    from firstsight.results.document import document
    from firstsight.results.numbers import class_gains

    own, other = _tested((model, baseline), test)
    rows = class_gains(own.result.classes, other.result.classes, number)
    if not rows:
        raise InputError(f"number must be one that both models have; got {number!r}, which they have not")
    if test.figure:
        write_figure(test.figure, figures.gain_bars(rows, f"Gain of {own.name} over {other.name} on {own.data}"))
    if test.json:
        print(as_json({"data": own.data, "model": _head(own), "baseline": _head(other), "classes": document(rows)}))
        return
    up, down = (sum(sign * row.gain > 0 for row in rows) for sign in (1, -1))
    print(f"{own.name} over {other.name} on {own.data}: {up} of {len(rows)} classes gain, {down} lose; in points")
    shown = rows if len(rows) <= 10 else [*rows[:5], *rows[-5:]]
    for row in shown:
        side = "seen" if row.seen else "unseen"
        print(f"  {row.gain:>+7.1f}  {row.baseline:5.1f} to {row.accuracy:5.1f}  {row.name} ({side})")
    say_figure(test.figure)


def analyse_attributes(models: tuple[Path, ...], /, test: CalibratedOptions) -> None:
    """Measure how well the predictions of any method reveal the attributes of unseen images.

    The expected attributes of an image are those of the candidate classes, weighted by their probabilities.

    Args:
        models: files that `fit` wrote.
        test: the data.
    """
    for one, quality in _answers(models, test, "attributes", lambda found: found.attributes):
        known = sum(value is not None for value in quality.auc)
        print(f"{one.name} on {one.data}: area under the ROC curve, mean of {known} attributes")
        unseen, among_all = _shown(quality.mean.unseen), _shown(quality.mean.all)
        print(f"  {unseen} among unseen classes, {among_all} among all classes")
        for words, rows in (("best", quality.best), ("worst", quality.worst)):
            print(f"  {words:<6} " + ", ".join(f"{row.name} {row.auc:.2f}" for row in rows[:4]))


def analyse_probability(models: tuple[Path, ...], /, test: CalibratedOptions) -> None:
    """Check whether probabilities match accuracies: calibration error, reliability, likelihood.

    Args:
        models: files that `fit` wrote.
        test: the data.
    """
    for one, probability in _answers(models, test, "probability", lambda found: found.probability):
        print(f"{one.name} on {one.data}, all test images, all classes")
        for table in filter(None, (probability.fitted, probability.raw)):
            sides = f"seen {_shown(table.ece_seen)}, unseen {_shown(table.ece_unseen)}"
            print(f"  temperature {table.temperature:<10.4g}ECE {table.ece:.3f} ({sides}), NLL {table.nll:.3f} nats")


def analyse_reject(models: tuple[Path, ...], /, test: CalibratedOptions) -> None:
    """Measure selective prediction (error against coverage) and the detection of unseen classes.

    Args:
        models: files that `fit` wrote.
        test: the data.
    """
    for one, selection in _answers(models, test, "reject", lambda found: found.reject):
        print(f"{one.name} on {one.data}, all test images, all classes")
        print(f"  auroc   {_shown(selection.auroc)}  unseen against seen images, by the lead of the best unseen class")
        if selection.aurc is not None:
            print(f"  risk    {_shown(selection.risk)}  share of errors")
            print(f"  aurc    {_shown(selection.aurc)}  mean risk over all coverages, the most certain images first")
            print(f"  least   {_shown(selection.least)}  if all correct predictions came first")


def _tested(models: Sequence[Path], test: ModelOptions) -> list[Tested]:
    """Test each model on the data set."""
    from firstsight.bench.bench import analysed
    from firstsight.evaluation.evaluate import evaluate
    from firstsight.methods import FitControls, load_method
    from firstsight.progress import Display
    from firstsight.report.names import display_name

    if not models:
        raise InputError("models must be one file or more; got none")
    methods = [load_method(file) for file in models]
    names = [display_name(method.name, {method.name: method.title}) for method in methods]
    calibrate = isinstance(test, CalibratedOptions) and test.calibrate
    tested = []
    with Display() as display:
        data = test.load(display)
        for file, method, name in zip(models, methods, names, strict=True):
            result = evaluate(method, data, calibrate, FitControls(display.stage(f"calibrate {name}")))
            own = name if names.count(name) == 1 else file.stem
            tested.append(Tested(own, file, data.name, method, result, analysed(result, data)))
    return tested


def _answers(
    models: Sequence[Path], test: ModelOptions, key: str, part: Callable[[Analyses], Found | None]
) -> Iterator[tuple[Tested, Found]]:
    """Test the models, write the figure, and print the JSON document; without `--json`, yield what is to be printed.

    Args:
        models: files that `fit` wrote.
        test: the data and the form of the output.
        key: name of the analysis.
        part: returns its part of the analyses; models that have none are left out.
    """
    from firstsight.results.document import document

    tested = _tested(models, test)
    needs_temperature = key == "attributes" or (key == "reject" and test.figure)
    if needs_temperature and any(one.result.temperature is None for one in tested):
        raise InputError(
            "temperature must be fitted, to turn scores into probabilities; got none; leave --no-calibrate out"
        )
    if test.figure:
        write_figure(test.figure, _drawn(tested, key))
    if test.json:
        rows = [_head(one) | {key: document(getattr(one.analyses, key))} for one in tested]
        print(as_json({"data": tested[0].data, "models": rows}))
        return
    for one in tested:
        if (found := part(one.analyses)) is not None:
            yield one, found
    say_figure(test.figure)


def _drawn(tested: Sequence[Tested], key: str) -> Markup:
    """Draw the figure of an analysis, each model in its colour."""
    from firstsight.report import figures

    is_fitted = all(one.result.temperature is not None for one in tested)
    drawings: dict[str, tuple[Callable[[Any, str], Markup], str]] = {  # with the part of the analyses that is drawn
        "hubness": (figures.hub_profiles, "hubness"),
        "confusion": (figures.confusion_tables, "confusion"),
        "attributes": (figures.attribute_profiles, "attributes"),
        "probability": (figures.reliability_diagram, f"probability.{'fitted' if is_fitted else 'raw'}"),
        "reject": (figures.risk_coverage_chart, "reject.curve"),
    }
    draw, part = drawings[key]
    shown = [figures.Shown(slot, one.name, attrgetter(part)(one.analyses)) for slot, one in enumerate(tested)]
    return draw(shown, f"{key.capitalize()} on {tested[0].data}")


def _head(one: Tested) -> dict[str, Any]:
    """Return what begins a model's row in JSON."""
    return {"model": str(one.file), "method": one.method.name, "gamma": one.result.gamma}


def _shown(value: float | None) -> str:
    """Write a number that may not be known."""
    return "unknown" if value is None else f"{value:.3f}"

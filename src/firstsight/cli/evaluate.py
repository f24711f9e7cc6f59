"""`firstsight evaluate`: test a saved model."""

from __future__ import annotations

from pathlib import Path

from firstsight.cli.options import PictureOptions, as_json


def evaluate(
    model: Path,
    /,
    data: PictureOptions,
    calibrate: bool = True,
    json: bool = False,
) -> None:
    """Test a saved model: among unseen classes, among all classes, and with calibration.

    Args:
        model: file that `fit` wrote.
        data: the test data, with features and class embeddings as in training.
        calibrate: leave out the choice of gamma on validation classes, which trains the same settings a second time.
        json: print one JSON document.
    """
    from firstsight.evaluation.evaluate import evaluate as evaluate_method
    from firstsight.methods import FitControls, load_method
    from firstsight.progress import Display
    from firstsight.results.numbers import METRICS

    method = load_method(model)
    with Display() as display:
        dataset = data.load_for(method, display, calibrate)
        result = evaluate_method(method, dataset, calibrate, FitControls(display.stage("calibrate")))
    if json:
        classes = [vars(row) for row in result.classes]
        print(as_json({"data": result.data, "method": result.method, **result.metrics(), "classes": classes}))
        return
    print(f"{method.name} on {dataset.name}, percent, mean per class")
    for key, value in result.metrics().items():
        if value is not None and key != "ausuc_per_sample":
            digits = 1 if METRICS[key].unit == "percent" else 4
            print(f"  {key:<8}{value:>8.{digits}f}  {METRICS[key].meaning}")

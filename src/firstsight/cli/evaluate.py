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
        calibrate: choose gamma on validation classes; this trains the same settings a second time.
        json: print one JSON document.
    """
    from firstsight.evaluation.evaluate import evaluate as evaluate_method
    from firstsight.methods import FitControls, load_method
    from firstsight.progress import Display

    method = load_method(model)
    with Display() as display:
        dataset = data.load_for(method, display, calibrate)
        result = evaluate_method(method, dataset, calibrate, FitControls(display.stage("calibrate")))
    if json:
        classes = [vars(row) for row in result.classes]
        print(as_json({"data": result.data, "method": result.method, **result.metrics(), "classes": classes}))
        return
    print(f"{method.name} on {dataset.name}, percent, mean per class")
    for name, meaning in METRICS.items():
        if (value := result.metrics()[name]) is not None:
            print(f"  {name:<8}{value:>8.{4 if 'gamma' in name or 'ausuc' in name else 1}f}  {meaning}")


METRICS = {
    "t1": "unseen images, unseen classes to choose from",
    "u": "unseen images, all classes to choose from",
    "s": "seen images, all classes to choose from",
    "h": "harmonic mean of u and s",
    "ausuc": "area under the seen-unseen curve",
    "gamma": "subtracted from seen scores, chosen on validation classes",
    "u_cal": "u with gamma",
    "s_cal": "s with gamma",
    "h_cal": "h with gamma",
}

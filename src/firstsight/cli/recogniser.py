"""`firstsight recogniser`: make a recogniser from a saved model."""

from __future__ import annotations

from pathlib import Path

from firstsight.cli.options import PictureOptions


def recogniser(
    model: Path,
    /,
    data: PictureOptions,
    out: Path,
    calibrate: bool = True,
    device: str = "auto",
) -> None:
    """Make a recogniser from a saved model: a model with its classes and calibrated probabilities.

    Args:
        model: file that `fit` wrote.
        data: its training data, with the same features and class embeddings; all classes become candidates.
        out: file of the recogniser; it can be used as a file of a model too.
        calibrate: leave out the choice of gamma, temperature and the threshold of "none of these" on validation
            classes, which trains the same settings a second time.
        device: torch device to work on.
    """
    from firstsight.methods import FitControls, load_method
    from firstsight.progress import Display
    from firstsight.recogniser.recogniser import Recogniser

    method = load_method(model, device)
    with Display() as display:
        loaded = data.load_for(method, display, calibrate)
        made = Recogniser.of(method, loaded, calibrate, FitControls(display.stage("calibrate")))
    made.save(out)
    n_seen = int(made.is_seen.sum())
    print(f"{method.name} that knows {n_seen} seen and {len(made.classes) - n_seen} unseen classes is at {out}")
    if made.caught is not None:
        caught = f"{made.caught:.0f} % of unknown ones"
        print(f"`predict --reject` refused 5 % of validation images of known classes and {caught}")

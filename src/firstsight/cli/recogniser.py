"""`firstsight recogniser`: make a recogniser of a saved model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from firstsight.cli.options import PictureOptions

if TYPE_CHECKING:
    pass


def recogniser(
    model: Path,
    /,
    data: PictureOptions,
    out: Path,
    calibrate: bool = True,
    device: str = "auto",
) -> None:
    """Make a recogniser of a saved model: the classes to choose from, calibrated probabilities.

    Args:
        model: file that `fit` wrote.
        data: what it was trained on, features and class embeddings too; all classes become possible answers.
        out: the recogniser's file; it is a model's file too.
        calibrate: choose gamma, temperature and the threshold of "none of these" on validation classes, which trains
            the same settings once more.
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

"""`firstsight fit`: train a method and save it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from firstsight.cli.options import PictureOptions, option, parsed, resumable, with_settings
from firstsight.errors import InputError


def fit(argv: Sequence[str]) -> None:
    """Train a method and save it: `firstsight fit METHOD --data PATH --out model.safetensors`."""
    from firstsight.cli.tensorboard import Board
    from firstsight.datasets import data_name
    from firstsight.methods import METHODS, FitControls, named
    from firstsight.methods.abilities import MakesFeatures
    from firstsight.methods.distributed import joined
    from firstsight.progress import Display
    from firstsight.tuning.settings_file import read_settings

    if not argv or argv[0].startswith("-"):
        print(
            f"usage: firstsight fit METHOD [OPTIONS]\n\nMETHOD is one of {', '.join(METHODS)}; "
            "`firstsight fit METHOD --help` shows its settings."
        )
        if not argv:
            raise InputError("METHOD must be named; got none")
        return
    kind = named(argv[0])
    default = kind.preset(preset) if (preset := option(argv, "--preset")) else kind()
    if (file := option(argv, "--settings")) and (data := option(argv, "--data")):
        chosen = read_settings(Path(file)).get((data_name(data, option(argv, "--semantics")), argv[0]))
        default = replace(default, **(chosen.settings if chosen else {}))
    form = with_settings(default, FitOptions)
    options = parsed(form, argv[1:], f"fit {argv[0]}", f"{(kind.__doc__ or '').splitlines()[0]} {kind.source}.")
    method = kind(**options.of_method.settings())
    with (
        joined() as ranks,
        Display(is_quiet=ranks.rank > 0) as display,
        nullcontext() if ranks.rank or options.tensorboard is None else Board(options.tensorboard) as board,
    ):
        if ranks.n > 1 and not isinstance(method, MakesFeatures):
            raise InputError(f"method must be spaen-pictures for several processes to share it; got {method.name}")
        with ranks.first_goes_ahead():
            training = options.load_for(method, display).training_set()
        with resumable(options.out, display) as unfinished:
            controls = FitControls(display.stage(f"fit {argv[0]}"), unfinished, options.checkpoint_every, ranks=ranks)
            method.fit(training, board.showing(controls) if board else controls)
        if ranks.rank:
            return
        method.save(options.out)
        unfinished.unlink(missing_ok=True)
    print(f"{argv[0]} trained on {len(training)} images of {len(training.classes)} classes is at {options.out}")


@dataclass(kw_only=True)
class FitOptions(PictureOptions):
    """The training data, and the files to write.

    Attributes:
        out: file of the model.
        preset: settings to start from, such as `paper`; `firstsight methods` lists the presets.
        settings: TOML file that `tune` wrote; its table for this data set and method overrides the preset.
        checkpoint_every: steps between two saves of the unfinished training in OUT.partial.
        tensorboard: folder for a log of losses and pictures that TensorBoard shows.
    """

    out: Path
    preset: str | None = None
    settings: Path | None = None
    checkpoint_every: int = 500
    tensorboard: Path | None = None

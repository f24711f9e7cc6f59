"""The command line: the only place that prints, exits or catches errors.

Each command is a function whose arguments, with their descriptions, are its options. torch is imported inside the
commands that need it, so that `--help` is fast.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from firstsight.cli.ablate import ablate_alpha, ablate_objective, ablate_reconstruction
from firstsight.cli.analyse import (
    analyse_attributes,
    analyse_confusion,
    analyse_curve,
    analyse_gain,
    analyse_hubness,
    analyse_probability,
    analyse_reject,
)
from firstsight.cli.analyse_data import analyse_projection, analyse_variance
from firstsight.cli.bench import bench
from firstsight.cli.data import data_build, data_check, data_crop, data_fetch
from firstsight.cli.demo import demo
from firstsight.cli.evaluate import evaluate
from firstsight.cli.export import export
from firstsight.cli.features import features
from firstsight.cli.fit import fit
from firstsight.cli.imagine import imagine
from firstsight.cli.methods import methods
from firstsight.cli.options import parsed
from firstsight.cli.predict import predict
from firstsight.cli.recogniser import recogniser
from firstsight.cli.reconstruct import reconstruct
from firstsight.cli.report import report
from firstsight.cli.reproduce import reproduce
from firstsight.cli.serve import serve
from firstsight.cli.tune import tune
from firstsight.errors import InputError, did_you_mean, nearest

USAGE = """\
usage: firstsight COMMAND [OPTIONS]

Recognise classes that nobody has given you a picture of, from a description of them.

{commands}

`firstsight COMMAND --help` shows a command's options. Start with `firstsight demo`.
"""


COMMANDS: dict[str, Callable[..., None]] = {
    run.__name__.replace("_", " "): run  # `data_check` is the command `data check`
    for run in (
        *(demo, data_check, data_build, data_fetch, data_crop, features),
        *(analyse_variance, analyse_projection, analyse_curve, analyse_hubness, analyse_confusion, analyse_gain),
        *(analyse_attributes, analyse_probability, analyse_reject),
        *(tune, fit, evaluate, recogniser, predict, export, reconstruct, imagine, serve),
        *(bench, ablate_reconstruction, ablate_objective, ablate_alpha, report, reproduce, methods),
    )
}

# Commands that parse their options themselves, because these depend on other options.
WITH_FORMS = (fit, imagine, ablate_reconstruction, ablate_objective, ablate_alpha)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; bad input prints one line on stderr and exits with code 2."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        dispatch(argv)
    except InputError as error:
        fail(str(error), 2)
    except KeyboardInterrupt:
        fail("stopped", 130)
    except BrokenPipeError:  # the reader of the output has closed it
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        fail(f"{error.filename or 'file'} must be usable; got {error.strerror or error}", 2)


def dispatch(argv: list[str]) -> None:
    """Find the command and run it with its arguments."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        lines = (f"  {name:<23}{(run.__doc__ or '').splitlines()[0]}" for name, run in COMMANDS.items())
        print(USAGE.format(commands="\n".join(lines)), end="")
        return
    if argv[0] == "--version":
        from firstsight import __version__

        print(f"firstsight {__version__}")
        return
    for words in (2, 1):
        if (name := " ".join(argv[:words])) in COMMANDS:
            run, rest = COMMANDS[name], argv[words:]
            run(rest) if run in WITH_FORMS else parsed(run, rest, name)
            return
    first, second = argv[0], "".join(argv[1:2])
    wrong, hint = first, did_you_mean(first, COMMANDS) or "; see `firstsight --help`"
    if group := [name.split()[1] for name in COMMANDS if name.startswith(first + " ")]:  # the first word was right
        wrong = f"{first} {second}".rstrip()
        hint = f"; did you mean '{first} {nearest(second, group) or group[0]}'?"
    raise InputError(f"unknown command {wrong!r}{hint}")


def fail(sentence: str, code: int) -> None:
    """Print one line on stderr and exit."""
    print(f"firstsight: {sentence}", file=sys.stderr)
    sys.exit(code)

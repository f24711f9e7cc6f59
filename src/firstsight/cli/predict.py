"""`firstsight predict`: recognise the classes of pictures."""

from __future__ import annotations

import csv as csvlib
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from firstsight.cli.options import as_json, at_least_one
from firstsight.errors import InputError

if TYPE_CHECKING:
    from firstsight.pictures.find import File
    from firstsight.recogniser.recogniser import Answer, Recogniser


def predict(
    model: Path,
    sources: tuple[str, ...],
    /,
    top: int = 5,
    classes: Path | None = None,
    only: Literal["seen", "unseen"] | None = None,
    reject: bool = False,
    explain: bool = False,
    json: bool = False,
    csv: bool = False,
    batch: int = 32,
    device: str = "auto",
) -> None:
    """Recognise the classes of pictures; predictions are printed one by one.

    For a picture that cannot be read, a message takes the place of the prediction, and the exit code is 1.

    Args:
        model: file that `recogniser` wrote.
        sources: pictures, folders of them, or `-` for paths from standard input, one per line; or feature files
            (.safetensors, .npz or .mat).
        top: number of classes to list for each picture, the most probable first.
        classes: CSV with more classes: a column `class` and one per attribute, or `description` if the classes are
            described by text; nothing is trained.
        only: choose among the seen or among the unseen classes only.
        reject: say "none of these" if even the best class fits too badly.
        explain: list the attributes that favour the best class over the second one, and those against it.
        json: print one JSON object per line for each picture.
        csv: print a table with a line for each listed class.
        batch: pictures processed together; with 1, each line of standard input is answered immediately.
        device: torch device to work on.
    """
    from firstsight.recogniser.recogniser import Recogniser

    if json and csv:
        raise InputError("output must be json or csv; got both")
    at_least_one(top=top, batch=batch)
    if not sources:
        raise InputError("sources must be pictures, folders, feature files or -; got none")
    known = Recogniser.load(model, device)
    if classes:
        known = known.with_classes(known.read_classes(classes))
    if only:
        known = known.only(only)
    if reject and known.threshold is None:
        raise InputError("recogniser must be calibrated to refuse answers; got one without a threshold")
    table = csvlib.writer(sys.stdout, lineterminator="\n")
    if csv:
        table.writerow(["source", "rank", "class", "probability", "seen", "rejected", "error"])
    width = min(40, max(map(len, known.classes.names)))
    n = failed = 0
    for answer in _answers(known, sources, top, explain, batch):
        if csv:
            table.writerows(_rows(answer))
            sys.stdout.flush()
        else:
            print(as_json(_document(answer, reject)) if json else _text(answer, reject, width), flush=True)
        n += 1
        failed += answer.error is not None
    if failed:
        print(f"firstsight: {failed} of {n} pictures could not be read", file=sys.stderr)
        sys.exit(1)


def _answers(known: Recogniser, sources: tuple[str, ...], top: int, explain: bool, batch: int) -> Iterator[Answer]:
    """Yield the predictions for feature files or for pictures."""
    from firstsight.features.feature_file import SUFFIXES, FeatureFile
    from firstsight.pictures.find import printable
    from firstsight.recogniser.recogniser import Answer

    is_features = [source.endswith(SUFFIXES) for source in sources]
    if not any(is_features):
        for is_bad, group in groupby(listed(sources), lambda picture: bool(picture.fault)):
            if is_bad:
                yield from (Answer(printable(bad.path), error=bad.problem) for bad in group)
            else:
                yield from known.recognise((good.path for good in group), top, explain, batch)
        return
    if not all(is_features):
        picture = sources[is_features.index(False)]
        raise InputError(f"sources must be pictures or feature files, not both; got {picture} beside a feature file")
    opened = [FeatureFile.open(source).checked() for source in sources]
    for file in opened:
        known.check_source(file.source, str(file.path))
    for file in opened:
        for names, features in file.blocks(max(batch, 256)):
            yield from known.answers(features, names, top, explain)


def listed(sources: tuple[str, ...]) -> Iterator[File]:
    """Yield pictures one by one: files, those of folders, and for `-` each line of standard input."""
    from firstsight.pictures.find import File, pictures_in

    for source in sources:
        if source == "-":
            yield from (File(path) for line in sys.stdin if (path := line.rstrip("\r\n")))
        elif Path(source).is_dir():
            yield from (File(str(Path(source, path)), fault) for path, fault in pictures_in(source))
        else:
            yield File(source)


def _document(answer: Answer, reject: bool) -> dict[str, object]:
    """Return an answer as JSON has it."""
    if answer.error is not None:
        return {"source": answer.source, "error": answer.error}
    named = zip(answer.classes, answer.probabilities, answer.seen, strict=True)
    answers = [{"class": name, "probability": chance, "seen": seen} for name, chance, seen in named]
    document: dict[str, object] = {"source": answer.source, "answers": answers}
    if reject:
        document["rejected"] = answer.rejected
    if answer.because is not None:
        document["for"], document["against"] = answer.because
    return document


def _rows(answer: Answer) -> Iterator[list[object]]:
    """Yield the lines of an answer in a table."""
    if answer.error is not None:
        yield [answer.source, "", "", "", "", "", answer.error]
    rejected = "" if answer.rejected is None else int(answer.rejected)
    named = zip(answer.classes, answer.probabilities, answer.seen, strict=True)
    for rank, (name, chance, seen) in enumerate(named, start=1):
        yield [answer.source, rank, name, f"{chance:.6g}", int(seen), rejected, ""]


def _text(answer: Answer, reject: bool, width: int) -> str:
    """Write an answer in lines for people, with names in a column of this width."""
    lines = [answer.source]
    if answer.error is not None:
        named = answer.error.startswith(answer.source)
        lines = [answer.error if named else f"{answer.source}: {answer.error}"]
    if reject and answer.rejected:
        lines.append("    none of these: even the best fits worse than 95 % of known ones did in validation")
    for name, chance, seen in zip(answer.classes, answer.probabilities, answer.seen, strict=True):
        lines.append(f"    {100 * chance:5.1f} %  {name:<{width}}  {'seen' if seen else 'unseen'}")
    for word, reasons in zip(("for", "against"), answer.because or (), strict=False):
        if reasons:
            shown = ", ".join(f"{name} ({weight:+.2g})" for name, weight in reasons)
            lines.append(f"    {word + ':':<8}  {shown}")
    return "\n".join(lines)

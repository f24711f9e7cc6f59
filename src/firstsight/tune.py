"""Settings chosen on validation classes, and the file that keeps them. Test images are not there to look at.

Each partition holds some seen classes out as if they were unseen, and some images of the other classes as seen test
images (`Dataset.validation_set`). Every setting is fitted on what remains, and the one with the best mean over the
partitions wins.
"""

from __future__ import annotations

import itertools
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from firstsight.data import Dataset
from firstsight.errors import InputError
from firstsight.evaluation import evaluate
from firstsight.files import write_text
from firstsight.methods import Method, named

OBJECTIVES = ("ausuc", "h", "t1")
Settings = Mapping[str, Any]
Progress = Callable[[int, int, Mapping[str, float]], None]


@dataclass(frozen=True)
class Trial:
    """One choice of settings and what it reached on each validation partition."""

    settings: Settings
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over partitions."""
        return sum(self.values) / len(self.values)


def tune(
    method: Method,
    data: Dataset,
    grid: Mapping[str, Sequence[Any]] | None = None,
    objective: str | None = None,
    partitions: int = 3,
    progress: Progress | None = None,
) -> list[Trial]:
    """Try every combination of a grid on validation classes.

    Args:
        method: the settings that the grid does not name.
        data: `Dataset.without_test()` of a data set; one with test images is refused.
        grid: values to try, by setting; the method's own `grid` where None.
        objective: number of `Result` to maximise, one of ausuc, h, t1; the method's own where None.
        partitions: how many sets of classes to hold out; the benchmark's own first, then random ones.
        progress: called with (fits done, fits in all, the best mean so far by the objective's name).

    Returns:
        all trials, the best first; in the order of the grid where they tie.
    """
    if len(data.test_seen) or len(data.test_unseen):
        raise InputError(
            f"data must be without test images for tuning; got {len(data.test_seen) + len(data.test_unseen)}; "
            "call without_test()"
        )
    objective = objective or method.objective
    if objective not in OBJECTIVES:
        raise InputError(f"objective must be one of {', '.join(OBJECTIVES)}; got {objective!r}")
    if objective == "t1" and method.generalized_only:
        raise InputError(f"objective must be ausuc or h for {method.name}, which has no t1; got 't1'")
    if partitions < 1:
        raise InputError(f"partitions must be 1 or more; got {partitions}")
    variants = list(combinations(method, method.grid if grid is None else grid))
    values: dict[str, list[float]] = {key(variant): [] for variant in variants}
    total, done = len(variants) * partitions, 0
    for partition in range(partitions):
        validation = data.validation_set(partition)
        best = 0.0
        for fitted in type(method).fit_each([variant.unfitted() for variant in variants], validation.training_set()):
            value = getattr(evaluate(fitted, validation, calibrate=False), objective)
            values[key(fitted)].append(value)
            best, done = max(best, value), done + 1
            if progress:
                progress(done, total, {f"best {objective}": best})
    trials = [Trial(variant.settings(), tuple(values[key(variant)])) for variant in variants]
    return sorted(trials, key=lambda trial: -trial.mean)


def combinations(method: Method, grid: Mapping[str, Sequence[Any]]) -> Iterator[Method]:
    """The method with every combination of the grid's values; as it is where the grid is empty."""
    known = method.settings()
    if unknown := next((name for name in grid if name not in known), None):
        raise InputError(f"grid must name settings of {method.name}; got {unknown!r}")
    for values in itertools.product(*grid.values()):
        yield replace(method, **dict(zip(grid, values, strict=True)))


def key(method: Method) -> str:
    """The settings as a text that can be looked up."""
    return json.dumps(method.settings(), sort_keys=True)


def write_settings(path: Path, data: str, method: Method, settings: Settings, origin: str) -> None:
    """Put what differs from the method's defaults into a TOML file, as `["data".method]`; other tables stay.

    Args:
        path: the file, made where it is not there.
        data: name of the data set.
        method: whose settings.
        settings: all of them.
        origin: where they come from, as a comment.
    """
    default = type(method)().settings()
    tables = {header(*at): (comment, table) for at, comment, table in _tables(path)}
    changes = {name: value for name, value in settings.items() if value != default[name]}
    tables[header(data, method.name)] = (f"# {origin}", changes)
    lines = []
    for head, (comment, table) in sorted(tables.items()):
        lines += [
            *filter(None, [comment]),
            head,
            *(f"{name} = {json.dumps(value)}" for name, value in table.items()),
            "",
        ]
    write_text(path, "\n".join(lines))


def header(data: str, method: str) -> str:
    """The line above a method's settings."""
    return f"[{json.dumps(data)}.{method}]"


def _tables(path: Path) -> Iterator[tuple[tuple[str, str], str, Settings]]:
    """(data, method), the comment line above, and the settings, for each table of a file that may be missing."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    above = {line: before for before, line in itertools.pairwise(lines)}
    for data, methods in read_settings(path).items():
        for method, table in methods.items():
            comment = above.get(header(data, method), "")
            yield (data, method), comment if comment.startswith("#") else "", table


def read_settings(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Settings by data set and method from a TOML file, checked against the methods."""
    try:
        by_data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"settings must be a TOML file; got {path}, where nothing is") from error
    except (OSError, ValueError) as error:
        raise InputError(f"settings must be a TOML file; got {path}: {error}") from error
    for data, methods in by_data.items():
        if not isinstance(methods, dict) or not all(isinstance(table, dict) for table in methods.values()):
            raise InputError(f'settings must be in tables like ["CUB".eszsl]; got {data!r} = {methods!r} in {path}')
        for name, table in methods.items():
            kind = named(name)
            unknown = set(table) - set(kind().settings())
            if unknown:
                raise InputError(f"settings of {name} must be its own; got {sorted(unknown)[0]!r} in {path}")
            kind(**table)
    return by_data

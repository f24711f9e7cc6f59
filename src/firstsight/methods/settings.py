"""The settings of a method: their types and bounds, and the space that tuning searches."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin, get_type_hints

from firstsight.errors import InputError

NUMBERS = {int: "a whole number", float: "a number"}
LARGEST = {int: 2**63 - 1, float: sys.float_info.max}  # what torch takes


@dataclass(frozen=True)
class Span:
    """The positive numbers from low to high, on a logarithmic scale; whole numbers where `low` is whole."""

    low: float
    high: float


@dataclass(frozen=True)
class Search:
    """Search of a method's settings by tuning.

    Attributes:
        space: choices, or a `Span` of numbers, by setting.
        trials: settings to try where not all can be tried; fewer where a fit takes long.
        objective: number of a result to maximise.
    """

    space: Mapping[str, Sequence[Any] | Span] = field(default_factory=dict)
    trials: int = 12
    objective: str = "ausuc"


def check_settings(method: Any) -> None:
    """Refuse a setting that is not of its field's type or, where choices are named, not one of them."""
    hints = get_type_hints(type(method))
    for setting in dataclasses.fields(method):
        value, kind = getattr(method, setting.name), hints[setting.name]
        if get_origin(kind) is Literal:
            if value not in get_args(kind):
                raise InputError(f"{setting.name} must be one of {', '.join(get_args(kind))}; got {value!r}")
        elif kind in (int, float):
            is_number = isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
            if not is_number or not 0 <= value <= LARGEST[kind]:
                raise InputError(f"{setting.name} must be {NUMBERS[kind]} of 0 or more; got {value!r}")
            setattr(method, setting.name, kind(value))
        elif not isinstance(value, kind):
            raise InputError(f"{setting.name} must be {kind.__name__}; got {value!r}")

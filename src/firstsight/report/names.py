"""How methods, classes and attributes are written, and what the paper prints of them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

NBSP = "\N{NO-BREAK SPACE}"
PAPER = "spaen"  # the method of the paper: it has the first colour on every page
BASELINE = "eszsl"  # what the best method is compared with, class by class
SOURCES = {  # presets of SP-AEN: what they follow, and on which reading of the paper's beta
    "paper": ("letter of the paper", "beta 5"),
    "authors": ("authors' code", "beta .05"),
    "table2": ("authors' code", "beta .005, Table 2 as flags"),
    "figure7": ("authors' code", "beta .05, Figure 7 as flags"),
}
NAMES = {  # of methods in files of older versions, in print, and of presets
    "spaen": "SP-AEN",
    "spaen:cls-only": "SP-AEN Cls. only",
    **{f"spaen:{preset}": f"SP-AEN ({source}, {beta})" for preset, (source, beta) in SOURCES.items()},
    **{f"spaen:{preset}-cls-only": f"SP-AEN Cls. only ({source})" for preset, (source, _) in SOURCES.items()},
    "devise": "DeViSE",
    "cmt_star": "CMT*",
}


def display_name(label: str, titles: Mapping[str, str] = NAMES) -> str:
    """Return a method's label, `name` or `name:preset`, as people write it.

    Args:
        label: of the method.
        titles: of methods by name; where there is none, the name is written in capitals.
    """
    if label in NAMES:
        return NAMES[label]
    name, _, preset = label.partition(":")
    return (titles.get(name) or name.upper()) + (f" ({preset})" if preset else "")


def plain_name(name: str) -> str:
    """Return a class or attribute name without folder number, prefix and underscores, as `004.Groove_billed_Ani`."""
    name = re.sub(r"^\d+\.(?=\D)", "", str(name))
    name = re.sub(r"^has_(?=.*::)", "", name)
    return name.replace("::", ": ").replace("_", " ").strip()


def published_numbers(data: str) -> dict[str, dict[str, float]]:
    """Read what the paper prints for a data set in Tables 1 and 2, by method; empty for one that it does not have."""
    found: dict[str, dict[str, float]] = _published().get(data.upper(), {})
    return found


def published_cosine(data: str) -> float | None:
    """Read the cosine of attribute variances that the head of Table 1 prints for a data set; None for other ones."""
    found: float | None = _published()["variance_cosine"].get(data.upper())
    return found


def published_errors(data: str) -> dict[str, float]:
    """Read Table 3 for a data set: mean squared errors per pixel, colours in 0..1, by variant; empty for other ones."""
    found: dict[str, float] = _published()["reconstruction"].get(data.upper(), {})
    return found


def _published() -> dict[str, Any]:
    """Read everything that the paper prints."""
    return tomllib.loads(resources.files(__package__).joinpath("published.toml").read_text(encoding="utf-8"))


def in_print(method: str) -> str:
    """Return the name under which the paper prints a method, whichever settings reproduce it, on pictures too."""
    name, _, preset = method.partition(":")
    name = PAPER if name == f"{PAPER}-pictures" else name
    for source in SOURCES:
        preset = preset.removeprefix(source).removeprefix("-")
    return f"{name}:{preset}" if preset else name


def listed(names: Sequence[str]) -> str:
    """Join names as in `A, B and C`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def duration(seconds: float) -> str:
    """Write 95 seconds as `1 min 35 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def memory(size: float) -> str:
    """Write 1300000000 bytes as `1.3 GB`."""
    return f"{size / 1e9:.1f}{NBSP}GB" if size >= 1e9 else f"{size / 1e6:.0f}{NBSP}MB"

"""How methods, classes and attributes are written, and what the paper prints of them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from importlib import resources

NBSP = "\N{NO-BREAK SPACE}"
NAMES = {
    "spaen": "SP-AEN",
    "spaen:cls-only": "SP-AEN Cls. only",
    "spaen:paper": "SP-AEN (paper settings)",
    "spaen:paper-cls-only": "SP-AEN Cls. only (paper settings)",
    "spaen:authors": "SP-AEN (authors' settings)",
    "spaen:authors-cls-only": "SP-AEN Cls. only (authors' settings)",
    "devise": "DeViSE",
    "cmt_star": "CMT*",
}


def display_name(method: str) -> str:
    """`spaen:cls-only` as people write it."""
    if method in NAMES:
        return NAMES[method]
    base, _, preset = method.partition(":")
    return NAMES.get(base, base.upper()) + (f" ({preset})" if preset else "")


def plain_name(name: str) -> str:
    """A class or attribute name without folder number, prefix and underscores: `041.Scissor_tailed_Flycatcher`."""
    name = re.sub(r"^\d+\.(?=\D)", "", str(name))
    name = re.sub(r"^has_(?=.*::)", "", name)
    return name.replace("::", ": ").replace("_", " ").strip()


def published_numbers(data: str) -> dict[str, dict[str, float]]:
    """What the paper prints for this data set, by method; empty for one it does not have."""
    text = resources.files(__package__).joinpath("published.toml").read_text(encoding="utf-8")
    return tomllib.loads(text).get(data.upper(), {})


def in_print(method: str) -> str:
    """The name under which the paper prints a method, whichever settings reproduce it."""
    return method.replace(":paper", ":").replace(":authors", ":").replace(":-", ":").removesuffix(":")


def listed(names: Sequence[str]) -> str:
    """`A, B and C`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def duration(seconds: float) -> str:
    """`95` as `1 min 35 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def memory(size: float) -> str:
    """`1300000000` as `1.3 GB`."""
    return f"{size / 1e9:.1f}{NBSP}GB" if size >= 1e9 else f"{size / 1e6:.0f}{NBSP}MB"

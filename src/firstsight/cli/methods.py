"""`firstsight methods`: list the methods."""

from __future__ import annotations


def methods() -> None:
    """List the methods with their papers and presets."""
    from firstsight.methods import METHODS

    width = max(map(len, METHODS)) + 2
    for name, kind in METHODS.items():
        print(f"{name:<{width}}{(kind.__doc__ or '').splitlines()[0]} {kind.source}.")
        if kind.presets:
            print(f"{'':<{width}}presets: {', '.join(kind.presets)}")

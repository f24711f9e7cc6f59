"""The methods by name. One file here is one method: whatever subclasses `Method` in it is listed, run and tested."""

from firstsight.methods.base import Method
from firstsight.methods.fitting import FitControls, Search, Span
from firstsight.methods.registry import METHODS, all_names, load_method, named

globals().update({kind.__name__: kind for kind in METHODS.values()})

__all__ = [
    "METHODS",
    "FitControls",
    "Method",
    "Search",
    "Span",
    "all_names",
    "load_method",
    "named",
    *(kind.__name__ for kind in METHODS.values()),
]

"""Commands that look at a data set."""

from __future__ import annotations

import sys

from firstsight.cli.options import as_json


def data_check(path: str, /, features: tuple[str, ...] = (), semantics: str | None = None, json: bool = False) -> None:
    """Look for what is wrong with a data set: shapes, NaN, overlapping splits, leaks.

    Exits with 0 where the data can be used and with 2 where it cannot.

    Args:
        path: a folder in the GBU layout, or `atlas`.
        features: feature files, by name or path.
        semantics: class embeddings: `att`, `sent`, `binaryAtt` or a file name.
        json: print one JSON document.
    """
    from firstsight.datasets.check import check, describe

    report = check(path, list(features) or None, semantics)
    print(as_json(report) if json else describe(report))
    if report["problems"]:
        sys.exit(2)

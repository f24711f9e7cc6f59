"""Commands that look at a data set or a method without scoring it."""

from __future__ import annotations

from firstsight.cli.options import as_json


def analyse_variance(path: str, /, semantics: str | None = None, json: bool = False) -> None:
    """Compare the attribute variances of training and unseen test images (head of Table 1).

    A low cosine says that attributes which tell the unseen classes apart hardly vary among the seen ones.

    Args:
        path: a folder in the GBU layout, or `atlas`.
        semantics: class embeddings: `att`, `sent`, `binaryAtt` or a file name.
        json: print one JSON document, with every attribute's variances.
    """
    from firstsight.analysis import attribute_variance
    from firstsight.datasets import load
    from firstsight.progress import Display

    with Display() as display:
        data = load(path, semantics=semantics, progress=display)
    report = attribute_variance(data)
    if json:
        print(as_json(dict(vars(report), data=data.name)))
    else:
        print(f"{data.name}: cosine of attribute variances {report.cosine:.4f}")

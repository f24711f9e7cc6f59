"""Commands that analyse the classes of a data set; no method is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from firstsight.cli.options import TextOptions, as_json, say_figure, write_figure

if TYPE_CHECKING:
    from firstsight.data import Dataset


def analyse_variance(
    path: str, /, text: TextOptions, semantics: str | None = None, json: bool = False, figure: Path | None = None
) -> None:
    """Compare the attribute variances of training and unseen test images (head of Table 1).

    A low cosine means that the attributes that separate the unseen classes hardly vary among the seen ones.

    Args:
        path: a folder in the GBU layout or of pictures, or `atlas`.
        text: the text model.
        semantics: class embeddings: `att`, `sent`, `binaryAtt` or a file name; `text` or `attributes+text`.
        json: print one JSON document, with every attribute's variances.
        figure: SVG file to draw into.
    """
    from firstsight.analysis import attribute_variance
    from firstsight.report import charts, classes

    data = _loaded(path, text, semantics)
    found = attribute_variance(data)
    if figure:
        view = classes.variance_view(found)
        assert view is not None
        write_figure(figure, charts.variance_strips(view, f"Attribute variances of {data.name}"))
    if json:
        print(as_json(dict(vars(found), data=data.name)))
    else:
        print(f"{data.name}: cosine of attribute variances {found.cosine:.4f}")
        say_figure(figure)


def analyse_projection(
    path: str,
    /,
    text: TextOptions,
    semantics: str | None = None,
    seed: int = 0,
    json: bool = False,
    figure: Path | None = None,
) -> None:
    """Map the test classes by all attributes and by those that vary in training (Fig. 1a).

    Unseen classes that are close to another class without the low-variance attributes depend on what training may
    discard.

    Args:
        path: a folder in the GBU layout or of pictures, or `atlas`.
        text: the text model.
        semantics: class embeddings: `att`, `sent`, `binaryAtt` or a file name; `text` or `attributes+text`.
        seed: seed of t-SNE.
        json: print one JSON document, with the maps.
        figure: SVG file to draw into.
    """
    from firstsight.analysis import projection
    from firstsight.report import figures
    from firstsight.results.document import document

    data = _loaded(path, text, semantics)
    maps = projection(data, seed)
    if figure:
        label = f"t-SNE of the test classes of {data.name}"
        write_figure(figure, figures.projection_maps(maps, data.classes.names, data.is_seen.tolist(), label))
    if json:
        print(as_json({"data": data.name, **document(maps)}))
        return
    print(f"{data.name}: mean cosine distance of a test class to the nearest other one")
    near = maps.nearest
    assert near is not None
    for side in ("seen", "unseen"):
        by_all, by_high = getattr(near.all, side), getattr(near.high, side)
        if by_all is not None:
            print(f"  {side:<8}{by_all:.4f} by all attributes, {by_high:.4f} by the high-variance half")
    for one in maps.lost:
        print(f"  {one.class_}: {one.all:.4f}, then {one.high:.4f} to {one.neighbour}")
    say_figure(figure)


def _loaded(path: str, text: TextOptions, semantics: str | None) -> Dataset:
    """Load the data set."""
    from firstsight.datasets import load
    from firstsight.progress import Display

    (vectors,) = text.texts(semantics)
    with Display() as display:
        return load(path, semantics=semantics, progress=display, vectors=vectors)

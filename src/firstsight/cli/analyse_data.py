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

    A low cosine means that the attributes that separate the unseen classes hardly vary among the seen ones. For CUB,
    SUN, AWA2 and aPY, the cosine that the paper prints stands beside ours.

    Args:
        path: a folder in the GBU layout or of pictures, or `atlas`.
        text: the text model.
        semantics: class embeddings: `att`, `sent`, `binaryAtt` or a file name; `text` or `attributes+text`.
        json: print one JSON document, with every attribute's variances.
        figure: SVG file to draw into.
    """
    from firstsight.analysis import attribute_variance
    from firstsight.report import charts, classes
    from firstsight.report.names import published_cosine

    data = _loaded(path, text, semantics)
    found = attribute_variance(data)
    if figure:
        view = classes.variance_view(found)
        assert view is not None
        write_figure(figure, charts.variance_strips(view, f"Attribute variances of {data.name}"))
    published = published_cosine(data.name)
    if json:
        print(as_json(dict(vars(found), data=data.name, published_cosine=published)))
    else:
        beside = "" if published is None else f"; the paper prints {published:.4f}"
        print(f"{data.name}: cosine of attribute variances {found.cosine:.4f}{beside}")
        say_figure(figure)


def analyse_projection(
    path: str,
    /,
    text: TextOptions,
    semantics: str | None = None,
    image_attributes: Path | None = None,
    seed: int = 0,
    json: bool = False,
    figure: Path | None = None,
) -> None:
    """Map the test images or classes by all attributes and by those that vary in training (Fig. 1a).

    Unseen classes that are close to another class without the low-variance attributes depend on what training may
    discard. CUB and aPY have attributes of each image in the files of their authors: each dot of the map is then an
    image. Where there are none, images have the attributes of their class, and each dot is a class.

    Args:
        path: a folder in the GBU layout or of pictures, or `atlas`.
        text: the text model.
        semantics: class embeddings: `att`, `sent`, `binaryAtt` or a file name; `text` or `attributes+text`.
        image_attributes: the file with attributes of images, or a folder that has it at any depth, as `data fetch`
            makes it: `image_attribute_labels.txt` of CUB, or `apascal_train.txt` and the two files beside it of aPY.
            By default PATH is searched.
        seed: seed of t-SNE.
        json: print one JSON document, with the maps.
        figure: SVG file to draw into.
    """
    from firstsight.analysis import projection
    from firstsight.datasets.image_attributes import read_image_attributes
    from firstsight.report import figures
    from firstsight.results.document import document

    data = _loaded(path, text, semantics)
    own = read_image_attributes(data, path, image_attributes)
    maps = projection(data, seed, None if own is None else own.values)
    if figure:
        label = f"t-SNE of the test {maps.of or 'classes'} of {data.name}"
        write_figure(figure, figures.projection_maps(maps, data.classes.names, data.is_seen.tolist(), label))
    if json:
        print(as_json({"data": data.name, **document(maps)}))
        return
    if own:
        print(f"{data.name}: each image has attributes of its own, from {own.file}")
        print("Mean cosine distance of a test image to the nearest one of another class")
    else:
        print(f"{data.name}: no attributes of images, so each has those of its class")
        print("Mean cosine distance of a test class to the nearest other one")
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

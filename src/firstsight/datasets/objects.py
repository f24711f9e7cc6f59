"""The objects of aPY: each is cut out of its picture into a file of its own.

The 15,339 images of aPY (Farhadi et al., CVPR 2009) are objects in 6,577 pictures of VOC 2008 and a-Yahoo. Their boxes
are in the authors' `attribute_data`: a line `PICTURE CLASS XMIN YMIN XMAX YMAX` and 64 attributes for each object, with
pixels counted from 1. The GBU files list the objects in the order of these lines, picture by picture.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from firstsight.datasets.data_files import DataFiles
from firstsight.datasets.gbu import picture_problems
from firstsight.datasets.gbu_files import read_gbu
from firstsight.datasets.gbu_pictures import object_names, tail
from firstsight.errors import InputError
from firstsight.files import replacing
from firstsight.parallel import prefetch
from firstsight.pictures.decode import open_picture
from firstsight.pictures.find import walk
from firstsight.progress import StageProgress

ANNOTATIONS = ("apascal_train.txt", "apascal_test.txt", "ayahoo_test.txt")
QUALITY = 95  # of the JPEG files
AHEAD = 16  # objects that are cut in parallel

Box = tuple[int, int, int, int]  # left, top (the first pixel inside), right, bottom (the first pixel outside)


class Object(NamedTuple):
    """A line of an annotation file."""

    picture: str  # the name of its file
    class_: str
    box: Box
    attributes: tuple[str, ...]  # as they are written


@dataclass(frozen=True)
class Cut:
    """Result of `cut_objects`."""

    folder: Path  # of the objects, with the same subfolders as the pictures
    objects: int  # number of objects
    new: int  # number of objects that this call cut


def cut_objects(
    folder: str | Path, pictures: str | Path, out: str | Path, progress: StageProgress | None = None
) -> Cut:
    """Cut every object of a GBU data set out of its picture; objects with a file already are not cut again.

    Args:
        folder: aPY in the GBU layout, with `image_files`.
        pictures: folder with the pictures and `attribute_data`, at any depth.
        out: folder for the objects.
        progress: called with (objects done, objects in total, {}).

    Raises:
        InputError: pictures or boxes are missing or are not those of the data set, or `out` is inside `pictures`.
    """
    out = Path(out)
    if out.resolve().is_relative_to(Path(pictures).resolve()):
        raise InputError(f"out must be outside the folder of pictures, where objects would be found first; got {out}")
    files = read_gbu(folder, DataFiles(pictures=pictures))
    assert files.pictures is not None
    if problem := next(picture_problems(files), None):
        raise InputError(problem)
    root, paths = files.pictures.root, files.pictures.paths
    boxes = [one.box for one in objects_of(paths, [files.class_names[at - 1] for at in files.labels.tolist()], root)]
    todo = [
        (path, box, target)
        for path, box, target in zip(paths, boxes, map(out.joinpath, object_names(paths)), strict=True)
        if not target.exists()
    ]

    def write(job: tuple[str, Box, Path]) -> None:
        path, box, target = job
        picture = open_picture(root / path, path)
        with replacing(target) as unfinished:
            picture.crop(_clip(box, picture)).save(unfinished, "JPEG", quality=QUALITY, subsampling=0)

    with closing(prefetch(write, todo, AHEAD)) as written:
        for done, _ in enumerate(written, start=len(paths) - len(todo) + 1):
            if progress:
                progress(done, len(paths), {})
    return Cut(out, len(paths), len(todo))


def objects_of(paths: Sequence[str], classes: Sequence[str], root: Path) -> list[Object]:
    """Read the annotation of each image; images of one picture take its lines in order.

    Args:
        paths: of the picture of each image; only the file's name counts.
        classes: of each image.
        root: folder that has the annotation files at any depth.

    Raises:
        InputError: files are missing or cannot be read, or are not those of the images.
    """
    there = {name: root / file.path for file in walk(root) if (name := Path(file.path).name) in ANNOTATIONS}
    if missing := [name for name in ANNOTATIONS if name not in there]:
        raise InputError(
            f"pictures must have {' and '.join(ANNOTATIONS)} beside them, with the boxes of objects; "
            f"got no {missing[0]} in {root}; it is in attribute_data.tar.gz of `firstsight data fetch aPY`"
        )
    found: dict[str, list[Object]] = defaultdict(list)  # by picture
    for name in ANNOTATIONS:
        for one in _read_annotations(there[name]):
            found[one.picture].append(one)
    objects, n_taken = [], dict.fromkeys(found, 0)
    for path, label in zip(paths, classes, strict=True):
        picture = tail(path, 1)
        at = n_taken.get(picture, 0)
        if at == len(found.get(picture, ())):
            raise InputError(f"boxes must be as many as objects in the data set; got {at} for {path}, which has more")
        one = found[picture][at]
        if one.class_ != label:
            raise InputError(
                f"boxes must be in the order of the data set; got that of {one.class_!r} for object {at + 1} of "
                f"{path}, which is {label!r}"
            )
        n_taken[picture] = at + 1
        objects.append(one)
    return objects


def _read_annotations(file: Path) -> list[Object]:
    """Read each line of an annotation file."""
    made = []
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        words = line.split()
        try:
            picture, label = words[:2]
            left, top, right, bottom = (round(float(word)) for word in words[2:6])
        except (ValueError, OverflowError) as error:
            raise InputError(
                f"line {number} of {file.name} must be PICTURE CLASS XMIN YMIN XMAX YMAX and attributes; "
                f"got {line[:60]!r}"
            ) from error
        made.append(Object(picture, label, (left - 1, top - 1, right, bottom), tuple(words[6:])))
    return made


def _clip(box: Box, picture: Image.Image) -> Box:
    """Clip a box to the picture; at least one pixel remains."""
    left, top = min(max(box[0], 0), picture.width - 1), min(max(box[1], 0), picture.height - 1)
    return left, top, max(left + 1, min(box[2], picture.width)), max(top + 1, min(box[3], picture.height))

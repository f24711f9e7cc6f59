"""Sheets of pictures: every picture is where its name and label say."""

import numpy as np
import pytest
from PIL import Image

from firstsight.errors import InputError
from firstsight.pictures.sheet import CELL, ELLIPSIS, PAPER, _width, grid, readable, sheet, tiled, wrapped


def plain(n: int, side: int, first: int = 0) -> np.ndarray:
    """Pictures that are told apart by their colour: the i-th is (first + i, 10 i, 200) all over."""
    pictures = np.empty((n, side, side, 3), np.uint8)
    for at in range(n):
        pictures[at] = (first + at, 10 * at, 200)
    return pictures


def blocks(image: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """The box of all pixels of this colour, which must fill it."""
    rows, columns = np.nonzero((np.asarray(image) == colour).all(axis=2))
    box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    assert len(rows) == (box[2] - box[0]) * (box[3] - box[1])
    return tuple(map(int, box))


@pytest.mark.parametrize(("side", "shown"), [(32, 192), (64, 192), (128, 192), (256, 256)])
def test_every_picture_is_shown_whole_below_its_name_beside_its_label(side, shown):
    first, second = plain(10, side), plain(10, side, 100)
    image = sheet([("original", first), ("drawn", second)], [f"class {at}" for at in range(10)])
    per_line = 1600 // (shown + 8)
    boxes = [[blocks(image, (start + at, 10 * at, 200)) for at in range(10)] for start in (0, 100)]
    for at in range(10):
        above, below = boxes[0][at], boxes[1][at]
        assert (
            (above[2] - above[0], above[3] - above[1]) == (shown, shown) == (below[2] - below[0], below[3] - below[1])
        )
        assert above[0] == below[0] == boxes[0][at % per_line][0]
        assert below[1] == above[3] + 8
        assert above[1] == boxes[0][at - at % per_line][1]
        strip = np.asarray(image.crop((above[0], above[1] - 20, above[2], above[1])))
        assert strip.min() < 100  # the name is written there
    assert np.asarray(image.crop((24, boxes[0][0][1], boxes[0][0][0], boxes[0][0][3]))).min() < 160
    corner = Image.new("RGB", (1, 1), PAPER).getpixel((0, 0))
    assert {image.getpixel((x, y)) for x in (0, image.width - 1) for y in (0, image.height - 1)} == {corner}
    last = boxes[1][-1]
    assert image.height == last[3] + 24


def test_notes_stand_below():
    without = sheet([("", plain(1, 64))], ["owl"])
    image = sheet([("", plain(1, 64))], ["owl"], ["never seen"])
    box = blocks(image, (0, 0, 200))
    assert box[0] == 24  # where there is no label there is no room for one
    assert image.height == without.height + 22
    assert np.asarray(image.crop((box[0], box[3] + 1, box[2], image.height))).min() < 160


def test_small_pictures_are_not_blurred_more_than_they_must_be():
    pictures = np.zeros((1, 64, 64, 3), np.uint8)
    pictures[0, :, 32:] = 255
    shown = np.asarray(sheet([("", pictures)], [""]).crop((24, 60, 24 + CELL, 120)))
    assert (shown[:, :90] < 30).all()
    assert (shown[:, 102:] > 225).all()


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("owl", 200, ["owl"]),
        ("", 200, [""]),
        ("Yellow headed Blackbird", 130, ["Yellow headed", "Blackbird"]),
    ],
)
def test_wrapped(text, width, lines):
    assert wrapped(text, width) == lines


def test_wrapped_never_exceeds_its_width():
    for text in ("one two three four five six seven eight", "Donaudampfschifffahrtsgesellschaft", "a" * 300):
        made = wrapped(text, 100)
        assert 1 <= len(made) <= 2
        assert all(_width(line) <= 100 for line in made)
        assert made[-1].endswith(ELLIPSIS)


def test_readable():
    assert readable("Worm_eating_Warbler") == "Worm eating Warbler"


def test_grid_is_a_png_file(tmp_path):
    path = grid(tmp_path / "new" / "x.png", [("a", plain(2, 32))], ["owl", "auk"])
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image), np.asarray(sheet([("a", plain(2, 32))], ["owl", "auk"])))
    assert [file.name for file in path.parent.iterdir()] == ["x.png"]


def test_another_ending(tmp_path):
    with pytest.raises(InputError, match=r"^picture file must end in \.png; got .*x\.jpg$"):
        grid(tmp_path / "x.jpg", [("a", plain(1, 32))], ["owl"])


def test_tiled_puts_the_lines_of_the_same_pictures_together():
    pair = np.stack([plain(5, 4), plain(5, 4, 100)])
    made = tiled(pair, columns=3)
    assert made.shape == (2 * 2 * 4, 3 * 4, 3)
    for line, start in enumerate((0, 100)):
        for at in range(5):
            top, left = (2 * (at // 3) + line) * 4, (at % 3) * 4
            assert (made[top : top + 4, left : left + 4] == (start + at, 10 * at, 200)).all()
    assert (made[8:, 8:] == 255).all()  # where there is no sixth

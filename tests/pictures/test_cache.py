"""Pictures of a data set, shrunk once: whole rows only, whatever stops it, and nothing read twice."""

import io
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from firstsight.data import Dataset, Pictures
from firstsight.errors import InputError
from firstsight.pictures import cache as store
from firstsight.pictures.cache import with_pictures
from firstsight.pictures.decode import squared, stored_side
from tests.support.tiny import tiny_dataset

SIDE, STORED = 14, 16


def paint(path: Path, seed: int, size: tuple[int, int] = (30, 41)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)


def dataset(root: Path, per_class: int = 10) -> Dataset:
    """Nine classes with a picture file for each image, in random order."""
    data = tiny_dataset(per_class=per_class)
    paths = [f"images/{data.classes.names[label]}/{image}.png" for image, label in enumerate(data.labels)]
    for image, path in enumerate(paths):
        paint(root / path, image)
    return tiny_dataset(per_class=per_class, paths=tuple(paths), root=str(root))


def expected(root: Path, path: str) -> np.ndarray:
    return squared(Image.open(root / path).convert("RGB"), STORED)


def files_of(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cache.iterdir()}


@pytest.fixture
def root(tmp_path):
    return tmp_path / "birds"


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def opened(monkeypatch):
    """Names of the pictures that are opened."""
    names = []

    def counting(source, name, **options):
        names.append(name)
        return original(source, name, **options)

    original = store.open_picture
    monkeypatch.setattr(store, "open_picture", counting)
    return names


@pytest.mark.parametrize(("side", "stored"), [(224, 256), (128, 146), (64, 73), (1, 1), (14, 16)])
def test_stored_side(side, stored):
    assert stored_side(side) == stored


def test_every_image_has_its_picture(root, cache):
    data = dataset(root)
    made, bad = with_pictures(data, SIDE, cache)
    assert bad == {}
    assert isinstance(made.pictures, Pictures)
    assert made.pictures.store.dtype == np.uint8
    assert made.pictures.store.shape == (90, STORED, STORED, 3)
    assert isinstance(made.pictures.store, np.memmap)
    for image, path in enumerate(data.paths):
        np.testing.assert_array_equal(made.pictures[image], expected(root, path))
    np.testing.assert_array_equal(made.features, data.features)
    assert made.paths == data.paths
    with pytest.raises(ValueError, match="read-only"):
        made.pictures.store[0] = 0


def test_images_may_share_a_picture(root, cache, opened):
    data = dataset(root)
    paths = (*data.paths[:-1], data.paths[3])
    made, _ = with_pictures(tiny_dataset(paths=paths, root=str(root)), SIDE, cache)
    assert len(opened) == len(made.pictures.store) == 89
    np.testing.assert_array_equal(made.pictures[89], expected(root, data.paths[3]))


def test_names_that_are_no_text(root, cache, opened):
    data = dataset(root)
    odd = "images/\udcff\n " + "x" * 200 + ".png"  # as Python spells bytes that are not UTF-8
    (root / data.paths[0]).rename(root / odd)
    data = tiny_dataset(paths=(odd, *data.paths[1:]), root=str(root))
    for _ in range(2):
        made, _ = with_pictures(data, SIDE, cache)
    assert len(opened) == 90
    np.testing.assert_array_equal(made.pictures[0], expected(root, odd))


def test_a_large_jpeg_is_decoded_at_a_part_of_its_size(root, cache, monkeypatch):
    data = dataset(root)
    (root / data.paths[0]).unlink()
    grid = np.add.outer(np.arange(600) / 3, np.arange(800) / 16)
    Image.fromarray(np.repeat(grid[:, :, None], 3, axis=2).astype(np.uint8)).save(root / data.paths[0], "JPEG")
    sizes = []

    def noted(picture, side):
        sizes.append(picture.size)
        return squared(picture, side)

    monkeypatch.setattr(store, "squared", noted)
    made, _ = with_pictures(data, SIDE, cache)
    assert (100, 75) in sizes
    whole = squared(Image.open(root / data.paths[0]), STORED)
    assert np.abs(made.pictures[0].astype(int) - whole).max() <= 4


# what is known is not read again


def test_a_second_run_reads_no_picture(root, cache, opened):
    data = dataset(root)
    first, _ = with_pictures(data, SIDE, cache)
    before = files_of(cache)
    assert len(opened) == 90
    second, _ = with_pictures(data, SIDE, cache)
    assert len(opened) == 90
    assert files_of(cache) == before
    np.testing.assert_array_equal(first.pictures[:], second.pictures[:])


def test_a_second_run_does_not_write(root, cache, opened):
    data = dataset(root)
    with_pictures(data, SIDE, cache)
    for path in cache.iterdir():
        path.chmod(0o444)
        os.utime(path, ns=(1, 1))
    cache.chmod(0o555)
    try:
        with_pictures(data, SIDE, cache)
    finally:
        cache.chmod(0o755)
    assert len(opened) == 90
    assert {path.stat().st_mtime_ns for path in cache.iterdir()} == {1}  # a superuser may write to anything


def test_only_what_changed_is_read(root, cache, opened):
    data = dataset(root)
    before, _ = with_pictures(data, SIDE, cache)
    changed, touched = data.paths[5], data.paths[7]
    paint(root / changed, 500)
    os.utime(root / touched, ns=(1, 1))
    opened.clear()
    made, _ = with_pictures(data, SIDE, cache)
    assert sorted(opened) == sorted([changed, touched])
    for image, path in enumerate(data.paths):
        np.testing.assert_array_equal(made.pictures[image], expected(root, path))
    assert not np.array_equal(made.pictures[5], before.pictures[5])


def test_a_file_of_the_same_size_is_noticed(root, cache):
    data = dataset(root)
    file = (root / data.paths[0]).with_suffix(".png")
    pixels = np.zeros((20, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "BMP")
    with_pictures(data, SIDE, cache)
    size = file.stat().st_size
    Image.fromarray(pixels + 9).save(file, "BMP")
    assert file.stat().st_size == size
    made, _ = with_pictures(data, SIDE, cache)
    assert (made.pictures[0] == 9).all()


def test_sizes_and_folders_do_not_mix(root, cache, opened, tmp_path):
    data = dataset(root)
    with_pictures(data, SIDE, cache)
    larger, _ = with_pictures(data, 2 * SIDE, cache)
    assert larger.pictures.side == 2 * STORED
    shutil.copytree(root, tmp_path / "other" / "birds")
    with_pictures(tiny_dataset(paths=data.paths, root=str(tmp_path / "other" / "birds")), SIDE, cache)
    assert len(opened) == 270
    assert len(list(cache.iterdir())) == 6


def test_the_users_cache_folder(root, monkeypatch, tmp_path):
    monkeypatch.setenv("FIRSTSIGHT_CACHE", str(tmp_path / "mine"))
    with_pictures(dataset(root), SIDE)
    assert len(list((tmp_path / "mine" / "pictures").iterdir())) == 2


def test_a_cache_that_cannot_be_written_to(root, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/birds-\w+-16-v2.rows must be a place to write to; got File exists"):
        with_pictures(dataset(root), SIDE, tmp_path / "file")


# what stops it


class Stop(BaseException):
    """As Ctrl-C, which is no Exception either."""


def stopped(data: Dataset, cache: Path, after: int) -> None:
    def progress(done, total, _):
        if done >= after:
            raise Stop

    with pytest.raises(Stop):
        with_pictures(data, SIDE, cache, progress=progress)


def test_what_was_done_before_an_interruption_is_kept(root, cache, tmp_path, opened):
    data = dataset(root)
    stopped(data, cache, after=64)
    opened.clear()
    made, _ = with_pictures(data, SIDE, cache)
    assert len(opened) == 90 - 64
    with_pictures(data, SIDE, tmp_path / "undisturbed")
    assert files_of(cache) == files_of(tmp_path / "undisturbed")
    np.testing.assert_array_equal(made.pictures[0], expected(root, data.paths[0]))


def test_an_interruption_between_two_writes_loses_nothing(root, cache, monkeypatch, tmp_path, opened):
    """Ctrl-C may come after the rows are written and before the index is."""
    data = dataset(root)

    def interrupted(descriptor, times=[]):  # noqa: B006  # what it is called with before
        times.append(descriptor)
        if len(times) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(store.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        with_pictures(data, SIDE, cache)
    opened.clear()
    with_pictures(data, SIDE, cache)
    assert len(opened) == 90 - 64
    with_pictures(data, SIDE, tmp_path / "undisturbed")
    assert files_of(cache) == files_of(tmp_path / "undisturbed")


@pytest.mark.parametrize(("end", "cut", "again"), [(".rows", 1, 1), (".rows", 3 * STORED**2 + 5, 2), (".index", 1, 1)])
def test_a_row_that_breaks_off_is_made_again(root, cache, tmp_path, opened, end, cut, again):
    data = dataset(root)
    with_pictures(data, SIDE, cache)
    whole = files_of(cache)
    (file,) = cache.glob(f"*{end}")
    with file.open("r+b") as broken:
        broken.truncate(len(whole[file.name]) - cut)
    opened.clear()
    with_pictures(data, SIDE, cache)
    assert len(opened) == again
    assert files_of(cache) == whole


def test_rows_without_a_name_are_written_over(root, cache):
    data = dataset(root)
    with_pictures(data, SIDE, cache)
    whole = files_of(cache)
    (index,) = cache.glob("*.index")
    with index.open("r+b") as file:
        file.truncate(50 * store.SHA + 7)
    with_pictures(data, SIDE, cache)
    assert files_of(cache) == whole


SLOWLY = """
import sys, time
from pathlib import Path
from tests.pictures.test_cache import SIDE, tiny_dataset
from firstsight.pictures import cache as store
store.AT_ONCE = 3
def slow(picture, side):
    time.sleep(0.02)
    return squared(picture, side)
squared, store.squared = store.squared, slow
root = Path(sys.argv[1])
names = {int(path.stem): path.relative_to(root).as_posix() for path in root.glob("images/*/*")}
data = tiny_dataset(paths=tuple(names[image] for image in range(90)), root=str(root))
store.with_pictures(data, SIDE, Path(sys.argv[2]))
"""


def fill_slowly(root, cache) -> subprocess.Popen:
    words = [sys.executable, "-c", SLOWLY, str(root), str(cache)]
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True)


def wait_for_rows(work: subprocess.Popen, cache: Path, n: int) -> None:
    end = time.monotonic() + 300
    while not any(path.stat().st_size >= n * store.SHA for path in cache.glob("*.index")):
        assert time.monotonic() < end, "nothing came"
        assert work.poll() is None, work.stderr.read()
        time.sleep(0.005)


def test_kill_and_continue(root, cache, tmp_path, opened):
    data = dataset(root)
    work = fill_slowly(root, cache)
    try:
        wait_for_rows(work, cache, 12)
        os.kill(work.pid, signal.SIGKILL)
    finally:
        work.kill()
        work.wait()
        work.stderr.close()
    (index,) = cache.glob("*.index")
    kept = index.stat().st_size // store.SHA
    assert 12 <= kept < 90
    with_pictures(data, SIDE, cache)
    assert len(opened) == 90 - kept
    with_pictures(data, SIDE, tmp_path / "undisturbed")
    assert files_of(cache) == files_of(tmp_path / "undisturbed")


@pytest.mark.skipif(store.fcntl is None, reason="no locks here")
def test_two_processes_share_the_work(root, cache, tmp_path, opened):
    data = dataset(root)
    work = fill_slowly(root, cache)
    try:
        wait_for_rows(work, cache, 3)
        with_pictures(data, SIDE, cache)  # waits for the other one
        assert work.wait(60) == 0, work.stderr.read()
    finally:
        work.kill()
        work.wait()
        work.stderr.close()
    assert opened == []
    with_pictures(data, SIDE, tmp_path / "undisturbed")
    assert files_of(cache) == files_of(tmp_path / "undisturbed")


def test_progress_counts_pictures(root, cache):
    told = []
    stopped(dataset(root), cache, after=32)
    with_pictures(dataset(root), SIDE, cache / "new", progress=lambda *report: told.append(report))
    assert told == [(32, 90, {}), (64, 90, {}), (90, 90, {})]


def test_memory_does_not_grow_with_the_pictures(tmp_path):
    def peak(per_class):
        data = dataset(tmp_path / str(per_class), per_class)
        tracemalloc.start()
        try:
            with_pictures(data, 112, tmp_path / "cache")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few = peak(12)
    assert peak(40) - few < 2_000_000  # bytes; the rows have 12 MB more


# bad pictures


def jpeg(picture: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG of a few kilobytes that says it has 400 megapixels."""
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    return buffer.getvalue()


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))
BAD = {
    "an empty file": (b"", "must be a picture (JPEG, PNG, WebP, BMP, TIFF or GIF); got an empty file"),
    "no picture": (b"a letter", "must be a picture (JPEG, PNG, WebP, BMP, TIFF or GIF); got something else"),
    "cut short": (jpeg(NOISE)[:700], "must be a whole picture; got one that is broken: "),
    "damaged": (jpeg(NOISE)[:160] + b"\0" * 200, "must be a picture (JPEG, PNG, WebP, BMP, TIFF or GIF); got "),
    "a bomb": (bomb(), "must be a picture of at most 100,000,000 pixels; got 20,000 x 20,000; make it smaller"),
    "not there": (None, "must be a picture; got a file that cannot be read: No such file or directory"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_picture_is_refused_or_left_out(root, cache, opened, kind):
    content, sentence = BAD[kind]
    data = dataset(root)
    image = int(data.trainval[4])
    path = data.paths[image]
    (root / path).unlink()
    if content is not None:
        (root / path).write_bytes(content)
    with pytest.raises(InputError) as caught:
        with_pictures(data, SIDE, cache)
    assert str(caught.value).startswith(f"{path} {sentence}")
    made, bad = with_pictures(data, SIDE, cache, skip_bad=True)
    assert bad == {path: str(caught.value)}
    check_without(made, data, [image], root)
    opened.clear()
    with_pictures(data, SIDE, cache, skip_bad=True)
    assert opened == [path]  # it may be readable by now


def check_without(made: Dataset, data: Dataset, images: list[int], root: Path) -> None:
    kept = [image for image in range(len(data.labels)) if image not in images]
    assert made.paths == tuple(data.paths[image] for image in kept)
    np.testing.assert_array_equal(made.labels, data.labels[kept])
    np.testing.assert_array_equal(made.features, data.features[kept])
    for split in ("trainval", "test_seen", "test_unseen"):
        assert [made.paths[image] for image in getattr(made, split)] == [
            data.paths[image] for image in getattr(data, split) if image not in images
        ]
    for image, path in enumerate(made.paths):
        np.testing.assert_array_equal(made.pictures[image], expected(root, path))


def test_bad_pictures_of_all_splits(root, cache):
    plain = dataset(root)
    data = tiny_dataset(w=3, paths=plain.paths, root=str(root))
    images = [int(split[at]) for split in (data.trainval, data.test_seen, data.test_unseen) for at in (0, -1)]
    for image in images:
        (root / data.paths[image]).write_bytes(b"nothing")
    made, bad = with_pictures(data, SIDE, cache, skip_bad=True)
    assert sorted(bad) == sorted(data.paths[image] for image in images)
    check_without(made, data, images, root)
    kept = np.setdiff1d(np.arange(90), images)
    np.testing.assert_array_equal(made.reconstruction_features, data.reconstruction_features[kept])


def test_the_first_bad_one_stops_it_and_the_rest_is_kept(root, cache, opened):
    data = dataset(root)
    last = sorted(data.paths)[-1]
    good = (root / last).read_bytes()
    (root / last).write_bytes(b"nothing")
    with pytest.raises(InputError, match=f"^{last} must be a picture"):
        with_pictures(data, SIDE, cache)
    (root / last).write_bytes(good)
    opened.clear()
    with_pictures(data, SIDE, cache)
    assert opened == [last]


def test_nothing_but_bad_pictures(root, cache):
    data = dataset(root)
    for path in data.paths:
        (root / path).write_bytes(b"")
    with pytest.raises(InputError) as caught:
        with_pictures(data, SIDE, cache, skip_bad=True)
    assert str(caught.value) == f"pictures of {root} must be readable; got none of 90 that is"


def test_a_class_without_training_pictures_is_told_by_the_data_set(root, cache):
    data = dataset(root)
    for image in data.trainval[data.labels[data.trainval] == data.seen[0]]:
        (root / data.paths[image]).write_bytes(b"")
    name = data.classes.names[data.seen[0]]
    with pytest.raises(InputError) as caught:
        with_pictures(data, SIDE, cache, skip_bad=True)
    assert str(caught.value) == (
        f"test_seen must hold images of seen classes only; got 1 other classes, the first {name!r}"
    )


@pytest.mark.parametrize("mode", ["CMYK", "L", "P", "1", "I;16", "RGBA", "one pixel", "a strip", "turned"])
def test_pictures_of_every_kind(root, cache, mode):
    data = dataset(root)
    grey = Image.fromarray(np.add.outer(np.arange(30) * 4, np.arange(40) * 3).astype(np.uint8))
    options = {}
    if mode == "I;16":
        picture, like = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), grey
    elif mode == "one pixel":
        picture = like = Image.new("RGB", (1, 1), (200, 30, 4))
    elif mode == "a strip":
        picture = like = Image.new("RGB", (60_000, 1), (200, 30, 4))
    elif mode == "turned":
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6
        picture, like = grey, grey.transpose(Image.Transpose.ROTATE_270)
    else:
        picture = grey.convert(mode)
        like = picture.convert("RGB")
    picture.save(root / data.paths[0], "TIFF" if mode in ("CMYK", "I;16") else "PNG", **options)
    made, bad = with_pictures(data, SIDE, cache)
    assert not bad
    np.testing.assert_array_equal(made.pictures[0], squared(like.convert("RGB"), STORED))


# pictures in memory, or none


def in_memory(h: int) -> Dataset:
    pictures = np.random.default_rng(0).integers(0, 256, (90, h, h, 3), dtype=np.uint8)
    return tiny_dataset(pictures=Pictures(pictures, np.arange(90)[::-1]))


@pytest.mark.parametrize("limit", [1 << 30, 1000])
def test_pictures_in_memory_are_resized(cache, monkeypatch, limit):
    monkeypatch.setattr(store, "IN_MEMORY", limit)
    data, told = in_memory(25), []
    made, bad = with_pictures(data, SIDE, cache, progress=lambda *report: told.append(report))
    assert (bad, told) == ({}, [(32, 90, {}), (64, 90, {}), (90, 90, {})])
    assert isinstance(made.pictures.store, np.memmap) == (limit == 1000)
    assert not cache.exists() or not list(cache.iterdir())
    assert made.pictures[:].shape == (90, STORED, STORED, 3)
    for image in range(90):
        np.testing.assert_array_equal(made.pictures[image], squared(Image.fromarray(data.pictures[image]), STORED))


def test_pictures_of_the_right_size_stay_as_they_are(cache):
    data = in_memory(STORED)
    assert with_pictures(data, SIDE, cache)[0].pictures is data.pictures


def test_no_pictures(cache):
    with pytest.raises(InputError) as caught:
        with_pictures(tiny_dataset(), SIDE, cache)
    assert str(caught.value) == (
        "data set 'tiny' must have pictures; got features only; "
        "name the folder with its pictures (for a GBU folder: --pictures FOLDER)"
    )
    with pytest.raises(InputError, match=r"^side must be 1 or more; got 0$"):
        with_pictures(in_memory(9), 0, cache)

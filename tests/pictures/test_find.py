"""One walk through folders: every command sees the same pictures, in the same order, and says the same of bad ones."""

import json
import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from firstsight.cli import main
from firstsight.errors import InputError
from firstsight.features.feature_file import FeatureFile
from firstsight.pictures.find import EMPTY, GONE, NOT_UTF8, TWICE, File, key_of, list_pictures, pictures_in, walk
from tests.support.paintings import TINY

APART = unicodedata.normalize("NFD", "ö.png")  # a letter and its dots, as a Mac has it
TOGETHER = unicodedata.normalize("NFC", "ö.png")
PICTURES = [
    "images/emu/0.png",
    "images/emu/1.JPG",
    "images/emu/linked.png",  # to a file elsewhere
    f"images/jay/{APART}",
    "images/jay/über/1.png",
    "images/kite/2021/1.png",
    "images/kite/2021/2.TIFF",
    "images/kite/2022.png",  # before the folder, whose name ends in a slash in keys
    "images/kite/2022/deep/3.png",
    "images/owl/1.png",  # of a folder that is a link
    "images/owl/2.png",
    "images/owl/more/3.png",
]
PICTURES.sort(key=key_of)
BAD = {
    "images/emu/empty.png": EMPTY,
    "images/emu/gone.png": GONE,
    f"images/jay/{TOGETHER}": TWICE,
    "images/owl/more/empty.jpg": EMPTY,
}


def paint(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(os.fsencode(path)))
    Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)


def keep_names_apart(folder: Path) -> None:
    """Skip where the file system knows the two codings of a letter as one."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (APART, TOGETHER):
        (folder / name).touch()
    if len(list(folder.iterdir())) < 2:
        pytest.skip("this file system knows both names as one")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Nothing goes to the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRSTSIGHT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    """A data set with everything that a walk can come across; each picture can be used."""
    place = tmp_path_factory.mktemp("nasty")
    folder, elsewhere = place / "birds", place / "elsewhere"
    images = folder / "images"
    for path in PICTURES:
        paint(elsewhere / path.removeprefix("images/") if path.startswith("images/owl/") else folder / path)
    paint(elsewhere / "emu.png")
    (images / "emu" / "linked.png").unlink()
    (images / "emu" / "linked.png").symlink_to(elsewhere / "emu.png")
    (images / "owl").symlink_to(elsewhere / "owl", target_is_directory=True)
    (images / "a link to kite").symlink_to("kite", target_is_directory=True)  # entered by its own name
    (images / "jay" / "loop").symlink_to("..", target_is_directory=True)
    (images / "jay" / "up").symlink_to("../..", target_is_directory=True)
    (images / "jay" / "to itself").symlink_to("to itself")
    (images / "owl" / "once more").symlink_to(elsewhere / "owl" / "more", target_is_directory=True)
    for path in ("kite/@eaDir/1.png/THUMB.jpg", "__MACOSX/kite/1.png", ".git/1.png", "kite/.hidden.png", "owl/._1.png"):
        paint(images / path)
    for path in ("kite/Thumbs.db", "jay/desktop.ini", "jay/notes.txt", "emu/clip.gif"):
        (images / path).write_text("not a picture")
    rows = "kite,seen,1,0\nowl,seen,0,1\njay,seen,1,1\nemu,unseen,0.5,1\n"
    (folder / "classes.csv").write_text(f"class,split,tail,red\n{rows}")
    return folder


@pytest.fixture(scope="module")
def bad_birds(birds, tmp_path_factory):
    """The same with pictures that cannot be used."""
    folder = tmp_path_factory.mktemp("bad") / "birds"
    keep_names_apart(folder.parent / "names")
    shutil.copytree(birds, folder, symlinks=True)
    owl = folder / "images" / "owl"
    real = owl.resolve()
    owl.unlink()
    shutil.copytree(real, owl, ignore=shutil.ignore_patterns("once more"))
    for path, fault in BAD.items():
        if fault == GONE:
            (folder / path).symlink_to("nowhere.png")
        elif fault == TWICE:
            paint(folder / path)
        else:
            (folder / path).touch()
    return folder


@pytest.fixture(scope="module")
def made(birds, tmp_path_factory):
    """Features, a model that draws and a recogniser of the good pictures, made by the commands."""
    place = tmp_path_factory.mktemp("made")
    features, model, known = (place / f"{name}.safetensors" for name in ("features", "model", "known"))
    main(["features", str(birds), "--backbone", "random:resnet18", "--device", "cpu", "--out", str(features)])
    data = ["--data", str(birds), "--features", str(features)]
    main(["fit", "spaen-pictures", *data, *TINY, "--batch", "4", "--autoencoder-batch", "4", "--out", str(model)])
    main(["fit", "eszsl", *data, "--device", "cpu", "--out", str(place / "eszsl")])
    main(["recogniser", str(place / "eszsl"), *data, "--no-calibrate", "--out", str(known)])
    return features, model, known


def sources(text: str, folder: Path) -> list[str]:
    """What `predict --json` named, relative to the data set."""
    return [str(Path(json.loads(line)["source"]).relative_to(folder)) for line in text.splitlines()]


# every command on one folder


def test_features_and_loading_see_the_same_pictures(birds, made):
    assert list(FeatureFile.open(made[0]).files) == PICTURES
    lines = (birds / "splits.csv").read_text().splitlines()[1:]
    assert [line.rpartition(",")[0] for line in lines] == PICTURES


def test_data_check_sees_them(birds, made, run):
    code, out, _ = run("data", "check", birds, "--features", made[0], "--json")
    report = json.loads(out)
    assert (code, report["problems"]) == (0, [])
    assert report["pictures"]["files"] == report["counts"]["images"] == len(PICTURES)
    (left_out,) = (warning for warning in report["warnings"] if "left out" in warning)
    assert left_out.endswith("left out 5, the first 'images/emu/clip.gif'")  # two tables through the link `up`


def test_evaluate_and_bench_see_them(birds, made, run, tmp_path):
    words = ["--data", birds, "--features", made[0], "--no-calibrate", "--json"]
    assert run("evaluate", made[1], *words)[0] == 0
    assert run("bench", *words, "--methods", "eszsl", "--out", tmp_path)[0] == 0
    assert json.loads((tmp_path / "data" / "birds.json").read_text())["images"] == len(PICTURES)


def test_predict_sees_them(birds, made, run):
    for folder in (birds, birds / "images"):
        code, out, err = run("predict", made[2], folder, "--json")
        assert (code, err) == (0, "")
        assert sources(out, birds) == PICTURES


def test_reconstruct_sees_them(birds, made, run, tmp_path):
    code, out, err = run(
        "reconstruct", made[1], birds / "images", "--out-folder", tmp_path, "--json", "--device", "cpu"
    )
    assert (code, err) == (0, "")
    drawn = [str(Path(row["source"]).relative_to(birds)) for row in json.loads(out)["pictures"]]
    assert drawn == PICTURES


def test_a_backbone_of_fit_sees_them(birds, run, tmp_path):
    words = ["--data", birds, "--backbone", "compact", *TINY, "--batch", "4", "--autoencoder-batch", "4"]
    code, out, err = run("fit", "spaen-pictures", *words, "--out", tmp_path / "m")
    assert (code, err) == (0, "")
    assert out.startswith("spaen-pictures trained on 6 images of 3 classes")


# pictures that cannot be used


def test_loading_refuses_bad_pictures(bad_birds, made, run, tmp_path):
    total = len(PICTURES) + len(BAD)
    expected = [
        f"pictures must not be empty files; got 2 of {total}, the first 'images/emu/empty.png' in {bad_birds}; "
        "delete or replace them",
        f"pictures must be files that are there, named in UTF-8; got 1 of {total}, the first 'images/emu/gone.png' in "
        f"{bad_birds}; mend or delete what links to nothing",
        f"pictures must have names that differ in more than the coding of their letters; got 1 of {total}, the first "
        f"'images/jay/{TOGETHER}' in {bad_birds}; rename one of each two",
    ]
    code, out, _ = run("data", "check", bad_birds, "--json")
    problems = json.loads(out)["problems"]
    assert (code, problems[:3]) == (2, expected)
    data = ("--data", bad_birds, "--features", made[0])
    for words in (
        ("fit", "eszsl", *data, "--out", tmp_path / "m"),
        ("evaluate", made[1], *data),
        ("recogniser", made[1], *data, "--out", tmp_path / "r"),
        ("bench", *data, "--methods", "eszsl", "--out", tmp_path / "b"),
    ):
        assert run(*words) == (2, "", f"firstsight: {expected[0]}\n")


def test_features_refuses_or_skips_bad_pictures(bad_birds, run, tmp_path):
    words = ("features", bad_birds, "--backbone", "random:resnet18", "--device", "cpu", "--out", tmp_path / "f")
    assert run(*words) == (2, "", f"firstsight: images/emu/empty.png {EMPTY}\n")
    code, out, err = run(*words, "--skip-bad", "--json")
    assert (code, json.loads(out)["skipped"]) == (0, {path: f"{path} {fault}" for path, fault in BAD.items()})
    assert err == "".join(f"skipped: {path} {fault}\n" for path, fault in BAD.items())
    assert list(FeatureFile.open(tmp_path / "f", ".safetensors").files) == PICTURES


def test_predict_reports_bad_pictures_in_their_place(bad_birds, made, run):
    code, out, err = run("predict", made[2], bad_birds, "--json")
    assert (code, err) == (1, f"firstsight: {len(BAD)} of {len(PICTURES) + len(BAD)} pictures could not be read\n")
    assert sources(out, bad_birds) == [file.path for file in list_pictures(bad_birds).pictures]
    errors = {row["source"]: row["error"] for row in map(json.loads, out.splitlines()) if "error" in row}
    assert errors == {f"{bad_birds / path}": f"{bad_birds / path} {fault}" for path, fault in BAD.items()}


def test_reconstruct_refuses_or_skips_bad_pictures(bad_birds, made, run, tmp_path):
    words = ("reconstruct", made[1], bad_birds / "images", "--out-folder", tmp_path, "--device", "cpu")
    assert run(*words) == (2, "", f"firstsight: {bad_birds}/images/emu/empty.png {EMPTY}\n")
    code, out, _ = run(*words, "--skip-bad", "--json")
    document = json.loads(out)
    assert (code, len(document["pictures"])) == (0, len(PICTURES))
    assert document["skipped"] == {f"{bad_birds / path}": f"{bad_birds / path} {fault}" for path, fault in BAD.items()}


def test_names_in_another_coding(made, run, tmp_path):
    paint(tmp_path / "a.png")
    try:
        with open(os.fsencode(tmp_path) + b"/b\xf6.png", "wb") as file:
            file.write((tmp_path / "a.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    assert [file.fault for file in pictures_in(tmp_path)] == ["", NOT_UTF8]
    code, out, _ = run("predict", made[2], tmp_path, "--csv", "--top", "1")
    assert code == 1
    assert out.splitlines()[2].startswith(f"{tmp_path}/b\\udcf6.png,")


# the walk itself


def test_pictures_come_in_order_one_by_one(tmp_path):
    names = ["b.jpg", "a.PNG", "deep/er/c.webp", "deep/d.tiff", "deep.jpg", ".hidden.jpg", ".git/e.jpg", "notes.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    expected = ["a.PNG", "b.jpg", "deep.jpg", "deep/d.tiff", "deep/er/c.webp"]
    assert [file.path for file in pictures_in(tmp_path)] == sorted(expected) == expected
    coming = pictures_in(tmp_path)
    assert next(coming) == File("a.PNG")
    shutil.rmtree(tmp_path / "deep")  # which was not looked into yet
    assert [file.path for file in walk(tmp_path)] == ["a.PNG", "b.jpg", "deep.jpg", "notes.txt"]


def test_folders_whose_names_differ_in_coding_are_one(tmp_path):
    keep_names_apart(tmp_path / "names")
    for form, name in (("NFC", "2.jpg"), ("NFD", "1.jpg"), ("NFD", "3.jpg"), ("NFD", "2.jpg")):
        path = tmp_path / "images" / unicodedata.normalize(form, "ü") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    found = list_pictures(tmp_path)
    assert [key_of(file.path) for file in found.pictures] == ["ü/1.jpg", "ü/2.jpg", "ü/2.jpg", "ü/3.jpg"]
    assert [file.fault for file in found.pictures] == ["", "", TWICE, ""]
    assert len(found.paths) == 3


def test_links_alone(tmp_path):
    """A folder of nothing but links is a folder of pictures."""
    paint(tmp_path / "camera" / "a.png")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "camera").symlink_to("../camera", target_is_directory=True)
    assert [file.path for file in pictures_in(tmp_path / "linked")] == ["camera/a.png"]


def test_a_link_to_a_folder_that_is_passed_over(tmp_path):
    paint(tmp_path / ".store" / "kite" / "a.png")
    (tmp_path / "kite").symlink_to(tmp_path / ".store" / "kite", target_is_directory=True)
    (tmp_path / "more").symlink_to(tmp_path / ".store", target_is_directory=True)
    assert [file.path for file in pictures_in(tmp_path)] == ["kite/a.png"]


def test_a_folder_without_pictures(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    sentence = f"folder must hold pictures (.jpg, .jpeg, .png, .webp, .bmp, .tif, .tiff); got none in {tmp_path}"
    with pytest.raises(InputError) as caught:
        list(pictures_in(tmp_path))
    assert str(caught.value) == sentence


def test_a_folder_that_cannot_be_opened(tmp_path, monkeypatch):
    paint(tmp_path / "images" / "owl" / "1.png")
    scandir = os.scandir

    def closed(place):
        if str(place).endswith("owl"):
            raise PermissionError(13, "Permission denied")
        return scandir(place)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(InputError) as caught:
        list_pictures(tmp_path)
    assert str(caught.value) == f"{tmp_path}/images/owl must be a folder that can be opened; got Permission denied"

"""Archives that are harmless, broken or hostile."""

import io
import os
import shutil
import stat
import tarfile
import zipfile
from collections import namedtuple

import pytest

from firstsight.datasets.archives import unpack
from firstsight.errors import InputError

FILES = {"CUB/images/a b/größe.jpg": b"one", "CUB/classes.txt": b"two" * 1000, "CUB/empty": b"", "attributes.txt": b"3"}


@pytest.fixture
def place(tmp_path):
    """Where archives lie and are unpacked; what is outside of it must stay as it is."""
    (tmp_path / "outside.txt").write_text("precious")
    (tmp_path / "data").mkdir()
    yield tmp_path / "data"
    assert sorted(os.listdir(tmp_path)) == ["data", "outside.txt"]
    assert (tmp_path / "outside.txt").read_text() == "precious"
    assert not [name for name in os.listdir(tmp_path / "data") if name.startswith(".")]


def make_zip(path, files, modes=None):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (modes or {}).get(name, 0o100644) << 16
            archive.writestr(info, content)
    return path


def make_tar(path, entries, mode="w:gz"):
    """Entries are bytes, or functions that change a TarInfo."""
    with tarfile.open(path, mode) as archive:
        for name, entry in entries.items():
            info = tarfile.TarInfo(name)
            if callable(entry):
                entry(info)
                archive.addfile(info)
            else:
                info.size = len(entry)
                info.mode = 0o4777
                archive.addfile(info, io.BytesIO(entry))
    return path


def link(target, kind=tarfile.SYMTYPE):
    def change(info):
        info.type, info.linkname = kind, target

    return change


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tgz", "a.tar.bz2", "a.tar.xz"])
def test_whole_archives(kind, place):
    mode = {"a.tar": "w", "a.tgz": "w:gz", "a.tar.bz2": "w:bz2", "a.tar.xz": "w:xz"}.get(kind)
    archive = make_tar(place / kind, FILES, mode) if mode else make_zip(place / kind, FILES)
    stages = []
    assert unpack(archive, place, lambda *stage: stages.append(stage)) == ["CUB", "attributes.txt"]
    archive.unlink()
    assert contents(place) == FILES
    assert not (place / "CUB" / "classes.txt").stat().st_mode & (stat.S_ISUID | 0o111)
    assert {stage for stage, *_ in stages} == {f"unpack {kind}"}
    assert stages[-1][1] == stages[-1][2]


def test_folders_and_dots_in_names(place):
    def is_folder(info):
        info.type = tarfile.DIRTYPE

    archive = make_tar(place / "a.tar", {".": is_folder, "./": is_folder, "./CUB": is_folder, "./CUB/1.txt": b"1"}, "w")
    assert unpack(archive, place) == ["CUB"]
    assert (place / "CUB" / "1.txt").read_bytes() == b"1"


OUTSIDE = [
    "../outside.txt",
    "CUB/../../outside.txt",
    "/outside.txt",
    "C:\\outside.txt",
    "..\\outside.txt",
    "C:outside.txt",
]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_names_that_lead_out(name, make, place):
    archive = make(place / "a.bin", {"CUB/1.txt": b"1", name: b"evil"})
    with pytest.raises(InputError) as caught:
        unpack(archive, place)
    assert str(caught.value) == f"names in {archive} must stay in its folder; got {name!r}"
    assert os.listdir(place) == ["a.bin"]


def test_links_in_a_zip(place):
    archive = make_zip(place / "a.zip", {"CUB/link": b"../../outside.txt"}, {"CUB/link": 0o120777})
    with pytest.raises(InputError, match=r"^.*a.zip must hold no links; got 'CUB/link'$"):
        unpack(archive, place)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_within_a_tar_become_copies(kind, place):
    target = "1.txt" if kind == tarfile.SYMTYPE else "CUB/1.txt"
    archive = make_tar(place / "a.tgz", {"CUB/1.txt": b"1", "CUB/2.txt": link(target, kind), "CUB/3.txt": b"3"})
    unpack(archive, place)
    assert not (place / "CUB" / "2.txt").is_symlink()
    assert [(place / "CUB" / f"{number}.txt").read_bytes() for number in (1, 2, 3)] == [b"1", b"1", b"3"]


@pytest.mark.parametrize("target", ["../../outside.txt", "/etc/passwd", "nothing"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_out_of_a_tar(target, kind, place):
    archive = make_tar(place / "a.tgz", {"CUB/1.txt": b"1", "CUB/link": link(target, kind)})
    with pytest.raises(InputError) as caught:
        unpack(archive, place)
    assert str(caught.value) == f"links in {archive} must point into it; got 'CUB/link' to {target!r}"
    assert os.listdir(place) == ["a.tgz"]


def test_a_link_that_later_files_would_go_through(place):
    archive = make_tar(place / "a.tgz", {"CUB": link(".."), "CUB/outside.txt": b"evil"})
    with pytest.raises(InputError):
        unpack(archive, place)


def test_links_in_a_circle(place):
    archive = make_tar(place / "a.tgz", {"a": link("b"), "b": link("a")})
    with pytest.raises(InputError, match="must be a whole archive"):
        unpack(archive, place)


def test_devices(place):
    def fifo(info):
        info.type = tarfile.FIFOTYPE

    archive = make_tar(place / "a.tgz", {"CUB/pipe": fifo})
    with pytest.raises(InputError, match=r"must hold files, folders and links only; got 'CUB/pipe', a device$"):
        unpack(archive, place)


@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tgz"])
@pytest.mark.parametrize("share", [0.1, 0.6, 0.95])
def test_broken_archives(kind, share, place):
    files = FILES | {f"CUB/{number}.bin": os.urandom(5000) for number in range(20)}
    archive = (
        make_zip(place / kind, files)
        if kind == "a.zip"
        else make_tar(place / kind, files, "w" if kind == "a.tar" else "w:gz")
    )
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"a\.\w+ must be a whole .*archive; got .*; delete it"):
        unpack(archive, place)
    assert os.listdir(place) == [kind]


def test_damaged_bytes(place):
    archive = make_zip(place / "a.zip", {"CUB/1.bin": os.urandom(5000)})
    damaged = bytearray(archive.read_bytes())
    damaged[1000] ^= 255
    archive.write_bytes(damaged)
    with pytest.raises(InputError, match=r"must be a whole archive; got .*CRC"):
        unpack(archive, place)


def test_no_archive(place):
    (place / "a.zip").write_text("<html>")
    with pytest.raises(InputError, match=r"must be a whole .zip or .tar archive; got another kind of file; delete it$"):
        unpack(place / "a.zip", place)


def test_empty_archive(place):
    with pytest.raises(InputError, match=r"must hold files; got none$"):
        unpack(make_zip(place / "a.zip", {}), place)


def test_what_is_there_stays(place):
    (place / "CUB").mkdir()
    (place / "CUB" / "mine.txt").write_text("mine")
    archive = make_zip(place / "a.zip", FILES)
    with pytest.raises(InputError, match=r"must not hold 'CUB' yet to unpack a.zip; move it away$"):
        unpack(archive, place)
    archive.unlink()
    assert contents(place) == {"CUB/mine.txt": b"mine"}


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_full_disk(make, place, monkeypatch):
    usage = namedtuple("usage", "total used free")
    archive = make(place / "a.bin", {"CUB/1.bin": bytes(3_000_000)})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 0, 51_000_000))
    with pytest.raises(InputError, match=r"must have 53 MB free to unpack a.bin; got 51 MB$"):
        unpack(archive, place)


def test_ctrl_c_leaves_nothing(place):
    def interrupt(*_):
        raise KeyboardInterrupt

    archive = make_zip(place / "a.zip", FILES)
    with pytest.raises(KeyboardInterrupt):
        unpack(archive, place, interrupt)
    assert os.listdir(place) == ["a.zip"]

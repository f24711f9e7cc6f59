"""Public data sets from their servers to a folder; the servers are on this machine."""

import hashlib
import io
import json
import re
import zipfile

import pytest

from firstsight.datasets import fetch as module
from firstsight.datasets.download import Remote
from firstsight.datasets.fetch import SOURCES, Source, fetch
from firstsight.errors import InputError
from tests.datasets.test_folder import run
from tests.support.web import serving


def zipped(**files) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(f"{name}/file.txt"), content)
    return buffer.getvalue()


@pytest.fixture
def web(monkeypatch):
    """Serves a data set TOY of two archives; the checksum of the first is known."""
    with serving() as web:
        web.files |= {"one.zip": zipped(one="1"), "two.zip": zipped(two="2")}
        digest = hashlib.md5(web.files["one.zip"]).hexdigest()
        toy = Source(
            "toys",
            "1 kB",
            "https://example.org",
            (
                Remote("one.zip", (web.url("missing.zip"), web.url("one.zip")), f"md5:{digest}"),
                Remote("two.zip", (web.url("two.zip"),)),
            ),
        )
        monkeypatch.setitem(SOURCES, "TOY", toy)
        monkeypatch.setattr(module.time, "sleep", lambda _: None)
        yield web


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def test_fetch(web, tmp_path):
    folder, fetched = fetch("toy", tmp_path / "data")
    assert folder == tmp_path / "data" / "TOY"
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.txt")) == [
        "one/file.txt",
        "two/file.txt",
    ]
    assert not list(folder.glob("*.zip*"))
    assert [(one.name, one.sha256, one.is_known, one.is_new) for one in fetched] == [
        ("one.zip", sha256(web.files["one.zip"]), True, True),
        ("two.zip", sha256(web.files["two.zip"]), False, True),
    ]


def test_what_is_there_is_not_fetched_again(web, tmp_path):
    fetch("TOY", tmp_path)
    web.requests.clear()
    _, fetched = fetch("TOY", tmp_path)
    assert web.requests == []
    assert [one.is_new for one in fetched] == [False, False]


def test_the_first_checksum_is_kept(web, tmp_path):
    folder, _ = fetch("TOY", tmp_path)
    (folder / "two" / "file.txt").unlink()
    (folder / "two").rmdir()
    first, web.files["two.zip"] = web.files["two.zip"], zipped(two="changed")
    with pytest.raises(InputError, match=rf"instead of sha256:{sha256(first)} from"):
        fetch("TOY", tmp_path)
    web.files["two.zip"] = first
    assert [(one.is_known, one.is_new) for one in fetch("TOY", tmp_path)[1]] == [(True, False), (True, True)]


def test_an_archive_put_there_by_hand(web, tmp_path):
    (tmp_path / "TOY").mkdir()
    (tmp_path / "TOY" / "one.zip").write_bytes(web.files["one.zip"])
    fetch("TOY", tmp_path, keep=True)
    assert [path for path, _ in web.requests] == ["two.zip"]
    assert sorted(path.name for path in (tmp_path / "TOY").glob("*.zip")) == ["one.zip", "two.zip"]


def test_the_checksum_of_a_broken_archive_is_not_kept(web, tmp_path):
    right, web.files["two.zip"] = web.files["two.zip"], b"PK no archive"
    with pytest.raises(InputError, match=r"two.zip must be a whole .zip or .tar archive"):
        fetch("TOY", tmp_path)
    assert (tmp_path / "TOY" / "one" / "file.txt").exists()
    web.files["two.zip"] = right
    (tmp_path / "TOY" / "two.zip").unlink()
    assert [one.is_new for one in fetch("TOY", tmp_path)[1]] == [False, True]


def test_damaged_record(web, tmp_path):
    (tmp_path / "TOY").mkdir()
    (tmp_path / "TOY" / "fetched.json").write_text('{"one.zip": 3}')
    with pytest.raises(
        InputError, match=r"fetched.json must be what `data fetch` wrote; got a damaged file; delete it$"
    ):
        fetch("TOY", tmp_path)


def test_the_table():
    for name, source in SOURCES.items():
        assert source.what
        assert source.home.startswith("http")
        for remote in source.files:
            assert remote.urls
            assert re.fullmatch(r"[\w.-]+\.(zip|tgz|tar|tar\.gz)", remote.name)
            assert all(url.startswith("http") and url.endswith(f"/{remote.name}") for url in remote.urls), name
            assert remote.checksum is None or re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", remote.checksum)


def test_list_on_the_command_line(capsys):
    code, out, err = run(capsys, "data", "fetch")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["xlsa17", "CUB_200_2011", "AWA2", "SUN", "aPY"]
    _, out, _ = run(capsys, "data", "fetch", "--json")
    assert list(json.loads(out)["sources"]) == list(SOURCES)


def test_command_line(web, tmp_path, capsys):
    out = tmp_path / "data"
    code, text, err = run(capsys, "data", "fetch", "toy", "--out", out)
    one, two = (sha256(web.files[name]) for name in ("one.zip", "two.zip"))
    record = out / "TOY" / "fetched.json"
    assert (code, text, err) == (
        0,
        f"one.zip  sha256 {one} (checked)\n"
        f"two.zip  sha256 {two} (no checksum is published; kept in {record} for the next time)\n"
        f"The data set is at {out / 'TOY'}\n",
        "TOY: toys; its terms are at https://example.org\n",
    )
    code, text, _ = run(capsys, "data", "fetch", "TOY", "--out", out, "--json")
    assert json.loads(text)["files"][1] == {"name": "two.zip", "sha256": two, "is_known": True, "is_new": False}


def test_bad_names_on_the_command_line(capsys):
    assert run(capsys, "data", "fetch", "xlsa71") == (
        2,
        "",
        "firstsight: unknown data set 'xlsa71'; did you mean 'xlsa17'?\n",
    )
    assert run(capsys, "data", "fetch", "imagenet") == (
        2,
        "",
        "firstsight: unknown data set 'imagenet'; there are xlsa17, CUB_200_2011, AWA2, SUN, aPY\n",
    )


def test_ctrl_c_on_the_command_line(web, tmp_path, capsys, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "download", stopped)
    code, out, err = run(capsys, "data", "fetch", "TOY", "--out", tmp_path)
    assert (code, out) == (130, "")
    assert err.splitlines()[1:] == [
        f"stopped; what came is kept in {tmp_path / 'TOY'}; the same command goes on",
        "firstsight: stopped",
    ]

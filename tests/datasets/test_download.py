"""Downloads over connections that break, from servers that lie."""

import hashlib
import json
import shutil
from collections import namedtuple

import numpy as np
import pytest

from firstsight.datasets import download as module
from firstsight.datasets.download import Remote, download
from firstsight.errors import InputError
from tests.support.web import serving

BODY = np.random.default_rng(0).bytes(3_000_000)
OTHER = np.random.default_rng(1).bytes(3_000_000)
SHA256, MD5 = hashlib.sha256(BODY).hexdigest(), hashlib.md5(BODY).hexdigest()


@pytest.fixture
def web():
    with serving() as web:
        web.files["a.zip"] = BODY
        yield web


@pytest.fixture
def get(web, tmp_path):
    """Downloads `a.zip` from paths of the server; `get.pauses` are the seconds that it wanted to wait."""

    def get(*paths, progress=None, **known):
        remote = Remote("a.zip", tuple(map(web.url, paths or ("a.zip",))), **known)
        return download(remote, tmp_path / "data", progress, pauses.append)

    get.pauses = pauses = []
    return get


def there(tmp_path):
    return sorted(path.name for path in (tmp_path / "data").iterdir())


def fails(get, sentence, *paths, **known):
    with pytest.raises(InputError) as caught:
        get(*paths, **known)
    assert str(caught.value) == sentence


def test_whole_file(web, get, tmp_path):
    stages = {}

    def progress(stage, done, total):
        assert 0 <= stages.get(stage, 0) <= done <= total
        stages[stage] = done

    assert get(progress=progress) == SHA256
    assert there(tmp_path) == ["a.zip"]
    assert (tmp_path / "data" / "a.zip").read_bytes() == BODY
    assert stages == {"a.zip, MB": 3, "check a.zip, MB": 3}
    assert web.ranges() == [None]
    assert get.pauses == []


@pytest.mark.parametrize("known", [{}, {"checksum": f"sha256:{SHA256}"}, {"checksum": f"md5:{MD5}", "size": len(BODY)}])
def test_a_connection_that_breaks_is_taken_up(known, web, get, tmp_path):
    web.script["a.zip"] = ["cut", "cut", "ok"]
    assert get(**known) == SHA256
    assert (tmp_path / "data" / "a.zip").read_bytes() == BODY
    assert web.ranges() == [None, "bytes=1500000-", "bytes=2250000-"]
    assert web.requests[1][1]["If-Range"] == f'"{MD5}"'
    assert get.pauses == [1, 1]  # bytes came, so the wait does not grow


def test_many_breaks_do_not_end_it(web, get):
    web.script["a.zip"] = ["cut"] * 12 + ["ok"]
    assert get() == SHA256


def test_a_server_without_ranges_starts_again(web, get, tmp_path):
    web.script["a.zip"] = ["cut", "no ranges"]
    assert get() == SHA256
    assert (tmp_path / "data" / "a.zip").read_bytes() == BODY


def test_a_server_that_fails_for_good(web, get, tmp_path):
    web.script["a.zip"] = ["cut", 500]
    part = tmp_path / "data" / "a.zip.part"
    fails(
        get,
        f"a.zip must be on one of its servers; got HTTP 500 from {web.url('a.zip')}; what came is kept in {part}; "
        f"try again later, or put the file into {tmp_path / 'data'}",
    )
    assert part.read_bytes() == BODY[:1_500_000]
    assert get.pauses == [1, 2, 4, 8, 16]
    web.script.clear()
    assert get() == SHA256
    assert web.ranges()[-1] == "bytes=1500000-"


def interrupt(stage, done, total):
    if done:
        raise KeyboardInterrupt


def test_ctrl_c_keeps_what_came(web, get, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        get(progress=interrupt)
    assert there(tmp_path) == ["a.zip.part", "a.zip.part.json"]
    size = (tmp_path / "data" / "a.zip.part").stat().st_size
    assert 1_000_000 <= size < 3_000_000
    assert get() == SHA256
    assert web.ranges() == [None, f"bytes={size}-"]
    assert there(tmp_path) == ["a.zip"]


def test_a_file_that_changed_is_fetched_anew(web, get, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        get(progress=interrupt)
    web.files["a.zip"] = OTHER
    assert get() == hashlib.sha256(OTHER).hexdigest()
    assert (tmp_path / "data" / "a.zip").read_bytes() == OTHER


def test_a_part_that_nothing_vouches_for_is_not_continued(web, get):
    web.has_etags = False
    with pytest.raises(KeyboardInterrupt):
        get(progress=interrupt)
    web.files["a.zip"] = OTHER
    assert get() == hashlib.sha256(OTHER).hexdigest()
    assert web.ranges() == [None, None]


def test_a_part_without_its_notes_is_not_continued(web, get, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        get(progress=interrupt)
    (tmp_path / "data" / "a.zip.part.json").write_text("[")
    web.files["a.zip"] = OTHER
    assert get() == hashlib.sha256(OTHER).hexdigest()


def test_a_checksum_vouches_for_a_part(web, get):
    web.has_etags = False
    web.script["a.zip"] = ["cut", "ok"]
    assert get(checksum=f"sha256:{SHA256}") == SHA256
    assert web.ranges() == [None, "bytes=1500000-"]
    assert "If-Range" not in web.requests[1][1]


def test_a_part_of_something_else_is_thrown_away(web, get, tmp_path):
    """The first half is of another file: the checksum says so, and the second try starts from nothing."""
    web.has_etags = False
    web.files["a.zip"] = OTHER
    web.script["a.zip"] = ["cut", 500]
    with pytest.raises(InputError):
        get(checksum=f"sha256:{SHA256}")
    web.files["a.zip"] = BODY
    web.script.clear()
    assert get(checksum=f"sha256:{SHA256}") == SHA256
    assert web.ranges()[-2:] == ["bytes=1500000-", None]


def test_a_part_of_a_longer_file(web, get, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        get(progress=interrupt, checksum=f"sha256:{hashlib.sha256(b'short').hexdigest()}")
    web.has_etags = False
    web.files["a.zip"] = b"short"
    assert get(checksum=f"sha256:{hashlib.sha256(b'short').hexdigest()}")
    assert (tmp_path / "data" / "a.zip").read_bytes() == b"short"


@pytest.mark.parametrize("step", ["other range"])
def test_another_range_than_asked_for(step, web, get, tmp_path):
    web.script["a.zip"] = ["cut", step, "ok"]
    assert get() == SHA256
    assert (tmp_path / "data" / "a.zip").read_bytes() == BODY


def test_mirrors_in_turn(web, get):
    web.files["mirror/a.zip"] = BODY
    web.script["a.zip"] = [404]
    assert get("a.zip", "mirror/a.zip") == SHA256
    assert [path for path, _ in web.requests] == ["a.zip", "mirror/a.zip"]
    assert get.pauses == []


def test_a_mirror_continues_only_with_a_checksum(web, get, tmp_path):
    web.files["mirror/a.zip"] = BODY
    web.script["a.zip"] = ["cut", 404]
    assert get("a.zip", "mirror/a.zip") == SHA256
    assert web.ranges() == [None, None]
    (tmp_path / "data" / "a.zip").unlink()
    web.requests.clear()
    assert get("a.zip", "mirror/a.zip", checksum=f"sha256:{SHA256}") == SHA256
    assert web.ranges() == [None, "bytes=1500000-"]


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_servers_that_recover(status, web, get):
    web.script["a.zip"] = [status, status, "ok"]
    assert get() == SHA256
    assert get.pauses == [2, 4]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_servers_that_do_not_have_it(status, web, get, tmp_path):
    web.script["a.zip"] = [status]
    fails(
        get,
        f"a.zip must be on one of its servers; got HTTP {status} from {web.url('a.zip')}; "
        f"try again later, or put the file into {tmp_path / 'data'}",
    )
    assert len(web.requests) == 1


def test_a_log_in_page_is_not_the_file(web, get, tmp_path):
    web.script["a.zip"] = ["page"]
    with pytest.raises(InputError, match="got a web page from"):
        get()
    assert there(tmp_path) == []


def test_nobody_listens(tmp_path):
    with serving() as web:
        url = web.url("a.zip")
    pauses = []
    with pytest.raises(InputError, match=r"^a.zip must be on one of its servers; got .*Connection refused.* from http"):
        download(Remote("a.zip", (url,)), tmp_path, pause=pauses.append)
    assert pauses == [2, 4, 8, 16]


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_wrong_checksum(kind, web, get, tmp_path):
    right, wrong = (f"{kind}:{getattr(hashlib, kind)(body).hexdigest()}" for body in (BODY, OTHER))
    web.files["mirror/a.zip"] = BODY
    web.files["a.zip"] = OTHER
    assert get("a.zip", "mirror/a.zip", checksum=right) == SHA256
    (tmp_path / "data" / "a.zip").unlink()
    fails(
        get,
        f"a.zip must be on one of its servers; got a file with the checksum {wrong} instead of {right} from "
        f"{web.url('a.zip')}; try again later, or put the file into {tmp_path / 'data'}",
        checksum=right,
    )
    assert there(tmp_path) == []


def test_wrong_size(web, get, tmp_path):
    """A server that offers less than the file is known to have, whatever its Content-Length."""
    fails(
        get,
        f"a.zip must be on one of its servers; got a file of 3,000,000 bytes instead of 4,000,000 from "
        f"{web.url('a.zip')}; try again later, or put the file into {tmp_path / 'data'}",
        size=4_000_000,
    )
    assert there(tmp_path) == []


def test_no_word_of_the_size(web, get, tmp_path):
    web.script["a.zip"] = ["no length"]
    assert get() == SHA256
    (tmp_path / "data" / "a.zip").unlink()
    with pytest.raises(InputError, match="got a file of another size than the part from"):
        get(size=4_000_000)


def test_full_disk(web, get, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 0, 52_000_000))
    fails(get, f"{tmp_path / 'data'} must have 53 MB free for a.zip; got 52 MB")
    assert there(tmp_path) == []


def test_a_disk_that_fills_up_on_the_way(web, get, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.zip.part").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"a.zip.part must be a place to write to; got No space left on device$"):
        get()


def test_what_is_there_is_checked(web, get, tmp_path):
    get()
    web.requests.clear()
    assert get() == get(checksum=f"md5:{MD5}", size=len(BODY)) == SHA256
    assert web.requests == []
    path = tmp_path / "data" / "a.zip"
    fails(get, f"{path} must have 5 bytes; got 3,000,000; delete it to fetch it again", size=5)
    wrong = f"md5:{'0' * 32}"
    fails(get, f"{path} must have the checksum {wrong}; got md5:{MD5}; delete it to fetch it again", checksum=wrong)
    assert path.read_bytes() == BODY


def test_notes_of_a_part(web, get, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        get(progress=interrupt)
    notes = json.loads((tmp_path / "data" / "a.zip.part.json").read_text())
    assert notes == {"url": web.url("a.zip"), "validator": f'"{MD5}"', "total": 3_000_000}
    assert module.MEGABYTE == 1_000_000

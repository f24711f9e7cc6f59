import os
import stat

import pytest

from firstsight.errors import InputError
from firstsight.files import file_name, replacing, write_text


def test_the_new_file_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "folder" / "file.txt"
    write_text(path, "old")
    write_text(path, "new, ä")
    assert path.read_text(encoding="utf-8") == "new, ä"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o077, 0o600)])
def test_permissions_are_those_of_any_new_file(mask, expected, tmp_path):
    before = os.umask(mask)
    try:
        with replacing(tmp_path / "file") as unfinished:
            unfinished.write_bytes(b"")
            unfinished.chmod(0o600)
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == expected


def test_a_failure_leaves_the_old_file(tmp_path):
    write_text(tmp_path / "file", "old")

    def interrupted():
        with replacing(tmp_path / "file") as unfinished:
            unfinished.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "file").read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_what_the_system_says_is_in_the_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError) as caught:
        write_text(tmp_path / "file" / "inside", "text")
    assert str(caught.value).startswith(f"{tmp_path / 'file' / 'inside'} must be a place to write to; got ")


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("birds",), "birds"),
        (("birds", "eszsl", "0"), "birds-eszsl-0"),
        (("my birds/2024", "spaen-pictures"), "my_birds_2024-spaen_pictures"),
        (("v1.2_a",), "v1.2_a"),
    ],
)
def test_a_name_of_a_file_from_names_of_a_user(parts, expected):
    assert file_name(*parts) == expected

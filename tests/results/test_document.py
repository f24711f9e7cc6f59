"""Documents and dataclasses: what is written is read back, and what does not fit is named."""

import json
from dataclasses import dataclass, field

import pytest

from firstsight.errors import InputError
from firstsight.results.document import OMITTED, MisfitError, Record, check_even, document, parsed


@dataclass(frozen=True)
class Inner:
    name: str
    for_: list[tuple[str, float]] = field(default_factory=list)
    note: str | None = field(default=None, metadata=OMITTED)


@dataclass(frozen=True)
class Outer(Record):
    count: int
    share: float | None
    inner: Inner
    by_name: dict[str, list[Inner]] = field(default_factory=dict)
    flags: list[bool] = field(default_factory=list)
    table: list[list[float | None]] = field(default_factory=list)
    settings: dict[str, object] | None = None
    seed: int = 0

    def __post_init__(self):
        check_even(flags=self.flags, table=self.table)


GIVEN = Outer(3, None, Inner("a", [("x", 1.5), ("y", 2)]), {"k": [Inner("b", note="c")]}, [True], [[1, None]])
WRITTEN = {
    "count": 3,
    "share": None,
    "inner": {"name": "a", "for": [["x", 1.5], ["y", 2]]},
    "by_name": {"k": [{"name": "b", "for": [], "note": "c"}]},
    "flags": [True],
    "table": [[1, None]],
    "settings": None,
    "seed": 0,
}


def test_there_and_back(tmp_path):
    assert document(GIVEN) == GIVEN.document() == WRITTEN
    assert parsed(Outer, WRITTEN) == GIVEN
    GIVEN.write(tmp_path / "runs" / "a.json")
    assert json.loads((tmp_path / "runs" / "a.json").read_text()) == WRITTEN
    assert Outer.read(tmp_path / "runs" / "a.json") == GIVEN


def test_missing_null_and_unknown_entries():
    short = parsed(Outer, {"count": 1, "inner": {"name": "a", "for": None}, "seed": None, "surprise": [1]})
    assert short == Outer(1, None, Inner("a"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"count": None}, "a whole number as 'count'; got nothing"),
        ({"count": 1.5}, "a whole number as 'count'; got float"),
        ({"count": True}, "a whole number as 'count'; got bool"),
        ({"share": "1"}, "a number as 'share'; got str"),
        ({"share": False}, "a number as 'share'; got bool"),
        ({"inner": [1]}, "an object as 'inner'; got list"),
        ({"inner": {}}, "text as 'inner.name'; got nothing"),
        ({"inner": {"name": "a", "for": [["x"]]}}, "2 entries as 'inner.for[0]'; got 1"),
        ({"inner": {"name": "a", "for": [["x", "y"]]}}, "a number as 'inner.for[0][1]'; got str"),
        ({"by_name": {"k": [{"name": 2}]}}, "text as 'by_name.k[0].name'; got int"),
        ({"flags": [True, 1]}, "true or false as 'flags[1]'; got int"),
        ({"table": [[1, "x"]]}, "a number as 'table[0][1]'; got str"),
        ({"flags": [True, False]}, "lists of equal length; got 2 flags, 1 table"),
    ],
)
def test_what_does_not_fit_is_named(changes, sentence):
    with pytest.raises(MisfitError) as caught:
        parsed(Outer, WRITTEN | changes)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[1]", "data/a.json must have an object; got list; delete it and run the experiment again"),
        ("{", "data/a.json must be valid JSON; got Expecting"),
        ("[" * 100_000, "data/a.json must be valid JSON; got "),
        ('{"count": 1, "inner": {"name": NaN}}', "data/a.json must have text as 'inner.name'; got nothing; delete it"),
        (None, "data/a.json must be a file that can be read; got No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_read(text, sentence, tmp_path):
    path = tmp_path / "data" / "a.json"
    path.parent.mkdir()
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError) as caught:
        Outer.read(path)
    assert str(caught.value).startswith(sentence)


def test_infinity_is_no_number(tmp_path):
    (tmp_path / "a.json").write_text('{"count": 1, "share": 1e999, "inner": {"name": "a"}, "table": [[-Infinity]]}')
    found = Outer.read(tmp_path / "a.json")
    assert found.share is None
    assert found.table == [[None]]

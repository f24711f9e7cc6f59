"""The records of a results folder. `older/` was written before runs were dataclasses, by `bench` on a tiny data set."""

import json
from pathlib import Path

import numpy as np
import pytest

from firstsight.analysis import analyse
from firstsight.bench.bench import Bench, make_method
from firstsight.errors import InputError
from firstsight.progress import Display
from firstsight.report import write_report
from firstsight.results.analyses import Analyses
from firstsight.results.document import MisfitError, document, parsed
from firstsight.results.numbers import METRICS
from firstsight.results.records import DataRecord, PicturesRecord, Results, RunRecord
from tests.support.tiny import FAST, tiny_dataset

OLDER = Path(__file__).with_name("older")
KINDS = {"runs": RunRecord, "data": DataRecord, "pictures": PicturesRecord}


def older_data():
    """The data set of `older/`."""
    pictures = list(np.random.default_rng(0).integers(0, 256, (56, 4, 4, 3), dtype=np.uint8))
    return tiny_dataset(n_seen=4, n_unseen=3, per_class=8, noise=1.0, pictures=pictures)


@pytest.mark.parametrize("path", sorted(OLDER.glob("*/*.json")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_older_files_are_read_and_written_alike(path, tmp_path):
    KINDS[path.parent.name].read(path).write(tmp_path / path.name)
    assert (tmp_path / path.name).read_text(encoding="utf-8") == path.read_text(encoding="utf-8")


def test_an_older_folder():
    results = Results.read(OLDER)
    assert [run.method for run in results.finished] == ["ale", "eszsl"]
    assert [(run.method, run.error, run.h) for run in results.failed] == [
        ("conse", "ZeroDivisionError: division by zero", None)
    ]
    run = results.finished[1]
    assert {key: run.number(key) is not None for key in METRICS} == dict.fromkeys(METRICS, True)
    assert run.analyses.hubness.uu.k == [1, 10]
    name, weight = run.explained[0].for_[0]
    assert name.startswith("attribute ")
    assert weight > 0
    assert results.data["tiny"].projection.class_ == list(range(7))
    assert results.pictures["tiny"].explained[0].method == "ale"


def test_an_older_folder_has_a_report(tmp_path):
    page = write_report(OLDER, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "ESZSL" in page
    assert "CONSE on tiny, seed 0 (settings from defaults): <code>ZeroDivisionError" in page


def test_bench_writes_what_it_wrote(tmp_path):
    """The same keys in the same order, but for the title, and the same numbers."""
    methods = {"eszsl": make_method("eszsl", scaling="l2"), "ale": make_method("ale", **FAST["ale"])}
    Bench([older_data()], methods, [0]).run(tmp_path, Display())
    for path in (*OLDER.glob("runs/*-[ae]*.json"), *OLDER.glob("data/*.json")):
        old, new = (json.loads(one.read_text()) for one in (path, tmp_path / path.relative_to(OLDER)))
        new.pop("title", None)
        assert shape(new) == shape(old)
        for key in {*METRICS, "temperature"} & old.keys():
            assert new[key] == pytest.approx(old[key], rel=1e-4), key
        assert new["fingerprint"] == old["fingerprint"]
    old, new = (json.loads((folder / "pictures" / "tiny.json").read_text()) for folder in (OLDER, tmp_path))
    assert shape(new) == shape(old)
    assert [one["picture"] for one in new["samples"]] == [one["picture"] for one in old["samples"]]


def shape(value):
    """Keys in their order, all the way down, with the types of the values; lists by their first entry."""
    if isinstance(value, dict):
        return [(key, shape(entry)) for key, entry in value.items()]
    return [shape(value[0])] if isinstance(value, list) and value else type(value)


def test_a_bench_goes_on_in_an_older_folder(tmp_path):
    for path in OLDER.glob("*/*.json"):
        (tmp_path / path.parent.name).mkdir(exist_ok=True)
        (tmp_path / path.parent.name / path.name).write_bytes(path.read_bytes())
    methods = {"eszsl": make_method("eszsl", scaling="l2"), "sae": make_method("sae")}
    kept, made = Bench([older_data()], methods, [0]).run(tmp_path, Display())
    assert (kept.title, made.title) == (None, "SAE")
    assert kept == RunRecord.read(OLDER / "runs" / "tiny-eszsl-0.json")


def test_a_run_that_failed_has_no_numbers(tmp_path):
    RunRecord(data="d", method="m", error="out of memory", settings={"lam": 1.0}).write(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "data": "d",
        "method": "m",
        "seed": 0,
        "error": "out of memory",
        "settings": {"lam": 1.0},
    }


def test_analyses_are_those_that_files_hold():
    rng = np.random.default_rng(0)
    data = tiny_dataset()
    is_seen = data.is_seen
    labels = np.repeat(np.arange(9), 5)
    for known in ((0.3, 0.8), (None, None)):
        found = analyse(rng.normal(size=(45, 9)), labels, is_seen, data.classes, *known)
        assert parsed(Analyses, json.loads(json.dumps(document(found)))) == found
    broken = document(analyse(rng.normal(size=(45, 9)), labels, is_seen, data.classes, 0.3, 0.8))
    broken["reject"]["curve"]["risk"][3] = "x"
    with pytest.raises(MisfitError, match=r"^a number as 'reject\.curve\.risk\[3\]'; got str$"):
        parsed(Analyses, broken)


def test_images_must_be_text(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"data": "d", "method": "m", "images": {"lead": "", "right": None}}))
    with pytest.raises(InputError, match=r"/a\.json must have text as 'images\.right'; got nothing; delete it"):
        RunRecord.read(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("curve", "got"),
    [
        ({"gamma": [0.5], "u": [1, 2], "s": None}, "a list as 'curve.s'; got nothing"),
        ({"gamma": [0.5], "u": [1, 2]}, "a list as 'curve.s'; got nothing"),
        ({"gamma": [0.5], "u": [1, 2], "s": []}, "lists of equal length; got 2 u, 0 s"),
    ],
)
def test_a_curve_has_both_lists(curve, got, tmp_path):
    path = tmp_path / "runs" / "a.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"data": "a", "method": "eszsl", "curve": curve}))
    with pytest.raises(InputError) as caught:
        RunRecord.read(path)
    assert str(caught.value) == f"runs/a.json must have {got}; delete it and run the experiment again"

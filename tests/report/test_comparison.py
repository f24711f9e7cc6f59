"""What the report says of intervals and of who is better: never more than the test images and the seeds allow."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from firstsight.errors import InputError
from firstsight.report import comparison, tables, write_report
from firstsight.results.bootstrap import Images, bootstrap, enough_resamples, interval
from firstsight.results.records import DataRecord, RunRecord
from tests.support.synthetic import synthetic_results

SMALL = {"n_seen": 12, "n_unseen": 8, "per_class": (20, 30)}


def groups_of(folder):
    """Rows and standing of the folder's only data set."""
    runs = [RunRecord.read(path) for path in sorted((folder / "runs").glob("*.json"))]
    (about,) = map(DataRecord.read, (folder / "data").glob("*.json"))
    rows = tables.method_rows(runs)
    return runs, about, rows, comparison.assess(rows, about)


def test_intervals_are_those_of_the_bootstrap(tmp_path):
    methods = ["spaen", "eszsl"]
    runs, about, rows, standing = groups_of(synthetic_results(tmp_path, methods=methods, seeds=range(2), **SMALL))
    seeds = {
        method: [(Images.decode(run, about), run.gamma) for run in runs if run.method == method] for method in methods
    }
    drawn = bootstrap(seeds, enough_resamples(2))
    for method in methods:
        for metric in ("t1", "h_cal", "ausuc"):
            assert standing.interval(method, metric) == interval(drawn[method][metric])
    assert {row.method for row in rows} == set(standing.intervals)
    first, other = rows
    (compared,) = standing.comparisons["h_cal"]
    assert compared.difference == first.stats["h_cal"].mean - other.stats["h_cal"].mean


def test_better_needs_a_test(tmp_path):
    folder = synthetic_results(tmp_path / "r", methods=["sync", "iap"], seeds=[0], **SMALL)
    for path in (folder / "runs").glob("*iap*"):  # far below: its unseen images are all taken for seen ones
        run = RunRecord.read(path)
        about = DataRecord.read(folder / "data" / "CUB.json")
        images = Images.decode(run, about)
        worse = Images(images.lead + 9, images.right, images.labels, images.is_seen)
        replace(run, images=Images.encode(worse.lead, worse.right), **worse.metrics(run.gamma)).write(path)
    _, _, rows, standing = groups_of(folder)
    verdict = comparison.verdict({"CUB": rows}, {"CUB": standing})
    assert verdict.startswith("SYNC is better than IAP on CUB (calibrated H\N{NO-BREAK SPACE}")
    words = " ".join(re.sub(r"<[^>]*>", " ", write_report(folder, tmp_path / "r.html").read_text()).split())
    assert "clearly below" in words
    assert comparison.verdict({"CUB": rows}, {}).startswith("SYNC has the highest calibrated H, which was not tested,")


def test_equal_methods_are_not_told_apart(tmp_path):
    folder = synthetic_results(tmp_path, methods=["ale"], seeds=[0], **SMALL)
    twin = json.loads((folder / "runs" / "CUB-ale-0.json").read_text()) | {"method": "sje"}
    (folder / "runs" / "CUB-sje-0.json").write_text(json.dumps(twin))
    _, _, rows, standing = groups_of(folder)
    (compared,) = standing.comparisons["h_cal"]
    assert (compared.difference, compared.p, compared.corrected) == (0, 1, 1)
    verdict = comparison.verdict({"CUB": rows}, {"CUB": standing})
    assert verdict.startswith("There is no clear difference between ALE and SJE on CUB (")
    said = {one.metric.name: (one.name, one.close) for one in comparison.leaders(rows, standing)}
    assert said["T1"] == ("ALE", ["SJE"])


def rows_and_standing(heights, corrected):
    """Two methods with these calibrated H over seeds, and a test with this corrected p."""
    runs = [
        RunRecord(data="mine", method=method, seed=seed, h_cal=h)
        for method, own in heights.items()
        for seed, h in enumerate(own)
    ]
    rows = tables.method_rows(runs)
    compared = comparison.Comparison(rows[0].method, rows[1].method, 5.0, 4.0, 6.0, 0.001, corrected)
    return rows, comparison.Standing(1000, {}, {"h_cal": [compared]})


@pytest.mark.parametrize(
    ("heights", "corrected", "is_clear"),
    [
        ({"a": (50.0, 51.0), "b": (40.0, 41.0)}, 0.01, True),
        ({"a": (50.0, 51.0), "b": (40.0, 41.0)}, 0.05, False),  # the test images do not allow it
        ({"a": (45.0, 56.0), "b": (40.0, 51.0)}, 0.01, False),  # the seeds do not
        ({"a": (50.0, 51.0), "b": (40.0,)}, 0.01, True),  # one seed: nothing is known against it
    ],
)
def test_better_needs_both_test_images_and_seeds(heights, corrected, is_clear):
    rows, standing = rows_and_standing(heights, corrected)
    (rival,) = comparison.rivals(rows, standing, "h_cal")
    assert rival.is_clear is is_clear
    said = comparison.verdict({"mine": rows}, {"mine": standing})
    assert ("better" in said) is is_clear
    assert comparison.marks(rows, standing).get(("b", "h_cal")) == (None if is_clear else "tied")
    assert comparison.marks(rows, standing)["a", "h_cal"] == "best"


def test_a_method_without_records_is_not_tested(tmp_path):
    folder = synthetic_results(tmp_path, methods=["spaen", "sae", "iap"], seeds=[0], **SMALL)
    path = folder / "runs" / "CUB-sae-0.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"images": None}))
    _, _, rows, standing = groups_of(folder)
    reasons = {one.name: one.reason for one in comparison.rivals(rows, standing, "h_cal")}
    assert reasons["SAE"] == "not tested: no per-image record"
    assert reasons["IAP"] != reasons["SAE"]
    assert standing.interval("sae", "h_cal") is None
    assert ("sae", "h_cal") not in comparison.marks(rows, standing)


def test_t1_that_a_method_does_not_have_gets_no_interval(tmp_path):
    _, _, _, standing = groups_of(synthetic_results(tmp_path, methods=["cmt_star", "sae"], seeds=[0], **SMALL))
    assert standing.interval("cmt_star", "t1") is None
    assert standing.interval("cmt_star", "u") is not None
    assert standing.comparisons["t1"] == []


def test_records_that_do_not_give_the_numbers_are_named(tmp_path):
    folder = synthetic_results(tmp_path, methods=["sae"], seeds=[3], **SMALL)
    path = next((folder / "runs").glob("*.json"))
    run = json.loads(path.read_text())
    path.write_text(json.dumps(run | {"u": run["u"] + 9}))
    sentence = (
        rf"^sae on CUB, seed 3: images must give the u of the run, {run['u'] + 9:.1f}; got {run['u']:.1f}; run the"
    )
    with pytest.raises(InputError, match=sentence):
        groups_of(folder)
    path.write_text(json.dumps(run | {"images": {"lead": "", "right": ""}}))
    with pytest.raises(InputError, match=r"^sae on CUB, seed 3: images\.lead must hold 1920 bytes .*; got 0"):
        groups_of(folder)


def test_intervals_stand_in_the_table(tmp_path):
    folder = synthetic_results(tmp_path / "r", methods=["spaen", "sae"], seeds=range(2), **SMALL)
    standing = groups_of(folder)[-1]
    page = write_report(folder, tmp_path / "r.html").read_text(encoding="utf-8")
    low, high = standing.interval("sae", "h_cal")
    assert page.count(f"[{low:.1f}, {high:.1f}]") >= 2  # in the table and in the drawing
    assert np.isfinite([low, high]).all()

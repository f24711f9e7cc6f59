"""The report: numbers on the page, one file that asks nothing of the network, sentences for what cannot be read."""

import base64
import json
import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from firstsight.errors import InputError
from firstsight.report import charts, curves, names, tables, write_report
from firstsight.results.records import RunRecord
from tests.support.synthetic import synthetic_results

HOSTILE = '"><script>alert(1)</script>'
METRICS = {"t1": 50.0, "u": 20.0, "s": 60.0, "h": 30.0, "ausuc": 0.3, "ausuc_per_sample": 0.25}
CALIBRATED = {"gamma": 0.125, "u_cal": 45.0, "s_cal": 50.0}


def a_run(data="CUB", method="spaen", seed=0, h_cal=47.4, **changes):
    classes = [
        {"name": name, "seen": seen, "images": 30, "accuracy": 40.0, "accuracy_calibrated": 62.0, "t1": None}
        for name, seen in (("001.Black_footed_Albatross", True), ("004.Groove_billed_Ani", False), (HOSTILE, False))
    ]
    curve = {"gamma": [0.1, 0.2, 0.3], "u": [0.0, 20.0, 45.0, 55.0], "s": [66.0, 60.0, 50.0, 0.0]}
    run = {"data": data, "method": method, "seed": seed, **METRICS, **CALIBRATED, "h_cal": h_cal}
    run |= {"settings": {"beta": 0.05, "seed": seed}, "seconds_fit": 61.0, "seconds_score": 1.0, "device": "cpu"}
    return run | {"versions": {"torch": "2.7.1"}, "classes": classes, "curve": curve} | changes


def a_folder(path, runs, about=(), pictures=()):
    for kind, records in (("runs", runs), ("data", about), ("pictures", pictures)):
        (path / kind).mkdir(parents=True)
        for number, record in enumerate(records):
            (path / kind / f"{number}.json").write_text(json.dumps(record))
    return path


def a_picture(color, kind="PNG"):
    buffer = BytesIO()
    Image.fromarray(np.full((8, 8, 3), color, dtype=np.uint8)).save(buffer, kind)
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.fixture
def results(tmp_path):
    """Two data sets, SP-AEN clearly ahead on CUB and not on the atlas, one run failed."""
    runs = [a_run(seed=seed, h_cal=47.0 + seed) for seed in range(3)]
    runs += [a_run(method="eszsl", seed=seed, h_cal=40.0, u=12.0) for seed in range(3)]
    runs += [a_run("atlas", seed=seed, h_cal=60.0 + 4 * seed) for seed in range(3)]
    runs += [a_run("atlas", "eszsl", seed, h_cal=61.0) for seed in range(3)]
    runs.append({"data": "atlas", "method": "spaen:cls-only", "seed": 1, "error": "out of memory"})
    variance = {"attributes": ["has_bill::red", HOSTILE, "c", "d"], "trainval": [0.1, 0.3, 0.2, 0.4], "cosine": 0.9575}
    about = [
        {"name": "CUB", "images": 11788, "classes": 200, "seen": 150, "unseen": 50, "fingerprint": "9f3c2b7e"}
        | {"variance": variance | {"test_unseen": [0.4, 0.1, 0.3, 0.2]}}
    ]
    guesses = [{"name": "Coal Wren", "seen": False, "score": 1.25}, {"name": HOSTILE, "seen": True, "score": 0.5}]
    sample = {"seen": False, "truth": "Coal Wren", "picture": a_picture(90), "predictions": {"spaen": guesses}}
    wrong = sample | {"seen": True, "truth": HOSTILE}
    pictures = [{"name": "atlas", "samples": [sample, wrong]}]
    return a_folder(tmp_path / "results", runs, about, pictures)


@pytest.fixture
def page(results, tmp_path):
    return write_report(results, tmp_path / "report.html").read_text(encoding="utf-8")


def in_words(page):
    """The page's text, without markup."""
    body = re.sub(r"<(style|script)\b.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def test_without_per_image_records_nothing_is_better(page):
    words = in_words(page)
    assert "P-AEN has the highest calibrated H, which was not tested, on atlas (64.0 ± 4.0, next 61.0 ± 0.0)" in words
    assert "and on CUB (48.0 ± 1.0, next 40.0 ± 0.0)." in words
    assert not re.search(r"is better|\[\d", words)


def test_numbers_are_on_the_page(page):
    words = in_words(page)
    for expected in (
        "48.0 ± 1.0",
        "0.300",
        "0.250",
        "45.8 45.8 45.8 0.3",  # on the ray
        "0.125",  # gamma
        "0.9575",
        "11,788",
        "9f3c2b7e",
        "2.7.1",
    ):
        assert expected in words, expected
    assert "12 min 24 s" in words  # 12 finished runs of 62 s
    assert "Groove billed Ani" in words
    assert "40 → 62" in words
    assert "SP-AEN Cls. only on atlas, seed 1: out of memory" in words


def test_published_numbers_stand_beside_known_data_sets_only(page):
    sections = re.findall(r'<section class="data" id="data-\d".*?</section>', page, flags=re.DOTALL)
    atlas, cub = map(in_words, sections)
    assert "55.4 34.7 70.6 46.6" in cub
    assert "2048-d ResNet-101" in cub
    assert "Published" not in atlas


@pytest.mark.parametrize(
    ("data", "method", "h"),
    [
        ("CUB", "spaen", 46.6),
        ("CUB", "spaen:paper", 46.6),
        ("CUB", "spaen:cls-only", 32.9),
        ("CUB", "spaen:paper-cls-only", 32.9),
        ("CUB", "spaen:authors", 46.6),
        ("CUB", "spaen:authors-cls-only", 32.9),
        ("CUB", "spaen:table2", 46.6),
        ("CUB", "spaen:figure7-cls-only", 32.9),
        ("aPY", "eszsl", 4.6),
        ("SUN", "sync", 13.4),
        ("AWA2", "cmt_star", 15.9),
    ],
)
def test_published_rows(data, method, h):
    (row,) = tables.method_rows([RunRecord(data=data, method=method)])
    assert row.published["h"] == h


def test_published_h_is_the_harmonic_mean_of_u_and_s():
    for data in ("SUN", "CUB", "AWA2", "APY"):
        for method, row in names.published_numbers(data).items():  # of one digit: where u is small, h is coarse
            h = 2 * row["u"] * row["s"] / (row["u"] + row["s"])
            assert abs(h - row["h"]) < 0.35, (data, method, h, row["h"])


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("eszsl", "ESZSL"),
        ("spaen", "SP-AEN"),
        ("spaen:cls-only", "SP-AEN Cls. only"),
        ("spaen:paper", "SP-AEN (letter of the paper, beta 5)"),
        ("spaen:authors-cls-only", "SP-AEN Cls. only (authors' code)"),
        ("spaen:table2", "SP-AEN (authors' code, beta .005, Table 2 as flags)"),
        ("devise", "DeViSE"),
        ("eszsl:tuned", "ESZSL (tuned)"),
    ],
)
def test_display_names(method, name):
    assert names.display_name(method) == name


def test_a_run_says_how_its_method_is_written(tmp_path):
    runs = [a_run(method="mine", title="MyNet"), a_run(method="mine:wide", title="MyNet (wide)", h_cal=40.0)]
    why = {"truth": "004.Groove_billed_Ani", "predicted": "b", "method": "mine", "for": [["tail", 0.5]]}
    failed = {"data": "CUB", "method": "other", "title": "OtherNet", "error": "out of memory"}
    folder = a_folder(tmp_path / "r", [*runs, failed], pictures=[{"name": "CUB", "samples": [], "explained": [why]}])
    page = write_report(folder, tmp_path / "r.html", tmp_path / "tables").read_text(encoding="utf-8")
    words = in_words(page)
    for expected in ("MyNet, MyNet (wide)", "MyNet: predicted b", "OtherNet on CUB, seed 0: out of memory"):
        assert expected in words
    assert "MINE" not in page
    assert "MyNet (wide),CUB" in (tmp_path / "tables" / "settings.csv").read_text(encoding="utf-8")


def test_spread_is_the_sample_standard_deviation():
    values = [40.0, 43.0, 41.5, 44.0]
    stat = tables.Stat.of(values)
    assert stat.mean == pytest.approx(np.mean(values))
    assert stat.deviation == pytest.approx(np.std(values, ddof=1))


def test_one_seed_has_no_spread(tmp_path):
    assert tables.Stat.of([41.5]).deviation is None
    runs = [a_run(seed=seed, h_cal=50.0 + seed) for seed in range(2)] + [a_run(method="eszsl", h_cal=40.0)]
    page = write_report(a_folder(tmp_path / "r", runs), tmp_path / "report.html").read_text(encoding="utf-8")
    row = re.search(r'<th scope="row" data-value="ESZSL">.*?</tr>', page, flags=re.DOTALL)[0]
    assert "±" not in row
    assert "40.0 no spread: \N{EN DASH}" in in_words(row)


def test_runs_without_calibration_are_ranked_by_h(tmp_path):
    uncalibrated = dict.fromkeys(("gamma", "u_cal", "s_cal", "h_cal"))
    runs = [a_run(seed=seed, **uncalibrated) for seed in range(2)]
    page = write_report(a_folder(tmp_path / "r", runs), tmp_path / "report.html").read_text(encoding="utf-8")
    assert "SP-AEN was run alone on CUB (H 30.0 ± 0.0)." in in_words(page)


def test_missing_optional_parts_are_left_out(tmp_path):
    bare = {"data": "mine", "method": "eszsl", "seed": 0, "t1": 1.0, "u": 2.0, "s": 3.0, "h": 2.4, "surprise": [1]}
    words = in_words(write_report(a_folder(tmp_path / "r", [bare]), tmp_path / "out.html").read_text(encoding="utf-8"))
    assert "ESZSL was run alone on mine (H 2.4)." in words
    assert "Accuracy of each unseen class" not in words


def test_many_classes_become_a_profile(tmp_path):
    classes = [{"name": f"place {n}", "seen": False, "images": 9, "accuracy": float(n)} for n in range(72)]
    page = write_report(a_folder(tmp_path / "r", [a_run(classes=classes)]), tmp_path / "report.html").read_text()
    assert 'class="profile"' in page
    assert "place 71: 71.0 % of 9 images" in page


def test_the_page_asks_nothing_of_the_network(page):
    assert not re.search(
        r"https?://|//\w", re.sub(r"<style>.*?</style>|<script.*?</script>", "", page, flags=re.DOTALL)
    )
    for reference in re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)|url\(([^)]*)""", page):
        assert "".join(reference).startswith(("data:", "#")), reference
    assert "default-src 'none'" in page
    assert "@import" not in page


def test_hostile_names_are_escaped(page):
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert len(re.findall("<script", page)) == 1 + 2  # the page's own, and the curves of two data sets
    for data in re.findall(r'<script type="application/json" data-curves>(.*?)</script>', page, flags=re.DOTALL):
        assert "<" not in data
        assert [curve["name"] for curve in json.loads(data)] == ["SP-AEN", "ESZSL"]


def test_the_same_results_give_the_same_bytes(results, tmp_path):
    first, second = (write_report(results, tmp_path / name).read_bytes() for name in ("a.html", "b.html"))
    assert first == second


def test_an_old_page_is_replaced_and_nothing_else_is_left(results, tmp_path):
    out = tmp_path / "new" / "report.html"
    assert write_report(results, out) == out
    out.write_text("old")
    write_report(results, out)
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]


def test_a_missing_folder(tmp_path):
    with pytest.raises(InputError, match=r"^results must be a folder; got '.*nowhere', which is not one; run an exp"):
        write_report(tmp_path / "nowhere", tmp_path / "report.html")


@pytest.mark.parametrize(("runs", "found"), [([], "none"), ([a_run(error="stopped")], "1 failed")])
def test_no_finished_runs(tmp_path, runs, found):
    with pytest.raises(InputError, match=rf"^results must hold finished runs; got {found} in '.*'; run an experiment"):
        write_report(a_folder(tmp_path / "r", runs), tmp_path / "report.html")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"data": "CUB", ', r"must be valid JSON; got Expecting .*; delete it and run the experiment again"),
        ("[1]", r"must have an object; got list"),
        (json.dumps({"method": "eszsl"}), r"must have text as 'data'; got nothing"),
        (json.dumps(a_run(u="12")), r"must have a number as 'u'; got str"),
        (json.dumps(a_run(classes=[{"seen": True}])), r"must have text as 'classes\[0\].name'; got nothing"),
        (json.dumps(a_run(curve={"u": [1.0], "s": [1.0, 2.0]})), r"must have lists of equal length; got 1 u, 2 s"),
        (json.dumps(a_run(curve={"u": [float("nan")], "s": [1.0]})), r"must have a number as 'curve.u\[0\]'; got noth"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, text, sentence):
    folder = a_folder(tmp_path / "r", [a_run()])
    (folder / "runs" / "bad.json").write_text(text)
    with pytest.raises(InputError, match=rf"^runs/bad\.json {sentence}"):
        write_report(folder, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("folder", ["data", "pictures"])
def test_damaged_files_beside_the_runs_are_named(results, tmp_path, folder):
    (results / folder / "bad.json").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=rf"^{folder}/bad\.json must be valid JSON"):
        write_report(results, tmp_path / "report.html")


def ids_and_targets(page):
    ids = re.findall(r'\bid="([^"]*)"', page)
    targets = re.findall(r'href="#([^"]+)"', page)
    for name in ("for", "aria-labelledby", "aria-describedby"):
        targets += [one for found in re.findall(rf'\b{name}="([^"]+)"', page) for one in found.split()]
    return ids, targets


def test_ids_are_unique_and_what_points_somewhere_arrives(page):
    ids, targets = ids_and_targets(page)
    assert len(ids) == len(set(ids))
    assert targets
    assert set(targets) <= set(ids)


def test_every_input_has_a_label(page):
    body = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    labelled = set(re.findall(r'<label for="([^"]+)"', body))
    inside = "".join(re.findall(r"<label>.*?</label>", body, flags=re.DOTALL))
    for found in re.findall(r"<input [^>]*>", body):
        own = re.search(r'\bid="([^"]+)"', found)
        assert (own and own[1] in labelled) or found in inside, found


def test_tags_are_closed_in_order(page):
    """A parser that forgives nothing."""
    from html.parser import HTMLParser

    void = {"meta", "link", "img", "input", "br"}

    class Strict(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open = []

        def handle_starttag(self, tag, attributes):
            names = [name for name, _ in attributes]
            assert len(names) == len(set(names)), (tag, self.getpos())
            if tag not in void:
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag, (tag, self.getpos())

    parser = Strict()
    parser.feed(page)
    assert parser.open == []


def test_how_each_method_was_run(tmp_path):
    known = {"settings_from": "AUSUC 0.4 on validation classes", "commit": "0f1e2d3", "memory": 1.3e9, "threads": 2}
    known |= {"temperature": 0.05, "defaults": {"beta": 0.1, "seed": 0}}
    runs = [a_run(seed=seed, gamma=gamma, **known) for seed, gamma in enumerate((0.125, 0.25, 0.2))]
    words = in_words(write_report(a_folder(tmp_path / "r", runs), tmp_path / "r.html").read_text(encoding="utf-8"))
    row = (
        "SP-AEN CUB AUSUC 0.4 on validation classes beta 0.05 (default 0.1) 0 to 2 0.125 to 0.25 0.05 1 min 1 s 1.3 GB"
    )
    assert row in words
    for expected in ("threads 2", "commit 0f1e2d3", "peak memory of a run 1.3 GB"):
        assert expected in words


def test_what_decided_is_shown_with_its_picture(tmp_path):
    classes = [{"name": f"bird_{n}", "seen": False, "images": 9, "accuracy": 10.0 * n} for n in range(8)]
    sample = {"seen": False, "truth": "bird_7", "picture": a_picture(90)}
    why = {"truth": "bird_0", "predicted": HOSTILE, "method": "eszsl", "for": [["has_bill::red", 0.5]]}
    pictures = [{"name": "CUB", "samples": [sample], "explained": [why | {"against": [["tail", -0.25]]}]}]
    folder = a_folder(tmp_path / "r", [a_run(classes=classes)], pictures=pictures)
    words = in_words(write_report(folder, tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "bird 7 1 of 8 unseen classes: 70 % of 9 images recognised, by SP-AEN." in words
    assert "bird 0 8 of 8 unseen classes" in words
    assert "For it: bill: red +0.5 Against it: tail -0.25" in words


def test_the_picture_of_an_answer_stands_for_a_class_without_others(tmp_path):
    classes = [{"name": f"bird_{n}", "seen": False, "images": 9, "accuracy": 10.0 * n} for n in range(8)]
    photo, drawn = a_picture(90, "JPEG"), a_picture(120)
    sample = {"seen": False, "truth": "bird_7", "picture": drawn}
    why = [{"truth": f"bird_{n}", "predicted": "bird_1", "picture": photo} for n in (0, 7)]
    folder = a_folder(
        tmp_path / "r", [a_run(classes=classes)], pictures=[{"name": "CUB", "samples": [sample], "explained": why}]
    )
    page = write_report(folder, tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.count(f'<div class="stack"><img src="data:image/jpeg;base64,{photo}" alt="bird 0">') == 1
    assert page.count(f'<div class="stack"><img src="data:image/png;base64,{drawn}" alt="bird 7">') == 1
    assert page.count(f'<div class="why"><img src="data:image/jpeg;base64,{photo}" alt="bird 7">') == 1
    assert page.count(photo) == 2


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ([["bill"]], r"2 entries as 'explained\[0\].for\[0\]'; got 1"),
        ([["bill", "much"]], r"a number as 'explained\[0\].for\[0\]\[1\]'; got str"),
    ],
)
def test_damaged_explanations_are_named(tmp_path, reason, sentence):
    pictures = [{"name": "CUB", "samples": [], "explained": [{"truth": "a", "predicted": "b", "for": reason}]}]
    folder = a_folder(tmp_path / "r", [a_run()], pictures=pictures)
    with pytest.raises(InputError, match=rf"^pictures/0\.json must have {sentence}"):
        write_report(folder, tmp_path / "r.html")


def test_a_page_of_many_methods_stays_small(tmp_path):
    folder = synthetic_results(tmp_path / "r", names=("CUB", "CUB-sent"), n_seen=20, n_unseen=8, per_class=(6, 8))
    page = write_report(folder, tmp_path / "r.html")
    assert page.stat().st_size < 3e6
    text = page.read_text(encoding="utf-8")
    looks = re.findall(r"\.m\d+ \{([^}]*)\}", charts.style(range(64)))
    assert len(set(looks)) == 64  # no two methods share colour and dashes
    assert len(re.findall(r'<tr data-slot="', text)) == 2 * 14
    assert len(re.findall(r'<input type="checkbox" hidden checked>', text)) == 2 * 6


def test_where_the_ray_meets_a_curve():
    points = [(0.0, 60.0), (20.0, 60.0), (20.0, 10.0), (40.0, 0.0)]
    middle = curves.riding(points, 50, [1, 2, 3, 4])
    assert (middle.u, middle.s, middle.gamma) == (20.0, pytest.approx(20.0), 3)
    assert middle.h == pytest.approx(20.0)
    assert curves.riding(points, 0)[:3] == (0.0, 60.0, 0.0)
    assert curves.riding(points, 100)[:3] == (40.0, 0.0, 0.0)
    for percent in range(1, 100):
        at = curves.riding(points, percent)
        assert at.u / (at.u + at.s) == pytest.approx(percent / 100)

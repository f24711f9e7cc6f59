"""The report: numbers on the page, one file that asks nothing of the network, sentences for what cannot be read."""

import base64
import json
import re
import shutil
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from firstsight.errors import InputError
from firstsight.report import tables, write_report

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


def a_picture(color):
    buffer = BytesIO()
    Image.fromarray(np.full((8, 8, 3), color, dtype=np.uint8)).save(buffer, "PNG")
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
    pair = {"original": a_picture(90), "reconstructed": a_picture(120)}
    pictures = [{"name": "atlas", "samples": [sample, wrong], "reconstructions": [pair]}]
    return a_folder(tmp_path / "results", runs, about, pictures)


@pytest.fixture
def page(results, tmp_path):
    return write_report(results, tmp_path / "report.html").read_text(encoding="utf-8")


def in_words(page):
    """The page's text, without markup."""
    body = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def test_the_verdict_says_better_only_beyond_the_spread(page):
    words = in_words(page)
    assert "SP-AEN is better than ESZSL on CUB (calibrated H 48.0 ± 1.0, next 40.0 ± 0.0)" in words
    assert "here is no clear difference between SP-AEN and ESZSL on atlas" in words


def test_numbers_are_on_the_page(page):
    words = in_words(page)
    for expected in (
        "48.0 ± 1.0",
        "0.300",
        "0.250",
        "45.0, 50.0, gamma 0.125",
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
        ("aPY", "eszsl", 4.6),
        ("SUN", "sync", 13.4),
        ("AWA2", "cmt_star", 15.9),
    ],
)
def test_published_rows(data, method, h):
    (row,) = tables.method_rows([a_run(data, method)])
    assert row.published["h"] == h


def test_published_h_is_the_harmonic_mean_of_u_and_s():
    for data in ("SUN", "CUB", "AWA2", "APY"):
        for method, row in tables.published_numbers(data).items():  # of one digit: where u is small, h is coarse
            h = 2 * row["u"] * row["s"] / (row["u"] + row["s"])
            assert abs(h - row["h"]) < 0.35, (data, method, h, row["h"])


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("eszsl", "ESZSL"),
        ("spaen", "SP-AEN"),
        ("spaen:cls-only", "SP-AEN Cls. only"),
        ("spaen:paper", "SP-AEN (paper settings)"),
        ("spaen:authors-cls-only", "SP-AEN Cls. only (authors' settings)"),
        ("devise", "DeViSE"),
        ("eszsl:tuned", "ESZSL (tuned)"),
    ],
)
def test_display_names(method, name):
    assert tables.display_name(method) == name


def test_spread_is_the_sample_standard_deviation():
    values = [40.0, 43.0, 41.5, 44.0]
    stat = tables.Stat.of(values)
    assert stat.mean == pytest.approx(np.mean(values))
    assert stat.deviation == pytest.approx(np.std(values, ddof=1))


def test_one_seed_makes_no_claim():
    verdict = tables.verdict({"CUB": tables.method_rows([a_run(h_cal=90.0), a_run(method="eszsl", h_cal=10.0)])})
    assert (
        verdict == "One seed is too few to rank SP-AEN and ESZSL on CUB (highest calibrated H\N{NO-BREAK SPACE}90.0)."
    )


def test_a_deterministic_method_needs_one_seed():
    runs = [a_run(seed=seed, h_cal=50.0 + seed) for seed in range(2)]
    runs.append(a_run(method="eszsl", h_cal=40.0, deterministic=True))
    assert "better than ESZSL" in tables.verdict({"CUB": tables.method_rows(runs)})


def test_marks_name_the_best_and_what_is_not_clearly_below():
    heights = {"spaen": (50.0, 52.0), "eszsl": (50.0, 50.5), "sae": (30.0, 30.5)}
    runs = [a_run(method=method, seed=seed, h_cal=h) for method, hs in heights.items() for seed, h in enumerate(hs)]
    rows = {row.method: row.marks.get("h_cal") for row in tables.method_rows(runs)}
    assert rows == {"spaen": "best", "eszsl": "tied", "sae": None}


def test_runs_without_calibration_are_ranked_by_h(tmp_path):
    uncalibrated = dict.fromkeys(("gamma", "u_cal", "s_cal", "h_cal"))
    runs = [a_run(seed=seed, **uncalibrated) for seed in range(2)]
    page = write_report(a_folder(tmp_path / "r", runs), tmp_path / "report.html").read_text(encoding="utf-8")
    assert "SP-AEN was run alone on CUB (H 30.0 ± 0.0)." in in_words(page)


def test_missing_optional_parts_are_left_out(tmp_path):
    bare = {"data": "mine", "method": "eszsl", "seed": 0, "t1": 1.0, "u": 2.0, "s": 3.0, "h": 2.4, "surprise": [1]}
    words = in_words(write_report(a_folder(tmp_path / "r", [bare]), tmp_path / "out.html").read_text(encoding="utf-8"))
    assert "ESZSL was run alone on mine (H 2.4)." in words
    assert "one by one" not in words


def test_many_classes_become_a_profile(tmp_path):
    classes = [{"name": f"place {n}", "seen": False, "images": 9, "accuracy": float(n)} for n in range(72)]
    page = write_report(a_folder(tmp_path / "r", [a_run(classes=classes)]), tmp_path / "report.html").read_text()
    assert 'class="profile"' in page
    assert "place 71: 71.0 % of 9 images" in page


def test_the_page_asks_nothing_of_the_network(page):
    assert not re.search(
        r"https?://|//\w", re.sub(r"<style>.*?</style>|<script>.*?</script>", "", page, flags=re.DOTALL)
    )
    for reference in re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)|url\(([^)]*)""", page):
        assert "".join(reference).startswith(("data:", "#")), reference
    assert "default-src 'none'" in page
    assert "@import" not in page


def test_hostile_names_are_escaped(page):
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert page.count("<script>") == 1


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


CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
QUIET = "no-sandbox disable-gpu no-first-run disable-background-networking disable-component-update disable-sync"


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_in_a_browser(results, tmp_path):
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    out = write_report(results, tmp_path / "report.html")
    complaints, requests = [], []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[f"--{flag}" for flag in QUIET.split()])
        view = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="light")
        view.on("console", lambda message: complaints.append(message.text))
        view.on("pageerror", lambda error: complaints.append(str(error)))
        view.on("request", lambda request: requests.append(request.url))
        view.goto(out.as_uri())

        assert view.evaluate("document.documentElement.scrollWidth") == 390
        assert view.evaluate("[...document.images].every(one => one.naturalWidth > 0)")

        paper = "getComputedStyle(document.body).backgroundColor"
        light = view.evaluate(paper)
        view.click("#theme")
        assert view.evaluate("document.documentElement.dataset.theme") == "dark"
        assert view.evaluate(paper) != light
        assert view.get_attribute("#theme", "aria-pressed") == "true"
        view.click("#theme")
        assert view.evaluate(paper) == light

        table = view.locator("#data-2 table.main")
        head = table.locator("thead tr").nth(1).locator("th").nth(2)  # u: 20 for SP-AEN, 12 for ESZSL
        first = table.locator("tbody th").first
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == "descending"
        assert first.get_attribute("data-value") == "SP-AEN"
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == "ascending"
        assert first.get_attribute("data-value") == "ESZSL"
        browser.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []

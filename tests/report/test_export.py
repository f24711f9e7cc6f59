"""Tables and figures as files, and the page as PDF."""

import csv
import re
import shutil
import xml.etree.ElementTree as ElementTree

import pytest

from firstsight.errors import InputError
from firstsight.report import export, write_figures, write_pdf, write_report, write_tables
from tests.support.synthetic import synthetic_results


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    small = {"n_seen": 12, "n_unseen": 8, "per_class": (10, 12)}
    return synthetic_results(folder, names=("CUB", "a_b & c"), methods=["spaen", "eszsl", "dap"], seeds=[0, 1], **small)


@pytest.fixture(scope="module")
def folder(results, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    write_tables(results, out / "tables")
    write_figures(results, out / "figures")
    return out


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_table_is_there_twice(folder):
    names = {path.stem for path in (folder / "tables").iterdir()}
    of_each = {"numbers", "comparison", "curves", "classes"}
    expected = {f"{data}-{name}" for data in ("CUB", "a_b_c") for name in of_each}
    assert names == expected | {"CUB-published", "conduct", "settings", "data"}
    for name in names:
        assert {path.suffix for path in (folder / "tables").glob(f"{name}.*")} == {".csv", ".tex"}


def test_numbers_are_whole_in_csv(folder):
    rows = {row["method"]: row for row in read(folder / "tables" / "CUB-numbers.csv")}
    spaen = rows["SP-AEN"]
    assert float(spaen["h_cal_low"]) < float(spaen["h_cal"]) < float(spaen["h_cal_high"])
    assert len(spaen["h_cal"]) > 6
    assert (spaen["published_h"], rows["DAP"]["published_t1"]) == ("46.6", "40.0")
    assert spaen["seconds_fit_sd"]
    tests = read(folder / "tables" / "CUB-comparison.csv")
    assert {row["number"] for row in tests} == {"T1", "H", "H calibrated", "AUSUC"}
    assert all(0 < float(row["p"]) <= float(row["p_corrected"]) <= 1 for row in tests)


def test_latex_is_escaped_and_even(folder):
    for path in (folder / "tables").glob("*.tex"):
        text = path.read_text(encoding="utf-8")
        body = text.split(r"\toprule", 1)[1]
        lines = [line for line in body.splitlines() if line.endswith(r"\\")]
        columns = len(re.search(r"tabular\}\{(l?r*)\}", text)[1])
        assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {columns - 1}, path
        assert not re.search(r"(?<!\\)[#_%]", body), path
        assert "\N{NO-BREAK SPACE}" not in text
    assert r"a\_b \& c" in (folder / "tables" / "data.tex").read_text(encoding="utf-8")


def test_missing_values_are_dashes():
    table = export.Table("x", "X.", ("a_b", "c"), [["50 %", None], [0.123456, 7]])
    assert export.latex(table).splitlines()[4:8] == ["a b & c \\\\", r"\midrule", "50 \\% & -- \\\\", "0.1235 & 7 \\\\"]


def test_figures_stand_alone(folder):
    figures = {path.stem: path.read_text(encoding="utf-8") for path in (folder / "figures").iterdir()}
    of_each = {"curves", "forest", "bars-1", "bars-2", "strips"}
    expected = {f"{data}-{name}" for data in ("CUB", "a_b_c") for name in of_each}
    assert {name for name in figures if "-analysis-" not in name} == expected
    for name, text in figures.items():
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg", name
        assert float(root.get("width")) > 0
        assert "var(" not in text
        assert not re.search(r"url\(|@import|href", text)
    assert ">ESZSL</text>" in figures["CUB-curves"]  # its legend
    assert re.search(r"svg \.m1\.line ?\{[^}]*stroke: #[0-9a-f]{6}", figures["CUB-curves"])


def test_the_page_writes_them_too(results, folder, tmp_path):
    write_report(results, tmp_path / "page.html", tmp_path / "tables", tmp_path / "figures")
    for kind in ("tables", "figures"):
        for path in (folder / kind).iterdir():
            assert (tmp_path / kind / path.name).read_bytes() == path.read_bytes()


def test_no_browser(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        InputError, match=r"^pdf must be printed by a browser; got none of chromium, .* on PATH; install"
    ):
        write_pdf(tmp_path / "page.html", tmp_path / "page.pdf")


@pytest.mark.parametrize(("script", "got"), [("exit 3", "exit code 3 and no file"), ("sleep 9", "nothing from")])
def test_a_browser_that_prints_nothing(tmp_path, monkeypatch, script, got):
    fake = tmp_path / "chromium"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(export, "PRINTING", 1)
    with pytest.raises(InputError, match=rf"^pdf must be printed .*; got {got}"):
        write_pdf(tmp_path / "page.html", tmp_path / "page.pdf")
    assert not (tmp_path / "page.pdf").exists()


@pytest.mark.browser
@pytest.mark.skipif(not any(map(shutil.which, export.BROWSERS)), reason="needs chromium")
def test_pdf(results, tmp_path):
    page = write_report(results, tmp_path / "page.html")
    out = write_pdf(page, tmp_path / "new" / "page.pdf")
    assert out.read_bytes().startswith(b"%PDF-")
    assert out.stat().st_size > 20_000
    assert [path.name for path in out.parent.iterdir()] == ["page.pdf"]

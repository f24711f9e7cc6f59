"""The page of a reproduction: the paper's layout, printed beside ours, a mark for what is not the paper's input."""

import csv
import html
import re
from dataclasses import replace

import pytest

from firstsight.bench.reproduce_parts import part_of
from firstsight.report import names
from firstsight.report.export import latex
from firstsight.report.reproduction import (
    ACCURACIES,
    PAPER_DATA,
    Column,
    Figure,
    Grid,
    Outcome,
    Part,
    Reproduction,
    Row,
    as_table,
    columns_of,
    number_rows,
    render_reproduction,
    write_reproduction,
)
from firstsight.report.tables import Stat

STAND_IN = "cub100, in place of CUB"


@pytest.fixture
def grid():
    """ESZSL on a stand-in for CUB, and on a data set that the paper has not."""
    ours = {"cub100": {"t1": Stat(60.04, 0.5), "h": Stat(20.0, None)}, "atlas": {"t1": Stat(9.0, None)}}
    printed = {key: names.published_numbers(key)["eszsl"] for key in PAPER_DATA}
    found = [Column("atlas", "", "rendered"), Column("cub100", "CUB", STAND_IN, ("cosine 0.9575",))]
    return Grid(
        "t", "Some numbers.", columns_of(found), [Row("ESZSL", ours, printed, {"cub100": "2 seeds"})], ACCURACIES
    )


@pytest.fixture
def shown(grid):
    outcomes = [
        Outcome("SUN", False, "no res101.mat", ("the zip",)),
        Outcome("aPY", False, "no res101.mat", ("the zip",)),
        Outcome("cub100", True, STAND_IN, is_paper=False),
    ]
    picture = Figure("sheet", "A sheet", "Birds <drawn>.", None, b"\x89PNG")
    return Reproduction([Part("table1", "Table 1", "Methods.", outcomes, [grid], [picture])], True, ["One seed."])


def of_grid(grid):
    return Reproduction([Part("t", "T", "", [Outcome("cub100", True, "")], [grid])], False, [])


def words_of(page):
    return " ".join(
        html.unescape(re.sub(r"<[^>]*>", " ", re.sub(r"<(style|script)\b.*?</\1>", "", page, flags=re.S))).split()
    )


def test_the_four_data_sets_come_in_the_papers_order_and_others_after_them(grid):
    assert [one.name for one in grid.columns] == ["SUN", "CUB", "AWA2", "aPY", "atlas"]
    assert [one.data for one in grid.columns] == ["", "cub100", "", "", "atlas"]


def test_a_second_data_set_for_the_same_numbers_stands_beside_the_first():
    found = columns_of([Column("CUB", "CUB"), Column("cub100", "CUB", STAND_IN)])
    assert [(one.data, one.printed) for one in found] == [
        *(("", "SUN"), ("CUB", "CUB"), ("", "AWA2"), ("", "APY"), ("cub100", "CUB"))
    ]


def test_ours_printed_and_their_difference(grid):
    cell = grid.rows[0].cell(grid.columns[1], "t1")
    assert (cell.ours.mean, cell.printed) == (60.04, 53.9)
    assert cell.difference == pytest.approx(6.14)
    assert grid.rows[0].cell(grid.columns[0], "t1").difference is None  # printed alone
    assert grid.rows[0].cell(grid.columns[4], "t1").difference is None  # ours alone


def test_every_number_of_a_stand_in_has_its_mark(shown):
    page = render_reproduction(shown)
    assert shown.marks == {STAND_IN: "*", "rendered": "†"}
    assert page.count(f'<sup title="{STAND_IN}">*</sup>') == 3  # the head and two numbers
    assert page.count('<sup title="rendered">†</sup>') == 2
    words = words_of(page)
    assert f"* {STAND_IN}." in words
    assert "A quick look, not a reproduction." in words
    assert "60.0 * ± 0.5 53.9 +6.1" in words
    assert "did not run SUN and aPY: no res101.mat" in words
    assert "What is missing or has a stand-in, and what supplies it: the zip" in words
    assert "1 of 1 items of the paper were run: on stand-ins Table 1." in words


def test_the_page_needs_nothing_else_and_escapes(shown):
    page = render_reproduction(shown)
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert "Birds &lt;drawn&gt;." in page


def test_files(shown, grid, tmp_path):
    page = write_reproduction(shown, tmp_path)
    assert page.read_text(encoding="utf-8") == render_reproduction(shown)
    assert (tmp_path / "figures" / "sheet.png").read_bytes() == b"\x89PNG"
    lines = list(csv.DictReader((tmp_path / "tables" / "t.csv").read_text(encoding="utf-8").splitlines()))
    own = {(line["data"], line["number"]): line for line in lines if line["ours"]}
    assert len(lines) == 16 + 1
    assert len(own) == 3
    line = own["cub100", "t1"]
    assert (line["printed"], float(line["ours"]), float(line["ours_sd"])) == ("53.9", 60.04, 0.5)
    assert line["what_differs"] == f"{STAND_IN}; 2 seeds"
    assert [row["ours"] for row in number_rows(grid) if row["ours"]] == [60.04, 20.0, 9.0]


def test_latex_has_the_papers_layout(shown, grid):
    text = latex(as_table(grid, shown.marks))
    assert r"& \multicolumn{4}{c}{SUN} & \multicolumn{4}{c}{CUB cosine 0.9575} & \multicolumn{4}{c}{AWA2}" in text
    assert r"ESZSL & -- (54.5)" in text
    assert "60.0* (53.9)" in text
    assert r"9.0\dag{}" in text
    assert r"U$\to$T" in text


def test_table_1_without_any_run_is_what_the_paper_prints():
    part = part_of("table1", [], [], {"SUN": 0.985149})
    table, cosines = part.grids
    assert (len(table.rows), table.width) == (14, 16)
    printed = [row.cell(one, key).printed for row in table.rows for one in table.columns for key in table.numbers]
    expected = [
        names.published_numbers(data)[method].get(key)
        for method in names.published_numbers("CUB")
        if method != "spaen:cls-only"
        for data in PAPER_DATA
        for key in ACCURACIES
    ]
    assert printed == expected
    assert printed.count(None) == 4  # CMT* has no U→U
    assert table.columns[0].head == ("cosine 0.9851", "printed 0.9851")
    assert [cosines.rows[0].cell(one, "cosine").printed for one in cosines.columns] == [0.9851, 0.9575, 0.7459, 0.5847]
    assert not part.is_run


def test_table_3_and_the_cosines_are_published_as_printed():
    errors = {data: names.published_errors(data) for data in PAPER_DATA}
    assert errors["APY"] == {"direct-map": 0.085, "sae-image": 0.275, "split-branch": 0.076, "spaen": 0.055}
    assert sum(map(len, errors.values())) == 16
    for of_data in errors.values():
        assert sorted(of_data, key=of_data.__getitem__) == ["spaen", "split-branch", "direct-map", "sae-image"]
    assert names.published_cosine("aPY") == 0.5847
    assert names.published_errors("atlas") == {}
    assert names.published_cosine("atlas") is None
    assert names.published_numbers("reconstruction") == names.published_numbers("variance_cosine") == {}


@pytest.mark.parametrize(
    ("method", "printed"),
    [
        ("spaen-pictures", "spaen"),
        ("spaen-pictures:cls-only", "spaen:cls-only"),
        ("spaen-pictures:table2-cls-only", "spaen:cls-only"),
        ("eszsl", "eszsl"),
    ],
)
def test_pictures_are_printed_as_the_method(method, printed):
    assert names.in_print(method) == printed


@pytest.mark.parametrize(("lower", "css"), [(False, "up"), (True, "down")])
def test_a_difference_is_good_on_the_right_side(grid, lower, css):
    shown = Reproduction(
        [Part("t", "T", "", [Outcome("cub100", True, "")], [replace(grid, lower_is_better=lower)])], False, []
    )
    assert f'<small class="{css}">+6.1</small>' in render_reproduction(shown)


def test_a_difference_of_nothing_has_no_sign(grid):
    row = replace(grid.rows[0], ours={"cub100": {"t1": Stat(53.88, None)}})
    shown = of_grid(replace(grid, rows=[row]))
    assert "<small>0.0</small>" in render_reproduction(shown)

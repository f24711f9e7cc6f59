"""Figures of the analyses: the numbers are in them, they stand alone, and odd data does not break them."""

import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import replace
from operator import attrgetter

import numpy as np
import pytest
from markupsafe import Markup

from firstsight.analysis import analyse, projection
from firstsight.data import ClassEmbeddings
from firstsight.report import figures
from firstsight.report.analyses import MOST_SHOWN, analyses_of
from firstsight.report.charts import curve_chart, legend, shortened, style
from firstsight.report.curves import Series
from firstsight.report.export import MARGIN, standalone
from firstsight.report.figures import Shown
from firstsight.report.names import plain_name
from firstsight.results.numbers import ClassResult, Gain, class_gains
from firstsight.results.records import DataRecord, RunRecord
from tests.support.tiny import tiny_dataset

HOSTILE = '"><script>alert(1)</script>'
NAMES = ("001.Black_auk", HOSTILE, *(f"{row:03d}.kea_{row}" for row in range(2, 12)))
IS_SEEN = np.arange(12) < 8
CLASSES = ClassEmbeddings(NAMES, np.random.default_rng(0).random((12, 14)), (HOSTILE, *"abcdefghijklm"))


def found(seed=0, **changes):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(12), 10))
    scores = rng.normal(size=(120, 12)) + 2 * np.eye(12)[labels]
    return analyse(scores, labels, IS_SEEN, CLASSES, **({"gamma": 0.3, "temperature": 0.8} | changes))


def shown(part, count=2):
    """What an analysis found for some methods; `part` names it, as in `reject.curve`."""
    return [Shown(slot, f"method {slot} {HOSTILE}", attrgetter(part)(found(slot))) for slot in range(count)]


def a_table(seed):
    rng = np.random.default_rng(seed)
    return [ClassResult(name, bool(IS_SEEN[row]), 10, *(rng.random(2) * 100)) for row, name in enumerate(NAMES)]


def a_run(method="eszsl", seed=0, **changes):
    run = RunRecord(data="tiny", method=method, ausuc=seed / 10, classes=a_table(seed), analyses=found(seed))
    return replace(run, **changes)


def sections(runs, data=None, slots=None):
    return analyses_of(
        runs, data or DataRecord("tiny"), slots or {run.method: number for number, run in enumerate(runs)}
    )


def about():
    classes = ClassEmbeddings(NAMES, np.random.default_rng(0).random((12, 14)))
    data = tiny_dataset(n_seen=8, n_unseen=4, classes=classes)
    is_seen = data.is_seen.astype(int).tolist()
    return DataRecord("tiny", names=list(NAMES), is_seen=is_seen, projection=projection(data))


def of_images():
    classes = ClassEmbeddings(NAMES, np.random.default_rng(0).random((12, 14)))
    data = tiny_dataset(n_seen=8, n_unseen=4, classes=classes)
    own = np.random.default_rng(0).integers(0, 2, (len(data.labels), 14))
    return data, projection(data, attributes=own)


ALL = {
    "images": lambda: figures.projection_maps(of_images()[1], NAMES, about().is_seen, HOSTILE),
    "maps": lambda: figures.projection_maps(about().projection, NAMES, about().is_seen, HOSTILE),
    "hubs": lambda: figures.hub_profiles(shown("hubness"), "label"),
    "confusion": lambda: figures.confusion_tables(shown("confusion", 4), "label"),
    "gains": lambda: figures.gain_bars(class_gains(a_table(0), a_table(1)), "label"),
    "attributes": lambda: figures.attribute_profiles(shown("attributes"), "label"),
    "reliability": lambda: figures.reliability_diagram(shown("probability.fitted"), "label"),
    "risk": lambda: figures.risk_coverage_chart(shown("reject.curve"), "label"),
    "curve": lambda: curve_chart([Series(9, "x", [(0, 60), (50, 0)], [], (0, 60), (20, 30))], "label", True),
}


@pytest.mark.parametrize("name", ALL)
def test_a_figure_stands_alone(name):
    drawn = ALL[name]()
    assert isinstance(drawn, Markup)
    assert "<script" not in drawn
    text = standalone(drawn)
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("class") == name
    left, top, width, height = map(float, root.get("viewBox").split())
    assert (float(root.get("width")), float(root.get("height"))) == (width, height)
    assert left == top == -MARGIN
    assert "var(" not in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    sheet = root.find("{http://www.w3.org/2000/svg}style").text
    for slot in {word for words in re.findall(r'class="(m\d+) ', text) for word in words.split()}:
        assert f"svg .{slot}.line {{" in sheet
    for element in root.iter():
        for word in (element.get("class") or "").split():  # every class has a style, or is a name of the page's
            assert f".{word}" in style([9]) or re.fullmatch(rf"m\d+|name|paper|{name}", word), word
        for axis, most in (("x", width), ("cx", width), ("y", height), ("cy", height)):
            if element.get(axis) is not None:
                assert -MARGIN <= float(element.get(axis)) <= most, ElementTree.tostring(element)


def test_colours_of_a_slot_are_written_out():
    text = standalone(ALL["curve"]())
    assert "svg .m9.line { fill: none; stroke: #bd5116; stroke-width: 2.2; stroke-dasharray: 2.5 2.5;" in text
    assert "svg .paper { fill: #faf8f3; }" in text


def test_only_a_drawing_stands_alone():
    with pytest.raises(ValueError, match="figure must be one drawing"):
        standalone(Markup("<div></div>"))


def test_slots_differ_in_colour_or_dashes():
    rules = re.findall(r"\.m\d+ \{ (.*?) \}", style(range(40)))
    assert len(set(rules)) == 40


def test_a_legend_wraps():
    drawn, height = legend([(slot, "a name of some length") for slot in range(5)], 0, 0, 400)
    assert height == 20 * 3 + 8
    assert max(float(x) for x in re.findall(r'text class="label" x="([\d.]+)"', drawn)) < 400


def test_numbers_are_in_the_figures():
    (one,) = shown("confusion", 1)
    drawn = figures.confusion_tables([one], "label")
    for table in (one.found.plain, one.found.calibrated):
        for row in table:
            for share in row:
                assert f">{share:.0f} %<" in drawn
    for pair in one.found.pairs:
        assert f">{pair.share:.0f} %<" in drawn
    plain = replace(one.found, calibrated=None)
    full, half = (
        figures.confusion_tables([one._replace(found=found)], "label").count(" %<")
        for found in (plain, replace(plain, plain=[[None, None], plain.plain[1]]))
    )
    assert full - half == 2  # a side without images has no numbers
    (one,) = shown("attributes", 1)
    drawn = figures.attribute_profiles([one], "label")
    for row in one.found.best:
        assert f">{row.auc:.2f}<" in drawn
    drawn = figures.gain_bars(class_gains(a_table(0), a_table(1)), "label")
    for row in class_gains(a_table(0), a_table(1)):
        assert f"{row.baseline:.1f} to {row.accuracy:.1f} %" in drawn


def test_bars_are_as_long_as_their_gains():
    rows = [
        Gain(name=str(gain), seen=False, images=9, accuracy=50.0, baseline=50.0 - gain, gain=gain)
        for gain in (40.0, 10.0, 0.0, -20.0)
    ]
    drawn = figures.gain_bars(rows, "label")
    bars = re.findall(
        r'<rect class="(?:rise|fall)" x="[\d.]+" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"/></g>', drawn
    )
    tall = [float(height) for _, height in bars]
    assert tall == pytest.approx([tall[0], tall[0] / 4, 0, tall[0] / 2], abs=0.02)
    middle = float(bars[0][0]) + tall[0]
    assert [float(y) for y, _ in bars[1:]] == pytest.approx([middle - tall[1], middle, middle], abs=0.02)


def test_a_class_that_gains_nothing_anywhere():
    rows = class_gains(a_table(0), a_table(0))
    ElementTree.fromstring(standalone(figures.gain_bars(rows, "label")))


def test_many_seen_classes_keep_the_page_light():
    rows = [
        Gain(f"class {n}", seen=n > 9, images=9, accuracy=50.0, baseline=40.0 + n / 100, gain=10 - n / 100)
        for n in range(500)
    ]
    drawn = figures.gain_bars(rows, "label")
    assert drawn.count("<title>") == 1 + 10
    assert len(drawn) < 50_000


# sections of the page


def test_every_analysis_has_a_section():
    titles = [section.title for section in sections([a_run(), a_run("spaen", 1)], about())]
    assert titles == [
        "Test classes by their attributes",
        "Confused classes",
        "Gain by class",
        "Hubs",
        "Attribute prediction",
        "Calibration of probabilities",
        "Selective prediction: error against coverage",
    ]


def test_the_best_are_drawn_and_all_are_in_the_tables():
    runs = [a_run(f"method{number}", number) for number in range(6)]
    slots = {f"method{number}": 10 + number for number in range(6)}
    for section in sections(runs, slots=slots):
        if section.title in ("Confused classes", "Gain by class"):
            continue
        assert {int(slot) for slot in re.findall(r'class="m(\d+) line', section.figure)} == {12, 13, 14, 15}
        assert [row[0] for row in section.table.rows] == [f"METHOD{n}" for n in (5, 4, 3, 2, 1, 0)]
    (confusion,) = (one for one in sections(runs, slots=slots) if one.title == "Confused classes")
    others = [row[0] for row in confusion.table.rows]
    assert others == ["METHOD1", "METHOD0"]
    assert len(runs) - len(others) == MOST_SHOWN


def test_the_table_holds_the_numbers():
    run = a_run()
    (section,) = (one for one in sections([run]) if one.title == "Calibration of probabilities")
    fitted, raw = run.analyses.probability.fitted, run.analyses.probability.raw
    errors = (f"{fitted.ece:.3f}", f"{fitted.nll:.2f}", f"{raw.ece:.3f}", f"{raw.nll:.2f}")
    assert section.table.rows == [("ESZSL", *errors, "0.8")]


def test_the_baseline_is_eszsl_where_it_is_there():
    runs = [a_run("sae", 1), a_run("eszsl", 0), a_run("conse", 2)]
    (section,) = (one for one in sections(runs) if one.title == "Gain by class")
    assert section.text.startswith("Gain of CONSE over ESZSL for every class")
    (section,) = (one for one in sections(runs[::2]) if one.title == "Gain by class")
    assert section.text.startswith("Gain of CONSE over SAE")


def test_what_is_missing_is_left_out():
    assert sections([]) == []
    assert sections([RunRecord(data="tiny", method="eszsl")]) == []
    plain = a_run(analyses=found(gamma=None, temperature=None))
    titles = [section.title for section in sections([plain])]
    assert titles == ["Confused classes", "Hubs", "Selective prediction: error against coverage"]
    other = [replace(row, name=row.name + "x") for row in a_table(1)]
    assert "Gain by class" not in [one.title for one in sections([a_run(), a_run("sae", 1, classes=other)])]


def test_a_dot_for_each_test_image_and_colours_for_classes_that_lose_most():
    data, maps = of_images()
    root = ElementTree.fromstring(figures.projection_maps(maps, NAMES, data.is_seen.tolist(), "label"))
    paths = [path for path in root if path.tag.endswith("path")]
    dots = {}
    for path in paths:
        dots.setdefault(path.get("class"), []).append(path.get("d").count("M"))
    kinds = {one.class_: f"m{slot} swarm picked" for slot, one in zip((1, 2, 4), maps.lost, strict=True)}
    sides = ("swarm unseen", "swarm")
    counts = Counter(kinds.get(NAMES[row], sides[int(data.is_seen[row])]) for row in maps.class_)
    assert len(maps.lost) == 3
    samples = {f"{kind} sample": [1] for kind in counts}  # in the key
    assert dots == {kind: [count, count] for kind, count in counts.items()} | samples
    assert not list(root.iter("circle"))
    words = [text.text for text in root if text.tag.endswith("text")]
    names = [shortened(plain_name(one.class_), 24) for one in maps.lost]
    assert words[-5:] == ["image of an unseen class", "of a seen class", *names]
    drawn = [path.get("class") for path in paths]
    assert drawn.index("swarm") < drawn.index("swarm unseen") < drawn.index("m1 swarm picked")  # these lie on top


def test_a_projection_that_does_not_fit_the_names_is_left_out():
    data = about()
    assert sections([], replace(data, names=["a"])) == []
    assert sections([], replace(data, projection=replace(data.projection, high=[(0.0, 1.0)]))) == []
    assert len(sections([], data)) == 1


def test_hostile_names_are_escaped():
    for section in sections([a_run(HOSTILE), a_run("sae", 1)], about()):
        assert "<script" not in section.figure
        ElementTree.fromstring(section.figure)

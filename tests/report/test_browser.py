"""The page in a browser: no complaint, no request, and every control works with the keyboard alone."""

import pytest

from firstsight.report import write_report
from firstsight.report.curves import riding
from tests.support.synthetic import synthetic_results

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    small = {"n_seen": 12, "n_unseen": 8, "per_class": (10, 12)}
    methods = ["spaen", "eszsl", "ale", "sje", "latem", "devise", "sync", "</script><b>x"]
    synthetic_results(folder, names=("CUB", "SUN"), methods=methods[:2] + methods[-1:], seeds=range(2), **small)
    synthetic_results(folder, names=("CUB",), methods=methods[:-1], seeds=range(2), **small)
    return write_report(folder, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture
def open_page(browser, out):
    """A function that opens the page; whatever a page complains of or asks for fails the test."""
    complaints, requests, views = [], [], []

    def open_page(**options):
        view = browser.new_page(**({"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"} | options))
        view.on("console", lambda message: complaints.append(message.text))
        view.on("pageerror", lambda error: complaints.append(str(error)))
        view.on("request", lambda request: requests.append(request.url))
        view.goto(out.as_uri())
        views.append(view)
        return view

    yield open_page
    for view in views:
        view.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


def live(view, method):
    """u, s, H of a method in the first table beside a slider."""
    row = view.locator("#trade-1 .riders tbody tr", has_text=method).first
    return [float(row.locator(f"[data-live={name}]").inner_text()) for name in "ush"]


def test_a_phone_and_themes(open_page):
    view = open_page(viewport={"width": 390, "height": 800})
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
    dark = open_page(color_scheme="dark")
    assert dark.evaluate(paper) != light
    assert dark.inner_text("#theme") == "Light"


def test_sorting_with_the_keyboard(open_page):
    view = open_page()
    table = view.locator("#data-1 table.main")
    head = table.locator("thead tr").nth(1).locator("th").nth(2)
    values = "rows => rows.map(row => Number(row.cells[2].dataset.value))"
    head.locator("button").focus()
    view.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    found = table.locator("tbody tr").evaluate_all(values)
    assert found == sorted(found, reverse=True)
    view.keyboard.press("Space")
    assert head.get_attribute("aria-sort") == "ascending"
    assert table.locator("tbody tr").evaluate_all(values) == sorted(found)
    assert table.locator("[aria-sort]").count() == 1


def test_the_slider_with_the_keyboard(open_page):
    view = open_page()
    slider = view.get_by_label("Balance of unseen and seen accuracy").first
    curves = view.evaluate("JSON.parse(document.querySelector('[data-curves]').textContent)")
    by_name = {curve["name"]: list(zip(curve["u"], curve["s"], strict=True)) for curve in curves}
    assert live(view, "ESZSL") == pytest.approx(riding(by_name["ESZSL"], 50)[:3], abs=0.051)
    before = view.locator("#trade-1 .ring").first.get_attribute("cx")
    slider.focus()
    for _ in range(3):
        view.keyboard.press("ArrowRight")
    assert slider.input_value() == "53"
    assert slider.get_attribute("aria-valuetext") == "u : s = 53 : 47"
    assert view.locator("#found-1").inner_text().startswith("u : s = 53 : 47; highest of those shown: ")
    assert view.get_attribute("#found-1", "aria-live") == "polite"
    for name in ("SP-AEN", "ESZSL"):
        assert live(view, name) == pytest.approx(riding(by_name[name], 53)[:3], abs=0.051)
    assert view.locator("#trade-1 .ring").first.get_attribute("cx") != before
    view.keyboard.press("Home")
    u, s, h = live(view, "ESZSL")
    assert (u, h) == (0, 0)
    assert s > 0
    view.keyboard.press("End")
    u, s, h = live(view, "ESZSL")
    assert (s, h) == (0, 0)
    assert u > 0


def test_choosing_methods(open_page):
    view = open_page()
    rows = view.locator("#trade-1 .riders tbody tr")
    assert rows.count() == 8
    groups = "[...document.querySelectorAll('#trade-1 g[data-slot]')]"
    drawn = f"{groups}.filter(one => one.style.display !== 'none').length"
    assert view.evaluate(drawn) == 2 * 6
    last = rows.nth(7).get_by_role("checkbox")
    assert not last.is_checked()
    last.focus()
    view.keyboard.press("Space")
    assert view.evaluate(drawn) == 2 * 7
    first = rows.nth(0).get_by_role("checkbox")
    name = rows.nth(0).locator("label").inner_text().strip()
    assert f"shown: {name}," in view.inner_text("#found-1")
    first.focus()
    view.keyboard.press("Space")
    assert f"shown: {name}," not in view.inner_text("#found-1")


def test_paper_shows_what_is_folded(open_page):
    view = open_page(viewport={"width": 718, "height": 900})
    folded = view.locator("details:not([open])").count()
    assert folded > 0
    view.emulate_media(media="print")
    view.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert view.locator("details:not([open])").count() == 0
    assert view.evaluate("document.documentElement.scrollWidth") <= 718
    assert not view.locator("#theme").is_visible()
    assert not view.locator("#balance-1").is_visible()
    view.evaluate("dispatchEvent(new Event('afterprint'))")
    assert view.locator("details:not([open])").count() == folded


def test_without_script_everything_is_there(open_page, browser, out):
    context = browser.new_context(java_script_enabled=False)
    view = context.new_page()
    view.goto(out.as_uri())
    assert not view.locator("#balance-1").is_visible()
    assert not view.locator("#trade-1 input[type=checkbox]").first.is_visible()
    assert view.locator("#trade-1 g[data-slot]").first.is_visible()
    assert view.locator("#data-1 table.main tbody tr").count() == 8
    context.close()

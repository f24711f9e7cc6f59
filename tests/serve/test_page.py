"""The page in a browser: a picture is named, a class is described, and all of it with the keyboard alone."""

import time

import pytest

from tests.support.browsing import GOLD, ranking, slide, until, upload
from tests.support.colours import CLASSES, Painter, colours, picture

pytest.importorskip("fastapi", reason="needs the extra serve")

pytestmark = pytest.mark.browser
slow = pytest.mark.slow  # all of these together; the others are what must never break


def test_a_picture_is_named(open_page):
    view = open_page()
    assert "6 classes: 4 learned from pictures, 2 known only from a description." in view.inner_text("#about")
    assert view.is_visible("#nothing")
    upload(view)
    rows = ranking(view)
    assert rows[0][:2] == ("Lemon", ["unseen"])
    assert [chance for *_, chance in rows] == sorted((chance for *_, chance in rows), reverse=True)
    assert {name: tags for name, tags, _ in rows}["Sea"] == ["seen"]
    assert view.get_attribute("#said", "aria-live") == "polite"
    assert view.inner_text("#said").startswith("Best: Lemon, ")
    assert view.inner_text("#because-title").startswith("Why Lemon rather than ")
    assert view.locator("#for li").count() >= 1
    assert not view.is_visible("#nothing")
    assert not view.is_visible("#reconstructed")  # this model does not draw
    assert view.evaluate("document.getElementById('shown').naturalWidth") == 640
    view.get_by_label("seen only", exact=True).check()
    until(view, "document.querySelectorAll('#ranking li').length === 4")
    assert {tag for _, tags, _ in ranking(view) for tag in tags} == {"seen"}


def test_a_described_class_enters_the_ranking_and_stays_when_saved(open_page):
    view = open_page()
    upload(view)
    before = ranking(view)
    slide(view, "colour: blue", 2)
    slide(view, "colour: red", 85)
    after = ranking(view)
    assert not view.is_visible("#imagined")
    assert [tags for name, tags, _ in after if name == "new class"] == [["unseen", "not saved"]]
    assert [name for name, *_ in after if name != "new class"] == [name for name, *_ in before][:5]
    assert view.inner_text("#standing").startswith("“new class” comes ")
    assert view.get_attribute("#standing", "aria-live") == "polite"
    place = [name for name, *_ in after].index("new class")
    slide(view, "colour: green", 0)
    worse = ranking(view)
    assert [name for name, *_ in worse].index("new class") > place
    slide(view, "colour: green", 70)
    view.fill("#name", "Golden hour")
    view.click("#save")
    view.wait_for_selector("#kept li")
    until(view, "document.getElementById('standing').textContent === '“Golden hour” is saved, one of 7 classes now.'")
    assert {name: tags for name, tags, _ in ranking(view)}["Golden hour"] == ["unseen", "added"]
    assert view.input_value("#name") == ""
    view.get_by_role("button", name="Delete Golden hour").click()
    until(view, "document.querySelectorAll('#kept li').length === 0")
    until(view, "!document.getElementById('ranking').textContent.includes('Golden hour')")
    view.get_by_role("button", name="Undo").click()
    view.wait_for_selector("#kept li")
    until(view, "document.getElementById('ranking').textContent.includes('Golden hour')")


def test_a_class_that_is_being_saved_is_not_asked_about(open_page):
    """Its name would be known and new at once, which the server refuses."""
    view = open_page()
    upload(view)
    ranking(view)

    def answered_late(route):
        if route.request.method != "POST":
            route.fallback()
            return
        answer = route.fetch()
        time.sleep(0.5)  # longer than the page waits after a key
        route.fulfill(response=answer)

    view.route("**/v1/classes", answered_late)
    slide(view, "colour: red", 85)
    view.fill("#name", "Golden hour")
    view.click("#save")
    view.wait_for_selector("#kept li")
    until(view, "document.getElementById('ranking').textContent.includes('Golden hour')")


def painted(view, image):
    """The colour in the middle of a picture on the page."""
    until(view, f"document.querySelector('{image}').naturalWidth > 0")
    return view.evaluate(
        """image => {
          const pen = document.createElement("canvas").getContext("2d");
          pen.drawImage(document.querySelector(image), 0, 0, 9, 9);
          return [...pen.getImageData(4, 4, 1, 1).data].slice(0, 3);
        }""",
        image,
    )


def test_drawings_stand_beside_the_picture_and_follow_the_sliders(open_page):
    view = open_page(colours(method=Painter()))
    upload(view)
    ranking(view)
    assert painted(view, "#reconstruction") == pytest.approx(GOLD, abs=4)  # the picture is a JPEG
    both = [view.locator(image).bounding_box() for image in ("#shown", "#reconstruction")]
    assert both[0]["y"] == both[1]["y"]
    assert [box["width"] / box["height"] for box in both] == pytest.approx([640 / 420] * 2, abs=0.02)
    view.select_option("#like", "006.Lemon")
    view.wait_for_selector("#imagined-start")
    lemon = [round(255 * value) for value in CLASSES["006.Lemon"][:3]]
    assert painted(view, "#imagined-start img") == pytest.approx(lemon, abs=1)
    assert view.inner_text("#imagined-start") == "Lemon"
    assert not view.is_visible("#imagined-now")
    slide(view, "colour: red", 0)
    view.wait_for_selector("#imagined-now")
    assert painted(view, "#imagined-now img") == pytest.approx([round(25.5), *lemon[1:]], abs=1)
    assert painted(view, "#imagined-start img") == pytest.approx(lemon, abs=1)
    view.click("#reset")
    view.wait_for_selector("#imagined", state="hidden")


def test_the_last_description_is_the_one_that_is_drawn(open_page):
    view = open_page(colours(method=Painter()))
    held = []
    view.route("**/v1/imagine", lambda route: route.continue_() if held else held.append(route))
    red = view.get_by_label("colour: red", exact=True).first
    with view.expect_request("**/v1/imagine"):
        red.fill("0")
    red.fill("100")
    view.wait_for_selector("#imagined-now")
    assert painted(view, "#imagined-now img")[0] == 255
    until(view, "document.getElementById('imagined').getAttribute('aria-busy') === 'false'")
    held[0].continue_()
    view.wait_for_timeout(300)
    assert painted(view, "#imagined-now img")[0] == 255
    assert view.inner_text("#imagined-start") == "the average"


@slow
def test_starting_from_a_class(open_page):
    view = open_page()
    upload(view)
    ranking(view)
    with view.expect_response("**/v1/predict"):
        view.select_option("#like", "006.Lemon")
    rows = ranking(view)
    assert {name for name, *_ in rows[:2]} == {"Lemon", "new class"}
    assert rows[0][2] == rows[1][2]
    values = view.locator("#groups input").evaluate_all("all => all.map(one => Number(one.value))")
    assert values == [89, 89, 0, 10, 90]  # (0.9 - 0.1) / (1.0 - 0.1), ..
    slide(view, "colour: red", 20)
    assert ranking(view)[0][0] == "Lemon"
    view.click("#reset")
    until(view, "!document.getElementById('ranking').textContent.includes('not saved')")
    assert view.input_value("#like") == ""


@slow
def test_a_group_can_be_made_one_value(open_page):
    view = open_page()
    view.get_by_label("only colour: green").click()
    values = view.locator("#groups input").evaluate_all("all => all.slice(0, 3).map(one => Number(one.value))")
    assert values == [0, 100, 0]
    assert view.locator("summary").first.inner_text().split("\n")[-2:] == ["green", "3 changed"]
    assert view.inner_text("#standing") == "Choose a picture to see how this class ranks."


@slow
def test_attributes_are_found_by_typing(open_page):
    view = open_page()
    shown = "all => all.filter(one => one.checkVisibility()).map(one => one.getAttribute('aria-label'))"
    sliders = view.locator("#groups input")
    assert len(sliders.evaluate_all(shown)) == 3  # the first group is open
    view.fill("#filter", "bri")
    assert sliders.evaluate_all(shown) == ["light: bright"]
    view.fill("#filter", "light dark")
    assert sliders.evaluate_all(shown) == ["light: dark"]
    view.fill("#filter", "zebra")
    assert view.is_visible("#no-match")
    view.fill("#filter", "")
    assert len(sliders.evaluate_all(shown)) == 3
    assert not view.is_visible("#no-match")


def test_a_bad_file_shows_the_sentence(open_page):
    view = open_page(expect=("422",))
    upload(view, b"this is not a picture", name="notes.jpg")
    view.wait_for_selector("#problem:not([hidden])")
    sentence = "File must be a picture (JPEG, PNG, WebP, BMP, TIFF or GIF); got something else."
    assert view.inner_text("#problem") == sentence
    assert view.get_attribute("#problem", "role") == "alert"
    assert view.inner_text("#nameless") == "notes.jpg"
    upload(view)
    assert ranking(view)[0][0] == "Lemon"
    assert not view.is_visible("#problem")


@slow
def test_names_that_are_taken_or_missing(open_page):
    view = open_page(expect=("409",))
    upload(view)
    ranking(view)
    slide(view, "colour: red", 70)
    view.click("#save")
    assert view.inner_text("#save-problem") == "Name must be given; got none."
    assert view.evaluate("document.activeElement.id") == "name"
    view.fill("#name", "003.Sea")
    view.click("#save")
    view.wait_for_selector("#save-problem:not([hidden])")
    assert view.inner_text("#save-problem") == "Name must be new; got '003.Sea', which is known."
    assert not view.is_visible("#problem")


@slow
def test_a_key_is_asked_for_where_one_is_needed(open_page):
    view = open_page(expect=("401",), server={"api_key": "sesame"})
    view.fill("#name", "Dusk")
    view.select_option("#like", "004.Night")
    view.click("#save")
    view.wait_for_selector("#save-problem:not([hidden])")
    assert view.inner_text("#save-problem").startswith("Api key must be the server's to change classes; got none")
    view.fill("#key", "sesame")
    view.click("#save")
    view.wait_for_selector("#kept li")
    assert view.inner_text("#kept li span") == "Dusk"


@slow
def test_with_the_keyboard_alone(open_page):
    from playwright.sync_api import TimeoutError as Missed

    view = open_page()
    press = view.keyboard.press

    def tab_to(selector):
        for _ in range(60):
            if view.evaluate("one => document.activeElement.matches(one)", selector):
                return
            press("Tab")
        raise AssertionError(f"the keyboard does not reach {selector}")

    tab_to("#file")
    for _ in range(5):  # a busy browser may miss a key
        try:
            with view.expect_file_chooser(timeout=5000) as chooser:
                press("Space")
            break
        except Missed:
            continue
    chooser.value.set_files({"name": "light.jpg", "mimeType": "image/jpeg", "buffer": picture(GOLD, "JPEG")})
    assert ranking(view)[0][0] == "Lemon"
    tab_to("#name")
    view.keyboard.type("Straw")
    tab_to("#like")
    view.keyboard.type("lem")
    until(view, "document.getElementById('ranking').textContent.includes('Straw')")
    tab_to("#groups input[type=range]")
    with view.expect_response("**/v1/predict"):
        press("ArrowLeft")
    assert view.evaluate("document.activeElement.value") == "88"
    tab_to("#save")
    press("Enter")
    view.wait_for_selector("#kept li")
    tab_to("#kept button")
    press("Enter")
    until(view, "document.activeElement.textContent === 'Undo'")
    press("Enter")
    view.wait_for_selector("#kept li")


@slow
def test_a_picture_is_pasted_or_dropped(open_page):
    view = open_page()
    bring = """async ([kind, property, bytes]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([new Uint8Array(bytes)], "brought.png", { type: "image/png" }));
      const event = kind === "paste" ? new ClipboardEvent(kind, { bubbles: true, clipboardData: transfer })
        : new DragEvent(kind, { bubbles: true, dataTransfer: transfer });
      document.body.dispatchEvent(event);
    }"""
    view.evaluate(bring, ["paste", "clipboardData", list(picture("blue"))])
    assert ranking(view)[0][0] == "Sea"
    view.evaluate(bring, ["drop", "dataTransfer", list(picture("red"))])
    until(view, "document.querySelector('#ranking b').textContent === 'Fire engine'")


@slow
def test_a_phone_and_the_dark(open_page):
    view = open_page(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    paper = "getComputedStyle(document.body).backgroundColor"
    assert view.evaluate(paper) == "rgb(250, 248, 243)"
    upload(view)
    ranking(view)
    slide(view, "colour: red", 70)
    assert view.evaluate("document.documentElement.scrollWidth") == 390
    view.locator("#theme").tap()
    assert view.evaluate(paper) == "rgb(22, 21, 19)"
    assert view.get_attribute("#theme", "aria-pressed") == "true"
    dark = open_page(color_scheme="dark")
    assert dark.evaluate(paper) == "rgb(22, 21, 19)"
    assert dark.inner_text("#theme") == "Light"


@slow
def test_vectors_without_names_have_no_sliders(open_page):
    view = open_page(colours(named=False))
    assert view.inner_text("#no-attributes").startswith("This model describes classes by 5 numbers without names")
    assert not view.is_visible("#editor")
    upload(view)
    assert ranking(view)[0][0] == "Lemon"
    assert not view.is_visible("#because")


@slow
def test_every_control_has_a_name(open_page):
    view = open_page()
    upload(view)
    ranking(view)
    nameless = view.evaluate(
        """[...document.querySelectorAll("input, select, button")].filter((one) => !one.labels?.length
          && !one.getAttribute("aria-label") && !one.textContent.trim()).map((one) => one.outerHTML)"""
    )
    assert nameless == []
    assert view.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map(one => Number(one.tagName[1]))")[0] == 1
    assert view.evaluate("document.documentElement.lang") == "en"

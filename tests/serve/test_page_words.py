"""The page's box for words: the ranking follows what is typed, and the class is kept as it was described."""

import pytest

from tests.support.browsing import ranking, slide, until, upload
from tests.support.colours import ATTRIBUTES, Painter, worded

pytest.importorskip("fastapi", reason="needs the extra serve")
pytestmark = pytest.mark.browser
slow = pytest.mark.slow


def say(view, words):
    """Type into the box, and wait until the ranking has followed."""
    with view.expect_response("**/v1/predict"):
        view.get_by_label("Describe it in words").fill(words)
    view.wait_for_selector("#look[aria-busy=false]")


def test_the_ranking_follows_the_words_and_the_class_is_kept(open_page):
    view = open_page(worded())
    assert not view.is_visible("#groups")
    assert not view.is_visible("#like")
    assert not view.is_visible("#no-attributes")
    assert not view.is_visible("#no-match")
    assert view.inner_text("#standing") == "Say what it looks like."
    upload(view)
    ranking(view)
    say(view, "dark as the night")
    far = next(row for row in view.locator("#ranking li").all() if "not saved" in row.inner_text())
    assert far.get_attribute("class").split()[-1] in ("draft-row", "apart")
    say(view, "yellow like a lemon")
    rows = ranking(view)
    assert {name for name, *_ in rows[:2]} == {"Lemon", "new class"}
    assert rows[0][2] == rows[1][2]
    say(view, "a lemon\nin the snow")  # two texts, averaged
    assert ranking(view)[1][0] == "new class"
    view.fill("#name", "Pale lemon")
    view.get_by_label("Describe it in words").focus()
    view.keyboard.press("Control+Enter")
    view.wait_for_selector("#kept li")
    until(view, "document.getElementById('standing').textContent === '“Pale lemon” is saved, one of 7 classes now.'")
    assert {name: tags for name, tags, _ in ranking(view)}["Pale lemon"] == ["unseen", "added"]
    assert view.input_value("#words") == view.input_value("#name") == ""
    view.get_by_role("button", name="Delete Pale lemon").click()
    until(view, "document.querySelectorAll('#kept li').length === 0")
    view.get_by_role("button", name="Undo").click()
    view.wait_for_selector("#kept li")


@slow
def test_the_last_words_win(open_page):
    view = open_page(worded())
    upload(view)
    ranking(view)
    held = []
    view.route("**/v1/predict", lambda route: route.continue_() if held else held.append(route))
    box = view.get_by_label("Describe it in words")
    with view.expect_request("**/v1/predict"):
        box.fill("night")
    say(view, "lemon")
    held[0].continue_()
    view.wait_for_timeout(300)
    assert {name for name, *_ in ranking(view)[:2]} == {"Lemon", "new class"}


@slow
def test_words_stand_beside_sliders_and_are_drawn(open_page):
    view = open_page(worded(beside=2, method=Painter()))
    upload(view)
    ranking(view)
    assert view.inner_text("#standing") == "Say what it looks like, move a slider or start from a class."
    slide(view, "colour: red", 90)
    with view.expect_response("**/v1/imagine"), view.expect_request("**/v1/predict") as asked:
        view.get_by_label("Describe it in words").fill("snow")
    described = asked.value.post_data_json["extra_classes"][0]
    assert described.keys() == {"name", "attributes", "description"}
    assert described["attributes"].keys() == {ATTRIBUTES[0]}
    view.wait_for_selector("#imagined-now")
    assert not view.is_visible("#imagined-start")
    assert view.inner_text("#imagined-now") == "in words"
    with view.expect_response("**/v1/imagine"):
        view.select_option("#like", "006.Lemon")
    view.wait_for_selector("#imagined-start")


@slow
def test_a_phone_and_a_box_that_grows(open_page):
    view = open_page(worded(), viewport={"width": 390, "height": 844}, is_mobile=True, color_scheme="dark")
    upload(view)
    ranking(view)
    say(view, "snow " * 60)
    assert view.evaluate("document.documentElement.scrollWidth") == 390
    assert view.evaluate("(one => one.scrollHeight <= one.clientHeight + 1)(document.getElementById('words'))")
    paper = "rgb(22, 21, 19)"
    assert view.evaluate("getComputedStyle(document.body).backgroundColor") == paper

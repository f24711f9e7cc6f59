"""The server's page in a browser, and what tests do there; `conftest.py` hands the fixtures on."""

import threading
import time

import pytest

from tests.support.colours import colours, picture

GOLD = (222, 180, 60)


@pytest.fixture
def served():
    """A function that starts a server in a thread and returns its address."""
    import uvicorn

    from firstsight.serve import make_app
    from firstsight.serve.server import listening

    running = []

    def serve(recogniser=None, **options):
        place = listening("127.0.0.1", 0)
        app = make_app(recogniser or colours(), **options)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True)
        thread.start()
        running.append((server, thread, place))
        return f"http://127.0.0.1:{place.getsockname()[1]}"

    yield serve
    for server, thread, place in running:
        server.should_exit = True
        thread.join(5)
        place.close()


@pytest.fixture
def open_page(browser, served):
    """A function that opens the page; a complaint that is not expected or a request elsewhere fails the test."""
    complaints, requests, views, expected = [], [], [], []

    def open_page(recogniser=None, expect=(), server=None, **options):
        expected.extend(expect)
        address = served(recogniser, **(server or {}))
        view = browser.new_page(**({"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"} | options))
        view.set_default_timeout(60_000)
        view.on("console", lambda message: complaints.append(message.text))
        view.on("pageerror", lambda error: complaints.append(str(error)))
        view.on("request", lambda request: requests.append((address, request.url)))
        view.goto(address)
        view.wait_for_selector("#editor:not([hidden]), #no-attributes:not([hidden])")
        views.append(view)
        return view

    yield open_page
    for view in views:
        view.close()
    assert [text for text in complaints if not any(one in text for one in expected)] == []
    assert [url for address, url in requests if not url.startswith((address, "data:", "blob:"))] == []


def upload(view, colour=GOLD, kind="JPEG", name="light.jpg"):
    content = picture(colour, kind, (640, 420)) if isinstance(colour, tuple) else colour
    view.set_input_files("#file", {"name": name, "mimeType": f"image/{kind.lower()}", "buffer": content})


def until(view, expression):
    """Wait for something to be true; Playwright's own way needs eval, which the page's policy forbids."""
    end = time.monotonic() + 60
    while not view.evaluate(expression):
        assert time.monotonic() < end, expression
        view.wait_for_timeout(30)


def ranking(view):
    """(name, tags, percent) of each row."""
    view.wait_for_selector("#look[aria-busy=false] #ranking li")
    return [
        (
            row.locator("b").inner_text(),
            row.locator(".kind").all_inner_texts(),
            float(row.locator(".chance").inner_text().replace("\N{NO-BREAK SPACE}", "").strip("<%")),
        )
        for row in view.locator("#ranking li").all()
    ]


def slide(view, attribute, value):
    """Move a slider, and wait until the ranking has followed."""
    with view.expect_response("**/v1/predict"):
        view.get_by_label(attribute, exact=True).first.fill(str(value))
    view.wait_for_selector("#look[aria-busy=false]")

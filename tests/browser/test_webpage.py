"""The page without a server, in Chromium: Python's numbers, a click, the keyboard, a phone."""

from __future__ import annotations

import json

import numpy as np
import pytest

import satclip_explore as sx

pytestmark = pytest.mark.ui


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    from satclip_explore.webpage import page

    before = page.TEXTURE_DEGREES
    page.TEXTURE_DEGREES = 2.0
    try:
        yield sx.to_html(sx.load_encoder("mini-l10"), tmp_path_factory.mktemp("page") / "page.html")
    finally:
        page.TEXTURE_DEGREES = before


@pytest.fixture
def open_page(browser, page_file):
    """Open the file in a window of a size; it may ask for nothing and complain of nothing."""
    contexts, wrong = [], []

    def opened(width, height, **more):
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **more))
        page = contexts[-1].new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda r: None if r.url.startswith(("file:", "data:")) else wrong.append(r.url),
        )
        page.goto(page_file.as_uri())
        page.locator("body[data-ready=yes]").wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not wrong


def test_its_numbers_are_pythons_at_a_thousand_places(open_page):
    rng = np.random.default_rng(0)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, 1000)))
    places = np.stack([rng.uniform(-180, 180, 1000), lat], axis=1)
    places[:4] = [[0, 90], [77, -90], [-180, 10], [180, 10]]
    text = open_page(900, 700).evaluate(
        "p => JSON.stringify(p.map(place => Array.from(explorer.encoder.embed(...place))))",
        places.tolist(),
    )
    expected = sx.load_encoder("mini-l10").embed(places)
    assert np.abs(np.array(json.loads(text)) - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_click_shows_the_place_and_what_is_like_it(open_page):
    page = open_page(1200, 800)
    globe = page.locator("#globe").bounding_box()
    page.mouse.click(globe["x"] + globe["width"] / 2, globe["y"] + globe["height"] / 2)
    assert page.locator("#name").inner_text() != "…"
    assert page.locator("#list .row").count() == 8
    cosine = [float(text) for text in page.locator("#list .cosine").all_inner_texts()]
    assert cosine == sorted(cosine, reverse=True)
    clicked = page.locator("#at").inner_text()
    page.locator("#typed").fill("33.87 S, 151.2 E")
    page.get_by_role("button", name="Go", exact=True).click()
    assert page.locator("#at").inner_text() == clicked, "an S is not passed over"
    assert not page.locator("#typed").evaluate("field => field.checkValidity()")
    page.locator("#typed").fill("-1.3, 36.8")
    page.get_by_role("button", name="Go", exact=True).click()
    assert page.locator("#name").inner_text() == "Kenya"
    assert page.locator("#at").inner_text() == "1.30° S, 36.80° E"
    page.get_by_role("button", name="Likeness").click()
    low, high = (float(page.locator(f"#{end}").inner_text()) for end in ("low", "high"))
    assert -1 <= low < high <= 1
    page.get_by_role("button", name="Map").click()
    # The middle of the map is the equator; a click moves there.
    page.locator("#globe").focus()
    page.keyboard.press("Shift+ArrowUp")
    assert page.locator("#at").inner_text().startswith("8.70° N")
    times = page.evaluate(
        "[...Array(15).keys()].map(i => (explorer.choose(12 * i, 5 * i), explorer.here.took))"
    )
    # 0.1 s is asked for; the median, since other tests may run beside this one.
    assert np.median(times) < 100


def test_a_phone_scrolls_and_shows_all(open_page):
    page = open_page(390, 844, device_scale_factor=2, is_mobile=True, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator("#globe").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.locator("#list .row").last.scroll_into_view_if_needed()
    assert page.locator("#list .row").last.is_visible()

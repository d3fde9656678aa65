"""The real page in a real browser, with every request that is not local blocked and recorded."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest

pytestmark = pytest.mark.ui

PIXELS = """() => {
  const found = []
  const walk = node => {
    for (const child of node.children ?? []) walk(child)
    if (node.shadowRoot) walk(node.shadowRoot)
    if (node.tagName === 'CANVAS' && node.width > 400) found.push(node)
  }
  walk(document.body)
  return found.map(canvas => {
    const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
    const colors = new Set()
    for (let i = 0; i < data.length; i += 4 * 97) {
      colors.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2])
    }
    return colors.size
  })
}"""


def canvas_of(seen, title):
    """The drawing of the card with this title."""
    column = ".bk-panel-models-layout-Column"
    return seen.page.locator(column, has_text=title).locator("canvas").first


def settle(seen):
    """Wait until nothing says that it is being computed."""
    seen.page.wait_for_function("() => true")
    seen.page.locator(".busy").first.wait_for(state="hidden")


def click_until_moved(seen, box, across, down):
    """Click into a box until the selection has left Berlin: what is being drawn takes no clicks."""
    from playwright.sync_api import TimeoutError

    berlin = seen.page.locator(".where", has_text="52.50° N").first
    for _ in range(8):
        seen.page.mouse.click(box["x"] + box["width"] * across, box["y"] + box["height"] * down)
        with suppress(TimeoutError):
            return berlin.wait_for(state="detached", timeout=4_000)
    raise AssertionError("the selection did not move")


def move_the_threshold(seen):
    """Click into the slider; the colors follow in the browser alone."""
    from playwright.sync_api import TimeoutError

    slider = seen.page.get_by_role("slider").first
    slider.scroll_into_view_if_needed()
    low = """() => Bokeh.documents[0].all_models ? [...Bokeh.documents[0].all_models]
      .filter(m => m.type === 'LinearColorMapper').map(m => m.low) : null"""
    before = seen.page.evaluate(low)
    # The slider moves when a card above it grows: what the click then hits is no fault of it.
    for timeout in (10_000, 10_000, 60_000):
        box = seen.steady_box(slider.locator("xpath=../.."))
        seen.page.mouse.click(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.5)
        moved = f"before => Math.max(...({low})()) > before"
        with suppress(TimeoutError):
            return seen.page.wait_for_function(moved, arg=max(before), timeout=timeout)
    pytest.fail("the threshold did not move in three clicks")


def test_the_first_visitor_gets_a_full_page_and_clicks_move_threshold_and_selection(
    visit, accessible
):
    seen = visit()
    seen.wait_for_place("52.50° N")
    seen.page.get_by_text("Places like this one").first.wait_for()
    seen.page.locator("table.n tr").nth(1).wait_for()
    seen.page.locator(".leaflet-container").wait_for()
    settle(seen)
    seen.page.wait_for_timeout(500)
    assert seen.outside == []
    assert seen.errors == []
    assert "52.50° N, 13.40° E" in seen.place()
    assert max(seen.page.evaluate(PIXELS)) > 300  # the world has been painted, not one flat color
    accessible(seen.page)
    move_the_threshold(seen)
    # A click on the map moves the selection, and the embedding with it.
    before = seen.page.locator(".strip").first.inner_html()
    chart = seen.page.locator(".leaflet-container")
    chart.wait_for()
    chart.locator(".leaflet-tile-pane img[src*=basemap]").wait_for()
    chart.locator(".leaflet-overlay-pane img[src*=webp]").wait_for()
    chart.scroll_into_view_if_needed()
    click_until_moved(seen, seen.steady_box(chart), 0.5, 0.75)
    assert seen.page.locator(".strip").first.inner_html() != before


def test_typed_words_clicks_and_wheel_move_what_is_shown(visit):
    seen = visit()
    field = seen.page.get_by_label("Find a place")
    field.fill("<img src=x onerror=alert(1)>")
    field.press("Enter")
    alert = seen.page.get_by_role("alert").first
    alert.wait_for()
    assert "no place is called" in alert.inner_text()
    assert "52.50° N" in seen.place()
    # A click on the colors selects there.
    settle(seen)
    colors = canvas_of(seen, "The world as the encoder sees it")
    click_until_moved(seen, seen.steady_box(colors), 0.25, 0.5)
    lat, lon = (float(number) for number in re.findall(r"\d+\.\d+", seen.place()))
    assert lat == pytest.approx(0.0, abs=1.0)
    assert lon == pytest.approx(90.0, abs=1.0)
    assert "W" in seen.place()
    field.fill("33°52'S 151°12'E")
    field.press("Enter")
    seen.wait_for_place("33.87° S, 151.20° E")
    # What comes into view by the wheel is encoded afresh.
    box = seen.steady_box(colors)
    seen.page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.4)
    for _ in range(4):
        seen.page.mouse.wheel(0, -300)
    seen.page.wait_for_function("() => location.search.includes('view=')")
    view = re.search(r"view=([^&]*)", seen.page.url).group(1)
    lon_min, _, lon_max, _ = (float(part) for part in view.split(","))
    assert lon_max - lon_min < 250.0
    assert -180.0 <= lon_min < 0.0 < lon_max <= 180.0
    settle(seen)
    assert seen.errors == []


ON_MAP = """() => {
  let at = document.activeElement
  while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement
  return at.classList.contains("bk-events")
}"""


def test_keys_search_back_a_copied_link_and_another_encoder(visit):
    seen = visit()
    page = seen.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.keyboard.press("?")
    page.locator("dialog[open]").wait_for()
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    page.keyboard.press("/")
    page.keyboard.type("Nairobi")
    page.keyboard.press("Enter")
    seen.wait_for_place("1.28° S, 36.81° E")
    page.get_by_role("button", name="Copy link").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert "at=36.815,-1.281" in page.evaluate("() => navigator.clipboard.readText()")
    page.go_back()
    seen.wait_for_place("52.50° N, 13.40° E")
    # The first map is reached by Tab, and arrows move the place on it.
    page.get_by_role("button", name="Dark or light").focus()
    for _ in range(8):
        page.keyboard.press("Tab")
        if page.evaluate(ON_MAP):
            break
    page.keyboard.press("ArrowUp")
    seen.wait_for_place("56.10° N, 13.40° E")
    settle(seen)
    strip = page.locator(".strip").first
    before = strip.inner_html()
    page.get_by_role("combobox", name="Encoder").click()
    page.get_by_role("menuitem", name="xyz", exact=True).click()
    page.locator(".numbers", has_text="3 numbers").wait_for()
    # The numbers, their strip and the address come in messages of their own.
    page.wait_for_url("**encoder=xyz*")
    for _ in range(100):
        if strip.inner_html() != before:
            break
        page.wait_for_timeout(100)
    assert strip.inner_html() != before
    # Arrows choose the name of a page, too.
    page.get_by_role("button", name="Explore", exact=True).focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Label the marked place").press("Enter")
    page.get_by_text("Choose desert above").wait_for()
    assert seen.errors == []


HOSTILE = "?at=" + "9" * 1500 + "&stretch=<script>alert(1)</script>&encoder=../../etc/passwd&land=0"


def test_hostile_addresses_are_left_out_key_by_key_with_a_sentence(visit):
    seen = visit(HOSTILE)
    alert = seen.page.get_by_role("alert").first
    alert.wait_for()
    for words in ("'at'", "'stretch'", "encoder that is not on this machine"):
        assert words in alert.inner_text()
    assert "script" not in alert.inner_html()
    assert "52.50° N" in seen.place()
    seen.page.get_by_text("land and sea").first.wait_for()
    assert seen.errors == []


def test_a_phone_restores_a_view_and_shows_everything_without_scrolling_sideways(visit):
    seen = visit("?at=151.2,-33.9&components=4·5·6&land=0", width=390, height=844)
    assert "33.90° S, 151.20° E" in seen.place()
    seen.page.locator(".hint", has_text="PC4").wait_for()
    seen.page.get_by_text("land and sea").first.wait_for()
    assert seen.page.get_by_role("alert").count() == 0
    settle(seen)
    assert seen.page.evaluate("() => document.scrollingElement.scrollWidth") <= 390
    figures = [figure.bounding_box() for figure in seen.page.locator(".bk-Figure").all()]
    assert len(figures) > 1
    for box in figures:
        assert box["width"] == pytest.approx(2.0 * box["height"], abs=2.0)
    for title in ("The world as the encoder sees it", "Map", "This place", "Places like this one"):
        box = seen.page.get_by_text(title, exact=True).first.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390


# Keeps what the server sends from now on, as if it came late; then lets it through.
HOLD = """() => {
  const {socket} = window
  socket.through = socket.onmessage
  socket.late = []
  socket.onmessage = event => socket.late.push(event)
}"""
LET_GO = """() => {
  const {socket} = window
  socket.onmessage = socket.through
  socket.late.forEach(event => socket.onmessage(event))
}"""
KEEP_SOCKET = """window.WebSocket = class extends WebSocket {
  constructor(...given) { super(...given); window.socket = this }
}"""


def test_a_page_is_loaded_anew_where_its_server_went_and_another_came_and_not_before(
    browser, address, end_server
):
    page = browser.new_page()
    page.clock.install()
    page.add_init_script(KEEP_SOCKET)
    page.set_default_timeout(120_000)
    page.goto(address)
    page.locator(".where", has_text="52.50° N").first.wait_for()
    page.evaluate("window.first = true")
    # Busy: it serves others, and this page hears nothing of it.
    page.evaluate(HOLD)
    working = page.get_by_role("status").filter(has_text="The server is still working")
    away = page.get_by_role("alert").filter(has_text="The server does not answer")
    for _ in range(12):
        page.clock.fast_forward(5_000)
        page.wait_for_timeout(50)
    working.wait_for()
    # A page is turned without the server, which fills it later.
    page.get_by_role("button", name="Label", exact=True).click()
    page.get_by_text("Opening this page").locator("visible=true").wait_for()
    page.evaluate(LET_GO)
    working.wait_for(state="hidden")
    page.get_by_text("Label by clicking", exact=True).wait_for()
    assert page.evaluate("window.first")
    # Gone: the page stays until another server is there.
    end_server()
    page.clock.fast_forward(5_000)
    away.wait_for()
    page.route("**/*", lambda route: route.fulfill(body="another page"))
    with page.expect_navigation():
        page.clock.fast_forward(5_000)
    page.close()

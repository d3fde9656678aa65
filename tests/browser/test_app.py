"""The real page in a real browser, with every request that is not local blocked and recorded."""

from __future__ import annotations

import re

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
    seen.page.locator(".busy").first.wait_for(state="hidden", timeout=60_000)


def steady_box(seen, drawing):
    """Return where a drawing is once the page around it has come to rest."""
    drawing.wait_for()
    box = None
    while box is None or box != drawing.bounding_box():
        box = drawing.bounding_box()
        seen.page.wait_for_timeout(1_000)
    return box


def click_until_moved(seen, box, across, down):
    """Click into a box until the selection has left Berlin: what is being drawn takes no clicks."""
    berlin = seen.page.locator(".where", has_text="52.50° N")
    for _ in range(8):
        seen.page.mouse.click(box["x"] + box["width"] * across, box["y"] + box["height"] * down)
        seen.page.wait_for_timeout(4_000)
        if not berlin.count():
            return
    raise AssertionError("the selection did not move")


def test_the_app_opens_without_leaving_the_machine_and_a_click_moves_the_selection(visit):
    seen = visit()
    seen.page.locator(".leaflet-container").wait_for()
    settle(seen)
    seen.page.wait_for_timeout(500)
    assert seen.outside == []
    assert seen.errors == []
    assert "52.50° N, 13.40° E" in seen.place()
    assert max(seen.page.evaluate(PIXELS)) > 300  # the world has been painted, not one flat color
    # A click on the map moves the selection, and the embedding with it.
    before = seen.page.locator(".strip").first.inner_html()
    chart = seen.page.locator(".leaflet-container")
    chart.wait_for()
    chart.locator(".leaflet-tile-pane img[src*=basemap]").wait_for()
    chart.locator(".leaflet-overlay-pane img[src*=webp]").wait_for()
    click_until_moved(seen, steady_box(seen, chart), 0.5, 0.75)
    assert seen.page.locator(".strip").first.inner_html() != before


def test_typed_nonsense_keeps_the_place_and_typed_coordinates_move_it(visit):
    seen = visit()
    field = seen.page.get_by_label("Find a place")
    field.fill("<img src=x onerror=alert(1)>")
    field.press("Enter")
    alert = seen.page.get_by_role("alert").first
    alert.wait_for()
    assert "no place is called" in alert.inner_text()
    assert "52.50° N" in seen.place()
    field.fill("33°52'S 151°12'E")
    field.press("Enter")
    seen.wait_for_place("33.87° S, 151.20° E")


def test_a_click_on_the_colors_selects_there(visit):
    seen = visit()
    settle(seen)
    box = steady_box(seen, canvas_of(seen, "The world as the encoder sees it"))
    click_until_moved(seen, box, 0.25, 0.5)
    lat, lon = (float(number) for number in re.findall(r"\d+\.\d+", seen.place()))
    assert lat == pytest.approx(0.0, abs=1.0)
    assert lon == pytest.approx(90.0, abs=1.0)
    assert "W" in seen.place()


def test_zooming_encodes_the_visible_range_afresh(visit):
    seen = visit()
    settle(seen)
    box = canvas_of(seen, "The world as the encoder sees it").bounding_box()
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


def test_keys_search_back_and_a_copied_link(visit):
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
    assert seen.errors == []


def test_the_encoder_can_be_switched(visit):
    seen = visit()
    settle(seen)
    before = seen.page.locator(".strip").first.inner_html()
    seen.page.get_by_role("combobox", name="Encoder").click()
    seen.page.get_by_role("menuitem", name="xyz", exact=True).click()
    seen.page.locator(".numbers", has_text="3 numbers").wait_for()
    # The numbers, their strip and the address come in messages of their own.
    seen.page.wait_for_url("**encoder=xyz*")
    strip = seen.page.locator(".strip").first
    for _ in range(100):
        if strip.inner_html() != before:
            break
        seen.page.wait_for_timeout(100)
    assert strip.inner_html() != before


def test_a_view_is_restored_from_its_address(visit):
    seen = visit("?at=151.2,-33.9&components=4·5·6&land=0")
    assert "33.90° S, 151.20° E" in seen.place()
    seen.page.locator(".hint", has_text="PC4").wait_for()
    assert seen.page.get_by_text("land and sea").first.is_visible()
    assert seen.page.get_by_role("alert").count() == 0


HOSTILE = "?at=" + "9" * 1500 + "&stretch=<script>alert(1)</script>&encoder=../../etc/passwd&land=0"


def test_hostile_addresses_are_left_out_key_by_key_with_a_sentence(visit):
    seen = visit(HOSTILE)
    alert = seen.page.get_by_role("alert").first
    alert.wait_for()
    for words in ("'at'", "'stretch'", "encoder that is not on this machine"):
        assert words in alert.inner_text()
    assert "script" not in alert.inner_html()
    assert "52.50° N" in seen.place()
    assert seen.page.get_by_text("land and sea").first.is_visible()
    assert seen.errors == []


def test_the_threshold_moves_in_the_browser_alone(visit):
    from playwright.sync_api import TimeoutError

    seen = visit()
    settle(seen)
    slider = seen.page.get_by_role("slider").first
    slider.scroll_into_view_if_needed()
    low = """() => Bokeh.documents[0].all_models ? [...Bokeh.documents[0].all_models]
      .filter(m => m.type === 'LinearColorMapper').map(m => m.low) : null"""
    before = seen.page.evaluate(low)
    # The slider moves when a card above it grows: what the click then hits is no fault of it.
    for timeout in (10_000, 10_000, 60_000):
        box = steady_box(seen, slider.locator("xpath=../.."))
        seen.page.mouse.click(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.5)
        moved = f"before => Math.max(...({low})()) > before"
        try:
            seen.page.wait_for_function(moved, arg=max(before), timeout=timeout)
            return
        except TimeoutError:
            continue
    pytest.fail("the threshold did not move in three clicks")


def test_a_phone_shows_everything_without_scrolling_sideways(visit):
    seen = visit(width=390, height=844)
    settle(seen)
    assert seen.page.evaluate("() => document.scrollingElement.scrollWidth") <= 390
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


def test_a_full_page_for_the_first_of_eight_threads_and_no_other_while_the_server_lives(
    browser, server_of_eight_threads
):
    url, server = server_of_eight_threads
    page = browser.new_page()
    page.clock.install()
    page.add_init_script(KEEP_SOCKET)
    page.goto(url, timeout=120_000)
    page.locator(".where", has_text="52.50° N").first.wait_for(timeout=60_000)
    page.get_by_text("Places like this one").first.wait_for(timeout=60_000)
    page.locator("table.n tr").nth(1).wait_for(timeout=60_000)
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
    server.terminate()
    server.wait(20)
    page.clock.fast_forward(5_000)
    away.wait_for()
    page.route("**/*", lambda route: route.fulfill(body="another page"))
    with page.expect_navigation():
        page.clock.fast_forward(5_000)
    page.close()

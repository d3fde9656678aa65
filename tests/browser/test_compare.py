"""The compare page in a real browser: CKA, linked globes, a swipe, probes, L as a dial."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.ui

RANGES = """() => [...Bokeh.documents[0].all_models].filter(m => m.type === 'Figure')
  .filter(f => f.renderers.some(r => r.glyph?.type === 'ImageRGBA'))
  .map(f => [f.x_range.id, f.x_range.start, f.x_range.end])"""
NEAR = f"() => ({RANGES})().filter(([_, start, end]) => end - start < 200)"
CLIP = """() => [...Bokeh.documents[0].all_models]
  .map(m => m.styles?.['clip-path']).filter(found => found != null)"""


@pytest.fixture
def compared(visit):
    """Open the page and wait until two encoders are compared."""

    def open_page(**options):
        seen = visit(**options)
        seen.page.get_by_role("button", name="Compare").click()
        seen.page.get_by_text("shared neighbors").first.wait_for(timeout=120_000)
        return seen

    return open_page


def test_two_encoders_are_compared_zoomed_swiped_and_probed(compared):
    seen = compared()
    for words in (
        "linear CKA",
        "How similarity falls with distance",
        "Spectrum",
        "half-variance distance",
    ):
        assert seen.page.get_by_text(words).first.is_visible()
    assert seen.page.locator(".busy").count() == 0
    assert seen.outside == []
    side = seen.page.locator(".bk-panel-models-layout-Column", has_text="Side by side").last
    box = seen.steady_box(side.locator("canvas").first)
    seen.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    for _ in range(4):
        seen.page.mouse.wheel(0, -300)
    seen.page.wait_for_function(f"() => ({NEAR})().length === 2")
    first, second = seen.page.evaluate(NEAR)
    assert first == second
    # The line of the swipe moves in the browser alone.
    seen.page.get_by_role("button", name="Swipe").click()
    seen.page.get_by_text("Line between them").wait_for()
    seen.page.wait_for_function(f"() => ({CLIP})().length === 1")
    slider = seen.page.get_by_role("slider").first
    for _ in range(100):  # a press is lost where the page is drawn anew meanwhile
        if seen.page.evaluate(f"() => ({CLIP})()[0] === 'inset(0 0 0 45%)'"):
            break
        slider.press("ArrowLeft")
        seen.page.wait_for_timeout(100)
    else:
        pytest.fail("the line did not move to 45 %")
    # Probes are trained on a button, and L is a dial.
    seen.page.get_by_role("button", name="Train on each").click()
    seen.page.get_by_text("no encoder at all").wait_for(timeout=120_000)
    assert seen.page.get_by_role("cell", name="nearest").first.is_visible()
    dial = seen.page.get_by_role("button", name="40", exact=True)
    dial.scroll_into_view_if_needed()
    dial.click()
    seen.page.get_by_text("1,026 km").wait_for()
    assert seen.errors == []


def test_a_phone_shows_the_comparison_without_scrolling_sideways(compared):
    seen = compared(width=390, height=844)
    assert seen.page.evaluate("() => document.scrollingElement.scrollWidth") <= 390
    for title in (
        "Side by side",
        "How alike are they?",
        "What does each know?",
        "What can L resolve?",
    ):
        found = seen.page.get_by_text(title, exact=True).first
        found.scroll_into_view_if_needed()
        box = found.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390

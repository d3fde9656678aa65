"""Training from the page, in a real browser."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.ui

POINTS = """name => Math.max(0, ...Bokeh.documents.flatMap(document =>
  [...document._all_models.values()].map(model => {
    const data = model.data
    const found = data && (data[name] || (data.get && data.get(name)))
    return found ? found.length : 0
  })))"""


def test_a_run_is_started_watched_stopped_and_its_encoder_chosen(visit):
    # As narrow as a phone: there the globe once grew to the height of all charts.
    seen = visit(width=390, height=844)
    page = seen.page

    def button(name):
        return page.get_by_role("button", name=name, exact=True)

    button("Train").click()
    page.get_by_text("39 km per pixel and no seasons").wait_for()
    assert button("Stop").is_disabled()
    button("Start").click()
    page.get_by_text("places per second").wait_for()
    assert button("Start").is_disabled()
    # On the way of an SVG line: Playwright looks into shadow roots, the page's own query does not.
    line = page.locator("svg[aria-label='losses while training'] polyline").first
    while line.evaluate("line => line.points.numberOfItems") <= 20:
        page.wait_for_timeout(200)
    page.wait_for_function(f"() => ({POINTS})('recall') >= 3 && ({POINTS})('score') >= 3")
    figures = [figure.bounding_box() for figure in page.locator(".bk-Figure:visible").all()]
    # Globe and two charts; a chart once fell to a few pixels when it was first updated.
    assert len(figures) == 3
    # Drawn anew at every step: at that moment it has no box.
    while (drawn := line.locator("..").bounding_box()) is None:
        page.wait_for_timeout(50)
    figures.append(drawn)
    globe, *charts = figures
    assert globe["height"] == pytest.approx(globe["width"] / 2, abs=2)
    assert all(chart["height"] > 120 for chart in charts)
    button("Stop").click()
    page.get_by_text("and Start continues from there").wait_for()
    page.get_by_label("Encoder").click()
    page.get_by_text("my-laptop-picture", exact=True).last.click()
    button("Explore").click()
    page.get_by_text("16 numbers").wait_for()
    assert seen.errors == []
    assert seen.outside == []

"""An evaluation from the page, in a real browser."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.ui


def test_a_ladder_fills_is_stopped_and_gives_its_report(visit, accessible):
    # As narrow as a phone: the names of seven pages stand on one line of it.
    seen = visit("?labels=500ofthem", width=390, height=844)
    page = seen.page
    last = page.get_by_role("button", name="Your data", exact=True).bounding_box()
    assert last["x"] + last["width"] <= 390
    page.get_by_role("button", name="Evaluate", exact=True).click()
    page.get_by_text("Each color is a fold").wait_for()
    # Empty, the field holds its label: it stood on the lower border once.
    field = page.get_by_role("combobox", name="Compare with encoders").bounding_box()
    label = page.locator("label", has_text="Compare with encoders").bounding_box()
    assert field["y"] < label["y"]
    assert label["y"] + label["height"] < field["y"] + field["height"]
    page.get_by_role("button", name="Evaluate", exact=True).last.click()
    chart = page.locator("svg[aria-label='scores by distance']")
    chart.locator("polyline").first.wait_for(timeout=120_000)
    page.get_by_role("button", name="Stop", exact=True).locator("visible=true").click()
    verdict = page.locator("ul[aria-label='verdict']")
    verdict.get_by_text("stopped early").wait_for(timeout=120_000)
    accessible(page)
    page.get_by_role("button", name="Download", exact=True).locator("visible=true").click()
    with page.expect_download() as saved:
        page.get_by_role("menuitem", name="Report").click()
    assert saved.value.suggested_filename == "air_temperature-report.html"
    assert saved.value.path().read_bytes().startswith(b"<!doctype html>")
    assert page.evaluate("() => document.scrollingElement.scrollWidth") <= 390
    assert seen.errors == []
    assert seen.outside == []

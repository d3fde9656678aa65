"""Dark and light on the real page: the system's choice, and a button's."""

from __future__ import annotations

import pytest

from tests.browser.conftest import SERIOUS

pytestmark = pytest.mark.ui

THEME = "document.documentElement.dataset.theme"


def test_the_theme_is_the_systems_until_a_button_chooses_and_stays_chosen(visit, accessible):
    seen = visit()
    page = seen.page
    ground = "getComputedStyle(document.body).backgroundColor"
    for scheme, color in (("dark", "rgb(9, 13, 18)"), ("light", "rgb(238, 242, 245)")):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(f"theme => {THEME} === theme", arg=scheme)
        assert page.evaluate(ground) == color
    page.get_by_role("button", name="Your data", exact=True).click()
    page.get_by_text("or try").locator("visible=true").first.wait_for()
    accessible(page)
    page.get_by_role("button", name="Dark or light").click()
    assert page.evaluate(THEME) == "dark"
    page.reload(wait_until="commit")
    page.wait_for_function(f"() => document.body && {THEME} === 'dark'")
    assert page.evaluate(ground) == "rgb(9, 13, 18)"


def test_axe_core_finds_what_is_hard_to_use(window, axe):
    page = window.new_page()
    page.set_content("<html lang='en'><title>x</title><img src='data:,'><p>words</p></html>")
    page.evaluate(axe)
    assert [line.partition(":")[0] for line in page.evaluate(SERIOUS)] == ["image-alt"]
    page.close()

"""Dark and light on the real page: the system's choice, and a button's."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.ui

THEME = "document.documentElement.dataset.theme"


def test_the_theme_is_the_systems_until_a_button_chooses_and_stays_chosen(visit):
    seen = visit()
    page = seen.page
    ground = "getComputedStyle(document.body).backgroundColor"
    for scheme, color in (("dark", "rgb(9, 13, 18)"), ("light", "rgb(238, 242, 245)")):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(f"theme => {THEME} === theme", arg=scheme)
        assert page.evaluate(ground) == color
    page.get_by_role("button", name="Dark or light").click()
    assert page.evaluate(THEME) == "dark"
    page.reload(wait_until="commit")
    page.wait_for_function(f"() => document.body && {THEME} === 'dark'")
    assert page.evaluate(ground) == "rgb(9, 13, 18)"

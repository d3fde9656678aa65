"""Both themes: what is written can be read, and what is drawn can be told from its ground."""

from __future__ import annotations

from pathlib import Path

import pytest

from satclip_explore.panes import theme
from satclip_explore.panes.jupyter import style
from satclip_explore.webpage import page

TEXT, GRAPHIC = 4.5, 3.0
"""Least contrast of small text, and of what is no text: WCAG 2.2, 1.4.3 and 1.4.11, level AA."""


def luminance(color):
    """Relative luminance of #rrggbb, as WCAG 2.2 defines it."""
    shares = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in shares]
    return sum(weight * v for weight, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first, second):
    """Contrast ratio of two colors, from 1 to 21."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_runs_from_1_to_21():
    assert contrast("#ffffff", "#000000") == pytest.approx(21.0)
    assert contrast("#777777", "#777777") == 1.0


@pytest.mark.parametrize("colors", [theme.DARK, theme.LIGHT], ids=["dark", "light"])
def test_words_and_drawings_show_in_both_themes(colors):
    for ground in ("ground", "surface", "raised"):
        for ink in ("ink", "muted", "accent", "cool", "bad"):
            assert contrast(colors[ink], colors[ground]) >= TEXT, (ink, ground)
    assert contrast(colors["on-accent"], colors["accent"]) >= TEXT
    for drawn in (colors["faint"], theme.GRAY, *theme.SERIES):
        assert contrast(drawn, colors["surface"]) >= GRAPHIC, drawn


def test_every_theme_says_what_every_name_stands_for():
    assert list(theme.DARK) == list(theme.LIGHT)
    for name, color in theme.LIGHT.items():
        assert f"--satclip-{name}: {color}" in theme.VARIABLES
        assert f"--satclip-{name}: {theme.DARK[name]}" in theme.VARIABLES
    assert f"var(--satclip-ink, {theme.DARK['ink']})" == theme.INK
    assert set(theme.MATERIAL) == {"dark", "light"}


@pytest.mark.parametrize("colors", [theme.DARK, theme.LIGHT], ids=["dark", "light"])
def test_the_page_without_a_server_and_notebooks_have_the_same_colors(colors):
    sheet = (Path(page.__file__).with_name("page.css")).read_text("utf-8")
    for name in ("ground", "surface", "raised", "line", "ink", "muted", "accent", "on-accent"):
        assert f"--{name}: {colors[name]};" in sheet
    assert theme.declared(colors) in style.STYLE
    assert ", ".join(theme.SIMILARITY) in sheet

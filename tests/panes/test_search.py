"""One field that finds a place."""

from __future__ import annotations

import pytest

from satclip_explore.geo import GLOBE
from satclip_explore.panes.search import SearchPane


@pytest.mark.parametrize(
    ("text", "lonlat"),
    [
        ("Nairobi", (36.8, -1.3)),
        ("52.5 N 13.4 E", (13.4, 52.5)),
        ("https://www.openstreetmap.org/#map=5/10.5/20.5", (20.5, 10.5)),
        ("POINT(1 2)", (1.0, 2.0)),
        ("52 deg 30 min N, 13 deg E", (13.0, 52.5)),
        ("Pointe-Noire", (11.9, -4.8)),
        ("multipolygon z ((1 2 3, 3 2 3, 3 4 3, 1 2 3))", (2.0, 3.0)),
        ("100 Mile House", None),
    ],
)
def test_what_is_typed_moves_the_selection_or_gives_a_sentence(text, lonlat):
    pane = SearchPane()
    before = pane.selection.lonlat
    pane.typed = text
    assert pane.selection.lonlat == (before if lonlat is None else pytest.approx(lonlat, abs=0.1))
    assert bool(pane.message) == (lonlat is None)
    assert pane.choices == []


def test_an_open_order_is_asked_about_and_not_guessed():
    pane = SearchPane()
    before = pane.selection.lonlat
    pane.typed = "52.52, 13.405"
    assert pane.selection.lonlat == before
    assert "first?" in pane.said
    assert [label for label, *_ in pane.choices] == ["13.40° N, 52.52° E", "52.52° N, 13.40° E"]
    pane.choose(1)
    assert pane.selection.lonlat == (13.405, 52.52)
    assert pane.choices == []


def test_towns_of_one_name_are_offered_and_a_country_is_shown_whole():
    pane = SearchPane()
    pane.typed = "San Jose"
    here = pane.selection.lonlat
    assert pane.choices
    pane.choose(0)
    assert pane.selection.lonlat != here
    pane.typed = "Kenya"
    west, south, east, north = pane.selection.bounds
    assert (west, south, east, north) != GLOBE
    assert west < 36.8 < east
    pane.typed = "Fiji"
    assert pane.selection.bounds == GLOBE, "it crosses the antimeridian"


def test_words_from_outside_are_shown_as_text():
    pane = SearchPane()
    pane.typed = "<img src=x onerror=alert(1)>"
    assert "<img" not in pane.answer()
    assert "no place is called" in pane.answer()
    pane.typed = ""
    assert (pane.message, pane.said, pane.choices) == ("", "", [])


def test_a_name_that_is_only_nearly_one_is_said_to_be_a_guess():
    pane = SearchPane()
    pane.typed = "Nairobbi"
    assert pane.said.startswith("No place is called 'Nairobbi'; nearest: Nairobi, Kenya (town).")
    for right in ("nairobi", "Deutschland", "Cote d'Ivoire", "São Paulo", "Nairo"):
        pane.typed = right
        assert "No place is called" not in pane.said, right

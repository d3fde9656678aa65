from __future__ import annotations

import pytest

from satclip_explore.coordinates import parse_place


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("13.4, 52.5", (13.4, 52.5)),
        ("  13.4   52.5 ", (13.4, 52.5)),
        ("-60;-3.1", (-60.0, -3.1)),
        ("52.5 N, 13.4 E", (13.4, 52.5)),
        ("13.4E 52.5N", (13.4, 52.5)),
        ("N52.5 W 13.4", (-13.4, 52.5)),
        ("33°52'S 151°12'E", (151.2, -33.0 - 52 / 60)),
        ("33° 52' 30\" S, 151°E", (151.0, -33.875)),
        ("190, 10", (-170.0, 10.0)),
        ("−13.5, 0", (-13.5, 0.0)),
    ],
)
def test_places_are_read_as_people_type_them(text, place):
    assert parse_place(text) == pytest.approx(place, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "type two coordinates"),
        ("1" * 81, "type two coordinates"),
        ("Berlin", "cannot read"),
        ("13.4", "need two coordinates"),
        ("1, 2, 3", "need two coordinates"),
        ("1 N 2 N", "one of N or S and one of E or W"),
        ("13.4 N, 52.5", "one of N or S and one of E or W"),
        ("-13 W, 52 N", "a sign or a letter"),
        ("N 13 N, 52 E", "cannot read"),
        ("13, 91", "latitude"),
        ("1e9, 2", "need two coordinates"),
        ("<b>1</b>, 2", "cannot read"),
        ("1234, 5", "cannot read"),
    ],
)
def test_anything_else_gives_a_sentence(text, words):
    with pytest.raises(ValueError, match=words):
        parse_place(text)

"""Coordinates as people type and paste them."""

from __future__ import annotations

import pytest

from satclip_explore.coordinates import read_coordinates


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("52.5 N, 13.4 E", (13.4, 52.5)),
        ("13.4E 52.5N", (13.4, 52.5)),
        ("N52.5 W 13.4", (-13.4, 52.5)),
        ("33°52'S 151°12'E", (151.2, -33.0 - 52 / 60)),
        ("33° 52' 30\" S, 151°E", (151.0, -33.875)),
        ("52 30 0 N 13 24 0 E", (13.4, 52.5)),
        ("52.5, 13.4 E", (13.4, 52.5)),
        ("151.2, -33.9", (151.2, -33.9)),
        ("-33.9 151.2", (151.2, -33.9)),
        ("190, 10", (-170.0, 10.0)),
        ("POINT(13.4 52.5)", (13.4, 52.5)),
        ("SRID=4326;POINT Z (13.4 52.5 30)", (13.4, 52.5)),
        ("POLYGON((0 0, 10 0, 10 20, 0 0))", (5.0, 10.0)),
        ("geo:52.5,13.4", (13.4, 52.5)),
        ("https://www.openstreetmap.org/#map=12/52.5/13.4", (13.4, 52.5)),
        ("https://www.openstreetmap.org/?mlat=52.5&mlon=13.4#map=4/0/0", (13.4, 52.5)),
        ("https://www.google.com/maps/place/B/@1.0,2.0,11z/d!8m2!3d52.5!4d13.4", (13.4, 52.5)),
        ("https://www.google.com/maps/@52.5,13.4,11z", (13.4, 52.5)),
        ("https://maps.google.com/?q=52.5%2C13.4", (13.4, 52.5)),
        ("https://maps.apple.com/?ll=52.5,13.4", (13.4, 52.5)),
        ("https://www.bing.com/maps?cp=52.5~13.4&lvl=11", (13.4, 52.5)),
        ("http://localhost:5006/app?at=13.4,52.5", (13.4, 52.5)),
    ],
)
def test_a_place_is_read_as_people_type_and_paste_it(text, place):
    (found,) = read_coordinates(text)
    assert found == pytest.approx(place, abs=1e-9)


@pytest.mark.parametrize(
    "text", ["52.52, 13.405", "52,52; 13,405", "52.52 13.405", "52°31'12\", 13°24'18\""]
)
def test_an_open_order_gives_both_readings(text):
    assert read_coordinates(text) == [
        pytest.approx((52.52, 13.405), abs=1e-9),
        pytest.approx((13.405, 52.52), abs=1e-9),
    ]


def test_an_order_that_makes_no_difference_is_not_asked_about():
    assert read_coordinates("10, 10") == [(10.0, 10.0)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot read"),
        ("1" * 501, "500 characters"),
        ("Berlin", "cannot read"),
        ("13.4", "cannot read"),
        ("1, 2, 3", "cannot read"),
        ("1 N 2 N", "cannot read"),
        ("-13 W, 52 N", "cannot read"),
        ("100, 91", "cannot read"),
        ("1e9, 2", "cannot read"),
        ("<b>1</b>, 2", "cannot read"),
        ("SRID=25832;POINT(1 2)", "EPSG:25832"),
        ("POINT(1 200)", "geometry in degrees"),
        ("https://maps.app.goo.gl/abcdef", "no place is written"),
    ],
)
def test_anything_else_gives_a_sentence(text, words):
    with pytest.raises(ValueError, match=words):
        read_coordinates(text)

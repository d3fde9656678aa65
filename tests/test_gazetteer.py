"""Places by name, without network."""

from __future__ import annotations

import pytest

from satclip_explore.gazetteer import find_places, fold


@pytest.mark.parametrize(
    ("text", "name", "lonlat"),
    [
        ("Nairobi", "Nairobi, Kenya", (36.8, -1.3)),
        ("nairobbi", "Nairobi, Kenya", (36.8, -1.3)),
        ("Nairbi", "Nairobi, Kenya", (36.8, -1.3)),
        ("Tokio", "Tokyo, Japan", (139.7, 35.7)),
        ("Brasil", "Brazil, South America", (-46.6, -23.6)),
        ("  SAO PAOLO ", "São Paulo, Brazil", (-46.6, -23.6)),
        ("Duesseldorf", "Düsseldorf", (6.8, 51.2)),
        ("Koeln", "Cologne", (6.9, 50.9)),
        ("München", "Munich", (11.6, 48.1)),
        ("San José, Costa Rica", "San José, Costa Rica", (-84.1, 9.9)),
        ("springfield, illinois", "Springfield, Illinois, United States of America", (-89.7, 39.8)),
        ("St. Petersburg", "St. Petersburg", (30.3, 59.9)),
        ("Timbuctoo", "Timbuktu, Mali", (-3.0, 16.8)),
        ("Bayern", "Bayern, Germany", (11.5, 49.1)),
        ("Sahara", "Sahara, Africa", (10.0, 23.0)),
        ("USA", "United States of America", (-74.0, 40.8)),
        ("côte d'ivoire", "Ivory Coast", (-4.0, 5.3)),
        ("georgia", "Georgia, Asia", (44.8, 41.7)),
    ],
)
def test_a_name_is_found_however_it_is_spelled(text, name, lonlat):
    best = find_places(text)[0]
    assert str(best).startswith(name)
    assert best.lonlat == pytest.approx(lonlat, abs=0.1)


def test_countries_continents_and_landscapes_say_how_far_they_reach():
    for text, inside in (("Kenya", (36.8, -1.3)), ("Africa", (20.0, 0.0)), ("Alps", (10.0, 46.5))):
        west, south, east, north = find_places(text)[0].bounds
        assert west < inside[0] < east
        assert south < inside[1] < north
    assert find_places("Nairobi")[0].bounds is None


def test_places_of_one_name_come_largest_first_and_only_once():
    places = find_places("San Jose", limit=10)
    same = [place.population for place in places if fold(place.name) == "san jose"]
    assert same == sorted(same, reverse=True)
    assert len({str(place) for place in places}) == len(places)


@pytest.mark.parametrize("text", ["", "qqqqqq", "<b>", "Nairobi, Sweden", ".*", "x" * 10_000])
def test_a_name_that_nobody_has_gives_a_sentence(text):
    with pytest.raises(ValueError, match="no place is called") as caught:
        find_places(text)
    assert len(str(caught.value)) < 250

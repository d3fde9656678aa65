"""Files as people really have them, each with the one right answer."""

import numpy as np
import pytest

from satclip_explore.files.places import read_places
from training.tasks.tables import task_from_table

FIRST = (15.4785, 45.7092)
OTHER = (15.4785, 40.852)
SOUTH = (3.3696, 45.8319)

# Name, first place, rows, column, its first values.
READ = [
    ("trailing4.csv", OTHER, 400, "temp", [10.6, 5.1, 11.4]),
    ("first_row_comma.csv", SOUTH, 60, "temp", [16.7, 17.3, 16.6]),
    ("long_xy.csv", SOUTH, 60, "v", [16.7, 17.3, 16.6]),
    ("gbif_small.txt", FIRST, 60, "species", ["Quercus ilex"] * 3),
    ("gbif_quote2.txt", FIRST, 60, "species", ["Quercus ilex"] * 3),
    ("eu_comma.csv", FIRST, 60, "temp", [10.21, 11.85, 12.44]),
    ("eu_target2.csv", OTHER, 400, "temp", [10.6, 5.1, 11.4]),
    ("thousand.csv", FIRST, 60, "income", [30210, 31850, 32440]),
    ("dms.csv", FIRST, 60, "temp", [10.21, 11.85, 12.44]),
    ("combined.csv", FIRST, 60, "temp", [10.21, 11.85, 12.44]),
    ("wkt.csv", FIRST, 60, "temp", [10.21, 11.85, 12.44]),
    ("pangaea.tab", FIRST, 60, "Temp", [10.21, 11.85, 12.44]),
    ("pctcomment.csv", FIRST, 60, "temp", [10.21, 11.85, 12.44]),
    ("hash_header.csv", FIRST, 60, "temp", [10.21, 11.85, 12.44]),
    ("hash_some.csv", OTHER, 400, "temp", [10.6, 5.1, 11.4]),
    ("na_country.csv", FIRST, 60, "cc", ["ZA", "ZA", "ZA"]),
    ("sep.csv", FIRST, 60, "forêt", ["hêtre"]),
    ("cp1252.csv", FIRST, 60, "forêt", ["hêtre"] * 3),
    ("corine.csv", OTHER, 400, "corine", [313, 211, 133]),
    ("pres.csv", OTHER, 400, "presence", [1, 1, 1]),
    ("panel.csv", FIRST, 300, "temp", [10.21, 10.31, 10.41]),
    ("records.json", FIRST, 60, "temp", [10.21]),
    ("crs4807.geojson", SOUTH, 60, "temp", [16.7, 17.3]),
    ("shp.zip", FIRST, 60, "temp", [10.21]),
    ("a.kml", (8.5, 47.3), 1, "Name", ["a"]),
]


@pytest.fixture
def tables(shared):
    folder = shared / "cases" / "tables"
    if not folder.is_dir():
        pytest.skip(f"no example files at {folder}")
    return folder


@pytest.mark.parametrize(("name", "place", "rows", "column", "values"), READ)
def test_a_file_is_read_as_it_was_meant(tables, name, place, rows, column, values):
    reading = read_places(tables / name)
    assert (len(reading), reading.rows_in_file) == (rows, rows)
    # A thousandth of a minute of arc, as coarse as the seconds of dms.csv.
    np.testing.assert_allclose(reading.lonlat[0], place, atol=2e-5)
    assert reading.frame[column].tolist()[: len(values)] == values
    assert not reading.left_out


def test_what_was_assumed_is_said(tables):
    assert "lat, lon" in read_places(tables / "combined.csv").notes[0]
    assert read_places(tables / "cp1252.csv").encoding == "Windows-1252"
    assert read_places(tables / "pangaea.tab").units == {"Temp": "°C"}
    assert "4807" in read_places(tables / "crs4807.geojson").crs
    assert "quotation marks" in read_places(tables / "gbif_quote2.txt").notes[0]
    assert read_places(tables / "hash_some.csv").frame["plot"].str.contains("#").any()


def test_quantities_are_quantities_and_classes_classes(tables):
    assert task_from_table(tables / "eu_target2.csv").kind == "regression"
    assert task_from_table(tables / "pangaea.tab", "Temp").unit == "°C"
    assert task_from_table(tables / "na_country.csv").classes == ("NA", "ZA")
    with pytest.raises(ValueError, match="25 different whole numbers.*classification.*regression"):
        task_from_table(tables / "corine.csv")
    assert len(task_from_table(tables / "corine.csv", kind="classification").classes) == 25


def test_values_below_a_limit_are_asked_about(tables):
    with pytest.raises(ValueError, match="'<0.5' .15 values.*'missing'.*'limit'"):
        task_from_table(tables / "lt.csv")
    assert len(task_from_table(tables / "lt.csv", censored="missing")) == 45
    limit = task_from_table(tables / "lt.csv", censored="limit")
    assert (len(limit), (limit.target == 0.5).sum()) == (60, 15)


def test_places_and_values_that_are_none_are_counted(tables):
    reading = read_places(tables / "null_island.csv")
    assert (len(reading), dict(reading.left_out)) == (54, {"0, 0": (6, 2)})
    assert len(read_places(tables / "null_island.csv", keep_zero=True)) == 60
    reading = read_places(tables / "y9999.csv")
    assert reading.frame["temp"].isna().sum() == 6
    assert "-9999 counted as missing in 6 rows" in reading.notes[0]
    assert task_from_table(reading).dropped == {"no label": 6}


def test_years_at_one_place_stay_together(tables):
    task = task_from_table(tables / "panel.csv", "temp")
    assert len(task) == 300
    groups = np.asarray(task.group_codes).reshape(60, 5)
    assert (groups == groups[:, :1]).all()
    assert len(np.unique(groups)) == 60


def test_presences_alone_are_refused_with_a_way_on(tables):
    with pytest.raises(ValueError, match="presence.*absence|absence.*presence"):
        task_from_table(tables / "pres.csv")


def test_polygons_become_places_and_their_codes_classes(tables):
    reading = read_places(tables / "counties.geojson")
    assert (len(reading), reading.geometry, reading.crs[:9]) == (900, "polygons", "EPSG:4269")
    assert reading.frame["GEOID"][0] == "01001"
    assert task_from_table(reading, "income").kind == "regression"
    with pytest.raises(ValueError, match="looks like an identifier"):
        task_from_table(reading, "GEOID")


def test_results_return_to_the_grid(tables):
    reading = read_places(tables / "t2m.nc")
    assert (len(reading), reading.geometry) == (4050, "cells")
    grid = reading.on_grid(reading.frame["t2m"])
    assert grid.size == 4050
    np.testing.assert_array_equal(grid.to_numpy().ravel()[reading.lines - 1], reading.frame["t2m"])
    assert task_from_table(reading).dropped == {"no label": 360}

"""Files as field apps, spreadsheets and statistics programs write them, with the right answers."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from satclip_explore.files.places import read_places

PLACES = [(15.5, 40.25), (-3.75, 45.5)]


def read(text, **options):
    return read_places(text.encode(), **options)


def workbook(*rows):
    openpyxl = pytest.importorskip("openpyxl")
    book, out = openpyxl.Workbook(), io.BytesIO()
    for row in rows:
        book.active.append(row)
    book.save(out)
    return out.getvalue()


def archive(**members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "/").replace("_", "."), content)
    return out.getvalue()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("١٥٫٥,٤٠٫٢٥,٣٫٥\n-٣٫٧٥,٤٥٫٥,٤٫٥", [3.5, 4.5]),
        ("१५.५,४०.२५,३.५\n-३.७५,४५.५,४.५", [3.5, 4.5]),
        ("１５.５,４０.２５,３.５\n-３.７５,４５.５,４.５", [3.5, 4.5]),
        ("15.5,40.25,\u20133.5\n\u20133.75,45.5,4.5", [-3.5, 4.5]),
        ("15.5,40.25,\u22123.5\n\u22123.75,45.5,4.5", [-3.5, 4.5]),
        ("15.5,40.25,1.5E-3\n-3.75,45.5,2e2", [0.0015, 200]),
        *((f"15.5,40.25,{gone}\n-3.75,45.5,4.5", [np.nan, 4.5])
          for gone in ("–", "—", "…", "..", "...", "n.a.", "N.A.", "<NA>", "--", "---")),
    ],
)  # fmt: skip
def test_digits_signs_and_gaps_of_other_scripts_and_programs(text, expected):
    reading = read(f"lon,lat,y\n{text}\n")
    np.testing.assert_allclose(reading.lonlat, PLACES)
    np.testing.assert_array_equal(reading.frame["y"], expected)
    assert bool(np.isnan(expected).any()) == any("counted as missing" in n for n in reading.notes)


def test_a_range_keeps_its_dash_and_words_their_digits():
    reading = read("lon,lat,age,name\n15.5,40.25,10–20,شارع ١٢\n-3.75,45.5,20–30,b\n")
    assert reading.frame["age"].tolist() == ["10–20", "20–30"]
    assert reading.frame["name"][0] == "شارع ١٢"


@pytest.mark.parametrize(
    "cells",
    [
        ("40.25 15.5 120 5", "45.5 -3.75 0 10"),
        ("40°15’00” N 15°30’00” E", "45°30′00″ N 3°45′00″ W"),
        ("15.5°E, 40.25°N", "3.75°W, 45.5°N"),
        ("N 40 15 E 15 30", "N 45 30 W 3 45"),
    ],
)
@pytest.mark.parametrize("name", ["location", "store_gps", "where"])
def test_a_place_in_one_column(cells, name):
    """A geopoint of ODK and Kobo has altitude and accuracy behind it."""
    reading = read(f'id,"{name}",y\n1,"{cells[0]}",3\n2,"{cells[1]}",4\n')
    np.testing.assert_allclose(reading.lonlat, PLACES)


def test_a_table_without_one_place_is_refused():
    with pytest.raises(ValueError, match=r"none of 2 rows has a place \(0, 0 in 2\)"):
        read("lon,lat,y\n0,0,1\n0,0,2\n")


TWICE = [["lon", "lat", "y"], [15.5, 40.25, 3.5], ["lon", "lat", "y"], [-3.75, 45.5, 4.5]]


def as_csv(*rows):
    return "\n".join(
        ",".join("" if cell is None else str(cell) for cell in row) for row in rows
    ).encode()


@pytest.mark.parametrize("write", [as_csv, workbook])
def test_a_header_that_is_repeated_is_no_row(write):
    reading = read_places(write(*TWICE))
    assert reading.frame["y"].tolist() == [3.5, 4.5]
    assert reading.left_out == {"header again": (1, 3)}


@pytest.mark.parametrize("write", [as_csv, workbook])
def test_a_second_table_below_is_refused(write):
    rows = [*TWICE[:2], [None] * 3, ["lon", "lat", "z"], [1, 2, 3]]
    with pytest.raises(ValueError, match=r"(line|row) 4 begins another table.*lon, lat, z"):
        read_places(write(*rows))


def test_a_row_of_units_in_a_workbook():
    reading = read_places(workbook(["lon", "lat", "y"], ["deg", "deg", "m"], [15.5, 40.25, 3.5]))
    assert reading.frame["y"].tolist() == [3.5]
    assert reading.units["y"] == "m"


def test_a_stata_file_is_read():
    out = io.BytesIO()
    kind = pd.Categorical(["wet", "dry"])
    frame = pd.DataFrame({"lon": [15.5, -3.75], "lat": [40.25, 45.5], "y": [3.5, np.nan]})
    frame.assign(kind=kind).to_stata(out, write_index=False)
    reading = read_places(out.getvalue())
    np.testing.assert_allclose(reading.lonlat, PLACES)
    np.testing.assert_array_equal(reading.frame["y"], [3.5, np.nan])
    assert reading.frame["kind"].tolist() == ["wet", "dry"]
    with pytest.raises(ValueError, match="does not read as Stata: it is damaged"):
        read_places(out.getvalue()[:200])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"$FL2@(#) SPSS DATA FILE" + b"\0" * 300, "SPSS.*save it as"),
        (b"\0" * 12 + bytes.fromhex("c2ea8160b31411cfbd92") + b"\0" * 300, "SAS.*save it as"),
        (b"ARROW1\0\0" + b"\0" * 300, "Feather.*save it as"),
        (b"\0\1\0\0Standard Jet DB\0" + b"\0" * 300, "Access.*export"),
        (archive(mimetype="application/vnd.oasis", content_xml="<x/>"), "ODS.*save it as XLSX"),
        (archive(Index__Document_iwa="x"), "Apple Numbers.*export"),
    ],
)
def test_a_format_that_is_not_read_is_named(content, message):
    with pytest.raises(ValueError, match=message) as error:
        read_places(content)
    assert "\n" not in str(error.value)


def grid(values, **attrs):
    lat, lon = np.array([40.25, 41.25]), np.array([10.5, 11.5, 12.5])
    return xr.Dataset({"t": (("lat", "lon"), values, attrs)}, {"lat": lat, "lon": lon})


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        ({"valid_range": [1.0, 4.0]}, [np.nan, 1, 2, 3, 4, np.nan]),
        ({"valid_min": 2.0}, [np.nan, np.nan, 2, 3, 4, 5]),
        ({"valid_max": 3.0}, [0, 1, 2, 3, np.nan, np.nan]),
    ],
)
def test_values_out_of_the_range_that_a_variable_states_are_missing(tmp_path, attrs, expected):
    pytest.importorskip("h5netcdf")
    grid(np.arange(6.0).reshape(2, 3), **attrs).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    reading = read_places(tmp_path / "a.nc")
    np.testing.assert_array_equal(reading.frame["t"], expected)
    gone = int(np.isnan(expected).sum())
    assert f"t: {gone} values out of its valid range count as missing" in reading.notes


def test_a_valid_range_may_count_in_packed_numbers(tmp_path):
    pytest.importorskip("h5netcdf")
    packed = {"dtype": "int16", "scale_factor": 0.5, "add_offset": 10.0, "_FillValue": -1}
    data = grid(10 + 0.5 * np.arange(6.0).reshape(2, 3), valid_range=np.array([1, 4], np.int16))
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf", encoding={"t": packed})
    found = read_places(tmp_path / "a.nc").frame["t"]
    np.testing.assert_array_equal(found, [np.nan, 10.5, 11, 11.5, 12, np.nan])


def test_stations_that_keep_their_places_as_variables(tmp_path):
    pytest.importorskip("h5netcdf")
    axes = {"lon": [15.5, -3.75], "lat": [40.25, 45.5], "t": [3.5, 4.5]}
    data = xr.Dataset({name: ("station", values) for name, values in axes.items()})
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    reading = read_places(tmp_path / "a.nc")
    np.testing.assert_allclose(reading.lonlat, PLACES)
    assert reading.frame["t"].tolist() == [3.5, 4.5]

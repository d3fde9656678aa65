"""One test for each kind of file that people bring."""

import gzip
import io
import json
import re
import sqlite3
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from satclip_explore.files.places import read_places

LON = [15.4785, 0.7915, -8.3611, -9.3389, 22.5308, 26.5102]
LAT = [45.7092, 40.7643, 38.1781, 49.928, 43.1687, 52.1279]
TEMP = [10.21, 11.85, 12.44, 8.94, 10.59, 7.15]


def plain(header="lon,lat,temp"):
    return "\n".join([header, *(f"{a},{b},{c}" for a, b, c in zip(LON, LAT, TEMP, strict=True))])


def check(reading, temp=TEMP, column="temp", atol=1e-9):
    np.testing.assert_allclose(reading.lonlat, np.stack([LON, LAT], 1), atol=atol)
    if column:
        np.testing.assert_allclose(reading.frame[column].to_numpy(float), temp, atol=1e-12)


def rows_of(form):
    return [form(a, b, c) for a, b, c in zip(LON, LAT, TEMP, strict=True)]


def dms(value, positive, negative):
    seconds = round(abs(value) * 3600, 6)
    degrees, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{degrees:.0f}°{minutes:02.0f}'{seconds:09.6f}\"{positive if value >= 0 else negative}"


COMMAS = "lon;lat;temp\n" + "\n".join(rows_of(lambda a, b, c: f"{a};{b};{c}".replace(".", ",")))
FILES = {
    "comma": plain(),
    "trailing delimiter": plain().replace("\n", ",\n").replace("temp,", "temp") + ",",
    "trailing in one row": plain().replace("10.21", "10.21,"),
    "Darwin Core, tabs": plain("decimalLongitude,decimalLatitude,temp").replace(",", "\t"),
    "decimal commas": COMMAS,
    "sep line": "sep=;\n" + plain().replace(",", ";"),
    "bars": plain().replace(",", "|"),
    "spaces": plain().replace(",", "   "),
    "German": plain("Längengrad,Breitengrad,temp"),
    "upper case": plain("LONG_DD,LAT_DD,temp"),
    "WGS84": plain("X_WGS84,Y_WGS84,temp"),
    "ArcGIS": plain("POINT_X,POINT_Y,temp"),
    "units": plain("Longitude (deg),Latitude (deg),temp"),
    "degree units": plain("Lon [°E],Lat [°N],temp"),
    "row of units": plain().replace("temp\n", "temp\ndegrees_east,degrees_north,degC\n"),
    "block comment": "/* made by\nLat, Lon\n*/\n" + plain(),
    "percent comments": "% made by a tool\n% units deg\n" + plain(),
    "hash comments": "# made by a tool\n" + plain(),
    "hash header": "#" + plain(),
    "hash and space header": "# " + plain(),
    "title lines": "Report of stations\n\n" + plain(),
    "quoted": "\n".join(
        ",".join(f'"{one}"' for one in line.split(",")) for line in plain().split("\n")),
    "byte order mark": "\ufeff" + plain(),
    "carriage returns": plain().replace("\n", "\r"),
    "Windows line ends": plain().replace("\n", "\r\n"),
    "blank lines": plain().replace("\n", "\n\n"),
    "combined": "location,temp\n" + "\n".join(rows_of(lambda a, b, c: f'"{b}, {a}",{c}')),
    "combined lonlat": "lonlat,temp\n" + "\n".join(rows_of(lambda a, b, c: f'"({a}, {b})",{c}')),
    "WKT": "id;geometry;temp\n" + "\n".join(rows_of(lambda a, b, c: f"x;POINT ({a} {b});{c}")),
    "EWKT": "g|temp\n" + "\n".join(
        rows_of(lambda a, b, c: f"SRID=4326;POINT({a} {b})|{c}")),
    "Earth Engine": "system:index,.geo,temp\n" + "\n".join(
        rows_of(lambda a, b, c: f'x,"{{""type"":""Point"",""coordinates"":[{a},{b}]}}",{c}')),
    "x and y beside": "Long,Lat,X,Y,temp\n" + "\n".join(
        rows_of(lambda a, b, c: f"{a},{b},77.0,3.2,{c}")),
    "R row names": "lon,lat,temp\n" + "\n".join(
        f"{i},{line}" for i, line in enumerate(plain().split("\n")[1:], 1)),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_text_is_read_in_every_shape(kind, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(FILES[kind].encode())
    check(read_places(path))
    check(read_places(path.read_bytes()))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_encodings_are_told_and_said(encoding):
    text = plain("lon,lat,forêt")
    reading = read_places(text.encode(encoding))
    check(reading, column="forêt")
    assert reading.encoding.lower().startswith(
        {"cp1252": "windows-1252"}.get(encoding, encoding)[:6]
    )


def test_degrees_minutes_and_seconds_are_read():
    lines = rows_of(lambda a, b, c: f"{dms(a, 'E', 'W')}\t{dms(b, 'N', 'S')}\t{c}")
    check(read_places(("lon\tlat\ttemp\n" + "\n".join(lines)).encode()), atol=1e-8)


@pytest.mark.parametrize(
    ("text", "degrees"),
    [
        ("15°28'42.6\"E", 15.4785), ("15° 28′ 42.6″ E", 15.4785), ("E 15 28 42.6", 15.4785),
        ("15:28:42.6", 15.4785), ("15d28m42.6sE", 15.4785), ("8,3611 W", -8.3611),
        ("-8.3611", -8.3611), ("−8,3611", -8.3611), ("W8°21.666'", -8.3611),
        ("15º28'42.6''E", 15.4785),
    ],
)  # fmt: skip
def test_every_notation_of_an_angle_is_read(text, degrees):
    frame = pd.DataFrame({"lon": [text] * 3, "lat": ["45.7 N"] * 3})
    np.testing.assert_allclose(read_places(frame).frame["lon"], degrees, atol=1e-9)


@pytest.mark.parametrize("text", ["15°61'E", "15°28'N", "15.5°30'E", "-15 W", "fifteen"])
def test_what_is_no_longitude_is_refused(text):
    with pytest.raises(ValueError, match="does not read as longitude|text"):
        read_places(pd.DataFrame({"lon": [text] * 3, "lat": ["45.7 N"] * 3}))


def test_literal_quotes_swallow_nothing():
    rows = [f"{a}\t{b}\t{name}\t{c}" for a, b, c, name in
            zip(LON, LAT, TEMP, ["a", '"Heide', "b", "c", '"Moor', "d"], strict=True)]  # fmt: skip
    reading = read_places("\n".join(["lon\tlat\tname\ttemp", *rows]).encode())
    check(reading)
    assert reading.frame["name"][1] == '"Heide'
    assert reading.rows_in_file == 6


def test_hashes_inside_fields_are_not_comments():
    text = "# exported\nlon,lat,plot,temp\n" + "\n".join(
        rows_of(lambda a, b, c: f"{a},{b},Plot #2,{c}")
    )
    reading = read_places(text.encode())
    check(reading)
    assert set(reading.frame["plot"]) == {"Plot #2"}


def test_thousands_and_decimal_commas_are_told_apart():
    thousands = "lon,lat,temp\n" + "\n".join(rows_of(lambda a, b, c: f'{a},{b},"30,210"'))
    check(read_places(thousands.encode()), temp=[30210.0] * 6)
    target = "lon;lat;temp\n" + "\n".join(
        rows_of(lambda a, b, c: f"{a};{b};" + f"{c}".replace(".", ","))
    )
    check(read_places(target.encode()))
    points = "lon;lat;temp\n" + "\n".join(
        rows_of(lambda a, b, c: f"{a};{b}".replace(".", ",") + ";30.210")
    )
    check(read_places(points.encode()), temp=[30210.0] * 6)


def test_an_ambiguous_comma_is_asked_about():
    text = "lon;lat;temp\n" + "\n".join(f"{i};{i};1,{100 + i}" for i in range(1, 9))
    assert "decimal=" in read_places(text.encode()).odd["temp"]
    with pytest.raises(ValueError, match=r"'1,101' in column 'temp' may be 1101 or 1\.101"):
        read_places(text.encode(), numeric=["temp"])
    assert read_places(text.encode(), decimal=",").frame["temp"][0] == 1.101
    assert read_places(text.encode(), decimal=".").frame["temp"][0] == 1101


def test_censored_values_are_quoted_with_two_ways_on():
    text = plain().replace("10.21", "<0.5").encode()
    with pytest.raises(ValueError, match="'<0.5'.*1 values.*'missing'.*'limit'"):
        read_places(text, numeric=["temp"])
    assert np.isnan(read_places(text, censored="missing").frame["temp"][0])
    assert read_places(text, censored="limit").frame["temp"][0] == 0.5


def test_na_is_a_class_among_text_and_missing_among_numbers():
    text = "lon,lat,cc,n\n1,1,NA,1.5\n2,2,ZA,NA\n3,3,,2.5\n"
    reading = read_places(text.encode())
    assert reading.frame["cc"].tolist()[:2] == ["NA", "ZA"]
    assert reading.frame["cc"].isna().tolist() == [False, False, True]
    assert reading.frame["n"].isna().tolist() == [False, True, False]
    assert read_places(text.encode(), missing=["NA"]).frame["cc"].isna().sum() == 2


def test_null_island_and_sentinels_are_counted_and_said():
    text = plain() + "\n0.0,0.0,-9999\n5,5,-9999.0\n"
    reading = read_places(text.encode())
    assert reading.left_out == {"0, 0": (1, 8)}
    assert np.isnan(reading.frame["temp"].iloc[-1])
    assert any("-9999 counted as missing in 2 rows" in note for note in reading.notes)
    both = read_places(text.encode(), keep_zero=True, sentinels=False)
    assert both.frame["temp"].tolist()[-2:] == [-9999, -9999]


def test_minus_9999_among_such_depths_is_a_value():
    text = "lon,lat,depth\n" + "\n".join(
        f"{i},{i},{d}" for i, d in enumerate([-10500, -9999, -3, 8])
    )
    assert read_places(text.encode(), keep_zero=True).frame["depth"][1] == -9999


def test_codes_with_leading_zeros_stay_text():
    text = "lon,lat,GEOID\n1,1,01001\n2,2,01003\n3,3,10003\n"
    assert read_places(text.encode()).frame["GEOID"].tolist() == ["01001", "01003", "10003"]


def test_longitudes_counted_to_the_west_are_turned():
    text = "Longitude (W),Latitude,v\n8.5,47,1\n9.5,48,2\n"
    reading = read_places(text.encode())
    assert reading.frame["lon"].tolist() == [-8.5, -9.5]
    assert "west" in " ".join(reading.notes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"lon,lat,v\n1,2,3\n1,2,3,4\n", "line 3 has 4 fields where the header .line 1. has 3"),
        (b"lon,lat,v\n1,2,3\n1,2\n", "line 3 has 2 fields"),
        (b"1.5,2.5,3\n1,2,3\n", "line 1 holds numbers where the names"),
        (b"a,b\n1,2\n", "no coordinate columns"),
        (b"lat,x,y\n1,2,3\n", "no longitude beside it"),
        (b"lon_start,lat_start,lon_end,lat_end\n1,2,3,4\n", "several columns could be"),
        (b"easting,northing\n1,2\n", "say which system with crs="),
        (b"x,y\n500000,6000000\n", "are not degrees"),
        (b"lon,lat\n50,100\n60,120\n", "swapped"),
        (b"coords,v\n\"45.1, 15.2\",1\n\"44.1, 11.2\",2\n", "order='lat,lon'"),
        (b"\x80\x04\x95 pickled", "pickle"),
        (b"\xd0\xcf\x11\xe0 old", "old Excel"),
        (b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><kml/>', "entities"),
        (b"<?xml version='1.0'?><html></html>", "neither KML nor GPX"),
        (b"[1, 2]", "holds no table"),
        (b"[" * 100_000, "nested too deeply|not JSON"),
        (b'{"type": "Topology"}', "TopoJSON"),
        (b"PAR1 nonsense", "damaged"),
        (b"PK\x03\x04 nonsense", "damaged"),
        (b"\x1f\x8b nonsense", "damaged"),
        (b"SQLite format 3\0 nonsense", "no GeoPackage"),
        (b"CDF\x01 nonsense", "does not read as NetCDF"),
        (b"\x89HDF\r\n\x1a\n nonsense", "does not read as NetCDF"),
        (b"II*\0 nonsense", "does not read as GeoTIFF"),
        (b"lon,lat\n" + b"\0\1\2" * 2000, "binary data"),
        (b",".join(b"c%d" % i for i in range(20_000)) + b"\n", "10,000 columns"),
        (gzip.compress(bytes(400_000_000), 1), "MB"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_gets_one_sentence(content, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=message) as caught:
            read_places(content)
    assert "\n" not in str(caught.value)


def test_lines_that_cannot_be_told_may_be_skipped_and_are_counted():
    reading = read_places(b"lon,lat,v\n1,2,3\n1,2,3,4\n5,6,7\n", bad_lines="skip")
    assert reading.left_out == {"fields do not match the header": (1, 3)}
    assert reading.lines.tolist() == [2, 4]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_lines_that_are_quoted_whole_are_rows(mark):
    """As spreadsheets write a file that was opened as one column, and saved again."""
    lines = plain().replace(",", mark).splitlines()
    for head in (lines[0], f'"{lines[0]}"'):
        reading = read_places("\n".join([head, *(f'"{line}"' for line in lines[1:])]).encode())
        check(reading)
        assert "whole lines were in quotation marks" in " ".join(reading.notes)
    one = 'lon,lat,name\n"13.4,52.5,""Mitte, Berlin"""\n"2.3,48.8,Paris"\n'
    assert list(read_places(one.encode()).frame["name"]) == ["Mitte, Berlin", "Paris"]


META = """<archive xmlns="http://rs.tdwg.org/dwc/text/"><core fieldsTerminatedBy="{0}" {1}
 encoding="UTF-8"><files><location>{2}</location></files><id index="0"/>
 <field index="2" term="http://rs.tdwg.org/dwc/terms/decimalLongitude"/>
 <field index="1" term="http://rs.tdwg.org/dwc/terms/decimalLatitude"/>
 <field index="3" term="http://example.org/temp"/></core></archive>"""


@pytest.mark.parametrize("mark", [",", r"\t"])
@pytest.mark.parametrize("name", ["occurrence.txt", "event.csv"])
def test_an_archive_names_the_columns_of_a_table_without_a_header(mark, name):
    rows = zip(LON, LAT, TEMP, strict=True)
    body = "\n".join(f"{i},{b},{a},{c}" for i, (a, b, c) in enumerate(rows))
    body = body.replace(",", mark.replace(r"\t", "\t"))
    header = mark.replace(r"\t", "\t").join(["id", "decimalLatitude", "decimalLongitude", "temp"])
    key = name.replace(".", "_dot_")
    for said, table in (
        ('ignoreHeaderLines="0"', body), ("", body), ('ignoreHeaderLines="1"', f"{header}\n{body}"),
        ("", f"{header}\n{body}"),
    ):  # fmt: skip
        meta = META.format(mark, said, name)
        check(read_places(zipped(meta_dot_xml=meta, **{key: table})))
    with pytest.raises(ValueError, match="meta.xml is damaged"):
        read_places(zipped(meta_dot_xml="<archive", **{key: body}))
    with pytest.raises(ValueError, match="declares entities"):
        read_places(zipped(meta_dot_xml="<!DOCTYPE a>" + META, **{key: body}))


@pytest.mark.parametrize("datum", ["NAD27", "EPSG:4267"])
def test_a_datum_that_an_archive_says_for_all_places_is_not_passed_over(datum):
    constant = '<field default="{}" term="http://rs.tdwg.org/dwc/terms/geodeticDatum"/></core>'
    body = "\n".join(
        f"{i},{b},{a},{c}" for i, (a, b, c) in enumerate(zip(LON, LAT, TEMP, strict=True))
    )
    meta = META.format(",", "", "event.csv")
    for same in ("WGS84", "EPSG:4326", "not recorded"):
        told = meta.replace("</core>", constant.format(same))
        check(read_places(zipped(meta_dot_xml=told, event_dot_csv=body)))
    told = meta.replace("</core>", constant.format(datum))
    with pytest.raises(ValueError, match=f"places are in '{datum}'.*EPSG:4267"):
        read_places(zipped(meta_dot_xml=told, event_dot_csv=body))


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return buffer.getvalue()


def test_archives_are_unpacked_and_hostile_ones_refused():
    check(read_places(gzip.compress(plain().encode())))
    check(read_places(zipped(a_dot_csv=plain())))
    with pytest.raises(ValueError, match="member="):
        read_places(zipped(a_dot_csv=plain(), b_dot_csv=plain()))
    check(read_places(zipped(a_dot_csv=plain(), b_dot_csv="x"), member="a.csv"))
    with pytest.raises(ValueError, match="leads out of it"):
        read_places(zipped(**{"..__..__a_dot_csv": plain()}))
    with pytest.raises(ValueError, match="unpacks to"):
        read_places(zipped(a_dot_csv=bytes(50_000_000)))


def points(crs=4326):
    geopandas = pytest.importorskip("geopandas")
    frame = geopandas.GeoDataFrame(
        {"temp": TEMP}, geometry=geopandas.points_from_xy(LON, LAT), crs=4326
    )
    return frame.to_crs(crs)


@pytest.mark.parametrize("crs", [4326, 3857, 4807, 32633, 3035])
def test_any_coordinate_system_is_transformed(crs, tmp_path):
    frame = points(crs)
    check(read_places(frame), atol=1e-6)
    frame.to_parquet(tmp_path / "a.parquet")
    check(read_places(tmp_path / "a.parquet"), atol=1e-6)
    document = json.loads(frame.to_json(drop_id=True))
    document["crs"] = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{crs}"}}
    check(read_places(json.dumps(document).encode()), atol=1e-6)
    table = pd.DataFrame({"x": frame.geometry.x, "y": frame.geometry.y, "temp": TEMP})
    check(read_places(table.to_csv(index=False).encode(), crs=crs), atol=1e-6)


@pytest.mark.parametrize("suffix", ["gpkg", "shp", "fgb", "kml", "gpx"])
def test_formats_of_gis_are_read(suffix, tmp_path):
    pytest.importorskip("pyogrio")
    path = tmp_path / f"places.{suffix}"
    frame = points() if suffix not in ("kml", "gpx") else points().drop(columns="temp")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame.to_file(path, driver={"kml": "KML", "gpx": "GPX"}.get(suffix))
    reading = read_places(path)
    order = np.argsort(reading.frame["lon"].to_numpy())  # FlatGeobuf orders by place
    np.testing.assert_allclose(
        reading.lonlat[order], np.stack([LON, LAT], 1)[np.argsort(LON)], atol=1e-8
    )
    if suffix == "shp":
        members = {one.name: one.read_bytes() for one in tmp_path.glob("places.*")}
        check(read_places(zipped(**members)))


def test_spreadsheets_are_read(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    notes = book.active
    notes.append(["about this file"])
    sheet = book.create_sheet("data")
    for row in (["Stations"], [], ["Longitude", "Latitude", "temp", "code"]):
        sheet.append(row)
    for a, b, c in zip(LON, LAT, TEMP, strict=True):
        sheet.append([a, b, c, "007"])
    book.save(tmp_path / "a.xlsx")
    reading = read_places(tmp_path / "a.xlsx")
    check(reading)
    assert reading.frame["code"][0] == "007"
    assert reading.lines[0] == 4


def test_zones_other_than_that_of_the_system_are_refused():
    rows = "easting,northing,UTM zone\n392000,5820000,33N\n393000,5821000,{}\n"
    assert len(read_places(rows.format("33 N").encode(), crs=32633)) == 2
    with pytest.raises(ValueError, match="says UTM zone 32, 33, and crs= is of zone 33N"):
        read_places(rows.format("32N").encode(), crs=32633)


def test_a_sequence_of_json_that_was_cut_is_one_sentence():
    with pytest.raises(ValueError, match="not JSON: line 2 does not read"):
        read_places(b'{"lon":1,"lat":3}\n{"lon":2,"lat":\n')


def test_a_gpx_says_what_of_it_was_not_read():
    pytest.importorskip("pyogrio")
    track = '<trk><trkseg><trkpt lat="3" lon="4"/><trkpt lat="5" lon="6"/></trkseg></trk>'
    space = 'version="1.1" creator="x" xmlns="http://www.topografix.com/GPX/1/1"'
    gpx = f'<?xml version="1.0"?><gpx {space}><wpt lat="1" lon="2"/>{track}</gpx>'
    reading = read_places(gpx.encode())
    assert len(reading) == 1
    assert "waypoints were read, and track_points were not; layer= says which" in reading.notes
    assert len(read_places(gpx.encode(), layer="track_points")) == 2


@pytest.fixture(scope="module")
def edited_workbook():
    """Bytes of a workbook of ten rows whose sheet was edited as text."""
    openpyxl = pytest.importorskip("openpyxl")
    book, saved = openpyxl.Workbook(), io.BytesIO()
    book.active.append(["lon", "lat", "temp"])
    for row in zip(LON, LAT, TEMP, strict=True):
        book.active.append([float(value) for value in row])
    book.save(saved)

    def edit(old, new):
        content, source = io.BytesIO(), zipfile.ZipFile(saved)
        with zipfile.ZipFile(content, "w") as target:
            for name in source.namelist():
                text = source.read(name)
                if name == "xl/worksheets/sheet1.xml":
                    assert re.search(old, text.decode())
                    text = re.sub(old, new, text.decode()).encode()
                target.writestr(name, text)
        return content.getvalue()

    return edit


@pytest.mark.parametrize("said", ["A1", "A1:B2", "A1:XFD1048576"])
def test_rows_that_a_sheet_does_not_say_that_it_has_are_read(edited_workbook, said):
    check(read_places(edited_workbook('ref="A1:C\\d+"', f'ref="{said}"')))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('r="C2"', 'r="BDWGN2"', "cell outside of what sheets have"),  # a million columns
        ('r="C1"', 'r="ZZZ1"', "a sheet may have 10,000 columns; got 18,278"),
        ('ref="A1:C\\d+"', 'ref="A1:ZZZZZZ9999999"', "the workbook is damaged"),
        ('<row r="2"', '<row r="900000000"', "a sheet may have 1,000 rows"),
    ],
)
def test_sheets_larger_than_any_are_one_sentence(edited_workbook, monkeypatch, old, new, message):
    monkeypatch.setattr("satclip_explore.files.records.MAX_ROWS", 1000)
    with pytest.raises(ValueError, match=message) as error:
        read_places(edited_workbook(old, new))
    assert "\n" not in str(error.value)


def test_rows_and_formulas_that_a_sheet_loses_are_counted(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.active
    for row in (["lon", "lat", "v"], [1, 2, 3], [4, 5, "=B2*2"], [6, 7, 8, "note"], [8, 9, None]):
        sheet.append(row)
    book.save(tmp_path / "a.xlsx")
    reading = read_places(tmp_path / "a.xlsx", bad_lines="skip")
    assert reading.left_out == {"fields do not match the header": (1, 4)}
    assert reading.frame["v"].isna().tolist() == [False, True, True]
    assert any("v: 1 formulas without saved values" in note for note in reading.notes)


@pytest.mark.parametrize(
    "document",
    [
        [{"lon": a, "lat": b, "temp": c} for a, b, c in zip(LON, LAT, TEMP, strict=True)],
        {"lon": LON, "lat": LAT, "temp": TEMP},
        {"data": [{"lng": a, "lat": b, "temp": c} for a, b, c in zip(LON, LAT, TEMP, strict=True)]},
        [{"at": {"lat": b, "lng": a}, "temp": c} for a, b, c in zip(LON, LAT, TEMP, strict=True)],
    ],
)  # fmt: skip
def test_json_is_read(document):
    check(read_places(json.dumps(document).encode()))
    if isinstance(document, list):
        check(read_places("\n".join(json.dumps(one) for one in document).encode()))


def test_sequences_of_geojson_are_read():
    features = json.loads(points().to_json())["features"]
    check(read_places("\n".join("\x1e" + json.dumps(one) for one in features).encode()))
    check(read_places("\n".join(json.dumps(one) for one in features).encode()))


def a_grid():
    lat, lon = np.arange(-80.0, 81.0, 20.0), np.arange(0.0, 360.0, 30.0)
    values = np.add.outer(lat, lon / 1000)[None]
    values[0, 2, 3] = np.nan
    return xr.Dataset(
        {"t2m": (("time", "latitude", "longitude"), values, {"units": "K"})},
        coords={"time": [0], "latitude": lat, "longitude": lon},
    )


def test_grids_are_read_and_results_return_to_them(tmp_path):
    data = a_grid()
    data.to_netcdf(tmp_path / "a.nc", engine="scipy")
    for source in (data, data["t2m"], tmp_path / "a.nc", (tmp_path / "a.nc").read_bytes()):
        reading = read_places(source)
        assert (len(reading), reading.geometry, reading.units["t2m"]) == (108, "cells", "K")
        assert reading.frame["lon"].min() == -180.0
        back = reading.on_grid(reading.frame["t2m"], "t2m")
        np.testing.assert_array_equal(back.to_numpy(), data["t2m"].to_numpy()[0])
        assert back.dims == ("latitude", "longitude")
    with pytest.raises(ValueError, match="several steps along time"):
        read_places(xr.concat([data, data.assign_coords(time=[1])], "time"))


def test_zarr_and_geotiff_are_read(tmp_path):
    pytest.importorskip("zarr")
    rasterio = pytest.importorskip("rasterio")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        a_grid().to_zarr(tmp_path / "a.zarr")
    assert len(read_places(tmp_path / "a.zarr")) == 108
    transform = rasterio.Affine(1000.0, 0, 500_000.0, 0, -1000.0, 5_000_000.0)
    with rasterio.open(
        tmp_path / "a.tif",
        "w",
        driver="GTiff",
        height=4,
        width=3,
        count=1,
        dtype="int16",
        crs="EPSG:32633",
        transform=transform,
        nodata=-9999,
    ) as file:
        file.write(np.arange(12, dtype=np.int16).reshape(1, 4, 3) * 100)
    reading = read_places(tmp_path / "a.tif")
    assert reading.frame["band 1"].tolist() == list(range(0, 1200, 100))
    # Zone 33 has its central meridian, 15 E, at 500 km.
    assert reading.frame["lon"][0] == pytest.approx(15.0 + 500 / 78_850, abs=2e-4)


def test_the_report_is_escaped_and_frozen():
    reading = read_places(plain("lon,lat,<b>x</b>").encode())
    assert "<b>" not in reading._repr_html_()
    with pytest.raises(AttributeError):
        reading.source = "other"


def test_a_database_that_is_no_geopackage_is_refused(tmp_path):
    path = tmp_path / "a.gpkg"
    with sqlite3.connect(path) as base:
        base.execute("create table t (a)")
    base.close()
    with pytest.raises(ValueError, match="no GeoPackage"):
        read_places(path)


def with_datum(*words):
    head, *rows = plain().splitlines()
    datums = [words[row % len(words)] for row in range(len(rows))]
    lines = [f"{row},{word}" for row, word in zip(rows, datums, strict=True)]
    return "\n".join([f"{head},geodeticDatum", *lines]).encode()


@pytest.mark.parametrize(
    "datum", ["WGS84", "EPSG:4326", "WGS84 (EPSG:4326)", "World Geodetic System 1984", "NAD83"]
)
def test_a_datum_like_wgs84_is_read_without_a_word(datum):
    reading = read_places(with_datum(datum))
    check(reading)
    assert not [note for note in reading.notes if "datum" in note]


def test_a_datum_that_nobody_knew_is_said_and_counted():
    reading = read_places(with_datum("WGS84", "unknown", ""))
    check(reading)
    assert any("4 rows do not say their geodetic datum" in note for note in reading.notes)


@pytest.mark.parametrize("datum", ["NAD27", "OSGB36", "EPSG:4267", "European Datum 1950"])
def test_a_datum_that_moves_places_is_refused_or_transformed(datum):
    content = with_datum("WGS84", datum)
    with pytest.raises(ValueError, match=rf"says '{datum}' in 3 of 6 rows.*crs='EPSG:4326'"):
        read_places(content)
    check(read_places(content, crs="EPSG:4326"))
    moved = read_places(content, crs="EPSG:4230")
    shift = np.abs(moved.lonlat - np.stack([LON, LAT], 1)).max(axis=0)
    # ED50 lies some hundred meters off.
    assert (shift > 5e-4).all()
    assert (shift < 3e-3).all()
    assert "geodeticDatum" not in moved.frame


def test_decimal_commas_are_no_pairs_of_coordinates():
    content = b"x;y;temp\n500000,5;4649776,2;12,95\n500100,5;4649876,2;13,05\n"
    reading = read_places(content, crs="EPSG:32633")
    assert reading.frame["temp"].tolist() == [12.95, 13.05]
    np.testing.assert_allclose(reading.lonlat[0], (15.000006, 42.000003), atol=1e-5)
    with pytest.raises(ValueError, match="no coordinate columns"):
        read_places(b"temp;name\n45,7;a\n12,95;b\n")


def test_an_error_of_a_spreadsheet_is_no_comment():
    reading = read_places(b"temp,lat,lon\n15.2,62.5,-13.1\n#N/A,44.1,94.9\n# 1.0,2.0,3.0\n")
    assert (len(reading), reading.frame["temp"].isna().sum()) == (2, 1)
    assert reading.left_out == {"comment": (1, 4)}


def test_empty_fields_at_the_end_of_rows_are_fields():
    rows = '"lat (deg)","lon (deg)","name","t"\n' + '"26,4 S","62,8 W","two\nlines",""\n' * 4
    assert read_places(rows.encode()).lonlat[0].tolist() == [-62.8, -26.4]


def test_points_may_stand_between_thousands_where_commas_may():
    content = b"lon;lat;temp;income\n1;2;26,290;930.000\n3;4;10,610;290.000\n"
    reading = read_places(content)
    assert set(reading.odd) == {"temp", "income"}
    assert "930000 or 930.000" in reading.odd["income"]
    assert read_places(content, decimal=",").frame["income"].tolist() == [930_000, 290_000]
    # The letter of a hemisphere does not hide which sign the coordinates have.
    content = content.replace(b"1;2", b"1,5 E;2,5 N")
    assert read_places(content).frame["income"].tolist() == [930_000, 290_000]


def test_a_third_of_latitudes_out_of_range_says_swapped_with_the_way_out():
    rng = np.random.default_rng(0)
    lat, lon = rng.uniform(25, 49, 100), rng.uniform(-124, -67, 100)  # the United States
    frame = pd.DataFrame({"lon": lat, "lat": lon, "v": 1.0})
    n_out = int((lon < -90).sum())
    with pytest.raises(ValueError, match=rf"'lat' cannot be latitude: {n_out} of 100.*lon='lat'"):
        read_places(frame)
    assert len(read_places(frame, lon="lat", lat="lon").frame) == 100


def test_one_bad_latitude_in_a_hundred_is_a_row_left_out():
    frame = pd.DataFrame({"lon": np.linspace(5, 15, 100), "lat": np.linspace(45, 55, 100)})
    frame.loc[7, "lat"] = 123.0
    assert read_places(frame).left_out == {"place out of range": (1, 8)}


def test_places_at_sea_that_swapped_lie_on_land_are_asked_about():
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(-70, -50, 200), rng.uniform(-10, 0, 200)  # the Amazon
    right = read_places(pd.DataFrame({"lon": lon, "lat": lat}))
    swapped = read_places(pd.DataFrame({"lon": lat, "lat": lon}))
    assert not any("at sea" in note for note in right.notes)
    assert any("at sea" in note and "swapped" in note for note in swapped.notes)


@pytest.mark.parametrize("delimiter", ["\t", ";", "|", ","])
def test_spaces_in_names_and_cells_do_not_part_them(delimiter):
    rows = ["Longitude (deg)|Latitude (deg)|temp", "164.2 E|80.6 N|1.5", "159.6 W|74.7 S|2.5"]
    reading = read_places(
        "\n".join([*rows, "120.8 E|42.5 N|3.5\n"]).replace("|", delimiter).encode()
    )
    assert reading.lonlat[1].tolist() == [-159.6, -74.7]
    assert reading.frame["temp"].tolist() == [1.5, 2.5, 3.5]


# Berlin, Lima, Sydney, Quito: all four hemispheres, and a latitude that rounds to zero degrees.
CITIES = [[13.405, 52.52], [-77.0428, -12.0464], [151.2093, -33.8688], [-78.4678, -0.1807]]


def sixtieths(value):
    whole = int(abs(value))
    minutes = int(abs(value) * 60) - whole * 60
    return whole, minutes, round(abs(value) * 3600 - whole * 3600 - minutes * 60, 6)


def city_rows(form):
    return "\n".join(form(lon, lat) for lon, lat in CITIES)


def letters(lon, lat):
    return "EW"[lon < 0], "NS"[lat < 0]


def with_letters(header):
    def row(lon, lat):
        east, north = letters(lon, lat)
        return f"{abs(lat)},{north},{abs(lon)},{east}"

    return f"{header}\n" + city_rows(row)


def in_parts(header, signed):
    def row(lon, lat):
        cells = []
        for value in (lat, lon):
            whole, minutes, seconds = sixtieths(value)
            minus = "-" if signed and value < 0 else ""
            cells += [f"{minus}{whole}", str(minutes), str(seconds)]
            cells += [] if signed else [letters(lon, lat)[value == lat]]
        return ",".join(cells)

    return f"{header}\n" + city_rows(row)


IN_SEVERAL_COLUMNS = {
    "letters": with_letters("lat,ns,lon,ew"),
    "letters beside": with_letters("latitude,dir1,longitude,dir2"),
    "letters by name": with_letters("Lat,LatDir,Lon,LonDir"),
    "words": with_letters("lat,lat_ref,lon,lon_ref")
    .replace("S,", "South,")
    .replace("N,", "North,"),
    "parts": in_parts("lat_deg,lat_min,lat_sec,lon_deg,lon_min,lon_sec", signed=True),
    "parts of one letter": in_parts("lat_d,lat_m,lat_s,long_d,long_m,long_s", signed=True),
    "parts and letters": in_parts(
        "Lat Degrees,Lat Minutes,Lat Seconds,NS,Long Degrees,Long Minutes,Long Seconds,EW", False
    ),
    "radians": "lon_rad,lat_rad\n" + city_rows(lambda x, y: f"{np.radians(x)},{np.radians(y)}"),
    "radians beside": "lon (rad),lat (rad)\n"
    + city_rows(lambda x, y: f"{np.radians(x)},{np.radians(y)}"),
}


@pytest.mark.parametrize("kind", IN_SEVERAL_COLUMNS)
def test_what_other_columns_say_of_a_coordinate_is_not_passed_over(kind):
    reading = read_places(IN_SEVERAL_COLUMNS[kind].encode())
    np.testing.assert_allclose(reading.lonlat, CITIES, atol=1e-6)
    assert not reading.columns
    assert reading.notes


def test_a_letter_is_a_hemisphere_where_it_goes_with_a_coordinate_alone():
    reading = read_places(b"lon,lat,slope faces\n13.4,52.5,S\n11.5,48.1,N\n")
    assert reading.lonlat[:, 1].tolist() == [52.5, 48.1]
    assert reading.columns == ["slope faces"]


def test_degrees_that_count_toward_the_west_are_turned():
    reading = read_places(b"lat_n,lon_w\n40.7,74.0\n41.9,87.6\n")
    assert reading.lonlat[:, 0].tolist() == [-74.0, -87.6]
    assert "turned" in reading.notes[0]
    # Both end in s: a start, or a station.
    assert read_places(b"lat_s,lon_s\n40.7,74.0\n").lonlat.tolist() == [[74.0, 40.7]]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"lat,ns,lon\n-12.0,S,-77.0\n-52.0,N,13.0\n", "minus signs and 'ns' other hemispheres"),
        (b"lat_rad,lon_rad\n52.5,13.4\n", "says radians and reaches"),
        (b"lat [gon],lon [gon]\n58.3,14.9\n", "in gons, of which 400 make a circle"),
        (b"mgrs,y\n33UUU8900019000,1\n", "'mgrs' holds codes of places"),
        (b"<table><tr><td>lon</td></tr></table>", "is a web page"),
    ],
)
def test_what_the_columns_of_a_coordinate_contradict_is_refused(content, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_places(content)


@pytest.mark.parametrize("header", ["place", "The Location Point", "the_geom"])
def test_spaces_inside_of_values_do_not_part_them(header):
    reading = read_places(f"{header},y\nPOINT (-74.0 40.7),1\nPOINT (-87.6 41.9),2\n".encode())
    assert reading.lonlat.tolist() == [[-74.0, 40.7], [-87.6, 41.9]]
    assert reading.columns == ["y"]


def test_binary_geometries_of_a_plain_table_are_read():
    shapely = pytest.importorskip("shapely")
    frame = pd.DataFrame({"wkb": [shapely.to_wkb(shapely.Point(*city)) for city in CITIES]})
    np.testing.assert_array_equal(read_places(frame).lonlat, CITIES)


def test_a_fill_value_is_no_measurement_even_alone():
    rows = "".join(f"{i},{i},{i / 2}\n" for i in range(12))
    reading = read_places(f"lon,lat,y\n{rows}13,13,1e20\n".encode(), keep_zero=True)
    assert reading.frame["y"].isna().sum() == 1
    assert "1e+20 counted as missing" in "; ".join(reading.notes)


def test_classes_that_differ_by_case_alone_are_said():
    reading = read_places(b"lon,lat,y\n1,1,Forest\n2,2,forest \n3,3,Steppe\n")
    assert "y: 'Forest' and 'forest' differ by case alone" in reading.notes


def polar_grid(scale, unit):
    """Four cells of the polar stereographic grid of sea ice, and where they are."""
    pyproj = pytest.importorskip("pyproj")
    x, y = np.array([-1e6, 5e5]), np.array([2e6, -1e6])
    grid = xr.Dataset(
        {"ice": (("y", "x"), [[1.0, 2.0], [3.0, 4.0]], {"grid_mapping": "polar"})},
        {
            "y": ("y", y * scale, {"standard_name": "projection_y_coordinate", "units": unit}),
            "x": ("x", x * scale, {"standard_name": "projection_x_coordinate", "units": unit}),
            "polar": ((), 0, {"spatial_ref": "EPSG:3411"}),
        },
    )
    turn = pyproj.Transformer.from_crs(3411, 4326, always_xy=True).transform
    return grid, np.stack(turn(*(part.ravel() for part in np.meshgrid(x, y))), axis=1)


@pytest.mark.parametrize(("scale", "unit"), [(1.0, "m"), (1e-3, "km"), (1e-3, "kilometers")])
def test_axes_in_kilometers_are_where_those_in_meters_are(scale, unit):
    grid, places = polar_grid(scale, unit)
    np.testing.assert_allclose(read_places(grid).lonlat, places, atol=1e-6)


def test_gons_are_read_in_the_system_that_is_said():
    reading = read_places(b"lat [gon],lon [gon]\n54.272,0.1\n", crs="EPSG:4807")
    # 0.9 degrees each, and Paris lies at 2.337 degrees; the datum is 50 m away.
    np.testing.assert_allclose(reading.lonlat, [[2.33723 + 0.09, 48.8448]], rtol=0, atol=2e-3)
    german = read_places("Breite [Grad];Länge [Grad]\n52,5;13,4\n".encode())
    assert german.lonlat.tolist() == [[13.4, 52.5]]


def test_axes_in_radians_are_degrees_or_refused():
    grid, _ = polar_grid(1e-8, "rad")
    with pytest.raises(ValueError, match="angle in radians"):
        read_places(grid)
    axes = {axis: (axis, np.radians([10.0, 20.0]), {"units": "radians"}) for axis in ("lon", "lat")}
    flat = xr.Dataset({"t": (("lat", "lon"), np.ones((2, 2)))}, axes)
    np.testing.assert_allclose(read_places(flat).lonlat[1], [20.0, 10.0])


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_a_raster_that_lies_nowhere_is_refused(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "nowhere.tif"
    with rasterio.open(path, "w", "GTiff", 4, 3, 1, "EPSG:4326", dtype="uint8") as file:
        file.write(np.ones((1, 3, 4), np.uint8))
    with pytest.raises(ValueError, match="no georeference"):
        read_places(path)

"""A table in any dialect reads back as it was written, or is refused: nothing is silently wrong."""

import csv
import gzip
import io
import random
from functools import cache

import numpy as np
import pyproj
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satclip_explore.files.places import read_places

DEGREES = [
    ("lon", "lat"),
    ("Longitude", "Latitude"),
    ("decimalLongitude", "decimalLatitude"),
    ("Längengrad", "Breitengrad"),
    ("longitud", "latitud"),
    ("LONG_DD", "LAT_DD"),
    ("lng", "lat"),
    ("Longitude (deg)", "Latitude (deg)"),
    ("X_WGS84", "Y_WGS84"),
]
METERS = [("x", "y"), ("Easting", "Northing"), ("POINT_X", "POINT_Y"), ("Rechtswert", "Hochwert")]
SYSTEMS = {
    None: (-180, -90, 180, 90),
    "EPSG:4258": (-10, 36, 30, 70),
    "EPSG:4807": (-4, 42, 8, 51),
    "EPSG:32633": (10, 1, 20, 80),
    "EPSG:3035": (-10, 36, 30, 70),
    "EPSG:3857": (-170, -60, 170, 60),
}
"""Coordinate systems, and the degrees between which places are drawn in each."""

NAMES = [
    "café, #2",
    'the "old" one',
    "a;b|c",
    "NA",
    "#1",
    "plain",
    "two\nlines",
    "tab\there",
    "O'Hara",
]
MISSING = ["", "NA", "nan", "-", "#N/A"]
GROUPS = {".": ["", ",", " ", "'", "\u00a0"], ",": ["", ".", " ", "\u00a0"]}


@cache
def projection(crs):
    return pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)


@cache
def any_of(*options):
    """Make a strategy once: hypothesis checks every new one, which takes longer than a draw."""
    return st.sampled_from(options)


def written(value, digits, decimal, group=""):
    """Write a number as people do: 1.234,5 in Germany, 1 234,5 in France."""
    text = f"{value:,.{digits}f}"
    return text.replace(",", "\0").replace(".", decimal).replace("\0", group)


def degrees_minutes_seconds(value, sides, decimal):
    minutes, tenths = divmod(round(abs(value) * 36_000), 600)
    seconds = written(tenths / 10, 1, decimal)
    return f"{minutes // 60}°{minutes % 60:02d}'{seconds}\"{sides[int(value < 0)]}"


@st.composite
def dialects(draw):
    """Bytes of a table; keywords to read it; places, values, counts and names in it.

    What is drawn shrinks, at 0.2 ms each; the rest follows from one number.
    """
    pick = lambda *options: draw(any_of(*options))  # noqa: E731
    chance = random.Random(draw(st.integers(0, 2**32)))
    decimal = pick(".", ",")
    delimiter = pick(",", ";", "\t", "|")
    crs = pick(*SYSTEMS, None, None)
    west, south, east, north = SYSTEMS[crs]
    n_rows = chance.randint(3, 6)
    lonlat = np.array([(chance.uniform(west, east), chance.uniform(south, north))
                       for _ in range(n_rows)]).round(4)  # fmt: skip
    values = np.array([chance.uniform(-50, 50) for _ in range(n_rows)]).round(
        chance.choice([1, 2, 3])
    )
    counts = [chance.choice([1, 10, 10**4, 10**7]) * chance.randint(1, 99) for _ in range(n_rows)]
    names = [chance.choice(NAMES) for _ in range(n_rows)]
    gone = {one for one in range(1, n_rows) if chance.random() < 0.2}
    options = {} if crs is None else {"crs": crs}

    group, nothing = chance.choice(GROUPS[decimal]), chance.choice(MISSING)
    metric = crs in ("EPSG:32633", "EPSG:3035", "EPSG:3857")
    notation = pick("decimal", "letters", "seconds") if crs is None else "decimal"
    if notation == "seconds":
        cells = [
            tuple(map(degrees_minutes_seconds, row, ("EW", "NS"), decimal * 2)) for row in lonlat
        ]
    elif notation == "letters":
        cells = [tuple(f"{written(abs(one), 4, decimal)} {sides[int(one < 0)]}"
                       for one, sides in zip(row, ("EW", "NS"), strict=True))
                 for row in lonlat]  # fmt: skip
    else:
        xy = lonlat if crs is None else np.stack(projection(crs).transform(*lonlat.T), axis=1)
        cells = [tuple(written(one, 4 if metric else 6, decimal) for one in row) for row in xy]
    header = [*chance.choice(METERS if metric else DEGREES), "temp", "income", "name"]
    rows = [
        [*cells[i], nothing if i in gone else written(values[i], 3, decimal),
         written(counts[i], 0, decimal, group), names[i]]
        for i in range(n_rows)
    ]  # fmt: skip
    if chance.random() < 0.5:
        header.append(chance.choice(["id", "date", "elevation [m]"]))
        rows = [[*row, f"{i + 1}"] for i, row in enumerate(rows)]
    order = chance.sample(range(len(header)), len(header))
    if order[0] == header.index("name"):
        order = order[::-1]  # "#1" at the start of a line is a comment, and counted as one

    out = io.StringIO()
    out.write(chance.choice(["", "", "# a tool\n", "% one\n% two\n", "\n", f"sep={delimiter}\n"]))
    quoting = pick(csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC)
    writer = csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator="\n")
    writer.writerows([row[i] for i in order] for row in [header, *rows])
    text = out.getvalue()
    if chance.random() < 0.5 and not any("\n" in name for name in names):
        text = text.replace("\n", f"{delimiter}\n")
    text = text.replace("\n", pick("\n", "\r\n", "\r"))
    encoding = pick("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252")
    content = text.encode(encoding)
    content = gzip.compress(content, 1) if chance.random() < 0.3 else content
    values[list(gone)] = np.nan
    return content, options, notation, lonlat, values, counts, names


REFUSED_SHARE = 0.01
"""Of tables, at most: a reader that refuses every one is never wrong."""


@pytest.mark.slow
def test_a_table_reads_back_as_it_was_written():
    tables, refusals = [0], []

    @given(dialects())
    @settings(
        max_examples=max(2000, settings().max_examples),
        deadline=None, derandomize=True, database=None,
    )  # fmt: skip
    def check(table):
        content, options, notation, lonlat, values, counts, names = table
        tables[0] += 1
        try:
            reading = read_places(content, keep_zero=True, sentinels=False, **options)
        except ValueError as refusal:
            assert str(refusal).endswith(".")  # noqa: PT017
            refusals.append(str(refusal))
            return
        # A tenth of a second of arc is 2.8e-5 degrees; four decimals of a grad or meter are less.
        close = 1.5e-5 if notation == "seconds" else 1e-6
        assert len(reading) == len(lonlat)
        np.testing.assert_allclose(reading.lonlat, lonlat, atol=close)
        for column, expected in (("temp", values), ("income", counts)):
            if column not in reading.odd:
                found = reading.frame[column].to_numpy(float)
                np.testing.assert_allclose(found, expected, atol=1e-9)
        assert [" ".join(str(one).split()) for one in reading.frame["name"]] == [
            " ".join(one.split()) for one in names
        ]

    check()
    assert len(refusals) <= REFUSED_SHARE * tables[0], refusals

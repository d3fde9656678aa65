"""A table in any dialect reads back as it was written."""

import csv
import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from satclip_explore.files.places import read_places

HEADERS = [
    ("lon", "lat"),
    ("Longitude", "Latitude"),
    ("decimalLongitude", "decimalLatitude"),
    ("Längengrad", "Breitengrad"),
    ("longitud", "latitud"),
    ("LONG_DD", "LAT_DD"),
]


def degrees(limit):
    return st.integers(-limit * 10_000 + 1, limit * 10_000 - 1).map(lambda one: one / 10_000)


@st.composite
def dialects(draw):
    decimal = draw(st.sampled_from(".,"))
    delimiter = draw(st.sampled_from(",;\t|" if decimal == "." else ";\t|"))
    rows = draw(st.lists(st.tuples(degrees(180), degrees(90), degrees(50)), min_size=3, max_size=6))
    columns = [*draw(st.sampled_from(HEADERS)), "temp", "name"]
    order = draw(st.permutations(range(4)))
    out = io.StringIO()
    out.write(draw(st.sampled_from(["", "# made by a tool\n", "% one\n% two\n"])))
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    writer = csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator="\n")
    writer.writerow([columns[i] for i in order])
    for row in rows:
        cells = [*(f"{one:.4f}".replace(".", decimal) for one in row), "café, #2"]
        writer.writerow([cells[i] for i in order])
    text = out.getvalue()
    if draw(st.booleans()):
        text = text.replace("\n", f"{delimiter}\n")
    text = text.replace("\n", draw(st.sampled_from(["\n", "\r\n", "\r"])))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"]))
    return text.encode(encoding), np.array(rows)


@given(dialects())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_table_reads_back_as_it_was_written(written):
    content, rows = written
    reading = read_places(content, keep_zero=True, sentinels=False)
    np.testing.assert_allclose(reading.lonlat, rows[:, :2], atol=1e-9)
    np.testing.assert_allclose(reading.frame["temp"].to_numpy(float), rows[:, 2], atol=1e-9)

"""Labels as files: read with a sentence about what is wrong, and what a map of them gives."""

from __future__ import annotations

from typing import Any

import pandas as pd
import xarray as xr

from satclip_explore.files.places import read_places
from satclip_explore.panes import cells
from satclip_explore.panes.downloads import (
    Choice,
    code_choice,
    colored,
    raster_choices,
    table_choices,
)

MAX_LABELS = 500
MAX_NAME = 40
MAX_BYTES = 1_000_000


def checked_name(text: Any) -> str:
    """Return a class name without what surrounds it.

    Raises
    ------
    ValueError
        If nothing is left, it is too long, or a character in it cannot be seen.
    """
    name = str(text).strip()
    if not name:
        raise ValueError("a class needs a name.")
    if len(name) > MAX_NAME:
        raise ValueError(f"a class name may have {MAX_NAME} characters; got {len(name)}.")
    if not name.isprintable():
        raise ValueError("a class name may hold printable characters only.")
    return name


def read_labels(content: bytes) -> list[tuple[float, float, str]]:
    """Read a file with coordinates and a column `label`.

    Parameters
    ----------
    content : bytes
        Any format of `read_places`.

    Returns
    -------
    list of (float, float, str)
        Degrees, and the name of the class.

    Raises
    ------
    ValueError
        If the file is too large, does not read as such a table, or holds a row without a label.
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"a file of labels may have 1 MB; got {len(content) / 1e6:,.0f} MB.")
    reading = read_places(content, categorical=("label",), keep_zero=True)
    if len(reading) > MAX_LABELS:
        raise ValueError(f"a file of labels may have {MAX_LABELS} rows.")
    if reading.left_out:
        raise ValueError(f"every label needs a place: {reading.left_out_text()}.")
    rows = []
    for line, (lon, lat), text in zip(
        reading.lines, reading.lonlat, reading.frame["label"], strict=True
    ):
        try:
            rows.append((float(lon), float(lat), checked_name("" if pd.isna(text) else text)))
        except ValueError as error:
            raise ValueError(f"{reading.counted_in} {line}: {error}") from error
    return rows


def offer(pane: Any) -> list[Choice]:
    """List what the labels of a pane give now, and the map that follows from them.

    Parameters
    ----------
    pane : LabelsPane
        It has one label at least.
    """
    labels, classes, encoder = list(pane.labels), list(pane.classes), pane.encoder
    if not labels:
        raise ValueError("click some places first; the labels and their map are here then.")
    table = pane.table()
    listed = table_choices(lambda _: table, "labels",
                           f"{len(labels)} labels: longitude, latitude, class")  # fmt: skip
    if len({name for _, _, name in labels}) > 1:
        listed += raster_choices(
            lambda _: pane.prediction(), lambda _: _painted(pane), "labeled-map",
            f"the class of every {pane.resolution:g}°, with names and colors",
        )  # fmt: skip
    lines = [
        f"classes = {classes!r}",
        "labels = [",
        *(f"    ({lon:.6g}, {lat:.6g}, {name!r})," for lon, lat, name in labels),
        "]",
        "codes = [classes.index(name) for *_, name in labels]",
        f"globe = EmbeddedGrid.of(encoder, {pane.resolution:g})",
        "field = predict_labels(globe, [row[:2] for row in labels], codes)",
        "field.plot.imshow(cmap='tab10')",
    ]
    imports = ("from satclip_explore.fields import EmbeddedGrid",
               "from satclip_explore.labels import predict_labels")  # fmt: skip
    return [*listed, code_choice(cells.cell({"encoder": encoder}, *lines, imports=imports))]


def _painted(pane: Any) -> xr.DataArray:
    field = pane.prediction()
    return colored(pane.painted(field), field)

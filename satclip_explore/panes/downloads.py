"""What a view gives: files, what is inside each, and the code that makes it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from satclip_explore.encoders.satclip import SatCLIP
from satclip_explore.files.geotiff import geotiff_bytes
from satclip_explore.files.raster import png_bytes
from satclip_explore.files.table import csv_bytes, geoparquet_bytes
from satclip_explore.files.vector_files import vector_bytes

Check = Callable[..., Any]
"""Called while a file is made, with whatever progress there is; raises once it is not wanted."""


class Choice(NamedTuple):
    """One of the things that a view gives.

    Parameters
    ----------
    label, inside : str
        What it is, and what is in it: a phrase.
    filename : str
        Empty where `code` is copied.
    make : callable, optional
        Makes the content, beside the page, when it was asked for.
    code : str
        A Python cell, in place of a file.
    """

    label: str
    inside: str
    filename: str = ""
    make: Callable[[Check], bytes] | None = None
    code: str = ""


def stem(*words: Any) -> str:
    """Join words to the name of a file that every system takes, without its ending."""
    return re.sub(r"[^\w.-]+", "-", "-".join(map(str, words))).strip("-.")[:80] or "satclip"


def colored(colors: NDArray[np.uint8], field: xr.DataArray, **facts: str) -> xr.DataArray:
    """Place colors (H, W, 3 or 4) on the pixels of a field, with what is known of it."""
    coords = {"lat": field["lat"], "lon": field["lon"]}
    return xr.DataArray(colors, coords, ("lat", "lon", "band"), attrs=field.attrs | facts)


def code_choice(code: str) -> Choice:
    """Offer the Python cell that makes what is on the screen."""
    return Choice("Copy as code", "the Python cell that makes what you see", code=code)


def raster_choices(
    field: Callable[[Check], xr.DataArray],
    picture: Callable[[Check], xr.DataArray] | None,
    stem: str,
    numbers: str,
) -> list[Choice]:
    """Offer a raster as a GeoTIFF of its numbers and as a PNG of its colors.

    Parameters
    ----------
    field, picture : callable
        Make the numbers, and the colors as bytes of three or four bands.
    stem : str
        File name without its ending.
    numbers : str
        What a pixel of the GeoTIFF holds.
    """
    found = [
        Choice("GeoTIFF", f"{numbers}; cloud-optimized, placed for QGIS and rasterio",
               f"{stem}.tif", lambda check: geotiff_bytes(field(check)))
    ]  # fmt: skip
    if picture is not None:
        found.append(Choice("PNG", "the colors that you see, sea clear", f"{stem}.png",
                            lambda check: png_bytes(picture(check))))  # fmt: skip
    return found


def table_choices(
    table: Callable[[Check], Any], stem: str, inside: str, facts: Any = None, *, csv: bool = True
) -> list[Choice]:
    """Offer a table of places, or of polygons, as CSV, GeoParquet and GeoPackage.

    Parameters
    ----------
    table : callable
        Makes the frame.
    stem : str
        File name without its ending.
    inside : str
        What a row holds.
    facts : mapping, optional
        Provenance; joins what is in the frame's `attrs`.
    csv : bool
        Whether a plain table is offered, which has no shapes.
    """

    def plain(check: Check) -> bytes:
        return csv_bytes(
            pd.DataFrame(table(check)).drop(columns="geometry", errors="ignore"), facts
        )

    def parquet(check: Check) -> bytes:
        frame = table(check)
        if hasattr(frame, "crs"):
            return vector_bytes(frame, ".parquet", facts)
        return geoparquet_bytes(frame, facts)

    found = [Choice("CSV", f"{inside}; for spreadsheets", f"{stem}.csv", plain)] if csv else []
    return [
        *found,
        Choice("GeoParquet", "the same, compressed and typed", f"{stem}.parquet", parquet),
        Choice("GeoPackage", "the same as a layer of QGIS or ArcGIS", f"{stem}.gpkg",
               lambda check: vector_bytes(table(check), ".gpkg", facts, layer=stem)),
    ]  # fmt: skip


def page_choice(encoder: Any, place: tuple[float, float]) -> list[Choice]:
    """Offer a page with the encoder in it, where one can hold it."""
    if not isinstance(encoder, SatCLIP):
        return []

    def page(_: Check) -> bytes:
        from satclip_explore.webpage.page import html_bytes

        return html_bytes(encoder, start=place)

    return [
        Choice("Web page", f"one HTML file that runs {encoder.name}: globe, likeness and neighbors "
               "from this place on, without a server", f"{encoder.name}.html", page)
    ]  # fmt: skip

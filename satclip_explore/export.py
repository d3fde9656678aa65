"""Results as files that say where they come from: GeoTIFF, PNG, CSV, GeoParquet.

Each format has a pair of functions: `geotiff_bytes(field)` gives the content, for a download, and
`to_geotiff(field, path)` writes it, completely or not at all.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from satclip_explore.field_files import geotiff_bytes, png_bytes, read_field
from satclip_explore.table_files import csv_bytes, geoparquet_bytes

__all__ = [
    "csv_bytes",
    "geoparquet_bytes",
    "geotiff_bytes",
    "png_bytes",
    "to_csv",
    "to_geoparquet",
    "to_geotiff",
    "to_png",
    "write_whole",
]


def to_geotiff(field: xr.DataArray, path: str | Path) -> Path:
    """Write `geotiff_bytes(field)` to a file and return its path."""
    return write_whole(path, geotiff_bytes(field))


def to_png(
    field: xr.DataArray,
    path: str | Path,
    *,
    low: float | None = None,
    high: float | None = None,
    world_file: bool = True,
) -> Path:
    """Write `png_bytes(field)` and, unless refused, a world file (.pgw) that places it on maps."""
    path = Path(path)
    content = png_bytes(field, low=low, high=high)
    if world_file:
        grid = read_field(field)[1]
        d_lon, d_lat = grid.resolution
        numbers = (d_lon, 0.0, 0.0, -d_lat, grid.lon[0], grid.lat[0])
        write_whole(path.with_suffix(".pgw"), "".join(f"{n:.12g}\n" for n in numbers).encode())
    return write_whole(path, content)


def to_csv(frame: pd.DataFrame, path: str | Path, facts: Mapping[str, Any] | None = None) -> Path:
    """Write `csv_bytes(frame, facts)` to a file and return its path."""
    return write_whole(path, csv_bytes(frame, facts))


def to_geoparquet(
    frame: pd.DataFrame, path: str | Path, facts: Mapping[str, Any] | None = None
) -> Path:
    """Write `geoparquet_bytes(frame, facts)` to a file and return its path."""
    return write_whole(path, geoparquet_bytes(frame, facts))


def write_whole(path: str | Path, content: bytes) -> Path:
    """Write a file completely or not at all: what was there before survives a failure.

    Raises
    ------
    OSError
        If the folder is missing or not writable, or the disk is full; one sentence.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        reason = error.strerror or str(error)
        raise OSError(
            f"cannot write {path} ({len(content):,} bytes): {reason}. Nothing was changed."
        ) from error
    return path

"""Precomputed embeddings as encoders: read where places are, never whole."""

from __future__ import annotations

from pathlib import Path

RASTERS = (".tif", ".tiff", ".vrt")
NETCDF = (".nc", ".nc4", ".cdf")
ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")


def family_of(path: Path) -> str:
    """Tell which reader opens the files of a product; empty where none does."""
    if path.is_dir():
        if any((path / mark).is_file() for mark in ZARR_MARKS):
            return "arrays"
        return "raster" if any(f.suffix.lower() in RASTERS for f in path.rglob("*")) else ""
    suffix = path.suffix.lower()
    return "raster" if suffix in RASTERS else "arrays" if suffix in NETCDF else ""

"""Precomputed embeddings as encoders: read where places are, never whole."""

from __future__ import annotations

import re
from pathlib import Path

RASTERS = (".tif", ".tiff", ".vrt")
NETCDF = (".nc", ".nc4", ".cdf")
PARQUET = (".parquet", ".geoparquet", ".gpq")
ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")


def family_of(path: Path) -> str:
    """Tell which reader opens the files of a product; empty where none does."""
    if path.is_dir():
        if any((path / mark).is_file() for mark in ZARR_MARKS):
            return "arrays"
        suffixes = {f.suffix.lower() for f in path.rglob("*")}
    else:
        suffixes = {path.suffix.lower()}
    for family, endings in (("raster", RASTERS), ("arrays", NETCDF), ("points", PARQUET)):
        if suffixes.intersection(endings) and (family != "arrays" or path.is_file()):
            return family if family != "points" or _holds_points(path) else ""
    return ""


def list_files(path: Path, endings: tuple[str, ...], year: int | None = None) -> list[Path]:
    """List the files of a product by name: one, or those below a folder, of the year in a path."""
    if path.is_file():
        files, root = [path], path.parent
    else:
        files, root = sorted(f for f in path.rglob("*") if f.suffix.lower() in endings), path
    if year is None:
        return files
    mark = re.compile(rf"(?<!\d){int(year)}(?!\d)")
    return [file for file in files if mark.search(str(file.relative_to(root)))]


def _holds_points(path: Path) -> bool:
    from satclip_explore.encoders.products.points import holds_points

    return holds_points(path)

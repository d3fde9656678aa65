"""Precomputed embeddings as encoders: read where places are, never whole."""

from __future__ import annotations

import re
from pathlib import Path

GEOTIFF = (".tif", ".tiff")
NETCDF = (".nc", ".nc4", ".cdf")
JSON = (".json", ".geojson")
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
    if path.is_file() and (family := list_family(path)):
        return family
    if ".vrt" in suffixes and not suffixes.intersection((*GEOTIFF, *PARQUET)):
        return "vrt"
    for family, endings in (("raster", GEOTIFF), ("arrays", NETCDF), ("points", PARQUET)):
        if suffixes.intersection(endings) and (family != "arrays" or path.is_file()):
            return family if family != "points" or _holds_points(path) else ""
    return ""


def list_family(path: Path) -> str:
    """Tell a file that lists rasters by its content; empty where it is none."""
    with path.open("rb") as file:
        head = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith((b"<VRTDataset", b"<?xml")):
        return "vrt"
    if path.suffix.lower() in JSON:
        return "stac"
    if head.startswith(b"{"):
        from satclip_explore.encoders.products.stac import is_stac

        return "stac" if is_stac(path) else ""
    return ""


YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")


def years_below(path: Path, endings: tuple[str, ...]) -> tuple[int, ...]:
    """List the years that paths of a product's files name, below its folder."""
    found = {word for f in list_files(path, endings) for word in YEAR.findall(_below(f, path))}
    return tuple(sorted(map(int, found)))


def _below(file: Path, path: Path) -> str:
    return str(file.relative_to(path.parent if path.is_file() else path))


def list_files(path: Path, endings: tuple[str, ...], year: int | None = None) -> list[Path]:
    """List the files of a product by name: one, or those below a folder, of the year in a path."""
    if path.is_file():
        files = [path]
    else:
        files = sorted(f for f in path.rglob("*") if f.suffix.lower() in endings)
    if year is None:
        return files
    mark = re.compile(rf"(?<!\d){int(year)}(?!\d)")
    return [file for file in files if mark.search(_below(file, path))]


def _holds_points(path: Path) -> bool:
    from satclip_explore.encoders.products.points import holds_points

    return holds_points(path)

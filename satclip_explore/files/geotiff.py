"""A field as a GeoTIFF: cloud optimized, with nodata, colors and names of classes."""

from __future__ import annotations

import colorsys
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from satclip_explore.files.atomic import write_whole
from satclip_explore.files.raster import field_facts, read_field
from satclip_explore.files.warp import Pixels, sample, target_pixels
from satclip_explore.geo import Grid
from satclip_explore.regions import region as find_region

GOLDEN = 0.618034
"""Turns between the hues of neighboring classes."""


def geotiff_bytes(
    field: xr.DataArray,
    *,
    crs: Any = None,
    resolution: float | None = None,
    like: Any = None,
    region: Any = None,
) -> bytes:
    """Encode a field as a cloud-optimized GeoTIFF with its provenance as tags.

    Parameters
    ----------
    field : xarray.DataArray, dims (lat, lon) or (lat, lon, …), shape (H, W) or (H, W, C)
        Numbers on a regular grid of pixel centers, north first, degrees.
    crs : object, optional
        Coordinate system of the file, e.g. "EPSG:32633"; default that of the field, EPSG:4326.
    resolution : float, optional
        Pixel size in the unit of `crs`, mostly meters; default about that of the field.
    like : path, rasterio dataset or field, optional
        A template: the file gets its coordinate system and its very pixels.
    region : str, sequence, mapping, geometry or Region, optional
        What lies outside is missing; see `region`.

    Returns
    -------
    bytes
        One band per channel. Quantities on other pixels are read between the four centers around
        each, classes and codes from the pixel that it lies in. Missing is NaN among floats, a code
        among integers (``attrs["nodata"]``, or one that is free), transparent among colors. Classes
        (``attrs["classes"]``) have a color each, their codes in one or two bytes, and their names
        as tags of the band.

    Raises
    ------
    ValueError
        If the axes are not those of a field, or there is no such grid.
    ImportError
        If rasterio is not installed.
    """
    values, grid = read_field(field)
    try:
        import rasterio
    except ImportError as error:
        raise ImportError("GeoTIFF needs rasterio: pip install 'satclip-explore[geo]'") from error
    facts = field_facts(field, grid)
    classes = _classes(field)
    where = None if region is None else find_region(region)
    bounds = grid.bounds if where is None else _common(grid.bounds, where.bounds)
    pixels = target_pixels(grid, bounds, crs, resolution, like)
    values, nodata = _with_nodata(values, field, classes)
    colors = values.dtype == np.uint8 and values.shape[2] in (3, 4) and not classes
    floats = values.dtype.kind == "f"
    bands = np.moveaxis(values, 2, 0)
    if pixels is not None or where is not None:
        bands, outside = _on_pixels(values, grid, pixels or Pixels.of_grid(grid), where,
                                    nearest=not (floats or colors))  # fmt: skip
        if colors and outside.any():
            opaque = np.where(outside, 0, 255).astype(np.uint8)
            bands = np.concatenate([bands, opaque[None]]) if len(bands) == 3 else bands
            bands[:, outside] = 0
        elif not colors:
            bands[:, outside] = nodata
    if pixels is not None:
        # What was said of the grid in degrees no longer holds.
        facts = {key: text for key, text in facts.items() if not key.startswith("grid_")}
        facts["crs"] = pixels.crs.to_string()
    pixels = pixels or Pixels.of_grid(grid)
    labels = [*_band_labels(field), "alpha"][: len(bands)]
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="COG",
            height=pixels.shape[0],
            width=pixels.shape[1],
            count=len(bands),
            dtype=bands.dtype.name,
            crs=pixels.crs.to_wkt(),
            transform=rasterio.Affine(*pixels.transform),
            nodata=nodata,
            compress="DEFLATE",
            predictor="YES",
            overview_resampling="NEAREST" if not (floats or colors) else "AVERAGE",
        ) as file:
            file.write(bands)
            file.update_tags(**facts)
            for band, label in enumerate(labels, start=1):
                file.set_band_description(band, label)
            if colors:
                kinds = rasterio.enums.ColorInterp
                file.colorinterp = [kinds.red, kinds.green, kinds.blue, kinds.alpha][: len(bands)]
            if classes:
                file.write_colormap(1, dict(enumerate(_class_colors(field, len(classes)))))
                file.update_tags(1, **{f"CATEGORY_{i}": name for i, name in enumerate(classes)})
        return bytes(memory.read())


def to_geotiff(
    field: xr.DataArray,
    path: str | Path,
    *,
    crs: Any = None,
    resolution: float | None = None,
    like: Any = None,
    region: Any = None,
) -> Path:
    """Write `geotiff_bytes` to a file and return its path.

    A raster of classes gets a second file, .aux.xml, with their names, as GDAL reads them.
    """
    content = geotiff_bytes(field, crs=crs, resolution=resolution, like=like, region=region)
    path = Path(path)
    classes = _classes(field)
    if classes:
        write_whole(path.with_name(f"{path.name}.aux.xml"), _category_names(classes))
    return write_whole(path, content)


def _common(bounds: Any, other: Any) -> Any:
    """Return the part of the first bounds that the second ones reach into, as far as it goes."""
    west, south, east, north = bounds
    start = west + (other[0] - west) % 360.0
    if start < east:
        west, east = start, min(east, start + other[2] - other[0])
    south, north = max(south, other[1]), min(north, other[3])
    return (west, south, east, north) if south < north else bounds


def _on_pixels(
    values: NDArray[Any], grid: Grid, pixels: Pixels, where: Any, *, nearest: bool
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read a field at pixels; returns bands, (C, H, W), and what lies outside, (H, W)."""
    height, width = pixels.shape
    bands = np.empty((values.shape[2], height, width), dtype=values.dtype)
    outside = np.zeros((height, width), dtype=bool)
    for rows, lonlat in pixels.blocks():
        found, inside = sample(values, grid, lonlat, nearest=nearest)
        if where is not None:
            inside[inside] = where.contains(lonlat[inside])
        bands[:, rows] = found.reshape(len(bands), -1, width)
        outside[rows] = ~inside.reshape(-1, width)
    return bands, outside


def _classes(field: xr.DataArray) -> list[str]:
    with suppress(TypeError, ValueError):
        names = json.loads(field.attrs.get("classes", "[]"))
        if isinstance(names, list) and field.dtype.kind in "iu" and field.ndim == 2:
            return [str(name) for name in names[:65_535]]
    return []


def _with_nodata(
    values: NDArray[Any], field: xr.DataArray, classes: Sequence[str]
) -> tuple[NDArray[Any], float | None]:
    """Choose what stands for missing; codes of classes become bytes, which can have colors."""
    if values.dtype.kind == "f":
        return values, np.nan
    if values.dtype == np.uint8 and values.shape[2] in (3, 4) and not classes:
        return values, None
    known = None
    with suppress(TypeError, ValueError, OverflowError):
        known = int(field.attrs.get("nodata", -1 if "classes" in field.attrs else ""))
    if classes:
        dtype, free = (np.uint8, 255) if len(classes) <= 255 else (np.uint16, 65_535)
        bad = (values < 0) | (values >= len(classes))
        return np.where(bad, free, values).astype(dtype), free
    limits = np.iinfo(values.dtype)
    if known is not None and limits.min <= known <= limits.max:
        return values, known
    for free in (int(limits.min), int(limits.max)):
        # Zero is a value almost everywhere.
        if free and not (values == free).any():
            return values, free
    if values.dtype.itemsize > 2:
        return values.astype(np.float64), np.nan
    return values.astype(np.int32), int(np.iinfo(np.int32).min)


def _band_labels(field: xr.DataArray) -> list[str]:
    if field.ndim == 2:
        return [str(field.name or "value")]
    name = str(field.dims[2])
    labels = field[name].values if name in field.coords else range(field.shape[2])
    return [f"{name} {label}" for label in labels]


def _class_colors(field: xr.DataArray, n: int) -> list[tuple[int, int, int, int]]:
    """Return the colors in ``attrs["colors"]``, "#rrggbb" each, or n hues far from one another."""
    with suppress(TypeError, ValueError, AttributeError):
        given = json.loads(field.attrs["colors"]) if "colors" in field.attrs else []
        read = [tuple(bytes.fromhex(color.lstrip("#"))) for color in given]
        if len(read) == n and all(len(color) == 3 for color in read):
            return [(red, green, blue, 255) for red, green, blue in read]
    hues = [colorsys.hsv_to_rgb(i * GOLDEN % 1.0, 0.55 + 0.2 * (i % 3), 0.9) for i in range(n)]
    return [(round(r * 255), round(g * 255), round(b * 255), 255) for r, g, b in hues]


def _category_names(classes: Sequence[str]) -> bytes:
    """Write the names of classes as GDAL keeps them beside a GeoTIFF, which has no place for them.

    References
    ----------
    "GDAL PAM", https://gdal.org/en/stable/user/raster_data_model.html (category names, raster
    attribute table: usage 5 is the value, 2 the name; type 0 is an integer, 2 text).
    """
    names = [escape("".join(c if c.isprintable() else " " for c in name)) for name in classes]
    categories = "".join(f"<Category>{name}</Category>" for name in names)
    rows = "".join(f'<Row index="{i}"><F>{i}</F><F>{n}</F></Row>' for i, n in enumerate(names))
    columns = (
        '<FieldDefn index="0"><Name>Value</Name><Type>0</Type><Usage>5</Usage></FieldDefn>'
        '<FieldDefn index="1"><Name>Class</Name><Type>2</Type><Usage>2</Usage></FieldDefn>'
    )
    table = f'<GDALRasterAttributeTable tableType="thematic">{columns}{rows}'
    return (
        f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{categories}</CategoryNames>'
        f"{table}</GDALRasterAttributeTable></PAMRasterBand></PAMDataset>\n"
    ).encode()

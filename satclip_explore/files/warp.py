"""A field on other pixels: in any coordinate system, in meters, on the grid of a template."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from satclip_explore.checks import real_number
from satclip_explore.files.crs import WGS84, from_lonlat, is_wgs84, read_crs, to_lonlat
from satclip_explore.geo import MAX_PIXELS, Bounds, Grid

METERS_PER_DEGREE = 111_195.0
"""Along a meridian of a sphere of the Earth's mean radius."""

BLOCK = 500_000
"""Pixels that are placed at a time."""


@dataclass(frozen=True)
class Pixels:
    """The pixels of a raster in a coordinate system.

    Parameters
    ----------
    crs : pyproj.CRS
        Of the raster.
    transform : tuple of float
        (a, b, c, d, e, f): x = a·column + b·row + c and y = d·column + e·row + f at pixel corners.
    shape : tuple of int
        (H, W).
    """

    crs: Any
    transform: tuple[float, float, float, float, float, float]
    shape: tuple[int, int]

    @classmethod
    def of_grid(cls, grid: Grid) -> Pixels:
        """Return the pixels of a grid, in EPSG:4326."""
        (d_lon, d_lat), (west, _, _, north) = grid.resolution, grid.bounds
        return cls(read_crs(WGS84), (d_lon, 0.0, west, 0.0, -d_lat, north), grid.shape)

    @classmethod
    def like(cls, template: Any) -> Pixels:
        """Take the pixels of a raster file, or of an open rasterio dataset."""
        import rasterio

        if isinstance(template, (str, Path)):
            if not Path(template).is_file():
                raise FileNotFoundError(f"no raster at {template}; like= takes a file to follow.")
            try:
                with rasterio.open(template) as file:
                    return cls.like(file)
            except rasterio.errors.RasterioError as error:
                raise ValueError(f"{Path(template).name} does not read as a raster.") from error
        if not (hasattr(template, "transform") and hasattr(template, "crs")):
            raise ValueError(
                "like= takes a raster file, an open rasterio dataset or a field; got "
                f"{type(template).__name__}."
            )
        if template.crs is None:
            raise ValueError("the raster in like= says no coordinate system; write one into it.")
        crs, (a, b, c, d, e, f) = read_crs(template.crs.to_wkt()), tuple(template.transform)[:6]
        return cls(crs, (a, b, c, d, e, f), (template.height, template.width))

    @classmethod
    def covering(cls, bounds: Bounds, crs: Any, resolution: float) -> Pixels:
        """Lay square pixels over a part of the Earth, edges at multiples of the resolution.

        Parameters
        ----------
        bounds : tuple of float
            (lon_min, lat_min, lon_max, lat_max) in degrees; only where the system is in use.
        crs : pyproj.CRS
            Of the pixels.
        resolution : float
            In the unit of the system.
        """
        west, south, east, north = bounds
        lon, lat = np.meshgrid(np.linspace(west, east, 201), np.linspace(south, north, 201))
        if crs.area_of_use is not None:
            use = crs.area_of_use
            width = (use.east - use.west) % 360.0 or 360.0
            used = ((lon - use.west) % 360.0 <= width) & (lat >= use.south) & (lat <= use.north)
            if not used.any():
                raise ValueError(
                    f"the field lies outside of where {crs.name} is in use ({use.west:g} to "
                    f"{use.east:g} E, {use.south:g} to {use.north:g} N); take another crs=."
                )
            if east - west > 3.0 * width or (crs.is_projected and north - south > 179.0):
                # A zone is cut out of the globe; what reaches a little over its edges is kept.
                lon = np.where((lon - use.west) % 360.0 <= width, lon, np.nan)
                lat = lat.clip(use.south, use.north)
        if is_wgs84(crs):
            x, y = np.array([west, east]), np.array([south, north])
        else:
            x, y = from_lonlat(lon.ravel(), lat.ravel(), crs)
        known = np.isfinite(x) & np.isfinite(y)
        left, right = x[known].min() / resolution, x[known].max() / resolution
        bottom, top = y[known].min() / resolution, y[known].max() / resolution
        edges = np.floor([left + 1e-6, bottom + 1e-6]), np.ceil([right - 1e-6, top - 1e-6])
        (left, bottom), (right, top) = (edge.tolist() for edge in edges)
        height, width = max(1.0, top - bottom), max(1.0, right - left)
        if height * width > MAX_PIXELS:
            unit = crs.axis_info[0].unit_name
            raise ValueError(
                f"resolution={resolution:g} {unit} makes {height:,.0f} x {width:,.0f} pixels; at "
                f"most {MAX_PIXELS:,}: use a larger one, or region=."
            )
        transform = (resolution, 0.0, left * resolution, 0.0, -resolution, top * resolution)
        return cls(crs, transform, (int(height), int(width)))

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Yield rows and their pixel centers, (rows * W, 2), in degrees; NaN off the map."""
        a, b, c, d, e, f = self.transform
        height, width = self.shape
        step = max(1, BLOCK // width)
        for start in range(0, height, step):
            rows = slice(start, min(height, start + step))
            row, column = np.mgrid[rows, :width]
            row, column = row.ravel() + 0.5, column.ravel() + 0.5
            x, y = a * column + b * row + c, d * column + e * row + f
            lon, lat = to_lonlat(x, y, self.crs)
            if not self.crs.is_geographic:
                # Outside of their map, some projections repeat the Earth.
                back = np.hypot(*np.subtract(from_lonlat(lon, lat, self.crs), (x, y)))
                lon = np.where(back <= 0.5 * np.hypot(a, d), lon, np.nan)
            lat = np.where(np.isfinite(lon) & (np.abs(lat) <= 90.0), lat, np.nan)
            yield rows, np.stack([lon, lat], axis=1)


def target_pixels(
    field_grid: Grid, bounds: Bounds, crs: Any, resolution: Any, like: Any
) -> Pixels | None:
    """Turn what a raster is asked for with into pixels; None where it stays as it is."""
    if like is not None:
        if crs is not None or resolution is not None:
            raise ValueError("like= says crs and resolution; leave these out.")
        if isinstance(like, xr.DataArray):
            from satclip_explore.files.raster import grid_of

            return Pixels.of_grid(grid_of(like))
        return Pixels.like(like)
    if crs is None and resolution is None:
        return None
    system = read_crs(WGS84 if crs is None else crs)
    unit = system.axis_info[0].unit_conversion_factor
    if resolution is None:
        degrees = field_grid.resolution[1]
        meters = degrees * METERS_PER_DEGREE
        step = (np.radians(degrees) if system.is_geographic else meters) / unit
        return Pixels.covering(bounds, system, float(f"{step:.3g}"))
    step = real_number(resolution, "resolution")
    if step <= 0.0:
        raise ValueError(f"resolution must be above 0; got {resolution!r:.40}.")
    if system.is_geographic and step > 180.0:
        raise ValueError(
            f"resolution is in degrees here, and {step:g} is more than half a turn; say a crs= in "
            "meters, such as the UTM zone."
        )
    return Pixels.covering(bounds, system, step)


def sample(
    values: NDArray[Any], grid: Grid, lonlat: NDArray[np.float64], *, nearest: bool
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read a field at places.

    Parameters
    ----------
    values : numpy.ndarray, shape (H, W, C)
        On `grid`; missing is NaN.
    grid : Grid
        Of the values.
    lonlat : numpy.ndarray, shape (N, 2)
        Degrees; NaN is nowhere.
    nearest : bool
        Take the pixel that a place lies in; else between the four centers around it, where these
        are known.

    Returns
    -------
    found : numpy.ndarray, shape (C, N)
        In the dtype of `values`, where `inside`.
    inside : numpy.ndarray, shape (N,), bool
        Which places lie in the field.
    """
    (west, south, east, north), (d_lon, d_lat) = grid.bounds, grid.resolution
    height, width = grid.shape
    along = (lonlat[:, 0] - west) % 360.0
    along = np.where(along > 360.0 - 1e-9, 0.0, along)
    with np.errstate(invalid="ignore"):
        inside = (along <= east - west + 1e-9) & (lonlat[:, 1] >= south - 1e-9)
        inside &= lonlat[:, 1] <= north + 1e-9
    column = np.where(inside, along / d_lon, 0.5)
    row = np.where(inside, (north - lonlat[:, 1]) / d_lat, 0.5)
    at = row.astype(np.int64).clip(0, height - 1), column.astype(np.int64).clip(0, width - 1)
    found = values[at].T
    if nearest:
        return found, inside
    round_globe = abs(east - west - 360.0) < 1e-9
    first_row, first_column = np.floor(row - 0.5), np.floor(column - 0.5)
    down, right = row - 0.5 - first_row, column - 0.5 - first_column
    total = np.zeros(found.shape)
    weight = np.zeros(found.shape)
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        r = (first_row + i).clip(0, height - 1).astype(np.int64)
        c = (first_column + j).astype(np.int64)
        c = c % width if round_globe else c.clip(0, width - 1)
        share = (down if i else 1.0 - down) * (right if j else 1.0 - right)
        part = values[r, c].T.astype(np.float64)
        known = np.isfinite(part)
        total += np.where(known, part * share, 0.0)
        weight += known * share
    with np.errstate(invalid="ignore", divide="ignore"):
        between = total / weight
    if values.dtype.kind in "iu":
        return np.rint(between).astype(values.dtype), inside
    # A hole keeps its size.
    return np.where(np.isfinite(found), between, np.nan).astype(values.dtype), inside

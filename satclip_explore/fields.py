"""Fields over the globe: embeddings on a grid, and how similar every pixel is to one place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from satclip_explore.checks import known_keywords
from satclip_explore.encoders.base import LocationEncoder, Readout
from satclip_explore.files.cf import LAT, LON
from satclip_explore.geo import GLOBE, Bounds, Grid, as_lonlat
from satclip_explore.html_view import facts_table
from satclip_explore.provenance import provenance
from satclip_explore.regions import region as find_region

Progress = Callable[[int, int], None]
"""Called with (rows done, rows in all). An exception raised inside cancels the work."""


@known_keywords
def embed_grid(
    encoder: LocationEncoder,
    resolution: float = 1.0,
    bounds: Bounds = GLOBE,
    *,
    region: Any = None,
    grid: Grid | None = None,
    progress: Progress | None = None,
) -> xr.DataArray:
    """Encode every pixel center of a grid.

    Parameters
    ----------
    encoder : LocationEncoder
        Any encoder.
    resolution : float
        Pixel size in degrees.
    bounds : tuple of float
        (lon_min, lat_min, lon_max, lat_max) in degrees; lon_min above lon_max crosses the
        antimeridian.
    region : str, sequence, mapping, geometry or Region, optional
        In place of bounds; see `region`. Pixels outside are NaN.
    grid : Grid, optional
        The pixels themselves, in place of resolution and bounds.
    progress : callable, optional
        Called with (rows done, rows in all).

    Returns
    -------
    xarray.DataArray, dims (lat, lon, embed), shape (H, W, D)
        Unnormalized embeddings, north first.

    Raises
    ------
    ValueError
        If resolution or bounds make no grid, or the result would pass 4 GB.
    """
    grid, inside = view(resolution, bounds, region, grid)
    check_memory(grid, encoder.embed_dim, max(4, encoder.dtype.itemsize))
    values = collect(iter_rows(encoder, grid, progress=progress), grid)
    values[~inside] = np.nan
    return as_field(values, grid, encoder, "embed")


@known_keywords
def similarity_raster(
    encoder: LocationEncoder,
    lonlat: Any,
    resolution: float = 0.5,
    bounds: Bounds = GLOBE,
    *,
    region: Any = None,
    grid: Grid | None = None,
    progress: Progress | None = None,
) -> xr.DataArray:
    """Map the cosine similarity between one place and every pixel.

    Parameters
    ----------
    encoder : LocationEncoder
        Any encoder.
    lonlat : array_like
        One place, (lon, lat) in degrees.
    resolution : float
        Pixel size in degrees.
    bounds : tuple of float
        (lon_min, lat_min, lon_max, lat_max) in degrees; lon_min above lon_max crosses the
        antimeridian.
    region : str, sequence, mapping, geometry or Region, optional
        In place of bounds; see `region`. Pixels outside are NaN.
    grid : Grid, optional
        The pixels themselves, in place of resolution and bounds.
    progress : callable, optional
        Called with (rows done, rows in all).

    Returns
    -------
    xarray.DataArray, dims (lat, lon), shape (H, W), float32
        Cosine in [-1, 1], north first; NaN without coverage and outside of the region.

    Raises
    ------
    ValueError
        If `lonlat` is not one valid place, or the grid is invalid.
    """
    grid, inside = view(resolution, bounds, region, grid)
    place = one_place(lonlat)
    query = unit_rows(torch.from_numpy(encoder.embed(place)))[0]
    blocks = (
        (rows, (unit_rows(values) @ query.to(values))[..., None])
        for rows, values in iter_rows(encoder, grid, progress=progress)
    )
    values = collect(blocks, grid)[..., 0]
    values[~inside] = np.nan
    return as_field(values.clip(-1.0, 1.0), grid, encoder, None, place=tuple(place[0].tolist()))


MAX_BYTES = 4_000_000_000
"""Largest raster that is made: a guard against a resolution typed in the wrong unit."""


def view(
    resolution: float, bounds: Bounds, region: Any, grid: Grid | None
) -> tuple[Grid, NDArray[np.bool_]]:
    """Turn what rasters are asked for with into pixels, and say which lie in the region.

    Returns
    -------
    grid : Grid
        Pixel centers, shape (H, W).
    inside : numpy.ndarray, shape (H, W), bool
        All True without a region.

    Raises
    ------
    ValueError
        If more than one of bounds, region and grid is given, or they make no grid.
    """
    given = [tuple(bounds) != GLOBE, region is not None, grid is not None]
    if sum(given) > 1:
        raise ValueError("give one of bounds, region and grid: each says where the pixels are.")
    if region is None:
        grid = grid or Grid.from_resolution(resolution, bounds)
        return grid, np.ones(grid.shape, dtype=bool)
    found = find_region(region)
    grid = Grid.from_resolution(resolution, found.bounds)
    return grid, found.contains(grid.lonlat).reshape(grid.shape)


def check_memory(grid: Grid, channels: int, itemsize: int) -> None:
    """Refuse a raster that would not fit in memory, before anything is encoded."""
    size = grid.shape[0] * grid.shape[1] * channels * itemsize
    if size > MAX_BYTES:
        raise ValueError(
            f"{grid.shape[0]:,} x {grid.shape[1]:,} pixels of {channels:,} numbers would take "
            f"{size / 1e9:,.0f} GB; use a coarser resolution or smaller bounds, or pca_raster, "
            "which keeps a few numbers per pixel."
        )


@dataclass(frozen=True)
class EmbeddedGrid:
    """A grid encoded once, so that similarity to any place is one matrix-vector product.

    Parameters
    ----------
    encoder : LocationEncoder
        Made the embeddings.
    grid : Grid
        Pixel centers, shape (H, W).
    unit : torch.Tensor, shape (H*W, D), float32
        Embeddings of unit length.
    """

    encoder: LocationEncoder
    grid: Grid
    unit: torch.Tensor

    @classmethod
    def of(
        cls, encoder: LocationEncoder, resolution: float = 1.0, *, progress: Progress | None = None
    ) -> EmbeddedGrid:
        """Encode the globe at a resolution in degrees: 66 MB at 1 degree and D = 256."""
        grid = Grid.from_resolution(resolution)
        check_memory(grid, encoder.embed_dim, max(4, encoder.dtype.itemsize))
        blocks = (
            (rows, unit_rows(values))
            for rows, values in iter_rows(encoder, grid, progress=progress)
        )
        unit = torch.from_numpy(collect(blocks, grid)).flatten(0, 1)
        return cls(encoder, grid, unit)

    def _repr_html_(self) -> str:
        height, width = self.grid.shape
        west, south, east, north = self.grid.bounds
        return facts_table(
            f"{self.encoder.name} on a grid",
            {
                "pixels": f"{height:,} × {width:,}, rows from the north",
                "longitude": f"{west:g}° to {east:g}°",
                "latitude": f"{south:g}° to {north:g}°",
                "numbers per pixel": self.unit.shape[1],
                "memory": f"{self.unit.numel() * self.unit.element_size() / 2**20:.0f} MB",
            },
        )

    def similarity(self, lonlat: Any) -> xr.DataArray:
        """Map the cosine to one place; see `similarity_raster`."""
        place = one_place(lonlat)
        query = unit_rows(torch.from_numpy(self.encoder.embed(place)).float())[0]
        values = (self.unit @ query).reshape(self.grid.shape).numpy().clip(-1.0, 1.0)
        return as_field(values, self.grid, self.encoder, None, place=tuple(place[0].tolist()))


def one_place(lonlat: Any) -> NDArray[np.float64]:
    """Check that `lonlat` is exactly one place and return it with shape (1, 2)."""
    place = as_lonlat(lonlat)
    if len(place) != 1:
        raise ValueError(f"need one place (lon, lat) in degrees; got {len(place)}.")
    return place


def unit_rows(values: torch.Tensor) -> torch.Tensor:
    """Scale vectors along the last axis to length 1, in float32 or wider; zero stays zero."""
    values = values.float() if values.dtype == torch.bfloat16 else values
    return torch.nn.functional.normalize(values, dim=-1)


def iter_rows(
    encoder: LocationEncoder,
    grid: Grid,
    readout: Readout | None = None,
    *,
    precision: str | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Pass on `encoder.iter_grid`, reporting progress after each block of rows."""
    for rows, values in encoder.iter_grid(grid, readout, precision=precision):
        yield rows, values
        if progress is not None:
            progress(rows.stop, grid.shape[0])


def collect(blocks: Iterator[tuple[slice, torch.Tensor]], grid: Grid) -> NDArray[Any]:
    """Gather blocks of rows into one array, shape (H, W, C); bfloat16 becomes float32."""
    out: NDArray[Any] | None = None
    for rows, values in blocks:
        block = (values.float() if values.dtype == torch.bfloat16 else values).cpu().numpy()
        if out is None:
            out = np.empty((*grid.shape, block.shape[-1]), dtype=block.dtype)
        out[rows] = block
    assert out is not None  # a Grid has at least one row
    return out


def as_field(
    values: NDArray[Any], grid: Grid, encoder: LocationEncoder, last: str | None, **facts: Any
) -> xr.DataArray:
    """Name the axes of an array over a grid and attach where it came from."""
    dims = ["lat", "lon"] + ([] if last is None else [last])
    return xr.DataArray(
        values,
        dims=dims,
        coords={"lat": ("lat", grid.lat, LAT), "lon": ("lon", grid.lon, LON)},
        attrs=provenance(encoder, grid, **facts),
    )

"""Fields over the globe: embeddings on a grid, and how alike every pixel is to one place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from satclip_explore.encoders.base import LocationEncoder, Readout
from satclip_explore.geo import GLOBE, Bounds, Grid, as_lonlat
from satclip_explore.html_view import facts_table
from satclip_explore.provenance import provenance

Progress = Callable[[int, int], None]
"""Called with (rows done, rows in all). An exception raised inside cancels the work."""


def embed_grid(
    encoder: LocationEncoder,
    resolution: float = 1.0,
    bounds: Bounds = GLOBE,
    *,
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
        (lon_min, lat_min, lon_max, lat_max) in degrees.
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
    grid = Grid.from_resolution(resolution, bounds)
    gigabytes = grid.shape[0] * grid.shape[1] * encoder.embed_dim * 4 / 1e9
    if gigabytes > 4.0:
        raise ValueError(
            f"{grid.shape[0]} x {grid.shape[1]} embeddings would take {gigabytes:.0f} GB; "
            "use a coarser resolution, or pca_raster, which never holds them all."
        )
    values = collect(iter_rows(encoder, grid, progress=progress), grid)
    return as_field(values, grid, encoder, "embed")


def similarity_raster(
    encoder: LocationEncoder,
    lonlat: Any,
    resolution: float = 0.5,
    bounds: Bounds = GLOBE,
    *,
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
        (lon_min, lat_min, lon_max, lat_max) in degrees.
    progress : callable, optional
        Called with (rows done, rows in all).

    Returns
    -------
    xarray.DataArray, dims (lat, lon), shape (H, W), float32
        Cosine in [-1, 1], north first; NaN where the encoder has no coverage.

    Raises
    ------
    ValueError
        If `lonlat` is not one valid place, or the grid is invalid.
    """
    grid = Grid.from_resolution(resolution, bounds)
    place = one_place(lonlat)
    query = unit_rows(torch.from_numpy(encoder.embed(place)))[0]
    blocks = (
        (rows, (unit_rows(values) @ query.to(values))[..., None])
        for rows, values in iter_rows(encoder, grid, progress=progress)
    )
    values = collect(blocks, grid)[..., 0]
    return as_field(values.clip(-1.0, 1.0), grid, encoder, None, place=tuple(place[0].tolist()))


@dataclass(frozen=True)
class EmbeddedGrid:
    """A grid encoded once, so that likeness to any place is one matrix-vector product.

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
        coords={"lat": grid.lat, "lon": grid.lon},
        attrs=provenance(encoder, grid, **facts),
    )

"""Embeddings of a grid in a Zarr store: written band by band, and taken up where they stopped."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

import xarray as xr

from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.fields import collect
from satclip_explore.geo import GLOBE, Bounds, Grid
from satclip_explore.provenance import provenance
from satclip_explore.workers import run

CHUNK = 64
"""Pixels along each side of a chunk, the least that a reader fetches: 2 MB in float16, D = 256."""

SHARD_COLUMNS = 1024
"""Pixels of a file along a parallel, at most: a 0.05° globe is 450 files of 33 MB."""

VECTORS = "embedding"
"""Name of the array that holds the embeddings."""

_OPENING = Lock()  # zarr's settings are those of all threads


def write_grid(
    encoder: LocationEncoder,
    store: str | Path,
    resolution: float = 1.0,
    bounds: Bounds = GLOBE,
    *,
    dtype: str = "float16",
    workers: int = 1,
) -> Path:
    """Encode every pixel of a grid into a Zarr store, a band of rows at a time.

    Zarr 3, in compressed chunks of 64 × 64 pixels that are gathered in shards, with coordinates
    after the CF conventions. Started again after it was stopped, even by SIGKILL, it goes on with
    the bands that are missing, and the store is the same as if it had not been.

    Parameters
    ----------
    encoder : LocationEncoder
        Any encoder.
    store : str or pathlib.Path
        Folder; made where it is missing.
    resolution : float
        Pixel size in degrees.
    bounds : tuple of float
        (lon_min, lat_min, lon_max, lat_max) in degrees.
    dtype : {"float16", "float32"}
        Of what is stored. float16 keeps three digits.
    workers : int
        Bands that are encoded at a time; an active Dask client decides in its place.

    Returns
    -------
    pathlib.Path
        The store; see `open_grid`: embedding (lat, lon, embed), north first.

    Raises
    ------
    ValueError
        If the grid is none, the folder holds something else, or a store of other settings.
    """
    if dtype not in ("float16", "float32"):
        raise ValueError(f"dtype must be float16 or float32; got {dtype!r}.")
    grid, path = Grid.from_resolution(resolution, bounds), Path(store)
    _make_store(path, encoder, grid, dtype)
    height, width = grid.shape
    columns = range(-(-width // _shard(width)))
    # A shard is put in its place when all of it is written, so that what is there is whole.
    bands = [
        (path, grid, start)
        for start in range(0, height, CHUNK)
        if not all((path / VECTORS / f"c/{start // CHUNK}/{j}/0").exists() for j in columns)
    ]
    run(_write_band, encoder, bands, workers)
    return path


def _shard(width: int) -> int:
    return CHUNK * -(-min(width, SHARD_COLUMNS) // CHUNK)


def _make_store(path: Path, encoder: LocationEncoder, grid: Grid, dtype: str) -> None:
    """Lay out an empty store, or see that the one that is there is of the same call."""
    try:
        import zarr
    except ImportError as error:
        raise ImportError("Zarr needs zarr: pip install 'satclip-explore[geo]'") from error

    facts: dict[str, Any] = {"Conventions": "CF-1.11", "dtype": dtype, **provenance(encoder, grid)}
    if path.exists() and any(path.iterdir()):
        there = dict(zarr.open_group(path, mode="r").attrs) if (path / "zarr.json").exists() else {}
        if there == facts:
            return
        # Attributes come last: without them the layout was not finished, and holds nothing yet.
        if there or not (path / "zarr.json").exists():
            raise ValueError(f"{path} holds something else; give another folder or remove it.")
    group = zarr.open_group(path, mode="w")
    height, width = grid.shape
    axes: tuple[tuple[str, Any, dict[str, Any]], ...] = (
        ("lat", grid.lat, {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"}),
        ("lon", grid.lon, {"standard_name": "longitude", "units": "degrees_east", "axis": "X"}),
    )
    for name, values, facts_of in axes:
        group.create_array(
            name, data=values, dimension_names=[name], attributes=facts_of, chunks=values.shape
        )
    group.create_array(
        VECTORS, shape=(height, width, encoder.embed_dim), dtype=dtype,
        chunks=(CHUNK, CHUNK, encoder.embed_dim),
        shards=(CHUNK, _shard(width), encoder.embed_dim),
        fill_value=float("nan"), dimension_names=["lat", "lon", "embed"],
        attributes={"long_name": f"embedding by {encoder.name}", "units": "1"},
    )  # fmt: skip
    group.attrs.put(facts)


def _write_band(encoder: LocationEncoder, path: Path, grid: Grid, start: int) -> None:
    import zarr

    stop = min(start + CHUNK, grid.shape[0])
    west, south, east, north = grid.bounds
    step = (north - south) / grid.shape[0]
    band = Grid(
        (west, north - stop * step, east, north - start * step), (stop - start, grid.shape[1])
    )
    values = collect(encoder.iter_grid(band), band)
    # An array keeps the setting that it was opened with. A shard without data is written too: a
    # missing one is taken for one that was not encoded yet.
    with _OPENING, zarr.config.set({"array.write_empty_chunks": True}):
        array: Any = zarr.open_group(path, mode="r+")[VECTORS]
    array[start:stop] = values.astype(array.dtype)


def open_grid(store: str | Path) -> xr.DataArray:
    """Open what `write_grid` wrote, (lat, lon, embed); numbers are read where they are used."""
    # Without `chunks` xarray reads lazily by itself, and needs no Dask.
    dataset = xr.open_zarr(store, chunks=None, consolidated=False)
    return dataset[VECTORS].assign_attrs(dataset.attrs)

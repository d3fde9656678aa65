"""Embeddings of a grid in a Zarr store: written band by band, and taken up where they stopped."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from satclip_explore.checks import known_keywords
from satclip_explore.embedding_metadata import zarr_attributes
from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.fields import Progress, collect, iter_rows, view
from satclip_explore.files.cf import LAT, LON
from satclip_explore.geo import GLOBE, Bounds, Grid
from satclip_explore.lattice import Lattice
from satclip_explore.workers import run

CHUNK = 64
"""Pixels along each side of a chunk, the least that a reader fetches: 2 MB in float16, D = 256."""

SHARD_COLUMNS = 1024
"""Pixels of a file along a parallel, at most: a 0.05° globe is 450 files of 33 MB."""

KINDS = ("float32", "float16", "int8")
"""Of numbers that are kept."""

VECTORS, SCALES, ERRORS = "embedding", "scales", "largest_error"
"""Names of the arrays: embeddings, the factor of each pixel of int8, the error of each band."""


@known_keywords
def write_grid(
    encoder: LocationEncoder,
    store: str | Path,
    resolution: float = 1.0,
    bounds: Bounds = GLOBE,
    *,
    region: Any = None,
    dtype: str = "float16",
    workers: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Encode every pixel of a grid into a Zarr store, a band of rows at a time.

    Zarr 3, in compressed chunks of 64 × 64 pixels that are gathered in shards, with coordinates
    after the CF conventions. It is written beside its place, as .NAME.part, and moved there when it
    is whole. Started again after it was stopped, even by SIGKILL, it goes on with the bands that
    are missing, and the store is the same as if it had not been.

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
    region : str, sequence, mapping, geometry or Region, optional
        In place of bounds; see `region`. Pixels outside are without data.
    dtype : {"float16", "float32", "int8"}
        Of what is stored. float16 keeps three digits; int8 has a factor for each pixel in `scales`.
    workers : int
        Bands that are encoded at a time; an active Dask client decides in its place.
    progress : callable, optional
        Called with (rows done, rows in all); several workers call it as their bands advance.

    Returns
    -------
    pathlib.Path
        The store; see `open_grid`: embedding (lat, lon, embed), north first.

    Raises
    ------
    ValueError
        If the grid is none, or the folder holds something else or a store of other settings.
    OSError
        If the disk is full; the bands that are whole are kept.
    """
    if dtype not in KINDS:
        raise ValueError(f"dtype must be one of {', '.join(KINDS)}; got {dtype!r:.40}.")
    grid, inside = view(resolution, bounds, region, None)
    path = Path(store)
    facts = zarr_attributes(encoder, grid, dtype)
    if region is not None:
        facts["region"] = hashlib.sha256(np.packbits(inside).tobytes()).hexdigest()[:16]
    facts = json.loads(json.dumps(facts))
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        if _facts_of(path) != facts:
            raise ValueError(f"{path} holds something else; give another folder or remove it.")
        return path
    part = path.with_name(f".{path.name}.part")
    if _facts_of(part) != facts:
        _make_store(part, encoder, grid, dtype, facts)
    starts = range(0, grid.shape[0], CHUNK)
    missing = [start for start in starts if not _is_whole(part, start)]
    bands = [
        (part, grid, start, None if region is None else inside[start : start + CHUNK], progress)
        for start in missing
    ]
    try:
        run(_write_band, encoder, bands, workers)
    except OSError as error:
        if error.errno is None:
            raise  # in the words of the encoder
        raise OSError(
            error.errno,
            f"cannot write {path}: {error.strerror}. The bands that are whole are kept; call again "
            "once it can be written to.",
        ) from error
    _consolidate(part)
    if path.exists():
        path.rmdir()
    return part.rename(path)


def _facts_of(store: Path) -> dict[str, Any]:
    """Return what a store says of itself; nothing where there is none, or no finished layout."""
    if not (store / "zarr.json").is_file():
        return {}
    import zarr

    return dict(zarr.open_group(store, mode="r").attrs)


def _make_store(
    path: Path, encoder: LocationEncoder, grid: Grid, dtype: str, facts: dict[str, Any]
) -> None:
    """Lay out an empty store; its attributes come last, and say that the layout is whole."""
    try:
        import zarr
    except ImportError as error:
        raise ImportError("Zarr needs zarr: pip install 'satclip-explore[geo]'") from error
    shutil.rmtree(path, ignore_errors=True)
    group = zarr.open_group(path, mode="w", zarr_format=3)
    (height, width), dim = grid.shape, encoder.embed_dim
    for name, values, about in (("lat", grid.lat, LAT), ("lon", grid.lon, LON)):
        group.create_array(
            name,
            data=values,
            dimension_names=[name],
            attributes=dict[str, Any](about),
            chunks=values.shape,
        )
    side = CHUNK * -(-min(width, SHARD_COLUMNS) // CHUNK)
    group.create_array(
        VECTORS, shape=(height, width, dim), dtype=dtype, chunks=(CHUNK, CHUNK, dim),
        shards=(CHUNK, side, dim), fill_value=0 if dtype == "int8" else np.nan,
        dimension_names=["lat", "lon", "embed"],
        attributes={"long_name": f"embedding by {encoder.name}", "units": "1"},
    )  # fmt: skip
    if dtype == "int8":
        group.create_array(
            SCALES, shape=(height, width), dtype="float32", chunks=(CHUNK, CHUNK),
            shards=(CHUNK, side), fill_value=np.nan, dimension_names=["lat", "lon"],
        )  # fmt: skip
    group.create_array(
        ERRORS, shape=(-(-height // CHUNK),), dtype="float32", chunks=(1,), fill_value=np.nan,
        dimension_names=["band"],
        attributes={"long_name": "largest difference between a stored number and the encoder's, "
                    f"in each band of {CHUNK} rows"},
    )  # fmt: skip
    group.attrs.put(facts)


def _consolidate(store: Path) -> None:
    """List all arrays in one file: a server does not list folders."""
    import zarr

    with warnings.catch_warnings():
        # Of Zarr 3 itself it is not a part yet.
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(str(store))


def _is_whole(store: Path, start: int) -> bool:
    """Tell whether a band was written to its end."""
    return (store / ERRORS / f"c/{start // CHUNK}").exists()


def _write_band(
    encoder: LocationEncoder,
    path: Path,
    grid: Grid,
    start: int,
    inside: NDArray[np.bool_] | None,
    progress: Progress | None,
) -> None:
    import zarr

    if _is_whole(path, start):
        return  # by a worker that was lost before Dask had heard of it
    stop = min(start + CHUNK, grid.shape[0])
    band = Lattice.of(grid, np.arange(start, stop), np.arange(grid.shape[1]))
    rows = iter_rows(
        encoder, band, progress=progress and (lambda done, _: progress(start + done, grid.shape[0]))
    )
    exact = collect(rows, band).astype(np.float32)
    if inside is not None:
        exact[~inside] = np.nan
    group: Any = zarr.open_group(path, mode="r+")
    stored, factor = quantized(exact, str(group[VECTORS].dtype))
    group[VECTORS][start:stop] = stored
    if SCALES in group:
        group[SCALES][start:stop] = factor
    # Last, since it says that the band is whole.
    group[ERRORS][start // CHUNK] = largest_error(stored * factor[..., None], exact)


def quantized(exact: NDArray[np.float32], kind: str) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Round vectors, (..., D), to a kind; returns them and the factor of each, (...)."""
    if kind != "int8":
        with np.errstate(over="ignore"):
            stored = exact.astype(kind)
        if np.isinf(stored).any() and not np.isinf(exact).any():
            raise ValueError(
                f"numbers reach {np.nanmax(np.abs(exact)):,.0f}, past {np.finfo(kind).max:,.0f}, "
                f"the end of {kind}; keep them as float32."
            )
        return stored, np.ones(exact.shape[:-1], np.float32)
    factor = np.abs(exact).max(axis=-1) / np.float32(127)
    # A vector of zeros has any factor; 0 is kept so that it reads as zeros.
    safe = np.where(factor > 0, factor, 1)[..., None]
    stored = np.rint(np.nan_to_num(exact / safe)).astype(np.int8)
    return stored, np.where(np.isfinite(factor), np.maximum(factor, np.float32(1e-30)), np.nan)


def largest_error(stored: NDArray[Any], exact: NDArray[Any]) -> float:
    """Return the largest difference, where there is data; 0 where there is none."""
    difference = np.abs(stored.astype(np.float32) - exact)
    return float(np.nanmax(difference)) if np.isfinite(difference).any() else 0.0


def stored_error(store: str | Path) -> float:
    """Return the largest difference between a number of a store and the encoder's."""
    import zarr

    group: Any = zarr.open_group(store, mode="r")
    return float(np.max(group[ERRORS][:]))


def open_grid(store: str | Path) -> xr.DataArray:
    """Open what `write_grid` wrote, (lat, lon, embed); numbers are read where they are used.

    Raises
    ------
    ValueError
        If the numbers are int8, which `load_encoder` multiplies by their factors.
    """
    # Without `chunks` xarray reads lazily by itself, and needs no Dask.
    dataset = xr.open_zarr(store, chunks=None, consolidated=False)
    if SCALES in dataset:
        raise ValueError(f"{store} holds int8 and factors; open it with load_encoder.")
    return dataset[VECTORS].assign_attrs(dataset.attrs)

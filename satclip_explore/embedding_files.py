"""Embeddings of a region or the globe as files that others open: Zarr, GeoTIFF, GeoParquet."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from satclip_explore.checks import known_keywords
from satclip_explore.embedding_metadata import stac_item, zarr_attributes
from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.fields import Progress, check_memory, collect, iter_rows, view
from satclip_explore.files.atomic import write_whole
from satclip_explore.files.geotiff import to_geotiff
from satclip_explore.geo import GLOBE, Bounds, Grid
from satclip_explore.provenance import provenance

CHUNK = 64
"""Pixels along each side of a chunk, the least that a reader fetches."""

SHARD_COLUMNS = 1024
"""Pixels of a file along a parallel, at most."""

MEDIA = {
    ".zarr": "application/vnd+zarr",
    ".tif": "image/tiff; application=geotiff",
    ".tiff": "image/tiff; application=geotiff",
    ".parquet": "application/vnd.apache.parquet",
    ".geoparquet": "application/vnd.apache.parquet",
}
KINDS = ("float32", "float16", "int8")


@known_keywords
def export_embeddings(
    encoder: LocationEncoder,
    path: str | Path,
    resolution: float = 1.0,
    bounds: Bounds = GLOBE,
    *,
    region: Any = None,
    quantize: str = "float16",
    progress: Progress | None = None,
) -> Path:
    """Write the embeddings of a grid to a file that says what it holds, and a STAC item beside it.

    The result opens with `load_encoder`, xarray, rasterio or geopandas.

    Parameters
    ----------
    encoder : LocationEncoder
        Any encoder.
    path : str or Path
        Ending in .zarr (version 3, sharded; written a band of rows at a time), .tif (GeoTIFF) or
        .parquet (GeoParquet, a point for each pixel with data). The item's name ends in
        .stac.json.
    resolution : float
        Pixel size in degrees.
    bounds : tuple of float
        (lon_min, lat_min, lon_max, lat_max) in degrees.
    region : str, sequence, mapping, geometry or Region, optional
        In place of bounds; see `region`. Pixels outside are without data.
    quantize : {"float16", "float32", "int8"}
        How numbers are kept. int8 is for Zarr: each pixel has a factor of its own in `scales`. A
        GeoTIFF has no 16-bit floats and takes 32 bits for them.
    progress : callable, optional
        Called with (rows done, rows in all).

    Returns
    -------
    Path
        `path`. The largest difference between a stored number and the encoder's is the item's
        ``largest_error``.

    Raises
    ------
    ModuleNotFoundError
        If the package that writes the format is not installed.
    ValueError
        If the ending or the kind is unknown, or something is at `path` already.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in MEDIA:
        raise ValueError(f"path must end in {', '.join(MEDIA)}; got {path.name!r:.60}.")
    if quantize not in KINDS or (quantize == "int8" and ending != ".zarr"):
        allowed = KINDS if ending == ".zarr" else KINDS[:2]
        raise ValueError(
            f"quantize must be one of {', '.join(allowed)} for {ending}; got {quantize!r:.40}."
        )
    grid, inside = view(resolution, bounds, region, None)
    if ending == ".zarr":
        error = _write_zarr(encoder, path, grid, inside, quantize, progress)
    else:
        check_memory(grid, encoder.embed_dim, 4)
        values = collect(iter_rows(encoder, grid, progress=progress), grid).astype(np.float32)
        values[~inside] = np.nan
        if ending in (".tif", ".tiff"):
            quantize, error = "float32", 0.0
            coords = {"lat": grid.lat, "lon": grid.lon}
            field = xr.DataArray(values, coords, ("lat", "lon", "embed"))
            to_geotiff(field.assign_attrs(provenance(encoder, grid)), path)
        else:
            error = _write_parquet(encoder, path, grid, values, quantize)
    item = stac_item(encoder, grid, path, quantize, error, MEDIA[ending])
    write_whole(path.with_suffix(".stac.json"), json.dumps(item, indent=1).encode())
    return path


def _write_parquet(
    encoder: LocationEncoder, path: Path, grid: Grid, values: NDArray[Any], kind: str
) -> float:
    """Write pixels with data as points; returns the largest error."""
    try:
        import geopandas
    except ImportError as error:
        raise ModuleNotFoundError(
            "GeoParquet needs geopandas: pip install 'satclip-explore[geo]'"
        ) from error
    flat = values.reshape(-1, values.shape[-1])
    known = np.isfinite(flat).all(axis=1)
    stored = flat[known].astype(kind)
    lon, lat = grid.lonlat[known].T
    points = geopandas.points_from_xy(lon, lat, crs="OGC:CRS84")
    frame = geopandas.GeoDataFrame({"lon": lon, "lat": lat, "embedding": list(stored)})
    frame = frame.set_geometry(points)
    frame.attrs = provenance(encoder, grid)
    frame.to_parquet(path, compression="zstd")
    return _largest(stored.astype(np.float32), flat[known])


def _write_zarr(
    encoder: LocationEncoder,
    path: Path,
    grid: Grid,
    inside: NDArray[np.bool_],
    kind: str,
    progress: Progress | None,
) -> float:
    """Write bands of `CHUNK` rows beside `path`, then move the whole there; returns the error."""
    try:
        import zarr
    except ImportError as error:
        raise ModuleNotFoundError("Zarr needs zarr: pip install 'satclip-explore[geo]'") from error
    if path.exists():
        raise ValueError(f"{path} is there already; give another name or remove it.")
    part, dim, (height, width) = path.with_name(f".{path.name}.part"), encoder.embed_dim, grid.shape
    shutil.rmtree(part, ignore_errors=True)
    try:
        group = zarr.open_group(part, mode="w", zarr_format=3)
        for axis, values, name in (("lat", grid.lat, "latitude"), ("lon", grid.lon, "longitude")):
            north = "degrees_north" if axis == "lat" else "degrees_east"
            group.create_array(
                axis,
                data=values,
                dimension_names=[axis],
                attributes={"standard_name": name, "units": north},
            )
        side = CHUNK * -(-min(width, SHARD_COLUMNS) // CHUNK)
        array = group.create_array(
            "embedding",
            shape=(height, width, dim),
            dtype=kind,
            chunks=(CHUNK, CHUNK, dim),
            shards=(CHUNK, side, dim),
            fill_value=0 if kind == "int8" else np.nan,
            dimension_names=["lat", "lon", "embed"],
        )
        scales = None
        if kind == "int8":
            scales = group.create_array(
                "scales",
                shape=(height, width),
                dtype="float32",
                chunks=(CHUNK, CHUNK),
                shards=(CHUNK, side),
                fill_value=np.nan,
                dimension_names=["lat", "lon"],
            )
        largest = 0.0
        for rows, exact in _bands(encoder, grid, progress):
            exact[~inside[rows]] = np.nan
            stored, factor = _quantized(exact, kind)
            array[rows] = stored
            if scales is not None:
                scales[rows] = factor
            largest = max(largest, _largest(stored * factor[..., None], exact))
        group.attrs.put({**zarr_attributes(encoder, grid, kind), "largest_error": largest})
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return largest


def _bands(
    encoder: LocationEncoder, grid: Grid, progress: Progress | None
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Encode a grid in bands of `CHUNK` rows, which fill whole shards."""
    band = np.empty((CHUNK, grid.shape[1], encoder.embed_dim), np.float32)
    for rows, values in iter_rows(encoder, grid, progress=progress):
        block = values.float().cpu().numpy()
        for row, vectors in zip(range(rows.start, rows.stop), block, strict=True):
            band[row % CHUNK] = vectors
            if row % CHUNK == CHUNK - 1 or row == grid.shape[0] - 1:
                start = row - row % CHUNK
                yield slice(start, row + 1), band[: row + 1 - start]


def _quantized(exact: NDArray[np.float32], kind: str) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Round vectors, (..., D), to a kind; returns them and the factor of each."""
    if kind != "int8":
        return exact.astype(kind), np.ones(exact.shape[:-1], np.float32)
    factor = np.abs(exact).max(axis=-1) / np.float32(127)
    # A vector of zeros has any factor; 0 is kept so that it reads as zeros.
    safe = np.where(factor > 0, factor, 1)[..., None]
    stored = np.rint(np.nan_to_num(exact / safe)).astype(np.int8)
    return stored, np.where(np.isfinite(factor), np.maximum(factor, np.float32(1e-30)), np.nan)


def _largest(stored: NDArray[Any], exact: NDArray[Any]) -> float:
    """Return the largest difference, where there is data."""
    difference = np.abs(stored.astype(np.float32) - exact)
    return float(np.nanmax(difference)) if np.isfinite(difference).any() else 0.0

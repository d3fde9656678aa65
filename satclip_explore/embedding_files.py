"""Embeddings of a region or the globe as files that others open: Zarr, GeoTIFF, GeoParquet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from satclip_explore.checks import known_keywords
from satclip_explore.embedding_metadata import stac_item
from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.fields import Progress, check_memory, collect, iter_rows, view
from satclip_explore.files.atomic import replacing, write_whole
from satclip_explore.files.geotiff import to_geotiff
from satclip_explore.geo import GLOBE, Bounds, Grid
from satclip_explore.grid_store import KINDS, largest_error, stored_error, write_grid
from satclip_explore.provenance import provenance

MEDIA = {
    ".zarr": "application/vnd+zarr",
    ".tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".tiff": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".parquet": "application/vnd.apache.parquet",
    ".geoparquet": "application/vnd.apache.parquet",
}


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
        Ending in .zarr (see `write_grid`; a call that was stopped goes on), .tif (cloud-optimized
        GeoTIFF) or .parquet (GeoParquet, a point for each pixel with data). The item's name ends in
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
    allowed = KINDS if ending == ".zarr" else tuple(kind for kind in KINDS if kind != "int8")
    if quantize not in allowed:
        raise ValueError(
            f"quantize must be one of {', '.join(allowed)} for {ending}; got {quantize!r:.40}."
        )
    grid, inside = view(resolution, bounds, region, None)
    if ending == ".zarr":
        if path.exists():
            raise ValueError(f"{path} is there already; give another name or remove it.")
        write_grid(
            encoder, path, resolution, bounds, region=region, dtype=quantize, progress=progress
        )
        error = stored_error(path)
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
    with replacing(path) as [part]:
        frame.to_parquet(part, compression="zstd")
    return largest_error(stored, flat[known])

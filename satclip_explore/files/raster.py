"""A field as a file: its values, the grid they lie on, and PNG content."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from satclip_explore.files.atomic import write_whole
from satclip_explore.geo import Grid
from satclip_explore.provenance import clean_facts, provenance

GRID_KEYS = ("grid_bounds", "grid_shape", "crs")
"""Facts that are taken from the coordinates: those in the attributes may be out of date."""


def read_field(field: xr.DataArray) -> tuple[NDArray[Any], Grid]:
    """Check a field and return its values, shape (H, W, C), and its grid.

    Raises
    ------
    ValueError
        If it is no DataArray over (lat, lon) or (lat, lon, …) with numbers in it, or its
        coordinates are not regular, north first and west first.
    """
    if not isinstance(field, xr.DataArray):
        raise ValueError(f"a field must be an xarray.DataArray; got {type(field).__name__}.")
    if field.dims[:2] != ("lat", "lon") or field.ndim > 3 or 0 in field.shape:
        raise ValueError(
            "a field needs axes (lat, lon) or (lat, lon, bands), none of them empty; got "
            f"{field.dims} with shape {field.shape}. Use field.transpose('lat', 'lon', ...)."
        )
    values = field.to_numpy()
    if values.dtype.kind not in "biuf":
        raise ValueError(f"a field must hold real numbers; got {values.dtype}.")
    if values.dtype == bool:
        values = values.astype(np.uint8)
    elif values.dtype == np.float16:
        values = values.astype(np.float32)
    return values.reshape(*values.shape[:2], -1), grid_of(field)


def grid_of(field: xr.DataArray) -> Grid:
    """Find the grid whose pixel centers are the coordinates of a field.

    Raises
    ------
    ValueError
        If there are none, or they are not regular, north first and west first.
    """
    if "lat" not in field.coords or "lon" not in field.coords:
        raise ValueError("a field needs coordinates lat and lon: the pixel centers in degrees.")
    lat, lon = (np.asarray(field[axis], dtype=np.float64) for axis in ("lat", "lon"))
    # The attributes are exact, but stay behind when somebody cuts a piece out of a field.
    with suppress(KeyError, TypeError, ValueError):
        grid = Grid(json.loads(field.attrs["grid_bounds"]), (len(lat), len(lon)))
        if np.allclose(grid.lat, lat, atol=1e-6) and np.allclose(grid.lon, lon, atol=1e-6):
            return grid
    steps = [-np.diff(lat), np.diff(lon)]
    for axis, step in zip(("lat", "lon"), steps, strict=True):
        if len(step) and not (step[0] > 0 and np.allclose(step, step[0], rtol=1e-3)):
            order = "fall, north first" if axis == "lat" else "rise, west first"
            raise ValueError(f"{axis} must {order}, in equal steps; see field.sortby.")
    known = [float(step.mean()) for step in steps if len(step)]
    if not known:
        raise ValueError("the size of a single pixel is unknown; its attrs need grid_bounds.")
    d_lat, d_lon = known[0], known[-1]
    return Grid(
        (
            round(float(lon[0]) - d_lon / 2, 9),
            max(-90.0, round(float(lat[-1]) - d_lat / 2, 9)),
            round(float(lon[-1]) + d_lon / 2, 9),
            min(90.0, round(float(lat[0]) + d_lat / 2, 9)),
        ),
        (len(lat), len(lon)),
    )


def field_facts(field: xr.DataArray, grid: Grid) -> dict[str, str]:
    """Gather what is known of a field as plain strings, with the grid that it has now."""
    own = provenance(None, grid)
    theirs = {key: value for key, value in clean_facts(field.attrs).items() if key not in GRID_KEYS}
    return {**own, **theirs}


def png_bytes(field: xr.DataArray, *, low: float | None = None, high: float | None = None) -> bytes:
    """Encode a field as a PNG with its provenance as text chunks.

    Parameters
    ----------
    field : xarray.DataArray, dims (lat, lon) or (lat, lon, band)
        Numbers on a regular grid of pixel centers, north first. Bytes with three or four bands
        become colors; other numbers, of one band, become gray, with missing ones transparent.
    low, high : float, optional
        Shown as black and white; default the range of the values. Kept as `gray_range`.

    Returns
    -------
    bytes
        North up, one pixel per pixel.

    Raises
    ------
    ValueError
        If the axes are not those of a field, or the bands cannot be shown.
    ImportError
        If pillow is not installed.
    """
    values, grid = read_field(field)
    try:
        from PIL import Image
        from PIL.PngImagePlugin import PngInfo
    except ImportError as error:
        raise ImportError("PNG needs Pillow: pip install 'satclip-explore[app]'") from error
    info = PngInfo()
    facts = field_facts(field, grid)
    if values.shape[2] == 1:
        if values.dtype != np.uint8 or low is not None or high is not None:
            values, limits = _gray(values[..., 0], low, high)
            facts["gray_range"] = json.dumps(limits)
        else:
            values = values[..., 0]
    elif values.dtype != np.uint8 or values.shape[2] not in (3, 4):
        raise ValueError(
            "a PNG needs one band of numbers, or three or four bands of bytes (uint8); got "
            f"{values.shape[2]} bands of {values.dtype}. Use pca_raster, or a GeoTIFF."
        )
    for key, value in facts.items():
        info.add_text(key, value)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(values)).save(buffer, "PNG", pnginfo=info, optimize=False)
    return buffer.getvalue()


def _gray(
    values: NDArray[Any], low: float | None, high: float | None
) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """Scale to 0 … 255; where something is missing, add a second channel, transparent there."""
    known = np.isfinite(values)
    low = float(values[known].min() if known.any() else 0.0) if low is None else float(low)
    high = float(values[known].max() if known.any() else 1.0) if high is None else float(high)
    if not (np.isfinite([low, high]).all() and low <= high):
        raise ValueError(f"low must be at most high, both finite; got {low} and {high}.")
    share = (np.where(known, values, low).astype(np.float64) - low) / ((high - low) or 1.0)
    gray = (share.clip(0.0, 1.0) * 255.0).round().astype(np.uint8)
    if not known.all():
        gray = np.stack([gray, known.astype(np.uint8) * np.uint8(255)], axis=-1)
    return gray, (low, high)


def to_png(
    field: xr.DataArray,
    path: str | Path,
    *,
    low: float | None = None,
    high: float | None = None,
    world_file: bool = True,
) -> Path:
    """Write `png_bytes(field)` and, unless refused, a world file (.pgw) that places it on maps."""
    path = Path(path)
    content = png_bytes(field, low=low, high=high)
    if world_file:
        grid = read_field(field)[1]
        d_lon, d_lat = grid.resolution
        numbers = (d_lon, 0.0, 0.0, -d_lat, grid.lon[0], grid.lat[0])
        write_whole(path.with_suffix(".pgw"), "".join(f"{n:.12g}\n" for n in numbers).encode())
    return write_whole(path, content)

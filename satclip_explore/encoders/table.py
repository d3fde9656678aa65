"""Encoders made of precomputed vectors: the nearest one, or read off a grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from satclip_explore.checks import known_keywords
from satclip_explore.encoders.base import LocationEncoder, resolve_device, resolve_dtype
from satclip_explore.encoders.place_index import PlaceIndex, refuse_duplicates
from satclip_explore.encoders.tensor_files import weights_hash
from satclip_explore.files.location import locate
from satclip_explore.files.places import read_places
from satclip_explore.geo import as_lonlat


class GridTable(LocationEncoder):
    """Vectors on a regular grid, bilinear between the four around a place.

    Half a cell beyond the outermost centers the edge is continued; farther out, places are NaN.
    A grid that goes around the globe is joined at the antimeridian.

    Parameters
    ----------
    lon, lat : array_like, shapes (W,), (H,)
        Centers in degrees, evenly spaced; longitude increasing, latitude either way.
    vectors : array_like, shape (H, W, D)
        NaN where nothing is known.
    name, dtype, device : str
        As in `load_encoder`.

    Raises
    ------
    ValueError
        If shapes disagree, there are fewer than two rows or columns, or the spacing is uneven.
    """

    family = "table"

    def __init__(
        self,
        lon: ArrayLike,
        lat: ArrayLike,
        vectors: ArrayLike,
        *,
        name: str = "table",
        dtype: str = "float32",
        device: str = "auto",
    ) -> None:
        values = np.asarray(vectors)
        columns, rows = (np.asarray(axis, dtype=np.float64) for axis in (lon, lat))
        if values.ndim != 3 or values.shape[:2] != (rows.size, columns.size):
            raise ValueError(
                f"vectors must have shape (lat, lon, embed) = ({rows.size}, {columns.size}, D); "
                f"got {values.shape}."
            )
        if rows[0] > rows[-1]:
            rows, values = rows[::-1], values[::-1]
        self.name = name
        self.dtype, self.device = resolve_dtype(dtype), resolve_device(device)
        self._lon, self._lat = (_axis(columns, "lon"), _axis(rows, "lat"))
        self._around = columns.size * self._lon[1] > 360.0 - self._lon[1] / 2
        self.embed_dim = values.shape[2]
        self._vectors = torch.from_numpy(np.ascontiguousarray(values)).to(self.device, self.dtype)
        self.weights_hash = weights_hash({"vectors": self._vectors})

    def coverage(self, lonlat: Any) -> NDArray[np.bool_]:
        """Tell which places get numbers; see `LocationEncoder.coverage`."""
        places = torch.from_numpy(as_lonlat(lonlat)).to(self.device)
        known = [self.encode(chunk).isfinite().all(dim=1) for chunk in places.split(4096)]
        return torch.cat(known).cpu().numpy() if known else np.zeros(0, dtype=bool)

    def encode(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Encode one chunk of checked places; see `LocationEncoder.encode`."""
        height, width, _ = self._vectors.shape
        first, step = self._lon
        half = 0.5 * step
        x = ((lonlat[:, 0] - first + half) % 360.0 - half) / step
        y = (lonlat[:, 1] - self._lat[0]) / self._lat[1]
        edge = 0.5 + 1e-9
        inside = (y >= -edge) & (y <= height - 1 + edge)
        if not self._around:
            inside &= x <= width - 1 + edge
            x = x.clamp(0, width - 1)
        y = y.clamp(0, height - 1)
        left, below = x.floor().long(), y.floor().long().clamp(max=height - 2)
        if not self._around:
            left = left.clamp(max=width - 2)
        right = (left + 1) % width
        u, v = ((x - left)[:, None].to(self.dtype), (y - below)[:, None].to(self.dtype))
        table = self._vectors
        left = left % width
        low = torch.lerp(table[below, left], table[below, right], u)
        high = torch.lerp(table[below + 1, left], table[below + 1, right], u)
        out = torch.lerp(low, high, v)
        out[~inside] = torch.nan
        return out


def _axis(centers: NDArray[np.float64], name: str) -> tuple[float, float]:
    """Return first center and step of an evenly spaced, increasing axis."""
    steps = np.diff(centers)
    if not len(steps) or not steps.min() > 0 or np.ptp(steps) > 1e-6 * steps.mean() + 1e-9:
        raise ValueError(f"{name} must be at least two evenly spaced, increasing centers.")
    return float(centers[0]), float((centers[-1] - centers[0]) / len(steps))


class NearestTable(LocationEncoder):
    """The vector of the nearest place of a table, within a distance; NaN beyond it.

    Parameters
    ----------
    places : array_like or table, shape (M, 2)
        Degrees, longitude first; each place once.
    vectors : array_like, shape (M, D)
        Finite numbers.
    max_distance_km : float, optional
        Great-circle distance up to which a place is answered. Default: twice the widest gap
        between a row and its nearest, leaving out the widest 1 % of gaps, and at least 1 km; it
        can be read as `encoder.max_distance_km`. `math.inf` answers everywhere.
    name, family, dtype, device : str
        As in `load_encoder`.

    Raises
    ------
    ModuleNotFoundError
        If SciPy, whose tree finds the nearest place, is not installed.
    ValueError
        If shapes disagree, a value is not finite, a place occurs twice, or the distance is not
        above 0.
    """

    def __init__(
        self,
        places: Any,
        vectors: ArrayLike,
        *,
        max_distance_km: float | None = None,
        name: str = "table",
        family: str = "table",
        dtype: str = "float32",
        device: str = "auto",
    ) -> None:
        lonlat, values = check_table(places, vectors)
        self.places = PlaceIndex(lonlat, max_distance_km)
        self.name, self.family = name, family
        self.dtype, self.device = resolve_dtype(dtype), resolve_device(device)
        self.embed_dim = values.shape[1]
        self._vectors = torch.from_numpy(values)
        self.weights_hash = weights_hash(
            {"places": torch.from_numpy(lonlat), "vectors": self._vectors}
        )

    @property
    def max_distance_km(self) -> float:
        """Great-circle distance up to which a place is answered."""
        return self.places.max_distance_km

    def coverage(self, lonlat: Any) -> NDArray[np.bool_]:
        """Tell which places have a vector within the distance; see `LocationEncoder.coverage`."""
        return self.places.nearest(as_lonlat(lonlat))[1]

    def encode(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Encode one chunk of checked places; see `LocationEncoder.encode`."""
        rows, near = self.places.nearest(lonlat.cpu().numpy())
        out = self._vectors[torch.from_numpy(rows)].to(self.device, self.dtype)
        out[torch.from_numpy(~near).to(self.device)] = torch.nan
        return out


@known_keywords
def from_table(
    table: Any,
    vectors: ArrayLike | None = None,
    *,
    method: str = "nearest",
    max_distance_km: float | None = None,
    name: str = "table",
    dtype: str = "float32",
    device: str = "auto",
) -> LocationEncoder:
    """Make an encoder of precomputed vectors.

    Parameters
    ----------
    table : path, bytes, pandas.DataFrame, xarray.DataArray or array_like
        A table with coordinates and numeric columns, or a file of one; a raster (lat, lon,
        embed) as `embed_grid` returns it; or the places alone, with `vectors` beside them.
    vectors : array_like, shape (M, D), optional
        One per place, where `table` holds places alone.
    method : {"nearest", "bilinear"}
        Bilinear needs a complete, regular grid.
    max_distance_km : float, optional
        For nearest: beyond it places have no vector and no coverage. Default: twice the widest
        gap between a row and its nearest, leaving out the widest 1 % of gaps, and at least 1 km.
    name, dtype, device : str
        As in `load_encoder`.

    Raises
    ------
    ValueError
        If the method is unknown, columns are missing, values are not finite, places occur twice,
        or a grid is not regular.
    """
    if method not in ("nearest", "bilinear"):
        raise ValueError(f"method must be 'nearest' or 'bilinear'; got {method!r}.")
    if method == "bilinear" and max_distance_km is not None:
        raise ValueError("max_distance_km goes with method='nearest' only.")
    if isinstance(table, (str, Path, bytes)):
        table = read_places(table, sentinels=False, keep_zero=True).frame
    if hasattr(table, "dims") and {"lat", "lon"} <= set(table.dims):
        raster = table.transpose("lat", "lon", ...)
        lon, lat, values = raster["lon"].to_numpy(), raster["lat"].to_numpy(), raster.to_numpy()
        if method == "bilinear":
            return GridTable(lon, lat, values, name=name, dtype=dtype, device=device)
        grid_lat, grid_lon = np.meshgrid(lat, lon, indexing="ij")
        known = np.isfinite(values).all(axis=2).ravel()
        # A row of pixels at a pole is one place, and the first stands for it.
        known &= ((np.abs(grid_lat) < 90.0) | (grid_lon == lon[0])).ravel()
        places = np.stack([grid_lon.ravel(), grid_lat.ravel()], axis=1)[known]
        vectors = values.reshape(-1, values.shape[2])[known]
    else:
        places, vectors = (table, vectors) if vectors is not None else split_table(table)
    if method == "bilinear":
        grid = _regular_grid(*check_table(places, vectors))
        return GridTable(*grid, name=name, dtype=dtype, device=device)
    return NearestTable(
        places, vectors, max_distance_km=max_distance_km, name=name, dtype=dtype, device=device
    )


def split_table(frame: Any) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Split a data frame into places and the numeric columns beside them."""
    if not hasattr(frame, "columns"):
        raise ValueError("give vectors= beside the places, or a table that holds both.")
    rest = frame.drop(columns=list(locate(frame).used)).select_dtypes("number")
    rest = rest[[c for c in rest.columns if not str(c).startswith("Unnamed:")]]
    return as_lonlat(frame), rest.to_numpy()


def check_table(places: Any, vectors: ArrayLike) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Check places and their vectors; returns (M, 2) degrees and (M, D) float."""
    lonlat, values = as_lonlat(places), np.asarray(vectors)
    if values.dtype != np.float64:
        values = values.astype(np.float32)
    if values.ndim != 2 or len(values) != len(lonlat) or values.size == 0:
        raise ValueError(
            f"a table needs one vector per place, shape ({len(lonlat)}, D) with D at least 1; "
            f"got {values.shape}."
        )
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise ValueError(f"vectors must be finite; row {row} is not.")
    # Pandas hands out arrays that are read-only, which torch does not take.
    return lonlat, np.require(values, requirements=["C", "W"])


def _regular_grid(
    lonlat: NDArray[np.float64], values: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[Any]]:
    """Arrange a complete table as (lon, lat, vectors)."""
    refuse_duplicates(lonlat)
    (lon, column), (lat, row) = (np.unique(c, return_inverse=True) for c in lonlat.T)
    if lon.size * lat.size != len(lonlat):
        raise ValueError(
            f"method='bilinear' needs a complete grid; {len(lonlat)} places do not fill "
            f"{lat.size} x {lon.size}. Use method='nearest'."
        )
    grid = np.empty((lat.size, lon.size, values.shape[1]), dtype=values.dtype)
    grid[row, column] = values
    return lon, lat, grid

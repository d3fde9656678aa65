"""Places on the sphere: checks, wrapping, grids of pixel centers, equal-area samples, distances.

Longitude comes first, everywhere. Degrees outside, radians inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from satclip_explore.checks import real_number, whole_number
from satclip_explore.files.location import locate

EARTH_RADIUS_KM = 6371.0088
"""Mean radius R1 of the GRS 80 ellipsoid, in km (Moritz 2000, doi:10.1007/s001900050278)."""

GLOBE = (-180.0, -90.0, 180.0, 90.0)
"""Bounds of the whole Earth: (lon_min, lat_min, lon_max, lat_max) in degrees."""

MAX_PIXELS = 50_000_000
"""Largest grid that is built: a guard against a resolution typed in the wrong unit."""

Bounds = tuple[float, float, float, float]


def wrap_lon(lon: ArrayLike) -> NDArray[np.float64]:
    """Wrap longitudes into [-180, 180).

    Parameters
    ----------
    lon : array_like
        Longitudes in degrees, any number of turns.

    Returns
    -------
    numpy.ndarray, float64
        The same shape, in degrees. Values already in range come back unchanged, bit for bit.

    Examples
    --------
    >>> wrap_lon([180.0, -180.0, 190.0, 13.4]).tolist()
    [-180.0, -180.0, -170.0, 13.4]
    """
    lon = np.asarray(lon, dtype=np.float64)
    wrapped = (lon + 180.0) % 360.0 - 180.0
    # A tiny negative number plus 360 rounds to 360 and would come back as +180.
    wrapped = np.where(wrapped >= 180.0, -180.0, wrapped)
    return np.where((lon >= -180.0) & (lon < 180.0), lon, wrapped)


def as_lonlat(lonlat: Any, *, east_edge: bool = False) -> NDArray[np.float64]:
    """Check places and return them as one float64 array.

    Parameters
    ----------
    lonlat : array_like, mapping, pandas.DataFrame or geopandas.GeoDataFrame
        Places, longitude first, in degrees: an (N, 2) array or list, one (lon, lat) pair, or a
        table whose columns hold coordinates under any of the names in `files.columns`. A
        GeoDataFrame gives the points of its geometry, transformed to EPSG:4326.
    east_edge : bool
        Keep longitude 180 itself, for encoders to which it is not the same as -180.

    Returns
    -------
    numpy.ndarray, shape (N, 2), float64
        Degrees; longitudes wrapped into [-180, 180).

    Raises
    ------
    ValueError
        If the shape is not (N, 2), a value is no finite number, a latitude lies outside
        [-90, 90], coordinate columns are missing, or a geometry is not a point.
    """
    if hasattr(lonlat, "columns") or isinstance(lonlat, Mapping):
        lonlat = _from_table(lonlat)
    if hasattr(lonlat, "detach"):
        lonlat = lonlat.detach().cpu()
    try:
        values = np.asarray(lonlat)
        if values.dtype.kind in "mM":
            raise TypeError("dates are no coordinates")
        values = values.astype(np.float64)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ValueError(
            "lonlat must hold numbers with shape (N, 2), longitude first; got something that "
            f"does not read as such ({type(lonlat).__name__})."
        ) from error
    if values.shape == (2,):
        values = values[None]
    if values.size == 0 and values.ndim <= 2:
        values = values.reshape(0, 2)
    if values.ndim != 2 or values.shape[1] != 2:
        hint = " Did you mean lonlat.T?" if values.ndim == 2 and values.shape[0] == 2 else ""
        raise ValueError(
            f"lonlat must have shape (N, 2) with longitude first; got {values.shape}.{hint}"
        )
    _check_values(values)
    lon = wrap_lon(values[:, 0])
    if east_edge:
        lon[values[:, 0] == 180.0] = 180.0
    return np.stack([lon, values[:, 1]], axis=1)


def _check_values(values: NDArray[np.float64]) -> None:
    for row in np.flatnonzero(~np.isfinite(values).all(axis=1))[:1]:
        raise ValueError(f"lonlat must be finite; got {tuple(values[row].tolist())} at row {row}.")
    for row in np.flatnonzero(np.abs(values[:, 1]) > 90.0)[:1]:
        hint = ""
        if np.abs(values).max() > 1e4:
            hint = " These look like projected coordinates in meters; reproject to EPSG:4326 first."
        elif (np.abs(values[:, 0]) <= 90.0).all():
            hint = " Are the columns swapped?"
        raise ValueError(
            f"latitude must lie in [-90, 90] degrees; got {values[row, 1]:g} at row {row}. "
            f"Longitude comes first: (lon, lat).{hint}"
        )


def _from_table(table: Any) -> NDArray[Any]:
    """Take the places of a table, one per row; a row without one is an error, not left out."""
    found = locate(table)
    if found.geometry is not None:
        raise ValueError(
            f"places must be points; got {found.geometry[0].geom_type}. "
            "Use frame.geometry.representative_point(), "
            "or read_places for a point inside of each."
        )
    return np.stack([found.lon, found.lat], axis=1)


@dataclass(frozen=True)
class Grid:
    """Pixel centers of a plate carrée raster, row 0 in the north.

    Parameters
    ----------
    bounds : tuple of float
        (lon_min, lat_min, lon_max, lat_max) in degrees: the outer edges of the pixels; see
        `check_bounds` for a view over the antimeridian.
    shape : tuple of int
        (H, W): rows and columns.
    """

    bounds: Bounds
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "bounds", check_bounds(self.bounds))
        height = whole_number(self.shape[0], "the number of rows", 1, MAX_PIXELS)
        width = whole_number(self.shape[1], "the number of columns", 1, MAX_PIXELS)
        _check_pixels(height, width)
        object.__setattr__(self, "shape", (height, width))

    @classmethod
    def from_resolution(cls, resolution: float, bounds: Bounds = GLOBE) -> Grid:
        """Build the grid whose square pixels come closest to a resolution.

        Parameters
        ----------
        resolution : float
            Pixel size in degrees, above 0.
        bounds : tuple of float
            (lon_min, lat_min, lon_max, lat_max) in degrees; see `check_bounds`.

        Raises
        ------
        TypeError, ValueError
            If the resolution is no number, or makes too many pixels or one larger than the bounds.
        """
        step = real_number(resolution, "resolution")
        if step <= 0.0:
            raise ValueError(f"resolution must be above 0 degrees; got {resolution}.")
        lon_min, lat_min, lon_max, lat_max = bounds = check_bounds(bounds)
        rows, columns = (lat_max - lat_min) / step, (lon_max - lon_min) / step
        if max(rows, columns) < 0.5:
            raise ValueError(
                f"resolution is the size of a pixel in degrees and {resolution:g} is larger than "
                f"the bounds, {lon_max - lon_min:g} x {lat_max - lat_min:g} degrees; "
                f"{resolution:g} meters would be {step / 111_195:.2g} degrees."
            )
        _check_pixels(rows, columns)
        return cls(bounds, (max(1, round(rows)), max(1, round(columns))))

    @property
    def lon(self) -> NDArray[Any]:
        """Longitudes of the pixel centers, shape (W,), increasing, degrees, not wrapped."""
        lon_min, _, lon_max, _ = self.bounds
        return lon_min + (np.arange(self.shape[1]) + 0.5) * ((lon_max - lon_min) / self.shape[1])

    @property
    def lat(self) -> NDArray[Any]:
        """Latitudes of the pixel centers, shape (H,), decreasing, degrees."""
        _, lat_min, _, lat_max = self.bounds
        return lat_max - (np.arange(self.shape[0]) + 0.5) * ((lat_max - lat_min) / self.shape[0])

    @property
    def lonlat(self) -> NDArray[np.float64]:
        """Every pixel center, shape (H*W, 2), row by row from the north-west, wrapped."""
        lat, lon = np.meshgrid(self.lat, wrap_lon(self.lon), indexing="ij")
        return np.stack([lon.ravel(), lat.ravel()], axis=1)

    @property
    def resolution(self) -> tuple[float, float]:
        """Pixel size in degrees: (along longitude, along latitude)."""
        lon_min, lat_min, lon_max, lat_max = self.bounds
        return (lon_max - lon_min) / self.shape[1], (lat_max - lat_min) / self.shape[0]

    @property
    def area_weights(self) -> NDArray[np.float64]:
        """Solid angle of a pixel in each row, shape (H,), steradians; the globe sums to 4π."""
        d_lon, d_lat = self.resolution
        edges = np.radians(self.bounds[3] - np.arange(self.shape[0] + 1) * d_lat)
        return np.radians(d_lon) * -np.diff(np.sin(edges))


def _check_pixels(rows: float, columns: float) -> None:
    if rows * columns > MAX_PIXELS:
        raise ValueError(
            f"a grid may hold {MAX_PIXELS:,} pixels; got {rows:,.6g} x {columns:,.6g}. "
            "Use a coarser resolution or smaller bounds."
        )


def check_bounds(bounds: Any) -> Bounds:
    """Check (lon_min, lat_min, lon_max, lat_max) and return it as floats.

    Returns
    -------
    tuple of float
        Degrees. Where lon_min was above lon_max the bounds cross the antimeridian, and lon_max
        comes back a turn later: (170, -30, -170, 10) as (170, -30, 190, 10).

    Raises
    ------
    ValueError
        If there are not four finite numbers, the bounds are empty, a latitude is outside
        [-90, 90], or the longitudes span more than 360 degrees.
    """
    try:
        values = tuple(float(value) for value in bounds)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ValueError(f"bounds must be four numbers in degrees; got {bounds!r:.80}.") from error
    if len(values) != 4 or not np.isfinite(values).all():
        raise ValueError(
            f"bounds must be (lon_min, lat_min, lon_max, lat_max), all finite; got {bounds!r:.80}."
        )
    lon_min, lat_min, lon_max, lat_max = values
    if lon_min > lon_max:
        lon_max += 360.0
    if not (lon_min < lon_max <= lon_min + 360.0 and -90.0 <= lat_min < lat_max <= 90.0):
        raise ValueError(
            "bounds must be (lon_min, lat_min, lon_max, lat_max) with longitudes at most 360 "
            f"degrees apart and -90 <= lat_min < lat_max <= 90; got {values}."
        )
    return lon_min, lat_min, lon_max, lat_max


def equal_area_sample(n_samples: int, *, seed: int | np.random.Generator = 0) -> NDArray[Any]:
    """Draw places uniformly by area over the whole sphere.

    Parameters
    ----------
    n_samples : int
        Number of places N, 1 to 50 million.
    seed : int or numpy.random.Generator
        Source of randomness; the same seed gives the same places on every machine.

    Returns
    -------
    numpy.ndarray, shape (N, 2), float64
        Degrees, longitude first.
    """
    n_samples = whole_number(n_samples, "n_samples", 1, MAX_PIXELS)
    rng = np.random.default_rng(seed)
    lon = rng.uniform(-180.0, 180.0, n_samples)
    lat = np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, n_samples)))
    return np.stack([lon, lat], axis=1)


def unit_vectors(lonlat: ArrayLike) -> NDArray[Any]:
    """Turn places into unit vectors (x, y, z).

    Parameters
    ----------
    lonlat : array_like, shape (N, 2)
        Degrees, longitude first.

    Returns
    -------
    numpy.ndarray, shape (N, 3), float64
        x toward (0, 0), y toward (90 E, 0), z toward the north pole.
    """
    lon, lat = np.radians(np.asarray(lonlat, dtype=np.float64)).T
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)


def place_codes(vectors: ArrayLike) -> NDArray[np.int64]:
    """Number places: rows at the same one, whatever its longitude is called, get the same number.

    All longitudes are one place at a pole, and -180 is 180.

    Parameters
    ----------
    vectors : array_like, shape (N, 3)
        Unit vectors. Those that round alike at 1e-7, half a meter on the ground, are one place.

    Returns
    -------
    numpy.ndarray, shape (N,), int64
        From 0, in order of first appearance.

    Examples
    --------
    >>> place_codes(unit_vectors([(9.0, 90.0), (180.0, 0.0), (-180.0, 0.0), (4.0, 90.0)])).tolist()
    [0, 1, 1, 0]
    """
    cells = np.rint(np.asarray(vectors, dtype=np.float64) * 1e7).astype(np.int64)
    return codes_by_appearance(cells)


def codes_by_appearance(values: NDArray[Any]) -> NDArray[np.int64]:
    """Number equal rows alike, from 0, in order of first appearance, shape (N,), int64."""
    _, first, inverse = np.unique(values, axis=0, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[inverse.reshape(-1)], dtype=np.int64)


def great_circle_km(lonlat: ArrayLike, other: ArrayLike) -> NDArray[Any]:
    """Measure great-circle distances, pair by pair.

    Parameters
    ----------
    lonlat, other : array_like, shapes (..., 2) that broadcast
        Degrees, longitude first.

    Returns
    -------
    numpy.ndarray, shape (...,), float64
        Kilometers on a sphere of radius 6,371.0088 km.
    """
    # The haversine form keeps its digits for places that are centimeters apart.
    a = np.radians(np.asarray(lonlat, dtype=np.float64))
    b = np.radians(np.asarray(other, dtype=np.float64))
    half = np.sin((b - a) / 2.0) ** 2
    h = half[..., 1] + np.cos(a[..., 1]) * np.cos(b[..., 1]) * half[..., 0]
    return 2.0 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(h, 0.0, 1.0)))

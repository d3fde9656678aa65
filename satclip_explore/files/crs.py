"""Coordinates in any reference system, as longitude and latitude (EPSG:4326)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

WGS84 = "EPSG:4326"
NOT_EXACT = 1.0
"""Meters: what a change between geodetic datums may be off without being said."""


def read_crs(crs: Any) -> Any:
    """Return a `pyproj.CRS`.

    Raises
    ------
    ValueError
        If it is none that PROJ knows, or has no place on the Earth.
    ImportError
        If pyproj is not installed.
    """
    try:
        import pyproj
    except ImportError as error:
        raise ImportError(
            "coordinate systems need pyproj: pip install 'satclip-explore[geo]'"
        ) from error
    try:
        found = pyproj.CRS.from_user_input(crs)
    except (pyproj.exceptions.CRSError, TypeError, ValueError) as error:
        raise ValueError(f"crs={str(crs)[:60]!r} is no coordinate system that PROJ knows; give an "
                         "EPSG code such as 'EPSG:32633'.") from error  # fmt: skip
    if not (found.is_geographic or found.is_projected or found.is_compound or found.is_bound):
        raise ValueError(f"coordinates in {found.name!r} have no place on the Earth; give crs=.")
    return found


def crs_name(crs: Any) -> str:
    """Name a coordinate system for people: "EPSG:4807 (NTF (Paris))"."""
    code = crs.to_authority(min_confidence=70)
    return f"{':'.join(code)} ({crs.name})" if code else str(crs.name)


def is_wgs84(crs: Any) -> bool:
    """Tell whether coordinates are longitude and latitude of WGS 84 as they are."""
    return crs.to_authority(min_confidence=100) in {("EPSG", "4326"), ("OGC", "CRS84")}


def to_lonlat(
    x: NDArray[np.float64], y: NDArray[np.float64], crs: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Transform coordinates to longitude and latitude in degrees of WGS 84.

    Parameters
    ----------
    x, y : numpy.ndarray, shape (N,)
        East (or longitude) first, in the units of the system.
    crs : pyproj.CRS
        Of the coordinates; its own order of axes is ignored, files put east first.

    Returns
    -------
    lon, lat : numpy.ndarray, shape (N,)
        NaN where a place is outside of the system.
    """
    if is_wgs84(crs):
        return x, y
    import pyproj

    transformer = pyproj.Transformer.from_crs(crs, WGS84, always_xy=True)
    lon, lat = transformer.transform(x, y)
    outside = ~(np.isfinite(lon) & np.isfinite(lat))
    return np.where(outside, np.nan, lon), np.where(outside, np.nan, lat)

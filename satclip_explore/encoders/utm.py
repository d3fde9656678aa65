"""Universal Transverse Mercator: zones with their exceptions, and coordinates in meters.

References
----------
Snyder (1987), "Map Projections: A Working Manual", USGS Professional Paper 1395, eq. 3-21 and
8-9 … 8-15; WGS 84 with the eccentricity rounded as in the `utm` package that GPS2Vec uses.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SOUTH, NORTH = -80.0, 84.0
"""Latitudes between which UTM is defined, degrees."""

LETTERS = "CDEFGHJKLMNPQRSTUVWX"
"""Latitude bands, 8° each from 80° S; X has 12°."""

NO_ZONE = -1

_SEMI_MAJOR_M = 6378137.0
_E2 = 0.00669438
_SCALE = 0.9996
_FALSE_EASTING_M = 500_000.0
_FALSE_NORTHING_M = 10_000_000.0

Floats = NDArray[np.float64]


def zone_numbers(lonlat: Floats) -> NDArray[np.int64]:
    """Return the longitude zone of places, 1 … 60, with the exceptions of Norway and Svalbard.

    Parameters
    ----------
    lonlat : numpy.ndarray, shape (N, 2)
        Degrees, longitude first, wrapped.
    """
    lon, lat = lonlat[:, 0], lonlat[:, 1]
    zone = (np.floor((lon + 180.0) / 6.0).astype(np.int64) % 60) + 1
    zone = np.where((lat >= 56) & (lat < 64) & (lon >= 3) & (lon < 12), 32, zone)
    svalbard = (lat >= 72) & (lat <= NORTH)
    for number, west, east in ((31, 0, 9), (33, 9, 21), (35, 21, 33), (37, 33, 42)):
        zone = np.where(svalbard & (lon >= west) & (lon < east), number, zone)
    return zone


def zone_codes(lonlat: Floats) -> NDArray[np.int64]:
    """Return number × 20 + band of each place as one integer; `NO_ZONE` beyond 80° S or 84° N."""
    lat = lonlat[:, 1]
    band = np.minimum(np.floor((lat - SOUTH) / 8.0), len(LETTERS) - 1).astype(np.int64)
    code = zone_numbers(lonlat) * len(LETTERS) + band
    return np.where((lat >= SOUTH) & (lat <= NORTH), code, NO_ZONE)


def zone_name(code: int) -> str:
    """Spell a code as GPS2Vec does, e.g. "48 N"."""
    number, band = divmod(code, len(LETTERS))
    return f"{number} {LETTERS[band]}"


def zone_bounds(code: int) -> tuple[float, float, float, float] | None:
    """Return (lon_min, lat_min, lon_max, lat_max) of a zone in degrees.

    None where GPS2Vec's list has no such zone: 31 V (the sea west of Norway, left out by its
    authors) and 32 X, 34 X, 36 X, which do not exist.
    """
    number, band = divmod(code, len(LETTERS))
    exceptions = {
        "32 V": (3.0, 12.0),
        "31 X": (0.0, 9.0),
        "33 X": (9.0, 21.0),
        "35 X": (21.0, 33.0),
        "37 X": (33.0, 42.0),
    }
    name = zone_name(code)
    if name in ("31 V", "32 X", "34 X", "36 X"):
        return None
    west = -180.0 + 6.0 * (number - 1)
    lon_min, lon_max = exceptions.get(name, (west, west + 6.0))
    lat_min = SOUTH + 8.0 * band
    return lon_min, lat_min, lon_max, NORTH if LETTERS[band] == "X" else lat_min + 8.0


def to_utm(lonlat: Floats) -> Floats:
    """Project places into their own zone.

    Parameters
    ----------
    lonlat : numpy.ndarray, shape (N, 2)
        Degrees, longitude first, within UTM's latitudes.

    Returns
    -------
    numpy.ndarray, shape (N, 2)
        Easting and northing in meters; south of the equator northings count from -10,000 km.
    """
    lon, lat = np.radians(lonlat).T
    central = np.radians(zone_numbers(lonlat) * 6.0 - 183.0)
    ep2 = _E2 / (1.0 - _E2)
    sin, cos, tan = np.sin(lat), np.cos(lat), np.tan(lat)
    n = _SEMI_MAJOR_M / np.sqrt(1.0 - _E2 * sin**2)
    t, c = tan**2, ep2 * cos**2
    a = cos * ((lon - central + np.pi) % (2.0 * np.pi) - np.pi)
    arc = _SEMI_MAJOR_M * (
        (1 - _E2 / 4 - 3 * _E2**2 / 64 - 5 * _E2**3 / 256) * lat
        - (3 * _E2 / 8 + 3 * _E2**2 / 32 + 45 * _E2**3 / 1024) * np.sin(2 * lat)
        + (15 * _E2**2 / 256 + 45 * _E2**3 / 1024) * np.sin(4 * lat)
        - (35 * _E2**3 / 3072) * np.sin(6 * lat)
    )
    east = a + a**3 / 6 * (1 - t + c) + a**5 / 120 * (5 - 18 * t + t**2 + 72 * c - 58 * ep2)
    north = (
        a**2 / 2
        + a**4 / 24 * (5 - t + 9 * c + 4 * c**2)
        + a**6 / 720 * (61 - 58 * t + t**2 + 600 * c - 330 * ep2)
    )
    easting = _SCALE * n * east + _FALSE_EASTING_M
    northing = _SCALE * (arc + n * tan * north)
    northing = np.where(lonlat[:, 1] < 0.0, northing + _FALSE_NORTHING_M, northing)
    return np.stack([easting, northing], axis=1)

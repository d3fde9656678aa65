"""One column that holds the place: a geometry, or both coordinates as text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satclip_explore.files.angles import read_angles
from satclip_explore.files.columns import Roles, listed, shown, word_set, words_of
from satclip_explore.files.crs import crs_name, is_wgs84, read_crs, to_lonlat
from satclip_explore.files.values import plain_text

WKT = re.compile(
    r"\s*(?:SRID=(?P<srid>\d+);)?\s*(?:POINT|LINESTRING|POLYGON|MULTI\w+|GEOMETRYCOLLECTION)"
    r"\s*(?:ZM?|M)?\s*(?:\(|EMPTY)", re.IGNORECASE
)  # fmt: skip
GEOJSON = re.compile(r"\s*\{\s*\"(?:type|coordinates|geodesic)\"\s*:")
WKB = re.compile(r"(?:00|01)[0-9A-Fa-f]{40,}")
_HALF = r"[-+−]?\s*\d[^,;|]*?|[NSEW]\s*\d[^,;|]*?"
BOTH = re.compile(rf"\s*[\[(]?\s*({_HALF})\s*[,;|\s]\s*({_HALF})\s*[\])]?\s*", re.IGNORECASE)
LETTERED = tuple(
    re.compile(rf"\s*({half})[\s,;|]+({half})\s*")
    for half in (r"\d.*?[NSEW]", r"[NSEW]\s*\d[^NSEW]*?")
)
"""Both coordinates with a letter behind each, or before it."""

GEOPOINT = re.compile(r"\s*([-+]?\d+\.\d+)\s+([-+]?\d+\.\d+)(?:\s+[-+]?\d+(?:\.\d+)?){2}\s*")
"""Latitude, longitude, altitude and accuracy, as ODK and Kobo write a place.

References
----------
"XForms specification", https://getodk.github.io/xforms-spec, data type geopoint.
"""

LAT_FIRST = word_set(
    """location geolocation gps position latlng latlon latlong latitudelongitude latlonalt lat"""
)
LON_FIRST = word_set("lonlat lnglat longlat lon lng longitudelatitude")
PAIR_WORDS = LAT_FIRST | LON_FIRST | {"coordinates", "coords", "latitude", "point"}
ORDERS = ("lat,lon", "lon,lat")


@dataclass(frozen=True)
class Located:
    """Where rows lie, and how that was found out.

    Parameters
    ----------
    lon, lat : numpy.ndarray, shape (N,), float64
        Degrees, as they are in the file (not wrapped); NaN where a row has no place.
    used : tuple
        Labels of the columns that told.
    roles : dict of str to str
        What was taken for what, for people.
    crs : str
        That the coordinates were in.
    notes : tuple of str
        What was assumed.
    geometry : object
        The shapely geometries in longitude and latitude, where there are polygons or lines.
    decimal : str
        Decimal sign of the coordinates, where they were text.
    """

    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    used: tuple[Any, ...]
    roles: dict[str, str] = field(default_factory=dict)
    crs: str = "EPSG:4326"
    notes: tuple[str, ...] = ()
    geometry: Any = None
    decimal: str = ""


def share_in_range(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return which part of the known coordinates could be degrees."""
    known = np.isfinite(x) & np.isfinite(y)
    inside = (np.abs(x[known]) <= 540.0) & (np.abs(y[known]) <= 90.0)
    return float(inside.mean()) if known.any() else 1.0


def from_one_column(
    frame: Any, columns: Iterable[Any], crs: Any, order: Any, roles: Roles | None = None
) -> Located | None:
    """Look for one column that holds a geometry, or both coordinates.

    Beside x and y (`roles`) only one that is called so can hold both; "12,5" is a number anywhere
    else.
    """
    found: list[tuple[str, Any, pd.Series]] = []
    for label in columns:
        column = frame[label]
        kind = _held(column) if isinstance(column, pd.Series) else ""
        if kind:
            found.append((kind, label, column))
    geometries = [candidate for candidate in found if candidate[0] != "both"]
    named = [candidate for candidate in found if PAIR_WORDS & set(words_of(candidate[1]))]
    if roles is not None:
        named = [candidate for candidate in named if candidate[1] not in (roles.lon, roles.lat)]
    unnamed = []
    if roles is None:
        unnamed = [candidate for candidate in found if not _decimal_commas(candidate[2])]
    chosen = geometries or named or unnamed
    if not chosen:
        return None
    if len(chosen) > 1:
        raise ValueError(
            f"several columns could hold the places ({listed(label for _, label, _ in chosen)}); "
            "keep one of them."
        )
    kind, label, column = chosen[0]
    if kind == "both":
        return _from_both(label, column, crs, order)
    return from_geometry(*_parse_geometry(kind, column, label, crs), label)


def _held(column: pd.Series) -> str:
    """Say what a column holds: "WKT", "GeoJSON", "WKB", "both" coordinates, or nothing."""
    if pd.api.types.is_numeric_dtype(column):
        return ""
    binary = list(islice((value for value in column if isinstance(value, bytes)), 100))
    if binary:
        return "WKB" if all(value[:1] in (b"\0", b"\1") for value in binary) else ""
    texts = (value for value in column if isinstance(value, str) and value.strip())
    sample = list(islice(texts, 100))
    for kind, match in (
        ("WKT", WKT.match), ("GeoJSON", GEOJSON.match), ("WKB", WKB.match), ("both", BOTH.fullmatch)
    ):  # fmt: skip
        if sum(match(text) is not None for text in sample) > 0.9 * len(sample):
            return kind
    return ""


def _decimal_commas(column: pd.Series) -> bool:
    return all(re.fullmatch(r"\s*[-+−]?\d+,\d+\s*|", str(cell)) for cell in column.dropna())


def _parse_geometry(kind: str, column: pd.Series, label: Any, crs: Any) -> tuple[Any, Any]:
    """Parse a column of geometry texts; an SRID in front of WKT or in WKB is its CRS."""
    try:
        import shapely
    except ImportError as error:
        raise ImportError("geometries need shapely: pip install 'satclip-explore[geo]'") from error
    texts = column.where(column.notna(), None).to_numpy(dtype=object)
    texts = np.array([text if isinstance(text, (str, bytes)) and text.strip() else None
                      for text in texts], dtype=object)  # fmt: skip
    srids = set()
    if kind == "WKT":
        parts = [WKT.match(text) if text else None for text in texts]
        srids = {match["srid"] for match in parts if match and match["srid"]}
        texts = np.array([text.split(";", 1)[-1] if text else None for text in texts], dtype=object)
        geometry = shapely.from_wkt(texts, on_invalid="ignore")
    elif kind == "GeoJSON":
        geometry = shapely.from_geojson(texts, on_invalid="ignore")
    else:
        geometry = shapely.from_wkb(texts, on_invalid="ignore")
        srids = {str(srid) for srid in shapely.get_srid(geometry) if srid > 0}
    if len(srids) > 1:
        raise ValueError(f"column {shown(label)!r} mixes coordinate systems: SRID {listed(srids)}.")
    return geometry, crs or (f"EPSG:{srids.pop()}" if srids else None)


def _from_both(label: Any, column: pd.Series, crs: Any, order: str | None) -> Located:
    """Read "45.7, 15.4": which comes first is told by letters, range or name, else asked."""
    if crs is not None and not read_crs(crs).is_geographic:
        raise ValueError(f"column {shown(label)!r} holds both coordinates; split it to use crs=.")
    cells = plain_text(column)
    geopoints = [GEOPOINT.fullmatch(cell) for cell in cells if cell]
    found = [
        next(filter(None, (how.fullmatch(cell) for how in (*LETTERED, BOTH))), None)
        for cell in cells
    ]
    if geopoints and all(geopoints):
        found = [GEOPOINT.fullmatch(cell) for cell in cells]
        order = order or ORDERS[0]
    first, second = ([pair[half] if pair else "" for pair in found] for half in (1, 2))
    lat_letters = (_lettered(first, "NS"), _lettered(second, "NS"))
    lon_letters = (_lettered(first, "EW"), _lettered(second, "EW"))
    why = ""
    if order is None:
        if lat_letters[0] and lon_letters[1]:
            order, why = ORDERS[0], "as the letters say"
        elif lon_letters[0] and lat_letters[1]:
            order, why = ORDERS[1], "as the letters say"
        else:
            order, why = _order(label, first, second)
    lon_text, lat_text = (second, first) if order == ORDERS[0] else (first, second)
    lon, lat = read_angles(lon_text, "lon"), read_angles(lat_text, "lat")
    note = f"{shown(label)} was read as {order.replace(',', ', ')} {why}".strip()
    if geopoints and all(geopoints):
        note += ", altitude, accuracy: a geopoint of ODK or Kobo"
    system = None if crs is None else read_crs(crs)
    if system is not None:
        lon, lat = to_lonlat(lon, lat, system)
    return Located(lon, lat, (label,), {"lon and lat": shown(label)},
                   crs_name(system) if system else "EPSG:4326", (note,))  # fmt: skip


def _lettered(half: list[str], letters: str) -> bool:
    return any(letter in text.upper() for text in half for letter in letters)


def _order(label: Any, first: list[str], second: list[str]) -> tuple[str, str]:
    """Tell which of two numbers is the latitude, from their range or the name of the column."""
    ends = [np.nanmax(np.abs(read_angles(half, "lon")), initial=0.0) for half in (first, second)]
    if ends[0] <= 90.0 < ends[1]:
        return ORDERS[0], f"because the second number reaches {ends[1]:g}"
    if ends[1] <= 90.0 < ends[0]:
        return ORDERS[1], f"because the first number reaches {ends[0]:g}"
    words = words_of(label)
    lat_at = [i for i, word in enumerate(words) if word.startswith(("lat", "breite"))]
    lon_at = [i for i, word in enumerate(words) if word.startswith(("lon", "lng"))]
    if lat_at and lon_at:
        return ORDERS[lat_at[0] > lon_at[0]], "as its name says"
    if set(words) & LON_FIRST:
        return ORDERS[1], "as its name says"
    if set(words) & LAT_FIRST:
        return ORDERS[0], "as such columns usually are; order='lon,lat' says otherwise"
    raise ValueError(
        f"column {shown(label)!r} holds two numbers, e.g. {shown(first[0])} and "
        f"{shown(second[0])}, and either may be the latitude; say order='lat,lon' or "
        "order='lon,lat'."
    )


def from_geometry(geometry: Any, crs: Any, label: Any) -> Located:
    """Take points as they are, and a point inside of everything else."""
    import shapely

    shapes = np.asarray(geometry, dtype=object)
    system = None if crs is None else read_crs(crs)
    notes: list[str] = []
    kinds = shapely.get_type_id(shapes)
    empty = (kinds < 0) | shapely.is_empty(shapes)
    x, y = np.full(len(shapes), np.nan), np.full(len(shapes), np.nan)
    points = ~empty & (kinds == 0)
    x[points], y[points] = shapely.get_x(shapes[points]), shapely.get_y(shapes[points])
    if system is None:
        if share_in_range(x, y) < 1.0:
            raise ValueError("the geometry says no coordinate system and is not in degrees; say "
                             "crs=, e.g. crs='EPSG:32633'.")  # fmt: skip
        notes.append(
            "no coordinate system is given: taken for degrees of WGS 84; crs= says otherwise"
        )
        x, y, name = x, y, "EPSG:4326"
    else:
        name = crs_name(system)
        x, y = to_lonlat(x, y, system)
    if (points | empty).all():
        return Located(x, y, (label,), {"geometry": shown(label)}, name, tuple(notes))
    if system is not None and not is_wgs84(system):
        # Long edges bend: a square of a polar projection is no square in degrees.
        edges = np.nanmax(np.ptp(shapely.bounds(shapes).reshape(-1, 2, 2), axis=1), axis=1) / 16
        shapes = shapely.transform(
            shapely.segmentize(shapes, np.where(edges > 0, edges, 1.0)),
            lambda xy: np.stack(to_lonlat(xy[:, 0], xy[:, 1], system), axis=1),
        )
    rest = ~points & ~empty
    x[rest], y[rest] = _points_inside(shapes[rest])
    return Located(x, y, (label,), {"geometry": shown(label)}, name, tuple(notes), shapes)


def _points_inside(shapes: NDArray[np.object_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find a point inside each; what spans half the globe is laid out round it first."""
    import shapely

    from satclip_explore.polygons import point_inside, unrolled

    inside = shapely.point_on_surface(shapely.make_valid(shapes))
    x, y = shapely.get_x(inside), shapely.get_y(inside)
    west, _, east, _ = shapely.bounds(shapes).T
    for row in np.flatnonzero((east - west > 180.0) & (east - west <= 720.0)):
        x[row], y[row] = point_inside(shapes[row], unrolled(shapes[row]))
    return x, y


def geojson_crs(document: Any) -> Any:
    """Return what the `crs` member of a GeoJSON document names, or None (RFC 7946: WGS 84)."""
    member = document.get("crs") if isinstance(document, dict) else None
    if member is None:
        return None
    try:
        return member["properties"]["name"]
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"the crs member {json.dumps(member)[:60]} names no coordinate system; say crs=."
        ) from error

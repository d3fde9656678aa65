"""Where the rows of a table lie: in two columns, in one, or in a geometry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satclip_explore.files.angles import read_angles
from satclip_explore.files.columns import (
    Roles,
    find_roles,
    listed,
    missing_columns,
    points_west_or_south,
    shown,
    words_of,
)
from satclip_explore.files.companions import complete
from satclip_explore.files.crs import (
    check_zones,
    crs_name,
    datum_columns,
    datum_notes,
    read_crs,
    to_lonlat,
)
from satclip_explore.files.geometry_columns import (
    ORDERS,
    Located,
    from_geometry,
    from_one_column,
    share_in_range,
)
from satclip_explore.files.values import any_matches, as_plain_numbers, plain_text, read_column

_BETWEEN_DIGITS = re.compile(r"\d[.,]\d")
_DECIMAL_COMMA, _DECIMAL_POINT = re.compile(r"[-+]?\d{1,3},\d+"), re.compile(r"[-+]?\d{1,3}\.\d+")


def locate(
    frame: Any,
    *,
    lon: Any = None,
    lat: Any = None,
    crs: Any = None,
    order: str | None = None,
    decimal: str | None = None,
    units: Mapping[Any, str] | None = None,
) -> Located:
    """Find the places of a table.

    Parameters
    ----------
    frame : pandas.DataFrame, geopandas.GeoDataFrame or mapping
        Columns of numbers or text.
    lon, lat : object, optional
        Labels of the coordinate columns.
    crs : object, optional
        Of the coordinates, as PROJ knows it; default what the table says, else degrees.
    order : {"lat,lon", "lon,lat"}, optional
        Of two numbers in one column.
    decimal : {".", ","}, optional
        Decimal sign of coordinates that are text.
    units : mapping, optional
        Of columns, where they stood beside their names.

    Raises
    ------
    ValueError
        If there are no coordinates, several, or their meaning is unclear.
    """
    if (lon is None) != (lat is None):
        raise ValueError("give both lon= and lat=, or neither.")
    if order is not None and order not in ORDERS:
        raise ValueError(f"order must be {' or '.join(map(repr, ORDERS))}; got {order!r}.")
    if lon is None and hasattr(frame, "geometry") and hasattr(frame, "crs"):
        return from_geometry(frame.geometry, crs or frame.crs, frame.geometry.name)
    columns = list(frame.columns if hasattr(frame, "columns") else frame.keys())
    if lon is not None:
        for column in (lon, lat):
            if columns.count(column) != 1:
                problem = "no column" if column not in columns else "more than one column"
                raise ValueError(f"{problem} {shown(column)!r}; got {listed(columns)}.")
        roles: Roles | None = Roles(lon, lat, "given")
    else:
        try:
            roles, refusal = find_roles(columns), None
        except ValueError as error:
            roles, refusal = None, error
        if roles is None or roles.kind == "xy":
            inside = from_one_column(frame, columns, crs, order, roles)
            if inside is not None:
                return inside
        if refusal is not None:
            raise refusal
    if roles is None:
        raise ValueError(missing_columns(columns))
    for column in (roles.lon, roles.lat):
        if columns.count(column) > 1:
            raise ValueError(f"column {shown(column)!r} appears more than once; rename one.")
    return _from_columns(frame, roles, crs, decimal, units or {})


def _from_columns(
    frame: Any, roles: Roles, crs: Any, decimal: str | None, units: Mapping[Any, str]
) -> Located:
    notes: list[str] = []
    system = None if crs is None else read_crs(crs)
    degrees = system is None or system.is_geographic
    columns = list(frame.columns if hasattr(frame, "columns") else frame.keys())
    pair, signs, used = [], "", (roles.lon, roles.lat)
    for label, other, axis in ((roles.lon, roles.lat, "lon"), (roles.lat, roles.lon, "lat")):
        values, sign = _coordinates(frame[label], label, axis, degrees, decimal)
        signs = signs or sign
        in_gons = system is not None and system.axis_info[0].unit_name == "grad"
        if degrees and not in_gons and roles.kind in ("lonlat", "given"):
            unit = units.get(label, "")
            values, more, said = complete(frame, columns, label, axis, values, unit)
            used, notes = used + more, notes + said
            name = f"{label} ({unit})" if unit else label
            if roles.kind == "lonlat" and not more and points_west_or_south(name, other):
                values, note = _turned(values, label, axis)
                notes += [note] if note else []
        pair.append(values)
    x, y = pair
    if system is None and roles.kind == "projected":
        raise ValueError(
            f"columns {shown(roles.lon)!r} and {shown(roles.lat)!r} hold projected coordinates; "
            "say which system with crs=, e.g. crs='EPSG:32633'."
        )
    if system is None and roles.kind == "xy":
        if share_in_range(x, y) < 1.0:
            raise ValueError(
                f"columns {shown(roles.lon)!r} and {shown(roles.lat)!r} are not degrees "
                f"(up to {np.nanmax(np.abs([x, y])):,.0f}); say which system with crs=, e.g. "
                "crs='EPSG:32633'."
            )
        if not _is_plainly_degrees(roles):
            notes.append(f"{shown(roles.lon)} and {shown(roles.lat)} were taken for longitude and "
                         "latitude in degrees; crs= says otherwise")  # fmt: skip
    named = {"lon": shown(roles.lon), "lat": shown(roles.lat)}
    if system is None:
        notes += datum_notes(frame, columns)
        return Located(x, y, used, named, notes=tuple(notes), decimal=signs)
    check_zones(frame, columns, system)
    x, y = to_lonlat(x, y, system)
    # A datum that no longer holds must not stand beside the new coordinates.
    used += datum_columns(columns)
    return Located(x, y, used, named, crs_name(system), tuple(notes), decimal=signs)


def _is_plainly_degrees(roles: Roles) -> bool:
    words = {*words_of(roles.lon), *words_of(roles.lat)}
    return bool(words & {"wgs", "wgs84", "4326", "deg", "degrees", "degree"})


def _coordinates(
    column: Any, label: Any, axis: str, degrees: bool, decimal: str | None
) -> tuple[NDArray[np.float64], str]:
    """Read one coordinate column: numbers, or text in any notation; NaN where it has none."""
    series = (
        column if isinstance(column, pd.Series) else pd.Series(np.atleast_1d(np.asarray(column)))
    )
    if pd.api.types.is_bool_dtype(series):
        raise ValueError(f"column {shown(label)!r} holds true and false, not coordinates.")
    if pd.api.types.is_numeric_dtype(series):
        return series.to_numpy(np.float64, na_value=np.nan), ""
    if pd.api.types.is_datetime64_any_dtype(series):
        raise ValueError(f"column {shown(label)!r} holds dates, not coordinates.")
    text = plain_text(series)
    numbers, odd = as_plain_numbers(text)
    if not odd.any() and decimal != ",":
        return numbers, "." if any("." in angle for angle in text) else ""
    if degrees:
        angles = read_angles(text, axis)
        # A decimal comma is an angle with a comma: as "15,478", which cannot be thousands here.
        commas, points = any_matches(text, _DECIMAL_COMMA), any_matches(text, _DECIMAL_POINT)
        if (decimal == "," and points) or (decimal == "." and commas):
            other = "points" if decimal == "," else "commas"
            raise ValueError(f"column {shown(label)!r} has decimal {other}; leave out decimal=.")
        plain = np.where(odd, angles, numbers)
        seen = {found[1] for angle in text for found in _BETWEEN_DIGITS.findall(angle)}
        sign = "".join(seen) if len(seen) == 1 else ""
        known = text != ""
        if known.any() and np.isfinite(plain[known]).mean() < 0.5:
            example = text[known & ~np.isfinite(plain)][0]
            raise ValueError(
                f"column {shown(label)!r} does not read as "
                f"{'longitude' if axis == 'lon' else 'latitude'}: {shown(example)!r}; name another "
                f"with {axis}=."
            )
        return plain, sign
    found = read_column(label, series, decimal=decimal)
    if not pd.api.types.is_numeric_dtype(found.values):
        raise ValueError(f"column {shown(label)!r} does not read as numbers in one way; "
                         "say decimal='.' or decimal=','.")  # fmt: skip
    return found.values.to_numpy(np.float64), found.decimal


def _turned(values: NDArray[np.float64], label: Any, axis: str) -> tuple[NDArray[Any], str]:
    """Turn degrees that count toward the west or the south, as the name says."""
    known = values[np.isfinite(values)]
    side = "west" if axis == "lon" else "south"
    if not len(known) or (known <= 0).all():
        return values, ""
    if (known >= 0).all():
        return -values, f"{shown(label)} counts degrees {side}, so its signs were turned"
    raise ValueError(
        f"column {shown(label)!r} says {side} and holds both signs; rename it to {axis} if minus "
        f"means {side}."
    )

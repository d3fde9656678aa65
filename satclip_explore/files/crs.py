"""Coordinates in any reference system, as longitude and latitude (EPSG:4326)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

WGS84 = "EPSG:4326"
DATUM_COLUMNS = frozenset({"geodeticdatum", "horizontaldatum"})
"""Names of columns that say which datum a row is in (Darwin Core and its older form)."""

LIKE_WGS84 = re.compile(
    r"(?:(?:wgs[-_ ]?84|nad[-_ ]?83|etrs[-_ ]?89|gda[-_ ]?94)\s*\()?"
    r"(?:epsg[:\s]*)?(?:4326|4269|4258|4283|7844)\)?|(?:ogc[:\s]*)?crs84"
    r"|wgs[-_ ]?(?:19)?84|world geodetic system 1984|nad[-_ ]?(?:19)?83|north american datum 1983"
    r"|etrs[-_ ]?(?:19)?89|gda[-_ ]?(?:19)?(?:94|2020)|gps|wgs",
    re.IGNORECASE,
)
"""Datums that are within two meters of WGS 84, as people write them."""

ZONE = re.compile(r"\s*(\d{1,2})(?:\.0)?\s*[A-Za-z]*\s*")
"""A UTM zone as people write it: 33, 33N, 33 north."""

NOT_SAID = frozenset({"", "unknown", "unk", "not recorded", "unrecorded", "none", "na", "n/a"})
"""What stands in such a column where nobody knew."""


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


def datum_columns(columns: Iterable[Any]) -> tuple[Any, ...]:
    """Return the labels of columns that say a geodetic datum, as in Darwin Core."""
    plain = {label: re.sub(r"^dwc:|[\W_]", "", str(label).lower()) for label in columns}
    return tuple(label for label, word in plain.items() if word in DATUM_COLUMNS)


def datum_notes(frame: Any, columns: Iterable[Any]) -> list[str]:
    """Say what a column of geodetic datums leaves open; refuse datums that move places.

    Parameters
    ----------
    frame : pandas.DataFrame or mapping
        Table whose coordinates are taken for WGS 84.
    columns : iterable
        Its labels.

    Returns
    -------
    list of str
        What was assumed where the datum is not known; empty without such a column.

    Raises
    ------
    ValueError
        If a row is in a datum that is not within two meters of WGS 84, or not known here: it may
        be off by hundreds of meters.
    """
    notes = []
    for label in datum_columns(columns):
        words = pd.Series(frame[label]).astype(object)
        texts = words.map(str, na_action="ignore").fillna("").str.strip()
        unknown = texts.str.lower().isin(NOT_SAID)
        named = texts[~unknown]
        other = named[~named.map(lambda text: bool(LIKE_WGS84.fullmatch(text)))]
        if len(other):
            first = str(other.iloc[0])[:40]
            raise ValueError(
                f"column {str(label)[:40]!r} says {first!r} in {len(other):,} of {len(texts):,} "
                "rows, where places may lie hundreds of meters from the same numbers in WGS 84; "
                "split the table by datum and give each part its crs=, such as 'EPSG:4267' for "
                "NAD27, or crs='EPSG:4326' to take all numbers as they are."
            )
        if unknown.any():
            notes.append(f"{int(unknown.sum()):,} rows do not say their geodetic datum and were "
                         "taken for WGS 84")  # fmt: skip
    return notes


def check_zones(frame: Any, columns: Iterable[Any], crs: Any) -> None:
    """Refuse a table that says UTM zones, in a column, other than that of its system.

    Raises
    ------
    ValueError
        Naming the column.
    """
    if crs.utm_zone is None:
        return
    for label in columns:
        if re.sub(r"[\W_]", "", str(label).lower()) not in ("zone", "utmzone"):
            continue
        texts = pd.Series(frame[label]).dropna().map(str)
        found = [ZONE.fullmatch(text) for text in texts.unique()]
        numbers = sorted({int(match[1]) for match in found if match})
        if all(found) and set(numbers) - {int(crs.utm_zone[:-1])}:
            raise ValueError(
                f"column {str(label)[:40]!r} says UTM zone {', '.join(map(str, numbers))}, and "
                f"crs= is of zone {crs.utm_zone}; read the rows of each zone with their own crs=."
            )


def crs_name(crs: Any) -> str:
    """Name a coordinate system for people: "EPSG:4807 (NTF (Paris))"."""
    code = crs.to_authority(min_confidence=70)
    return f"{':'.join(code)} ({crs.name})" if code else str(crs.name)


def is_wgs84(crs: Any) -> bool:
    """Tell whether coordinates are longitude and latitude of WGS 84 as they are."""
    return crs.to_authority(min_confidence=100) in {("EPSG", "4326"), ("OGC", "CRS84")}


@lru_cache(maxsize=32)
def _to_wgs84(crs: Any) -> Any:
    """Make a transformer, which takes as long as reading a small file, once."""
    import pyproj

    return pyproj.Transformer.from_crs(crs, WGS84, always_xy=True)


def from_lonlat(
    lon: NDArray[np.float64], lat: NDArray[np.float64], crs: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Transform longitude and latitude of WGS 84 to a system; not finite outside of it."""
    return _to_wgs84(crs).transform(lon, lat, direction="INVERSE")


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
    lon, lat = _to_wgs84(crs).transform(x, y)
    outside = ~(np.isfinite(lon) & np.isfinite(lat))
    return np.where(outside, np.nan, lon), np.where(outside, np.nan, lat)

"""Coordinates as people type and paste them: numbers, letters, map links, WKT."""

from __future__ import annotations

import re
from urllib.parse import unquote

import numpy as np
import pandas as pd

from satclip_explore.files.angles import read_angles
from satclip_explore.geo import as_lonlat

MAX_LENGTH = 500
EXAMPLES = "Try 52.5 N, 13.4 E."
_AT = r"(-?\d{1,3}(?:\.\d+)?)"
_PAIR = rf"{_AT}\s*(?:,|~|%2C|\s)\s*{_AT}"
_LINKS = tuple(
    (re.compile(pattern, re.IGNORECASE), order)
    for pattern, order in (
        (rf"!3d{_AT}!4d{_AT}", "lat"),
        (rf"[?&]mlat={_AT}&mlon={_AT}", "lat"),
        (rf"[?&]lat(?:itude)?={_AT}&(?:lon|lng|long|longitude)={_AT}", "lat"),
        (rf"[?&](?:lon|lng|longitude)={_AT}&lat(?:itude)?={_AT}", "lon"),
        (rf"[?&]at={_PAIR}", "lon"),
        (rf"#(?:map=)?\d+(?:\.\d+)?/{_AT}/{_AT}", "lat"),
        (rf"[?&](?:q|query|ll|sll|cp|center|daddr|destination)=(?:loc:)?{_PAIR}", "lat"),
        (rf"[@/]{_PAIR}", "lat"),
        (rf"^geo:{_PAIR}", "lat"),
    )
)
"""Where addresses of map services hold a place, the most exact first, and what comes first."""
_WKT = re.compile(r"^\s*(?:SRID\s*=\s*(?P<srid>\d+)\s*;\s*)?(?:MULTI)?(?:POINT|LINESTRING|POLYGON)"
                  r"\s*(?:Z|M|ZM)?\s*\((?P<body>[-+\d.eE,()\s]+)\)\s*$", re.IGNORECASE)  # fmt: skip
_LETTERS = re.compile(r"(?<![A-Za-z])[NSEW](?![A-Za-z])", re.IGNORECASE)


def read_coordinates(text: str) -> list[tuple[float, float]]:
    """Read a place from text; where the order of two numbers is open, both readings.

    Parameters
    ----------
    text : str
        Two numbers in degrees, degrees and minutes, or degrees, minutes and seconds, with N, S, E
        or W or without; the address of a map service; a geometry in WKT, longitude first.

    Returns
    -------
    list of tuple of float
        (lon, lat) in degrees, the longitude wrapped. One reading, or two where both numbers are
        between -90 and 90 and no letter says which is which: longitude first, then latitude first.
        Of a line or polygon it is the middle of its box.

    Raises
    ------
    ValueError
        If the text is not two coordinates, or they are out of range.
    """
    text = text.strip()
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a place may have {MAX_LENGTH} characters; got {len(text):,}. {EXAMPLES}")
    if "://" in text or text.lower().startswith("geo:"):
        return [_of_link(unquote(text))]
    if (wkt := _WKT.match(text)) is not None:
        return [_of_wkt(wkt, text)]
    first, second = _halves(text)
    ways = [_read(first, second), _read(second, first)]
    found = list(dict.fromkeys(place for place in ways if place is not None))
    if not found:
        raise ValueError(f"cannot read {text!r} as two coordinates. {EXAMPLES}")
    return found


def _read(lon: str, lat: str) -> tuple[float, float] | None:
    """Read two angles, None where they cannot be these."""
    x, y = (read_angles(pd.Series([part]), axis)[0] for part, axis in ((lon, "lon"), (lat, "lat")))
    if not (np.isfinite(x) and np.isfinite(y) and abs(x) <= 360.0 and abs(y) <= 90.0):
        return None
    place = as_lonlat((x, y))[0]
    return float(place[0]), float(place[1])


def _halves(text: str) -> tuple[str, str]:
    """Split two coordinates; a comma may be a decimal sign."""
    letters = list(_LETTERS.finditer(text))
    if len(letters) == 2:
        cut = letters[1].start() if not text[: letters[0].start()].strip() else letters[0].end()
        parts = [text[:cut], text[cut:]]
    else:
        parts = next(
            (found for sign in (r";", r",\s", r"\s*/\s*", r",")
             if len(found := re.split(sign, text)) == 2),
            text.split(),
        )  # fmt: skip
    if len(parts) in (4, 6):
        middle = len(parts) // 2
        parts = [" ".join(parts[:middle]), " ".join(parts[middle:])]
    if len(parts) != 2:
        raise ValueError(f"cannot read {text!r} as two coordinates. {EXAMPLES}")
    first, second = (part.strip(" \t,;/") for part in parts)
    return first, second


def _of_link(address: str) -> tuple[float, float]:
    for pattern, order in _LINKS:
        if (found := pattern.search(address)) is not None:
            pair = found.groups() if order == "lon" else found.groups()[::-1]
            place = _read(*pair)
            if place is not None:
                return place
    raise ValueError(
        "no place is written in this link: open it, and copy the long address that the map shows."
    )


def _of_wkt(wkt: re.Match[str], text: str) -> tuple[float, float]:
    if wkt["srid"] not in (None, "4326"):
        raise ValueError(f"a geometry has to be in degrees, EPSG:4326; got EPSG:{wkt['srid']}.")
    points = [
        point.split()[:2] for point in wkt["body"].replace("(", "").replace(")", "").split(",")
    ]
    try:
        lonlat = as_lonlat([(float(x), float(y)) for x, y in points])
    except ValueError as error:
        raise ValueError(f"cannot read {text[:60]!r} as a geometry in degrees: {error}") from error
    low, high = lonlat.min(axis=0), lonlat.max(axis=0)
    middle = (low + high) / 2.0
    return float(middle[0]), float(middle[1])

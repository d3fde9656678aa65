"""Coordinates as people type them."""

from __future__ import annotations

import re

from satclip_explore.geo import as_lonlat

MAX_LENGTH = 80
_NUMBER = (
    r"(?P<sign>[-+−])?\s*(?P<degrees>\d{1,3}(?:\.\d{1,12})?)(?:\s*°)?"
    r"(?:\s*(?P<minutes>\d{1,2}(?:\.\d{1,12})?)\s*['′])?"
    r"(?:\s*(?P<seconds>\d{1,2}(?:\.\d{1,12})?)\s*(?:[\"″]|''))?"
)
_LETTER_FIRST = re.compile(r"(?P<letter>[NSEW])\s*" + _NUMBER, re.IGNORECASE)
_LETTER_LAST = re.compile(_NUMBER + r"(?:\s*(?P<letter>[NSEW]))?", re.IGNORECASE)
_BETWEEN = re.compile(r"[\s,;/]*")
EXAMPLES = "Try 13.4, 52.5 or 52.5 N, 13.4 E."


def parse_place(text: str) -> tuple[float, float]:
    """Read a place from text.

    Parameters
    ----------
    text : str
        Two numbers, longitude first ("13.4, 52.5"), or in either order with N, S, E or W
        ("52.5 N 13.4 E", "52°30'N, 13°24'E").

    Returns
    -------
    tuple of float
        (lon, lat) in degrees, the longitude wrapped.

    Raises
    ------
    ValueError
        If the text is not two coordinates, or they are out of range.
    """
    text = text.strip()
    if not text or len(text) > MAX_LENGTH:
        raise ValueError(f"type two coordinates, longitude first. {EXAMPLES}")
    pattern = _LETTER_FIRST if text[0] in "NSEWnsew" else _LETTER_LAST
    parts, position = [], 0
    while position < len(text):
        match = pattern.match(text, position)
        if match is None:
            raise ValueError(f"cannot read {text!r} as coordinates. {EXAMPLES}")
        parts.append(match)
        between = _BETWEEN.match(text, match.end())
        assert between is not None  # it matches nothing at all too
        position = between.end()
        if match.end() == position < len(text) and match["letter"] is None:
            raise ValueError(f"cannot read {text!r} as coordinates. {EXAMPLES}")
    if len(parts) != 2:
        raise ValueError(f"need two coordinates, longitude first; got {len(parts)}. {EXAMPLES}")
    values = [_degrees(part) for part in parts]
    letters = [(part["letter"] or "").upper() for part in parts]
    if any(letters):
        kinds = ["lat" if letter in "NS" else "lon" for letter in letters if letter]
        if sorted(kinds) != ["lat", "lon"]:
            raise ValueError(
                f"need one of N or S and one of E or W, or no letters at all; got {text!r}."
            )
        if kinds[0] == "lat":
            values.reverse()
    lon, lat = as_lonlat(values)[0]
    return float(lon), float(lat)


def _degrees(part: re.Match[str]) -> float:
    value = float(part["degrees"]) + float(part["minutes"] or 0) / 60
    value += float(part["seconds"] or 0) / 3600
    letter = (part["letter"] or "").upper()
    if part["sign"] in ("-", "−"):
        if letter:
            raise ValueError(f"a coordinate has a sign or a letter, not both; got {part[0]!r}.")
        return -value
    return -value if letter in ("S", "W") else value

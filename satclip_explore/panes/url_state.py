"""What a page shows, written into its address and read back key by key.

An address comes from anybody: every key is checked on its own, and one that is no good is left
out and named, in a sentence, without being repeated in full.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from satclip_explore.geo import as_lonlat

MAX_QUERY = 2_000
MAX_VALUE = 120

Reader = Callable[[str], Any]


def read_query(query: str, readers: Mapping[str, Reader]) -> tuple[dict[str, Any], list[str]]:
    """Read the part of an address after the question mark.

    Parameters
    ----------
    query : str
        With or without the leading question mark.
    readers : mapping of str to callable
        For each known key, what turns its text into a value, raising ValueError.

    Returns
    -------
    values : dict
        The keys that could be read; the first of repeated ones.
    problems : list of str
        One sentence for each key that could not. Unknown keys are passed over: links carry
        keys of others.
    """
    query = query.removeprefix("?")
    if len(query) > MAX_QUERY:
        return {}, ["The address was too long to be read; showing the start view."]
    values: dict[str, Any] = {}
    problems: list[str] = []
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key not in readers or key in values:
            continue
        try:
            if len(text) > MAX_VALUE:
                raise ValueError("too long")
            values[key] = readers[key](text)
        except (ValueError, OverflowError):
            problems.append(f"The address has a value of {key!r} that cannot be shown; left out.")
    return values, problems


def write_query(values: Mapping[str, Any]) -> str:
    """Write values as the part of an address from the question mark on."""
    return "?" + urlencode({key: str(value) for key, value in values.items()}, safe=",")


def read_place(text: str) -> tuple[float, float]:
    """Read "lon,lat" in degrees."""
    lon, lat = as_lonlat([float(part) for part in text.split(",")])[0]
    return float(lon), float(lat)


def one_of(options: Any) -> Reader:
    """Make a reader that takes only these texts."""
    allowed = list(options)

    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError("not among the options")
        return text

    return read


def number_between(low: float, high: float) -> Reader:
    """Make a reader of a number in a closed range."""

    def read(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise ValueError("out of range")
        return value

    return read


def yes_or_no(text: str) -> bool:
    """Read "1" or "0"."""
    return {"1": True, "0": False}[one_of(("1", "0"))(text)]

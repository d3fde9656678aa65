"""Degrees, minutes and seconds with hemisphere letters, a whole column at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_MARKS = {"º": "°", "˚": "°", "′": "'", "’": "'", "‘": "'", "´": "'", "″": '"', "”": '"', "“": '"'}
_MARKS |= {"−": "-", "–": "-", "\u00a0": " ", "\u202f": " ", "\u2009": " "}
_TABLE = str.maketrans(_MARKS)
_NUMBER = (
    r"\s*(?P<sign>[-+])?\s*(?P<degrees>\d{1,3}(?:[.,]\d{0,15})?)"
    r"\s*(?:°|degrees?|deg|d|:|\s)?"
    r"(?:\s*(?P<minutes>\d{1,2}(?:[.,]\d{1,15})?)\s*(?:'(?!')|minutes?|min|m|:|\s|(?=[NSEW]?\s*$)))?"
    r"(?:\s*(?P<seconds>\d{1,2}(?:[.,]\d{1,15})?)\s*(?:\"|''|seconds?|sec|s(?!\s*$)|(?=[NSEW]?\s*$)))?\s*"
)
_FIRST = re.compile(rf"\s*(?P<letter>[NSEW]){_NUMBER}", re.IGNORECASE)
_LAST = re.compile(rf"{_NUMBER}(?P<letter>[NSEW])?\s*", re.IGNORECASE)


def read_angles(texts: Iterable[str], axis: str) -> NDArray[np.float64]:
    r"""Read a column of angles as decimal degrees.

    Parameters
    ----------
    texts : iterable of str, length N
        "15°28'42.6\"E", "N 45 42.5", "-8.3611", "15:28:42.6", "8,36 W", …
    axis : {"lon", "lat"}
        Which letters are allowed: E and W, or N and S.

    Returns
    -------
    numpy.ndarray, shape (N,), float64
        Degrees; NaN for what does not read as an angle: minutes of 60 or more, a sign and a
        letter, a letter of the other axis.
    """
    positive, negative = "EW" if axis == "lon" else "NS"
    return np.array([_degrees(text, positive, negative) for text in texts], dtype=np.float64)


def _degrees(text: str, positive: str, negative: str) -> float:
    plain = text.translate(_TABLE)
    match = _LAST.fullmatch(plain) or _FIRST.fullmatch(plain)
    if match is None:
        return np.nan
    letter, minus = (match["letter"] or "").upper(), match["sign"] == "-"
    if letter not in ("", positive, negative) or (letter and minus):
        return np.nan
    parts = [match[name] for name in ("degrees", "minutes", "seconds")]
    degrees, minutes, seconds = (float((part or "0").replace(",", ".")) for part in parts)
    fraction = (parts[1] and degrees % 1) or (parts[2] and minutes % 1)
    if fraction or minutes >= 60 or seconds >= 60:
        return np.nan
    value = degrees + minutes / 60 + seconds / 3600
    return -value if minus or letter == negative else value

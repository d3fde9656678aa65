"""Degrees, minutes and seconds with hemisphere letters, a whole column at a time."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
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
_FIRST = re.compile(rf"^\s*(?P<letter>[NSEW]){_NUMBER}$", re.IGNORECASE)
_LAST = re.compile(rf"^{_NUMBER}(?P<letter>[NSEW])?\s*$", re.IGNORECASE)


def read_angles(texts: pd.Series, axis: str) -> NDArray[np.float64]:
    r"""Read a column of angles as decimal degrees.

    Parameters
    ----------
    texts : pandas.Series of str, length N
        "15°28'42.6\"E", "N 45 42.5", "-8.3611", "15:28:42.6", "8,36 W", …
    axis : {"lon", "lat"}
        Which letters are allowed: E and W, or N and S.

    Returns
    -------
    numpy.ndarray, shape (N,), float64
        Degrees; NaN for what does not read as an angle: minutes of 60 or more, a sign and a
        letter, a letter of the other axis.
    """
    plain = texts.astype(object).map(lambda text: str(text).translate(_TABLE), na_action="ignore")
    plain = plain.astype("str")
    parts = plain.str.extract(_LAST)
    other = plain.str.extract(_FIRST)
    parts = parts.where(parts["degrees"].notna(), other)
    degrees, minutes, seconds = (
        pd.to_numeric(parts[name].str.replace(",", ".", regex=False)).to_numpy(np.float64)
        for name in ("degrees", "minutes", "seconds")
    )
    fraction = (np.nan_to_num(degrees) % 1 != 0) & np.isfinite(minutes)
    fraction |= (np.nan_to_num(minutes) % 1 != 0) & np.isfinite(seconds)
    minutes, seconds = np.nan_to_num(minutes), np.nan_to_num(seconds)
    letter = parts["letter"].str.upper().fillna("").to_numpy(dtype=object)
    sign = parts["sign"].fillna("").to_numpy(dtype=object)
    allowed = ("", "E", "W") if axis == "lon" else ("", "N", "S")
    bad = (minutes >= 60) | (seconds >= 60) | fraction | ~np.isin(letter, allowed)
    bad |= (letter != "") & (sign == "-")
    value = degrees + minutes / 60 + seconds / 3600
    value = np.where((sign == "-") | np.isin(letter, ("W", "S")), -value, value)
    return np.where(bad, np.nan, value)

"""What stands in other columns of a coordinate: minutes, seconds, hemisphere; and its unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satclip_explore.files.columns import LAT_WORDS, LON_WORDS, shown, word_set, words_of
from satclip_explore.files.values import as_plain_numbers, plain_text

AXIS_WORDS = {"lon": LON_WORDS, "lat": LAT_WORDS}
DEGREES = word_set("d deg degs degree degrees dd")
SIXTIETHS = {
    "minutes": word_set("m min mins minute minutes"),
    "seconds": word_set("s sec secs second seconds"),
}
MOST = word_set("max maximum")
RADIANS = word_set("rad rads radian radians")
GONS = word_set("gon gons grads gradian gradians grades")
LETTERS = {"lon": {"E": 1.0, "W": -1.0}, "lat": {"N": 1.0, "S": -1.0}}
SIDES = {"EAST": "E", "WEST": "W", "NORTH": "N", "SOUTH": "S"}
CALLED = {"lon": word_set("ew eastwest eorw"), "lat": word_set("ns northsouth nors hemisphere")}
"""Names of a column of hemispheres that do not repeat the name of the axis."""

CALLED_BESIDE = word_set("dir direction hemi hemisphere ref quadrant cardinal sign letter column")
"""Names that say so to the right of a coordinate; "column" is what a column without a name gets."""

LIMIT = {"lon": 2.0 * np.pi, "lat": np.pi / 2.0}


def complete(
    frame: Any, columns: list[Any], label: Any, axis: str, degrees: NDArray[np.float64], unit: str
) -> tuple[NDArray[np.float64], tuple[Any, ...], list[str]]:
    """Join a coordinate with the columns that belong to it.

    Parameters
    ----------
    frame : mapping of columns
    columns : list
        Their labels, in order.
    label : object
        Column of the coordinate.
    axis : {"lon", "lat"}
    degrees : numpy.ndarray, shape (N,), float64
        What that column holds.
    unit : str
        That stood beside its name.

    Returns
    -------
    values : numpy.ndarray, shape (N,), float64
        Degrees; NaN where a part is missing.
    used : tuple
        Labels of the other columns.
    notes : list of str

    Raises
    ------
    ValueError
        If the parts contradict one another.
    """
    if RADIANS & {*words_of(label), *words_of(unit)}:
        return _from_radians(degrees, label, axis), (), [f"{shown(label)} is in radians"]
    if GONS & {*words_of(label), *words_of(unit)}:
        raise ValueError(
            f"column {shown(label)!r} is in gons, of which 400 make a circle, from Greenwich or "
            "from Paris: say crs='EPSG:4807' for those of NTF (Paris), or multiply by 0.9 and "
            "rename it."
        )
    values, used, notes = degrees, [], []
    counts = Counter(columns)
    others = [other for other, times in counts.items() if other != label and times == 1]
    parts = _sixtieths(frame, others, label, axis, degrees)
    if parts:
        share = sum(part / 60.0**power for power, (_, part) in enumerate(parts, start=1))
        # "-0" loses its sign among whole numbers.
        minus = [cell.startswith("-") for cell in plain_text(pd.Series(frame[label]))]
        values = degrees + np.where(minus, -share, share)
        used += [other for other, _ in parts]
        notes.append(f"{', '.join(shown(name) for name in (label, *used))} were put together")
    sides = _hemispheres(frame, others, columns, label, axis)
    if sides is not None:
        other, signs = sides
        values = _signed(values, signs, label, other)
        used.append(other)
        notes.append(f"{shown(other)} says the hemisphere of {shown(label)}")
    return values, tuple(used), notes


def _from_radians(values: NDArray[np.float64], label: Any, axis: str) -> NDArray[np.float64]:
    largest = np.nanmax(np.abs(values), initial=0.0)
    if largest > LIMIT[axis] + 1e-6:
        raise ValueError(
            f"column {shown(label)!r} says radians and reaches {largest:g}; rename it to {axis} if "
            "it holds degrees."
        )
    return np.degrees(values)


def _sixtieths(
    frame: Any, others: Iterable[Any], label: Any, axis: str, degrees: NDArray[np.float64]
) -> list[tuple[Any, NDArray[np.float64]]]:
    """Find the columns of minutes and seconds that go with whole degrees."""
    known = degrees[np.isfinite(degrees)]
    if not len(known) or (known != np.round(known)).any():
        return []
    stem = {*words_of(label)} - DEGREES
    if any({*words_of(other)} & MOST and {*words_of(other)} - MOST == stem for other in others):
        return []  # of a box: "min" is no minute
    found: list[tuple[Any, NDArray[np.float64]]] = []
    for words in SIXTIETHS.values():
        for other in others:
            named = {*words_of(other)}
            if not (named & words and named - words == stem and stem & AXIS_WORDS[axis]):
                continue
            numbers = _numbers(frame[other])
            known = numbers[np.isfinite(numbers)]
            if len(known) and (known >= 0.0).all() and (known < 60.0).all():
                found.append((other, numbers))
                break
        else:
            break
    return found


def _numbers(column: Any) -> NDArray[np.float64]:
    series = pd.Series(column)
    if pd.api.types.is_numeric_dtype(series):
        return series.to_numpy(np.float64, na_value=np.nan)
    text = [cell.replace(",", ".") for cell in plain_text(series)]
    return as_plain_numbers(np.array(text, dtype=object))[0]


def _hemispheres(
    frame: Any, others: Iterable[Any], columns: list[Any], label: Any, axis: str
) -> tuple[Any, NDArray[np.float64]] | None:
    """Find a column of N and S, or of E and W, that goes with a coordinate: its signs, (N,)."""
    at = columns.index(label) + 1
    for other in others:
        beside = other in columns[at : at + 1]
        if pd.api.types.is_numeric_dtype(frame[other]) or not _may_say_sides(other, axis, beside):
            continue
        text = [cell.upper() for cell in plain_text(pd.Series(frame[other]))]
        letters = [SIDES.get(cell, cell) for cell in text]
        signs = np.array([LETTERS[axis].get(letter, np.nan) for letter in letters])
        filled = np.array([cell != "" for cell in text])
        if filled.any() and np.isfinite(signs[filled]).mean() > 0.9:
            return other, signs
    return None


def _may_say_sides(other: Any, axis: str, beside: bool) -> bool:
    words = words_of(other)
    if {*words} & AXIS_WORDS[axis] or "".join(words) in CALLED[axis]:
        return True
    return beside and bool({word.rstrip("0123456789") for word in words} & CALLED_BESIDE)


def _signed(
    values: NDArray[np.float64], signs: NDArray[np.float64], label: Any, other: Any
) -> NDArray[np.float64]:
    minus = values < 0.0
    if not minus.any():
        return values * signs
    if (minus & (signs > 0.0)).any() or ((values > 0.0) & (signs < 0.0)).any():
        raise ValueError(
            f"column {shown(label)!r} has minus signs and {shown(other)!r} other hemispheres; "
            "remove one of the two."
        )
    return np.where(np.isfinite(signs), values, np.nan)

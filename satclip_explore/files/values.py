"""Columns of text as numbers: decimal commas, thousands, units, missing and censored values."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satclip_explore.files.columns import shown, word_set

MISSING_WORDS = word_set(
    """
    na n/a n.a. n.a #n/a <na> nan null none nil nd n.d. - -- --- – — . .. ... … ?
    #value! #div/0! #ref! #num! #null! #name? missing nodata no_data \\n
    """
)
"""What stands for a missing value in a column of numbers; in a column of text they are text."""

Text = NDArray[np.object_]
"""A column of text, shape (N,), without the space around it; what is missing is empty.

Plain Python strings: on the few rows of most files, pandas' string methods take ten times as long.
"""

_SIGN = r"[-+]?"
_EXP = r"(?:[eE][-+]?\d+)?"
COMMA = re.compile(rf"{_SIGN}(?:\d*,(?:\d{{1,2}}|\d{{4,}})|0\d*,\d{{3}}|\d{{4,}},\d{{3}}){_EXP}"
                   rf"|{_SIGN}\d{{1,3}}(?:\.\d{{3}})+,\d+"
                   rf"|{_SIGN}\d{{1,3}}(?:\.\d{{3}}){{2,}}")  # fmt: skip
POINT = re.compile(rf"{_SIGN}(?:\d*\.(?:\d{{1,2}}|\d{{4,}})|0\d*\.\d{{3}}|\d{{4,}}\.\d{{3}}){_EXP}"
                   rf"|{_SIGN}\d{{1,3}}(?:,\d{{2,3}})*(?:,\d{{3}})+\.\d*"
                   rf"|{_SIGN}\d{{1,3}}(?:,\d{{2,3}})+,\d{{3}}")  # fmt: skip
EITHER_COMMA = re.compile(rf"{_SIGN}[1-9]\d{{0,2}},\d{{3}}")
EITHER_POINT = re.compile(rf"{_SIGN}[1-9]\d{{0,2}}\.\d{{3}}")
EITHER = re.compile(rf"{EITHER_COMMA.pattern}|{EITHER_POINT.pattern}")
GROUPED = {
    ".": re.compile(rf"{_SIGN}(?:\d{{1,3}}(?:,\d{{2,3}})*,\d{{3}}|\d{{1,3}}(?:[ '’]\d{{3}})+|\d+)?"
                    rf"(?:\.\d*)?{_EXP}"),
    ",": re.compile(rf"{_SIGN}(?:\d{{1,3}}(?:\.\d{{3}})+|\d{{1,3}}(?:[ '’]\d{{3}})+|\d+)?"
                    rf"(?:,\d*)?{_EXP}"),
}  # fmt: skip
FRACTION = re.compile(r"[.eE]")
CODE = re.compile(r"[-+]?0\d+")
CENSORED = re.compile(r"[<>≤≥]=?\s*[-+]?\d+(?:[.,]\d+)?")
UNITS = re.compile(
    r"(?P<before>[$€£¥])?\s*(?P<number>[-+]?\d[\d.,'’ ]*+(?:[eE][-+]?\d+)?)\s*"
    r"(?P<after>%|‰|°C|°F|°|mm|cm|km|m|kg|mg|g|t|ha|t/ha|Mg/ha|kg/ha|ppm|ppb|hPa|€)?"
)
_BARE = {
    ".": str.maketrans("", "", " '’,"),
    ",": str.maketrans(",", ".", " '’."),
}  # what makes a number of one sign and the other as grouping plain
_PLAIN = str.maketrans(
    {"\u00a0": " ", "\u202f": " ", "\u2009": " ", "−": "-", "\u066b": ".", "\u066c": ","}
)
"""Spaces and signs as computers write them; the last two are Arabic, of decimals and thousands."""

_DASH = re.compile(r"[–—](?=\s?[\d.,])")
"""A dash that word processors make of a minus sign."""


@dataclass(frozen=True)
class Column:
    """A column as it was understood.

    Parameters
    ----------
    values : pandas.Series, length N
        Numbers with NaN for missing ones, or the text as it was.
    notes : tuple of str
        What was assumed or left out, each a sentence without its full stop.
    odd : mapping of str to int
        Texts among the numbers that are neither: the column stays text because of them.
    unit : str
        That stood beside every number.
    decimal : str
        The decimal sign that was used, where one was needed.
    """

    values: pd.Series
    notes: tuple[str, ...] = ()
    odd: Mapping[str, int] = field(default_factory=dict)
    unit: str = ""
    decimal: str = ""


def plain_text(column: pd.Series) -> Text:
    """Return a column as text; what is no text is written out."""
    values = np.asarray(column, dtype=object)
    return _as_text_array(
        "" if gone else _stripped(str(value))
        for value, gone in zip(values, pd.isna(values), strict=True)
    )


def _stripped(text: str) -> str:
    if text.isascii():
        return text.strip()
    plain = text.translate(_PLAIN).strip()
    plain = "-" + plain[1:] if _DASH.match(plain) else plain
    if plain.isascii():
        return plain
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in plain)


def _as_text_array(texts: Iterable[str]) -> Text:
    listed = list(texts)
    result = np.empty(len(listed), dtype=object)
    result[:] = listed
    return result


def matching(text: Text, pattern: re.Pattern[str]) -> NDArray[np.bool_]:
    """Tell which texts match as a whole, shape (N,)."""
    return np.array([pattern.fullmatch(cell) is not None for cell in text], dtype=bool)


def any_matches(text: Iterable[str], pattern: re.Pattern[str]) -> bool:
    """Tell whether one text matches as a whole."""
    return any(pattern.fullmatch(cell) for cell in text)


def as_plain_numbers(text: Text) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Read what a computer wrote; returns values and which entries did not read."""
    numbers = np.asarray(pd.to_numeric(text, errors="coerce"), dtype=np.float64)
    # "nan" and "inf" read as numbers, and are words here.
    return numbers, ~np.isfinite(numbers) & (text != "")


def decimal_evidence(text: Text) -> str:
    """Say which decimal signs a column shows.

    Returns
    -------
    str
        "," and "." beyond doubt; "c" and "p" where commas or points may be decimal signs or stand
        between thousands. Empty for whole numbers and text.
    """
    odd = text[as_plain_numbers(text)[1]]
    amounts = [(cell, UNITS.search(cell)) for cell in odd]
    rest = [match["number"].strip() if match else cell for cell, match in amounts]
    found = "," if any_matches(rest, COMMA) else ""
    dotted = [cell for cell in text if "." in cell]
    found += "." if any_matches(dotted, POINT) or any_matches(rest, POINT) else ""
    found += "c" if any_matches(rest, EITHER_COMMA) else ""
    return found + ("p" if any_matches(dotted, EITHER_POINT) else "")


def read_column(
    name: object,
    column: pd.Series,
    *,
    decimal: str | None,
    file_decimal: str = "",
    missing: Collection[str] = (),
) -> Column:
    """Read a column of text as numbers where all of it is numbers.

    Parameters
    ----------
    name : object
        Label, for sentences.
    column : pandas.Series of str, length N
        As in the file.
    decimal : {".", ","} or None
        Said by the user; None looks at the evidence.
    file_decimal : str
        The signs that other columns of the file show; see `decimal_evidence`.
    missing : collection of str
        Texts that stand for a missing value, beside the empty field.
    """
    text = plain_text(column)
    if missing:
        said = {str(code).strip() for code in missing}
        text = _as_text_array("" if value in said else value for value in text)
    blank = text == ""
    numbers, odd = as_plain_numbers(text)
    if blank.all():
        return Column(pd.Series(np.full(len(text), np.nan), index=column.index))
    sample = text[~blank][:50]
    if any_matches(sample, CODE) or (not odd.any() and any_matches(text, CODE)):
        return Column(
            _with_gaps(column, blank), ("leading zeros kept: read as codes, not numbers",)
        )
    words = odd.copy()
    words[odd] = [cell.casefold() in MISSING_WORDS for cell in text[odd]]
    odd &= ~words
    digits = any(char.isdecimal() for cell in sample for char in cell)
    if (odd.any() and not digits) or (blank | words).all():
        return _as_text(name, column, text, blank, words)
    notes: list[str] = []
    unit = ""
    sign = decimal or ""
    if odd.any() or decimal == "," or {*",c"} & {*file_decimal}:
        rest, unit = _without_unit(np.where(words, "", text))
        if not sign:
            sign, note = _choose_sign(rest, file_decimal)
            notes += [note] if note else []
        if sign:
            numbers, odd = _with_sign(rest, sign)
        elif not odd.any():
            odd = matching(text, EITHER)
    if odd.any():
        return _with_odd(name, column, text, blank, words, odd, notes)
    if words.any():
        seen = sorted(set(text[words]))[:3]
        notes.append(f"{', '.join(map(repr, seen))} counted as missing in {words.sum():,} rows")
    if unit:
        notes.append(f"the unit {unit!r} beside each number was taken off")
    numbers = np.where(blank | words, np.nan, numbers)
    whole = bool((np.abs(numbers) < 2**53).all() and (numbers == np.round(numbers)).all())
    if whole and not any(map(FRACTION.search, text)):
        numbers = numbers.astype(np.int64)
    values = pd.Series(numbers, index=column.index)
    return Column(values, tuple(notes), unit=unit, decimal=sign)


def _with_gaps(column: pd.Series, blank: NDArray[np.bool_]) -> pd.Series:
    return column.where(~blank, None) if blank.any() else column


def _without_unit(text: Text) -> tuple[Text, str]:
    """Take off a unit that stands beside every number, the same one everywhere."""
    found = [UNITS.fullmatch(cell) for cell in text if cell]
    units = {f"{match['before'] or ''}{match['after'] or ''}" if match else "" for match in found}
    if len(units) != 1 or "" in units:
        return text, ""
    numbers = iter(match["number"].strip() for match in found if match)
    return _as_text_array(next(numbers) if cell else "" for cell in text), units.pop()


def _choose_sign(text: Text, file_decimal: str) -> tuple[str, str]:
    """Choose the decimal sign of one column; an empty one says that it cannot be told."""
    evidence = decimal_evidence(text)
    commas, either = "c" in evidence, {*"cp"} & {*evidence}
    if "," in evidence and "." in evidence:
        return ("", "") if either else ("both", "decimal points and commas both occur")
    if "," in evidence:
        return ",", "decimal commas"
    if "." in evidence or not either:
        return ".", ""
    theirs = file_decimal.replace("c", "").replace("p", "")
    if not commas and ("." in theirs or ("c" not in file_decimal and not theirs)):
        return ".", ""
    if len(theirs) != 1:
        return "", ""
    if commas == (theirs == ","):
        return theirs, "decimal commas, as in other columns" if commas else ""
    mark = "commas" if commas else "points"
    return theirs, f"{mark} between thousands, as other columns use {theirs!r} for decimals"


def _with_sign(text: Text, sign: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Read numbers with one decimal sign (or each by its own, "both") and the other as grouping."""
    if sign == "both":
        commas, points = _with_sign(text, ","), _with_sign(text, ".")
        is_comma = matching(text, COMMA)
        return np.where(is_comma, commas[0], points[0]), np.where(is_comma, commas[1], points[1])
    pattern, table = GROUPED[sign], _BARE[sign]
    return as_plain_numbers(
        _as_text_array(cell.translate(table) if pattern.fullmatch(cell) else "x" for cell in text)
    )


def _as_text(
    name: object,
    column: pd.Series,
    text: Text,
    blank: NDArray[np.bool_],
    words: NDArray[np.bool_],
) -> Column:
    notes = []
    if words.any():
        word = text[words][0]
        count = int((text == word).sum())
        notes.append(f"{word!r} is a value of {shown(name)} ({count:,} rows); missing=[{word!r}] "
                     "leaves them out")  # fmt: skip
    spellings: dict[str, str] = {}
    for value in dict.fromkeys(text[~blank]):
        first = spellings.setdefault(value.casefold(), value)
        if first != value:
            notes.append(f"{shown(first)!r} and {shown(value)!r} differ by case alone")
            break
    return Column(_with_gaps(column, blank), tuple(notes))


def _with_odd(
    name: object,
    column: pd.Series,
    text: Text,
    blank: NDArray[np.bool_],
    words: NDArray[np.bool_],
    odd: NDArray[np.bool_],
    notes: list[str],
) -> Column:
    """Keep a column of text; where most of it is numbers, remember what is not."""
    if (~(odd | blank | words)).sum() < odd.sum():
        either = matching(text[odd], EITHER)
        if either.mean() <= 0.5:
            return _as_text(name, column, text, blank, words)
    counts = Counter(text[odd].tolist())
    return Column(_with_gaps(column, blank), tuple(notes), dict(counts.most_common()))


def odd_values(name: object, column: Column) -> str:
    """Say what keeps a column from being numbers, and the ways on."""
    first, total = next(iter(column.odd)), sum(column.odd.values())
    label = shown(name)
    if EITHER.fullmatch(first):
        plain = first.replace(",", ".")
        return (
            f"{first!r} in column {label!r} may be {plain.replace('.', '')} or {plain}: say "
            "decimal='.' or decimal=','."
        )
    if CENSORED.fullmatch(first):
        return (
            f"column {label!r} holds {first!r} ({total:,} values below or above a limit): "
            f"censored='missing' leaves these rows out, censored='limit' takes the limit itself."
        )
    return (
        f"column {label!r} holds numbers and {total:,} texts such as {shown(first)!r}: "
        f"missing=[{shown(first)!r}] leaves these rows out, kind='classification' takes every "
        "value as a class."
    )


def without_censoring(column: pd.Series, how: str) -> pd.Series:
    """Replace "<0.5" by nothing (how="missing") or by 0.5 (how="limit")."""
    text = plain_text(column)
    limits = ("" if how == "missing" else value.lstrip("<>≤≥= ") for value in text)
    plain = [limit if CENSORED.fullmatch(value) else value
             for value, limit in zip(text, limits, strict=True)]  # fmt: skip
    return pd.Series(plain, index=column.index, dtype="str")

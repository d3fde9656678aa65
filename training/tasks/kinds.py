"""Whether a column holds classes or quantities, told by evidence or asked."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from satclip_explore.files.columns import shown
from satclip_explore.files.values import UNITS
from satclip_explore.geo import place_codes, unit_vectors
from training.tasks.task import COUNTS, Task

AMOUNT = re.compile(rf"(?:{UNITS.pattern}|[$€£¥]?\s*[-+]?\d[\d.,]*\s*(?:[kKMB]|bn|mio|mrd))")
"""A number with a unit, or in thousands, millions or billions."""

NUMERAL = re.compile(r"[-+]?\d+(?:[.,]\d+)?(?:[eE][-+]?\d+)?")
MANY_ALIKE = 10
"""So many texts that differ in their numbers alone are no names of classes."""

MEASURE = re.compile(r"[-+]?0(?: [a-zA-Zµ°]{1,3}|[a-zA-Zµ]{2,3})(?:/[a-zA-Z]{1,3}\d?)?")
"""A number, written 0, with a short word behind it as units have: "0 mi" and no "0 stars"."""

MAX_CODES = 256
"""Whole numbers with more different values than this are quantities."""


FAR = 1000.0
"""A label this many times as far from the median as 90 % of all are wide is said to be odd."""


def doubtful_labels(task: Task) -> list[str]:
    """Say what among the labels may be a mistake, in sentences: scores would not tell."""
    said = []
    if not task.is_classification:
        low, middle, high = np.quantile(task.target, (0.05, 0.5, 0.95))
        away = np.abs(task.target - middle)
        far = away > FAR * (high - low)
        if high > low and far.any():
            said.append(
                f"{far.sum():,} of {len(task):,} labels are far from all others, as "
                f"{task.target[away.argmax()]:g} is: leave them out if they are mistakes, or stand "
                "for no data."
            )
    places = place_codes(unit_vectors(task.lonlat))
    pairs = pd.DataFrame({"place": places, "label": task.target}).drop_duplicates()
    differ = int((pairs["place"].value_counts() > 1).sum())
    if differ:
        said.append(f"{differ:,} places have several labels: no prediction is right for all.")
    return said


SAME = 1.0 - 1e-6
"""A covariate whose correlation with the target is above this, of either sign, is a copy."""


def refuse_copies(task: Task) -> None:
    """Refuse a covariate that is the target again, as it is or in other units."""
    if task.image_features is None or task.is_classification:
        return
    for name, values in zip(task.covariates, task.image_features.T, strict=True):
        known = np.isfinite(values)
        values, target = values[known].astype(np.float64), task.target[known]
        if len(target) < 3 or values.std() == 0.0 or target.std() == 0.0:
            continue
        alike = float(np.corrcoef(values, target)[0, 1])
        if abs(alike) > SAME:
            raise ValueError(
                f"covariate {shown(name)!r} is the target again (correlation {alike:.6f}); leave "
                "it out."
            )


def _refuse_amounts(texts: pd.Series, name: object) -> None:
    """Refuse a column of amounts in several units: they are no classes."""
    different = texts.astype(str).str.strip().unique()
    plain = pd.to_numeric(pd.Series(different), errors="coerce").notna()
    amounts = [
        text for text, bare in zip(different, plain, strict=True)
        if not bare and AMOUNT.fullmatch(text)
    ]  # fmt: skip
    if amounts and len(amounts) > 0.9 * len(different):
        raise ValueError(
            f"column {shown(name)!r} holds amounts in several units such as "
            f"{' and '.join(map(repr, amounts[:2]))}: bring them to one unit, or say "
            "kind='classification'."
        )


def _no_number(name: object, texts: pd.Series) -> str:
    example = " and ".join(repr(str(text)[:40]) for text in texts.unique()[:2])
    return (
        f"column {shown(name)!r} holds {example}, which are no numbers: write the numbers alone, "
        "such as days or years since a date, or say kind='classification'."
    )


def refuse_times(values: pd.Series, name: object) -> None:
    """Refuse dates and durations, which would count as nanoseconds, and complex numbers."""
    if values.dtype.kind in "mMc":
        raise ValueError(_no_number(name, values.dropna()))


def _refuse_wrapped_numbers(texts: pd.Series, name: object) -> None:
    """Refuse many dates, times, or numbers with a text behind them, all written alike."""
    different = pd.Series(texts.astype(str).str.strip().unique())
    forms = different.str.replace(NUMERAL, "0", regex=True).unique()
    few = len(different) > 1 and len(forms) == 1 and MEASURE.fullmatch(forms[0])
    many = len(different) >= MANY_ALIKE and len(forms) == 1 and re.match(r"[(~≈<>]*0.", forms[0])
    if few or many:
        raise ValueError(_no_number(name, different))


def infer_kind(values: pd.Series, name: object = "target") -> str:
    """Tell whether a column holds classes or quantities, by evidence alone.

    Text, booleans, codes with leading zeros, and numbers of two values are classes; numbers with
    fractions, and whole ones that hardly repeat, are quantities.

    Raises
    ------
    ValueError
        If whole numbers repeat: codes, counts and ranks all look like that.
    """
    known = values.dropna()
    refuse_times(known, name)
    if not pd.api.types.is_numeric_dtype(known) or pd.api.types.is_bool_dtype(known):
        numbers = pd.to_numeric(known, errors="coerce")
        _refuse_wrapped_numbers(known, name)
        _refuse_amounts(known, name)
        # "01001" is a code: as a number it would lose its zero.
        if known.astype(str).str.fullmatch(r"0\d+").any():
            return "classification"
        if pd.api.types.is_bool_dtype(known) or not len(known) or numbers.isna().any():
            return "classification"
        known = numbers
    different = known.nunique()
    if not (known == known.round()).all():
        return "regression"
    if different <= 2:
        return "classification"
    if different > MAX_CODES or different > 0.5 * len(known):
        return "regression"
    example = ", ".join(f"{code:g}" for code in sorted(known.unique())[:3])
    kinds = ["classification", "regression", *([COUNTS] if known.min() >= 0 else [])]
    raise ValueError(
        f"column {shown(name)!r} holds {different} different whole numbers ({example}, …), which "
        "may be codes of classes, quantities or counts: say "
        f"{' or '.join(f'kind={kind!r}' for kind in kinds)}."
    )

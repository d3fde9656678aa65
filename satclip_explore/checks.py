"""Arguments as people pass them: numbers, whole numbers, and keywords that do not exist."""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")


def real_number(value: Any, name: str) -> float:
    """Check that a setting is one finite number and return it as a float.

    Raises
    ------
    TypeError
        If it is no int or float of Python or NumPy; booleans, text, dates, `Decimal` and
        `Fraction` are none.
    ValueError
        If it is not finite.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number; got {value!r:.60} ({type(value).__name__}).")
    # The ends of float64 do not fit into a NumPy float32, nor a huge int into a float.
    value = float(value) if isinstance(value, np.floating) else value
    if not -sys.float_info.max <= value <= sys.float_info.max:
        raise ValueError(f"{name} must be finite; got {'nan' if value != value else 'infinity'}.")
    return float(value)


def whole_number(value: Any, name: str, low: int, high: int) -> int:
    """Check that a setting is a whole number from `low` to `high` and return it as an int.

    Raises
    ------
    TypeError
        If it is no int of Python or NumPy.
    ValueError
        If it is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(
            f"{name} must be a whole number; got {value!r:.60} ({type(value).__name__})."
        )
    if value < low:
        raise ValueError(f"{name} must be at least {low:,}; got {max(value, -(10**30)):,}.")
    if value > high:
        # Digits of a huge int would fill the sentence, or pass the limit of Python itself.
        got = f"{value:,}" if value < 10**30 else "a number of more than 30 digits"
        raise ValueError(f"{name} may be at most {high:,}; got {got}.")
    return int(value)


def closest(name: str, known: Iterable[str]) -> str:
    """Say which known name was probably meant: " Did you mean …?", or nothing."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {found[0]}?" if found else ""


def known_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """Refuse a keyword that a function does not take with a sentence that names the closest.

    Examples
    --------
    >>> known_keywords(lambda resolution: None)(resoluton=1.0)
    Traceback (most recent call last):
        ...
    TypeError: <lambda>() takes no argument 'resoluton'. Did you mean resolution?
    """
    names = inspect.signature(function).parameters

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in kwargs.keys() - names.keys():
            raise TypeError(
                f"{function.__name__}() takes no argument {name!r}."
                f"{closest(name, names) or ' It takes ' + ', '.join(names) + '.'}"
            )
        return function(*args, **kwargs)

    return checked

"""Labels as a file: lon, lat and label, read from whatever somebody drops."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd

from satclip_explore.geo import as_lonlat

MAX_LABELS = 500
MAX_NAME = 40
MAX_BYTES = 1_000_000


def checked_name(text: Any) -> str:
    """Return a class name without what surrounds it.

    Raises
    ------
    ValueError
        If nothing is left, it is too long, or a character in it cannot be seen.
    """
    name = str(text).strip()
    if not name:
        raise ValueError("a class needs a name.")
    if len(name) > MAX_NAME:
        raise ValueError(f"a class name may have {MAX_NAME} characters; got {len(name)}.")
    if not name.isprintable():
        raise ValueError("a class name may hold printable characters only.")
    return name


def read_labels(content: bytes) -> list[tuple[float, float, str]]:
    """Read a CSV file with the columns lon, lat and label.

    Parameters
    ----------
    content : bytes
        UTF-8; lines that begin with # are left out.

    Returns
    -------
    list of (float, float, str)
        Degrees, and the name of the class.

    Raises
    ------
    ValueError
        If the file is too large, does not read as such a table, or holds a row without a label.
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"a file of labels may have 1 MB; got {len(content) / 1e6:,.0f} MB.")
    try:
        frame = pd.read_csv(
            io.BytesIO(content), comment="#", nrows=MAX_LABELS + 1,
            # A class may be called NA.
            dtype={"label": str}, keep_default_na=False,
        )  # fmt: skip
    except UnicodeDecodeError as error:
        raise ValueError(f"the file is not UTF-8 text (byte {error.start:,}).") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(" ".join(str(error).split())[:200]) from error
    if "label" not in frame:
        raise ValueError("a file of labels needs the columns lon, lat and label.")
    if len(frame) > MAX_LABELS:
        raise ValueError(f"a file of labels may have {MAX_LABELS} rows.")
    if not len(frame):
        raise ValueError("the file holds no labels.")
    places, rows = as_lonlat(frame[[name for name in frame if name != "label"]]), []
    for number, ((lon, lat), text) in enumerate(zip(places, frame["label"], strict=True)):
        try:
            rows.append((float(lon), float(lat), checked_name(text)))
        except ValueError as error:
            raise ValueError(f"row {number}: {error}") from error
    return rows

"""What passes between the stages of reading: a table before it is known what its columns mean."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MAX_BYTES = 100_000_000
"""Largest file that is read as a whole."""

MAX_UNPACKED = 300_000_000
"""Largest content of an archive, unpacked."""

MAX_ROWS = 5_000_000
"""Largest table, or number of grid cells, that is read."""

MAX_COLUMNS = 10_000
"""Widest table that is read."""


@dataclass(frozen=True)
class ReadOptions:
    """What a user has said about a file; each replaces a guess. See `read_places`."""

    lon: Any = None
    lat: Any = None
    crs: Any = None
    order: str | None = None
    decimal: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    member: str | None = None
    layer: str | None = None
    columns: Collection[Any] = ()
    bad_lines: str = "refuse"


@dataclass(frozen=True)
class RawTable:
    """Rows as a format holds them.

    Parameters
    ----------
    frame : pandas.DataFrame or geopandas.GeoDataFrame
        Columns of text (from text files) or of values.
    format : str
        For people, as "CSV".
    lines : numpy.ndarray, shape (N,), int64
        Where each row is: line of the file, row of the sheet or number of the feature, from 1.
    counted_in : {"line", "row", "feature", "cell"}
        What `lines` counts.
    notes : tuple of str
        What was assumed.
    left_out : dict of str to (int, int)
        Rows that never became rows: how many, and the first line, by reason.
    units : dict of str to str
        By column.
    encoding, delimiter : str
        Of text files.
    grid : xarray.Dataset, optional
        Of which the rows are the cells, in order.
    """

    frame: Any
    format: str
    lines: NDArray[np.int64]
    counted_in: str = "row"
    notes: tuple[str, ...] = ()
    left_out: dict[str, tuple[int, int]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    encoding: str = ""
    delimiter: str = ""
    grid: Any = None


def numbered(frame: pd.DataFrame, format: str, counted_in: str = "row", **facts: Any) -> RawTable:
    """Make a raw table whose rows are numbered from 1."""
    return RawTable(frame, format, np.arange(1, len(frame) + 1), counted_in, **facts)

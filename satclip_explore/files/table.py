"""A table as a file: CSV and GeoParquet content with provenance inside."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satclip_explore.files.atomic import write_whole
from satclip_explore.geo import as_lonlat
from satclip_explore.provenance import clean_facts, provenance

FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠]")
"""What a spreadsheet takes for the start of a formula (OWASP, "CSV Injection")."""


def csv_bytes(frame: pd.DataFrame, facts: Mapping[str, Any] | None = None) -> bytes:
    """Encode a table as CSV whose first lines, after "# ", say where it comes from.

    Parameters
    ----------
    frame : pandas.DataFrame
        Any table; the index is left out.
    facts : mapping, optional
        Provenance, e.g. ``provenance(encoder)``; joins what is in `frame.attrs`.

    Returns
    -------
    bytes
        UTF-8; read it with ``pandas.read_csv(path, comment="#")``. Text that a spreadsheet would
        run as a formula gets an apostrophe in front.
    """
    safe = frame.rename(columns=_no_formula)
    for position, dtype in enumerate(frame.dtypes):
        if not pd.api.types.is_numeric_dtype(dtype):
            safe.isetitem(position, frame.iloc[:, position].map(_no_formula, na_action="ignore"))
    said = _table_facts(frame, facts)
    defused = sum(map(_is_formula, frame.columns)) + sum(
        _is_formula(value)
        for position, dtype in enumerate(frame.dtypes)
        if not pd.api.types.is_numeric_dtype(dtype)
        for value in frame.iloc[:, position]
    )
    if defused:
        said["formulas_defused"] = f"{defused} (an apostrophe stands before each)"
    lines = "".join(f"# {key}: {' '.join(value.split())}\n" for key, value in said.items())
    # Quotes keep a "#" inside a cell from starting a comment.
    table = safe.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    return (lines + table).encode()


def geoparquet_bytes(frame: pd.DataFrame, facts: Mapping[str, Any] | None = None) -> bytes:
    """Encode a table of places as GeoParquet 1.1 with its provenance in the file's metadata.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns lon and lat, or others that `geo.as_lonlat` knows, or point geometry.
    facts : mapping, optional
        Provenance, as in `csv_bytes`; kept as JSON under the key "satclip_explore".

    Returns
    -------
    bytes
        The columns of the table and `geometry`, points in longitude and latitude (OGC:CRS84).

    Raises
    ------
    ValueError
        If there are no valid coordinates or a column mixes types.
    ImportError
        If pyarrow is not installed.

    References
    ----------
    GeoParquet 1.1.0, https://geoparquet.org/releases/v1.1.0/
    """
    lonlat, facts = as_lonlat(frame), _table_facts(frame, facts)
    if hasattr(frame, "crs") and hasattr(frame, "geometry"):
        frame = pd.DataFrame(frame.drop(columns=frame.geometry.name))
    if "geometry" in frame.columns:
        raise ValueError("the table has a column geometry already; rename it first.")
    # Attributes of any type would be written a second time, or could not be.
    frame = frame.copy(deep=False)
    frame.attrs = {}
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError("GeoParquet needs pyarrow: pip install 'satclip-explore[geo]'") from error
    try:
        table = arrow.Table.from_pandas(frame, preserve_index=False)
    except (arrow.ArrowInvalid, arrow.ArrowTypeError, ValueError) as error:
        raise ValueError(f"a column does not hold values of one type: {error.args[0]}") from error
    table = table.append_column("geometry", arrow.array(_well_known_points(lonlat), arrow.binary()))
    column: dict[str, Any] = {"encoding": "WKB", "geometry_types": ["Point"]}
    if len(lonlat):
        column["bbox"] = [*lonlat.min(axis=0).tolist(), *lonlat.max(axis=0).tolist()]
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    metadata = {
        **(table.schema.metadata or {}),
        b"geo": json.dumps(geo).encode(),
        b"satclip_explore": json.dumps(facts, ensure_ascii=False).encode(),
    }
    sink = arrow.BufferOutputStream()
    parquet.write_table(table.replace_schema_metadata(metadata), sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def _table_facts(frame: pd.DataFrame, facts: Mapping[str, Any] | None) -> dict[str, str]:
    return {**provenance(), **clean_facts(frame.attrs), **clean_facts(facts or {})}


def _no_formula(value: Any) -> Any:
    """Put an apostrophe before text that a spreadsheet would run."""
    return f"'{value}" if _is_formula(value) else value


def _is_formula(value: Any) -> bool:
    """Tell whether a spreadsheet would run a value; it does not run numbers written as text."""
    if not isinstance(value, str) or not FORMULA.match(value):
        return False
    try:
        float(value)
    except ValueError:
        return True
    return False


def _well_known_points(lonlat: NDArray[np.float64]) -> list[bytes]:
    """Write points as well-known binary: little endian, type 1, two doubles."""
    points = np.empty(len(lonlat), dtype=[("order", "u1"), ("kind", "<u4"), ("lonlat", "<f8", 2)])
    points["order"], points["kind"], points["lonlat"] = 1, 1, lonlat
    return [point.tobytes() for point in points]


def to_csv(frame: pd.DataFrame, path: str | Path, facts: Mapping[str, Any] | None = None) -> Path:
    """Write `csv_bytes(frame, facts)` to a file and return its path."""
    return write_whole(path, csv_bytes(frame, facts))


def to_geoparquet(
    frame: pd.DataFrame, path: str | Path, facts: Mapping[str, Any] | None = None
) -> Path:
    """Write `geoparquet_bytes(frame, facts)` to a file and return its path."""
    return write_whole(path, geoparquet_bytes(frame, facts))

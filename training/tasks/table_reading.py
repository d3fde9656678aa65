"""Reading a table that somebody brings: CSV, GeoJSON or Parquet, told apart by content."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd

MAX_BYTES = 100_000_000
"""Largest file that is read."""

MAX_ROWS = 1_000_000
"""Largest table that is read."""


def read_table(table: Any) -> tuple[pd.DataFrame, str]:
    """Read a path, bytes or a frame.

    Parameters
    ----------
    table : path, bytes, pandas.DataFrame or geopandas.GeoDataFrame
        Files are read whatever they are called; nothing in them is executed.

    Returns
    -------
    frame : pandas.DataFrame
        Points of a GeoJSON file become the columns lon and lat.
    source : str
        Where it came from, for people.

    Raises
    ------
    ValueError
        If the content is none of the formats, or too large, or not UTF-8.
    FileNotFoundError
        If there is no such file.
    ImportError
        If Parquet is given and pyarrow or geopandas is not installed.
    """
    if hasattr(table, "columns"):
        return table, "a frame"
    if isinstance(table, (str, Path)):
        path = Path(table)
        if not path.is_file():
            raise FileNotFoundError(f"no table at {path}.")
        _check_size(path.stat().st_size)
        return _parse(path.read_bytes()), path.name
    if isinstance(table, (bytes, bytearray, memoryview)):
        return _parse(bytes(table)), "an uploaded file"
    raise ValueError(f"a table is a path, bytes or a frame; got {type(table).__name__}.")


def _check_size(n_bytes: int) -> None:
    if n_bytes > MAX_BYTES:
        raise ValueError(
            f"a file may have {MAX_BYTES // 10**6} MB; got {n_bytes / 1e6:.0f} MB. "
            "Keep the columns and rows that are needed."
        )


def _parse(content: bytes) -> pd.DataFrame:
    _check_size(len(content))
    if not content.strip():
        raise ValueError("the file is empty.")
    if content.startswith(b"PAR1"):
        return _parse_parquet(content)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"the file is not UTF-8 text (byte {error.start:,}); save it as UTF-8, or give "
            "CSV, GeoJSON or GeoParquet."
        ) from error
    if "\0" in text:
        raise ValueError("the file holds binary data; give CSV, GeoJSON or GeoParquet.")
    return _parse_geojson(text) if text.lstrip().startswith("{") else _parse_csv(text)


def _parse_csv(text: str) -> pd.DataFrame:
    header = next((line for line in text.splitlines() if line[:1] != "#" and line.strip()), "")
    delimiter = max(",;\t|", key=header.count)
    try:
        return pd.read_csv(
            io.StringIO(text),
            sep=delimiter,
            comment="#" if text.startswith("#") else None,
            skipinitialspace=True,
            nrows=MAX_ROWS + 1,
            low_memory=False,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"the file does not read as CSV: {reason}.") from error


def _parse_geojson(text: str) -> pd.DataFrame:
    try:
        features = json.loads(text)["features"]
        rows = []
        for feature in features:
            geometry = feature.get("geometry") or {}
            point = geometry.get("coordinates") if geometry.get("type") == "Point" else None
            place = point[:2] if isinstance(point, list) and len(point) >= 2 else [None, None]
            rows.append({**(feature.get("properties") or {}), "lon": place[0], "lat": place[1]})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("the file is not a GeoJSON FeatureCollection of points.") from error
    return pd.DataFrame(rows)


def _parse_parquet(content: bytes) -> pd.DataFrame:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise ImportError("Parquet needs pyarrow: pip install 'satclip-explore[geo]'") from error
    try:
        file = parquet.ParquetFile(io.BytesIO(content))
        meta = file.metadata
        # A small file can unpack to many times its size.
        size = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
        if meta.num_rows > MAX_ROWS or size > 10 * MAX_BYTES:
            raise ValueError(
                f"a table may have {MAX_ROWS:,} rows and {10 * MAX_BYTES // 10**6} MB unpacked; "
                f"got {meta.num_rows:,} rows and {size / 1e6:.0f} MB."
            )
        if b"geo" not in (file.schema_arrow.metadata or {}):
            return file.read().to_pandas()
    except (ArrowException, OSError) as error:
        raise ValueError("the file begins like Parquet but is damaged.") from error
    try:
        import geopandas
    except ImportError as error:
        raise ImportError(
            "GeoParquet needs geopandas: pip install 'satclip-explore[geo]'"
        ) from error
    try:
        return geopandas.read_parquet(io.BytesIO(content))
    except (ValueError, TypeError, KeyError, ArrowException) as error:
        raise ValueError("the file's GeoParquet metadata cannot be read.") from error

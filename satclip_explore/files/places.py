"""The one reader of places: tables, vectors and grids of anybody, with a report on each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from satclip_explore.files.columns import listed, shown
from satclip_explore.files.containers import open_content
from satclip_explore.files.formats import read_content
from satclip_explore.files.geometry_columns import Located
from satclip_explore.files.grids import read_grid
from satclip_explore.files.location import locate
from satclip_explore.files.plausible import check_degrees, sea_note
from satclip_explore.files.raw_table import MAX_COLUMNS, MAX_ROWS, RawTable, ReadOptions, numbered
from satclip_explore.files.reading import Reading
from satclip_explore.files.sentinels import find_sentinels
from satclip_explore.files.values import (
    decimal_evidence,
    odd_values,
    plain_text,
    read_column,
    without_censoring,
)
from satclip_explore.geo import as_lonlat, wrap_lon

CENSORED = ("missing", "limit")


def read_places(
    source: Any,
    *,
    lon: Any = None,
    lat: Any = None,
    crs: Any = None,
    order: str | None = None,
    numeric: Collection[Any] = (),
    categorical: Collection[Any] = (),
    missing: Collection[Any] = (),
    censored: str | None = None,
    sentinels: bool = True,
    keep_zero: bool = False,
    decimal: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    member: str | None = None,
    layer: str | None = None,
    bad_lines: str = "refuse",
) -> Reading:
    r"""Read places from a file or table of any format, and say what was understood.

    Parameters
    ----------
    source : path, bytes, file, frame, mapping, xarray object or array_like
        CSV and its relatives, XLSX, Stata, JSON, GeoJSON, Parquet, GeoParquet, GeoPackage,
        shapefile (also zipped), FlatGeobuf, KML, GPX, NetCDF, Zarr, GeoTIFF; gzip and zip are
        unpacked.
    lon, lat : object, optional
        Columns of coordinates; default by name, see `files.columns`, never by position.
    crs : object, optional
        Of the coordinates, e.g. "EPSG:32633"; default what the file says, else degrees.
    order : {"lat,lon", "lon,lat"}, optional
        Of two numbers in one column.
    numeric : collection, optional
        Columns that must read as numbers; what keeps them from it is an error.
    categorical : collection, optional
        Columns that stay text, as "1", "2" or "NA".
    missing : collection of str or float
        What stands for a missing value, beside the empty field.
    censored : {"missing", "limit"}, optional
        What "<0.5" is: no value, or 0.5. Without it such a column stays text.
    sentinels : bool
        Take -9999 and its like for missing where they stand far from all other numbers.
    keep_zero : bool
        Keep rows at 0, 0, which mostly come from coordinates that were missing.
    decimal : {".", ","}, optional
        Default by the evidence of the columns.
    delimiter, encoding : str, optional
        Of text; default by content.
    member, layer : str, optional
        Which file of an archive; which layer, or sheet of a workbook.
    bad_lines : {"refuse", "skip"}
        What to do with lines whose fields do not match the header.

    Returns
    -------
    Reading
        The places and the report.

    Raises
    ------
    ValueError
        If something cannot be understood: one sentence with what arrived and the way on.
    FileNotFoundError
        If a path does not exist.
    ImportError
        If a format needs a package that is not installed.

    Examples
    --------
    >>> reading = read_places(b"Longitude;Breitengrad;t\n13,4;52,5;9,1\n-3,7;40,4;15,2\n")
    >>> reading.frame.to_numpy().tolist()
    [[13.4, 52.5, 9.1], [-3.7, 40.4, 15.2]]
    """
    if decimal not in (None, ".", ","):
        raise ValueError(f"decimal must be '.' or ','; got {decimal!r}.")
    if censored not in (None, *CENSORED):
        raise ValueError(f"censored must be {' or '.join(map(repr, CENSORED))}; got {censored!r}.")
    if bad_lines not in ("refuse", "skip"):
        raise ValueError(f"bad_lines must be 'refuse' or 'skip'; got {bad_lines!r}.")
    missing = [missing] if isinstance(missing, (str, int, float)) else list(missing)
    options = ReadOptions(
        lon, lat, crs, order, decimal, delimiter, encoding, member, layer,
        (*numeric, *categorical), bad_lines,
    )  # fmt: skip
    raw, name = _raw_table(source, options)
    if not len(raw.frame):
        raise ValueError("the table has no rows.")
    if len(raw.frame) > MAX_ROWS or raw.frame.shape[1] > MAX_COLUMNS:
        raise ValueError(
            f"a table may have {MAX_ROWS:,} rows and {MAX_COLUMNS:,} columns; got "
            f"{len(raw.frame):,} and {raw.frame.shape[1]:,}."
        )
    said = {} if raw.counted_in == "cell" else {"lon": lon, "lat": lat, "crs": crs}
    found = locate(raw.frame, order=order, decimal=decimal, units=raw.units, **said)
    table = _Columns(raw, found, missing, decimal)
    columns = table.read(numeric, categorical, censored, sentinels)
    reading = _report(raw, name, found, table, columns, keep_zero)
    places = {"lon": lon, "lat": lat, "crs": crs, "order": order}
    return replace(reading, asked={key: v for key, v in places.items() if v is not None})


def _raw_table(source: Any, options: ReadOptions) -> tuple[RawTable, str]:
    """Turn a source into rows, whatever it is."""
    if isinstance(source, (xr.DataArray, xr.Dataset)):
        return read_grid(source, options), "a grid"
    if hasattr(source, "columns"):
        if source.columns.nlevels > 1:
            raise ValueError("the columns of a frame must have one level; see frame.columns.")
        return numbered(source.reset_index(drop=True), "frame"), "a frame"
    if hasattr(source, "geom_type") and hasattr(source, "crs"):
        return numbered(source.to_frame("geometry").reset_index(drop=True), "frame"), "a frame"
    if isinstance(source, Mapping):
        try:
            return numbered(pd.DataFrame(dict(source)), "mapping"), "a mapping"
        except ValueError as error:
            raise ValueError("a mapping needs columns of the same length.") from error
    if isinstance(source, (list, tuple, np.ndarray)):
        lonlat = as_lonlat(source)
        return numbered(pd.DataFrame(lonlat, columns=["lon", "lat"]), "array"), "an array"
    content = open_content(source, options.member)
    return read_content(content, options), content.name


class _Columns:
    """The columns beside the place: text becomes numbers where all of it is, notes are kept."""

    def __init__(
        self, raw: RawTable, found: Located, missing: Collection[Any], decimal: str | None
    ) -> None:
        self.notes = [*raw.notes, *found.notes]
        self.units = dict(raw.units)
        self.odd: dict[str, str] = {}
        self.decimal = decimal or found.decimal
        self._missing = missing
        self._asked = decimal
        # Results are called lon and lat; columns that were not chosen keep their values.
        taken = {name: f"{name} (file)" for name in ("lon", "lat", "geometry")}
        self._columns = [
            (taken.get(label, label), pd.Series(column))
            for label, column in raw.frame.items() if label not in found.used
        ]  # fmt: skip

    def read(
        self,
        numeric: Collection[Any],
        categorical: Collection[Any],
        censored: str | None,
        sentinels: bool,
    ) -> list[tuple[Any, pd.Series]]:
        labels = [label for label, _ in self._columns]
        absent = [label for label in (*numeric, *categorical) if label not in labels]
        if absent:
            raise ValueError(f"no column {shown(absent[0])!r}; got {listed(labels)}.")
        texts = [i for i, (_, column) in enumerate(self._columns) if _is_text(column)]
        evidence = self._evidence([self._columns[i][1] for i in texts])
        columns = []
        for i, (label, column) in enumerate(self._columns):
            if i in texts:
                column = self._read_text(label, column, evidence, numeric, categorical, censored)
            elif self._missing and pd.api.types.is_numeric_dtype(column):
                numbers = [float(code) for code in self._missing if _is_number(code)]
                gone = column.isin(numbers)
                column = column.mask(gone) if gone.any() else column
            if pd.api.types.is_numeric_dtype(column) and sentinels:
                column = self._without_sentinels(label, column)
            columns.append((label, column))
        return columns

    def _evidence(self, columns: list[pd.Series]) -> str:
        """Gather the decimal signs that the file shows; only looked for where commas occur."""
        commas = any(column.str.contains(",", regex=False).any() for column in columns)
        if not commas and self.decimal != ",":
            return "."
        signs = {self.decimal} | {
            sign for column in columns for sign in decimal_evidence(plain_text(column))
        }
        return "".join(sorted(signs & {*",.cp"}))

    def _read_text(
        self, label: Any, column: pd.Series, evidence: str, numeric: Collection[Any],
        categorical: Collection[Any], censored: str | None,
    ) -> pd.Series:  # fmt: skip
        column = column if isinstance(column.dtype, pd.StringDtype) else column.astype("str")
        if label in categorical:
            gone = {"", *(str(code).strip() for code in self._missing)}
            text = [None if value in gone else value for value in plain_text(column)]
            return pd.Series(text, index=column.index, dtype="str")
        if censored:
            column = without_censoring(column, censored)
        missing = [str(code) for code in self._missing]
        read = read_column(
            label, column, decimal=self._asked, file_decimal=evidence, missing=missing
        )
        if read.odd:
            sentence = odd_values(label, read)
            if label in numeric:
                raise ValueError(sentence)
            self.odd[str(label)] = sentence
            self.notes.append(f"{shown(label)} stays text: {sentence.rstrip('.')}")
        elif label in numeric and not pd.api.types.is_numeric_dtype(read.values):
            example = column[column.notna()].iloc[0] if column.notna().any() else ""
            raise ValueError(f"column {shown(label)!r} holds text such as {shown(example)!r}, not "
                             "numbers.")  # fmt: skip
        if read.unit:
            self.units[str(label)] = read.unit
        self.decimal = self.decimal or read.decimal
        self.notes += [f"{shown(label)}: {note}" for note in read.notes]
        return read.values

    def _without_sentinels(self, label: Any, column: pd.Series) -> pd.Series:
        if pd.api.types.is_bool_dtype(column) or not len(column):
            return column
        values = column.to_numpy(np.float64, na_value=np.nan)
        mask, taken, kept = find_sentinels(values)
        if taken:
            names = ", ".join(f"{code:g}" for code in taken)
            self.notes.append(f"{shown(label)}: {names} counted as missing in {mask.sum():,} rows; "
                              "sentinels=False keeps it")  # fmt: skip
            return column.mask(mask)
        for code in kept:
            self.notes.append(f"{shown(label)}: {code:g} was read as a value; missing=[{code:g}] "
                              "leaves it out")  # fmt: skip
        return column


def _is_text(column: pd.Series) -> bool:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return False
    if pd.api.types.is_object_dtype(column.dtype):
        known = column.dropna()
        return bool(len(known)) and all(isinstance(value, str) for value in known)
    return bool(pd.api.types.is_string_dtype(column.dtype))


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _report(
    raw: RawTable, name: str, found: Located, table: _Columns, columns: list[tuple[Any, pd.Series]],
    keep_zero: bool,
) -> Reading:  # fmt: skip
    """Leave out the rows without a place, and say all of it."""
    x, y = found.lon, found.lat
    finite = np.isfinite(x) & np.isfinite(y)
    in_range = finite & (np.abs(x) <= 540.0) & (np.abs(y) <= 90.0)
    check_degrees(found, raw, in_range)
    zero = in_range & (x == 0.0) & (y == 0.0) & (not keep_zero and raw.counted_in != "cell")
    kept = in_range & ~zero
    left_out = dict(raw.left_out)
    reasons = {"no place": ~finite, "place out of range": finite & ~in_range, "0, 0": zero}
    for reason, mask in reasons.items():
        if mask.any():
            left_out[reason] = (int(mask.sum()), int(raw.lines[np.argmax(mask)]))
    if not kept.any():
        why = ", ".join(f"{reason} in {count:,}" for reason, (count, _) in left_out.items())
        raise ValueError(f"none of {len(raw.frame):,} rows has a place ({why}).")
    table.notes += sea_note(found, raw, kept)
    labeled = [("lon", wrap_lon(np.where(kept, x, 0.0))), ("lat", y), *columns]
    frame = pd.DataFrame({i: column for i, (_, column) in enumerate(labeled)})
    frame.columns = pd.Index([label for label, _ in labeled])
    if not kept.all():
        frame = frame.loc[kept].reset_index(drop=True)
    geometry = {"cell": "cells"}.get(raw.counted_in, "points")
    if found.geometry is not None:
        frame, geometry = _with_geometry(frame, found.geometry[kept]), "polygons"
    return Reading(
        frame, name, raw.format, geometry, found.roles, found.crs, raw.lines[kept], raw.counted_in,
        len(raw.frame), left_out, tuple(dict.fromkeys(table.notes)), raw.encoding, raw.delimiter,
        table.decimal if raw.delimiter else "", table.units, raw.grid, table.odd,
    )  # fmt: skip


def _with_geometry(frame: pd.DataFrame, shapes: NDArray[np.object_]) -> Any:
    try:
        import geopandas
    except ImportError as error:
        raise ImportError("polygons need geopandas: pip install 'satclip-explore[geo]'") from error
    return geopandas.GeoDataFrame(frame, geometry=shapes, crs="EPSG:4326")

"""Spreadsheets and JSON: records, GeoJSON collections and sequences."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from satclip_explore.files.columns import find_roles, listed, shown, split_unit
from satclip_explore.files.containers import Content, check_archive, check_xml, decode
from satclip_explore.files.crs import read_crs
from satclip_explore.files.delimited import (
    coordinates_at,
    refuse_another_table,
    tidy_names,
    units_row,
)
from satclip_explore.files.geometry_columns import geojson_crs
from satclip_explore.files.raw_table import (
    MAX_COLUMNS,
    MAX_ROWS,
    RawTable,
    ReadOptions,
    numbered,
)

HEAD_ROWS = 60
"""Rows of a sheet among which the header is looked for."""


def read_json(content: Content, options: ReadOptions) -> RawTable:
    """Read records, columns, GeoJSON, or one record or feature per line.

    Raises
    ------
    ValueError
        If it is no JSON, or JSON that holds no table.
    """
    text, encoding = decode(content.whole(), options.encoding)
    try:
        document = json.loads(text)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply to be a table.") from error
    except ValueError as error:
        document = _sequence(text, error)
    try:
        return _from_document(document, encoding, options)
    except (AttributeError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(
            "the JSON holds no table: need a list of records, columns of equal length, or a "
            "GeoJSON FeatureCollection."
        ) from error


def _sequence(text: str, error: ValueError) -> Any:
    """Read one JSON value per line (also with the record separators of RFC 8142)."""
    values = []
    for number, line in enumerate(text.split("\n"), start=1):
        bare = line.strip("\x1e\r \t")
        if not bare:
            continue
        try:
            values.append(json.loads(bare))
        except (ValueError, RecursionError):
            raise ValueError(f"the file is not JSON: line {number:,} does not read.") from error
    if all(isinstance(value, dict) and value.get("type") == "Feature" for value in values):
        return {"type": "FeatureCollection", "features": values}
    return values


def _from_document(document: Any, encoding: str, options: ReadOptions) -> RawTable:
    if isinstance(document, dict):
        kind = document.get("type")
        if kind == "Feature":
            document = {**document, "type": "FeatureCollection", "features": [document]}
        if isinstance(document.get("features"), list):
            return _from_features(document, encoding, options)
        if kind in ("Topology",):
            raise ValueError("the file is TopoJSON; save it as GeoJSON.")
        lists = [value for value in document.values() if isinstance(value, list)
                 and value and isinstance(value[0], dict)]  # fmt: skip
        if len(lists) == 1:
            document = lists[0]
        elif not document or not all(isinstance(v, (list, dict)) for v in document.values()):
            raise TypeError("no table")
    if isinstance(document, list):
        if not document or not all(isinstance(record, dict) for record in document):
            raise TypeError("no table")
        frame = pd.json_normalize(document, max_level=2)
    else:
        try:
            frame = pd.DataFrame(document)
        except ValueError as error:
            raise TypeError(str(error)) from error
    _check_shape(len(frame), frame.shape[1])
    return numbered(frame.reset_index(drop=True), "JSON", "row", encoding=encoding)


def _check_shape(n_rows: int, n_columns: int) -> None:
    if n_rows > MAX_ROWS or n_columns > MAX_COLUMNS:
        raise ValueError(
            f"a table may have {MAX_ROWS:,} rows and {MAX_COLUMNS:,} columns; got {n_rows:,} and "
            f"{n_columns:,}."
        )


def _from_features(document: dict[str, Any], encoding: str, options: ReadOptions) -> RawTable:
    """Points become two columns; other geometry needs shapely and geopandas."""
    features = document["features"]
    geometries = [feature.get("geometry") for feature in features]
    frame = pd.DataFrame([feature.get("properties") or {} for feature in features])
    frame = frame.set_axis([str(column) for column in frame.columns], axis=1)
    crs = options.crs or geojson_crs(document)
    try:
        import geopandas
        import shapely
    except ImportError as error:
        raise ImportError("GeoJSON needs geopandas: pip install 'satclip-explore[geo]'") from error
    if any(geometry and geometry.get("type") != "Point" for geometry in geometries):
        texts = [json.dumps(geometry) if geometry else None for geometry in geometries]
        shapes = shapely.from_geojson(np.array(texts, dtype=object), on_invalid="ignore")
    else:
        points = [(geometry or {}).get("coordinates") for geometry in geometries]
        pairs = [point[:2] if point else (np.nan, np.nan) for point in points]
        xy = np.array(pairs, dtype=np.float64).reshape(-1, 2)
        shapes = shapely.points(xy)
        shapes[~np.isfinite(xy).all(axis=1)] = None
    system = read_crs(crs if crs is not None else "OGC:CRS84")
    frame = frame.rename(columns={"geometry": "geometry (property)"})
    placed = geopandas.GeoDataFrame(frame, geometry=geopandas.GeoSeries(shapes), crs=system)
    return numbered(placed, "GeoJSON", "feature", encoding=encoding)


def read_xlsx(content: Content, options: ReadOptions) -> RawTable:
    """Read the sheet of a workbook that holds places; formulas count with their saved values.

    Raises
    ------
    ValueError
        If no sheet, or more than one, holds places, or the workbook is hostile.
    ImportError
        If openpyxl is not installed.
    """
    data = content.whole()
    _check_workbook(data)
    try:
        book = _open_workbook(data, data_only=True)
        sheets = [sheet for sheet in book.sheetnames if hasattr(book[sheet], "iter_rows")]
        if options.layer is not None and options.layer not in sheets:
            raise ValueError(f"no sheet {shown(options.layer)!r}; got {listed(sheets)}.")
        chosen = [options.layer] if options.layer else sheets
        headers = {sheet: _sheet_header(book[sheet], options) for sheet in chosen}
        if len(chosen) > 1:
            named = [sheet for sheet, found in headers.items() if found and found[2]]
            filled = [sheet for sheet, found in headers.items() if found]
            chosen = named or filled
            if len(chosen) != 1:
                raise ValueError(f"sheets {listed(chosen)} could hold the places; say which with "
                                 "layer=.")  # fmt: skip
        header = headers[chosen[0]]
        if header is None:
            raise ValueError(f"the sheet {shown(chosen[0])!r} is empty.")
        table = _read_sheet(book[chosen[0]], header[0], header[1], options)
        return replace(table, notes=(*table.notes, *_unsaved_formulas(data, chosen[0], table)))
    except (
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        zipfile.BadZipFile,
        SyntaxError,
    ) as error:
        raise ValueError("the workbook is damaged; save it again as XLSX or CSV.") from error


def _open_workbook(data: bytes, **options: Any) -> Any:
    try:
        import openpyxl
    except ImportError as error:
        raise ImportError(
            "spreadsheets need openpyxl: pip install 'satclip-explore[geo]'"
        ) from error
    try:
        return openpyxl.load_workbook(io.BytesIO(data), read_only=True, **options)
    except ValueError as error:  # in several lines
        raise ValueError("the workbook is damaged; save it again as XLSX or CSV.") from error


def _rows(sheet: Any, **limits: int) -> Iterator[tuple[Any, ...]]:
    """Yield the values of rows; a sheet may say fewer rows and columns than it has."""
    sheet.reset_dimensions()
    try:
        yield from sheet.iter_rows(values_only=True, **limits)
    except ValueError as error:
        reason = " ".join(str(error).split()).rstrip(".")[:80]
        raise ValueError(
            f"the sheet has a cell outside of what sheets have ({reason}); save it again as XLSX "
            "or CSV."
        ) from error


def _unsaved_formulas(data: bytes, sheet: str, table: RawTable) -> list[str]:
    """Count the formulas whose values the workbook does not hold: their cells read as missing."""
    if not table.frame.isna().to_numpy().any():
        return []
    formulas = _open_workbook(data)[sheet]
    formulas.reset_dimensions()
    first, counts = int(table.lines[0]), dict.fromkeys(table.frame.columns, 0)
    known = dict(zip(table.lines.tolist(), table.frame.isna().to_numpy(), strict=True))
    for number, row in enumerate(formulas.iter_rows(min_row=first), start=first):
        for label, cell, gone in zip(counts, row, known.get(number, ()), strict=False):
            counts[label] += bool(gone) and cell.data_type == "f"
    return [
        f"{shown(label)}: {count:,} formulas without saved values count as missing; open the "
        "workbook in a spreadsheet program and save it"
        for label, count in counts.items()
        if count
    ]


def _check_workbook(data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        check_archive(archive.infolist())
        for member in archive.infolist():
            if member.filename.endswith((".xml", ".rels")):
                with archive.open(member) as file:
                    check_xml(file.read(4096))


def _sheet_header(sheet: Any, options: ReadOptions) -> tuple[int, list[Any], bool] | None:
    """Find the row that names the columns: (row, names, whether they name coordinates)."""
    wanted = {str(name) for name in (options.lon, options.lat) if name is not None}
    first: tuple[int, list[Any], bool] | None = None
    for number, row in enumerate(_rows(sheet, max_row=HEAD_ROWS), start=1):
        if len(row) > MAX_COLUMNS:
            raise ValueError(f"a sheet may have {MAX_COLUMNS:,} columns; got {len(row):,}.")
        names = ["" if cell is None else str(cell).strip() for cell in row]
        while names and not names[-1]:
            names.pop()
        if not names:
            continue
        try:
            named = find_roles(split_unit(name)[0] for name in names) is not None
        except ValueError:
            named = True
        if wanted:
            named = wanted <= set(names)
        if named:
            return number, names, True
        if first is None or len(names) > len(first[1]):
            first = (number, names, False)
    return first


def _read_sheet(sheet: Any, header: int, names: list[str], options: ReadOptions) -> RawTable:
    rows: list[list[Any]] = []
    lines: list[int] = []
    left_out: dict[str, tuple[int, int]] = {}
    empty, first_empty, limit = 0, 0, header + MAX_ROWS
    width, at = len(names), coordinates_at(names)
    unit_cells: list[str] | None = None
    notes: list[str] = []
    for number, row in enumerate(_rows(sheet, min_row=header + 1), start=header + 1):
        if number > limit or len(row) > MAX_COLUMNS:
            raise ValueError(
                f"a sheet may have {MAX_ROWS:,} rows and {MAX_COLUMNS:,} columns; this has more."
            )
        if all(cell is None for cell in row):
            empty += 1
            first_empty = first_empty or number
            continue
        if any(cell is not None for cell in row[width:]):
            if options.bad_lines == "skip":
                count, first = left_out.get("fields do not match the header", (0, number))
                left_out["fields do not match the header"] = (count + 1, first)
                continue
            raise ValueError(
                f"row {number:,} has a cell to the right of the header (row {header}); name that "
                "column, or leave such rows out with bad_lines='skip'."
            )
        cells = [*row[:width], *[None] * (width - len(row))]
        texts = ["" if cell is None else str(cell).strip() for cell in cells] if at else []
        if at is not None and all(texts[i] == names[i] for i in at):
            refuse_another_table(f"row {number:,}", texts, names)
            count, first = left_out.get("header again", (0, number))
            left_out["header again"] = (count + 1, first)
            continue
        if not rows and unit_cells is None and (unit_cells := units_row(at, texts)):
            notes.append(f"row {number} holds units, not values")
            continue
        rows.append(cells)
        lines.append(number)
    notes += [f"rows before the header, left out: {header - 1:,}"] if header > 1 else []
    labels, units = tidy_names(names, notes)
    units |= {name: unit for name, unit in zip(labels, unit_cells or [], strict=False) if unit}
    if empty and rows and first_empty < lines[-1]:
        left_out["empty row"] = (empty, first_empty)
    frame = pd.DataFrame(rows, columns=pd.Index(labels, dtype=object), dtype=object)
    for label in labels:
        frame[label] = _settled(frame[label])
    return RawTable(frame, "XLSX", np.array(lines, dtype=np.int64), "row", tuple(notes),
                    left_out, units)  # fmt: skip


def _settled(column: pd.Series) -> pd.Series:
    """Give a column of cells one type: numbers or dates as they are, else text."""
    kinds = {type(value) for value in column if value is not None}
    if not kinds or kinds <= {int, float}:
        return pd.to_numeric(column)
    if kinds == {bool}:
        return column if column.isna().any() else column.astype(bool)
    if str not in kinds and not kinds & {int, float, bool}:
        try:
            return pd.to_datetime(column)
        except (ValueError, TypeError):
            pass
    return column.map(lambda value: value if value is None else str(value)).astype("str")

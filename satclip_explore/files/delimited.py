"""Delimited text as a table: every line is a row, a comment, blank, or refused by its number."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pandas as pd

from satclip_explore.files.columns import find_roles, listed, shown, split_unit
from satclip_explore.files.layout import (
    DELIMITERS,
    MAX_LINE,
    NUMBER,
    Layout,
    find_layouts,
    records,
)
from satclip_explore.files.raw_table import MAX_COLUMNS, MAX_ROWS, RawTable, ReadOptions

CHUNK = 50_000
"""Rows that are held as Python lists at a time."""

UNIT_CELL = re.compile(
    r"[(\[{]?\s*(?:°|deg(?:rees?)?|decimal|dd|wgs\s?84|m|met(?:er|re)s?)[\s_.°]*"
    r"(?:deg\w*|north|east|[nsew])?\.?\s*[)\]}]?", re.IGNORECASE
)  # fmt: skip


class _Ragged(ValueError):
    """A row whose fields do not match the header."""


def read_delimited(text: str, options: ReadOptions, encoding: str) -> RawTable:
    """Read delimited text as columns of text.

    Parameters
    ----------
    text : str
        The whole file.
    options : ReadOptions
        `delimiter`, `lon`, `lat`, `columns` and `bad_lines` are used.
    encoding : str
        For the report.

    Raises
    ------
    ValueError
        If there is no header, or the fields of a row do not match it; names the line.
    """
    csv.field_size_limit(MAX_LINE)
    if (bare := _without_quotes_around_lines(text)) is not None:
        table = read_delimited(bare, options, encoding)
        note = "whole lines were in quotation marks, which were taken off"
        return replace(table, notes=(*table.notes, note))
    layouts = find_layouts(text, options)
    # A row that does not fit must not be hidden by a delimiter that parts nothing.
    layouts = [layout for layout in layouts if layout.delimiter == layouts[0].delimiter]
    failure: ValueError | None = None
    for layout in layouts:
        try:
            table, spans = _read(text, layout, options, encoding)
        except (_Ragged, csv.Error) as error:
            failure = failure or ValueError(str(error))
            continue
        if layout.quoted and spans:
            # Quotes that swallow line ends: literal ones, if every line is a row without them.
            plain = Layout(layout.delimiter, False, layout.header_line, layout.header,
                            layout.comments)  # fmt: skip
            with suppress(_Ragged, csv.Error):
                return _read(text, plain, options, encoding)[0]
        return table
    raise failure or ValueError("the file does not read as a table: no row could be parted.")


def _without_quotes_around_lines(text: str) -> str | None:
    """Take quotation marks off lines that are one field each, as "a,b" is; None where none is.

    The first line tells the delimiter, quoted or not; every other one has to be quoted whole.
    """
    head = text[:10_000].splitlines()[1:2]
    if not head or head[0][:1] != '"':
        return None
    lines = text.splitlines()
    at = [i for i, line in enumerate(lines) if line.strip()]
    whole = (lines[i].strip() for i in at[1:])
    if not all(line[:1] == line[-1:] == '"' for line in whole):
        return None
    with suppress(csv.Error):
        bare = [next(csv.reader([lines[i].strip()], strict=True)) for i in at]
        marks = [mark for mark in "\t;,|" if mark in ",".join(bare[0])]
        if not marks or any(len(fields) != 1 for fields in bare[1:]):
            return None
        if all(fields[0].count(marks[0]) for fields in bare[1:]):
            for i, fields in zip(at, bare, strict=True):
                lines[i] = fields[0] if len(fields) == 1 else lines[i]
            return "\n".join(lines)
    return None


def _read(text: str, layout: Layout, options: ReadOptions, encoding: str) -> tuple[RawTable, bool]:
    """Read all rows below the header; returns whether a row spans several lines, too."""
    names, notes = list(layout.header), []
    if len(names) > MAX_COLUMNS:
        raise ValueError(f"a table may have {MAX_COLUMNS:,} columns; got {len(names):,}.")
    if sum(bool(NUMBER.fullmatch(name)) for name in names) >= 0.5 * len(names):
        raise ValueError(
            f"line {layout.header_line} holds numbers where the names of the columns should be; "
            "add a first line that names them, e.g. lon,lat,value."
        )
    width, rest = len(names), _Rows(layout, options)
    chunks: list[pd.DataFrame] = []
    lines: list[int] = []
    rows: list[list[str]] = []
    spans = False
    units: list[str] | None = None
    at = coordinates_at(names)
    for number, fields, mark, several in records(text, layout.delimiter, layout.quoted):
        if number <= layout.header_line:
            continue
        kept = rest.keep(number, fields, mark, width)
        if kept is None:
            continue
        if at is not None and all(kept[i].strip() == names[i] for i in at):
            refuse_another_table(f"line {number:,}", kept, names)
            rest.leave("header again", number)
            continue
        if units is None and not lines:
            units = units_row(at, kept)
            if units is not None:
                notes.append(f"line {number} holds units, not values")
                continue
        spans |= several
        rows.append(kept)
        lines.append(number)
        if len(rows) >= CHUNK:
            chunks.append(pd.DataFrame(rows, dtype="str"))
            rows = []
            if len(lines) > MAX_ROWS:
                raise ValueError(f"a table may have {MAX_ROWS:,} rows; this has more.")
    if rest.row_names:
        names = ["row names", *names]
        notes.append("the rows have one field more than the header: row names, as R writes them")
    if rows or not chunks:
        chunks.append(pd.DataFrame(rows, columns=range(len(names)), dtype="str"))
    frame = pd.concat(chunks, ignore_index=True) if len(chunks) > 1 else chunks[0]
    by_name = dict(zip(names, units or [], strict=False))
    frame.columns, found = tidy_names(names, notes)
    found |= {name: unit for name, unit in by_name.items() if unit}
    if not layout.quoted and '"' in text and layout.delimiter != " ":
        notes.append("quotation marks were taken as part of the text")
    if layout.comments:
        count = len(layout.comments) - (layout.comments[-1].lstrip("#%/ ").startswith(names[0]))
        if count:
            notes.append(f"lines before the header, left out: {count:,}")
    table = RawTable(
        frame, "delimited text", np.array(lines, dtype=np.int64), "line", tuple(notes),
        dict(rest.left_out), found, encoding, DELIMITERS.get(layout.delimiter, layout.delimiter),
    )  # fmt: skip
    return table, spans


class _Rows:
    """Which records are rows: counts comments and blank lines, refuses what does not match."""

    def __init__(self, layout: Layout, options: ReadOptions) -> None:
        self.left_out: dict[str, tuple[int, int]] = {}
        self.row_names = False
        self._layout, self._skip = layout, options.bad_lines == "skip"
        self._seen = 0
        self._marked = 0

    def leave(self, reason: str, number: int) -> None:
        count, first = self.left_out.get(reason, (0, number))
        self.left_out[reason] = (count + 1, first)

    def keep(self, number: int, fields: list[str], mark: bool, width: int) -> list[str] | None:
        """Return the fields of a row, or None for what is none."""
        n = len(fields)
        if n == width and not mark:
            if any(fields) and any(field.strip() for field in fields):
                if self.row_names:
                    return self._ragged(number, n, width)
                self._seen += 1
                return fields
            self.leave("empty row", number)
            return None
        if not any(field.strip() for field in fields):
            if n > 1:
                self.leave("empty row", number)
            return None
        bare = fields[:width] if n > width and not any(fields[width:]) else fields
        if mark and (len(bare) != width or self._marked == self._seen == 0 or not self._marked):
            # A first column of "#1", "#2" is one of values.
            if len(bare) == width and self._seen == 0 and bare[0][:1] == "#":
                self._marked += 1
                self._seen += 1
                return bare
            self.leave("comment", number)
            return None
        if len(bare) == width and not self.row_names:
            self._seen += 1
            return bare
        if n == width + 1 and (self.row_names or self._seen == 0) and self._is_name(fields[0]):
            self.row_names = True
            self._seen += 1
            return fields
        return self._ragged(number, n, width)

    def _is_name(self, text: str) -> bool:
        return text.strip() == str(self._seen + 1)

    def _ragged(self, number: int, n: int, width: int) -> list[str] | None:
        if self._skip:
            self.leave("fields do not match the header", number)
            return None
        hint = ""
        if self._layout.delimiter == "," and n in (2 * width, 2 * width - 1, width + 2):
            hint = " (decimal commas need another delimiter, or quotes)"
        wanted = f"the header (line {self._layout.header_line}) has {width}"
        if self.row_names:
            wanted = f"the rows before it have {width + 1}"
        raise _Ragged(
            f"line {number:,} has {n} fields where {wanted}{hint}: mend that line, or leave such "
            "lines out with bad_lines='skip'."
        )


def coordinates_at(names: list[str]) -> tuple[int, int] | None:
    """Return where the names of longitude and latitude stand, if they do."""
    plain = [split_unit(name)[0] for name in names]
    try:
        roles = find_roles(plain)
    except ValueError:
        return None
    return None if roles is None else (plain.index(roles.lon), plain.index(roles.lat))


def refuse_another_table(where: str, fields: list[str], names: list[str]) -> None:
    """Refuse a row that names coordinates again and other columns; the same ones may be repeated.

    Raises
    ------
    ValueError
        If it is the header of another table.
    """
    if [field.strip() for field in fields] != [name.strip() for name in names]:
        raise ValueError(
            f"{where} begins another table, with the columns {listed(filter(None, fields))}; put "
            "each table in a file of its own."
        )


def units_row(at: tuple[int, int] | None, fields: list[str]) -> list[str] | None:
    """Return the cells of a row of units: where coordinates should be stand words like "deg"."""
    if at is not None and all(UNIT_CELL.fullmatch(fields[i].strip()) for i in at):
        return [field.strip(" ()[]{}") for field in fields]
    return None


def tidy_names(names: Sequence[object], notes: list[str]) -> tuple[list[str], dict[str, str]]:
    """Make labels unique and take units off them: "Temp [°C]" is Temp, in °C."""
    result: dict[str, None] = {}
    units: dict[str, str] = {}
    bare = [split_unit(str(name).strip()) for name in names]
    counts = Counter(name for name, _ in bare)
    if any(count > 1 for count in counts.values()):
        find_roles(name for name, _ in bare)  # two longitudes are refused here
    for position, (name, unit) in enumerate(bare):
        whole = str(names[position]).strip()
        # Two columns that differ by their unit alone keep it in their names.
        label = name if counts[name] == 1 else whole
        label = label or f"column {position + 1}"
        if label in result:
            notes.append(
                f"a second column {shown(label)!r} is called {shown(label)} ({position + 1})"
            )
            label = f"{label} ({position + 1})"
            while label in result:
                label += "'"
        result[label] = None
        if unit:
            units[label] = unit
    return list(result), units

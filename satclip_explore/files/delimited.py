"""Delimited text: where the table begins, which character parts its fields, what quotes mean."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pandas as pd

from satclip_explore.files.columns import find_roles, shown, split_unit
from satclip_explore.files.raw_table import MAX_COLUMNS, MAX_ROWS, RawTable, ReadOptions

DELIMITERS = {"\t": "tab", ";": "semicolon", ",": "comma", "|": "bar", " ": "spaces"}
MARKS = ("#", "%", "//")
HEAD = 300
"""Records that are looked at to find the header."""

MAX_LINE = 10_000_000
CHUNK = 50_000

_SEP = re.compile(r"\"?sep=(.|\\t)\"?\s*$", re.IGNORECASE)
_NUMBER = re.compile(r"\s*[-+−]?[\d.,]*\d[\d.,]*(?:[eE][-+]?\d+)?\s*")
UNIT_CELL = re.compile(
    r"[(\[{]?\s*(?:°|deg(?:rees?)?|decimal|dd|wgs\s?84|m|met(?:er|re)s?)[\s_.°]*"
    r"(?:deg\w*|north|east|[nsew])?\.?\s*[)\]}]?", re.IGNORECASE
)  # fmt: skip

Record = tuple[int, list[str]]


class _Ragged(ValueError):
    """A row whose fields cannot be told."""


@dataclass(frozen=True)
class _Layout:
    """Where a table begins and how its fields are parted."""

    delimiter: str
    quoted: bool
    header_line: int
    header: list[str]
    comments: tuple[str, ...]


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
        If there is no header, or the fields of a row cannot be told; names the line.
    """
    csv.field_size_limit(MAX_LINE)
    layouts = _layouts(text, options)
    failure: ValueError | None = None
    for layout in layouts:
        try:
            table, spans = _read(text, layout, options, encoding)
        except (_Ragged, csv.Error) as error:
            failure = failure or ValueError(str(error))
            continue
        if layout.quoted and spans:
            # Quotes that swallow line ends: literal ones, if every line is a row without them.
            plain = _Layout(layout.delimiter, False, layout.header_line, layout.header,
                            layout.comments)  # fmt: skip
            with suppress(_Ragged, csv.Error):
                return _read(text, plain, options, encoding)[0]
        return table
    raise failure or ValueError("the file does not read as a table: no row could be parted.")


def _lines(text: str, delimiter: str) -> Iterator[str]:
    for number, line in enumerate(io.StringIO(text, newline=""), start=1):
        if len(line) > MAX_LINE or (delimiter and line.count(delimiter) > 2 * MAX_COLUMNS):
            raise ValueError(
                f"line {number:,} has more than {MAX_COLUMNS:,} columns or {MAX_LINE:,} characters; "
                "keep the columns that are needed."
            )
        yield line


def _records(text: str, delimiter: str, quoted: bool) -> Iterator[tuple[int, list[str], bool, bool]]:
    """Yield first line, fields, whether a comment mark leads, whether it spans several lines."""
    if delimiter == " " or not quoted:
        for number, line in enumerate(_lines(text, delimiter.strip()), start=1):
            bare = line.rstrip("\r\n")
            fields = bare.split() if delimiter == " " else bare.split(delimiter)
            fields = [
                one[1:-1] if len(one) > 1 and one[0] == one[-1] == '"' else one for one in fields
            ]
            yield number, fields, bare.lstrip().startswith(MARKS), False
        return
    marked: set[int] = set()

    def watched() -> Iterator[str]:
        for number, line in enumerate(_lines(text, delimiter), start=1):
            if line.startswith(MARKS):
                marked.add(number)
                # A lone quote in a comment must not swallow what follows.
                line = line.replace('"', "'")
            yield line

    reader = csv.reader(watched(), delimiter=delimiter, strict=True, skipinitialspace=True)
    start = 1
    try:
        for fields in reader:
            yield start, fields, start in marked, reader.line_num > start
            start = reader.line_num + 1
    except csv.Error as error:
        raise csv.Error(
            f"line {start:,} has a quotation mark that does not close its field ({error}); double it "
            "or remove it."
        ) from error


def _layouts(text: str, options: ReadOptions) -> list[_Layout]:
    """Rank the ways to read the head of the file, the most plausible first."""
    first = text[:200].split("\n", 1)[0].strip("\r")
    said = _SEP.match(first)
    wanted = options.delimiter or (said[1].replace("\\t", "\t") if said else None)
    found: list[tuple[tuple[float, ...], _Layout]] = []
    for preference, delimiter in enumerate([wanted] if wanted else DELIMITERS):
        for quoted in (True, False) if '"' in text and delimiter != " " else (False,):
            head: list[tuple[int, list[str], bool, bool]] = []
            with suppress(csv.Error):
                for record in _records(text, delimiter, quoted):
                    head.append(record)
                    if len(head) >= HEAD:
                        break
            layout = _find_header(head, delimiter, quoted, options, 1 if said else 0)
            if layout is not None:
                score, chosen = layout
                found.append(((*score, -float(preference)), chosen))
    found.sort(key=lambda one: one[0], reverse=True)
    return [layout for _, layout in found[:4]]


def _find_header(
    head: Sequence[tuple[int, list[str], bool, bool]],
    delimiter: str,
    quoted: bool,
    options: ReadOptions,
    skip: int,
) -> tuple[tuple[float, ...], _Layout] | None:
    """Find the record that names the columns; score how well the rest follows it."""
    comments: list[str] = []
    rows: list[tuple[int, list[str]]] = []
    marked: list[tuple[int, list[str]]] = []
    in_block = False
    for number, fields, mark, _ in head:
        line = delimiter.join(fields).strip()
        if number <= skip:
            continue
        if line.startswith("/*") or in_block:
            in_block = "*/" not in line
            comments.append(line)
        elif mark and not rows:
            comments.append(line)
            marked.append((number, fields))
        elif mark:
            marked.append((number, fields))
        elif any(one.strip() for one in fields):
            rows.append((number, _trimmed(fields)))
    if not rows:
        return None
    wanted = {str(one) for one in (options.lon, options.lat, *options.columns) if one is not None}
    candidates = list(rows[:60])
    last = marked and [one for one in marked if one[0] < rows[0][0]][-1:]
    for number, fields in last or ():
        bare = [fields[0].lstrip("#%/ "), *fields[1:]]
        bare = bare[1:] if delimiter == " " and not bare[0] else bare
        candidates.insert(0, (number, _trimmed(bare)))
    best: tuple[tuple[float, ...], _Layout] | None = None
    widths = Counter(len(fields) for _, fields in rows)
    common = widths.most_common(1)[0][0]
    for position, (number, fields) in enumerate(candidates):
        names = [one.strip() for one in fields]
        following = [one for line, one in rows if line > number]
        share = sum(len(one) <= len(names) for one in following) / max(1, len(following))
        full = sum(len(one) == len(names) for one in following) / max(1, len(following))
        named = bool(wanted) and wanted <= {*names, *(split_unit(one)[0] for one in names)}
        numeric = sum(bool(_NUMBER.fullmatch(one)) for one in names) / len(names)
        if not named and numeric < 0.5 and not wanted:
            named = _has_roles(names)
        in_comment = bool(last) and position == 0
        if not named and (len(names) != common or in_comment):
            continue
        score = (float(named), float(numeric < 0.5), share + full, float(quoted),
                 min(len(names), 3), float(len(names)), -float(number))  # fmt: skip
        if best is None or score > best[0]:
            before = comments + [delimiter.join(one) for line, one in rows if line < number]
            best = (score, _Layout(delimiter, quoted, number, names, tuple(before)))
        if not named:
            break  # without known names the first full row is the header, never a later one
    return best


def _has_roles(names: list[str]) -> bool:
    try:
        return find_roles(names) is not None
    except ValueError:
        return True


def _trimmed(fields: list[str]) -> list[str]:
    end = len(fields)
    while end > 1 and not fields[end - 1].strip():
        end -= 1
    return fields[:end]


def _read(
    text: str, layout: _Layout, options: ReadOptions, encoding: str
) -> tuple[RawTable, bool]:
    """Read all rows below the header; returns whether a row spans several lines, too."""
    names, notes = list(layout.header), []
    if len(names) > MAX_COLUMNS:
        raise ValueError(f"a table may have {MAX_COLUMNS:,} columns; got {len(names):,}.")
    if sum(bool(_NUMBER.fullmatch(one)) for one in names) >= 0.5 * len(names):
        raise ValueError(
            f"line {layout.header_line} holds numbers where the names of the columns should be; add "
            "a first line that names them, e.g. lon,lat,value."
        )
    width, rest = len(names), _Rows(layout, options)
    chunks: list[pd.DataFrame] = []
    lines: list[int] = []
    rows: list[list[str]] = []
    spans = False
    units: list[str] | None = None
    for number, fields, mark, several in _records(text, layout.delimiter, layout.quoted):
        if number <= layout.header_line:
            continue
        kept = rest.keep(number, fields, mark, width)
        if kept is None:
            continue
        if units is None and not lines:
            units = _units_row(names, kept)
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
    """Which records are rows: counts comments and blank lines, refuses what cannot be told."""

    def __init__(self, layout: _Layout, options: ReadOptions) -> None:
        self.left_out: dict[str, tuple[int, int]] = {}
        self.row_names = False
        self._layout, self._skip = layout, options.bad_lines == "skip"
        self._seen = 0
        self._marked = 0

    def _leave(self, reason: str, number: int) -> None:
        count, first = self.left_out.get(reason, (0, number))
        self.left_out[reason] = (count + 1, first)

    def keep(self, number: int, fields: list[str], mark: bool, width: int) -> list[str] | None:
        """Return the fields of a row, or None for what is none."""
        n = len(fields)
        if n == width and not mark:
            if any(fields) and any(one.strip() for one in fields):
                if self.row_names:
                    return self._ragged(number, n, width)
                self._seen += 1
                return fields
            self._leave("empty row", number)
            return None
        if not any(one.strip() for one in fields):
            if n > 1:
                self._leave("empty row", number)
            return None
        bare = fields[:width] if n > width and not any(fields[width:]) else fields
        if mark and (len(bare) != width or self._marked == self._seen == 0 or not self._marked):
            # A first column of "#1", "#2" is one of values.
            if len(bare) == width and self._seen == 0 and bare[0][:1] == "#":
                self._marked += 1
                self._seen += 1
                return bare
            self._leave("comment", number)
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

    def _ragged(self, number: int, n: int, width: int) -> None:
        if self._skip:
            self._leave("fields cannot be told", number)
            return
        hint = ""
        if self._layout.delimiter == "," and n in (2 * width, 2 * width - 1, width + 2):
            hint = " (decimal commas need another delimiter, or quotes)"
        raise _Ragged(
            f"line {number:,} has {n} fields where the header (line {self._layout.header_line}) has "
            f"{width}{hint}: mend that line, or leave such lines out with bad_lines='skip'."
        )


def _units_row(names: list[str], fields: list[str]) -> list[str] | None:
    """Return the cells of a row of units: where coordinates should be stand words like "deg"."""
    try:
        roles = find_roles([split_unit(one)[0] for one in names])
    except ValueError:
        return None
    if roles is None:
        return None
    plain = [split_unit(one)[0] for one in names]
    cells = [fields[plain.index(one)].strip() for one in (roles.lon, roles.lat)]
    if all(UNIT_CELL.fullmatch(one) for one in cells):
        return [one.strip(" ()[]{}") for one in fields]
    return None


def tidy_names(names: Sequence[object], notes: list[str]) -> tuple[list[str], dict[str, str]]:
    """Make labels unique and take units off them: "Temp [°C]" is Temp, in °C."""
    result: list[str] = []
    units: dict[str, str] = {}
    bare = [split_unit(str(one).strip()) for one in names]
    counts = Counter(name for name, _ in bare)
    if any(count > 1 for count in counts.values()):
        find_roles(name for name, _ in bare)  # two longitudes are refused here
    for position, (name, unit) in enumerate(bare):
        whole = str(names[position]).strip()
        # Two columns that differ by their unit alone keep it in their names.
        label = name if counts[name] == 1 else whole
        label = label or f"column {position + 1}"
        if label in result:
            notes.append(f"a second column {shown(label)!r} is called {shown(label)} ({position + 1})")
            label = f"{label} ({position + 1})"
        result.append(label)
        if unit:
            units[label] = unit
    return result, units

"""How delimited text is laid out: where its table begins and which character parts its fields."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from satclip_explore.files.columns import find_roles, split_unit
from satclip_explore.files.raw_table import MAX_COLUMNS, ReadOptions

DELIMITERS = {"\t": "tab", ";": "semicolon", ",": "comma", "|": "bar", " ": "spaces"}
COMMENT = re.compile(r"#(?!N/A|VALUE!|REF!|DIV/0!|NUM!|NULL!|NAME\?)|%|//")
"""How a line that is a comment begins; what a spreadsheet writes for an error is a value."""

HEAD = 300
"""Records that are looked at to find the header."""

MAX_LINE = 10_000_000
"""Characters of one line, and of one field."""

_SEP = re.compile(r"\"?sep=(.|\\t)\"?\s*$", re.IGNORECASE)
NUMBER = re.compile(r"\s*[-+−]?[\d.,]*\d[\d.,]*(?:[eE][-+]?\d+)?\s*")


@dataclass(frozen=True)
class Layout:
    """Where a table begins and how its fields are parted."""

    delimiter: str
    quoted: bool
    header_line: int
    header: list[str]
    comments: tuple[str, ...]


def _lines(text: str, delimiter: str) -> Iterator[str]:
    for number, line in enumerate(io.StringIO(text, newline=""), start=1):
        if len(line) > MAX_LINE or (delimiter and line.count(delimiter) > 2 * MAX_COLUMNS):
            raise ValueError(
                f"line {number:,} has more than {MAX_COLUMNS:,} columns or {MAX_LINE:,} "
                "characters; keep the columns that are needed."
            )
        yield line


def records(text: str, delimiter: str, quoted: bool) -> Iterator[tuple[int, list[str], bool, bool]]:
    """Yield first line, fields, whether a comment mark leads, whether it spans several lines."""
    if delimiter == " " or not quoted:
        for number, line in enumerate(_lines(text, delimiter.strip()), start=1):
            bare = line.rstrip("\r\n")
            fields = bare.split() if delimiter == " " else bare.split(delimiter)
            fields = [
                field[1:-1] if len(field) > 1 and field[0] == field[-1] == '"' else field
                for field in fields
            ]
            yield number, fields, bool(COMMENT.match(bare.lstrip())), False
        return
    marked: set[int] = set()

    def watched() -> Iterator[str]:
        for number, line in enumerate(_lines(text, delimiter), start=1):
            if COMMENT.match(line):
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
            f"line {start:,} has a quotation mark that does not close its field ({error}); "
            "double it or remove it."
        ) from error


def find_layouts(text: str, options: ReadOptions) -> list[Layout]:
    """Rank the ways to read the head of the file, the most plausible first."""
    first = text[:200].split("\n", 1)[0].strip("\r")
    said = _SEP.match(first)
    wanted = options.delimiter or (said[1].replace("\\t", "\t") if said else None)
    # A file of one column has none of them, and is read with commas.
    possible = [wanted] if wanted else [mark for mark in DELIMITERS if mark == "," or mark in text]
    found: list[tuple[tuple[float, ...], Layout]] = []
    for preference, delimiter in enumerate(possible):
        for quoted in (True, False) if '"' in text and delimiter != " " else (False,):
            head: list[tuple[int, list[str], bool, bool]] = []
            with suppress(csv.Error):
                for record in records(text, delimiter, quoted):
                    head.append(record)
                    if len(head) >= HEAD:
                        break
            layout = _find_header(head, delimiter, quoted, options, 1 if said else 0)
            if layout is not None:
                score, chosen = layout
                if delimiter == " " and any(_parts_better(other, layout) for other in found):
                    continue
                found.append(((*score, -float(preference)), chosen))
    found.sort(key=lambda scored: scored[0], reverse=True)
    return [layout for _, layout in found[:4]]


def _parts_better(
    other: tuple[tuple[float, ...], Layout], spaces: tuple[tuple[float, ...], Layout]
) -> bool:
    """Tell whether another mark parts what spaces, which stand in names and values too, also part.

    "Longitude (deg)" is one name where tabs part the others, and "POINT (13.4 52.5)" one value.
    """
    (named, _, fit, *_), layout = other
    later = spaces[1].header_line - layout.header_line
    even = fit == 2.0 and len(layout.header) > 1
    return bool(named) or (even and (later > 0 or (later == 0 and not spaces[0][0])))


def _find_header(
    head: Sequence[tuple[int, list[str], bool, bool]],
    delimiter: str,
    quoted: bool,
    options: ReadOptions,
    skip: int,
) -> tuple[tuple[float, ...], Layout] | None:
    """Find the record that names the columns; score how well the rest follows it."""
    comments: list[str] = []
    rows: list[tuple[int, list[str]]] = []
    marked: list[tuple[int, list[str]]] = []
    lengths: dict[int, int] = {}
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
        elif any(field.strip() for field in fields):
            rows.append((number, _trimmed(fields)))
            lengths[number] = len(fields)
    if not rows:
        return None
    asked = (options.lon, options.lat, *options.columns)
    wanted = {str(name) for name in asked if name is not None}
    candidates = list(rows[:60])
    last = marked and [row for row in marked if row[0] < rows[0][0]][-1:]
    for number, fields in last or ():
        bare = [fields[0].lstrip("#%/ "), *fields[1:]]
        bare = bare[1:] if delimiter == " " and not bare[0] else bare
        candidates.insert(0, (number, _trimmed(bare)))
    best: tuple[tuple[float, ...], Layout] | None = None
    widths = Counter(len(fields) for _, fields in rows)
    common = widths.most_common(1)[0][0]
    for position, (number, fields) in enumerate(candidates):
        names = [field.strip() for field in fields]
        if not names:
            continue
        named = bool(wanted) and wanted <= {*names, *(split_unit(name)[0] for name in names)}
        numeric = sum(bool(NUMBER.fullmatch(name)) for name in names) / len(names)
        if not named and numeric < 0.5 and not wanted:
            named = _has_roles(names)
        in_comment = bool(last) and position == 0
        if not named and (len(names) != common or in_comment):
            continue
        following = [(len(row), lengths[line]) for line, row in rows if line > number]
        share = sum(filled <= len(names) for filled, _ in following) / max(1, len(following))
        # Empty fields at the end of a row are fields, too.
        as_wide = sum(filled <= len(names) <= width for filled, width in following)
        full = as_wide / max(1, len(following))
        score = (float(named), float(numeric < 0.5), share + full, float(quoted),
                 min(len(names), 3), float(len(names)), -float(number))  # fmt: skip
        if best is None or score > best[0]:
            before = comments + [delimiter.join(row) for line, row in rows if line < number]
            best = (score, Layout(delimiter, quoted, number, names, tuple(before)))
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

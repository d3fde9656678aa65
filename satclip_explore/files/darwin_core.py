"""Darwin Core Archives without lines of names: their meta.xml says what each field is."""

from __future__ import annotations

from pathlib import PurePosixPath
from xml.etree import ElementTree

from satclip_explore.files.crs import LIKE_WGS84, NOT_SAID, datum_columns

TEXT = "{http://rs.tdwg.org/dwc/text/}"
ESCAPED = {r"\t": "\t", r"\n": "\n", r"\r": "\r"}
MAX_FIELDS = 10_000


def with_names(meta: bytes, name: str, body: bytes) -> bytes:
    """Put the names of its columns above a table of an archive, if it has none.

    Parameters
    ----------
    meta : bytes
        The archive's meta.xml, without entities.
    name : str
        Of the table's file.
    body : bytes
        Of the table.

    Returns
    -------
    bytes
        With names above where meta.xml describes it and says that no line is to be skipped.

    Raises
    ------
    ValueError
        If meta.xml is damaged, or says of all places one datum that is not as good as WGS 84.

    References
    ----------
    Darwin Core Text Guide, https://dwc.tdwg.org/text.
    """
    try:
        root = ElementTree.fromstring(meta)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError("the archive's meta.xml is damaged: it does not read as XML.") from error
    for table in root:
        files = [PurePosixPath(said.text or "").name for said in table.iter(f"{TEXT}location")]
        if PurePosixPath(name).name not in files:
            continue
        _refuse_other_datum(table)
        names = _names(table)
        delimiter = table.get("fieldsTerminatedBy", ",")
        delimiter = ESCAPED.get(delimiter, delimiter)
        skipped = table.get("ignoreHeaderLines", "0").strip()
        first = body[:100_000].split(b"\n", 1)[0].decode("utf-8", "replace").strip("\ufeff\r")
        has_names = {word.strip('" ').lower() for word in first.split(delimiter)}
        if skipped != "0" or not names or has_names & {n.lower() for n in names if n != "id"}:
            return body
        encoding = table.get("encoding", "UTF-8") or "UTF-8"
        try:
            return f"{delimiter.join(names)}\n".encode(encoding) + body
        except LookupError as error:
            raise ValueError(f"meta.xml names an unknown encoding, {encoding!r:.40}.") from error
    return body


def _refuse_other_datum(table: ElementTree.Element) -> None:
    """Refuse a datum that meta.xml says once for all rows: no column of the table tells it."""
    for field in table:
        said = field.get("default", "").strip()
        if (
            datum_columns([field.get("term", "").rpartition("/")[2]])
            and said.lower() not in NOT_SAID
            and not LIKE_WGS84.fullmatch(said)
        ):
            raise ValueError(
                f"the archive's meta.xml says that places are in {said[:40]!r}, where they may lie "
                "hundreds of meters from the same numbers in WGS 84; unpack the archive, and read "
                "its table with crs=, such as 'EPSG:4267' for NAD27."
            )


def _names(table: ElementTree.Element) -> list[str]:
    """List the names of a table's columns, in their order."""
    at: dict[int, str] = {}
    for field in table:
        index = field.get("index", "")
        if index.isdecimal() and int(index) < MAX_FIELDS:
            term = field.get("term", "id").rstrip("/")
            at.setdefault(int(index), term.rpartition("/")[2].rpartition("#")[2] or "id")
    return [at.get(i, f"field {i}") for i in range(max(at) + 1)] if at else []

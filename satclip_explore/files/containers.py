"""What a source is: bytes out of paths and archives, text out of bytes. Everything is hostile."""

from __future__ import annotations

import codecs
import io
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from satclip_explore.files.columns import listed, shown
from satclip_explore.files.darwin_core import with_names
from satclip_explore.files.raw_table import MAX_BYTES, MAX_UNPACKED

MAX_MEMBERS = 10_000
MAX_RATIO = 200
"""A member of an archive that unpacks to more times its size, and past 10 MB, is a bomb."""

BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
        codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}  # fmt: skip
SHAPEFILE = {".shp", ".shx", ".dbf", ".prj", ".cpg", ".qpj", ".sbn", ".sbx", ".qix", ".qmd"}


@dataclass(frozen=True)
class Content:
    """A file, in memory or on disk.

    Parameters
    ----------
    name : str
        For people.
    data : bytes
        All of it, or the first kilobyte where `path` is given.
    path : pathlib.Path, optional
        Of a file that a library reads by itself.
    parts : dict of str to bytes, optional
        Members of an archive that belong together, as those of a shapefile.
    """

    name: str
    data: bytes
    path: Path | None = None
    parts: dict[str, bytes] | None = None

    def whole(self) -> bytes:
        """Return all bytes; a file that is too large is refused."""
        if self.path is None:
            return self.data
        check_size(self.path.stat().st_size)
        return self.path.read_bytes()


def check_size(n_bytes: int, limit: int = MAX_BYTES) -> None:
    """Refuse a file that is too large."""
    if n_bytes > limit:
        raise ValueError(
            f"a file may have {limit // 10**6} MB; got {n_bytes / 1e6:.0f} MB. "
            "Keep the columns and rows that are needed."
        )


def open_content(source: Any, member: str | None = None) -> Content:
    """Return what a path or bytes hold, unpacked.

    Raises
    ------
    ValueError
        If it is empty, too large, a bomb, holds paths out of the archive, or several files.
    FileNotFoundError
        If there is no such file.
    """
    if isinstance(source, (str, Path)):
        if re.match(r"[a-z][a-z0-9+]*://", str(source)):
            raise ValueError(
                f"{shown(source)!r} is an address; download the file and give its path."
            )
        path = Path(source)
        if path.is_dir():
            return Content(path.name, b"", path)
        if not path.is_file():
            raise FileNotFoundError(f"no table at {path}.")
        with path.open("rb") as file:
            content = Content(path.name, file.read(1024), path)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        check_size(len(source))
        content = Content(str(getattr(source, "name", "an uploaded file")), bytes(source))
    elif hasattr(source, "read"):
        data = source.read(MAX_BYTES + 1)
        check_size(len(data))
        content = Content(str(getattr(source, "name", "a file")), data)
    else:
        raise ValueError(f"a table is a path, bytes or a frame; got {type(source).__name__}.")
    if not content.data.strip():
        raise ValueError("the file is empty.")
    if content.data[:2] == b"\x1f\x8b":
        return open_content(_gunzip(content.whole()))
    if content.data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _open_zip(content, member)
    return content


def _gunzip(data: bytes) -> bytes:
    machine = zlib.decompressobj(wbits=31)
    try:
        out = machine.decompress(data, MAX_UNPACKED + 1)
        while machine.eof and machine.unused_data and len(out) <= MAX_UNPACKED:
            data, machine = machine.unused_data, zlib.decompressobj(wbits=31)
            out += machine.decompress(data, MAX_UNPACKED + 1 - len(out))
    except zlib.error as error:
        raise ValueError("the file begins like gzip but is damaged.") from error
    check_size(len(out), MAX_BYTES)
    if not machine.eof:
        raise ValueError("the file begins like gzip but is cut short.")
    return out


def _open_zip(content: Content, member: str | None) -> Content:
    data = content.whole()
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ValueError("the file begins like a zip archive but is damaged.") from error
    check_archive(entries)
    names = [entry.filename for entry in entries]
    if "[Content_Types].xml" in names and any(name.startswith("xl/") for name in names):
        return Content(content.name, data)
    if {"mimetype", "content.xml"} <= {*names}:
        raise ValueError("the file is an OpenDocument spreadsheet (ODS); save it as XLSX or CSV.")
    if any(name.endswith("Index/Document.iwa") for name in names):
        raise ValueError("the file is a document of Apple Numbers; export it as XLSX or CSV.")
    kept = [entry for entry in entries if not _is_junk(entry.filename)]
    if any(PurePosixPath(name).name in (".zgroup", ".zarray", "zarr.json") for name in names):
        return Content(content.name, data, parts=_read_parts(archive, kept))
    shapes = [entry for entry in kept if entry.filename.lower().endswith(".shp")]
    if member is not None:
        chosen = [entry for entry in kept if entry.filename == member]
        if not chosen:
            raise ValueError(f"no {shown(member)!r} in the archive; it holds "
                             f"{listed(entry.filename for entry in kept)}.")  # fmt: skip
    elif len(shapes) == 1 or shapes:
        chosen = shapes
    else:
        text = (".xml", ".txt", ".md", ".pdf", ".html", ".rst")
        tables = [entry for entry in kept if not entry.filename.lower().endswith(text)]
        chosen = tables or kept
        occurrence = [
            entry for entry in kept if PurePosixPath(entry.filename).name == "occurrence.txt"
        ]
        kml = [entry for entry in kept if entry.filename.lower().endswith(".kml")]
        chosen = occurrence or kml[:1] or chosen
    if len(chosen) != 1:
        held = listed(entry.filename for entry in chosen) if chosen else "nothing"
        raise ValueError(f"the archive holds {held}; say which file to read with member=.")
    entry = chosen[0]
    if entry.filename.lower().endswith(".shp"):
        stem = entry.filename[:-4]
        family = [other for other in kept if other.filename[: len(stem)] == stem
                  and PurePosixPath(other.filename).suffix.lower() in SHAPEFILE]  # fmt: skip
        parts = {f"places{PurePosixPath(name).suffix.lower()}": body
                 for name, body in _read_parts(archive, family).items()}  # fmt: skip
        return Content(entry.filename, parts["places.shp"], parts=parts)
    inside = _read_parts(archive, [entry])[entry.filename]
    folder = entry.filename.rpartition("/")[0]
    described = [e for e in kept if e.filename in ("meta.xml", f"{folder}/meta.xml")]
    if described:
        meta = _read_parts(archive, described)[described[0].filename]
        check_xml(meta)
        inside = with_names(meta, entry.filename, inside)
    if inside[:4] == b"PK\x03\x04" and b"xl/" not in inside:
        raise ValueError("the archive holds another archive; unpack it first.")
    return open_content(inside)


def check_xml(data: bytes) -> None:
    """Refuse XML with a document type: entities could unpack to gigabytes or read files."""
    head = data.replace(b"\0", b"").upper()
    if b"<!DOCTYPE" in head or b"<!ENTITY" in head:
        raise ValueError("the XML declares entities (<!DOCTYPE>), which are not read; remove them.")


def check_archive(entries: list[zipfile.ZipInfo]) -> None:
    """Refuse what would unpack to too much, or to places outside of the archive."""
    if len(entries) > MAX_MEMBERS:
        raise ValueError(f"an archive may hold {MAX_MEMBERS:,} files; got {len(entries):,}.")
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", entry.filename):
            raise ValueError(
                f"the archive holds a path that leads out of it ({shown(entry.filename)!r})."
            )
        if entry.flag_bits & 1:
            raise ValueError("the archive is encrypted; unpack it first.")
        if entry.file_size > 10_000_000 and entry.file_size > MAX_RATIO * max(
            1, entry.compress_size
        ):
            raise ValueError(
                f"{shown(entry.filename)!r} in the archive unpacks to "
                f"{entry.file_size / 1e6:,.0f} MB, more than {MAX_RATIO} times its size; "
                "unpack it first if you trust it."
            )
    total = sum(entry.file_size for entry in entries)
    if total > MAX_UNPACKED:
        raise ValueError(
            f"an archive may unpack to {MAX_UNPACKED // 10**6} MB; this says {total / 1e6:,.0f} MB."
        )


def _read_parts(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> dict[str, bytes]:
    try:
        return {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError,
            ValueError) as error:  # fmt: skip
        raise ValueError("the archive is damaged, or packed in a way that is not read.") from error


def _is_junk(name: str) -> bool:
    path = PurePosixPath(name)
    return "__MACOSX" in path.parts or path.name.startswith("._") or path.name == ".DS_Store"


def decode(data: bytes, encoding: str | None = None) -> tuple[str, str]:
    """Decode text; returns it and the encoding: by mark, by zeros, UTF-8, Windows-1252.

    Raises
    ------
    ValueError
        If it is binary, or not text in the encoding that was said.
    """
    name = encoding or next((how for mark, how in BOMS.items() if data.startswith(mark)), "")
    if not name and b"\0" in data[:4096]:
        even, odd = data[0:4096:2].count(0), data[1:4096:2].count(0)
        half = min(len(data), 4096) / 2
        if max(even, odd) < 0.7 * half or min(even, odd) > 0.1 * half:
            raise ValueError("the file holds binary data in a format that is not read.")
        name = "utf-16-be" if even > odd else "utf-16-le"
    try:
        text = data.decode(name or "utf-8")
    except LookupError as error:
        raise ValueError(f"no encoding is called {shown(encoding)!r}; try 'utf-8'.") from error
    except UnicodeDecodeError as error:
        if name:
            raise ValueError(f"the file is not text in {name} (byte {error.start:,}); say another "
                             "with encoding=.") from error  # fmt: skip
        try:
            text, name = data.decode("cp1252"), "Windows-1252"
        except UnicodeDecodeError as again:
            raise ValueError(
                f"the file is neither UTF-8 nor Windows-1252 text (byte {again.start:,}); say "
                "which with encoding=."
            ) from again
    if "\0" in text:
        raise ValueError("the file holds binary data in a format that is not read.")
    return text.lstrip("\ufeff"), {"": "UTF-8", "utf-8-sig": "UTF-8"}.get(
        name, name.replace("utf", "UTF")
    )

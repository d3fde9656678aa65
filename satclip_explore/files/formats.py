"""The registry of formats: each is told by its content, never by its name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from satclip_explore.files.containers import Content, decode
from satclip_explore.files.delimited import read_delimited
from satclip_explore.files.grids import read_geotiff, read_netcdf, read_zarr
from satclip_explore.files.raw_table import RawTable, ReadOptions
from satclip_explore.files.records import read_json, read_xlsx
from satclip_explore.files.vectors import (
    read_layers,
    read_parquet,
    read_shapefile,
    read_stata,
    read_xml,
)

Reader = Callable[[Content, ReadOptions], RawTable]


def _starts(*marks: bytes) -> Callable[[Content], bool]:
    return lambda content: content.data.startswith(marks)


def _is_zarr(content: Content) -> bool:
    folder = content.path is not None and content.path.is_dir()
    return folder or (content.parts is not None and "places.shp" not in content.parts)


def _is_stata(content: Content) -> bool:
    head = content.data[:11]
    # Formats 102 to 115 begin with their number and an order of bytes, later ones with a tag.
    return head == b"<stata_dta>" or (
        102 <= head[0] <= 115 and head[1:2] in (b"\1", b"\2") and head[2:3] == b"\1"
    )


def _text_start(*marks: bytes) -> Callable[[Content], bool]:
    def test(content: Content) -> bool:
        head = content.data[:400].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe\x1e \t\r\n")
        return head.startswith(marks)

    return test


def _refuse(kind: str, instead: str) -> Reader:
    def read(content: Content, options: ReadOptions) -> RawTable:
        raise ValueError(f"the file is {kind}; {instead}.")

    return read


def _read_text(content: Content, options: ReadOptions) -> RawTable:
    text, encoding = decode(content.whole(), options.encoding)
    if not text.strip():
        raise ValueError("the file is empty.")
    return read_delimited(text, options, encoding)


FORMATS: tuple[tuple[str, Callable[[Content], bool], Reader], ...] = (
    ("Zarr", _is_zarr, read_zarr),
    ("shapefile", _starts(b"\x00\x00\x27\x0a"), read_shapefile),
    ("XLSX", _starts(b"PK\x03\x04"), read_xlsx),
    ("Parquet", _starts(b"PAR1"), read_parquet),
    ("GeoPackage", _starts(b"SQLite format 3\0"), partial(read_layers, format="GeoPackage")),
    ("FlatGeobuf", _starts(b"fgb\x03fgb"), partial(read_layers, format="FlatGeobuf")),
    ("NetCDF", _starts(b"CDF\x01", b"CDF\x02", b"CDF\x05", b"\x89HDF\r\n\x1a\n"), read_netcdf),
    ("GeoTIFF", _starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), read_geotiff),
    ("Stata", _is_stata, read_stata),
    ("SPSS", _starts(b"$FL2@(#)", b"$FL3@(#)"),
     _refuse("an SPSS file (SAV)", "save it as CSV, XLSX or Stata")),
    ("SAS", lambda content: content.data[12:20] == b"\xc2\xea\x81\x60\xb3\x14\x11\xcf",
     _refuse("a SAS file", "save it as CSV or XLSX")),
    ("Feather", _starts(b"ARROW1"), _refuse("a Feather file", "save it as Parquet or CSV")),
    ("Access", _starts(b"\0\1\0\0Standard "),
     _refuse("an Access database", "export the table as CSV or XLSX")),
    ("old Excel", _starts(b"\xd0\xcf\x11\xe0"),
     _refuse("an old Excel workbook (XLS)", "save it as XLSX or CSV")),
    ("pickle", _starts(b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
     _refuse("a pickle, which could run code", "save it as CSV or Parquet")),
    ("NumPy", _starts(b"\x93NUMPY"), _refuse("a NumPy array without names", "save it as CSV")),
    ("R", _starts(b"RDX", b"X\n\0", b"BZh"), _refuse("R data or bzip2", "save it as CSV")),
    ("PDF", _starts(b"%PDF"), _refuse("a PDF", "save the table as CSV")),
    ("HTML", _text_start(b"<html", b"<HTML", b"<table", b"<TABLE", b"<!DOCTYPE html"),
     _refuse("a web page", "save the table as CSV or XLSX")),
    ("XML", _text_start(b"<?xml", b"<kml", b"<gpx", b"<!DOCTYPE"), read_xml),
    ("JSON", _text_start(b"{", b"["), read_json),
)  # fmt: skip
"""Name, test and reader; what is none of these is read as delimited text."""


def read_content(content: Content, options: ReadOptions) -> RawTable:
    """Read a file by the first format whose mark it bears.

    Raises
    ------
    ValueError
        If it cannot be read; one sentence.
    """
    for name, test, read in FORMATS:
        if test(content):
            return _read_format(name, read, content, options)
    return _read_text(content, options)


def _read_format(name: str, read: Reader, content: Content, options: ReadOptions) -> RawTable:
    """Read a file through a library, which may raise anything where it is damaged."""
    try:
        return read(content, options)
    except ImportError:
        raise
    except Exception as error:
        if type(error) is ValueError and str(error).endswith("."):
            raise  # in a sentence of ours
        raise ValueError(f"the file does not read as {name}: it is damaged.") from error

"""Vector formats of GIS: shapefile, GeoPackage, FlatGeobuf, KML, GPX; Parquet and Stata."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any
from xml.parsers import expat

import pandas as pd

from satclip_explore.files.columns import listed, shown
from satclip_explore.files.containers import Content, check_size, check_xml
from satclip_explore.files.raw_table import (
    MAX_BYTES,
    MAX_COLUMNS,
    MAX_ROWS,
    RawTable,
    ReadOptions,
    numbered,
)

DRIVERS = {
    "shapefile": ("ESRI Shapefile",), "GeoPackage": ("GPKG",), "FlatGeobuf": ("FlatGeobuf",),
    "KML": ("KML", "LIBKML"), "GPX": ("GPX",),
}  # fmt: skip
"""Which of GDAL's drivers may open a format: others read what a file names, here or elsewhere."""

GPX_LAYERS = ("waypoints", "track_points", "route_points")
KML_STYLE = ("tessellate", "extrude", "visibility", "drawOrder", "icon")


def _pyogrio() -> Any:
    try:
        import geopandas  # noqa: F401
        import pyogrio
    except ImportError as error:
        raise ImportError(
            "GIS formats need geopandas and pyogrio: pip install 'satclip-explore[geo]'"
        ) from error
    return pyogrio


def read_shapefile(content: Content, options: ReadOptions) -> RawTable:
    """Read a shapefile: a path with its parts beside it, or the members of a zip."""
    if content.path is not None:
        check_size(sum(file.stat().st_size for file in content.path.parent.glob(
            f"{content.path.stem}.*")))  # fmt: skip
        return _read(content.path, "shapefile", options)
    if content.parts is None:
        raise ValueError(
            "a shapefile has several parts (.shp, .shx, .dbf, .prj); zip them together."
        )
    if "places.dbf" not in content.parts:
        raise ValueError("the shapefile in the archive lacks its .dbf, which holds the columns.")
    with tempfile.TemporaryDirectory() as folder:
        for name, data in content.parts.items():
            (Path(folder) / name).write_bytes(data)
        return _read(Path(folder) / "places.shp", "shapefile", options)


def read_layers(content: Content, options: ReadOptions, format: str) -> RawTable:
    """Read a file of layers: GeoPackage or FlatGeobuf."""
    data = content.whole()
    if format == "GeoPackage" and not data[68:72].startswith(b"GP"):
        raise ValueError("the file is a SQLite database, but no GeoPackage; save it as GeoPackage.")
    if b"<" in data[8:12]:  # GDAL would take it for XML that names other files
        raise ValueError(f"the file begins like {format} but is damaged.")
    suffix = {"GeoPackage": ".gpkg", "FlatGeobuf": ".fgb"}[format]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"places{suffix}"
        path.write_bytes(data)
        return _read(path, format, options)


def read_xml(content: Content, options: ReadOptions) -> RawTable:
    """Read KML or GPX; other XML is refused, and so are entities."""
    data = content.whole()
    check_xml(data)
    format = _root(data).rpartition(":")[2].upper()
    if format not in ("KML", "GPX"):
        raise ValueError("the file is XML, but neither KML nor GPX.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"places.{format.lower()}"
        path.write_bytes(data)
        return _read(path, format, options)


def _root(data: bytes) -> str:
    """Return the name of the one element that XML is made of."""
    elements: list[str] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, _: elements.extend([] if elements else [name])
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise ValueError("the file begins like XML but is damaged.") from error
    return elements[0]


def _read(path: Path, format: str, options: ReadOptions) -> RawTable:
    pyogrio, left = _pyogrio(), list[str]()
    try:
        layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
        if options.layer is not None and options.layer not in layers:
            raise ValueError(f"no layer {shown(options.layer)!r}; got {listed(layers)}.")
        if format == "GPX":
            filled = [layer for layer in GPX_LAYERS if _count(pyogrio, path, layer)]
            layers = filled[:1] or layers[:1]
            left = filled[1:]
        if options.layer is not None:
            layers, left = [options.layer], []
        if not layers:
            raise ValueError(f"the {format} holds no layer with a geometry.")
        if len(layers) > 1 and format != "KML":
            raise ValueError(
                f"the {format} holds the layers {listed(layers)}; say which with layer=."
            )
        for layer in layers:
            info = pyogrio.read_info(path, layer=layer)
            if info["driver"] not in DRIVERS[format]:
                raise ValueError(f"the file begins like {format} and is another format.")
            if info["features"] > MAX_ROWS or len(info["fields"]) > MAX_COLUMNS:
                raise ValueError(
                    f"a layer may have {MAX_ROWS:,} features and {MAX_COLUMNS:,} columns; got "
                    f"{info['features']:,} and {len(info['fields']):,}."
                )
        frames = [pyogrio.read_dataframe(path, layer=layer) for layer in layers]
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError,
            pyogrio.errors.FeatureError, pyogrio.errors.CRSError) as error:  # fmt: skip
        reason = " ".join(str(error).replace(str(path), "the file").split())[:160]
        raise ValueError(f"the file does not read as {format}: {reason}.") from error
    frame = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    if format in ("KML", "GPX"):
        # Columns of the schema that the file does not use.
        unused = [column for column in frame.columns if column in KML_STYLE
                  or (column != "geometry" and frame[column].isna().all())]  # fmt: skip
        frame = frame.drop(columns=unused)
    notes: tuple[str, ...] = ()
    if len(layers) > 1:
        notes = (f"the layers {listed(layers)} were joined",)
    if left:
        notes += (f"{listed(layers)} were read, and {listed(left)} were not; layer= says which",)
    return numbered(frame, format, "feature", notes=notes)


def _count(pyogrio: Any, path: Path, layer: str) -> int:
    return int(pyogrio.read_info(path, layer=layer, force_feature_count=True)["features"])


def read_parquet(content: Content, options: ReadOptions) -> RawTable:
    """Read Parquet, with the geometry of GeoParquet."""
    del options
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise ImportError("Parquet needs pyarrow: pip install 'satclip-explore[geo]'") from error
    data = content.whole()
    try:
        file = parquet.ParquetFile(io.BytesIO(data))
        meta = file.metadata
        # A small file can unpack to many times its size.
        size = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
        if meta.num_rows > MAX_ROWS or size > 10 * MAX_BYTES or meta.num_columns > MAX_COLUMNS:
            raise ValueError(
                f"a table may have {MAX_ROWS:,} rows, {MAX_COLUMNS:,} columns and "
                f"{10 * MAX_BYTES // 10**6} MB unpacked; got {meta.num_rows:,}, "
                f"{meta.num_columns:,} and {size / 1e6:.0f} MB."
            )
        if b"geo" not in (file.schema_arrow.metadata or {}):
            return numbered(file.read().to_pandas(), "Parquet")
    except (ArrowException, OSError) as error:
        raise ValueError("the file begins like Parquet but is damaged.") from error
    try:
        import geopandas
    except ImportError as error:
        raise ImportError(
            "GeoParquet needs geopandas: pip install 'satclip-explore[geo]'"
        ) from error
    try:
        return numbered(geopandas.read_parquet(io.BytesIO(data)), "GeoParquet")
    except (ValueError, TypeError, KeyError, ArrowException) as error:
        raise ValueError("the file's GeoParquet metadata cannot be read.") from error


def read_stata(content: Content, options: ReadOptions) -> RawTable:
    """Read a Stata file: codes with labels become their labels."""
    del options
    data = content.whole()
    try:
        frame = pd.read_stata(io.BytesIO(data))
    except ValueError:  # two codes have one label
        frame = pd.read_stata(io.BytesIO(data), convert_categoricals=False)
    for label in frame.columns:
        if isinstance(frame[label].dtype, pd.CategoricalDtype):
            frame[label] = frame[label].astype(object)
    return numbered(frame, "Stata", "row")

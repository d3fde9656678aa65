"""A table of places or polygons as a file of GIS: GeoPackage, GeoJSON, GeoParquet, FlatGeobuf."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from satclip_explore.files.atomic import write_whole
from satclip_explore.geo import as_lonlat
from satclip_explore.provenance import clean_facts, provenance

DRIVERS = {".gpkg": "GPKG", ".fgb": "FlatGeobuf"}
ENDINGS = (".gpkg", ".geojson", ".parquet", ".fgb")


def to_vector(
    frame: pd.DataFrame, path: str | Path, facts: Mapping[str, Any] | None = None
) -> Path:
    """Write a table with its points or polygons, in the format that the path's ending names.

    Parameters
    ----------
    frame : pandas.DataFrame or geopandas.GeoDataFrame
        Any geometry, in the coordinate system that it says; or columns lon and lat, as points in
        EPSG:4326. The index is left out.
    path : path
        Ends in .gpkg, .geojson (always in longitude and latitude), .parquet or .fgb.
    facts : mapping, optional
        Provenance, as in `to_csv`; kept where the format has a place for it.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If the ending is unknown, there are no places, or a column cannot be written.
    ImportError
        If geopandas is not installed.
    """
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise ValueError(f"path must end in {', '.join(ENDINGS)}; got {path.name!r:.60}.")
    return write_whole(path, vector_bytes(frame, path.suffix, facts, layer=path.stem))


def vector_bytes(
    frame: pd.DataFrame,
    ending: str,
    facts: Mapping[str, Any] | None = None,
    *,
    layer: str = "places",
) -> bytes:
    """Encode a table with its points or polygons; see `to_vector`.

    Parameters
    ----------
    frame, facts
        As in `to_vector`.
    ending : str
        .gpkg, .geojson, .parquet or .fgb.
    layer : str
        What a GeoPackage calls the table.
    """
    try:
        import geopandas
    except ImportError as error:
        raise ImportError(
            "vector files need geopandas: pip install 'satclip-explore[geo]'"
        ) from error
    said = {**provenance(), **clean_facts(frame.attrs), **clean_facts(facts or {})}
    if hasattr(frame, "crs") and hasattr(frame, "geometry"):
        placed = frame.copy(deep=False)
        if placed.crs is None:
            raise ValueError("the geometry says no coordinate system; use frame.set_crs first.")
    else:
        points = geopandas.points_from_xy(*as_lonlat(frame).T)
        placed = geopandas.GeoDataFrame(frame, geometry=points, crs="EPSG:4326")
    placed.attrs = {}
    placed = placed.reset_index(drop=True)
    placed.columns = [str(label) for label in placed.columns]
    try:
        return _content(placed, ending, said, layer)
    except (RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"the table cannot be written as {ending}: {reason}.") from error


def _content(placed: Any, ending: str, said: dict[str, str], layer: str) -> bytes:
    """Write in memory: a full disk would show itself in the words of each library."""
    import pyogrio

    if ending == ".geojson":
        document = json.loads(placed.to_crs("EPSG:4326").to_json(drop_id=True))
        document.pop("crs", None)
        return json.dumps({"provenance": said, **document}, ensure_ascii=False).encode()
    buffer = io.BytesIO()
    if ending == ".parquet":
        _write_parquet(placed, buffer, said)
    else:
        # GeoPackage alone has a place for facts; FlatGeobuf's index would sort the rows.
        special: dict[str, dict[str, Any]] = {
            ".gpkg": {"layer_metadata": said},
            ".fgb": {"SPATIAL_INDEX": "NO"},
        }
        pyogrio.write_dataframe(
            placed, buffer, layer=layer, driver=DRIVERS[ending], **special[ending]
        )
    return buffer.getvalue()


def _write_parquet(placed: Any, buffer: io.BytesIO, facts: Mapping[str, str]) -> None:
    """Write GeoParquet with facts in its metadata, under the key of `geoparquet_bytes`."""
    from pyarrow import parquet

    plain = io.BytesIO()
    placed.to_parquet(plain, index=False)
    table = parquet.read_table(plain)
    said = {b"satclip_explore": json.dumps(facts, ensure_ascii=False).encode()}
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **said})
    parquet.write_table(table, buffer, compression="zstd")

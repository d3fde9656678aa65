"""Which columns of a Parquet file hold vectors, and which the places that they are of."""

from __future__ import annotations

import json
import re
from typing import Any

from satclip_explore.files.columns import lonlat_columns

CENTERS = ("centre_lon", "centre_lat")
"""Major TOM's columns beside the footprint."""

USUAL_NAMES = ("embedding", "embeddings", "vector", "vectors")
"""Major TOM and Earth Index have "embedding", Clay "embeddings"."""


def list_columns(schema: Any) -> list[str]:
    """List the columns that hold lists of numbers."""
    from pyarrow import types

    return [
        field.name
        for field in schema
        if types.is_list(field.type)
        or types.is_large_list(field.type)
        or types.is_fixed_size_list(field.type)
        if types.is_floating(field.type.value_type) or types.is_integer(field.type.value_type)
    ]


def vector_columns(schema: Any, column: str | None = None) -> tuple[str, ...]:
    """Find the column of lists, or the numbered columns, that hold the vectors.

    Raises
    ------
    ValueError
        If there are none, or several.
    """
    from pyarrow import types

    lists = list_columns(schema)
    if column is not None:
        if column in lists:
            return (column,)
        raise ValueError(f"column {column!r:.60} holds no vectors; {_shown(lists)} do.")
    usual = [name for name in lists if name.lower() in USUAL_NAMES] or lists
    if len(usual) == 1:
        return (usual[0],)
    if usual:
        raise ValueError(f"several columns hold vectors: {_shown(usual)}; say column=.")
    runs: dict[str, list[tuple[int, str]]] = {}
    for f in schema:
        parts = re.fullmatch(r"(.*?)(\d{1,5})", f.name)
        if parts and types.is_floating(f.type):
            runs.setdefault(parts[1], []).append((int(parts[2]), f.name))
    complete = [
        sorted(run)
        for run in runs.values()
        if len(run) > 1 and max(run)[0] - min(run)[0] == len(run) - 1
    ]
    if not complete:
        raise ValueError(
            f"no column holds vectors: need one of lists, or columns such as emb_0, emb_1 …; got "
            f"{_shown(schema.names)}."
        )
    return tuple(name for _, name in max(complete, key=len))


def _shown(names: list[str]) -> str:
    return ", ".join(f"{name:.40}" for name in names[:8]) + (" …" if len(names) > 8 else "")


def place_columns(schema: Any) -> tuple[tuple[str, ...], Any]:
    """Find two columns of degrees, or the geometry and its reference system.

    Raises
    ------
    ValueError
        If there are none.
    """
    names = set(schema.names)
    if names.issuperset(CENTERS):
        return CENTERS, None
    try:
        geo = json.loads((schema.metadata or {}).get(b"geo", b"{}"))
        primary = str(geo.get("primary_column", "geometry"))
        facts = dict(geo.get("columns", {}).get(primary, {}))
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError("the file's GeoParquet metadata cannot be read.") from error
    if facts and primary in names:
        if facts.get("encoding", "WKB") != "WKB":
            raise ValueError(f"geometry must be WKB; got {facts['encoding']!r:.40}.")
        return (primary,), facts.get("crs")
    pair = lonlat_columns(schema.names)
    if pair is not None:
        return tuple(str(name) for name in pair), None
    if "geometry" in names:
        return ("geometry",), None
    raise ValueError(
        f"no places: need columns such as lon and lat, or geometry; got {_shown(schema.names)}."
    )

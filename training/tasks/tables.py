"""Bring your own labels: CSV, GeoJSON, GeoParquet or a frame becomes a task."""

from __future__ import annotations

from os.path import isfile
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satclip_explore.geo import lonlat_columns, wrap_lon
from training.tasks.atlas import ATLAS_TASKS, load_task
from training.tasks.table_reading import MAX_ROWS, read_table
from training.tasks.task import KINDS, Task

FEW_VALUES = 20
"""Whole numbers with no more different values than this are taken for classes."""


def as_task(task: Any, target: str | None = None, *, kind: str = "auto") -> Task:
    """Take a task by name, as it is, or from a table of one's own.

    Parameters
    ----------
    task : str, path, bytes, frame or Task
        A name in `list_tasks` comes before a file of that name.
    target, kind : str
        Of a table; see `task_from_table`.

    Raises
    ------
    ValueError
        If there is neither a task nor a file of that name, or `target` is given with a task that
        has its own.
    """
    named = isinstance(task, str) and task in ATLAS_TASKS
    if (named or isinstance(task, Task)) and (target is not None or kind != "auto"):
        name = task if named else task.name
        raise ValueError(f"target= and kind= are for tables; the task {name!r} has its own.")
    if isinstance(task, Task):
        return task
    if named or (isinstance(task, str) and not Path(task).suffix and not isfile(task)):
        return load_task(task)
    return task_from_table(task, target, kind=kind)


def task_from_table(
    table: Any,
    target: str | None = None,
    *,
    lon: str | None = None,
    lat: str | None = None,
    kind: str = "auto",
    name: str | None = None,
) -> Task:
    """Make a task from labelled places of one's own.

    Parameters
    ----------
    table : path, bytes, pandas.DataFrame or geopandas.GeoDataFrame
        CSV (comma, semicolon or tab; UTF-8), GeoJSON of points, Parquet or GeoParquet, told apart
        by content; or a frame.
    target : str, optional
        Column to predict. May be left out where the coordinates leave only one.
    lon, lat : str, optional
        Columns of coordinates in degrees. Default: lon/lat, longitude/latitude, lng/lat or x/y.
    kind : {"auto", "classification", "regression"}
        "auto" takes text, booleans and whole numbers of up to 20 values for classes.
    name : str, optional
        Of the task; default the column.

    Returns
    -------
    Task
        `dropped` says how many rows were left out and why: without a place, without a label, out
        of range, or at the place of an earlier row (which would leak from training to test).

    Raises
    ------
    ValueError
        If the content cannot be read, columns are missing, coordinates are not degrees, or too
        little is left to learn from.
    FileNotFoundError
        If a path does not exist.

    Examples
    --------
    >>> rows = pd.DataFrame({"lon": range(12), "lat": 0.0, "crop": ["rice", "maize"] * 6})
    >>> task_from_table(rows)
    Task('crop', classification, 12 places, 2 classes)
    """
    if kind != "auto" and kind not in KINDS:
        raise ValueError(f"kind must be auto, {' or '.join(KINDS)}; got {kind!r}.")
    frame, source = read_table(table)
    if not len(frame):
        raise ValueError("the table has no rows.")
    if len(frame) > MAX_ROWS:
        raise ValueError(f"a table may have {MAX_ROWS:,} rows; got {len(frame):,}.")
    frame, lon, lat = _coordinates(frame, lon, lat)
    column = _target_column(frame, target, lon, lat)
    return _clean(frame, lon, lat, column, kind, name or _shown(column), source)


def _coordinates(
    frame: pd.DataFrame, lon: str | None, lat: str | None
) -> tuple[pd.DataFrame, Any, Any]:
    """Find the coordinate columns; a geometry becomes two of them."""
    if (lon is None) != (lat is None):
        raise ValueError("give both lon= and lat=, or neither.")
    if lon is not None:
        missing = [one for one in (lon, lat) if one not in frame.columns]
        if missing:
            raise ValueError(f"no column {_shown(missing[0])!r}; got {_listed(frame.columns)}.")
        return frame, lon, lat
    if hasattr(frame, "geometry") and hasattr(frame, "crs"):
        if frame.crs is not None and not frame.crs.is_geographic:
            frame = frame.to_crs("EPSG:4326")
        points = frame.geometry.where(frame.geometry.geom_type == "Point")
        plain = pd.DataFrame(frame.drop(columns=frame.geometry.name))
        plain = plain.drop(columns=[one for one in ("lon", "lat") if one in plain.columns])
        return plain.assign(lon=points.x.to_numpy(), lat=points.y.to_numpy()), "lon", "lat"
    found = lonlat_columns(frame.columns)
    if found is None:
        raise ValueError(
            "no coordinate columns: need lon and lat (or longitude/latitude, lng/lat, x/y), or "
            f"name them with lon= and lat=; got {_listed(frame.columns)}."
        )
    return frame, *found


def _target_column(frame: pd.DataFrame, target: str | None, lon: Any, lat: Any) -> Any:
    others = [one for one in frame.columns if one not in (lon, lat)]
    if target is None and len(others) == 1:
        return others[0]
    if target is None:
        raise ValueError(f"say which column to predict with target=: {_listed(others)}.")
    if target not in others:
        raise ValueError(f"no column {_shown(target)!r} to predict; got {_listed(others)}.")
    if list(frame.columns).count(target) > 1:
        raise ValueError(f"column {_shown(target)!r} appears more than once; rename one.")
    return target


def _clean(
    frame: pd.DataFrame, lon: Any, lat: Any, column: Any, kind: str, name: str, source: str
) -> Task:
    """Leave out the rows that cannot be used, and count them."""
    places = np.stack(
        [pd.to_numeric(frame[one], errors="coerce").to_numpy(np.float64) for one in (lon, lat)], 1
    )
    values = frame[column]
    kind = infer_kind(values) if kind == "auto" else kind
    if kind == "regression":
        values = pd.to_numeric(values, errors="coerce").replace([np.inf, -np.inf], np.nan)
    known = values.notna().to_numpy()
    finite = np.isfinite(places).all(axis=1)
    in_range = finite & (np.abs(places[:, 0]) <= 540.0) & (np.abs(places[:, 1]) <= 90.0)
    if finite.any() and in_range.sum() < 0.5 * finite.sum():
        largest = np.abs(places[finite]).max()
        what = "coordinates in metres" if largest > 1000 else "latitude and longitude swapped"
        raise ValueError(
            f"most coordinates are not degrees (up to {largest:,.0f}): {what}? Give longitude and "
            "latitude in degrees, EPSG:4326."
        )
    keep = known & in_range
    first = np.zeros(len(keep), dtype=bool)
    rounded = np.round(np.stack([wrap_lon(places[keep, 0]), places[keep, 1]], axis=1), 6)
    _, unique = np.unique(rounded, axis=0, return_index=True)
    first[np.flatnonzero(keep)[unique]] = True
    dropped = {
        "no place": int((~finite).sum()),
        "place out of range": int((finite & ~in_range).sum()),
        "no label": int((in_range & ~known).sum()),
        "same place as another row": int((keep & ~first).sum()),
    }
    classes, codes = _codes(values[first]) if kind == "classification" else ((), None)
    if classes and len(classes) > max(2, first.sum() // 2):
        raise ValueError(
            f"{len(classes):,} classes for {first.sum():,} places: {_shown(column)!r} looks like "
            "an identifier; choose another column, or kind='regression'."
        )
    return Task(
        name=name,
        kind=kind,
        lonlat=places[first],
        target=values[first].to_numpy(np.float64) if codes is None else codes,
        classes=classes,
        source=source,
        licence="your own",
        dropped=MappingProxyType({why: count for why, count in dropped.items() if count}),
    )


def _codes(values: pd.Series) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    if pd.api.types.is_float_dtype(values) and (values == values.round()).all():
        values = values.astype(np.int64)
    codes, names = pd.factorize(values.astype(str), sort=True)
    return tuple(str(one)[:200] for one in names), codes.astype(np.int64)


def infer_kind(values: pd.Series) -> str:
    """Tell whether a column holds classes or quantities.

    Text, booleans, and whole numbers with at most 20 different values are classes; text that
    reads as numbers is not text.
    """
    known = values.dropna()
    if pd.api.types.is_bool_dtype(known) or not len(known):
        return "classification"
    numbers = pd.to_numeric(known, errors="coerce")
    if numbers.notna().mean() < 0.95:
        return "classification"
    numbers = numbers.dropna()
    whole = bool((numbers == numbers.round()).all())
    return "classification" if whole and numbers.nunique() <= FEW_VALUES else "regression"


def _shown(label: Any) -> str:
    """Return a column label as it may stand in a sentence: short, one line. Not escaped."""
    text = "".join(char if char.isprintable() else " " for char in str(label))
    return text if len(text) <= 60 else text[:57] + "..."


def _listed(columns: Any) -> str:
    names = [_shown(one) for one in columns]
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return (", ".join(names[:8]) or "none") + more

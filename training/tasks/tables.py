"""Bring your own labels: any table of places, polygons or grid cells becomes a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os.path import isfile
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satclip_explore.areas import Areas, areas_of
from satclip_explore.files.columns import listed, shown
from satclip_explore.files.places import read_places
from satclip_explore.files.reading import Reading
from satclip_explore.geo import as_lonlat
from training.tasks.atlas import ATLAS_TASKS, load_task
from training.tasks.kinds import infer_kind, refuse_times
from training.tasks.presence import presence_task
from training.tasks.task import KINDS, PRESENCE, Task


def as_task(
    task: Any,
    target: str | None = None,
    *,
    kind: str = "auto",
    species: str | None = None,
    background: str | None = None,
    **columns: Any,
) -> Task:
    """Take a task by name, as it is, or from a table of your own.

    Parameters
    ----------
    task : str, path, bytes, frame or Task
        A name in `list_tasks` comes before a file of that name.
    target, kind : str
        Of a table; see `task_from_table`.
    species, background : str, optional
        With kind="presence"; see `presence_task`.
    **columns
        group, weights and covariates of a table; see `task_from_table`.

    Raises
    ------
    ValueError
        If there is neither a task nor a file of that name, or `target` is given with a task that
        has its own.
    """
    columns = {name: value for name, value in columns.items() if value not in (None, ())}
    if kind == PRESENCE:
        for name in columns:
            raise ValueError(f"{name}= is for labeled places; occurrences have none.")
        return presence_task(task, species, column=target, background=background or "random")
    if species is not None or background is not None:
        raise ValueError("species= and background= are for occurrences: say kind='presence'.")
    named = isinstance(task, str) and task in ATLAS_TASKS
    asked = target is not None or kind != "auto" or bool(columns)
    if (named or isinstance(task, Task)) and asked:
        name = task if named else task.name
        raise ValueError(f"target= and kind= are for tables; the task {name!r} has its own.")
    if isinstance(task, Task):
        return task
    if named or (isinstance(task, str) and not Path(task).suffix and not isfile(task)):
        return load_task(task)
    return task_from_table(task, target, kind=kind, **columns)


def as_places(places: Any) -> NDArray[np.float64]:
    """Take places without labels from an array, a frame or a file, shape (N, 2)."""
    if isinstance(places, str | Path):
        return read_places(places).lonlat
    return as_lonlat(places)


def task_from_table(
    table: Any,
    target: str | None = None,
    *,
    kind: str = "auto",
    name: str | None = None,
    unit: str = "",
    group: Any = None,
    covariates: Sequence[Any] = (),
    weights: Any = None,
    polygons: str = "mean",
    lon: Any = None,
    lat: Any = None,
    **options: Any,
) -> Task:
    """Make a task from your own labeled places.

    Parameters
    ----------
    table : Reading, or anything that `read_places` reads
        A path, bytes, a frame, a grid.
    target : str, optional
        Column to predict. May be left out where the coordinates leave only one.
    kind : {"auto", "classification", "regression", "counts"}
        "auto" takes text and two values for classes, other numbers for quantities, and asks
        where whole numbers repeat, as codes and counts do.
    name : str, optional
        Of the task; default the column.
    unit : str
        Of a regression target; default what the header says.
    group : object, optional
        Column whose rows stay together in training or in test; default the place, where places
        repeat.
    covariates : sequence
        Columns of numbers that stand beside the embedding of each place. A gap takes the median of
        whatever rows train.
    weights : object, optional
        Column that says how much each row counts while a probe learns.
    polygons : {"mean", "point"}
        What stands for a polygon: the mean embedding inside, or that of a point inside.
    lon, lat : object, optional
        Columns of coordinates; default by name.
    **options
        Of `read_places`: crs, order, missing, censored, decimal, encoding, layer, …

    Returns
    -------
    Task
        `dropped` says how many rows were left out and why.

    Raises
    ------
    ValueError
        If the content cannot be read, columns are missing, coordinates are not degrees, what a
        column holds is unclear, or too little is left to learn from.
    FileNotFoundError
        If a path does not exist.

    Examples
    --------
    >>> rows = pd.DataFrame({"lon": range(12), "lat": 0.0, "crop": ["rice", "maize"] * 6})
    >>> task_from_table(rows)
    Task('crop', classification, 11 places, 2 classes)
    """
    if kind != "auto" and kind not in KINDS:
        raise ValueError(f"kind must be auto, {', '.join(KINDS)}; got {kind!r}.")
    if isinstance(table, Reading):
        reading = table
    else:
        asked = {"categorical": [target]} if kind == "classification" and target else {}
        reading = read_places(table, lon=lon, lat=lat, **{**asked, **options})
    if target is None and covariates:
        raise ValueError("say which column to predict with target=, where there are covariates.")
    column = _target_column(reading, target)
    if str(column) in reading.odd and kind != "classification":
        raise ValueError(reading.odd[str(column)])
    values = reading.frame[column]
    kind = infer_kind(values, column) if kind == "auto" else kind
    if kind != "classification":
        refuse_times(values, column)
    unit = unit or reading.units.get(str(column), "")
    if group is not None and group not in reading.columns:
        raise ValueError(f"no column {shown(group)!r} to group by; got {listed(reading.columns)}.")
    unit = "" if kind == "classification" else unit
    beside = _covariates(reading, covariates, column)
    groups, areas = _groups(reading, group), areas_of(reading.frame, polygons)
    task = _clean(reading, values, kind, name or shown(column), unit, groups, beside, areas)
    return replace(
        task, covariates=tuple(map(str, covariates)), weights=_weights(reading, weights, task)
    )


def _target_column(reading: Reading, target: str | None) -> Any:
    columns = reading.columns
    if target is None and len(columns) == 1:
        return columns[0]
    if not columns:
        raise ValueError("the table has no column to predict besides the coordinates.")
    if target is None:
        raise ValueError(f"say which column to predict with target=: {listed(columns)}.")
    if target not in columns:
        raise ValueError(f"no column {shown(target)!r} to predict; got {listed(columns)}.")
    if list(reading.frame.columns).count(target) > 1:
        raise ValueError(f"column {shown(target)!r} appears more than once; rename one.")
    return target


def _groups(reading: Reading, group: Any) -> NDArray[np.int64] | None:
    """Number what must stay together besides the rows of a place, where a column was named."""
    if group is None:
        return None
    return pd.factorize(reading.frame[group], use_na_sentinel=False)[0].astype(np.int64)


def _weights(reading: Reading, column: Any, task: Task) -> NDArray[np.float64] | None:
    """Read how much each row of a task counts, shape (N,)."""
    if column is None:
        return None
    if column not in reading.columns:
        raise ValueError(f"no column {shown(column)!r} of weights; got {listed(reading.columns)}.")
    if str(column) in reading.odd:
        raise ValueError(reading.odd[str(column)])
    weights = pd.to_numeric(reading.frame[column], errors="coerce").to_numpy(np.float64)
    if len(weights) != len(task):
        raise ValueError(
            f"weights={shown(column)!r} needs a label in every row; leave out the "
            f"{len(weights) - len(task):,} rows without one first."
        )
    return weights


def _covariates(
    reading: Reading, columns: Sequence[Any], target: Any
) -> NDArray[np.float32] | None:
    """Read the columns that stand beside an embedding, shape (N, F); NaN where one has a gap."""
    if not columns:
        return None
    beside = []
    for column in columns:
        if column == target or column not in reading.columns:
            fault = "is the target" if column == target else "is not there"
            raise ValueError(f"covariate {shown(column)!r} {fault}; got {listed(reading.columns)}.")
        if str(column) in reading.odd:
            raise ValueError(reading.odd[str(column)])
        values = pd.to_numeric(reading.frame[column], errors="coerce").astype(np.float64)
        if not np.isfinite(values).any():
            raise ValueError(f"covariate {shown(column)!r} holds no numbers; leave it out.")
        beside.append(values.where(np.isfinite(values)))
    return np.stack(beside, axis=1).astype(np.float32)


def _clean(
    reading: Reading,
    values: pd.Series,
    kind: str,
    name: str,
    unit: str,
    groups: Any,
    beside: NDArray[np.float32] | None,
    areas: Areas | None,
) -> Task:
    """Leave out the rows without a label, and count them."""
    if kind != "classification":
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        if np.isnan(numbers).mean() > values.isna().mean() + 0.05:
            example = values[np.isnan(numbers) & values.notna().to_numpy()].iloc[0]
            raise ValueError(f"column {name!r} does not read as numbers: {shown(example)!r}; "
                             "use kind='classification'.")  # fmt: skip
        known = np.isfinite(numbers)
    else:
        numbers, known = np.zeros(0), values.notna().to_numpy()
    dropped = {why: count for why, (count, _) in reading.left_out.items()}
    if not known.all():
        dropped["no label"] = int((~known).sum())
    classes, codes = _codes(values[known]) if kind == "classification" else ((), None)
    if classes and len(classes) > max(2, known.sum() // 2):
        raise ValueError(
            f"{len(classes):,} classes for {known.sum():,} places: {name!r} looks like "
            "an identifier; choose another column, or kind='regression'."
        )
    return Task(
        name=name,
        kind=kind,
        lonlat=reading.lonlat[known],
        target=numbers[known] if codes is None else codes,
        classes=classes,
        unit=unit,
        source=reading.source,
        license="your own",
        dropped=MappingProxyType(dropped),
        groups=None if groups is None else groups[known],
        image_features=None if beside is None else beside[known],
        areas=None if areas is None else areas.subset(known),
    )


def _codes(values: pd.Series) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Number the classes by name; whole numbers lose their fraction, text its outer space."""
    if pd.api.types.is_float_dtype(values) and (values == values.round()).all():
        values = values.astype(np.int64)
    codes, names = pd.factorize(values.astype(str).str.strip(), sort=True)
    return tuple(str(name)[:200] for name in names), codes.astype(np.int64)

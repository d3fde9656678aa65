"""Tables from files, the authors' own among them: where they are, and what their columns hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from training.tasks.atlas import ATLAS_TASKS
from training.tasks.tables import task_from_table
from training.tasks.task import Task

FOLDER = "https://drive.google.com/drive/folders/1tI2qo6iioRrv3P1OxSXwHKObpLCrinad"
"""The labels that SatCLIP's authors share, from the README of microsoft/satclip."""

COORDBENCH = "https://huggingface.co/datasets/taylor-geospatial/CoordBench"
"""The same labels as Parquet: data/satclip_elevation/data.parquet and so on."""


class _Table(NamedTuple):
    """A table of the authors: its name in both places, its column, and what says "no label"."""

    file: str
    config: str
    column: str
    no_label: tuple[str, ...] = ()


AUTHORS_TABLES: Mapping[str, _Table] = MappingProxyType(
    {
        "elevation": _Table("labels_elevation.csv", "satclip_elevation", "elevation"),
        "population": _Table("labels_population.csv", "satclip_population", "log_population"),
        "country": _Table("lat_lon_country.csv", "satclip_country", "country", ("0",)),
        "biome": _Table("lat_lon_ecoregion.csv", "satclip_ecoregion", "biome_class_index", ("-1",)),
        "ecoregion": _Table(
            "lat_lon_ecoregion.csv", "satclip_ecoregion", "ecoregion_class_index", ("-1",)
        ),
    }
)
"""By task. Two thirds of the places of country, and some of ecoregion, lie in the sea: no label."""


def task_from_file(name: str, path: str | Path, target: str | None = None) -> Task:
    """Read a table as the task of a name.

    Parameters
    ----------
    name : str
        Of the task. One of `list_tasks` says whether the target is a class; else it is inferred.
    path : path
        Any table that `task_from_table` reads.
    target : str, optional
        Column to predict. Left out, the tables of SatCLIP's authors are known by their task.

    Returns
    -------
    Task
        Codes that stand for "no label" in the authors' tables are left out, and counted.

    Raises
    ------
    FileNotFoundError
        If there is no such file; says where the authors' table is to be had.
    ValueError
        As `task_from_table`.
    """
    kind = ATLAS_TASKS[name].kind if name in ATLAS_TASKS else "auto"
    known = AUTHORS_TABLES.get(name)
    if not Path(path).exists():
        where = ""
        if known is not None:
            where = (
                f"; SatCLIP's authors share {known.file} at {FOLDER}, and CoordBench holds it as "
                f"data/{known.config}/data.parquet at {COORDBENCH}"
            )
        raise FileNotFoundError(f"no table at {path}{where}.")
    if target is not None or known is None:
        return task_from_table(path, target, kind=kind, name=name)
    return task_from_table(path, known.column, kind=kind, name=name, missing=known.no_label)


def tables_of(tasks: Sequence[str], target: str | None) -> dict[str, Task]:
    """Read the tasks that are given as NAME=FILE."""
    pairs = [task.partition("=") for task in tasks if "=" in task]
    if target is not None and not pairs:
        raise ValueError("--target is a column of a table: give one as --task NAME=FILE.")
    return {name: task_from_file(name, path, target) for name, _, path in pairs}

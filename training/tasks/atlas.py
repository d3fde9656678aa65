"""The tasks that come with the package: the embedded atlas, and the authors' tables by download."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd

from satclip_explore.atlas import load_atlas
from satclip_explore.checks import known_keywords
from satclip_explore.encoders.download import download_file
from satclip_explore.errors import MissingFileError, Offer
from satclip_explore.geo import as_lonlat
from training.tasks.task import Task


class _Column(NamedTuple):
    """Where in the atlas a task lies."""

    table: str
    column: str
    kind: str
    unit: str
    source: str
    license: str = "CC BY 4.0"


HOOKER = "Hooker, Duveiller & Cescatti 2018, doi:10.1038/sdata.2018.246"
ATLAS_TASKS: Mapping[str, _Column] = MappingProxyType(
    {
        "air_temperature": _Column("stations", "temperature_c", "regression", "°C", HOOKER),
        "precipitation": _Column("stations", "precipitation_mm", "regression", "mm/year", HOOKER),
        "elevation": _Column(
            "places", "elevation_m", "regression", "m", "ETOPO, NOAA NCEI", "public domain"
        ),
        "population": _Column(
            "places", "population_density", "regression", "ln(1 + people/km²)", "GPW v4.11, CIESIN"
        ),
        "biome": _Column("places", "biome", "classification", "", "RESOLVE Ecoregions 2017"),
        "ecoregion": _Column(
            "places", "ecoregion", "classification", "", "RESOLVE Ecoregions 2017"
        ),
        "koppen": _Column(
            "places",
            "koppen",
            "classification",
            "",
            "Beck et al. 2023, doi:10.1038/s41597-023-02549-6",
        ),
        "country": _Column(
            "places", "country", "classification", "", "Natural Earth 2017", "public domain"
        ),
    }
)
"""Tasks of the embedded atlas, by name."""

FULL_TABLE_URL = "https://springernature.figshare.com/ndownloader/files/12609182"
FULL_TABLE_SHA256 = "92d8456d82aafd3929ccba589e0ffe4ca15eeb321c07c430855d6756aaf07d33"
FULL_TABLES: Mapping[str, str] = MappingProxyType(
    {"air_temperature": "meanT", "precipitation": "meanP"}
)
"""Tasks whose table the authors publish, and its column there."""


def list_tasks() -> pd.DataFrame:
    """List the tasks that come with the package.

    Returns
    -------
    pandas.DataFrame
        name (index), kind, unit, source, license, and whether the authors' table can be
        downloaded with ``load_task(name, path=…, download=True)``.
    """
    rows = [
        {
            "name": name,
            "kind": task.kind,
            "unit": task.unit,
            "source": task.source,
            "license": task.license,
            "download": name in FULL_TABLES,
        }
        for name, task in ATLAS_TASKS.items()
    ]
    return pd.DataFrame(rows).set_index("name")


@known_keywords
def load_task(name: str, *, path: str | Path | None = None, download: bool = False) -> Task:
    """Load a task by name.

    Parameters
    ----------
    name : str
        See `list_tasks`.
    path : path, optional
        The authors' own table, in place of the embedded one; only for the tasks that have one.
    download : bool
        Fetch that table to `path` first, and check it against its SHA-256.

    Returns
    -------
    Task
        Places without a label are left out and counted.

    Raises
    ------
    ValueError
        If the name is unknown (the closest is offered), or the task has no table to download.
    FileNotFoundError
        If `path` does not exist and `download` is False.

    Examples
    --------
    >>> load_task("air_temperature")
    Task('air_temperature', regression, 3,076 places, -19.55 to 30.46 °C)
    """
    if name not in ATLAS_TASKS:
        close = get_close_matches(str(name), ATLAS_TASKS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(ATLAS_TASKS)}."
        raise ValueError(f"no task named {name!r}; {hint}")
    if path is None and download:
        raise ValueError("say where the table goes: load_task(name, path=…, download=True).")
    if path is not None:
        return _load_full(name, Path(path), download)
    entry = ATLAS_TASKS[name]
    table = getattr(load_atlas(), entry.table)
    return _from_column(name, entry, table, entry.column)


def _from_column(name: str, entry: _Column, table: pd.DataFrame, column: str) -> Task:
    known = table[column].notna().to_numpy()
    table = table[known]
    dropped = {"no label": int((~known).sum())} if not known.all() else {}
    classes: tuple[str, ...] = ()
    if entry.kind == "classification":
        codes, names = pd.factorize(table[column].astype(str), sort=True)
        target, classes = codes, tuple(names)
    else:
        target = table[column].to_numpy(dtype=np.float64)
        target = np.log1p(target) if name == "population" else target
    return Task(
        name=name,
        kind=entry.kind,
        lonlat=as_lonlat(table),
        target=target,
        classes=classes,
        unit=entry.unit,
        source=entry.source,
        license=entry.license,
        dropped=MappingProxyType(dropped),
    )


def _load_full(name: str, path: Path, download: bool) -> Task:
    if name not in FULL_TABLES:
        raise ValueError(
            f"{name!r} has no table of its own to download; there is one for "
            f"{', '.join(FULL_TABLES)}."
        )
    if download:
        download_file(FULL_TABLE_URL, path, sha256=FULL_TABLE_SHA256)
    elif not path.is_file():
        raise MissingFileError(f"no table at {path}.", Offer.DOWNLOAD)
    table = pd.read_csv(path)
    missing = {"Lon", "Lat", FULL_TABLES[name]} - set(table.columns)
    if missing:
        raise ValueError(
            f"{path.name} lacks the column(s) {', '.join(sorted(missing))}; it is not the table "
            f"of {HOOKER}."
        )
    return _from_column(name, ATLAS_TASKS[name], table, FULL_TABLES[name])

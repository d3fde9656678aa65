"""The tables of CoordBench: which targets they hold, and how to read them where a user has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from satclip_explore.files.places import read_places
from training.tasks.published import COORDBENCH
from training.tasks.tables import task_from_table
from training.tasks.task import Task


class Target(NamedTuple):
    """A target of CoordBench: its two names there, and how its column may be spelled."""

    dataset: str
    task: str
    columns: tuple[str, ...]


class Table(NamedTuple):
    """A table of CoordBench: what its targets are, and which of its values say "no label".

    Without targets, every column of numbers that is not in `NO_TARGET` is one, of `dataset`. `kind`
    "auto" takes whole numbers of up to 100 values for classes. `pool` names a table to whose random
    sample its rows are cut.
    """

    dataset: str
    targets: tuple[Target, ...] = ()
    kind: str = "regression"
    no_label: float | None = None
    log: bool = False
    pool: str = ""


def _table(dataset: str, *tasks: str, **more: Any) -> Table:
    """List targets of one dataset, each written as "task" or "task=column|other spelling"."""
    pairs = [task.partition("=") for task in tasks]
    listed = [Target(dataset, task, tuple((said or task).split("|"))) for task, _, said in pairs]
    return Table(dataset, tuple(listed), **more)


def _each(family: str, **columns: str) -> Table:
    """List targets that are datasets of their own: family-NAME=column."""
    return Table(
        family,
        tuple(Target(f"{family}-{name}", column, (column,)) for name, column in columns.items()),
    )


NO_TARGET = frozenset({"place", "county", "state", "latitude", "longitude", "lat", "lon", "id",
                       "split", "timestamp", "timestamp_end", "geometry", "Count_Person",
                       "imputation_split", "superresolution_split",
                       "extrapolation_split"})  # fmt: skip
COVER = ("water", "trees", "grass", "flooded_vegetation", "crops", "shrub_and_scrub", "built",
         "bare", "snow_and_ice")  # fmt: skip
ALPHAEARTH = ("africa_crop_mask", "aster_ged", "canada_crops_coarse", "canada_crops_fine",
              "descals", "ethiopia_crops", "glance", "lcmap_lc", "lcmap_lcc", "lcmap_lu",
              "lcmap_luc", "lucas_lc", "lucas_lu", "openet_ensemble", "us_trees")  # fmt: skip
MOSAIKS = {"treecover": False, "elevation": False, "population": True, "nightlights": True,
           "income": True, "roads": False, "housing": True}  # fmt: skip
"""Labels of MOSAIKS, and whether their logarithm is the target."""

TABLES: Mapping[str, Table] = MappingProxyType(
    {
        "pdfm_conus27": Table("pdfm-conus27"),
        "air_temp": _table("satclip-air-temp", "air_temperature=meanT|temperature|temp"),
        "california_housing": _table("california-housing", "median_house_value=MedHouseVal"),
        "satclip_country": _table(
            "satclip-country", "country", kind="classification", no_label=0
        ),
        "satclip_ecoregion": Table(
            "satclip-ecoregion",
            (
                Target("satclip-ecoregion", "ecoregion_class_index", ("ecoregion_class_index",)),
                Target("satclip-biome", "biome_class_index", ("biome_class_index",)),
            ),
            "classification",
            -1,
        ),
        "satclip_population": _table("satclip-population", "log_population"),
        "satclip_elevation": _table("satclip-elevation", "elevation"),
        "sustainbench": _each(
            "sustainbench", asset="asset_index", water="water_index",
            sanitation="sanitation_index", child_mortality="under5_mort", women_edu="women_edu",
            women_bmi="women_bmi",
        ),
        "bt_cropharvest": _table(
            "bt-cropharvest", "crop_type=label_name", kind="classification"
        ),
        "bt_biomass": _table("bt-biomass", "biomass=biomass_mean"),
        "bt_landcover": _table("bt-landcover", *COVER, pool="bt_landcover"),
        "bt_bioclim": _table(
            "bt-bioclim", *(f"bioclim_{k:02d}" for k in range(1, 20)), pool="bt_landcover"
        ),
        "bt_human_footprint": Table(
            "bt-human-footprint",
            (
                Target("bt-population", "pop_density", ("pop_density",)),
                Target("bt-distroad", "maxdist_road", ("maxdist_road",)),
            ),
            pool="bt_landcover",
        ),
        "cdc_places": _each(
            "places",
            **{
                name: f"{column}_crudeprev"
                for name, column in (
                    ("phys_health", "phlth"), ("diabetes", "diabetes"), ("copd", "copd"),
                    ("cancer", "cancer"), ("chd", "chd"), ("mental_health", "mhlth"),
                    ("checkup", "checkup"), ("sleep_lt7", "sleep"), ("asthma", "casthma"),
                    ("obesity", "obesity"), ("smoking", "csmoking"), ("high_chol", "highchol"),
                )
            },
        ),
        **{
            f"usavars_{name}": _table(
                f"mosaiks-{name}", f"{name}={name}|price", no_label=-999.0, log=log
            )
            for name, log in MOSAIKS.items()
        },
        "country": _table("country", "country", kind="classification"),
        "ecoregions": _table("ecoregions", "biome", "ecoregion", kind="classification"),
        "worldclim_bio": _each("worldclim", bio1="bio1", bio12="bio12"),
        "soilgrids": _each("soilgrids", soc="soc", phh2o="phh2o"),
        **{
            f"dm_{name}": _table(f"dm-{name}", f"{name}=label", kind="auto")
            for name in ALPHAEARTH
        },
    }
)  # fmt: skip
"""By config, the folder of a table: facts of the loaders in torchgeo-bench."""


def read_tables(folder: Path, configs: Sequence[str] = ()) -> Iterator[tuple[str, str, Task]]:
    """Read the targets of the tables that are at hand.

    Parameters
    ----------
    folder : path
        Holds `data/<config>/data.parquet`, or the configs themselves.
    configs : sequence of str
        Which tables; default all that are there.

    Yields
    ------
    dataset, task : str
        As CoordBench calls them.
    task : Task

    Raises
    ------
    ValueError
        If a config is unknown.
    FileNotFoundError
        If there is none of them; says where they are to be had.
    """
    unknown = [name for name in configs if name not in TABLES]
    if unknown:
        raise ValueError(f"no table {unknown[0]!r} in CoordBench; known: {', '.join(TABLES)}.")
    root = folder / "data" if (folder / "data").is_dir() else folder
    found = [name for name in configs or TABLES if (root / name / "data.parquet").is_file()]
    if not found:
        raise FileNotFoundError(
            f"no data/<config>/data.parquet in {folder}; CoordBench is at {COORDBENCH}."
        )
    for config in found:
        table = TABLES[config]
        frame = pd.read_parquet(root / config / "data.parquet")
        if table.pool:
            pool = pd.read_parquet(root / table.pool / "data.parquet")
            frame = frame[frame["id"].isin(pool.loc[pool["random_sample"] == 1, "id"])]
        numbers = [str(name) for name in frame.select_dtypes("number") if name not in NO_TARGET]
        targets = table.targets or _table(table.dataset, *numbers).targets
        for target in targets:
            spelled = [each.lower() for each in target.columns]
            column = next((name for name in frame if str(name).lower() in spelled), None)
            if column is not None:
                yield target.dataset, target.task, _task(frame, str(column), table)


def _task(frame: pd.DataFrame, column: str, table: Table) -> Task:
    kept = frame[frame[column].notna()]
    if table.no_label is not None:
        kept = kept[kept[column] != table.no_label]
    values, kind = kept[column], table.kind
    if kind == "auto":
        told = frame[column]  # a gap among them makes them values there
        whole = pd.api.types.is_numeric_dtype(told) and bool((told == told.round()).all())
        kind = "classification" if whole and told.nunique() <= 100 else "regression"
    lon, lat = (
        next(name for name in names if name in kept)
        for names in (("lon", "longitude", "Lon", "x"), ("lat", "latitude", "Lat", "y"))
    )
    bare = pd.DataFrame({"lon": kept[lon], "lat": kept[lat], "label": values})
    if table.log:
        bare["label"] = np.log1p(bare["label"])
    reading = read_places(bare, categorical=["label"] if kind == "classification" else [])
    task = task_from_table(reading, "label", kind=kind, name=column)
    if "split" in kept and kept["split"].isin(["test"]).any() and len(task) == len(kept):
        return replace(task, published_test=(kept["split"] == "test").to_numpy())
    return task

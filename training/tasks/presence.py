"""Presences alone: occurrences of a species become a task, beside places of the background."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satclip_explore.atlas import codes_at
from satclip_explore.checks import real_number, whole_number
from satclip_explore.files.columns import listed, shown
from satclip_explore.files.places import read_places
from satclip_explore.files.reading import Reading
from satclip_explore.geo import (
    EARTH_RADIUS_KM,
    codes_by_appearance,
    equal_area_sample,
    unit_vectors,
)
from satclip_explore.regions import region as make_region
from training.tasks.distances import nearest_km
from training.tasks.task import Task

BACKGROUNDS = ("random", "target-group", "thickened")

SPECIES_COLUMNS = ("species", "scientificName", "scientific_name", "taxon")
"""Columns that name the species of an occurrence, in Darwin Core and relatives."""

UNCERTAINTY = "coordinateUncertaintyInMeters"

Draw = Callable[..., NDArray[np.float64]]
"""Given a count, and a generator as `seed`, returns places (N, 2)."""

MAX_DRAWS = 40
"""Batches of random places that are drawn in search of the background."""


def presence_task(
    table: Any,
    species: str | None = None,
    *,
    column: str | None = None,
    background: str = "random",
    n_background: int = 10_000,
    within_km: float = 1000.0,
    buffer_km: float = 0.0,
    thicken_km: float = 200.0,
    max_uncertainty_m: float = 10_000.0,
    thin_km: float = 10.0,
    land: bool = True,
    region: Any = None,
    seed: int = 0,
    **options: Any,
) -> Task:
    """Make a task of presences and background places; suitability is what a probe then predicts.

    Parameters
    ----------
    table : Reading, or anything that `read_places` reads
        Occurrences, as a GBIF download.
    species : str, optional
        Which species, where the table holds several.
    column : str, optional
        Which column names it; default one of `SPECIES_COLUMNS`.
    background : {"random", "target-group", "thickened"}
        Uniform by area; the records of the table's other species, which share the effort of those
        who looked (Phillips et al. 2009); or around presences, denser where they are.
    n_background : int
        Background places, at most.
    within_km : float
        The background lies no farther than this from a presence; ignored with `region`.
    buffer_km : float
        Nor nearer than this.
    thicken_km : float
        Radius around presences in which a thickened background is drawn.
    max_uncertainty_m : float
        Records whose coordinates are less certain, by their own word, are left out.
    thin_km : float
        Of the records in one cell of this width one is kept; 0 keeps all.
    land : bool
        Whether the background keeps to land.
    region : str, sequence, mapping, geometry or Region, optional
        Where the background is drawn; see `satclip_explore.region`.
    seed : int
        Source of the draws.
    **options
        Of `read_places`.

    Returns
    -------
    Task
        Of kind "presence"; its `source` says how the background was drawn, `dropped` what was left
        out. Presences and background weigh the same in all.

    Raises
    ------
    ValueError
        If a name is unknown, several species are there and none is named, absences are there,
        no background can be drawn, or too few presences are left.

    References
    ----------
    Barbet-Massin et al. (2012), "Selecting pseudo-absences for species distribution models",
    Methods in Ecology and Evolution 3(2); Phillips et al. (2009), "Sample selection bias and
    presence-only distribution models", Ecological Applications 19(1).
    """
    if background not in BACKGROUNDS:
        raise ValueError(
            f"background must be one of {', '.join(BACKGROUNDS)}; got {background!r:.40}."
        )
    n_background = whole_number(n_background, "n_background", 10, 1_000_000)
    distances = {
        "within_km": within_km, "buffer_km": buffer_km, "thicken_km": thicken_km,
        "thin_km": thin_km, "max_uncertainty_m": max_uncertainty_m,
    }  # fmt: skip
    for name, value in distances.items():
        if not real_number(value, name) >= 0.0:
            raise ValueError(f"{name} must be at least 0; got {value}.")
    reading = table if isinstance(table, Reading) else read_places(table, **options)
    dropped = {why: count for why, (count, _) in reading.left_out.items()}
    records = _certain_records(reading.frame, max_uncertainty_m, dropped)
    name, mine = _chosen_species(records, species, column)
    rng = np.random.default_rng(seed)
    presences = _thinned(_lonlat(records[mine]), thin_km, rng)
    if mine.sum() > len(presences):
        dropped[f"others in a cell of {thin_km:g} km"] = int(mine.sum()) - len(presences)
    at_sea = codes_at(presences) == 0
    if land and at_sea.mean() > 0.5:
        raise ValueError(
            f"{at_sea.mean():.0%} of the presences of {name!r} lie at sea, and the background is "
            "drawn on land; say land=False."
        )
    area, near = (None, within_km) if region is None else (make_region(region), np.inf)

    def allowed(lonlat: NDArray[np.float64]) -> NDArray[np.bool_]:
        kept = np.ones(len(lonlat), dtype=bool) if area is None else area.contains(lonlat)
        if land:
            kept &= codes_at(lonlat) > 0
        distance = np.full(len(lonlat), np.inf)
        distance[kept] = nearest_km(lonlat[kept], presences)
        return kept & (distance >= buffer_km) & ((distance <= near) | np.isinf(near))

    if background == "target-group":
        others = _thinned(_lonlat(records[~mine]), thin_km, rng)
        places = rng.permutation(others[allowed(others)])[:n_background]
    else:
        thickened = background == "thickened"
        draw: Draw = _around(presences, thicken_km) if thickened else equal_area_sample
        places = _drawn(draw, allowed, n_background, rng)
    if len(places) < 10:
        fault = "other species" if background == "target-group" else "places"
        raise ValueError(
            f"only {len(places)} {fault} can be the background of {name!r}; widen within_km= or "
            f"region=, or choose another background than {background!r}."
        )
    where = f"within {within_km:g} km of a presence" if area is None else f"in {area.name}"
    drawn = {"random": "drawn at random", "target-group": "records of the other species"}
    said = drawn.get(background, f"drawn within {thicken_km:g} km of presences")
    target = np.r_[np.ones(len(presences)), np.zeros(len(places))].astype(np.int64)
    return Task(
        name=name,
        kind="presence",
        lonlat=np.concatenate([presences, places]),
        target=target,
        classes=("background", name if name != "background" else "presence"),
        source=(
            f"{reading.source}: {len(presences):,} presences beside {len(places):,} background "
            f"places, {said}, {where}{', on land' if land else ''}"
            f"{f', {buffer_km:g} km off presences' if buffer_km else ''}"
        ),
        license="your own",
        dropped=MappingProxyType(dropped),
        weights=np.where(target == 1, 0.5 / len(presences), 0.5 / len(places)) * len(target),
    )


def _lonlat(frame: pd.DataFrame) -> NDArray[np.float64]:
    return frame[["lon", "lat"]].to_numpy(np.float64)


def _certain_records(
    frame: pd.DataFrame, max_uncertainty_m: float, dropped: dict[str, int]
) -> pd.DataFrame:
    """Leave out records of absence and those that do not know where they are."""
    kept = np.ones(len(frame), dtype=bool)
    for name in frame.columns:
        if str(name).lower() in ("presence", "present", "occurrence", "pa"):
            values = pd.to_numeric(frame[name], errors="coerce")
            if (values == 0).any():
                raise ValueError(
                    f"column {shown(name)!r} holds {(values == 0).sum():,} absences: with these, "
                    f"target={shown(name)!r} and kind='classification' say more than a background."
                )
    if "occurrenceStatus" in frame:
        absent = frame["occurrenceStatus"].astype(str).str.upper() == "ABSENT"
        kept &= ~absent
        if absent.any():
            dropped["occurrenceStatus ABSENT"] = int(absent.sum())
    if UNCERTAINTY in frame:
        unsure = (pd.to_numeric(frame[UNCERTAINTY], errors="coerce") > max_uncertainty_m) & kept
        kept &= ~unsure
        if unsure.any():
            dropped[f"{UNCERTAINTY} above {max_uncertainty_m:g}"] = int(unsure.sum())
    return frame[kept]


def _chosen_species(
    frame: pd.DataFrame, species: str | None, column: str | None
) -> tuple[str, NDArray[np.bool_]]:
    """Find the records of the species; its name, and which they are."""
    if column is not None and column not in frame:
        raise ValueError(f"no column {shown(column)!r}; got {listed(frame.columns)}.")
    known = [name for name in SPECIES_COLUMNS if name in frame]
    column = column or (known[0] if known else None)
    if column is None:
        if species is not None:
            raise ValueError(
                "no column names the species; say which does with column=, or leave species= out."
            )
        return "presence", np.ones(len(frame), dtype=bool)
    names = frame[column].astype("str").str.strip()
    counts = names[frame[column].notna()].value_counts()
    if species is None and len(counts) == 1:
        species = str(counts.index[0])
    if species is None or species not in counts.index:
        most = ", ".join(f"{name} ({n:,})" for name, n in counts.head(5).items())
        asked = "say which with species=" if species is None else f"got species={species!r:.60}"
        raise ValueError(f"column {shown(column)!r} holds {len(counts)} species, {most}: {asked}.")
    return species, (names == species).to_numpy()


def _thinned(
    lonlat: NDArray[np.float64], cell_km: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Keep one place of each cell, at random."""
    lonlat = rng.permutation(lonlat)
    if not cell_km or not len(lonlat):
        return lonlat
    cells = np.floor(unit_vectors(lonlat) * (EARTH_RADIUS_KM / cell_km)).astype(np.int64)
    return lonlat[np.unique(codes_by_appearance(cells), return_index=True)[1]]


def _around(presences: NDArray[np.float64], radius_km: float) -> Draw:
    """Return what draws places uniformly in the disks around presences."""

    def draw(count: int, *, seed: np.random.Generator) -> NDArray[np.float64]:
        center = unit_vectors(presences[seed.integers(len(presences), size=count)])
        north = np.array([0.0, 0.0, 1.0])
        east = np.cross(north, center)
        length = np.linalg.norm(east, axis=1, keepdims=True)
        east = np.where(length > 1e-9, east / np.maximum(length, 1e-9), [1.0, 0.0, 0.0])
        reach = 1.0 - np.cos(min(radius_km / EARTH_RADIUS_KM, np.pi))
        cosine = 1.0 - seed.uniform(0.0, 1.0, (count, 1)) * reach
        turn = seed.uniform(0.0, 2.0 * np.pi, (count, 1))
        aside = np.cos(turn) * east + np.sin(turn) * np.cross(center, east)
        x, y, z = (cosine * center + np.sqrt(1.0 - cosine**2) * aside).T
        return np.degrees(np.stack([np.arctan2(y, x), np.arcsin(z.clip(-1.0, 1.0))], axis=1))

    return draw


def _drawn(
    draw: Draw,
    allowed: Callable[[NDArray[np.float64]], NDArray[np.bool_]],
    count: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Draw places until there are enough that are allowed, or they are too hard to find."""
    found: list[NDArray[np.float64]] = []
    for _ in range(MAX_DRAWS):
        places = draw(20_000, seed=rng)
        found.append(places[allowed(places)])
        if sum(map(len, found)) >= count:
            break
    return np.concatenate(found)[:count]

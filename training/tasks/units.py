"""What is held out whole: places, cells, clusters, groups, continents; and how folds are dealt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satclip_explore.checks import real_number
from satclip_explore.geo import codes_by_appearance, place_codes, unit_vectors
from satclip_explore.regions import list_regions
from satclip_explore.regions import region as make_region
from training.tasks.task import Task

Deal = Callable[[int, int], NDArray[np.int64]]
"""Given the number of folds and a seed, returns the fold of every unit."""


def unit_name(rung: Any, *, several: bool = False) -> str:
    """Say what is held out whole on a rung."""
    named = {"random": "place", "clusters": "cluster", "region": "continent"}
    cell = "cells" if several else "cell"
    if not isinstance(rung, str):
        return f"{cell} of {rung:g} degrees"
    return named.get(rung, "group") + ("s" if several else "")


def units_of(
    task: Task, rung: Any, columns: dict[str, NDArray[Any]], spread: bool
) -> tuple[str, str, NDArray[np.int64], Deal]:
    """Tell what stays together on a rung.

    Parameters
    ----------
    task : Task
        N labeled places.
    rung : object
        "random", "clusters", "region", a name in `columns`, or a number of degrees.
    columns : mapping of str to numpy.ndarray, shape (N,)
        Groups by the name of their column.
    spread : bool
        Deal units of rare classes one by one over the folds.

    Returns
    -------
    name, description : str
    units : numpy.ndarray, shape (N,), int64
        The unit of each place, from 0.
    deal : Deal

    Raises
    ------
    ValueError
        If there is no such rung.
    """
    classes = task.target if task.is_classification and spread else None
    if isinstance(rung, str) and rung in columns:
        units = codes_by_appearance(columns[rung])
        return rung, f"whole groups of {rung!r} held out", units, _balanced(units)
    if rung == "random":
        units = task.group_codes

        def shuffle(folds: int, seed: int) -> NDArray[np.int64]:
            order = np.random.default_rng(seed).permutation(units.max() + 1)
            return _dealt(np.argsort(order), units, classes) % folds

        return "random", "places held out at random", units, shuffle
    if rung == "region":
        units = _continents(task.lonlat)
        return "region", "one continent held out after the other", units, _one_each
    if rung == "clusters":
        return "clusters", "clusters on the globe held out", task.group_codes, _clusters(task)
    if isinstance(rung, str | bool):
        known = ["'random'", "'clusters'", "'region'", *map(repr, columns)]
        raise ValueError(f"a rung is {', '.join(known)}, or a number of degrees; got {rung!r:.60}.")
    degrees = real_number(rung, "the width of a cell, in degrees,")
    if not 0.01 <= degrees <= 180.0:
        raise ValueError(f"the width of a cell must lie between 0.01 and 180 degrees; got {rung}.")
    units = cells(task.lonlat, degrees)

    def deal(folds: int, seed: int) -> NDArray[np.int64]:
        order = np.random.default_rng(seed).permutation(units.max() + 1)
        return _dealt(order, units, classes) % folds

    return f"{degrees:g}°", f"cells of {degrees:g} degrees held out", units, deal


def cells(lonlat: NDArray[np.float64], degrees: float) -> NDArray[np.int64]:
    """Number the cell of longitude and latitude that holds each place, as CoordBench does.

    Rows of one place share a cell, whatever its longitude is called.

    Parameters
    ----------
    lonlat : numpy.ndarray, shape (N, 2)
        Degrees.
    degrees : float
        Width and height of a cell, from longitude 0 and latitude 0.

    Returns
    -------
    numpy.ndarray, shape (N,), int64
        From 0, from south to north and from west to east.

    References
    ----------
    CoordBench (Corley et al. 2026, arXiv:2609.25454), as in torchgeo-bench.
    """
    found = np.floor(lonlat[:, ::-1] / degrees).astype(np.int64)
    places = place_codes(unit_vectors(lonlat))
    first = np.unique(places, return_index=True)[1]
    return np.unique(found[first][places], axis=0, return_inverse=True)[1].reshape(-1)


def _dealt(
    position: NDArray[np.int64], units: NDArray[np.int64], classes: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """Put units in a row: by the rarest class in each, then by their random position."""
    if classes is None:
        return position
    frequency = np.bincount(classes)
    rank = np.argsort(np.argsort(frequency, kind="stable"))
    rarest = np.full(len(position), len(frequency))
    np.minimum.at(rarest, units, rank[classes])
    order = np.lexsort((position, rarest))
    dealt = np.empty_like(order)
    dealt[order] = np.arange(len(order))
    return dealt


def _balanced(units: NDArray[np.int64]) -> Deal:
    """Deal units into folds of like size: seed 0 as scikit-learn's GroupKFold does."""
    sizes = np.bincount(units)

    def deal(folds: int, seed: int) -> NDArray[np.int64]:
        rng = np.random.default_rng(seed)
        order = np.argsort(-sizes, kind="stable") if seed == 0 else rng.permutation(len(sizes))
        fold, load = np.empty(len(sizes), dtype=np.int64), np.zeros(folds, dtype=np.int64)
        for unit in order:
            fold[unit] = load.argmin()
            load[fold[unit]] += sizes[unit]
        return fold

    return deal


def _one_each(folds: int, seed: int) -> NDArray[np.int64]:
    del seed
    return np.arange(folds)


def _clusters(task: Task) -> Deal:
    """Cut the places into as many clusters as folds, by k-means on unit vectors."""
    first = np.unique(task.group_codes, return_index=True)[1]
    vectors = unit_vectors(task.lonlat[first])

    def deal(folds: int, seed: int) -> NDArray[np.int64]:
        from sklearn.cluster import KMeans

        found = KMeans(folds, n_init=1, random_state=seed).fit_predict(vectors)
        return np.asarray(found, dtype=np.int64)

    return deal


def _continents(lonlat: NDArray[np.float64]) -> NDArray[np.int64]:
    """Number the continent of each place; what lies in none is one more."""
    table = list_regions()
    codes = np.zeros(len(lonlat), dtype=np.int64)
    for number, name in enumerate(table["name"][table["kind"] == "continent"], start=1):
        codes[make_region(name).contains(lonlat)] = number
    return codes_by_appearance(codes)

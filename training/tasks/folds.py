"""Folds of labeled places: each is tested once, near its labels or far from them, rung by rung."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satclip_explore.checks import real_number, whole_number
from training.tasks.distances import nearest_km
from training.tasks.splits import Split
from training.tasks.task import Task
from training.tasks.units import unit_name, units_of

CELLS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0)
"""Widths of CoordBench's cells, degrees."""

RUNGS = ("random", *CELLS)
"""The nine rungs of the ladder, from near to far."""

MOST_NAMED = 5
"""Classes that a note names."""


@dataclass(frozen=True, eq=False, repr=False)
class Rung:
    """One way to hold places out, for S seeds; every place is tested once for each of them.

    Parameters
    ----------
    name, description : str
        As shown to people.
    fold : numpy.ndarray, shape (S, N), int64
        The fold, from 0, that tests each place.
    units : numpy.ndarray, shape (S, N) or (1, N), int64
        What is dealt into folds whole, from 0: the place, cell or group that holds each row.
    unused : numpy.ndarray, shape (S, F, N), bool, optional
        Places that neither train nor test in a fold: those in the buffer, or of a tested group.
    notes : tuple of str
        What is to be said of it.
    """

    name: str
    description: str
    fold: NDArray[np.int64]
    units: NDArray[np.int64]
    unused: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()

    @property
    def n_seeds(self) -> int:
        """S; 1 where the places leave no choice."""
        return len(self.fold)

    @property
    def n_folds(self) -> int:
        """F."""
        return int(self.fold.max()) + 1

    def split(self, seed: int, fold: int) -> Split:
        """Return the training and test rows of a fold."""
        test = self.fold[seed] == fold
        train = ~test
        if self.unused is not None:
            train &= ~self.unused[seed, fold]
        return Split(
            np.flatnonzero(train),
            np.flatnonzero(test),
            f"{self.description}, fold {fold + 1} of {self.n_folds}",
            {"split": self.name, "seed": seed, "fold": fold},
        )

    def splits(self, seeds: int | None = None) -> Iterator[tuple[int, int, Split]]:
        """List (seed, fold, split), for all seeds or the first few."""
        for seed in range(min(seeds or self.n_seeds, self.n_seeds)):
            for fold in range(self.n_folds):
                yield seed, fold, self.split(seed, fold)

    def distances_km(self, lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
        """Measure how far each place is from its nearest training place when it is tested.

        Parameters
        ----------
        lonlat : numpy.ndarray, shape (N, 2)
            The places of the task, degrees.

        Returns
        -------
        numpy.ndarray, shape (S, N)
            Kilometers along great circles.
        """
        found = np.full(self.fold.shape, np.nan)
        for seed, _, rows in self.splits():
            found[seed, rows.test] = nearest_km(lonlat[rows.test], lonlat[rows.train])
        return found

    def __repr__(self) -> str:
        return f"Rung({self.name!r}, {self.n_folds} folds, {self.n_seeds} seeds)"


def make_rungs(
    task: Task,
    wanted: Sequence[Any] = RUNGS,
    *,
    folds: int = 5,
    seeds: int = 5,
    buffer_km: float = 0.0,
    columns: dict[str, NDArray[Any]] | None = None,
    spread: bool = True,
) -> tuple[list[Rung], list[str]]:
    """Make the folds of every rung that these places allow.

    Parameters
    ----------
    task : Task
        N labeled places.
    wanted : sequence
        "random"; a number, for cells of so many degrees; "clusters"; "region", for one continent
        after the other; or a name in `columns`.
    folds, seeds : int
        How many folds, and how often they are drawn.
    buffer_km : float
        Training places closer than this to a test place are left out.
    columns : mapping of str to numpy.ndarray, shape (N,)
        Codes of what stays together, as of a state or a site, by the name of the column.
    spread : bool
        Deal the places or cells of rare classes over the folds, rather than at random.

    Returns
    -------
    rungs : list of Rung
    notes : list of str
        Rungs that the places do not allow, and why; classes that some fold cannot learn.

    Raises
    ------
    ValueError
        If a rung is unknown, or none is left.
    """
    folds = whole_number(folds, "folds", 2, 100)
    seeds = whole_number(seeds, "seeds", 1, 100)
    if not 0.0 <= real_number(buffer_km, "buffer_km") <= 5_000.0:
        raise ValueError(f"buffer_km must lie between 0 and 5,000; got {buffer_km}.")
    rungs, notes = [], []
    for way in wanted:
        name, description, units, deal = units_of(task, way, columns or {}, spread)
        n_units = int(units.max()) + 1
        if n_units < 2:
            notes.append(f"{name}: left out, since all places lie in one {unit_name(way)}.")
            continue
        count = n_units if way == "region" else min(folds, n_units)
        drawn = np.stack([deal(count, seed)[units] for seed in range(seeds)])
        # Where every unit is a fold of its own, all seeds say the same.
        drawn = drawn[:1] if count == n_units and way != "clusters" else drawn
        together = drawn if way == "clusters" else units[None]
        unused = _unused(task, drawn, buffer_km)
        rung = Rung(name, description, drawn, together, unused)
        try:
            said = _unseen(task, rung)
        except ValueError as error:
            notes.append(f"{name}: left out; {error}")
            continue
        if count < min(folds, n_units + 1) and way != "region":
            units_there = unit_name(way, several=True)
            said.append(f"{name}: {count} folds, as many as there are {units_there}.")
        rungs.append(replace(rung, notes=tuple(said)))
        notes += said
    if not rungs:
        raise ValueError(f"these places allow none of the ways to hold out: {' '.join(notes)}")
    return rungs, notes


def _unused(task: Task, fold: NDArray[np.int64], buffer_km: float) -> NDArray[np.bool_] | None:
    """Mark what neither trains nor tests: near a test place, or of a group that is tested."""
    if task.groups is None and not buffer_km:
        return None
    groups, n_folds = task.group_codes, int(fold.max()) + 1
    unused = np.zeros((len(fold), n_folds, len(task)), dtype=bool)
    for seed, number in np.ndindex(len(fold), n_folds):
        test = fold[seed] == number
        skip = np.isin(groups, groups[test])
        if buffer_km:
            skip[~test] |= nearest_km(task.lonlat[~test], task.lonlat[test]) < buffer_km
        unused[seed, number] = skip & ~test
    return unused


def _unseen(task: Task, rung: Rung) -> list[str]:
    """Say which classes have no training place in some fold where they are tested."""
    missing: set[int] = set()
    for _, _, rows in rung.splits():
        if task.is_classification:
            missing |= set(np.setdiff1d(task.target[rows.test], task.target[rows.train]).tolist())
    if not missing:
        return []
    present = len(np.unique(task.target))
    named = ", ".join(task.classes[code][:40] for code in sorted(missing)[:MOST_NAMED])
    more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
    return [
        f"{rung.name}: {len(missing)} of {present} classes have no training place in some fold, "
        f"so that nothing can name them there: {named}{more}."
    ]


def closest_rung(
    rungs: Sequence[Rung], lonlat: NDArray[np.float64], places: NDArray[np.float64]
) -> tuple[Rung, pd.Series]:
    """Find the rung whose distances from test to training places are most like those to predict.

    Parameters
    ----------
    rungs : sequence of Rung
    lonlat : numpy.ndarray, shape (N, 2)
        The labeled places, degrees.
    places : numpy.ndarray, shape (M, 2)
        The places to predict.

    Returns
    -------
    rung : Rung
    apart : pandas.Series
        By rung: the Wasserstein distance of the logarithms of both distributions; a difference of
        1 is a factor of e.

    References
    ----------
    Linnenbrink et al. (2024), "kNNDM CV", Geoscientific Model Development 17, for the comparison
    of nearest-neighbor distances.
    """
    from scipy.stats import wasserstein_distance

    wanted = np.log1p(nearest_km(places, lonlat))
    apart = pd.Series(
        {
            rung.name: wasserstein_distance(wanted, np.log1p(rung.distances_km(lonlat).ravel()))
            for rung in rungs
        }
    )
    return next(rung for rung in rungs if rung.name == apart.idxmin()), apart

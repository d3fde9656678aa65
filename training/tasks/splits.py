"""Which labeled places train a probe and which test it: the same seed, the same split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satclip_explore.checks import real_number, whole_number
from satclip_explore.regions import region as make_region
from training.tasks.task import Task


@dataclass(frozen=True)
class Split:
    """Rows of a task.

    Parameters
    ----------
    train, test : numpy.ndarray, shape (n,), int64
        Row numbers, sorted; no row is in both.
    description : str
        One sentence for people.
    facts : dict
        How to make the split again.
    shots : numpy.ndarray, shape (n,), int64
        The rows of `train` that lie in the held-out region.
    """

    train: NDArray[np.int64]
    test: NDArray[np.int64]
    description: str
    facts: dict[str, Any]
    shots: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __post_init__(self) -> None:
        if not len(self.train) or not len(self.test):
            empty = "training" if not len(self.train) else "test"
            raise ValueError(
                f"the split leaves no {empty} places ({self.description}); "
                "hold out less, or more, of the task."
            )


def shuffled(n: int, seed: int) -> NDArray[np.int64]:
    """Order 0 … n-1 at random, by integer arithmetic alone: the same on every machine, for ever.

    The seed is a whole number of up to 64 bits.

    Returns
    -------
    numpy.ndarray, shape (n,), int64

    References
    ----------
    Steele, Lea & Flood (2014), "Fast splittable pseudorandom number generators" (SplitMix64).
    """
    seed = whole_number(seed, "seed", -(2**63), 2**64 - 1)
    with np.errstate(over="ignore"):
        start = _mix(np.array([seed % 2**64], dtype=np.uint64))
        keys = _mix(start + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return np.argsort(keys, kind="stable")


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def published_split(task: Task) -> Split:
    """Hold out the rows that whoever published the task tests on.

    Raises
    ------
    ValueError
        If the task came without a split.
    """
    test = task.published_test
    if test is None:
        raise ValueError(f"{task.name!r} was published without a split; choose random or blocks.")
    return Split(
        np.flatnonzero(~test),
        np.flatnonzero(test),
        f"{task.name} as published",
        {"split": "published"},
    )


def random_split(task: Task, *, test: float = 0.5, seed: int = 0) -> Split:
    """Hold out places at random. Their neighbors stay in training: this measures interpolation.

    Rows of one place, or of one group of the task, stay together.

    Parameters
    ----------
    task : Task
        N labeled places.
    test : float
        Fraction held out, above 0 and below 1.
    seed : int
        Which places.
    """
    check_fraction("test", test)
    groups = task.group_codes
    n_groups = int(groups.max()) + 1
    held_out = shuffled(n_groups, seed)[: min(max(1, round(test * n_groups)), n_groups - 1)]
    is_test = np.isin(groups, held_out)
    return Split(
        np.flatnonzero(~is_test),
        np.flatnonzero(is_test),
        f"{test:.0%} of the places held out at random",
        {"split": "random", "test": test, "seed": seed},
    )


def region_split(task: Task, region: Any, *, shots: float | int = 0.01, seed: int = 0) -> Split:
    """Hold out a region but for a few of its places, whose rows or groups stay together.

    Parameters
    ----------
    task : Task
        N labeled places.
    region : str, sequence, mapping or Region
        See `satclip_explore.region`.
    shots : float or int
        Which part of the region's places may be trained on: a fraction below 1, or a whole number
        of places per class (of places, for regression).
    seed : int
        Which places these are.

    Raises
    ------
    ValueError
        If no place lies in the region, all do, or `shots` is not above 0.
    """
    area = make_region(region)
    by_count = isinstance(shots, (int, np.integer)) and not isinstance(shots, bool)
    if by_count:
        shots = whole_number(shots, "shots, as places per class,", 1, 10**9)
    elif not 0.0 < (shots := real_number(shots, "shots")) < 1.0:
        raise ValueError(
            f"shots as a fraction must lie above 0 and below 1; got {shots:g}. For a number of "
            "places per class pass an int."
        )
    inside = area.contains(task.lonlat)
    if not inside.any():
        raise ValueError(f"no place of {task.name!r} lies in {area.name}; choose another region.")
    groups = task.group_codes
    order = shuffled(len(task), seed)
    order = order[inside[order]]
    # One row of each group stands for all of them.
    order = order[np.sort(np.unique(groups[order], return_index=True)[1])]
    if not by_count:
        chosen = order[: max(1, round(float(shots) * len(order)))]
        amount = f"{100.0 * shots:.3g} % of its places ({len(chosen):,})"
    elif task.is_classification:
        chosen = _first_of_each(order, task.target[order], int(shots))
        amount = f"{shots} of its places per class ({len(chosen):,})"
    else:
        chosen = order[: int(shots)]
        amount = f"{len(chosen):,} of its places"
    is_shot = inside & np.isin(groups, groups[chosen])
    test = inside & ~is_shot
    return Split(
        np.flatnonzero(~test & ~np.isin(groups, groups[test])),
        np.flatnonzero(test),
        f"{area.name} held out but for {amount}",
        {"split": "region", "region": area.name, "shots": shots, "seed": seed},
        np.flatnonzero(is_shot),
    )


def _first_of_each(
    order: NDArray[np.int64], codes: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """Take the first `count` rows of every class, in the given order."""
    by_class = np.argsort(codes, kind="stable")
    starts = np.r_[True, np.diff(codes[by_class]) != 0]
    first = np.maximum.accumulate(np.where(starts, np.arange(len(codes)), 0))
    return order[by_class[np.arange(len(codes)) - first < count]]


def check_fraction(name: str, value: float) -> None:
    """Refuse what is not a fraction, 0 and 1 excluded."""
    if not 0.0 < real_number(value, name) < 1.0:
        raise ValueError(f"{name} must be a fraction between 0 and 1; got {value}.")

"""Equal-area blocks of the Earth, and splits that hold out whole ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from satclip_explore.checks import real_number
from satclip_explore.geo import EARTH_RADIUS_KM, unit_vectors
from training.tasks.splits import Split, check_fraction, shuffled
from training.tasks.task import Task

MOST_NAMED = 5
"""Classes without a test place that the description of a split names."""


def block_split(
    task: Task,
    *,
    block_km: float = 1000.0,
    buffer_km: float = 100.0,
    test: float = 0.3,
    seed: int = 0,
) -> Split:
    """Hold out whole blocks of the Earth, and nothing near them trains.

    Parameters
    ----------
    task : Task
        N labeled places.
    block_km : float
        Width of a block: the square root of its area.
    buffer_km : float
        Training places closer than this to a test place, along a great circle, are left out.
    test : float
        Fraction of the places held out, at least.
    seed : int
        Which blocks.

    Notes
    -----
    Blocks are the cells nearest to the points of a Fibonacci lattice: alike in area, from pole to
    pole, with no seam at the antimeridian. They are drawn at random, but for classes of few blocks:
    while the fraction allows, a class that lies in several is tested in one and trains in another.
    """
    check_fraction("test", test)
    if not 100.0 <= real_number(block_km, "block_km") <= 10_000.0:
        raise ValueError(f"block_km must lie between 100 and 10,000; got {block_km}.")
    if not 0.0 <= real_number(buffer_km, "buffer_km") <= 5_000.0:
        raise ValueError(f"buffer_km must lie between 0 and 5,000; got {buffer_km}.")
    vectors, groups = unit_vectors(task.lonlat), task.group_codes
    names, block = np.unique(block_of(vectors, block_km), return_inverse=True)
    order = shuffled(len(names), seed)
    codes = task.target if task.is_classification else np.zeros(len(task), dtype=np.int64)
    chosen = _choose_blocks(codes, block, order, test * len(task))
    held_out = np.isin(block, chosen)
    train = np.flatnonzero(~held_out & ~np.isin(groups, groups[held_out]))
    test_rows = np.flatnonzero(held_out)
    near = _within(vectors[train], vectors[test_rows], buffer_km)
    return Split(
        train[~near],
        test_rows,
        f"{len(chosen)} of {len(names)} blocks of {block_km:g} km held out, with a buffer of "
        f"{buffer_km:g} km ({near.sum():,} places unused){_untested(task, test_rows)}",
        {
            "split": "blocks",
            "block_km": block_km,
            "buffer_km": buffer_km,
            "test": test,
            "seed": seed,
        },
    )


def _choose_blocks(
    codes: NDArray[np.int64], block: NDArray[np.int64], order: NDArray[np.int64], n_test: float
) -> list[int]:
    """Choose blocks in an order until they hold `n_test` places; rare classes come first.

    Classes are `codes` (N,), the block of each place is `block` (N,).
    """
    sizes = np.bincount(block)
    blocks_of, classes_in = defaultdict[int, set[int]](set), defaultdict[int, set[int]](set)
    for code, number in np.unique(np.stack([codes, block], axis=1), axis=0).tolist():
        blocks_of[code].add(number)
        classes_in[number].add(code)
    rank = dict(zip(order.tolist(), range(len(order)), strict=True))
    several = {code for code, blocks in blocks_of.items() if len(blocks) > 1}
    training = {code: set(blocks) for code, blocks in blocks_of.items()}
    chosen: list[int] = []

    def spares(number: int) -> bool:
        """Tell whether each class of several blocks keeps one that trains."""
        return all(len(training[code]) > 1 for code in classes_in[number] & several)

    def candidates() -> Iterator[int]:
        for code in sorted(several, key=lambda code: len(blocks_of[code])):
            if training[code] == blocks_of[code]:
                yield from islice(filter(spares, sorted(blocks_of[code], key=rank.__getitem__)), 1)
        yield from (number for number in rank if number not in chosen and spares(number))
        yield from (number for number in rank if number not in chosen)

    for number in candidates():
        if sizes[chosen].sum() >= n_test:
            break
        chosen.append(number)
        for code in classes_in[number]:
            training[code].discard(number)
    return chosen


def _untested(task: Task, test: NDArray[np.int64]) -> str:
    """Name the classes that no test place has, as the end of a sentence."""
    if not task.is_classification:
        return ""
    present, tested = np.unique(task.target), np.unique(task.target[test])
    untested = [task.classes[code] for code in np.setdiff1d(present, tested)]
    if not untested:
        return ""
    more = f" and {len(untested) - MOST_NAMED} more" if len(untested) > MOST_NAMED else ""
    named = ", ".join(name[:40] for name in untested[:MOST_NAMED])
    return f"; {len(untested)} of {len(present)} classes are not tested: {named}{more}"


def block_of(vectors: NDArray[np.float64], block_km: float) -> NDArray[np.int64]:
    """Number the equal-area block that holds each unit vector, shapes (N, 3) to (N,)."""
    n_blocks = max(2, round(4.0 * np.pi * (EARTH_RADIUS_KM / block_km) ** 2))
    steps = np.arange(n_blocks)
    z = 1.0 - (2.0 * steps + 1.0) / n_blocks
    turn = steps * np.pi * (3.0 - np.sqrt(5.0))
    radius = np.sqrt(1.0 - z**2)
    centers = np.stack([radius * np.cos(turn), radius * np.sin(turn), z], axis=1)
    parts = np.array_split(vectors, max(1, len(vectors) * n_blocks // 10_000_000 + 1))
    return np.concatenate([np.argmax(part @ centers.T, axis=1) for part in parts])


def _within(
    vectors: NDArray[np.float64], references: NDArray[np.float64], distance_km: float
) -> NDArray[np.bool_]:
    """Tell which unit vectors have one of the references within a distance, shape (N,)."""
    near = np.zeros(len(vectors), dtype=bool)
    if distance_km > 0 and len(vectors):
        cosine = np.cos(distance_km / EARTH_RADIUS_KM)
        step = max(1, 10_000_000 // max(1, len(references)))
        for start in range(0, len(vectors), step):
            part = vectors[start : start + step] @ references.T
            near[start : start + step] = (part >= cosine).any(axis=1)
    return near

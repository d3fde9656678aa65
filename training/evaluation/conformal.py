"""Honest intervals: as wide as the errors of places that were as far from their labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satclip_explore.checks import real_number
from training.evaluation.cells import Cell
from training.tasks.folds import Rung
from training.tasks.task import Task


def checked_level(level: float) -> float:
    """Return the chance that an interval promises.

    Raises
    ------
    ValueError
        If it does not lie between 0 and 1.
    """
    if not 0.0 < real_number(level, "level") < 1.0:
        raise ValueError(f"level must lie above 0 and below 1; got {level:g}.")
    return float(level)


def nonconformity(task: Task, cell: Cell) -> NDArray[np.float64]:
    """Return how badly each out-of-fold prediction fits its label, shape (S, N).

    The absolute error, or the negative score of the true class.
    """
    if task.is_classification:
        return -cell.truth
    return np.asarray(np.abs(cell.best - task.target), dtype=np.float64)


def threshold(scores: NDArray[Any], level: float, witnesses: float | None = None) -> float:
    """Return what a new score stays below with a chance of at least `level`.

    Parameters
    ----------
    scores : numpy.ndarray
        n of them.
    level : float
        Above 0 and below 1.
    witnesses : float, optional
        As how many independent ones they count, k; see `count_witnesses`. Default n.

    Returns
    -------
    float
        The quantile (1 + 1/k) level of the scores; the largest where that is above 1, so that the
        chance is only about k / (k + 1).

    References
    ----------
    Vovk, Gammerman & Shafer (2005), "Algorithmic Learning in a Random World"; Lei et al. (2018),
    "Distribution-free predictive inference for regression", JASA 113.
    """
    ordered = np.sort(np.ravel(scores))
    rank = int(np.ceil(len(ordered) * level * (1.0 + 1.0 / (witnesses or len(ordered)))))
    return float(ordered[min(rank, len(ordered)) - 1])


def count_witnesses(scores: NDArray[Any], units: NDArray[np.int64], level: float) -> float:
    """Count as how many independent scores those of places in cells are to be taken.

    Places of one cell are held out together and err together: n of them bear witness as fewer, by
    how much the share of large errors differs from cell to cell, beyond luck (the design effect of
    a sample drawn in clusters). Only errors that calibrate are looked at.

    Parameters
    ----------
    scores : numpy.ndarray, shape (n,)
    units : numpy.ndarray, shape (n,)
        The cell of each.
    level : float
        Above which quantile an error is large.

    Returns
    -------
    float
        From 1 to n.

    References
    ----------
    Kish (1965), "Survey Sampling"; its variance of a ratio in clusters.
    """
    large = (scores > threshold(scores, level)).astype(np.float64)
    share, n = large.mean(), len(scores)
    cells = np.unique(units, return_inverse=True)[1].reshape(-1)
    n_cells = int(cells.max()) + 1
    excess = np.bincount(cells, large - share)
    if n_cells < 2 or not excess.any():
        return float(n_cells if n_cells < 2 else n)
    variance = float((excess**2).sum()) * n_cells / (n_cells - 1) / n**2
    return float(np.clip(share * (1.0 - share) / variance, 1.0, n))


def calibrated(scores: NDArray[Any], units: NDArray[np.int64], level: float) -> float:
    """Return `threshold` of scores (n,) whose places are held out whole with their unit (n,)."""
    return threshold(scores, level, count_witnesses(scores, units, level))


def coverage(task: Task, rung: Rung, cell: Cell, level: float) -> dict[str, float]:
    """Check intervals on every fold, each calibrated by the errors of the other folds.

    Returns
    -------
    dict
        coverage: the share of places whose label lies in its interval, or set; half_width: of the
        interval, mean over folds, in the unit of the target (for classes the lowest score).
    """
    scores = nonconformity(task, cell)
    units = np.broadcast_to(rung.units, rung.fold.shape)
    inside, widths = [], []
    for seed in range(len(scores)):
        for fold in range(rung.n_folds):
            test = rung.fold[seed] == fold
            width = calibrated(scores[seed, ~test], units[seed, ~test], level)
            inside.append(scores[seed, test] <= width)
            widths.append(width)
    return {"coverage": float(np.concatenate(inside).mean()), "half_width": float(np.mean(widths))}


def interval_frame(
    task: Task,
    predicted: NDArray[np.float64],
    widths: NDArray[np.float64],
) -> pd.DataFrame:
    """Turn scores (Q, C) and thresholds (Q,) into intervals, or sets of classes.

    Returns
    -------
    pandas.DataFrame
        prediction, low and high; for classes prediction, set (names joined by "|", likeliest
        first) and set_size, how many those are. Scores of NaN give no prediction,
        and an empty set. Counts do not go below 0.
    """
    if not task.is_classification:
        value = predicted[:, 0]
        frame = pd.DataFrame({"prediction": value, "low": value - widths, "high": value + widths})
        return frame.clip(lower=0.0) if task.is_counts else frame
    names = np.array(task.classes)
    best, sets, sizes = [], [], []
    for scores, width in zip(predicted, widths, strict=True):
        order = np.argsort(-scores)
        held = -scores[order] <= width
        held[0] = known = not np.isnan(scores[0])
        best.append(str(names[order[0]]) if known else None)
        sets.append("|".join(names[order[held]]))
        sizes.append(int(held.sum()))
    return pd.DataFrame({"prediction": best, "set": sets, "set_size": sizes})

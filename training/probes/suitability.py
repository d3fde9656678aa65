"""Scores of suitability: how presences rank among the background, and where to draw the line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from training.probes.base import Probe
from training.probes.data import TrainingData
from training.probes.predictions import chunks, class_chances

FOLDS = 3
"""Parts of the training rows that are left out in turn to choose a threshold."""

THRESHOLD_SEEDS = 3
"""Seeds of those fits."""


def placements(suitability: NDArray[Any], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return for each presence the share of the background that is less suitable; ties count half.

    Their mean is the area under the ROC curve.

    Parameters
    ----------
    suitability : numpy.ndarray, shape (N,)
    present : numpy.ndarray, shape (N,), bool
    """
    background = np.sort(suitability[~present])
    below = np.searchsorted(background, suitability[present], "left")
    upto = np.searchsorted(background, suitability[present], "right")
    return (below + upto) / (2.0 * len(background))


def boyce_index(
    suitability: NDArray[Any], present: NDArray[np.bool_], *, windows: int = 101, width: float = 0.1
) -> float:
    """Return the continuous Boyce index: whether more suitable means more presences.

    Parameters
    ----------
    suitability : numpy.ndarray, shape (N,)
    present : numpy.ndarray, shape (N,), bool
    windows : int
        Positions of the moving window.
    width : float
        Of the window, as a share of the range of suitability.

    Returns
    -------
    float
        Spearman's correlation between suitability and the ratio of presences to background, -1 … 1;
        NaN where all places are as suitable.

    References
    ----------
    Hirzel et al. (2006), "Evaluating the ability of habitat suitability models to predict species
    presences", Ecological Modelling 199(2).
    """
    low, high = float(suitability.min()), float(suitability.max())
    span = width * (high - low)
    starts = np.linspace(low, high - span, windows)
    counts = []
    for group in (suitability[present], suitability[~present]):
        ordered = np.sort(group)
        inside = np.searchsorted(ordered, starts + span, "right") - np.searchsorted(ordered, starts)
        counts.append(inside / len(group))
    known = counts[1] > 0
    ratio = pd.Series(counts[0][known] / counts[1][known])
    # Windows that repeat the ratio before them hold no new evidence.
    new = (ratio.diff() != 0).to_numpy()
    ranks = ratio[new].rank()
    if len(ranks) < 2 or ranks.nunique() < 2:
        return float("nan")
    return float(np.corrcoef(ranks, np.arange(len(ranks)))[0, 1])


def best_threshold(suitability: NDArray[Any], present: NDArray[np.bool_]) -> float:
    """Return the suitability from which sensitivity plus specificity is largest.

    References
    ----------
    Liu, White & Newell (2013), "Selecting thresholds for the prediction of species occurrence with
    presence-only data", Journal of Biogeography 40(4).
    """
    candidates = np.unique(suitability[present])
    missed = np.searchsorted(np.sort(suitability[present]), candidates) / present.sum()
    refused = np.searchsorted(np.sort(suitability[~present]), candidates) / (~present).sum()
    return float(candidates[np.argmax(refused - missed)])


def suitability_metrics(
    suitability: NDArray[Any], present: NDArray[np.bool_], threshold: float
) -> dict[str, float]:
    """Score suitability: auc, boyce, and sensitivity and specificity at the threshold."""
    called = suitability >= threshold
    return {
        "auc": float(placements(suitability, present).mean()),
        "boyce": boyce_index(suitability, present),
        "sensitivity": float(called[present].mean()),
        "specificity": float((~called[~present]).mean()),
    }


def choose_threshold(
    probe: type[Probe], data: TrainingData, seeds: Sequence[int], settings: Any
) -> float:
    """Choose a threshold on the training rows, each predicted by a fit that left its place out."""
    suitability = np.zeros(len(data.target))
    part_of = data.group_codes % FOLDS
    for fold in range(FOLDS):
        held = part_of == fold
        found = probe.fit(data.part(~held), seeds[:THRESHOLD_SEEDS], settings)
        parts = [
            class_chances(found, scores)[:, 1].cpu()
            for scores in chunks(found, data.features[held], data.vectors[held])
        ]
        suitability[held.cpu().numpy()] = torch.cat(parts).numpy()
    return best_threshold(suitability, data.target.cpu().numpy() == 1)

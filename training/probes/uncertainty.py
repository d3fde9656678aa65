"""How sure predictions may be: conformal intervals, calibration of probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satclip_explore.checks import real_number

CALIBRATION_BINS = 10
"""Bins of equal width in which probabilities are compared with what came true."""


def conformal_quantile(scores: NDArray[Any], level: float = 0.9) -> float:
    """Return the nonconformity that a new place stays below with probability `level`.

    Parameters
    ----------
    scores : numpy.ndarray, shape (N,)
        Nonconformity of places that the model was not fitted to, e.g. absolute errors.
    level : float
        Coverage wanted, above 0 and below 1.

    Returns
    -------
    float
        The ⌈(N + 1) level⌉-th smallest score; infinite where N is too small for the level.

    Raises
    ------
    ValueError
        If `level` is no such fraction, or a score is NaN.

    Notes
    -----
    Coverage is at least `level` where the new place and the N are exchangeable: of the same
    population, as far from the labels.

    References
    ----------
    Vovk, Gammerman & Shafer (2005), "Algorithmic Learning in a Random World"; Lei et al. (2018),
    "Distribution-Free Predictive Inference for Regression", JASA 113(523).
    """
    if not 0.0 < real_number(level, "level") < 1.0:
        raise ValueError(f"level must lie above 0 and below 1, as 0.9; got {level:g}.")
    scores = np.asarray(scores, dtype=np.float64)
    if np.isnan(scores).any():
        raise ValueError("scores of held-out places must be numbers; some are NaN.")
    # Rounding first: 0.9 * 10 must not become the eleventh of ten.
    rank = math.ceil(round((len(scores) + 1) * level, 9))
    return float(np.partition(scores, rank - 1)[rank - 1]) if rank <= len(scores) else math.inf


def calibration_table(
    confidence: NDArray[Any], right: NDArray[Any], *, bins: int = CALIBRATION_BINS
) -> pd.DataFrame:
    """Compare probabilities with how often they came true.

    Parameters
    ----------
    confidence : numpy.ndarray, shape (N,)
        Probability given to the predicted class, or to an event, 0 … 1.
    right : numpy.ndarray, shape (N,), bool
        Whether it came true.
    bins : int
        Of equal width; empty ones are left out.

    Returns
    -------
    pandas.DataFrame
        low, high, places, confidence (mean in the bin), frequency (share that came true).
    """
    edges = np.linspace(0.0, 1.0, bins + 1)
    # Right-closed, as in Guo et al.: a probability of 1 is in the last bin.
    bin_of = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    places = np.bincount(bin_of, minlength=bins)
    used = places > 0
    return pd.DataFrame(
        {
            "low": edges[:-1][used],
            "high": edges[1:][used],
            "places": places[used],
            "confidence": np.bincount(bin_of, confidence, bins)[used] / places[used],
            "frequency": np.bincount(bin_of, right, bins)[used] / places[used],
        }
    )


def expected_calibration_error(table: pd.DataFrame) -> float:
    """Average the gap between confidence and frequency over the places of a `calibration_table`.

    References
    ----------
    Guo et al. (2017), "On Calibration of Modern Neural Networks", ICML.
    """
    gap = (table["confidence"] - table["frequency"]).abs()
    return float((gap * table["places"]).sum() / table["places"].sum())


def interval_table(
    errors: NDArray[Any], levels: Sequence[float] = (0.5, 0.8, 0.9, 0.95), *, seed: int = 0
) -> pd.DataFrame:
    """Check conformal intervals: made from one half of held-out errors, tried on the other.

    Parameters
    ----------
    errors : numpy.ndarray, shape (N,)
        Prediction minus truth at places that the model was not fitted to.
    levels : sequence of float
        Coverage wanted.
    seed : int
        Which half.

    Returns
    -------
    pandas.DataFrame
        level, coverage (mean of both ways round), width (mean, in the unit of the errors).
    """
    sizes = np.abs(np.random.default_rng(seed).permutation(np.asarray(errors, dtype=np.float64)))
    even, odd = sizes[::2], sizes[1::2]
    rows = []
    for level in levels:
        halves = [(conformal_quantile(a, level), b) for a, b in ((even, odd), (odd, even))]
        coverage = float(np.mean([np.mean(held <= half) for half, held in halves]))
        rows.append((level, coverage, 2.0 * float(np.mean([half for half, _ in halves]))))
    return pd.DataFrame(rows, columns=["level", "coverage", "width"])

"""How good predictions are, and whether one set is better than another."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from satclip_explore.geo import unit_vectors
from training.tasks.blocks import block_of

HIGHER_IS_BETTER: Mapping[str, bool] = MappingProxyType(
    {
        "accuracy": True,
        "balanced_accuracy": True,
        "macro_f1": True,
        "top5": True,
        "auc": True,
        "boyce": True,
        "sensitivity": True,
        "specificity": True,
        "deviance": False,
        "d2": True,
        "mse": False,
        "r2": True,
        "mae": False,
    }
)
"""Every metric, and which way is up."""

SAME_TARGETS = 1e-12
"""Test targets that differ by less than this, in standard deviations of training, are the same."""

BOOTSTRAP_BLOCK_KM = 300.0
"""Test places of one block are drawn together: neighbors are not independent witnesses."""


def classification_metrics(
    ranked: NDArray[np.integer[Any]], target: NDArray[np.int64]
) -> dict[str, float]:
    """Score predicted classes.

    Parameters
    ----------
    ranked : numpy.ndarray, shape (N, R)
        The R best classes of each place, best first.
    target : numpy.ndarray, shape (N,)
        True classes.

    Returns
    -------
    dict
        accuracy; balanced_accuracy (mean recall of the classes present); macro_f1 (mean over
        classes present or predicted); top5. Fractions.
    """
    predicted = ranked[:, 0]
    n_classes = int(max(predicted.max(), target.max())) + 1
    hit = predicted == target
    true = np.bincount(target, minlength=n_classes)
    said = np.bincount(predicted, minlength=n_classes)
    right = np.bincount(target[hit], minlength=n_classes)
    present, involved = true > 0, (true + said) > 0
    return {
        "accuracy": float(hit.mean()),
        "balanced_accuracy": float((right[present] / true[present]).mean()),
        "macro_f1": float((2 * right[involved] / (true + said)[involved]).mean()),
        "top5": float((ranked[:, :5] == target[:, None]).any(axis=1).mean()),
    }


def regression_metrics(
    predicted: NDArray[Any], target: NDArray[np.float64], scale: float
) -> dict[str, float]:
    """Score predicted values.

    Parameters
    ----------
    predicted, target : numpy.ndarray, shape (N,)
        In the unit of the target.
    scale : float
        Standard deviation of the training targets: mse is of the standardized target.

    Returns
    -------
    dict
        mse (dimensionless), r2 (against the mean of the test targets; left out where all of these
        are the same), mae (unit of the target).
    """
    # A power of two near `scale` as the unit changes no digit, and no square leaves float64.
    exponent = int(np.frexp(scale)[1])
    error = np.ldexp(predicted - target, -exponent)
    deviation = float(np.ldexp(scale, -exponent))
    squared = float(np.square(error).mean())
    scores = {"mse": squared / deviation**2}
    spread = float(np.square(np.ldexp(target - target.mean(), -exponent)).mean())
    if spread > SAME_TARGETS**2:
        scores["r2"] = 1.0 - squared / spread
    scores["mae"] = float(np.ldexp(np.abs(error).mean(), exponent))
    return scores


def poisson_deviances(rate: NDArray[Any], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how badly each rate, above 0, fits its count, shape (…, N); 0 is a perfect fit."""
    surplus = xlogy(target, target) - target * np.log(rate)
    return np.asarray(2.0 * (surplus - target + rate), dtype=np.float64)


def count_metrics(rate: NDArray[Any], target: NDArray[np.float64]) -> dict[str, float]:
    """Score predicted rates.

    Parameters
    ----------
    rate, target : numpy.ndarray, shape (N,)
        Rates above 0, and counts.

    Returns
    -------
    dict
        deviance, its mean over places; d2, the share of it that is explained (against the mean of
        the test counts; left out where all of these are the same); mae.

    References
    ----------
    Hastie, Tibshirani & Wainwright (2015), "Statistical Learning with Sparsity", 3.2, for D².
    """
    deviance = float(poisson_deviances(rate, target).mean())
    scores = {"deviance": deviance}
    if target.min() < target.max():
        alike = np.full(target.shape, target.mean())
        scores["d2"] = 1.0 - deviance / float(poisson_deviances(alike, target).mean())
    scores["mae"] = float(np.abs(rate - target).mean())
    return scores


def standard_deviation(values: Any, ddof: int = 0) -> float:
    """Return the standard deviation of an array or Series of any size that float64 holds."""
    # A power of two as the unit changes no digit, and no square leaves float64.
    exponent = int(np.frexp(np.abs(values).max())[1])
    return float(np.ldexp(np.ldexp(values, -exponent).std(ddof=ddof), exponent))


def paired_bootstrap(
    scores: NDArray[np.float64],
    other: NDArray[np.float64],
    lonlat: NDArray[np.float64],
    *,
    seed: int = 0,
    n_draws: int = 1000,
    block_km: float = BOOTSTRAP_BLOCK_KM,
) -> tuple[float, float, float]:
    """Compare two predictors on the same test places.

    Parameters
    ----------
    scores, other : numpy.ndarray, shape (N,)
        What each place contributes to the metric, averaged over seeds.
    lonlat : numpy.ndarray, shape (N, 2)
        Where the places are, degrees.
    seed : int
        Source of the draws.
    n_draws : int
        Resampled test sets.
    block_km : float
        Places are drawn by equal-area blocks of this width, not one by one.

    Returns
    -------
    difference, low, high : float
        Mean of `scores` minus mean of `other`, and its 95 % interval.

    References
    ----------
    Efron & Tibshirani (1993), "An Introduction to the Bootstrap", chapters 8 and 13.
    """
    difference = np.asarray(scores, dtype=np.float64) - other
    _, block = np.unique(block_of(unit_vectors(lonlat), block_km), return_inverse=True)
    sums, counts = np.bincount(block, difference), np.bincount(block)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1.0 / len(sums)), size=n_draws)
    low, high = np.quantile((drawn @ sums) / (drawn @ counts), [0.025, 0.975])
    return float(difference.mean()), float(low), float(high)

"""The shape of one embedding over the Earth: variance, dimensions, how fast they grow apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from satclip_explore.geo import EARTH_RADIUS_KM, as_lonlat, unit_vectors

LEAST_PLACES = 20
"""Fewer places say nothing about a shape."""

DISCARDED = 0.1
"""Share of the largest distance ratios that the two-neighbor estimate leaves out, as published."""

DISTANCES_KM: tuple[float, ...] = (
    *(0.0, 50.0, 75.0, 110.0, 160.0, 240.0, 350.0, 500.0, 700.0, 1000.0, 1400.0, 2000.0),
    *(2800.0, 4000.0, 5500.0, 7500.0, 10_000.0, 12_500.0, 15_000.0, 17_500.0, 20_016.0),
)
"""Default edges of the distance bins, in km: nearly even steps of the logarithm, to half around."""

MEASURES = ("variance", "cosine")
PAIRS_AT_ONCE = 2_000_000


def covariance_spectrum(embeddings: ArrayLike) -> NDArray[np.float64]:
    """Tell how the variance of embeddings is spread over their principal components.

    Parameters
    ----------
    embeddings : array_like, shape (N, D)
        One row per place.

    Returns
    -------
    numpy.ndarray, shape (min(N, D),)
        Share of the variance in each component, falling; they sum to 1.

    Raises
    ------
    ValueError
        If values are not finite, there are fewer than 20 places, or all rows are the same.
    """
    x = centered(embeddings)
    gram = x.T @ x if x.shape[1] <= len(x) else x @ x.T
    values = np.linalg.eigvalsh(gram)[::-1].clip(min=0.0)
    return values / values.sum()


def participation_ratio(spectrum: NDArray[np.float64]) -> float:
    """Count the directions that embeddings fill: (Σλ)² / Σλ² over the covariance spectrum λ.

    1 where all variance lies on a line, D where it is the same in every direction.

    Parameters
    ----------
    spectrum : numpy.ndarray, shape (K,)
        From `covariance_spectrum`: shares that sum to 1.
    """
    return float(1.0 / np.sum(spectrum**2))


def two_nn_dimension(embeddings: ArrayLike) -> float:
    """Estimate the intrinsic dimension from the distances to two nearest neighbors.

    A smooth function of longitude and latitude is two-dimensional up close; a higher estimate says
    that the embedding is rough at the spacing of the places.

    Parameters
    ----------
    embeddings : array_like, shape (N, D)
        One row per place. Rows that occur twice have no ratio of distances and are left out.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As in `covariance_spectrum`, or if fewer than 20 rows differ from their nearest.

    References
    ----------
    Facco, d'Errico, Rodriguez & Laio (2017), "Estimating the intrinsic dimension of datasets by a
    minimal neighborhood information", Scientific Reports 7:12140.
    """
    x = centered(embeddings)
    norms = np.einsum("nd,nd->n", x, x)
    first, second = np.empty(len(x)), np.empty(len(x))
    step = max(1, PAIRS_AT_ONCE // len(x))
    for start in range(0, len(x), step):
        rows = np.arange(start, min(start + step, len(x)))
        square = norms[rows, None] + norms - 2.0 * (x[rows] @ x.T)
        square[np.arange(len(rows)), rows] = np.inf
        near = np.argpartition(square, 1, axis=1)[:, :2]
        # Again from the differences: the product loses the digits of small distances.
        exact = np.sort(np.linalg.norm(x[near] - x[rows, None], axis=2), axis=1)
        first[rows], second[rows] = exact.T
    apart = first > 1e-9 * np.sqrt(norms.mean())
    if apart.sum() < LEAST_PLACES:
        raise ValueError(
            f"the two-neighbor estimate needs {LEAST_PLACES} places that differ from their "
            f"nearest; got {int(apart.sum())} of {len(x)}."
        )
    log_ratio = np.sort(np.log(second[apart] / first[apart]))
    kept = round((1.0 - DISCARDED) * len(log_ratio))
    # The ratio r has P(ratio > r) = r^-d: a line through the origin with slope d.
    rank = np.arange(1, kept + 1) / len(log_ratio)
    log_ratio, survival = log_ratio[:kept], -np.log1p(-rank)
    return float(log_ratio @ survival / (log_ratio @ log_ratio))


def semivariogram(
    lonlat: Any,
    embeddings: ArrayLike,
    *,
    measure: str = "variance",
    edges_km: ArrayLike = DISTANCES_KM,
) -> pd.DataFrame:
    """Measure how embeddings grow apart with the distance on the ground, over all pairs.

    Parameters
    ----------
    lonlat : array_like or table
        N places in degrees, longitude first.
    embeddings : array_like, shape (N, D)
        One row per place.
    measure : {"variance", "cosine"}
        "variance": half the mean squared difference, over the total variance of the sample; 1 is
        as unlike as two random places. "cosine": the mean of 1 - cosine.
    edges_km : array_like, shape (B + 1,)
        Edges of the bins of great-circle distance in km, increasing from 0 or more.

    Returns
    -------
    pandas.DataFrame
        One row per bin with any pair: distance_km (mean over its pairs), semivariance, pairs.

    Raises
    ------
    ValueError
        As in `covariance_spectrum`, if a row is zero where the cosine is asked for, or if the
        measure or the edges are not valid.
    """
    if measure not in MEASURES:
        raise ValueError(f"measure must be 'variance' or 'cosine'; got {measure!r}.")
    edges = np.asarray(edges_km, dtype=np.float64)
    if edges.ndim != 1 or len(edges) < 2 or edges[0] < 0.0 or not (np.diff(edges) > 0.0).all():
        raise ValueError("edges_km must be at least two increasing distances from 0 km on.")
    places, x = as_lonlat(lonlat), centered(embeddings)
    if len(places) != len(x):
        raise ValueError(f"need one embedding per place; got {len(x)} for {len(places)} places.")
    if measure == "cosine":
        x = unit_length(embeddings)
    ground, bins = unit_vectors(places), len(edges) - 1
    half = 0.5 * np.einsum("nd,nd->n", x, x)
    sums = np.zeros((3, bins))
    step = max(1, PAIRS_AT_ONCE // len(x))
    for start in range(0, len(x), step):
        stop = min(start + step, len(x))
        # Each pair once: a block of rows against everything from its first row on.
        later = np.arange(start, len(x))[None, :] > np.arange(start, stop)[:, None]
        chord = np.sqrt(2.0 * (1.0 - ground[start:stop] @ ground[start:].T).clip(0.0, 2.0)[later])
        distance = 2.0 * EARTH_RADIUS_KM * np.arcsin((0.5 * chord).clip(max=1.0))
        unlike = (half[start:stop, None] + half[start:] - x[start:stop] @ x[start:].T)[later]
        # The last edge belongs to the last bin: half around the Earth is a distance.
        into = np.searchsorted(edges, distance, side="right") - 1
        into[distance == edges[-1]] = bins - 1
        inside = (into >= 0) & (into < bins)
        into = into[inside]
        for row, weights in enumerate((None, distance[inside], unlike[inside])):
            sums[row] += np.bincount(into, weights, minlength=bins)
    scale = 2.0 * half.mean() if measure == "variance" else 1.0
    filled = sums[0] > 0
    pairs, distances, totals = sums[:, filled]
    return pd.DataFrame(
        {
            "distance_km": distances / pairs,
            "semivariance": (totals / pairs / scale).clip(min=0.0),
            "pairs": pairs.astype(np.int64),
        }
    )


def half_variance_km(variogram: pd.DataFrame) -> float:
    """Return the distance at which a semivariogram first reaches one half, in km.

    Read off linearly between bins; NaN where the first bin is above one half already, or none is.

    Parameters
    ----------
    variogram : pandas.DataFrame
        From `semivariogram`.

    Examples
    --------
    >>> half_variance_km(pd.DataFrame({"distance_km": [100, 300], "semivariance": [0.25, 0.75]}))
    200.0
    """
    distance, value = variogram["distance_km"].to_numpy(), variogram["semivariance"].to_numpy()
    above = np.flatnonzero(value >= 0.5)
    if not len(above) or above[0] == 0:
        return float("nan")
    i = int(above[0])
    part = (0.5 - value[i - 1]) / (value[i] - value[i - 1])
    return float(distance[i - 1] + part * (distance[i] - distance[i - 1]))


def centered(embeddings: ArrayLike) -> NDArray[np.float64]:
    """Check embeddings, shape (N, D), and take their mean away, in float64."""
    raw = checked(embeddings)
    x = raw - raw.mean(axis=0)
    # What rounding of the mean leaves over is no difference.
    if not np.abs(x).max() > 1e-12 * np.abs(raw).max():
        raise ValueError("embeddings must differ from place to place; all rows are the same.")
    return x


def unit_length(embeddings: ArrayLike) -> NDArray[np.float64]:
    """Check embeddings, shape (N, D), and scale every row to length 1, in float64."""
    x = checked(embeddings)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    if not (length > 0.0).all():
        row = int(np.argmin(length))
        raise ValueError(f"a cosine needs embeddings that are not zero; row {row} is.")
    return x / length


def checked(embeddings: ArrayLike) -> NDArray[np.float64]:
    """Return embeddings as float64, or say what is wrong with them."""
    x = np.asarray(embeddings, dtype=np.float64)
    if x.ndim != 2 or len(x) < LEAST_PLACES or x.shape[1] < 1:
        raise ValueError(
            f"embeddings must have shape (N, D) with at least {LEAST_PLACES} places; got {x.shape}."
        )
    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])
        raise ValueError(
            f"embeddings must be finite; row {row} is not. Leave out places without coverage."
        )
    return x

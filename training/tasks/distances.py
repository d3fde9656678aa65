"""How far places are from one another: the nearest of many, along great circles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from satclip_explore.geo import EARTH_RADIUS_KM, unit_vectors


def nearest_places(
    lonlat: NDArray[np.float64], others: NDArray[np.float64], count: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Find the nearest of some places.

    Parameters
    ----------
    lonlat : numpy.ndarray, shape (Q, 2)
        From where, degrees.
    others : numpy.ndarray, shape (N, 2)
        Among which, degrees.
    count : int
        How many of them, at most N.

    Returns
    -------
    km : numpy.ndarray, shape (Q, count)
        Along great circles, increasing.
    rows : numpy.ndarray, shape (Q, count), int64

    Examples
    --------
    >>> others = np.array([[0.0, 0.0], [0.0, 2.0], [179.0, 0.0]])
    >>> km, rows = nearest_places(np.array([[0.0, 0.9]]), others, 2)
    >>> km.round(1).tolist(), rows.tolist()
    ([[100.1, 122.3]], [[0, 1]])
    """
    from scipy.spatial import cKDTree

    chord, rows = cKDTree(unit_vectors(others)).query(unit_vectors(lonlat), [*range(1, count + 1)])
    return 2.0 * EARTH_RADIUS_KM * np.arcsin(np.clip(chord / 2.0, 0.0, 1.0)), rows


def nearest_km(lonlat: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Measure how far each place (Q, 2) is from the nearest of others (N, 2), shape (Q,), km."""
    return nearest_places(lonlat, others)[0][:, 0]

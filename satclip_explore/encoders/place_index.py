"""The nearest of many places, and how far it may be: for tables and products of points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from satclip_explore.geo import EARTH_RADIUS_KM, unit_vectors

SAME_PLACE_DEG = 1e-6
"""Places closer than this, about 10 cm, count as one."""


class PlaceIndex:
    """A tree of places that answers with the nearest within a distance.

    Parameters
    ----------
    lonlat : numpy.ndarray, shape (M, 2)
        Degrees, longitude first; each place once.
    max_distance_km : float, optional
        Great-circle distance up to which a place is answered. Default: twice the widest gap
        between a row and its nearest, leaving out the widest 1 % of gaps, and at least 1 km.

    Raises
    ------
    ModuleNotFoundError
        If SciPy, whose tree it is, is not installed.
    ValueError
        If a place occurs twice, or the distance is not above 0.
    """

    def __init__(self, lonlat: NDArray[np.float64], max_distance_km: float | None = None) -> None:
        try:
            from scipy.spatial import cKDTree
        except ImportError as error:
            raise ModuleNotFoundError(
                "tables need SciPy to find the nearest place; install it with: pip install scipy"
            ) from error
        if max_distance_km is not None and not max_distance_km > 0:
            raise ValueError(f"max_distance_km must be above 0; got {max_distance_km}.")
        refuse_duplicates(_one_pole(lonlat))
        self._tree = cKDTree(unit_vectors(lonlat))
        self.max_distance_km = self._reach_km() if max_distance_km is None else max_distance_km

    def nearest(self, lonlat: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the row nearest to each place, (N,), and whether it is near enough."""
        chord, rows = self._tree.query(unit_vectors(lonlat))
        return np.asarray(rows, dtype=np.int64), _arc_km(chord) <= self.max_distance_km

    def _reach_km(self) -> float:
        """Return the default distance, from how far apart the rows lie; any for a single row."""
        if self._tree.n < 2:
            return np.inf
        gaps = _arc_km(self._tree.query(self._tree.data, k=2)[0][:, 1])
        return max(1.0, 2.0 * float(np.quantile(gaps, 0.99)))


def _arc_km(chord: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn straight distances between unit vectors into great-circle distances."""
    return 2.0 * EARTH_RADIUS_KM * np.arcsin(np.clip(chord / 2.0, 0.0, 1.0))


def _one_pole(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give both poles longitude 0: every longitude is the same place there."""
    at_pole = np.abs(lonlat[:, 1]) == 90.0
    return np.where(at_pole[:, None], lonlat * [0.0, 1.0], lonlat)


def refuse_duplicates(lonlat: NDArray[np.float64]) -> None:
    """Refuse places, (M, 2), of which one occurs twice."""
    cells = np.round(lonlat / SAME_PLACE_DEG).astype(np.int64)
    _, first, counts = np.unique(cells, axis=0, return_index=True, return_counts=True)
    if (counts > 1).any():
        lon, lat = lonlat[first[np.argmax(counts > 1)]]
        raise ValueError(
            f"every place may occur once; {int((counts - 1).sum())} rows repeat one, e.g. "
            f"lon {lon:g}, lat {lat:g}."
        )

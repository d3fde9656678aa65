"""Some rows and columns of a grid, and what lies between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satclip_explore.geo import Grid


@dataclass(frozen=True, eq=False)
class Lattice(Grid):
    """Chosen rows and columns of another grid: `Lattice.of(grid, rows, columns)`.

    Everything that takes a Grid takes it. Its bounds are those of the whole grid; it equals another
    one of the very same centers.
    """

    centers: tuple[NDArray[Any], NDArray[Any]] = ()  # type: ignore[assignment]

    @classmethod
    def of(cls, grid: Grid, rows: NDArray[Any], columns: NDArray[Any]) -> Lattice:
        """Take rows, counted from the north, and columns, from the west."""
        return cls(grid.bounds, (len(rows), len(columns)), (grid.lat[rows], grid.lon[columns]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lattice) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[Any, ...]:
        return self.bounds, *(axis.tobytes() for axis in self.centers)

    @property
    def lat(self) -> NDArray[Any]:
        """Latitudes of the rows, shape (H,), degrees."""
        return self.centers[0]

    @property
    def lon(self) -> NDArray[Any]:
        """Longitudes of the columns, shape (W,), degrees, not wrapped."""
        return self.centers[1]


def every(step: int, n: int) -> NDArray[np.int64]:
    """Count from 0 to n - 1 in steps; the last step may be shorter."""
    return np.append(np.arange(0, n - 1, step), n - 1)


def between(values: NDArray[Any], at: NDArray[np.int64], axis: int) -> NDArray[np.float32]:
    """Interpolate along an axis by cubics through the four nearest values.

    Parameters
    ----------
    values : numpy.ndarray
        Known at the whole numbers `at` of that axis.
    at : numpy.ndarray, shape (K,), int64
        Increasing, from 0, at least four.
    axis : int
        Which axis.

    Returns
    -------
    numpy.ndarray, float32
        At 0, 1, …, at[-1].
    """
    wanted = np.arange(at[-1] + 1)
    first = np.clip(np.searchsorted(at, wanted, side="right") - 2, 0, len(at) - 4)
    nodes = at[first[:, None] + np.arange(4)].astype(np.float64)
    values = values.astype(np.float32)
    shape = [-1 if dim == axis else 1 for dim in range(values.ndim)]
    total = np.zeros_like(values.take(first, axis))
    for j in range(4):
        others = np.delete(nodes, j, axis=1)
        weight = ((wanted[:, None] - others) / (nodes[:, j : j + 1] - others)).prod(axis=1)
        total += weight.astype(np.float32).reshape(shape) * values.take(first + j, axis)
    return total

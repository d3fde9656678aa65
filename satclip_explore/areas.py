"""Means over polygons: places inside each, of equal areas, and what an encoder says there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from satclip_explore.files.location import locate
from satclip_explore.geo import wrap_lon
from satclip_explore.polygons import Polygon, in_polygons, point_inside, unrolled

SAMPLES = 64
"""Places that are aimed at inside each polygon."""

MAX_CELLS = 20_000
"""Cells of one polygon's box: a thin, long one gets fewer places than aimed at."""

BLOCK = 1000
"""Polygons whose places are encoded together."""

KINDS = ("mean", "point")


@dataclass(frozen=True, eq=False)
class Areas:
    """Places inside N polygons, one polygon after another; each has one place at least.

    Parameters
    ----------
    lonlat : numpy.ndarray, shape (M, 2), float64
        Degrees, longitude first.
    weights : numpy.ndarray, shape (M,), float64
        Area that each place stands for, in any unit.
    counts : numpy.ndarray, shape (N,), int64
        Places of each polygon.
    inside : numpy.ndarray, shape (N, 2), float64
        One place in each polygon.
    """

    lonlat: NDArray[np.float64]
    weights: NDArray[np.float64]
    counts: NDArray[np.int64]
    inside: NDArray[np.float64]

    @classmethod
    def of(cls, geometry: Iterable[Any], n_samples: int = SAMPLES) -> Areas:
        """Lay places into polygons: the centers of cells of equal area, where these are inside.

        Parameters
        ----------
        geometry : iterable of shapely geometries, length N
            In degrees, over the antimeridian and round the poles as in GeoJSON; what has no area
            (a point, a line) gets one place on it.
        n_samples : int
            Places that are aimed at in each; 0 takes one inside.

        Raises
        ------
        ValueError
            If a geometry is empty, or its vertices are not degrees.
        """
        parts = [_places(shape, n_samples, row) for row, shape in enumerate(geometry)]
        lonlat = _wrapped(np.concatenate([np.zeros((0, 2)), *(inside for inside, _, _ in parts)]))
        weights = np.concatenate([np.zeros(0), *(share for _, share, _ in parts)])
        counts = np.array([len(inside) for inside, _, _ in parts], dtype=np.int64)
        inside = _wrapped(np.array([centroid for _, _, centroid in parts]).reshape(-1, 2))
        return cls(lonlat, weights, counts, inside)

    @property
    def starts(self) -> NDArray[np.int64]:
        """Row of the first place of each polygon, shape (N,)."""
        return np.cumsum(self.counts) - self.counts

    def subset(self, rows: NDArray[Any]) -> Areas:
        """Keep some polygons (indices or a mask)."""
        rows = np.arange(len(self.counts))[rows]
        kept = [
            np.arange(start, start + count)
            for start, count in zip(self.starts[rows], self.counts[rows], strict=True)
        ]
        places = np.concatenate([np.zeros(0, dtype=np.int64), *kept])
        return Areas(
            self.lonlat[places], self.weights[places], self.counts[rows], self.inside[rows]
        )

    def any(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Tell in which polygons a mask of places (M,) holds somewhere, shape (N,)."""
        return np.logical_or.reduceat(mask, self.starts) if len(self.counts) else mask

    def mean(self, embed: Callable[[NDArray[np.float64]], NDArray[Any]]) -> NDArray[Any]:
        """Average what a function of places (M, 2) says, (M, D), over each polygon, shape (N, D).

        Places without coverage (NaN) do not count; a polygon without any other is NaN.
        """
        blocks = []
        for first in range(0, max(1, len(self.counts)), BLOCK):
            block = self.subset(np.arange(first, min(first + BLOCK, len(self.counts))))
            values = embed(block.lonlat)
            known = np.isfinite(values).all(axis=1)
            weights = np.where(known, block.weights, 0.0)[:, None]
            if len(block.counts):
                dtype, starts = values.dtype, block.starts
                values = np.where(known[:, None], values, 0.0) * weights
                total = np.add.reduceat(weights, starts)
                with np.errstate(invalid="ignore"):
                    values = (np.add.reduceat(values, starts) / total).astype(dtype)
            blocks.append(values)
        return np.concatenate(blocks)

    def summary(self) -> str:
        """Say how many places a mean is made of."""
        low, high = self.counts.min(), self.counts.max()
        return f"mean of {low:,}" + (f" to {high:,}" if high > low else "") + " places inside each"


def areas_of(table: Any, polygons: str = "mean") -> Areas | None:
    """Lay places into the polygons of a frame.

    Parameters
    ----------
    table : object
        Anything; only a GeoDataFrame or GeoSeries can hold polygons.
    polygons : {"mean", "point"}
        Many places inside each, or one.

    Returns
    -------
    Areas or None
        None where there are no polygons: `as_lonlat` reads the places.

    Raises
    ------
    ValueError
        If `polygons` is neither, or a row has no place.
    """
    if polygons not in KINDS:
        raise ValueError(f"polygons must be {' or '.join(map(repr, KINDS))}; got {polygons!r}.")
    if not (hasattr(table, "geom_type") and hasattr(table, "crs")):
        return None
    found = locate(table if hasattr(table, "columns") else table.to_frame("geometry"))
    if found.geometry is None:
        return None
    return Areas.of(found.geometry, SAMPLES if polygons == "mean" else 0)


def _wrapped(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([wrap_lon(lonlat[:, 0]), lonlat[:, 1]], axis=1)


def _places(
    shape: Any, n_samples: int, row: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[float, float]]:
    """Lay places into one geometry; returns them, (K, 2), their areas, (K,), and one inside."""
    if shape is None or shapely.is_empty(shape):
        raise ValueError(f"row {row} has no geometry; leave such rows out first.")
    vertices = shapely.get_coordinates(shape)
    bad = ~(np.abs(vertices) <= (540.0, 90.0)).all(axis=1)
    if bad.any():
        raise ValueError(
            "polygons must lie in longitude and latitude, or say their coordinate system; got "
            f"{tuple(vertices[bad][0].tolist())} in row {row}."
        )
    polygons = unrolled(shape)
    inside = point_inside(shape, polygons)
    if not n_samples:
        return np.array([inside]), np.ones(1), inside
    boxes = [_equal_area_box(polygon) for polygon in polygons]
    cell = sum(area for _, area in boxes) / n_samples
    pairs = zip(polygons, boxes, strict=True)
    found = [_cells(polygon, box, cell) for polygon, (box, _) in pairs if cell]
    lonlat = np.concatenate([np.zeros((0, 2)), *(inside for inside, _ in found)])
    if not len(lonlat):
        return np.array([inside]), np.ones(1), inside
    return lonlat, np.concatenate([weights for _, weights in found]), inside


def _equal_area_box(polygon: Polygon) -> tuple[NDArray[np.float64], float]:
    """Return the box of a polygon and its area, with the sine of the latitude as second axis."""
    rings = [np.stack([ring[:, 0], np.sin(np.radians(ring[:, 1]))], axis=1) for ring in polygon]
    area = shapely.area(shapely.polygons(rings))
    box = np.array([rings[0].min(axis=0), rings[0].max(axis=0)])
    return box, max(0.0, float(area[0] - area[1:].sum()))


def _cells(
    polygon: Polygon, box: NDArray[np.float64], cell: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the centers, (K, 2), and areas, (K,), of cells of a box that lie in its polygon."""
    (west, low), (east, high) = box
    wanted = min(MAX_CELLS, np.ceil((east - west) * (high - low) / cell))
    height = np.degrees(np.arcsin(high) - np.arcsin(low))
    width = (east - west) * np.sqrt(1.0 - (low + high) ** 2 / 4.0)
    rows = int(min(wanted, max(1, round(np.sqrt(wanted * height / max(width, 1e-9))))))
    columns = int(np.ceil(wanted / rows))
    lon = west + (np.arange(columns) + 0.5) * ((east - west) / columns)
    lat = np.degrees(np.arcsin(low + (np.arange(rows) + 0.5) * ((high - low) / rows)))
    lonlat = np.stack(np.meshgrid(lon, lat), axis=-1).reshape(-1, 2)
    lonlat = lonlat[in_polygons((polygon,), lonlat)]
    area = (east - west) * (high - low) / (rows * columns)
    return lonlat, np.full(len(lonlat), area)

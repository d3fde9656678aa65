"""Polygons on the globe, from vertices or GeoJSON, over the antimeridian and round the poles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

Ring = NDArray[np.float64]
"""Closed vertices, shape (V + 1, 2), degrees; longitudes run on past ±180, at most 360 wide."""

Polygon = tuple[Ring, ...]
"""The outer ring, then its holes."""

MAX_VERTICES = 200_000
"""Of one region, a ring counting as 20 at least: a guard against files not meant as a region."""

_MAX_DEPTH = 6  # of collections within collections


def read_polygons(area: Any) -> tuple[Polygon, ...]:
    """Read polygons from whatever describes them.

    Parameters
    ----------
    area : sequence, mapping or geometry
        Vertices [(lon, lat), …], a GeoJSON dict, or an object with `__geo_interface__`, in degrees.

    Returns
    -------
    tuple of tuple of numpy.ndarray, shape (V + 1, 2)
        Polygons, each an outer ring and its holes, closed and without jumps in longitude.

    Raises
    ------
    ValueError
        If there is no polygon, a vertex is not finite or out of range, a ring has fewer than
        three vertices or no area, or there are more than 200,000 vertices.
    """
    crs = getattr(area, "crs", None)
    if crs is not None and not getattr(crs, "is_geographic", True):
        area = area.to_crs("EPSG:4326")
    if hasattr(area, "__geo_interface__"):
        area = area.__geo_interface__
    budget = [MAX_VERTICES]
    if isinstance(area, Mapping):
        found = [
            tuple(_read_ring(ring, budget) for ring in _listed(rings, "a polygon"))
            for rings in _walk(area, 0)
        ]
    else:
        found = [(_read_ring(area, budget),)]
    polygons = tuple(polygon for polygon in found if polygon and _has_area(polygon[0]))
    if not polygons:
        raise ValueError("a region needs at least one polygon that has an area; this has none.")
    return polygons


def _walk(node: Any, depth: int) -> Iterator[Any]:
    """Yield the coordinates of each polygon in a GeoJSON object."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"GeoJSON collections may be nested {_MAX_DEPTH} deep; this is deeper.")
    kind = node.get("type") if isinstance(node, Mapping) else None
    if kind == "Polygon":
        yield node.get("coordinates")
    elif kind == "MultiPolygon":
        yield from _listed(node.get("coordinates"), "a MultiPolygon")
    elif kind == "Feature":
        yield from _walk(node.get("geometry"), depth + 1)
    elif kind in ("FeatureCollection", "GeometryCollection"):
        key = "features" if kind == "FeatureCollection" else "geometries"
        for child in _listed(node.get(key), f"a {kind}"):
            yield from _walk(child, depth + 1)
    else:
        shown = repr(kind if isinstance(kind, str | None) else type(kind).__name__)[:40]
        raise ValueError(
            f"a region needs GeoJSON of type Polygon, MultiPolygon, Feature or a collection; "
            f"got type {shown}."
        )


def _listed(value: Any, kind: str) -> Iterable[Any]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{kind} in GeoJSON must hold a list; got {type(value).__name__}.")
    return value


def _read_ring(vertices: Any, budget: list[int]) -> Ring:
    """Check one ring, close it, and lay it out without jumps at the antimeridian."""
    if not isinstance(vertices, list | tuple | np.ndarray):
        raise ValueError(
            "a region must be a name, a box of four numbers, vertices [(lon, lat), ...], GeoJSON "
            f"or a polygon; got {type(vertices).__name__}."
        )
    budget[0] -= max(len(vertices), 20)
    if budget[0] < 0:
        raise ValueError(
            f"a region may have {MAX_VERTICES:,} vertices in at most {MAX_VERTICES // 20:,} rings; "
            "got more. Simplify it first."
        )
    try:
        # A third number is a height, which GeoJSON allows.
        positions = np.asarray([tuple(vertex)[:2] for vertex in vertices])
    except (TypeError, ValueError):
        positions = np.empty(0)
    if positions.dtype.kind not in "iuf" or positions.ndim != 2 or positions.shape[1] != 2:
        raise ValueError("a polygon needs a list of vertices [(lon, lat), ...] in degrees.")
    ring = positions.astype(np.float64)
    _check_vertices(ring)
    if (ring[0] != ring[-1]).any():
        ring = np.concatenate([ring, ring[:1]])
    return _unroll(ring)


def _check_vertices(ring: Ring) -> None:
    bad = ~np.isfinite(ring).all(axis=1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(f"vertices must be finite; got {tuple(ring[row].tolist())} at {row}.")
    bad = (np.abs(ring[:, 0]) > 540.0) | (np.abs(ring[:, 1]) > 90.0)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(
            "vertices must be (lon, lat) with lat in [-90, 90] and lon in [-540, 540] degrees; "
            f"got {tuple(ring[row].tolist())} at {row}. Longitude comes first."
        )
    if len(ring) < 3:
        raise ValueError(f"a polygon needs at least three vertices; got {len(ring)}.")


def _unroll(ring: Ring) -> Ring:
    """Send edges longer than 180 degrees the short way; close a ring that goes round a pole."""
    steps = np.diff(ring[:, 0])
    # An edge of a full turn is the foot or the head of a map, drawn as such.
    jumps = (np.abs(steps) > 180.0) & (np.abs(steps) < 360.0)
    turns = np.r_[0.0, np.cumsum(np.where(jumps, -360.0 * np.sign(steps), 0.0))]
    ring = np.stack([ring[:, 0] + turns, ring[:, 1]], axis=1)
    if turns[-1] != 0.0:
        pole = 90.0 if ring[:-1, 1].mean() >= 0.0 else -90.0
        ring = np.concatenate([ring, [[ring[-1, 0], pole], [ring[0, 0], pole], ring[0]]])
    if np.ptp(ring[:, 0]) > 360.0:
        raise ValueError(
            f"a polygon may span 360 degrees of longitude; got {np.ptp(ring[:, 0]):g}. Edges "
            "longer than 180 degrees go the short way round: add vertices in between."
        )
    return ring


def _has_area(ring: Ring) -> bool:
    """Tell whether the vertices of a ring do not all lie on one line."""
    return bool(shapely.LineString(ring).convex_hull.area > 1e-12)


def in_polygons(polygons: tuple[Polygon, ...], lonlat: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which places lie in any of the polygons; what a ring encloses twice is outside.

    Parameters
    ----------
    polygons : tuple of tuple of numpy.ndarray
        From `read_polygons`.
    lonlat : numpy.ndarray, shape (N, 2)
        Degrees, longitude first, checked.

    Returns
    -------
    numpy.ndarray, shape (N,), bool
        The edge of a polygon is inside, that of a hole outside.
    """
    order = np.argsort(lonlat[:, 1], kind="stable")
    lon, lat = lonlat[order].T
    found = np.zeros(len(lonlat), dtype=bool)
    for polygon in polygons:
        # Only places between the polygon's southern and northern end are looked at.
        low, high = polygon[0][:, 1].min(), polygon[0][:, 1].max()
        rows = slice(np.searchsorted(lat, low), np.searchsorted(lat, high, side="right"))
        inside = np.zeros(rows.stop - rows.start, dtype=bool)
        for ring in polygon:
            west = ring[:, 0].min()
            shape = shapely.Polygon(ring)
            shapely.prepare(shape)
            # A ring is at most one turn wide, so each place has one longitude in its range.
            inside ^= shapely.intersects_xy(shape, west + (lon[rows] - west) % 360.0, lat[rows])
        found[rows] |= inside
    result = np.empty_like(found)
    result[order] = found
    return result


def unrolled(geometry: Any) -> tuple[Polygon, ...]:
    """Lay out the polygons of a shapely geometry, in degrees, as `read_polygons` does.

    What has no area is left out, so that points and lines give an empty tuple.
    """
    parts = np.atleast_1d(np.asarray(geometry, dtype=object))
    while (shapely.get_type_id(parts) > 3).any():
        parts = shapely.get_parts(parts)
    found = [
        tuple(_unroll(shapely.get_coordinates(ring)) for ring in (part.exterior, *part.interiors))
        for part in parts
        if part.geom_type == "Polygon" and not part.is_empty
    ]
    return tuple(polygon for polygon in found if _has_area(polygon[0]))


def point_inside(geometry: Any, polygons: tuple[Polygon, ...]) -> tuple[float, float]:
    """Return a place (lon, lat) in the largest polygon, or on a geometry that has none."""
    if not polygons:
        point = shapely.point_on_surface(geometry)
        return float(point.x), float(point.y)
    point = shapely.point_on_surface(max(map(_planar, polygons), key=shapely.area))
    return float(point.x), float(point.y)


def _planar(polygon: Polygon) -> Any:
    """Return a polygon as shapely's, its holes in it and not a turn away."""
    outer, *holes = polygon
    west = outer[:, 0].min()
    shape = shapely.make_valid(shapely.Polygon(outer))
    for hole in holes:
        start = hole[:, 0].min()
        turn = west + (start - west) % 360.0 - start
        # Subtracted: round a pole, a hole and what it lies in share an edge.
        shape = shape.difference(shapely.make_valid(shapely.Polygon(hole + np.array([turn, 0.0]))))
    return shape

"""Rasters of vectors as one encoder: places to pixels of any projection, every block read once."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from satclip_explore.encoders.base import LocationEncoder, resolve_device, resolve_dtype
from satclip_explore.files.crs import is_wgs84
from satclip_explore.geo import as_lonlat

METHODS = ("nearest", "bilinear")

EDGE = 1e-6
"""Pixels by which rounding of a projection may carry a place over the edge of its tile."""

MARGIN = 0.1
"""Degrees by which a tile may reach over the bounds that are stated of it."""

WGS84 = "EPSG:4326"

Bounds = tuple[float, float, float, float]

Take = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[Any]]
"""Rows and columns of pixels, from the corner of what was read, to their vectors, (N, D): as the
authors mean them, NaN without data."""

Read = Callable[[slice, slice], Take]
"""Reads a window, rows and columns; its pixels are then taken out of it."""


class Tile(ABC):
    """A grid of vectors in one projection, and how its pixels are read.

    Parameters
    ----------
    name : str
        For people.
    crs : str
        Authority code or WKT.
    transform : sequence of float
        a, b, c, d, e, f: a pixel corner (column, row) lies at (a·column + b·row + c,
        d·column + e·row + f).
    shape, block : tuple of int
        Rows and columns of the tile, and of what is stored, and read, together.
    """

    def __init__(
        self,
        name: str,
        crs: str,
        transform: Sequence[float],
        shape: tuple[int, int],
        block: tuple[int, int],
    ) -> None:
        self.name, self.crs, self.shape, self.block = name, crs, shape, block
        self.transform = tuple(float(value) for value in transform[:6])

    @abstractmethod
    def open(self) -> AbstractContextManager[Read]:
        """Open the tile for a number of reads."""

    @cached_property
    def plain(self) -> bool:
        """Whether its coordinates are longitude and latitude of WGS 84 as they are."""
        if self.crs == WGS84:
            return True
        from pyproj import CRS

        return is_wgs84(CRS.from_user_input(self.crs))

    @cached_property
    def degrees(self) -> bool:
        """Whether its coordinates are longitude and latitude, of any datum."""
        return is_geographic(self.crs)

    @cached_property
    def around(self) -> bool:
        """Whether its last column is the neighbor of its first."""
        a, b, _, d, *_ = self.transform
        return self.degrees and b == d == 0 and abs(abs(a) * self.shape[1] - 360.0) < abs(a) / 2

    @cached_property
    def inverse(self) -> NDArray[np.float64]:
        """Coordinates to pixels, (2, 3)."""
        a, b, c, d, e, f = self.transform
        linear = np.linalg.inv([[a, b], [d, e]])
        return np.column_stack([linear, -linear @ [c, f]])

    @cached_property
    def extent(self) -> Bounds:
        """Smallest and largest coordinates: x_min, y_min, x_max, y_max."""
        return _extent(self.transform, self.shape)

    @cached_property
    def bounds(self) -> Bounds:
        """Degrees it lies in; lon_min above lon_max where it crosses the antimeridian."""
        return degrees_of(self.crs, self.transform, self.shape)

    @property
    def opened(self) -> Tile:
        """Itself: its header was read."""
        return self

    def pixels(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn coordinates, (N, 2), into columns and rows, (2, N), whole at pixel corners."""
        if self.degrees:
            west = self.extent[0]
            turned = west + (xy[:, 0] - west) % 360.0
            # A rounding error west of the edge is no turn around the globe.
            turned[turned - west > 360.0 - 1e-9] -= 360.0
            xy = np.column_stack([turned, xy[:, 1]])
        position: NDArray[np.float64] = self.inverse[:, :2] @ xy.T + self.inverse[:, 2:]
        return position


@lru_cache(maxsize=256)
def transformer(crs: str) -> Any:
    """Return the transformation from longitude and latitude to a reference system."""
    from pyproj import Transformer

    return Transformer.from_crs(WGS84, crs, always_xy=True)


@lru_cache(maxsize=256)
def is_geographic(crs: str) -> bool:
    """Tell whether a reference system is one of longitude and latitude."""
    from pyproj import CRS

    return crs == WGS84 or bool(CRS.from_user_input(crs).is_geographic)


def _extent(transform: Sequence[float], shape: tuple[int, int]) -> Bounds:
    a, b, c, d, e, f = transform
    height, width = shape
    x = [c, c + a * width, c + b * height, c + a * width + b * height]
    y = [f, f + d * width, f + e * height, f + d * width + e * height]
    return min(x), min(y), max(x), max(y)


def degrees_of(crs: str, transform: Sequence[float], shape: tuple[int, int]) -> Bounds:
    """Return the degrees that a grid lies in; see `Tile.bounds`."""
    extent = _extent(transform, shape)
    if is_geographic(crs):
        return extent
    west, south, east, north = transformer(crs).transform_bounds(*extent, direction="INVERSE")
    return west, south, east, north


class ListedTile:
    """A tile that a list names, whose header is read once a place is near.

    Parameters
    ----------
    bounds : tuple of float
        As in `Tile`, as the list says them.
    open : callable
        Reads the header.
    """

    def __init__(self, bounds: Bounds, open: Callable[[], Tile]) -> None:
        self.bounds, self._open = bounds, open

    @cached_property
    def opened(self) -> Tile:
        """The tile, with its header read."""
        return self._open()


class TiledProduct(LocationEncoder):
    """Vectors on the pixels of one or more tiles.

    Parameters
    ----------
    tiles : list of Tile or ListedTile
        At least one. Where tiles overlap, the first that has data counts.
    embed_dim : int
        Numbers per place.
    facts : object
        What the files say of themselves, to hash it with product and method: reading every pixel
        would undo that they are read where places are.
    product : str
        By whose rule the stored numbers become those that are meant.
    method : {"nearest", "bilinear"}
        Bilinear weighs the four pixels around a place, after they are restored; a place beside one
        without data has none.
    name, family, dtype, device : str
        As in `load_encoder`.
    """

    chunk_size = 65_536

    def __init__(
        self,
        tiles: Sequence[Tile | ListedTile],
        embed_dim: int,
        facts: Any,
        *,
        product: str = "plain",
        method: str = "nearest",
        name: str,
        family: str,
        dtype: str = "float32",
        device: str = "auto",
    ) -> None:
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r:.60}.")
        self.tiles, self.product, self.method = list(tiles), product, method
        self.name, self.family, self.embed_dim = name, family, embed_dim
        self.dtype, self.device = resolve_dtype(dtype), resolve_device(device)
        identity = repr((facts, product, method))
        self.weights_hash = hashlib.sha256(identity.encode()).hexdigest()[:16]

    def coverage(self, lonlat: Any) -> NDArray[np.bool_]:
        """Tell which places have data; reads them. See `LocationEncoder.coverage`."""
        return np.asarray(np.isfinite(self.embed(lonlat)).all(axis=1), dtype=bool)

    def embed_places(self, lonlat: Any) -> NDArray[Any]:
        """Encode places; see `LocationEncoder.embed`. Places of one block are read together."""
        return self._read(as_lonlat(lonlat))

    def encode(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Encode one chunk of checked places; see `LocationEncoder.encode`."""
        return torch.from_numpy(self._read(lonlat.cpu().numpy())).to(self.device, self.dtype)

    @cached_property
    def _rims(self) -> NDArray[np.float64]:
        """Smallest and largest latitude of every tile, (2, T)."""
        return np.array([tile.bounds[1::2] for tile in self.tiles]).T

    def _read(self, lonlat: NDArray[np.float64]) -> NDArray[Any]:
        """Read places, (N, D), NaN where no tile has data; every tile is opened once."""
        kind = np.float64 if self.dtype == torch.float64 else np.float32
        out = np.full((len(lonlat), self.embed_dim), np.nan, dtype=kind)
        projected: dict[str, NDArray[np.float64]] = {}
        by_lat = np.argsort(lonlat[:, 1], kind="stable")
        south, north = self._rims
        starts = np.searchsorted(lonlat[by_lat, 1], south - MARGIN, side="left")
        stops = np.searchsorted(lonlat[by_lat, 1], north + MARGIN, side="right")
        for number in np.flatnonzero(starts < stops):
            missing = by_lat[starts[number] : stops[number]]
            missing = missing[np.isnan(out[missing, 0])]
            missing = missing[_between(lonlat[missing, 0], self.tiles[number].bounds)]
            if not len(missing):
                continue
            tile = self.tiles[number].opened
            if tile.plain:
                xy = lonlat[missing]
            else:
                if tile.crs not in projected:
                    there = transformer(tile.crs).transform(*lonlat.T)
                    projected[tile.crs] = np.stack(there, axis=1)
                xy = projected[tile.crs][missing]
            position = tile.pixels(xy)
            height, width = tile.shape
            size = np.array([[width], [height]])
            inside = ((position > -EDGE) & (position < size + EDGE)).all(axis=0)
            if inside.any():
                self._read_tile(tile, position[:, inside], missing[inside], out)
        return out

    def _read_tile(
        self, tile: Tile, position: NDArray[np.float64], places: NDArray[np.int64], out: Any
    ) -> None:
        """Read pixel positions of one tile, (2, N), into the rows `places` of `out`."""
        out[places] = 0.0
        column, row, weight = _corners(tile, position, self.method)
        corner, place = np.nonzero(weight > 0)  # A pixel without weight may be one without data.
        column, row, weight = column[corner, place], row[corner, place], weight[corner, place]
        height, width = tile.block
        block = (row // height) * (tile.shape[1] // width + 1) + column // width
        order = np.lexsort([corner, block])
        starts = np.flatnonzero(np.diff(block[order], prepend=-1))
        with tile.open() as read:
            for part in np.split(order, starts[1:]):
                top, left = row[part].min(), column[part].min()
                take = read(slice(top, row[part].max() + 1), slice(left, column[part].max() + 1))
                # A place has each corner once, so that its parts are added one by one.
                for at in np.split(part, np.flatnonzero(np.diff(corner[part])) + 1):
                    values = take(row[at] - top, column[at] - left)
                    out[places[place[at]]] += weight[at, None] * values


def _between(lon: NDArray[np.float64], bounds: Bounds) -> NDArray[np.bool_]:
    """Tell which longitudes may lie in a tile: far from its zone a projection repeats itself."""
    west, _, east, _ = bounds
    span = east - west if east >= west else east - west + 360.0
    return np.asarray((lon - west + MARGIN) % 360.0 <= span + 2 * MARGIN, dtype=bool)


def meet(first: Bounds, other: Bounds) -> bool:
    """Tell whether two bounds have places in common, or nearly."""
    if first[1] > other[3] + MARGIN or other[1] > first[3] + MARGIN:
        return False
    starts = [_between(np.array([a[0]]), b).item() for a, b in ((first, other), (other, first))]
    return any(starts)


def _corners(
    tile: Tile, position: NDArray[np.float64], method: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return column, row and weight of the pixels that make each place, (1 or 4, N)."""
    height, width = tile.shape
    if method == "nearest":
        pixel = np.floor(position).astype(np.int64)
        column, row = np.clip(pixel, 0, [[width - 1], [height - 1]])
        return column[None], row[None], np.ones((1, len(row)))
    x, y = position - 0.5
    # Half a pixel at the rim continues the outermost centers.
    x, y = x if tile.around else np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    u, v = x - left, y - top
    column = np.stack([left, left + 1, left, left + 1])
    column = column % width if tile.around else np.minimum(column, width - 1)
    row = np.minimum(np.stack([top, top, top + 1, top + 1]), height - 1)
    return column, row, np.stack([(1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v])

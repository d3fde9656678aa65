"""Statistics of nested squares around each place, from integral images: the laptop's features.

A square of any size costs four look-ups once the image is summed, so the surroundings of a hundred
thousand places at several scales, over twelve months, take seconds and no network at all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from satclip_explore.geo import EARTH_RADIUS_KM
from training.imagery.blue_marble import MONTHS, BlueMarble

TEXTURE_MONTHS = (1, 7)
"""Months whose spread of brightness is kept too: the extremes of the seasons."""

STATISTICS = len(MONTHS) * 3 + len(TEXTURE_MONTHS) + 4
"""Numbers per square: RGB by month, spread of two months, and four of the year."""

YEAR, NIGHT = len(MONTHS), len(MONTHS) + 1
"""Blocks that follow those of the months."""

LEAST_LAND = 0.01
"""Share of land in a square below which its colors are set to 0."""

HALF_MERIDIAN_KM = np.pi * EARTH_RADIUS_KM


def column_groups(scales: int, night_lights: bool) -> tuple[int, ...]:
    """Return the widths of the groups of columns: one for each scale, and one for night lights."""
    return (STATISTICS,) * scales + (scales,) * night_lights


class PatchStatistics:
    """Mean colors, spread, gradients and land share of squares of several sizes.

    Means run over land pixels only. Every scale but the largest is stored as its difference from
    the next larger one, so that each group of columns says what its scale adds. Where the source
    has the lights of the night, a last group holds the logarithm of their mean, by scale: it is
    dark in most squares and bright by orders of magnitude in a few.

    Parameters
    ----------
    source : BlueMarble
        Images and places.
    scales_km : tuple of float
        Edges of the squares in km, increasing.
    """

    def __init__(self, source: BlueMarble, scales_km: tuple[float, ...]) -> None:
        self.source = source
        self.scales_km = scales_km
        self.lonlat, self.on_land = source.lonlat, source.on_land
        self.augmentations = source.augmentations
        self.night_lights = source.night_lights_file is not None
        self.groups = column_groups(len(scales_km), self.night_lights)
        self.dim = sum(self.groups)
        self.blocks = len(MONTHS) + 1 + self.night_lights
        self._corners: list[list[_Box]] | None = None
        self._land: NDArray[np.float64] | None = None

    def describe(self) -> dict[str, Any]:
        """Say what the columns are."""
        return {
            "image_encoder": "patch-statistics",
            "version": 1,
            "scales_km": list(self.scales_km),
            "statistics": STATISTICS,
        }

    def columns(self, block: int) -> NDArray[np.int64]:
        """Return which columns of the feature table a block fills, scale by scale."""
        scales = len(self.scales_km)
        if block == NIGHT:
            return np.arange(self.dim - scales, self.dim)
        within = self._within(block)
        return np.concatenate([scale * STATISTICS + within for scale in range(scales)])

    def index(self, block: int) -> tuple[slice, slice, NDArray[np.int64]]:
        """Return where a block goes in the table, shape (A, N, D)."""
        return slice(None), slice(None), self.columns(block)

    def compute(self, block: int) -> NDArray[np.float32]:
        """Compute a block, shape (A, N, columns): a month, then the year, then the night."""
        boxes = self._boxes()
        means = np.stack([self._means(layer, boxes) for layer in self._layers(block)], axis=-1)
        if block == NIGHT:
            means = np.log1p(means)
        elif block == YEAR:
            square, mean = means[..., 0], means[..., 1]
            share = self._land_share(boxes)
            spread = np.sqrt(np.maximum(square - mean**2, 0.0))
            means = np.stack([spread, means[..., 2], means[..., 3], share], axis=-1)
        elif block + 1 in TEXTURE_MONTHS:
            mean = means[..., :3].mean(axis=-1)
            means[..., 3] = np.sqrt(np.maximum(means[..., 3] - mean**2, 0.0))
        means[:, :, :-1] -= means[:, :, 1:]
        return means.reshape(self.augmentations, len(self.lonlat), -1).astype(np.float32)

    def _within(self, block: int) -> NDArray[np.int64]:
        """Columns of a block within the group of one scale."""
        colors = len(MONTHS) * 3
        if block == YEAR:
            return np.arange(STATISTICS - 4, STATISTICS)
        own = [3 * block, 3 * block + 1, 3 * block + 2]
        if block + 1 in TEXTURE_MONTHS:
            own.append(colors + TEXTURE_MONTHS.index(block + 1))
        return np.array(own)

    def _layers(self, block: int) -> list[NDArray[Any]]:
        if block == NIGHT:
            return [self.source.night()]
        return self._year_layers() if block == YEAR else self._month_layers(block + 1)

    def _month_layers(self, month: int) -> list[NDArray[Any]]:
        image = self.source.month(month).astype(np.float32) / np.float32(255.0)
        layers = [image[..., color] for color in range(3)]
        if month in TEXTURE_MONTHS:
            layers.append(image.mean(axis=-1) ** 2)
        return layers

    def _year_layers(self) -> list[NDArray[Any]]:
        brightness = self.source.survey[1]
        east = np.abs(brightness - np.roll(brightness, 1, axis=1))
        south = np.abs(brightness - np.roll(brightness, 1, axis=0))
        return [brightness**2, brightness, east, south]

    def _means(self, layer: NDArray[Any], boxes: list[list[_Box]]) -> NDArray[np.float64]:
        """Average a layer over the land of every square, shape (A, N, scales)."""
        land = self.source.survey[0]
        table = _integral(np.where(land, layer, 0.0))
        sums = np.stack(
            [np.stack([box.sum(table) for box in row], axis=-1) for row in boxes], axis=0
        )
        return np.where(self._land_share(boxes) < LEAST_LAND, 0.0, sums / self._land_pixels(boxes))

    def _land_pixels(self, boxes: list[list[_Box]]) -> NDArray[np.float64]:
        if self._land is None:
            table = _integral(self.source.survey[0])
            self._land = np.stack(
                [np.stack([box.sum(table) for box in row], axis=-1) for row in boxes], axis=0
            )
        return np.maximum(self._land, 1e-6)

    def _land_share(self, boxes: list[list[_Box]]) -> NDArray[np.float64]:
        area = np.stack([np.stack([box.area for box in row], axis=-1) for row in boxes], axis=0)
        return self._land_pixels(boxes) / area

    def _boxes(self) -> list[list[_Box]]:
        """Return the squares by version and scale."""
        if self._corners is None:
            shape = self.source.survey[0].shape
            self._corners = [
                [_Box(self.source.centers(version), km, shape) for km in self.scales_km]
                for version in range(self.augmentations)
            ]
        return self._corners


class _Box:
    """Squares of one size around many places, in pixel edges of a plate carrée image.

    Edges are fractions of pixels: the summed table is read between its entries, which weighs the
    pixels at the rim by the part that lies inside.
    """

    def __init__(self, lonlat: NDArray[np.float64], km: float, shape: tuple[int, ...]) -> None:
        height, width = shape
        half = 0.5 * km / HALF_MERIDIAN_KM * height
        row = (90.0 - lonlat[:, 1]) / 180.0 * height
        column = (lonlat[:, 0] + 180.0) / 360.0 * width
        cosine = np.maximum(np.cos(np.radians(lonlat[:, 1])), 1e-3)
        across = np.minimum(half / cosine, 0.5 * width)
        self.top = np.clip(row - half, 0.0, height).astype(np.float32)
        self.bottom = np.clip(row + half, 0.0, height).astype(np.float32)
        self.left = (column - across).astype(np.float32)
        self.right = (column + across).astype(np.float32)

    @property
    def area(self) -> NDArray[np.float64]:
        """Pixels inside, fractions counted."""
        return (self.bottom - self.top).astype(np.float64) * (self.right - self.left)

    def sum(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum a layer over the squares, from its integral image."""
        lower = _read(table, self.bottom, self.right) - _read(table, self.bottom, self.left)
        upper = _read(table, self.top, self.right) - _read(table, self.top, self.left)
        return lower - upper


def _integral(layer: NDArray[Any]) -> NDArray[np.float64]:
    """Sum everything above and left of each pixel corner, shape (H + 1, W + 1)."""
    table = np.zeros((layer.shape[0] + 1, layer.shape[1] + 1))
    np.cumsum(layer, axis=0, dtype=np.float64, out=table[1:, 1:])
    np.cumsum(table[1:, 1:], axis=1, out=table[1:, 1:])
    return table


def _read(
    table: NDArray[np.float64], row: NDArray[np.float32], column: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Read an integral image between its entries; columns may run past the edges of the map."""
    height, width = table.shape[0] - 1, table.shape[1] - 1
    turns = np.floor(column / width)
    column = column - turns * width
    top = np.minimum(row.astype(np.int64), height - 1)
    left = np.minimum(column.astype(np.int64), width - 1)
    down, right = row - top, column - left
    stride = width + 1
    flat = table.ravel()
    start = top * stride + left
    upper = flat[start] * (1.0 - right) + flat[start + 1] * right
    start += stride
    lower = flat[start] * (1.0 - right) + flat[start + 1] * right
    inside = upper + (lower - upper) * down
    # A full turn adds the sum of everything above: the last column.
    edge = top * stride + width
    turn = flat[edge] + (flat[edge + stride] - flat[edge]) * down
    return inside + turns * turn

"""Colors of a view on a screen, encoded only as densely as they vary."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.fields import Progress, collect
from satclip_explore.geo import Grid
from satclip_explore.lattice import Lattice, between, every
from satclip_explore.projection import Projection, color_bytes, pca_colors, pca_rows

STEPS = (8, 4, 2)
"""Pixels from one that is encoded to the next."""

TOLERANCE = 4.0
"""Of 255: how far colors may be from encoded ones, for `SHARE` of those compared."""

SHARE = 0.999
ROWS_COMPARED = 7


def view_colors(
    encoder: LocationEncoder,
    grid: Grid,
    projection: Projection,
    *,
    progress: Progress | None = None,
) -> NDArray[np.uint8]:
    """Encode a grid in principal components: every pixel, or fewer where that shows the same.

    A network of sines is smooth: seen from near, most pixels can be read off between others. A few
    rows are encoded in full. The widest step by which they can be told from some of their own
    pixels is taken for the whole view, and what comes out is compared with those rows.

    Parameters
    ----------
    encoder : LocationEncoder
        Any encoder.
    grid : Grid
        Pixel centers, shape (H, W).
    projection : Projection
        See `fit_pca`.
    progress : callable, optional
        Called with (rows done, rows in all) of each step.

    Returns
    -------
    numpy.ndarray, shape (H, W, n), uint8
        Row 0 in the north.
    """
    height, width = grid.shape
    wide = STEPS[0]
    if min(height, width) >= ROWS_COMPARED * wide:
        # Three from a row that every step encodes: halfway, or nearly so, for each of them.
        compared = np.linspace(0, height // wide - 1, ROWS_COMPARED).astype(int) * wide + 3
        true = _values(encoder, Lattice.of(grid, compared, np.arange(width)), projection, progress)
        for step in STEPS:
            rows, columns = every(step, height), every(step, width)
            if not _alike(between(true[:, columns], columns, 1), true):
                continue
            few = _values(encoder, Lattice.of(grid, rows, columns), projection, progress)
            values = between(between(few, rows, 0), columns, 1)
            if _alike(values[compared], true) and np.isfinite(values).all():
                return color_bytes(torch.from_numpy(values)).numpy()
    return pca_colors(encoder, grid, projection, progress=progress)


def _values(
    encoder: LocationEncoder, grid: Grid, projection: Projection, progress: Progress | None
) -> NDArray[np.float32]:
    return collect(pca_rows(encoder, grid, projection, progress=progress), grid)


def _alike(guess: NDArray[np.float32], true: NDArray[np.float32]) -> bool:
    off = np.abs(guess.clip(0.0, 255.0) - true.clip(0.0, 255.0))
    return bool(np.quantile(off, SHARE) <= TOLERANCE)  # false where any is NaN

"""A globe painted again and again while its encoder learns, in colors that do not jump."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from satclip_explore.atlas import load_atlas
from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.projection import Projection, fit_pca, pca_raster

N_SAMPLES = 2000
"""Land places that components are compared at."""


class SteadyColors:
    """Paints principal components; each keeps the color of the one before that it resembles most.

    Principal components come in any order of near-equal variance and with any sign, so that two
    epochs of one run would be painted in unrelated colors.

    Parameters
    ----------
    resolution : float
        Pixel size in degrees.
    """

    def __init__(self, resolution: float = 1.0) -> None:
        self._resolution = resolution
        self._before: NDArray[np.float64] | None = None

    def paint(self, encoder: LocationEncoder) -> NDArray[np.uint8]:
        """Return the globe in three components, shape (H, W, 3), row 0 in the north."""
        projection = fit_pca(encoder, 3)
        embeddings = encoder.embed(load_atlas().lonlat[:N_SAMPLES])
        if self._before is not None:
            projection = matched(projection, projection.scores(embeddings), self._before)
        self._before = projection.scores(embeddings)
        painted = pca_raster(encoder, self._resolution, projection=projection).to_numpy()
        return np.asarray(painted, dtype=np.uint8)


def matched(
    projection: Projection, scores: NDArray[np.float64], before: NDArray[np.float64]
) -> Projection:
    """Reorder and flip components so that they correlate best with earlier scores.

    Parameters
    ----------
    projection : Projection
        With n components.
    scores, before : numpy.ndarray, shape (M, n)
        Its scores, and those of the earlier projection, at the same places.

    Returns
    -------
    Projection
        The same components, in another order and with other signs.
    """
    n = scores.shape[1]
    with np.errstate(invalid="ignore", divide="ignore"):  # a component may be flat
        correlation = np.nan_to_num(np.corrcoef(scores, before, rowvar=False)[:n, n:])
    columns = np.arange(n)
    order = list(
        max(permutations(range(n)), key=lambda rows: np.abs(correlation[list(rows), columns]).sum())
    )
    signs = np.where(correlation[order, columns] < 0.0, -1.0, 1.0)
    low, high = projection.low[order], projection.high[order]
    return replace(
        projection,
        components=projection.components[order] * signs[:, None],
        explained=projection.explained[order],
        low=np.where(signs < 0, -high, low),
        high=np.where(signs < 0, -low, high),
    )

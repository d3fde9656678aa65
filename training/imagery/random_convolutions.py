"""Random convolutional features of an imagery source: filters drawn from its own images."""

from __future__ import annotations

import numpy as np

from satclip_explore.encoders.random_convolutions import RandomConvolutions, whitened_filters
from training.imagery.source import ImagerySource


def random_convolutions(
    source: ImagerySource, *, n_filters: int = 256, kernel: int = 3, seed: int = 0
) -> RandomConvolutions:
    """Draw filters from a source's own images, centered, whitened and scaled to unit length.

    Parameters
    ----------
    source : ImagerySource
        Images; up to 64 are read.
    n_filters, kernel : int
        Filters F and their edge in pixels.
    seed : int
        Of the choice of patches.
    """
    rng = np.random.default_rng([seed, 3])
    rows = np.sort(rng.permutation(len(source.lonlat))[:64])
    images = source.read(rows)
    images = images[np.isfinite(images).all(axis=(1, 2, 3))]
    if not len(images):
        raise ValueError("none of the first images can be read; no filters to draw.")
    n, _, height, width = images.shape
    count = max(4 * n_filters, 2000)
    image = rng.integers(n, size=count)
    top, left = (
        rng.integers(height - kernel + 1, size=count),
        rng.integers(width - kernel + 1, size=count),
    )
    patches = np.stack(
        [
            images[i, :, y : y + kernel, x : x + kernel]
            for i, y, x in zip(image, top, left, strict=True)
        ]
    )
    return RandomConvolutions(whitened_filters(patches, n_filters))

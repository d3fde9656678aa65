"""Random convolutional features, the image encoder of MOSAIKS."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from training.imagery import ImagerySource


class RandomConvolutions(nn.Module):
    """Random convolutional features: patches of the data itself as filters, averaged responses.

    Parameters
    ----------
    patches : torch.Tensor, shape (F, C, k, k)
        Filters, drawn from the images and whitened by the caller or random.
    bias : float
        Threshold of the two rectifiers.

    References
    ----------
    Rolf et al. (2021), "A generalizable and accessible approach to machine learning with global
    satellite imagery", Nature Communications 12:4392.
    """

    patches: torch.Tensor

    def __init__(self, patches: torch.Tensor, bias: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("patches", patches)
        self.bias = bias
        self.dim = 2 * len(patches)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Average the positive and negative responses of every filter, (n, 2F)."""
        responses = nn.functional.conv2d(images, self.patches)
        rectified = [torch.relu(responses - self.bias), torch.relu(-responses - self.bias)]
        return torch.cat([r.mean(dim=(2, 3)) for r in rectified], dim=1)


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
    which = rng.integers(n, size=count)
    top, left = (
        rng.integers(height - kernel + 1, size=count),
        rng.integers(width - kernel + 1, size=count),
    )
    patches = np.stack(
        [
            images[i, :, y : y + kernel, x : x + kernel]
            for i, y, x in zip(which, top, left, strict=True)
        ]
    )
    flat = patches.reshape(count, -1).astype(np.float64)
    centered = flat - flat.mean(axis=0)
    values, vectors = np.linalg.eigh(centered.T @ centered / count)
    whiten = vectors / np.sqrt(values + 1e-3 * values.max()) @ vectors.T
    filters = centered[:n_filters] @ whiten
    filters /= np.linalg.norm(filters, axis=1, keepdims=True) + 1e-12
    # Responses of a filter on whitened patches: the whitening is folded into the filter.
    filters = (filters @ whiten).reshape(n_filters, *patches.shape[1:])
    return RandomConvolutions(torch.from_numpy(filters.astype(np.float32)))

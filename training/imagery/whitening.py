"""Image features made comparable: centered, decorrelated within each scale, clipped."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

SPREAD_FLOOR = 0.01
"""Added to standard deviations, in units of the features: columns that hardly vary stay small."""

CLIP_AT = 5.0
"""Largest whitened component: one odd place must not rule a batch."""


class Whitening(nn.Module):
    """A fixed linear map that makes features comparable, fitted once on training images.

    Parameters
    ----------
    groups : tuple of int
        Widths of the groups of columns, whitened one by one.
    components : int
        Principal components kept of each group; 0 only standardizes the columns.
    """

    mean: torch.Tensor
    weight: torch.Tensor
    variances: torch.Tensor

    def __init__(self, groups: tuple[int, ...], components: int) -> None:
        super().__init__()
        self.groups, self.components = groups, components
        self.kept = [min(components, width) if components else width for width in groups]
        self.dim = sum(self.kept)
        self.register_buffer("mean", torch.zeros(sum(groups)))
        self.register_buffer("weight", torch.zeros(sum(groups), self.dim))
        self.register_buffer("variances", torch.ones(self.dim))

    def fit(self, features: NDArray[np.floating]) -> None:
        """Fit on features of training images, shape (n, D)."""
        values = np.asarray(features, dtype=np.float64)
        mean, spread = values.mean(axis=0), values.std(axis=0) + SPREAD_FLOOR
        scaled = (values - mean) / spread
        weight, found = np.zeros(self.weight.shape), []
        start = column = 0
        for width, kept in zip(self.groups, self.kept, strict=True):
            part = slice(start, start + width)
            directions, variances = self._directions(scaled[:, part])
            weight[part, column : column + kept] = directions / spread[part, None]
            found.append(variances)
            start, column = start + width, column + kept
        self.mean.copy_(torch.from_numpy(mean))
        self.weight.copy_(torch.from_numpy(weight))
        self.variances.copy_(torch.from_numpy(np.concatenate(found)))

    def relevance(self, power: float, weights: tuple[float, ...] = ()) -> torch.Tensor:
        """Weigh the components, shape (K,); their mean square is 1.

        Parameters
        ----------
        power : float
            0 leaves a component its share of its group's variance, 1 makes all weigh the same.
        weights : tuple of float
            One for each group; empty gives every group the same.
        """
        groups = self.variances.pow(1 - power).split(self.kept)
        squares = [float(weight) ** 2 for weight in weights or (1.0,) * len(groups)]
        shares = [g / g.sum() * w for g, w in zip(groups, squares, strict=True)]
        return (torch.cat(shares) * (self.dim / sum(squares))).sqrt()

    def _directions(self, scaled: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        if not self.components:
            return np.eye(scaled.shape[1]), np.ones(scaled.shape[1])
        variances, vectors = np.linalg.eigh(scaled.T @ scaled / len(scaled))
        order = np.argsort(variances)[::-1][: self.components]
        kept = np.maximum(variances[order], 1e-9)
        return vectors[:, order] / np.sqrt(kept), kept

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map features, shape (n, D), to whitened components, shape (n, K), clipped."""
        whitened = (features.float() - self.mean) @ self.weight
        # Standardized features stay as they are, so that the head can be exported as one layer.
        return whitened.clamp(-CLIP_AT, CLIP_AT) if self.components else whitened

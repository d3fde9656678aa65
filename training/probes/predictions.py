"""Predictions of a fitted probe: test places, any places, and whole rasters, a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from satclip_explore.encoders.base import LocationEncoder, Readout
from satclip_explore.geo import Grid, unit_vectors
from training.probes.base import Head
from training.probes.linear import LinearHead
from training.probes.mlp import MLPHead

CHUNK_SCORES = 20_000_000
"""Scores (seeds x places x classes) that are held at once."""

RANKS = 5
"""Best classes that are kept of every test place."""


@dataclass(frozen=True)
class Scale:
    """Turns standardized values back into the unit of the target; 0 and 1 for classes."""

    mean: float = 0.0
    deviation: float = 1.0


def ranked_classes(head: Head, features: torch.Tensor, vectors: torch.Tensor) -> NDArray[np.int64]:
    """Rank the classes of places, shape (S, N, up to 5), best first."""
    parts = [
        scores.topk(min(RANKS, scores.shape[2]), dim=2).indices.cpu()
        for scores in _chunks(head, features, vectors)
    ]
    return torch.cat(parts, dim=1).numpy()


def values_per_seed(
    head: Head, features: torch.Tensor, vectors: torch.Tensor, scale: Scale
) -> NDArray[np.float64]:
    """Predict values of places, shape (S, N), in the unit of the target."""
    parts = [scores[..., 0].cpu().double() for scores in _chunks(head, features, vectors)]
    return torch.cat(parts, dim=1).numpy() * scale.deviation + scale.mean


def _chunks(head: Head, features: torch.Tensor, vectors: torch.Tensor) -> Iterator[torch.Tensor]:
    step = 2048
    with torch.no_grad():
        for start in range(0, len(features), step):
            yield head.scores(features[start : start + step], vectors[start : start + step])


def summarize(scores: torch.Tensor, is_class: bool, scale: Scale) -> tuple[torch.Tensor, ...]:
    """Join the seeds' scores, (S, N, C).

    Returns
    -------
    prediction : torch.Tensor, shape (N,)
        The class with the best mean score (codes), or the mean value.
    spread : torch.Tensor, shape (N,)
        Share of the seeds that name another class, or the standard deviation of their values.
    """
    if is_class:
        # Mean log-probability: classes of a seed that is sure of itself do not count for more.
        joint = (
            (scores - scores.logsumexp(2, keepdim=True)).mean(0) if len(scores) > 1 else scores[0]
        )
        best = joint.argmax(1)
        return best, (scores.argmax(2) != best).float().mean(0)
    values = scores[..., 0] * scale.deviation + scale.mean
    return values.mean(0), values.std(0, correction=0)


def predict_grid(
    encoder: LocationEncoder, head: Head, grid: Grid, is_class: bool, scale: Scale
) -> Iterator[tuple[slice, NDArray[Any], NDArray[Any]]]:
    """Predict a grid from north to south.

    Linear probes and the first layer of others are folded into the encoder's last layer.

    Yields
    ------
    rows : slice
        Which rows of the grid.
    prediction, spread : numpy.ndarray, shape (rows, W)
        As in `summarize`; NaN (or class -1) where the encoder has no coverage.
    """
    vectors = torch.from_numpy(unit_vectors(grid.lonlat)).float()
    width = grid.shape[1]
    for rows, values in encoder.iter_grid(grid, _fold(head)):
        flat = values.reshape(-1, values.shape[-1]).float()
        place = vectors[rows.start * width : rows.stop * width].to(flat.device)
        missing = torch.isnan(flat).any(1)
        flat = torch.where(missing[:, None], 0.0, flat)
        step = max(256, CHUNK_SCORES // _width(head))
        parts = [
            summarize(_from_folded(head, part, here), is_class, scale)
            for part, here in zip(flat.split(step), place.split(step), strict=True)
        ]
        prediction = torch.cat([part[0] for part in parts])
        spread = torch.cat([part[1] for part in parts])
        prediction[missing] = -1 if is_class else torch.nan
        spread[missing] = torch.nan
        shape = (rows.stop - rows.start, width)
        yield (
            rows,
            prediction.reshape(shape).cpu().numpy(),
            spread.reshape(shape).cpu().numpy(),
        )


def _fold(head: Head) -> Readout | None:
    """Return the linear map that a head begins with, if it begins with one."""
    if isinstance(head, LinearHead):
        return Readout(head.weight[0].double().cpu().numpy(), head.bias[0].double().cpu().numpy())
    if isinstance(head, MLPHead):
        weight = head.w1.transpose(1, 2).flatten(0, 1).double().cpu().numpy()
        return Readout(weight, head.b1.flatten().double().cpu().numpy())
    return None


def _from_folded(head: Head, values: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Finish what `_fold` began: scores (S, N, C)."""
    if isinstance(head, LinearHead):
        return values[None]
    if isinstance(head, MLPHead):
        n_seeds = len(head.w1)
        return head.from_hidden(values.reshape(len(values), n_seeds, -1).transpose(0, 1))
    return head.scores(values, vectors)


def _width(head: Head) -> int:
    """Return seeds times classes: scores per place."""
    tensors = head.tensors()
    if "b2" in tensors:
        return int(tensors["b2"].numel())
    return int(tensors["bias"].numel()) if "bias" in tensors else 4096

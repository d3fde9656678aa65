"""A Gaussian process on the sum of two kernels: near on the globe, and alike in embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import torch

from satclip_explore.geo import EARTH_RADIUS_KM
from training.probes.base import Cancel, Step, TrainingData, loss_per_seed, standardization
from training.probes.nearest import (
    RowsHead,
    great_circle_as_chord,
    nearest_rows,
    rows_per_chunk,
    weighted_labels,
)

NEIGHBORS = 32
"""Training rows per place and per kernel that enter its small linear system."""

MAX_VALID = 500
"""Valid rows on which settings are chosen, at most."""


@dataclass(frozen=True)
class KernelSettings:
    """Settings of the sum of both kernels.

    Parameters
    ----------
    share : float
        Of the embedding kernel in the sum, 0 … 1; the place kernel has the rest.
    place_km : float
        Length scale on the globe, km.
    embedding_scale : float
        Length scale among embeddings, in units of their typical distance.
    noise : float
        Variance of the labels' noise, in units of the kernels' variance.
    """

    share: float = 0.5
    place_km: float = 500.0
    embedding_scale: float = 0.5
    noise: float = 0.1


GRID = tuple(
    KernelSettings(*values)
    for values in product((0.0, 0.3, 0.6, 0.9), (200.0, 800.0, 3000.0), (0.3, 1.0), (0.03, 0.3))
)
"""Settings that are tried on the valid rows."""


class KernelHead(RowsHead):
    """Local kriging: each place solves for the weights of its own nearest training rows.

    Parameters
    ----------
    tensors : sequence of torch.Tensor
        vectors (N, 3), training places as unit vectors; points (N, D), their embeddings,
        standardized and divided by their typical distance; values (N,), class codes (int64) or
        standardized values; mean and scale (D,), from an embedding to a point.
    n_classes : int
        0 for regression.
    settings : dict
        Fields of `KernelSettings`.
    """

    kind = "kernel"
    names = ("vectors", "points", "values", "mean", "scale")

    def __init__(
        self,
        tensors: Sequence[torch.Tensor],
        n_classes: int,
        settings: dict[str, Any],
    ) -> None:
        self.vectors, self.points, self.values, self.mean, self.scale = tensors
        self.n_classes, self.settings = n_classes, settings

    def scores(self, features: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Score one chunk of places; see `Head.scores`."""
        query = (features.to(self.points) - self.mean) / self.scale
        vectors = vectors.to(self.vectors)
        step = min(1024, rows_per_chunk(self.points, NEIGHBORS))
        parts = []
        for part, place in zip(query.split(step), vectors.split(step), strict=True):
            rows = self.neighbors(part, place)
            distances = self.distances(part, place, rows)
            parts.append(self.solve(rows, distances, KernelSettings(**self.settings)))
        return torch.cat(parts)[None]

    def neighbors(self, query: torch.Tensor, place: torch.Tensor, gap: float = 0.0) -> torch.Tensor:
        """Find the rows near in place and near in embedding, shape (Q, up to 2·NEIGHBORS)."""
        count = min(NEIGHBORS, len(self.points))
        hidden = place @ self.vectors.T > 1.0 - gap**2 / 2.0 if gap else None
        _, by_place = nearest_rows(place, self.vectors, count, hidden)
        _, by_embedding = nearest_rows(query, self.points, count, hidden)
        return torch.cat([by_place, by_embedding], dim=1)

    def distances(
        self, query: torch.Tensor, place: torch.Tensor, rows: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Measure both spaces, among the rows (Q, K, K) and from rows to query (Q, K, 1)."""
        near, alike = self.vectors[rows], self.points[rows]
        return (
            torch.cdist(near, near),
            torch.cdist(alike, alike),
            torch.cdist(near, place[:, None]),
            torch.cdist(alike, query[:, None]),
        )

    def solve(
        self, rows: torch.Tensor, distances: tuple[torch.Tensor, ...], chosen: KernelSettings
    ) -> torch.Tensor:
        """Solve the small systems and sum the labels, shape (Q, C)."""
        inner = _kernel(distances[0], distances[1], chosen)
        # A row found twice enters twice; the noise keeps its system solvable.
        inner.diagonal(dim1=1, dim2=2).add_(chosen.noise)
        outer = _kernel(distances[2], distances[3], chosen)
        weight = torch.cholesky_solve(outer, torch.linalg.cholesky(inner))[..., 0]
        return weighted_labels(rows, weight, self.values, self.n_classes)


def _kernel(chord: torch.Tensor, apart: torch.Tensor, chosen: KernelSettings) -> torch.Tensor:
    """Sum two exponential kernels: of the chord of the sphere and of embedding distance."""
    place = torch.exp(chord * (-EARTH_RADIUS_KM / chosen.place_km))
    alike = torch.exp(apart * (-1.0 / chosen.embedding_scale))
    return torch.lerp(place, alike, chosen.share)


def fit_kernel(
    data: TrainingData,
    seeds: Sequence[int],
    settings: KernelSettings | None = None,
    *,
    on_step: Step | None = None,
    cancel: Cancel | None = None,
) -> KernelHead:
    """Fit local kriging on embedding and place together.

    Parameters
    ----------
    data : TrainingData
        The valid rows choose the settings, with the labels within `gap_km` of them hidden, then
        join the others.
    seeds : sequence of int
        Not used: nothing is random.
    settings : KernelSettings, optional
        Default: the best of `GRID`.
    on_step, cancel
        As for `fit_mlp`; one step per setting tried.

    Notes
    -----
    Distances on the globe are chords: the exponential kernel is then positive definite. Each
    place uses its 32 nearest training rows in either space, so the cost grows with their number
    only in the search.

    References
    ----------
    Datta et al. (2016), "Hierarchical Nearest-Neighbor Gaussian Process Models", JASA 111(514).
    """
    del seeds
    fitting, valid = data.part(~data.valid), data.part(data.valid)
    mean, scale = standardization(fitting.features)
    sample = ((fitting.features - mean) / scale)[:1000]
    typical = torch.cdist(sample, sample).median().clamp(min=1e-6)
    scale = scale * typical

    def head(part: TrainingData, chosen: KernelSettings) -> KernelHead:
        points = (part.features - mean) / scale
        facts = asdict(chosen)
        return KernelHead((part.vectors, points, part.target, mean, scale), part.n_classes, facts)

    if settings is None:
        settings = _choose(head(fitting, GRID[0]), valid, data.gap_km, on_step, cancel)
    return head(data, settings)


def _choose(
    head: KernelHead,
    valid: TrainingData,
    gap_km: float,
    on_step: Step | None,
    cancel: Cancel | None,
) -> KernelSettings:
    """Return the settings with the least error on the valid rows."""
    valid = valid.part(torch.arange(min(MAX_VALID, len(valid.target))))
    query = (valid.features - head.mean) / head.scale
    rows = head.neighbors(query, valid.vectors, great_circle_as_chord(gap_km))
    distances = head.distances(query, valid.vectors, rows)
    best, chosen = torch.inf, GRID[0]
    for step, settings in enumerate(GRID):
        scores = head.solve(rows, distances, settings)
        if head.n_classes:
            loss = (scores.argmax(1) != valid.target).float().mean()[None]
        else:
            loss = loss_per_seed(scores[None], valid.target, 0)
        if on_step is not None:
            on_step(step, torch.full((1,), torch.nan), loss.cpu())
        if float(loss) < best:
            best, chosen = float(loss), settings
        if cancel is not None and cancel.is_set():
            break
    return chosen

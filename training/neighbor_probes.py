"""Probes without weights: the nearest labelled places, on the globe or in embedding space."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import torch

from satclip_explore.geo import EARTH_RADIUS_KM
from training.heads import Cancel, Head, Step, TrainingData, loss_per_seed, standardization

NEIGHBOR_COUNTS = (1, 3, 5, 10, 20, 40)
"""Counts that `fit_knn` tries on the valid rows."""

INVERSE_DISTANCE_NEIGHBORS = 8
"""Places averaged by the `nearest` baseline in regression."""

CHUNK_BYTES = 100_000_000
"""Size of the table of distances that is held at once."""


class RowsHead(Head):
    """A probe that keeps its training rows: tensors under `names`, the same on every device."""

    names: tuple[str, ...]
    n_classes: int

    @abstractmethod
    def __init__(
        self, tensors: Sequence[torch.Tensor], n_classes: int, settings: dict[str, Any]
    ) -> None: ...

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the training rows and their standardization."""
        return {name: getattr(self, name) for name in self.names}

    def to(self, device: torch.device) -> Self:
        """Return the same probe on a device."""
        tensors = [tensor.to(device) for tensor in self.tensors().values()]
        return type(self)(tensors, self.n_classes, self.settings)


class NeighborHead(RowsHead):
    """Labels of the nearest training rows, weighted by inverse distance.

    Parameters
    ----------
    tensors : sequence of torch.Tensor
        points (N, K), where the training rows are in the space that is searched; values (N,),
        class codes (int64) or standardized values; mean and scale (K,) of that space.
    n_classes : int
        0 for regression.
    settings : dict
        space ("place" or "embedding"), n_neighbors, power of the distance.
    """

    names = ("points", "values", "mean", "scale")

    def __init__(
        self,
        tensors: Sequence[torch.Tensor],
        n_classes: int,
        settings: dict[str, Any],
    ) -> None:
        self.points, self.values, self.mean, self.scale = tensors
        self.n_classes, self.settings = n_classes, settings
        self.kind = "nearest" if settings["space"] == "place" else "knn"

    def scores(self, features: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Score one chunk of places; see `Head.scores`."""
        query = vectors if self.kind == "nearest" else features
        query = (query.to(self.points) - self.mean) / self.scale
        count = min(int(self.settings["n_neighbors"]), len(self.points))
        parts = []
        for part in query.split(rows_per_chunk(len(self.points))):
            distance, rows = nearest_rows(part, self.points, count)
            weight = (distance + 1e-6) ** -float(self.settings["power"])
            parts.append(self._vote(rows, weight / weight.sum(1, keepdim=True)))
        return torch.cat(parts)[None]

    def _vote(self, rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return weighted_labels(rows, weight, self.values, self.n_classes)


def rows_per_chunk(n_points: int) -> int:
    """Return how many queries to compare with all points at once."""
    return max(1, CHUNK_BYTES // (4 * max(1, n_points)))


def nearest_rows(
    query: torch.Tensor, points: torch.Tensor, count: int, hidden: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the nearest points of each query.

    Parameters
    ----------
    query : torch.Tensor, shape (Q, K)
    points : torch.Tensor, shape (N, K)
    count : int
        Points per query, at most N.
    hidden : torch.Tensor, shape (Q, N), bool, optional
        Pairs that must not be found.

    Returns
    -------
    distance : torch.Tensor, shape (Q, count)
        Euclidean, increasing.
    rows : torch.Tensor, shape (Q, count), int64
    """
    squared = torch.addmm(points.square().sum(1)[None], query, points.T, alpha=-2.0)
    if hidden is not None:
        squared = squared.masked_fill(hidden, torch.inf)
    _, rows = squared.topk(count, dim=1, largest=False)
    # From the differences: the expanded square loses the digits of near neighbors.
    distance = (query[:, None] - points[rows]).norm(dim=2)
    distance, order = distance.sort(dim=1)
    return distance, rows.gather(1, order)


def weighted_labels(
    rows: torch.Tensor, weight: torch.Tensor, values: torch.Tensor, n_classes: int
) -> torch.Tensor:
    """Sum weights by label, shapes (Q, K) to (Q, C), or average values, to (Q, 1)."""
    if not n_classes:
        return (weight * values[rows]).sum(1, keepdim=True)
    table = weight.new_zeros(len(rows), n_classes)
    return table.scatter_add_(1, values[rows], weight)


def fit_nearest(
    data: TrainingData,
    seeds: Sequence[int],
    *,
    on_step: Step | None = None,
    cancel: Cancel | None = None,
) -> NeighborHead:
    """Take the label of the nearest labelled place, or the inverse-distance mean of eight.

    No embedding is used: this is what any encoder has to beat.
    """
    del seeds, on_step, cancel
    mean, scale = torch.zeros_like(data.vectors[0]), torch.ones_like(data.vectors[0])
    settings = {
        "space": "place",
        "n_neighbors": 1 if data.n_classes else INVERSE_DISTANCE_NEIGHBORS,
        "power": 2.0,
    }
    return NeighborHead((data.vectors, data.target, mean, scale), data.n_classes, settings)


def fit_knn(
    data: TrainingData,
    seeds: Sequence[int],
    n_neighbors: int | None = None,
    *,
    on_step: Step | None = None,
    cancel: Cancel | None = None,
) -> NeighborHead:
    """Average the labels of the nearest training rows in embedding space.

    Parameters
    ----------
    data : TrainingData
        The valid rows choose the number of neighbors, then join the others.
    seeds : sequence of int
        Not used: nothing is random.
    n_neighbors : int, optional
        Default: chosen among 1 … 40.
    on_step, cancel
        As for `fit_mlp`.
    """
    del seeds
    fitting = data.part(~data.valid)
    mean, scale = standardization(fitting.features)
    points = (fitting.features - mean) / scale
    if n_neighbors is None:
        valid = data.part(data.valid)
        best = torch.inf
        for step, count in enumerate(NEIGHBOR_COUNTS):
            settings = {"space": "embedding", "n_neighbors": count, "power": 1.0}
            head = NeighborHead((points, fitting.target, mean, scale), data.n_classes, settings)
            scores = head.scores(valid.features, valid.vectors)
            if data.n_classes:
                wrong = (scores[0].argmax(1) != valid.target).float().mean()[None]
            else:
                wrong = loss_per_seed(scores, valid.target, 0)
            if on_step is not None:
                on_step(step, torch.full((1,), torch.nan), wrong.cpu())
            if float(wrong) < best:
                best, n_neighbors = float(wrong), count
            if cancel is not None and cancel.is_set():
                break
    settings = {"space": "embedding", "n_neighbors": n_neighbors or 1, "power": 1.0}
    points = (data.features - mean) / scale
    return NeighborHead((points, data.target, mean, scale), data.n_classes, settings)


def great_circle_as_chord(distance_km: float) -> float:
    """Turn a distance along the ground into a chord of the unit sphere."""
    return 2.0 * float(torch.sin(torch.tensor(min(distance_km, 20_000.0) / (2 * EARTH_RADIUS_KM))))

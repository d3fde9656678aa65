"""Probes without weights: the nearest labelled places, on the globe or in embedding space."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import torch

from satclip_explore.geo import EARTH_RADIUS_KM
from training.probes.base import Cancel, Head, Step, TrainingData, errors_per_seed, standardization
from training.tasks.splits import shuffled

NEIGHBOR_COUNTS = (1, 3, 5, 10, 20, 40)
"""Counts that `fit_knn` tries."""

MAX_LEFT_OUT = 2000
"""Rows that are left out in turn, at most, to choose the count."""

INVERSE_DISTANCE_NEIGHBORS = 8
"""Places averaged by the `nearest` baseline in regression."""

CHUNK_BYTES = 100_000_000
"""Size of the table of distances, or of differences, that is held at once."""


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
        for part in query.split(rows_per_chunk(self.points, count)):
            distance, rows = nearest_rows(part, self.points, count)
            weight = _by_distance(distance, float(self.settings["power"]))
            parts.append(weighted_labels(rows, weight, self.values, self.n_classes))
        return torch.cat(parts)[None]


def rows_per_chunk(points: torch.Tensor, count: int) -> int:
    """Return for how many queries at once to find `count` of the points (N, K)."""
    numbers = max(len(points), count * points.shape[1], 1)
    return max(1, CHUNK_BYTES // (4 * numbers))


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
        All rows are searched, and choose the number of neighbors by leaving one out.
    seeds : sequence of int
        Not used: nothing is random.
    n_neighbors : int, optional
        Default: chosen among 1 … 40.
    on_step, cancel
        As for `fit_mlp`.
    """
    del seeds
    mean, scale = standardization(data.features)
    points = (data.features - mean) / scale
    if n_neighbors is None:
        n_neighbors = _choose_count(points, data, on_step, cancel)
    settings = {"space": "embedding", "n_neighbors": n_neighbors, "power": 1.0}
    return NeighborHead((points, data.target, mean, scale), data.n_classes, settings)


def _choose_count(
    points: torch.Tensor, data: TrainingData, on_step: Step | None, cancel: Cancel | None
) -> int:
    """Return the count with the least error where each row is left out of its own neighbors."""
    left_out = torch.from_numpy(shuffled(len(points), 0)[:MAX_LEFT_OUT]).to(points.device)
    counts = [count for count in NEIGHBOR_COUNTS if count < len(points)]
    found = []
    for rows in left_out.split(rows_per_chunk(points, counts[-1])):
        itself = torch.arange(len(points), device=points.device) == rows[:, None]
        found.append(nearest_rows(points[rows], points, counts[-1], itself))
    distance, neighbors = (torch.cat(part) for part in zip(*found, strict=True))
    target, best, chosen = data.target[left_out], torch.inf, counts[0]
    for step, count in enumerate(counts):
        weight = _by_distance(distance[:, :count], 1.0)
        scores = weighted_labels(neighbors[:, :count], weight, data.target, data.n_classes)
        error, _ = errors_per_seed(scores[None], target, data.n_classes)
        if on_step is not None:
            on_step(step, torch.full((1,), torch.nan), error.float().cpu())
        if float(error) < best:
            best, chosen = float(error), count
        if cancel is not None and cancel.is_set():
            break
    return chosen


def _by_distance(distance: torch.Tensor, power: float) -> torch.Tensor:
    """Weigh neighbors by a power of their inverse distance, shape (Q, K); a row sums to one."""
    weight = (distance + 1e-6) ** -power
    return weight / weight.sum(1, keepdim=True)


def great_circle_as_chord(distance_km: float) -> float:
    """Turn a distance along the ground into a chord of the unit sphere."""
    return 2.0 * float(torch.sin(torch.tensor(min(distance_km, 20_000.0) / (2 * EARTH_RADIUS_KM))))

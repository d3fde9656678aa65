"""Probes that keep their rows, and the simplest of them: the nearest labeled places."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch

from satclip_explore.geo import EARTH_RADIUS_KM, place_codes
from satclip_explore.progress import Cancel
from training.probes.base import (
    Probe,
    Step,
    check_shapes,
)
from training.probes.data import TrainingData

INVERSE_DISTANCE_NEIGHBORS = 8
"""Places averaged by the `nearest` baseline in regression."""

CHUNK_BYTES = 100_000_000
"""Size of the table of distances, or of differences, that is held at once."""


class RowsProbe(Probe):
    """A probe that keeps its training rows.

    Parameters
    ----------
    tensors : sequence of torch.Tensor
        In the order of `names`, the same on every device: points (N, K), the training rows in the
        space that is searched; values (N,), class codes (int64) or standardized values; counts
        (N,), how much each counts; mean (D,) of what is turned into such points.
    n_classes : int
        0 for regression.
    settings : dict
        What was chosen.
    """

    names: tuple[str, ...] = ("points", "values", "counts", "mean", "scale")

    def __init__(
        self, tensors: Sequence[torch.Tensor], n_classes: int, settings: dict[str, Any]
    ) -> None:
        by_name = dict(zip(self.names, tensors, strict=True))
        self.points, self.values = by_name["points"], by_name["values"]
        self.mean, self.counts = by_name["mean"], by_name["counts"]
        self._tensors, self.n_classes, self.settings = by_name, n_classes, settings

    @property
    def n_features(self) -> int | None:
        """Length D of the embeddings it takes."""
        return len(self.mean) if self.uses_embedding else None

    @property
    def n_scores(self) -> int:
        """Classes, or 1: distances to the rows are found in chunks of their own."""
        return self.n_classes or 1

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the training rows and their standardization."""
        return dict(self._tensors)

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, torch.Tensor], settings: Mapping[str, Any], n_classes: int
    ) -> Self:
        """Build the probe from the content of a file; see `Probe.from_tensors`."""
        values = tensors["values"]
        if "counts" not in tensors:  # written by 0.1
            tensors = {**tensors, "counts": torch.ones(len(values))}
        places, width = len(values), len(tensors["mean"])
        shapes: dict[str, tuple[int, ...]] = {"mean": (width,), "scale": (width,)}
        depth = tensors["basis"].shape[1] if "basis" in cls.names else width
        shapes |= {"points": (places, depth), "vectors": (places, 3), "basis": (width, depth)}
        shapes |= {"values": (places,), "counts": (places,)}
        check_shapes(tensors, {name: shapes[name] for name in cls.names})
        if n_classes and not (
            values.dtype == torch.int64 and 0 <= int(values.min()) <= int(values.max()) < n_classes
        ):
            raise ValueError("the labels in the probe are not class codes.")
        chosen = cls.settings_of_file(settings)
        return cls([tensors[name] for name in cls.names], n_classes, chosen)

    @classmethod
    @abstractmethod
    def settings_of_file(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Take from a file the settings that `scores` reads, as numbers."""

    def to(self, device: torch.device) -> Self:
        """Return the same probe on a device."""
        tensors = [tensor.to(device) for tensor in self._tensors.values()]
        return type(self)(tensors, self.n_classes, self.settings)


class NeighborProbe(RowsProbe):
    """Labels of the nearest training rows, weighted by a power of their inverse distance."""

    space: str

    @property
    def scale(self) -> torch.Tensor:
        """Scale of each feature, shape (K,)."""
        return self._tensors["scale"]

    def scores(self, features: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Score one chunk of places; see `Probe.scores`."""
        query = features if self.uses_embedding else vectors
        query = (query.to(self.points) - self.mean) / self.scale
        count = min(int(self.settings["n_neighbors"]), len(self.points))
        parts = []
        for part in query.split(rows_per_chunk(self.points, count)):
            distance, rows = nearest_rows(part, self.points, count)
            weight = by_distance(distance, float(self.settings["power"]), self.counts[rows])
            parts.append(weighted_labels(rows, weight, self.values, self.n_classes))
        scores = torch.cat(parts)[None]
        if self.settings.get("counted", False):
            # The mean count, 1, as one neighbor more: no rate is 0.
            return torch.log((count * scores + 1.0) / (count + 1.0))
        return scores

    def chances(self, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores: shares of the neighbors' weights."""
        return scores

    @classmethod
    def settings_of_file(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Take the count of neighbors and the power of their distance from a file."""
        return {
            "space": cls.space,
            "n_neighbors": max(1, int(settings["n_neighbors"])),
            "power": float(settings["power"]),
            "counted": bool(settings.get("counted", False)),
        }


@dataclass(frozen=True)
class NearestSettings:
    """Settings of the nearest labeled places.

    Parameters
    ----------
    n_neighbors : int, optional
        Places whose labels are weighed by their inverse squared distance; default 1 for classes,
        8 for values.
    """

    n_neighbors: int | None = None


class NearestProbe(NeighborProbe):
    """The label of the nearest labeled place, or the inverse-distance mean of eight.

    No embedding is used: this is what any encoder has to beat.
    """

    kind = "nearest"
    Settings = NearestSettings
    label = "nearest labeled place"
    uses_embedding = False
    takes_counts = True
    space = "place"

    @classmethod
    def fit(
        cls,
        data: TrainingData,
        seeds: Sequence[int],
        settings: Any = None,
        *,
        on_step: Step | None = None,
        cancel: Cancel | None = None,
    ) -> Self:
        """Keep the labeled places; see `Probe.fit`.

        Rows at one place become one: the mean of their values, or the most frequent class.
        """
        del seeds, on_step, cancel
        data, counts = one_row_per_place(dataclasses.replace(data, features=data.features[:, :0]))
        vectors, target = data.vectors, data.target
        mean, scale = torch.zeros_like(data.vectors[0]), torch.ones_like(data.vectors[0])
        facts = {
            "space": cls.space,
            "n_neighbors": (settings or NearestSettings()).n_neighbors
            or (1 if data.n_classes else INVERSE_DISTANCE_NEIGHBORS),
            "power": 2.0,
            "counted": data.counted,
        }
        # Repeated measurements make a place no nearer: only weights that were given count.
        counts = torch.ones_like(counts) if data.weights is None else counts
        return cls((vectors, target, counts, mean, scale), data.n_classes, facts)


def one_row_per_place(data: TrainingData) -> tuple[TrainingData, torch.Tensor]:
    """Join the rows of each place, unless their features differ: the mean, or most frequent, label.

    Returns
    -------
    data : TrainingData
        P rows.
    counts : torch.Tensor, shape (P,), float32
        Sum of the weights of the rows that each stands for.
    """
    codes = place_codes(data.vectors.cpu())
    _, first = np.unique(codes, return_index=True)
    same = len(first) < len(codes) and torch.equal(
        data.features[torch.from_numpy(first[codes])], data.features
    )
    if not same:
        return data, data.row_weights
    target, each = data.target.cpu().numpy(), data.row_weights.double().cpu().numpy()
    counts = np.bincount(codes, each)
    if data.n_classes:
        pairs, which = np.unique(np.stack([codes, target], axis=1), axis=0, return_inverse=True)
        votes = np.bincount(which.ravel(), each)
        # The last pair of each place has the most votes; in a tie, the lowest class.
        order = np.lexsort([-pairs[:, 1], votes, pairs[:, 0]])
        last = np.append(np.flatnonzero(np.diff(pairs[order, 0])), len(order) - 1)
        joined = pairs[order[last], 1]
    else:
        joined = (np.bincount(codes, each * target) / counts).astype(np.float32)
    kept = data.part(torch.from_numpy(first))
    labels = torch.from_numpy(joined).to(data.target)
    return dataclasses.replace(kept, target=labels), torch.from_numpy(counts).to(data.vectors)


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


def by_distance(distance: torch.Tensor, power: float, counts: torch.Tensor) -> torch.Tensor:
    """Weigh neighbors by a power of their inverse distance, shape (Q, K); a row sums to one."""
    weight = (distance + 1e-6) ** -power * counts
    return weight / weight.sum(1, keepdim=True)


def great_circle_as_chord(distance_km: float) -> float:
    """Turn a distance along the ground into a chord of the unit sphere."""
    return 2.0 * float(torch.sin(torch.tensor(min(distance_km, 20_000.0) / (2 * EARTH_RADIUS_KM))))

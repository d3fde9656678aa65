"""The nearest training rows in embedding space, as many as leaving places out tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch

from satclip_explore.progress import Cancel
from training.probes.base import (
    Step,
    check_settings,
    mean_error,
    place_errors,
    standardization,
)
from training.probes.data import TrainingData
from training.probes.nearest import (
    NeighborProbe,
    by_distance,
    nearest_rows,
    rows_per_chunk,
    weighted_labels,
)
from training.tasks.splits import shuffled

NEIGHBOR_COUNTS = (1, 3, 5, 10, 20, 40)
"""Counts that the probe tries."""

MAX_LEFT_OUT = 2000
"""Rows that are left out in turn, at most, to choose the count."""


@dataclass(frozen=True)
class KNNSettings:
    """Settings of the nearest embeddings.

    Parameters
    ----------
    n_neighbors : int, optional
        Default: chosen among 1 … 40 by leaving one place, or group, out.
    """

    n_neighbors: int | None = None

    def __post_init__(self) -> None:
        check_settings(self, whole={"n_neighbors": (1, 10_000)}, real={})


class KNNProbe(NeighborProbe):
    """The labels of the nearest training rows in embedding space. Nothing in it is random."""

    kind = "knn"
    label = "nearest embeddings"
    Settings = KNNSettings
    space = "embedding"

    @classmethod
    def fit(
        cls,
        data: TrainingData,
        seeds: Sequence[int],
        settings: KNNSettings | None = None,
        *,
        on_step: Step | None = None,
        cancel: Cancel | None = None,
    ) -> Self:
        """Keep all rows and count neighbors by leaving each place out; see `Probe.fit`."""
        del seeds
        mean, scale = standardization(data.features)
        points = (data.features - mean) / scale
        count = (settings or KNNSettings()).n_neighbors
        if count is None:
            count = _choose_count(points, data, on_step, cancel)
        facts = {"space": cls.space, "n_neighbors": count, "power": 1.0}
        tensors = (points, data.target, data.row_weights, mean, scale)
        return cls(tensors, data.n_classes, facts)


def _choose_count(
    points: torch.Tensor, data: TrainingData, on_step: Step | None, cancel: Cancel | None
) -> int:
    """Return the count with the least error where no row of a group is a neighbor of another."""
    left_out = torch.from_numpy(shuffled(len(points), 0)[:MAX_LEFT_OUT]).to(points.device)
    groups = data.group_codes
    others = len(points) - int(groups.bincount().max())
    counts = [count for count in NEIGHBOR_COUNTS if count <= others] or [1]
    found = []
    for rows in left_out.split(rows_per_chunk(points, counts[-1])):
        itself = groups[rows, None] == groups
        found.append(nearest_rows(points[rows], points, counts[-1], itself))
    distance, neighbors = (torch.cat(part) for part in zip(*found, strict=True))
    each = data.row_weights
    target, best, chosen = data.target[left_out], torch.inf, counts[0]
    for step, count in enumerate(counts):
        weight = by_distance(distance[:, :count], 1.0, each[neighbors[:, :count]])
        scores = weighted_labels(neighbors[:, :count], weight, data.target, data.n_classes)
        errors = place_errors(scores[None], target, data.n_classes)
        error, _ = mean_error(errors, None if data.weights is None else each[left_out])
        if on_step is not None:
            on_step(step, torch.full((1,), torch.nan), error.float().cpu())
        if float(error) < best:
            best, chosen = float(error), count
        if cancel is not None and cancel.is_set():
            break
    return chosen

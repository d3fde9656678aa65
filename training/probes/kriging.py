"""A Gaussian process on the sum of two kernels: near on the globe, and alike in embedding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import torch

from satclip_explore.geo import EARTH_RADIUS_KM
from satclip_explore.progress import Cancel
from training.probes.base import Step, check_settings, loss_per_seed, standardization
from training.probes.data import TrainingData
from training.probes.nearest import (
    RowsProbe,
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
class KrigingSettings:
    """Settings of the Gaussian process: the sum of both kernels, and noise.

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

    def __post_init__(self) -> None:
        check_settings(
            self,
            whole={},
            real={
                "share": (0.0, 1.0),
                "place_km": (1.0, 40_000.0),
                "embedding_scale": (1e-3, 1e3),
                "noise": (1e-4, 1e6),
            },
        )


GRID = tuple(
    KrigingSettings(*values)
    for values in product((0.0, 0.3, 0.6, 0.9), (200.0, 800.0, 3000.0), (0.3, 1.0), (0.03, 0.3))
)
"""Settings that are tried on the valid rows."""


class KrigingProbe(RowsProbe):
    """Local kriging: each place solves for the weights of its own nearest training rows.

    Its `points` are embeddings, standardized and divided by their typical distance; `vectors` are
    the places as unit vectors. Nothing in it is random.

    Notes
    -----
    Distances on the globe are chords: the exponential kernel is then positive definite. Each
    place uses its 32 nearest training rows in either space, so the cost grows with their number
    only in the search.

    References
    ----------
    Datta et al. (2016), "Hierarchical Nearest-Neighbor Gaussian Process Models", JASA 111(514).
    """

    kind = "kriging"
    label = "embedding and place (kriging)"
    Settings = KrigingSettings
    names = ("vectors", "points", "values", "mean", "scale")

    def __init__(
        self, tensors: Sequence[torch.Tensor], n_classes: int, settings: dict[str, Any]
    ) -> None:
        super().__init__(tensors, n_classes, settings)
        self.vectors = self._tensors["vectors"]

    @classmethod
    def fit(
        cls,
        data: TrainingData,
        seeds: Sequence[int],
        settings: KrigingSettings | None = None,
        *,
        on_step: Step | None = None,
        cancel: Cancel | None = None,
    ) -> KrigingProbe:
        """Keep all rows and choose settings among `GRID`; see `Probe.fit`.

        The valid rows choose them, with the labels within `gap_km` of them hidden, and then join
        the others.
        """
        del seeds
        fitting, valid = data.part(~data.valid), data.part(data.valid)
        mean, scale = standardization(fitting.features)
        sample = ((fitting.features - mean) / scale)[:1000]
        typical = torch.cdist(sample, sample).median().clamp(min=1e-6)
        scale = scale * typical

        def keep(part: TrainingData, chosen: KrigingSettings) -> KrigingProbe:
            points = (part.features - mean) / scale
            tensors = (part.vectors, points, part.target, mean, scale)
            return cls(tensors, part.n_classes, asdict(chosen))

        if settings is None:
            settings = _choose(keep(fitting, GRID[0]), valid, data.gap_km, on_step, cancel)
        return keep(data, settings)

    @classmethod
    def settings_of_file(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Take the kernels' numbers from a file."""
        return asdict(KrigingSettings(**{key: float(value) for key, value in settings.items()}))

    def scores(self, features: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Score one chunk of places; see `Probe.scores`."""
        query = (features.to(self.points) - self.mean) / self.scale
        vectors = vectors.to(self.vectors)
        step = min(1024, rows_per_chunk(self.points, NEIGHBORS))
        parts = []
        for part, place in zip(query.split(step), vectors.split(step), strict=True):
            rows = self.neighbors(part, place)
            distances = self.distances(part, place, rows)
            parts.append(self.solve(rows, distances, KrigingSettings(**self.settings)))
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
        self, rows: torch.Tensor, distances: tuple[torch.Tensor, ...], chosen: KrigingSettings
    ) -> torch.Tensor:
        """Solve the small systems and sum the labels, shape (Q, C)."""
        inner = _kernel(distances[0], distances[1], chosen)
        # A row found twice enters twice; the noise keeps its system solvable.
        inner.diagonal(dim1=1, dim2=2).add_(chosen.noise)
        outer = _kernel(distances[2], distances[3], chosen)
        weight = torch.cholesky_solve(outer, torch.linalg.cholesky(inner))[..., 0]
        return weighted_labels(rows, weight, self.values, self.n_classes)


def _kernel(chord: torch.Tensor, apart: torch.Tensor, chosen: KrigingSettings) -> torch.Tensor:
    """Sum two exponential kernels: of the chord of the sphere and of embedding distance."""
    place = torch.exp(chord * (-EARTH_RADIUS_KM / chosen.place_km))
    alike = torch.exp(apart * (-1.0 / chosen.embedding_scale))
    return torch.lerp(place, alike, chosen.share)


def _choose(
    probe: KrigingProbe,
    valid: TrainingData,
    gap_km: float,
    on_step: Step | None,
    cancel: Cancel | None,
) -> KrigingSettings:
    """Return the settings with the least error on the valid rows."""
    valid = valid.part(torch.arange(min(MAX_VALID, len(valid.target))))
    query = (valid.features - probe.mean) / probe.scale
    rows = probe.neighbors(query, valid.vectors, great_circle_as_chord(gap_km))
    distances = probe.distances(query, valid.vectors, rows)
    best, chosen = torch.inf, GRID[0]
    for step, settings in enumerate(GRID):
        scores = probe.solve(rows, distances, settings)
        if probe.n_classes:
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

"""What a probe is fitted on: its rows, its validation rows, and the scale of its target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from satclip_explore.geo import EARTH_RADIUS_KM, codes_by_appearance, place_codes, unit_vectors
from training.probes.metrics import standard_deviation
from training.tasks.splits import Split, shuffled
from training.tasks.task import Task, check_spread

MAX_DEVIATIONS = 1e50
"""Farther than this from the training targets, squares of mean squared errors leave float64."""

MOST_DEVIATIONS = 1e6
"""Room for predictions of places unlike any that trained, in standard deviations."""

LARGEST_LOG_RATE = 20.0
"""Rates stay below five hundred million times the mean count, and finite."""

VALID_SHARE = 0.1
"""Part of the training rows kept for early stopping and for choosing settings."""


@dataclass(frozen=True)
class TrainingData:
    """What a probe is fitted on. The test set is not in here.

    Parameters
    ----------
    features : torch.Tensor, shape (N, D), float32
        Embeddings as the encoder gives them.
    vectors : torch.Tensor, shape (N, 3), float32
        Places as unit vectors.
    target : torch.Tensor, shape (N,)
        Class codes (int64), values, standardized, or counts (float32).
    n_classes : int
        0 for values and counts.
    valid : torch.Tensor, shape (N,), bool
        Rows kept for early stopping and for choosing settings.
    gap_km : float
        How far a test place will typically be from its nearest label; probes that choose settings
        by distance hide labels nearer than this from the valid rows while they choose.
    groups : torch.Tensor, shape (N,), int64, optional
        Rows of one number are no witnesses for one another; default the rows of each place.
    weights : torch.Tensor, shape (N,), float32, optional
        How much each row counts, 1 on average; default all alike.
    counted : bool
        The target is a count, in units of the mean count; scores are logarithms of its rate.
    """

    features: torch.Tensor
    vectors: torch.Tensor
    target: torch.Tensor
    n_classes: int
    valid: torch.Tensor
    gap_km: float = 0.0
    groups: torch.Tensor | None = None
    weights: torch.Tensor | None = None
    counted: bool = False

    @property
    def row_weights(self) -> torch.Tensor:
        """How much each row counts, shape (N,)."""
        return torch.ones_like(self.vectors[:, 0]) if self.weights is None else self.weights

    @property
    def group_codes(self) -> torch.Tensor:
        """Numbers from 0 of what is left out together, shape (N,), int64."""
        if self.groups is not None:
            return self.groups
        return torch.from_numpy(place_codes(self.vectors.cpu())).to(self.vectors.device)

    @property
    def n_outputs(self) -> int:
        """Numbers per place that a probe gives."""
        return self.n_classes or 1

    def part(self, rows: torch.Tensor) -> TrainingData:
        """Keep some rows (indices or a mask)."""
        return replace(
            self,
            features=self.features[rows],
            vectors=self.vectors[rows],
            target=self.target[rows],
            valid=self.valid[rows],
            groups=None if self.groups is None else self.groups[rows],
            weights=None if self.weights is None else self.weights[rows],
        )


@dataclass(frozen=True)
class Scale:
    """Turns scores back into the unit of the target; 0 and 1 for classes.

    Scores of values are standardized; those of counts, `log`, are logarithms of a rate in units of
    the mean count, which stands as `deviation`.
    """

    mean: float = 0.0
    deviation: float = 1.0
    log: bool = False

    @classmethod
    def of(cls, task: Task, rows: Split) -> Scale:
        """Return mean and standard deviation of the training targets; the mean of counts.

        Raises
        ------
        ValueError
            If these are too much alike to be told apart, or a test target is so far from them that
            no score could be a number.
        """
        if task.is_classification:
            return cls()
        train, test = task.target[rows.train], task.target[rows.test]
        if task.is_counts:
            return cls(0.0, float(train.mean()), log=True)
        check_spread(train, f"the training targets of {task.name!r}")
        mean, deviation = float(train.mean()), standard_deviation(train)
        with np.errstate(over="ignore"):
            farthest = float((np.abs(test - mean) / deviation).max())
        if farthest > MAX_DEVIATIONS:
            raise ValueError(
                f"test targets must lie within {MAX_DEVIATIONS:g} standard deviations of the "
                f"training targets; got {farthest:.3g}: leave out what is far off, or take "
                "logarithms."
            )
        return cls(mean, deviation)

    @property
    def dtype(self) -> torch.dtype:
        """The type of predictions: float32, unless it is too coarse or too short for the target."""
        size = abs(self.mean) + self.deviation
        single = torch.finfo(torch.float32)
        fits = single.tiny / single.eps < self.deviation and size < single.max / MOST_DEVIATIONS
        fine = size * single.eps < 1e-2 * self.deviation
        return torch.float32 if fits and fine else torch.float64

    def values(self, scores: torch.Tensor) -> torch.Tensor:
        """Turn scores into the unit of the target, in their type or a finer one."""
        scores = scores.to(torch.promote_types(scores.dtype, self.dtype))
        if self.log:
            return scores.clamp(max=LARGEST_LOG_RATE).exp() * self.deviation
        return scores * self.deviation + self.mean


def fill_gaps(task: Task, rows: Split) -> Task:
    """Give what is missing of the columns beside an embedding their median over training rows.

    Raises
    ------
    ValueError
        If a column has no value there.
    """
    if not task.has_gaps.any():
        return task
    beside = task.image_features
    assert beside is not None
    empty = np.isnan(beside[rows.train]).all(axis=0)
    if empty.any():
        column = int(empty.argmax())
        name = task.covariates[column] if task.covariates else f"image feature {column}"
        raise ValueError(
            f"{name!r} has no value in a training row to fill its gaps with; leave it out."
        )
    medians = np.nanmedian(beside[rows.train], axis=0)
    return replace(task, image_features=np.where(np.isnan(beside), medians, beside))


def valid_rows(task: Task, rows: Split, seeds: Sequence[int], split_seed: int) -> NDArray[np.bool_]:
    """Choose a tenth of the training rows, at least two places, for validation."""
    n_train = len(rows.train)
    if n_train < max(5, len(seeds)):
        raise ValueError(
            f"{n_train} training places are fewer than {max(5, len(seeds))} (5, and one per seed); "
            "hold out less, or use fewer seeds."
        )
    target = task.target[rows.train]
    if (target == target[0]).all():
        raise ValueError(
            "all training places have the same label, so there is nothing to learn; hold out less."
        )
    # Rows of one place, or of one group, validate together.
    groups = codes_by_appearance(task.group_codes[rows.train])
    n_groups = int(groups.max()) + 1
    if n_groups < 2:
        raise ValueError("all training rows are one place, or one group; hold out less.")
    n_valid = min(max(2, round(VALID_SHARE * n_groups)), n_groups - 1)
    return np.isin(groups, shuffled(n_groups, split_seed + 1)[:n_valid])


def training_data(
    task: Task,
    rows: Split,
    features: torch.Tensor,
    valid: NDArray[np.bool_],
    scale: Scale,
    device: torch.device,
) -> tuple[TrainingData, torch.Tensor]:
    """Join features, places and targets of the training rows.

    Returns
    -------
    data : TrainingData
    vectors : torch.Tensor, shape (N, 3)
        All places of the task as unit vectors.
    """
    vectors = torch.from_numpy(unit_vectors(task.lonlat)).float().to(device)
    target = task.target[rows.train]
    if not task.is_classification:
        target = ((target - scale.mean) / scale.deviation).astype(np.float32)
    train = torch.from_numpy(rows.train).to(device)
    data = TrainingData(
        features[train],
        vectors[train],
        torch.from_numpy(target).to(device),
        len(task.classes),
        torch.from_numpy(valid).to(device),
        _gap_km(task, rows),
        torch.from_numpy(codes_by_appearance(task.group_codes[rows.train])).to(device),
        _weights(task, rows, device),
        task.is_counts,
    )
    return data, vectors


def _weights(task: Task, rows: Split, device: torch.device) -> torch.Tensor | None:
    """Return the weights of the training rows, 1 on average."""
    if task.weights is None:
        return None
    weights = task.weights[rows.train]
    return torch.from_numpy((weights / weights.mean()).astype(np.float32)).to(device)


def _gap_km(task: Task, rows: Split) -> float:
    """Tell how far apart the shots are: so far is a held-out place from its nearest label."""
    if len(rows.shots) < 2:
        return 0.0
    vectors = unit_vectors(task.lonlat[rows.shots])
    cosine = vectors @ vectors.T
    np.fill_diagonal(cosine, -1.0)
    return float(EARTH_RADIUS_KM * np.arccos(np.median(cosine.max(axis=1)).clip(-1.0, 1.0)))

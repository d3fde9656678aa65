"""What every probe offers once it is fitted: scores for new embeddings, and its tensors."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch.nn import functional

Step = Callable[[int, torch.Tensor, torch.Tensor], None]
"""Called with (step, training losses, validation losses), each of shape (S,)."""


class Cancel(Protocol):
    """Anything like `threading.Event`."""

    def is_set(self) -> bool:
        """Tell whether to stop."""
        ...


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
        Class codes (int64), or values (float32), standardized.
    n_classes : int
        0 for regression.
    valid : torch.Tensor, shape (N,), bool
        Rows kept for early stopping and for choosing settings.
    gap_km : float
        How far a test place will typically be from its nearest label; probes that choose settings
        by distance hide labels nearer than this from the valid rows while they choose.
    """

    features: torch.Tensor
    vectors: torch.Tensor
    target: torch.Tensor
    n_classes: int
    valid: torch.Tensor
    gap_km: float = 0.0

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
        )

    def one_hot(self) -> torch.Tensor:
        """Return targets as columns, shape (N, C): indicators of classes, or the value."""
        if not self.n_classes:
            return self.target[:, None]
        return functional.one_hot(self.target, self.n_classes).to(self.features)


class Head(ABC):
    """A fitted probe: embeddings in, scores out, for S seeds.

    Attributes
    ----------
    kind : str
        "linear", "mlp", "knn", "kernel" or "nearest".
    settings : dict
        What was chosen, in plain numbers and strings.
    """

    kind: str
    settings: dict[str, Any]

    @abstractmethod
    def scores(self, features: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Score one chunk of places.

        Parameters
        ----------
        features : torch.Tensor, shape (N, D)
            Embeddings as the encoder gives them.
        vectors : torch.Tensor, shape (N, 3)
            The places as unit vectors.

        Returns
        -------
        torch.Tensor, shape (S, N, C), float32
            Larger is likelier for classes; the standardized value for regression.
        """

    @abstractmethod
    def tensors(self) -> dict[str, torch.Tensor]:
        """Return everything that `scores` needs, by name, as a file would hold it."""

    @abstractmethod
    def to(self, device: torch.device) -> Head:
        """Return the same probe on a device."""


def standardization(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and scale of each feature, shapes (D,); constant features have scale 1."""
    scale, mean = torch.std_mean(features.double(), dim=0, correction=0)
    # A constant computed in float32 still wobbles in its last digits.
    scale = torch.where(scale > 1e-6 * (1.0 + mean.abs()), scale, 1.0)
    return mean.to(features), scale.to(features)


def errors_per_seed(
    scores: torch.Tensor, target: torch.Tensor, n_classes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean error of scores (S, N, C) and its standard error, shape (S,), float64.

    The error of a place is 0 or 1 for classes, and the squared error of a value.
    """
    if n_classes:
        # Several times as fast as argmax over many classes.
        errors = (scores.max(dim=-1).indices != target).double()
    else:
        errors = (scores[..., 0].double() - target).square()
    return errors.mean(dim=1), errors.std(dim=1, correction=0) / math.sqrt(errors.shape[1])


def loss_per_seed(scores: torch.Tensor, target: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Return cross-entropy or mean squared error of scores (S, N, C), shape (S,)."""
    if n_classes:
        return torch.stack([functional.cross_entropy(one.float(), target) for one in scores])
    return (scores[..., 0].float() - target).square().mean(dim=1)

"""`Probe`: a small model on frozen embeddings, from `fit` to a file and back."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, ClassVar, Self

import torch
from torch.nn import functional

from satclip_explore.checks import real_number, whole_number
from satclip_explore.encoders.base import Readout
from satclip_explore.progress import Cancel
from training.probes.data import LARGEST_LOG_RATE, TrainingData

Step = Callable[[int, torch.Tensor, torch.Tensor], None]
"""Called with (step, training losses, validation losses), each of shape (S,)."""


@dataclass(frozen=True)
class NoSettings:
    """For probes that have nothing to choose."""


class Probe(ABC):
    """A small model on frozen embeddings, fitted for S seeds at once.

    A new one is a subclass in a file of its own, and a line in `training.probes.registry`.

    Attributes
    ----------
    kind : str
        Its name in `train_probe(model=…)`, on the command line and in files.
    label : str
        Its name in menus.
    Settings : type
        Frozen dataclass of what can be set, with defaults that run.
    uses_embedding : bool
        Whether its scores depend on the encoder. Those that do not are baselines.
    takes_counts : bool
        Whether it predicts the rate of a count.
    settings : dict
        What a fitted probe was made with, in plain numbers and strings.
    """

    kind: ClassVar[str]
    label: ClassVar[str]
    Settings: ClassVar[type] = NoSettings
    uses_embedding: ClassVar[bool] = True
    takes_counts: ClassVar[bool] = False
    settings: dict[str, Any]

    @classmethod
    @abstractmethod
    def fit(
        cls,
        data: TrainingData,
        seeds: Sequence[int],
        settings: Any = None,
        *,
        on_step: Step | None = None,
        cancel: Cancel | None = None,
    ) -> Self:
        """Fit the probe to the training rows.

        Parameters
        ----------
        data : TrainingData
            Training rows; those marked valid choose settings, or when to stop.
        seeds : sequence of int
            One model each, where something in it is random; else one for all of them.
        settings : Settings, optional
            Default: ``cls.Settings()``.
        on_step : callable, optional
            Called with the losses of each validation, or of each setting that is tried.
        cancel : object with is_set(), optional
            Ends the fit early; the best so far is returned.
        """

    @classmethod
    def alternatives(cls, settings: Any) -> dict[str, Sequence[Any]]:
        """List by setting the values that `tune` tries in place of the given ones; {} for none."""
        del settings
        return {}

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
            Larger is likelier for classes; the standardized value, or logarithm of the rate of a
            count.
        """

    def chances(self, scores: torch.Tensor) -> torch.Tensor:
        """Turn scores of classes (S, N, C) into probabilities that sum to one, the same shape."""
        return scores.float().softmax(dim=2)

    @property
    @abstractmethod
    def n_features(self) -> int | None:
        """Length D of the embeddings it takes; None where it uses none."""

    @property
    @abstractmethod
    def n_scores(self) -> int:
        """Numbers per place that are held while it scores: how many places fit in a chunk."""

    @property
    def readout(self) -> Readout | None:
        """The linear map that it begins with, to be folded into the encoder; None without one."""
        return None

    def finish(self, folded: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Turn what the encoder gives, with `readout` folded into it, into scores (S, N, C)."""
        return self.scores(folded, vectors)

    @abstractmethod
    def tensors(self) -> dict[str, torch.Tensor]:
        """Return everything that `scores` needs, by name, as a file holds it."""

    @classmethod
    @abstractmethod
    def from_tensors(
        cls, tensors: Mapping[str, torch.Tensor], settings: Mapping[str, Any], n_classes: int
    ) -> Self:
        """Build a probe from the content of a file, which is not to be trusted.

        Parameters
        ----------
        tensors : mapping of str to torch.Tensor
            As `tensors` returned them.
        settings : mapping
            As in `settings`.
        n_classes : int
            C; 0 for regression.

        Raises
        ------
        ValueError
            If shapes do not belong together.
        KeyError, TypeError
            If something is missing.
        """

    @abstractmethod
    def to(self, device: torch.device) -> Self:
        """Return the same probe on a device."""

    @classmethod
    def as_settings(cls, settings: Any) -> Any:
        """Check settings of this probe: None, a mapping of some of them, or `cls.Settings`.

        Raises
        ------
        TypeError
            If they belong to another probe, or a name is unknown; the close match is offered.
        """
        if settings is None or isinstance(settings, cls.Settings):
            return settings
        known = [field.name for field in fields(cls.Settings)]
        if not isinstance(settings, Mapping):
            raise TypeError(
                f"settings of {cls.kind!r} are {cls.Settings.__name__} or a mapping; got "
                f"{type(settings).__name__}."
            )
        for name in settings:
            if name not in known:
                close = get_close_matches(str(name), known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"it has {_listed(known)}."
                raise TypeError(f"{cls.kind!r} has no setting {name!r}; {hint}")
        return cls.Settings(**settings)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def check_settings(
    settings: Any, *, whole: Mapping[str, tuple[int, int]], real: Mapping[str, tuple[float, float]]
) -> None:
    """Check the numbers of some settings against (lowest, highest), and keep them as plain ones.

    Raises
    ------
    TypeError
        If one is no number; None stays where it is the default.
    ValueError
        If one is out of its range.
    """
    for field in fields(settings):
        name, value = field.name, getattr(settings, field.name)
        if value is None and field.default is None:
            continue
        if name in whole:
            object.__setattr__(settings, name, whole_number(value, name, *whole[name]))
        elif name in real:
            low, high = real[name]
            number = real_number(value, name)
            if not low <= number <= high:
                raise ValueError(f"{name} must lie between {low:g} and {high:g}; got {number:g}.")
            object.__setattr__(settings, name, number)


def check_shapes(
    tensors: Mapping[str, torch.Tensor], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Compare tensors of a file with the shapes they must have; -1 stands for any length.

    Raises
    ------
    ValueError
        Where they differ.
    KeyError
        Where one is missing.
    """
    for name, shape in shapes.items():
        found = tuple(tensors[name].shape)
        fits = len(found) == len(shape) and all(
            want in (-1, got) for want, got in zip(shape, found, strict=True)
        )
        if not fits:
            raise ValueError(f"tensor {name!r} of the probe has shape {found}; expected {shape}.")


def standardization(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and scale of each feature, shapes (D,); constant features have scale 1."""
    scale, mean = torch.std_mean(features.double(), dim=0, correction=0)
    # A constant computed in float32 still wobbles in its last digits.
    scale = torch.where(scale > 1e-6 * (1.0 + mean.abs()), scale, 1.0)
    return mean.to(features), scale.to(features)


def place_errors(
    scores: torch.Tensor, target: torch.Tensor, n_classes: int, *, counted: bool = False
) -> torch.Tensor:
    """Return the error of each place from scores (S, N, C), shape (S, N), float64.

    0 or 1 for classes, the squared error of a value, the deviance of a count.
    """
    if counted:
        return poisson_deviance(scores[..., 0].double(), target.double())
    if n_classes:
        # Several times as fast as argmax over many classes.
        return (scores.max(dim=-1).indices != target).double()
    return (scores[..., 0].double() - target).square()


def poisson_deviance(log_rate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the deviance of counts from the logarithm of their rates, both of shape (…, N).

    References
    ----------
    McCullagh & Nelder (1989), "Generalized Linear Models", 2.3.
    """
    log_rate = log_rate.clamp(max=LARGEST_LOG_RATE)
    surplus = torch.xlogy(target, target) - target * log_rate
    return 2.0 * (surplus - target + log_rate.exp())


def mean_error(
    errors: torch.Tensor, weights: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean of errors (S, N) over places and its standard error, each of shape (S,)."""
    if weights is None:
        return errors.mean(dim=1), errors.std(dim=1, correction=0) / math.sqrt(errors.shape[1])
    share = weights.double() / weights.double().sum()
    mean = errors @ share
    return mean, ((errors - mean[:, None]).square() @ share.square()).sqrt()


def loss_per_seed(
    scores: torch.Tensor,
    target: torch.Tensor,
    n_classes: int,
    weights: torch.Tensor | None = None,
    *,
    counted: bool = False,
) -> torch.Tensor:
    """Return cross-entropy, mean squared error or deviance of scores (S, N, C), shape (S,)."""
    if counted:
        deviance = poisson_deviance(scores[..., 0].float(), target)
        return deviance.mean(1) if weights is None else deviance @ weights / weights.sum()
    if weights is None:
        if n_classes:
            return torch.stack([functional.cross_entropy(each.float(), target) for each in scores])
        return (scores[..., 0].float() - target).square().mean(dim=1)
    if n_classes:
        losses = [
            functional.cross_entropy(each.float(), target, reduction="none") for each in scores
        ]
    else:
        losses = list((scores[..., 0].float() - target).square())
    return torch.stack(losses) @ weights / weights.sum()

"""A probe with one hidden layer, for every seed at once: batched products in place of many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any, ClassVar, Self

import torch

from satclip_explore.encoders.base import Readout, resolve_dtype
from satclip_explore.precision import fast_precision
from satclip_explore.progress import Cancel
from training.probes.base import (
    Probe,
    Step,
    check_shapes,
    loss_per_seed,
    mean_error,
    place_errors,
    standardization,
)
from training.probes.data import TrainingData
from training.probes.mlp_training import MLPSettings, Run, Weights, forward

NEVER = -1e30
"""Score of a class without a training row: below any other, and finite, as files must be."""


class MLPProbe(Probe):
    """One hidden layer: w1 (S, D, H), b1 (S, 1, H), w2 (S, H, C), b2 (S, 1, C) for S seeds.

    The standardization is folded into the first layer: it takes embeddings as they are.
    """

    kind = "mlp"
    label = "one hidden layer"
    takes_counts = True
    Settings: ClassVar[type] = MLPSettings

    def __init__(self, weights: Sequence[torch.Tensor], settings: dict[str, Any]) -> None:
        self.w1, self.b1, self.w2, self.b2 = weights
        self.settings = settings

    @classmethod
    def fit(
        cls,
        data: TrainingData,
        seeds: Sequence[int],
        settings: MLPSettings | None = None,
        *,
        on_step: Step | None = None,
        cancel: Cancel | None = None,
    ) -> MLPProbe:
        """Train all seeds together; see `Probe.fit`.

        The valid rows stop the training and choose each seed's weights: the last ones whose error
        is within a standard error of the least. First weights and the order of rows come from a
        generator of the seed's own, so that a seed gives the same probe alone or among others.
        Classes without a training row are left out of the products, and score `NEVER`.
        KeyboardInterrupt ends the training as `cancel` does.
        """
        settings = (settings or MLPSettings()).completed(data.features.shape[1], data.n_outputs)
        if not data.n_classes:
            return cls(*_train(data, seeds, settings, on_step, cancel))
        codes, target = data.target.unique(return_inverse=True)
        occurring = replace(data, target=target, n_classes=_aligned(len(codes)))
        weights, facts = _train(occurring, seeds, settings, on_step, cancel)
        return cls(_for_all_classes(weights, codes, data.n_classes), facts)

    @classmethod
    def alternatives(cls, settings: MLPSettings) -> dict[str, Sequence[Any]]:
        """List what `tune` tries: learning rates, widths and weight decays."""
        return {
            "learning_rate": [settings.learning_rate * factor for factor in (0.15, 0.4, 2.0)],
            "hidden_dim": [32, 64, 256],
            "weight_decay": [1e-2, 1e-1, 1.0],
        }

    def scores(self, features: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Score one chunk of places; see `Probe.scores`."""
        del vectors
        x = features.to(self.w1).expand(len(self.w1), *features.shape)
        return self._from_hidden(torch.baddbmm(self.b1, x, self.w1))

    def _from_hidden(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return scores from the hidden layer before its rectifier, (S, N, H)."""
        return torch.baddbmm(self.b2, hidden.relu(), self.w2)

    @property
    def n_features(self) -> int:
        """Length D of the embeddings it takes."""
        return self.w1.shape[1]

    @property
    def n_scores(self) -> int:
        """Seeds times classes, or hidden units where these are more."""
        return max(self.b1.numel(), self.b2.numel())

    @property
    def readout(self) -> Readout:
        """The hidden layers of all seeds, as one linear map."""
        weight = self.w1.transpose(1, 2).flatten(0, 1).double().cpu().numpy()
        return Readout(weight, self.b1.flatten().double().cpu().numpy())

    def finish(self, folded: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Go on from the hidden layers of all seeds."""
        del vectors
        return self._from_hidden(folded.reshape(len(folded), len(self.w1), -1).transpose(0, 1))

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the four weights."""
        return {"w1": self.w1, "b1": self.b1, "w2": self.w2, "b2": self.b2}

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, torch.Tensor], settings: Mapping[str, Any], n_classes: int
    ) -> Self:
        """Build the probe from the content of a file; see `Probe.from_tensors`."""
        check_shapes(tensors, {"w1": (-1, -1, -1)})
        seeds, _, hidden = tensors["w1"].shape
        n_outputs = n_classes or 1
        check_shapes(
            tensors,
            {
                "b1": (seeds, 1, hidden),
                "w2": (seeds, hidden, n_outputs),
                "b2": (seeds, 1, n_outputs),
            },
        )
        return cls([tensors[name] for name in ("w1", "b1", "w2", "b2")], dict(settings))

    def to(self, device: torch.device) -> Self:
        """Return the same probe on a device."""
        return type(self)([tensor.to(device) for tensor in self.tensors().values()], self.settings)


def _aligned(n_classes: int) -> int:
    """Round more than 32 classes up to a multiple of it, so that products fill whole vectors."""
    return n_classes if n_classes <= 32 else -(-n_classes // 32) * 32


def _for_all_classes(
    weights: Sequence[torch.Tensor], codes: torch.Tensor, n_classes: int
) -> list[torch.Tensor]:
    """Spread the last layer over all classes, (S, H, C): those not among `codes` never win."""
    w1, b1, w2, b2 = weights
    wide = w2.new_zeros(*w2.shape[:2], n_classes)
    bias = b2.new_full((*b2.shape[:2], n_classes), NEVER)
    wide[..., codes], bias[..., codes] = w2[..., : len(codes)], b2[..., : len(codes)]
    return [w1, b1, wide, bias]


VALID_SCORES = 2_000_000
"""Scores (seeds x rows x classes) that a validation holds at once."""


def _validate(
    low: Weights, x: torch.Tensor, data: TrainingData
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return loss, mean error and its standard error on rows (N, D), each of shape (S,)."""
    width = max(data.n_classes, low.sizes[1])
    step = max(1, VALID_SCORES // (low.n_seeds * width))
    losses, errors = [], []
    for start in range(0, len(x), step):
        part = slice(start, start + step)
        weights = None if data.weights is None else data.weights[part]
        scores, target = forward(low, x[part]), data.target[part]
        share = len(target) / len(x) if weights is None else weights.sum() / data.row_weights.sum()
        loss = loss_per_seed(scores, target, data.n_classes, weights, counted=data.counted)
        losses.append(loss * share)
        errors.append(place_errors(scores, target, data.n_classes, counted=data.counted))
    return torch.stack(losses).sum(0), *mean_error(torch.cat(errors, dim=1), data.weights)


def _train(
    data: TrainingData,
    seeds: Sequence[int],
    settings: MLPSettings,
    on_step: Step | None,
    cancel: Cancel | None,
) -> tuple[list[torch.Tensor], dict[str, Any]]:
    """Return the weights of every seed, and what they were trained with."""
    device = data.features.device
    if settings.precision == "auto":
        settings = replace(settings, precision=fast_precision(str(device)))
    steps = settings.steps
    assert steps is not None
    dtype = resolve_dtype(settings.precision)
    fitting, valid = data.part(~data.valid), data.part(data.valid)
    mean, scale = standardization(fitting.features)
    fit_x = ((fitting.features - mean) / scale).to(dtype)
    valid_x = ((valid.features - mean) / scale).to(dtype)

    run = Run(fit_x, fitting.target, data.n_classes, seeds, settings, fitting.weights, data.counted)
    best = run.weights.of(torch.arange(len(seeds)))
    least = torch.full((len(seeds),), math.inf, dtype=torch.float64, device=device)
    margin = torch.zeros_like(least)
    train, valid_loss = least.float() * math.nan, least.float()
    going = torch.arange(len(seeds), device=device)
    stale = torch.zeros_like(going)
    tenth = max(1, steps // 10)
    # A small task's epoch is a step or two: too few to tell whether anything changed.
    every = max(min(10, tenth), min(tenth, math.ceil(len(fit_x) / run.batches.size)))
    done = 0
    with suppress(KeyboardInterrupt), torch.no_grad():
        for step in range(steps + 1):
            if step % every == 0 or step == steps:
                loss, error, deviation = _validate(run.low, valid_x, valid)
                # Later weights, of a lower rate, are taken unless they are clearly worse.
                better = error <= least[going] + margin[going]
                best.put(going[better].tolist(), run.weights, better.nonzero()[:, 0].tolist())
                margin[going] = torch.where(error < least[going], deviation, margin[going])
                least[going] = torch.minimum(error, least[going])
                stale[going] = torch.where(better, 0, stale[going] + 1)
                # Seeds that have given up keep their last figures.
                valid_loss[going], train[going] = loss, run.loss
                if on_step is not None:
                    on_step(step, train.cpu().clone(), valid_loss.cpu().clone())
                done = step
                patient = stale[going] < settings.patience
                if not patient.any():
                    break
                if not patient.all():
                    run.keep(patient.nonzero()[:, 0])
                    going = going[patient]
            if step == steps or (cancel is not None and cancel.is_set()):
                break
            run.step(step)
    w1, b1, w2, b2 = best.all
    w1 = w1 / scale[:, None]
    # Not a matrix product: that one rounds by how many seeds there are.
    b1 = b1 - (mean[:, None] * w1).sum(1, keepdim=True)
    facts = asdict(settings) | {"stopped_at": done}
    return [part.detach().clone() for part in (w1, b1, w2, b2)], facts

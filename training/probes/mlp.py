"""A probe with one hidden layer, for every seed at once: batched products in place of many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

import torch

from satclip_explore.encoders.base import resolve_dtype
from satclip_explore.projection import fast_precision
from training.probes.base import (
    Cancel,
    Head,
    Step,
    TrainingData,
    errors_per_seed,
    loss_per_seed,
    standardization,
)
from training.probes.mlp_training import MLPSettings, Run, forward


class MLPHead(Head):
    """Fitted weights of S seeds: w1 (S, D, H), b1 (S, 1, H), w2 (S, H, C), b2 (S, 1, C)."""

    kind = "mlp"

    def __init__(self, weights: Sequence[torch.Tensor], settings: dict[str, Any]) -> None:
        self.w1, self.b1, self.w2, self.b2 = weights
        self.settings = settings

    def hidden(self, features: torch.Tensor) -> torch.Tensor:
        """Return the hidden layer before its rectifier, shape (S, N, H)."""
        x = features.to(self.w1).expand(len(self.w1), *features.shape)
        return torch.baddbmm(self.b1, x, self.w1)

    def from_hidden(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return scores from what `hidden` gives."""
        return torch.baddbmm(self.b2, hidden.relu(), self.w2)

    def scores(self, features: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Score one chunk of places; see `Head.scores`."""
        del vectors
        return self.from_hidden(self.hidden(features))

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the four weights."""
        return {"w1": self.w1, "b1": self.b1, "w2": self.w2, "b2": self.b2}

    def to(self, device: torch.device) -> MLPHead:
        """Return the same probe on a device."""
        return MLPHead([tensor.to(device) for tensor in self.tensors().values()], self.settings)


def fit_mlp(
    data: TrainingData,
    seeds: Sequence[int],
    settings: MLPSettings | None = None,
    *,
    on_step: Step | None = None,
    cancel: Cancel | None = None,
) -> MLPHead:
    """Train the probe for all seeds together.

    Parameters
    ----------
    data : TrainingData
        The rows marked valid stop the training and choose each seed's weights: the last ones whose
        error is within a standard error of the least.
    seeds : sequence of int
        One probe each: its first weights and the order of its rows come from its own generator,
        so that a seed gives the same probe alone or among others.
    settings : MLPSettings, optional
        Default: as published in `MLPSettings`.
    on_step : callable, optional
        Called at the start and at each validation.
    cancel : object with is_set(), optional
        Ends the training; so does KeyboardInterrupt. The best weights so far are kept.

    Returns
    -------
    MLPHead
        Takes embeddings as they are: the standardization is folded into its first layer.
    """
    settings = settings or MLPSettings()
    device = data.features.device
    if settings.precision == "auto":
        settings = replace(settings, precision=fast_precision(str(device)))
    settings = settings.completed(data.features.shape[1], data.n_outputs)
    steps = settings.steps
    assert steps is not None
    dtype = resolve_dtype(settings.precision)
    fitting, valid = data.part(~data.valid), data.part(data.valid)
    mean, scale = standardization(fitting.features)
    fit_x = ((fitting.features - mean) / scale).to(dtype)
    valid_x = ((valid.features - mean) / scale).to(dtype)

    run = Run(fit_x, fitting.target, data.n_classes, seeds, settings)
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
                scores = forward(run.low, valid_x)
                loss = loss_per_seed(scores, valid.target, data.n_classes)
                error, deviation = errors_per_seed(scores, valid.target, data.n_classes)
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
            run.step(step, with_loss=(step + 1) % every == 0 or step + 1 == steps)
    w1, b1, w2, b2 = best.all
    w1 = w1 / scale[:, None]
    # Not a matrix product: that one rounds by how many seeds there are.
    b1 = b1 - (mean[:, None] * w1).sum(1, keepdim=True)
    facts = asdict(settings) | {"stopped_at": done}
    return MLPHead([part.detach().clone() for part in (w1, b1, w2, b2)], facts)

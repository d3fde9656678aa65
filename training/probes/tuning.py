"""A small search for the settings of a probe, on its validation rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from training.probes.base import Cancel, TrainingData
from training.probes.mlp import MLPSettings, fit_mlp

SEARCH_SEEDS = (0, 1)
"""Seeds of every trial: two tell luck from merit well enough to rank settings."""


def trials(start: MLPSettings) -> Iterator[MLPSettings]:
    """List the settings to try: one change at a time, around the given ones."""
    yield start
    for factor in (0.15, 0.4, 2.0):
        yield replace(start, learning_rate=start.learning_rate * factor)
    for width in (32, 64, 256):
        yield replace(start, hidden_dim=width)
    for decay in (1e-2, 1e-1, 1.0):
        yield replace(start, weight_decay=decay)


def tune_mlp(
    data: TrainingData, start: MLPSettings | None = None, cancel: Cancel | None = None
) -> MLPSettings:
    """Take the best of each setting, judged by the mean validation loss of two seeds.

    Parameters
    ----------
    data : TrainingData
        Training rows only; those marked valid judge.
    start : MLPSettings, optional
        Where the search begins.
    cancel : object with is_set(), optional
        Ends the search; the best so far is returned.

    Returns
    -------
    MLPSettings
    """
    start = start or MLPSettings()
    losses: dict[MLPSettings, float] = {}
    for settings in trials(start):
        if cancel is not None and cancel.is_set():
            break
        losses[settings] = _loss(data, settings)
    chosen = start
    for name in ("learning_rate", "hidden_dim", "weight_decay"):
        rivals = [one for one in losses if replace(one, **{name: getattr(start, name)}) == start]
        if rivals:
            best = min(rivals, key=losses.__getitem__)
            chosen = replace(chosen, **{name: getattr(best, name)})
    return chosen


def _loss(data: TrainingData, settings: MLPSettings) -> float:
    """Return the best validation loss of each trial seed, averaged."""
    seen: list[torch.Tensor] = []

    def note(step: int, train: torch.Tensor, valid: torch.Tensor) -> None:
        del step, train
        seen.append(valid)

    fit_mlp(data, SEARCH_SEEDS, settings, on_step=note)
    return float(torch.stack(seen).min(0).values.mean())

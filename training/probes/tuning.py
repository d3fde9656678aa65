"""A small search for the settings of a probe, on its validation rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from satclip_explore.progress import Cancel
from training.probes.base import Probe
from training.probes.data import TrainingData

SEARCH_SEEDS = (0, 1)
"""Seeds of every trial: two tell luck from merit well enough to rank settings."""


def trials(probe: type[Probe], start: Any) -> Iterator[Any]:
    """List the settings to try: one change at a time, around the given ones."""
    yield start
    for name, values in probe.alternatives(start).items():
        for value in values:
            yield replace(start, **{name: value})


def tune(
    probe: type[Probe], data: TrainingData, start: Any = None, cancel: Cancel | None = None
) -> Any:
    """Take the best of each setting, judged by the mean validation loss of two seeds.

    Parameters
    ----------
    probe : type of Probe
        What is fitted; its `alternatives` are tried.
    data : TrainingData
        Training rows only; those marked valid judge.
    start : Settings of the probe, optional
        Where the search begins.
    cancel : object with is_set(), optional
        Ends the search; the best so far is returned.

    Returns
    -------
    Settings of the probe
    """
    start = start or probe.Settings()
    losses: dict[Any, float] = {}
    for settings in trials(probe, start):
        if cancel is not None and cancel.is_set():
            break
        losses[settings] = _loss(probe, data, settings)
    chosen = start
    for name in probe.alternatives(start):
        rivals = [
            tried for tried in losses if replace(tried, **{name: getattr(start, name)}) == start
        ]
        if rivals:
            best = min(rivals, key=losses.__getitem__)
            chosen = replace(chosen, **{name: getattr(best, name)})
    return chosen


def _loss(probe: type[Probe], data: TrainingData, settings: Any) -> float:
    """Return the best validation loss of each trial seed, averaged."""
    seen: list[torch.Tensor] = []

    def note(step: int, train: torch.Tensor, valid: torch.Tensor) -> None:
        del step, train
        seen.append(valid)

    probe.fit(data, SEARCH_SEEDS, settings, on_step=note)
    return float(torch.stack(seen).min(0).values.mean())

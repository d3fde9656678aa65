"""Which encoders a probe compares, and their embeddings of a task's places."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.progress import Cancel
from satclip_explore.store import RESULTS
from training.probes.base import Probe, Step
from training.probes.data import TrainingData
from training.tasks.task import Task

BASELINES = ("nearest", "lonlat", "xyz", "harmonics-l10", "random-l10")
"""What every encoder is compared with; "nearest" uses no embedding at all."""


def as_encoder(encoder: str | LocationEncoder | None, device: str) -> LocationEncoder:
    """Load an encoder by name; an encoder comes back as it is."""
    if isinstance(encoder, LocationEncoder):
        return encoder
    return load_encoder(encoder, device=device)


def baseline_names(baselines: bool | Sequence[str]) -> tuple[str, ...]:
    """Check which baselines are wanted: True for all of them."""
    if isinstance(baselines, bool):
        return BASELINES if baselines else ()
    unknown = set(baselines) - set(BASELINES)
    if unknown:
        raise ValueError(
            f"baselines are {', '.join(BASELINES)}; got {', '.join(sorted(unknown))}. "
            "Other encoders go into encoders=."
        )
    return tuple(baselines)


def line_up(
    main: LocationEncoder, encoders: Sequence[LocationEncoder], names: Sequence[str], device: str
) -> OrderedDict[str, LocationEncoder | None]:
    """Order what is compared: cheap baselines first, so that something is seen at once.

    Raises
    ------
    ValueError
        If two of them share a name and are not one encoder.
    """
    quick = [name for name in names if name in ("nearest", "lonlat", "xyz")]
    slow = [name for name in names if name not in quick]
    line: OrderedDict[str, LocationEncoder | None] = OrderedDict()
    # "nearest" has no curve to show: something that has comes before it.
    for name in sorted(quick, key=lambda name: name == "nearest"):
        line[name] = None if name == "nearest" else load_encoder(name, device=device)
    rivals = (*encoders, *(load_encoder(name, device=device) for name in slow))
    for encoder in (main, *rivals):
        known = line.get(encoder.name, encoder)
        if not (known is not None and _alike(known, encoder)):
            raise ValueError(
                f"two encoders are called {encoder.name!r}; give one of them another name with "
                "load_encoder(…, name=…)."
            )
        line[encoder.name] = encoder
    line[main.name] = main
    return line


def _alike(first: LocationEncoder, second: LocationEncoder) -> bool:
    """Tell whether two encoders are one: the same object, weights, or formula."""
    return first is second or (
        type(first) is type(second)
        and first.weights_hash == second.weights_hash
        and bool(first.weights_hash or first.name in BASELINES)
    )


def covered_places(task: Task, encoders: Iterable[LocationEncoder | None]) -> tuple[Task, int]:
    """Keep the places that every encoder covers, so that all are scored on the same ones."""
    covered = np.ones(len(task), dtype=bool)
    for encoder in encoders:
        if encoder is not None:
            covered &= (
                encoder.coverage(task.lonlat)
                if task.areas is None
                else task.areas.any(encoder.coverage(task.areas.lonlat))
            )
    missing = int((~covered).sum())
    return (task.subset(covered), missing) if missing else (task, 0)


def embed_task(encoder: LocationEncoder, task: Task) -> NDArray[Any]:
    """Embed the places of a task, or average over its polygons, shape (N, D)."""
    if task.areas is None:
        return encoder.embed(task.lonlat)
    return task.areas.mean(encoder.embed)


def task_features(encoder: LocationEncoder | None, task: Task) -> torch.Tensor:
    """Embed the places of a task, and join its image features; kept for the next call."""
    if encoder is None:
        return torch.zeros(len(task), 0)
    key = (task.lonlat,) if task.areas is None else (task.areas.lonlat, task.areas.weights)
    embeddings = RESULTS.get(
        ("embeddings", encoder, *key),
        lambda: torch.from_numpy(embed_task(encoder, task)).float(),
    )
    if task.image_features is None:
        return embeddings
    return torch.cat([embeddings, torch.from_numpy(task.image_features).float()], dim=1)


def fit_once(
    probe: type[Probe],
    data: TrainingData,
    seeds: Sequence[int],
    settings: Any,
    on_step: Step,
    cancel: Cancel | None,
) -> Probe:
    """Fit a probe, or find its fit to the same rows and tell its losses again.

    Parameters are those of `Probe.fit`. A fit that was ended early is not kept.
    """
    parts = (data.features, data.vectors, data.target, data.valid, data.group_codes,
             data.row_weights)  # fmt: skip
    arrays = [part.cpu().numpy() for part in parts]
    key = ("fit", probe, tuple(seeds), settings, data.n_classes, data.counted,
           data.gap_km, str(data.features.device), *arrays)  # fmt: skip
    kept = RESULTS.peek(key)
    if kept is not None:
        # An interrupt would have ended the fit, and there is none to end.
        with suppress(KeyboardInterrupt):
            for losses in kept[1]:
                on_step(*losses)
        found: Probe = kept[0]
        return found
    told: list[tuple[int, torch.Tensor, torch.Tensor]] = []

    def tell(step: int, train: torch.Tensor, valid: torch.Tensor) -> None:
        told.append((step, train, valid))
        try:
            on_step(step, train, valid)
        except BaseException:
            # Some fits take an interrupt as their end.
            told.clear()
            raise

    found = probe.fit(data, seeds, settings, on_step=tell, cancel=cancel)
    if told and not (cancel is not None and cancel.is_set()):
        RESULTS.get(key, lambda: (found, told))
    return found

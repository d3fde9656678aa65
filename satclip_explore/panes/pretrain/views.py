"""What a pretraining run looks like: words, a bar, curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import holoviews as hv

from satclip_explore.panes import plots, theme
from satclip_explore.panes.pretrain.imagery_choice import progress_bar
from training.pretraining.console import duration
from training.pretraining.progress import TrainingProgress

CHART_HEIGHT = 150


def how_far(progress: TrainingProgress | None, outcome: str) -> str:
    """Say how far a run is and how long it will take, or how it ended, as markup."""
    if outcome:
        return f"<div style='font-size:12.5px'>{theme.escape(outcome)}</div>"
    if progress is None:
        return (
            "<p class='hint'>Choose how large an encoder to train and on which imagery, then press "
            "Start. The globe and the curves follow every epoch.</p>"
        )
    if not progress.total:
        return ""
    if progress.stage == "features":
        words = [f"block {progress.done:,} of {progress.total:,}"]
    else:
        epoch = min(progress.epoch + 1, progress.epochs)
        words = [
            f"epoch {epoch} of {progress.epochs}",
            f"step {progress.done:,} of {progress.total:,}",
        ]
    if progress.places_per_second:
        words.append(f"{progress.places_per_second:,.0f} places per second")
    if math.isfinite(progress.seconds_left):
        words.append(f"about {duration(progress.seconds_left)} left")
    share = 100.0 * progress.share
    return f"<div class='hint'>{' · '.join(words)}</div>{progress_bar(share)}"


def ending(name: str, folder: Path, kept: int, epochs: int, recall: float) -> str:
    """Say how a run ended.

    Parameters
    ----------
    name : str
        Of its encoder.
    folder : Path
        Where it lies.
    kept, epochs : int
        Epochs in the last checkpoint, and in all.
    recall : float
        At 1, among unseen images; NaN where it is not known.
    """
    words = (
        f"Stopped. Epoch {kept} of {epochs} is kept, and Start continues from there."
        if kept < epochs
        else ("The one epoch is done." if epochs == 1 else f"All {epochs} epochs are done.")
    )
    if math.isfinite(recall):
        words += f" It finds {recall:.0%} of the unseen images at the first try."
    return f"{words} Choose {name} under Encoder to look at it. It is saved in {folder}."


def recall_chart(rows: list[tuple[Any, ...]], epochs: int) -> hv.Overlay:
    """Draw recall from (epoch, recall at 1, 5, 10, …)."""
    lines = {f"at {n}": [row[column] for row in rows] for column, n in enumerate((1, 5, 10), 1)}
    return _per_epoch([row[0] for row in rows], lines, epochs, "recall", "recall, unseen")


def probe_chart(rows: list[tuple[Any, ...]], tasks: Sequence[str], epochs: int) -> hv.Overlay:
    """Draw accuracy or R² of tasks from (epoch, …, scores by task)."""
    tasks = tasks or ("no task",)
    lines = {task: [row[-1].get(task, math.nan) for row in rows] for task in tasks}
    return _per_epoch([row[0] for row in rows], lines, epochs, "score", "accuracy or R²")


def _per_epoch(
    at: list[int], lines: Mapping[str, list[float]], epochs: int, name: str, ylabel: str
) -> hv.Overlay:
    parts = []
    for (label, values), color in zip(lines.items(), theme.SERIES[1:], strict=False):
        points = list(zip(at, values, strict=True)) or [(0, math.nan)]
        parts.append(hv.Curve(points, "epoch", name, label=label).opts(color=color))
        parts.append(hv.Scatter(points, "epoch", name).opts(color=color, size=5))
    return _chart(
        hv.Overlay(parts), xlim=(0, epochs), ylim=(0, 1), legend_position="bottom_right",
        legend_cols=3, legend_opts={"label_text_font_size": "11px", "padding": 3, "margin": 5},
        ylabel=ylabel,
    )  # fmt: skip


def _chart(element: Any, **options: Any) -> Any:
    return element.opts(
        responsive=True, height=CHART_HEIGHT, toolbar=None, shared_axes=False, framewise=True,
        hooks=[plots.dark_axes], **options,
    )  # fmt: skip

"""What a pretraining run looks like: words, a bar, curves."""

from __future__ import annotations

import math
from typing import Any

import holoviews as hv

from satclip_explore.panes import plots, theme
from satclip_explore.panes.imagery_choice import progress_bar
from training.console import duration
from training.progress import Progress

CHART_HEIGHT = 205


def how_far(progress: Progress | None, outcome: str) -> str:
    """Say how far a run is and how long it will take, or how it ended, as markup."""
    if outcome:
        return f"<div style='font-size:12.5px'>{theme.escape(outcome)}</div>"
    if progress is None or not progress.steps:
        return ""
    if progress.stage == "features":
        words = [f"block {progress.step:,} of {progress.steps:,}"]
    else:
        epoch = min(progress.epoch + 1, progress.epochs)
        words = [
            f"epoch {epoch} of {progress.epochs}",
            f"step {progress.step:,} of {progress.steps:,}",
        ]
    if progress.places_per_second:
        words.append(f"{progress.places_per_second:,.0f} places per second")
    if math.isfinite(progress.seconds_left):
        words.append(f"about {duration(progress.seconds_left)} left")
    share = 100.0 * progress.step / progress.steps
    return f"<div class='hint'>{' · '.join(words)}</div>{progress_bar(share)}"


def ending(name: str, kept: int, epochs: int, recall: float) -> str:
    """Say how a run ended.

    Parameters
    ----------
    name : str
        Of its encoder.
    kept, epochs : int
        Epochs in the last checkpoint, and in all.
    recall : float
        At 1, among unseen images; NaN where it is not known.
    """
    words = (
        f"Stopped. Epoch {kept} of {epochs} is kept, and Start goes on from there."
        if kept < epochs
        else f"All {epochs} epochs are done."
    )
    if math.isfinite(recall):
        words += f" It finds {recall:.0%} of the unseen images at first try."
    return f"{words} Choose {name} under Encoder to look at it."


def loss_chart(points: list[tuple[int, float]], steps: int) -> hv.Curve:
    """Draw the loss of each step, (step, loss)."""
    curve = hv.Curve(points or [(0, math.nan)], "step", "loss")
    return _chart(curve, xlim=(0, steps), color=theme.ACCENT)


def recall_chart(rows: list[tuple[Any, ...]], epochs: int) -> hv.Overlay:
    """Draw (epoch, recall at 1, 5, 10)."""
    rows = rows or [(0, math.nan, math.nan, math.nan)]
    lines = []
    for column, (n, color) in enumerate(zip((1, 5, 10), theme.SERIES[1:], strict=False), 1):
        points = [(row[0], row[column]) for row in rows]
        lines.append(hv.Curve(points, "epoch", "recall", label=f"at {n}").opts(color=color))
        lines.append(hv.Scatter(points, "epoch", "recall").opts(color=color, size=5))
    return _chart(
        hv.Overlay(lines), xlim=(0, epochs), ylim=(0, 1), legend_position="bottom_right",
        legend_cols=3, legend_opts={"label_text_font_size": "11px", "padding": 3, "margin": 5},
        ylabel="recall, unseen",
    )  # fmt: skip


def _chart(element: Any, **options: Any) -> Any:
    return element.opts(
        responsive=True, height=CHART_HEIGHT, toolbar=None, shared_axes=False, framewise=True,
        hooks=[plots.dark_axes], **options,
    )  # fmt: skip

"""Losses of a run that is under way, as a Jupyter widget: a bar and one curve per encoder."""

from __future__ import annotations

import time
from typing import Any

import ipywidgets
import numpy as np

from satclip_explore.panes.losses import loss_chart

REDRAW_SECONDS = 0.2


class LiveLosses(ipywidgets.VBox):
    """Shows how a run goes while its cell is busy.

    Pass it as a callback: ``train_probe(on_progress=losses)`` draws validation losses, mean over
    the seeds; ``pretrain(on_progress=losses)`` the loss of each step. Show it in the cell before.

    Parameters
    ----------
    redraw_seconds : float
        Least time between two drawings.
    """

    def __init__(self, redraw_seconds: float = REDRAW_SECONDS) -> None:
        self.points: list[tuple[str, float, float]] = []
        self._redraw_seconds = redraw_seconds
        self._drawn = -np.inf
        self.bar = ipywidgets.FloatProgress(
            max=1.0, layout=ipywidgets.Layout(width="100%", max_width="640px")
        )
        self.plot = ipywidgets.HTML()
        super().__init__([self.bar, self.plot])
        self.draw()

    def __call__(self, progress: Any) -> None:
        """Take the progress of a probe, or of pretraining."""
        # A probe names its encoder; pretraining carries the encoder itself, or none yet.
        encoder = getattr(progress, "encoder", None)
        name = encoder if isinstance(encoder, str) else progress.stage
        step = getattr(progress, "step", progress.done)
        value = getattr(progress, "loss", np.nan)
        share = progress.done / max(progress.total, 1)
        if np.isfinite(value):
            self.points.append((name, float(step), value))
        if time.monotonic() - self._drawn >= self._redraw_seconds:
            self.bar.value, self.bar.description = float(share), name
            self.draw()

    def finish(self) -> None:
        """Draw what came since the last drawing and fill the bar."""
        self.bar.value, self.bar.description = 1.0, "done"
        self.draw()

    def draw(self) -> None:
        """Draw every curve."""
        self._drawn = time.monotonic()
        self.plot.value = loss_chart(self.points)

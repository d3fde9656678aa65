"""Losses of a run that is under way, as a Jupyter widget: a bar and one curve per encoder."""

from __future__ import annotations

import html
import time
from typing import Any

import ipywidgets
import numpy as np

from satclip_explore.panes import theme

WIDTH, HEIGHT = 640, 220
"""Of the drawing, in its own units."""

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
        self.curves: dict[str, list[tuple[float, float]]] = {}
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
        name = getattr(progress, "encoder", progress.stage)
        step, value = getattr(progress, "step", progress.done), progress.loss
        share = progress.done / max(progress.total, 1)
        if np.isfinite(value):
            self.curves.setdefault(name, []).append((float(step), value))
        if time.monotonic() - self._drawn >= self._redraw_seconds:
            self.bar.value, self.bar.description = float(share), name
            self.draw()

    def finish(self) -> None:
        """Draw what came since the last drawing and fill the bar."""
        self.bar.value, self.bar.description = 1.0, "done"
        self.draw()

    def draw(self) -> None:
        """Draw every curve, at most one point per two units of width."""
        self._drawn = time.monotonic()
        self.plot.value = svg(self.curves)


def svg(curves: dict[str, list[tuple[float, float]]]) -> str:
    """Draw named curves as an SVG picture.

    Parameters
    ----------
    curves : mapping of str to list of (float, float)
        Step and loss; losses are drawn on a logarithmic scale where all are positive.

    Returns
    -------
    str
        Markup; names are escaped.
    """
    points = {name: np.array(curve) for name, curve in curves.items() if curve}
    steps = np.concatenate([p[:, 0] for p in points.values()]) if points else np.array([1.0])
    values = np.concatenate([p[:, 1] for p in points.values()]) if points else np.array([1.0])
    bend = np.log if values.min() > 0 else np.asarray
    low, high = float(bend(values.min())), float(bend(values.max()))
    lines = []
    for row, (name, curve) in enumerate(points.items()):
        color = theme.SERIES[row % len(theme.SERIES)]
        thin = curve[:: max(1, -(-len(curve) * 2 // WIDTH))]
        x = thin[:, 0] / max(steps.max(), 1.0) * WIDTH
        y = (high - bend(thin[:, 1])) / max(high - low, 1e-9) * (HEIGHT - 20) + 10
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        label = f"{html.escape(name)} {curve[-1, 1]:.3f}"
        lines.append(
            f"<polyline points='{path}' fill='none' stroke='{color}' stroke-width='2'/>"
            f"<text x='{WIDTH - 8}' y='{18 + 16 * row}' fill='{color}' font-size='13' "
            f"text-anchor='end'>{label}</text>"
        )
    return (
        f"<svg role='img' aria-label='losses while training' viewBox='0 0 {WIDTH} {HEIGHT}' "
        f"style='width:100%;max-width:{WIDTH}px;background:{theme.SEA};border-radius:6px'>"
        f"{''.join(lines)}</svg>"
    )

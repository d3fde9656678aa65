"""Losses of a run as a picture: one line for each encoder, on every page and in notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle

import numpy as np
import pandas as pd

from satclip_explore.panes import theme
from training.probes.figures import loss_series

WIDTH, HEIGHT, LEFT, BOTTOM = 556, 232, 46, 208
"""Of the drawing, and of its axes, in its own units."""


def loss_chart(points: Iterable[tuple[str, float, float]], last: float = 0.0) -> str:
    """Draw losses against step as markup, names at the side.

    Parameters
    ----------
    points : iterable of (str, float, float)
        Encoder, step and loss, in order. Losses that are not finite are left out; they are drawn on
        a logarithmic scale where all are positive.
    last : float
        Where the axis of steps ends; default the largest step.

    Returns
    -------
    str
        An SVG picture and a legend; names are escaped.
    """
    series = loss_series(pd.DataFrame(points, columns=["encoder", "step", "valid"]))
    losses = np.concatenate([part["mean"] for part in series.values()] or [np.ones(1)])
    bend = np.log if losses.min() > 0.0 else np.asarray
    low, high = float(losses.min()), float(losses.max())
    middle = float(np.sqrt(low) * np.sqrt(high)) if low > 0.0 else low / 2.0 + high / 2.0
    span = max(float(bend(high) - bend(low)), 1e-9)
    end = max([last, 1.0, *(float(part.index.max()) for part in series.values())])
    lines, names = [], []
    for color, (name, part) in zip(cycle(theme.SERIES), series.items(), strict=False):
        # At most a point for two units of width, and the last one.
        thin = part.iloc[sorted({*range(0, len(part), 1 + len(part) * 2 // WIDTH), len(part) - 1})]
        x = LEFT + (WIDTH - 6 - LEFT) * thin.index.to_numpy(dtype=float) / end
        y = 12.0 + (BOTTOM - 12.0) * (bend(high) - bend(thin["mean"].to_numpy())) / span
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        lines.append(
            f"<polyline points='{path}' fill='none' stroke='{color}' stroke-width='2'/>"
            f"<circle cx='{x[-1]:.1f}' cy='{y[-1]:.1f}' r='3.5' fill='{color}'/>"
        )
        names.append(
            f"<span style='white-space:nowrap'><span style='color:{color}'>━</span> "
            f"{theme.escape(name)} {part['mean'].iloc[-1]:.3g}</span>"
        )
    ticks = "".join(
        f"<line x1='{LEFT}' x2='{WIDTH - 6}' y1='{y}' y2='{y}' stroke='{theme.LINE}'/>"
        + (f"<text x='40' y='{y + 4}' text-anchor='end'>{value:.3g}</text>" if series else "")
        for y, value in ((12, high), (110, middle), (BOTTOM, low))
    )
    return (
        f"<svg role='img' aria-label='losses while training' viewBox='0 0 {WIDTH} {HEIGHT}' "
        f"style='width:100%;max-width:640px;font-size:12px' fill='{theme.MUTED}'>{ticks}"
        f"{''.join(lines)}<text x='{LEFT}' y='227'>step 0</text><text x='{WIDTH - 6}' y='227' "
        f"text-anchor='end'>{end:,.0f}</text><text x='298' y='227' text-anchor='middle'>loss</text>"
        f"</svg><div class='hint' style='display:flex;flex-wrap:wrap;gap:2px 14px'>"
        f"{''.join(names)}</div>"
    )

"""How a task is chosen on a page, and how predictions of it are painted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satclip_explore.panes import plots, theme
from training.tasks.atlas import list_tasks

OWN = "your own table"
TASKS = {**{name.replace("_", " "): name for name in list_tasks().index}, OWN: OWN}
KINDS = {"as the values look": "auto", "classes": "classification", "numbers": "regression"}
MAX_FILE = "50MB"
"""Of an uploaded table."""

HALF = {"flex": "1 1 46%", "min-width": "min(100%, 320px)", "width": "auto"}
"""Style of one of two things side by side."""

MOST_NAMED = 14
"""Classes that a legend lists; the rest keep their colors unnamed."""


def paint_classes(
    codes: NDArray[Any], shown: NDArray[np.bool_], classes: Sequence[str]
) -> tuple[NDArray[np.uint8], Any]:
    """Paint classes, those that cover most in the colors that are most apart.

    Parameters
    ----------
    codes : numpy.ndarray, shape (H, W)
        Of classes.
    shown : numpy.ndarray, shape (H, W), bool
        The other pixels stay clear.
    classes : sequence of str
        By code.

    Returns
    -------
    colors : numpy.ndarray, shape (H, W, 4), uint8
    legend : panel.pane.HTML
    """
    counts = np.bincount(codes[shown], minlength=len(classes))
    order = np.argsort(-counts, kind="stable")
    palette = np.zeros((len(counts), 3), dtype=np.uint8)
    palette[order] = plots.palette(len(counts))
    colors = np.zeros((*codes.shape, 4), dtype=np.uint8)
    colors[shown, :3], colors[shown, 3] = palette[codes[shown]], 255
    keys = "".join(
        f"<span style='white-space:nowrap'>{theme.dot(f'rgb{tuple(palette[code].tolist())}')} "
        f"{theme.escape(classes[code])} &nbsp;</span> "
        for code in order[:MOST_NAMED]
        if counts[code]
    )
    more = int((counts > 0).sum()) - MOST_NAMED
    note = f"and {more} more" if more > 0 else ""
    return colors, theme.text(f"<div class='hint' style='line-height:1.5'>{keys}{note}</div>")


def paint_values(
    values: NDArray[Any], shown: NDArray[np.bool_], unit: str
) -> tuple[NDArray[np.uint8], Any]:
    """Paint values between the first and the last percent of those shown.

    Parameters
    ----------
    values : numpy.ndarray, shape (H, W)
    shown : numpy.ndarray, shape (H, W), bool
        The other pixels stay clear.
    unit : str
        Written after the highest value of the scale.

    Returns
    -------
    colors : numpy.ndarray, shape (H, W, 4), uint8
    legend : panel.pane.HTML
    """
    low, high = np.quantile(values[shown], [0.01, 0.99])
    steps = np.nan_to_num((values - low) / max(high - low, 1e-12)).clip(0.0, 1.0)
    colors = np.zeros((*values.shape, 4), dtype=np.uint8)
    colors[..., :3] = plots.ramp(theme.WARMTH)[(steps * 255).astype(int)]
    colors[shown, 3] = 255
    return colors, theme.color_scale(theme.WARMTH, f"{low:.3g}", f"{high:.3g} {unit}")

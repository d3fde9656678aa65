"""How a trained probe is shown: scores, and maps with legends."""

from __future__ import annotations

from typing import Any

import holoviews as hv
import numpy as np
import panel as pn

from satclip_explore.atlas import land_mask
from satclip_explore.geo import GLOBE, Grid
from satclip_explore.panes import plots, theme, world
from satclip_explore.panes.base import Selection
from satclip_explore.panes.scores import score_table

RESOLUTION = 1.0
MOST_NAMED = 14
"""Classes that a legend lists; the rest keep their colors unnamed."""


def scores(result: Any) -> pn.pane.HTML:
    """Show the table of scores and what it does and does not say, in sentences."""
    mine = f"color:{theme.ACCENT};font-weight:600"
    table = score_table(result, lambda name: mine if name == result.name else "", lambda _: "")
    said = "".join(f"<li>{theme.escape(line)}</li>" for line in result.verdict())
    return theme.text(
        f"{table}<ul class='hint' style='padding-left:16px;margin:8px 0'>{said}</ul>",
        sizing_mode="stretch_width",
    )


def maps(result: Any, field: Any, selection: Selection) -> pn.FlexBox:
    """Show the predicted raster of the globe and where it errs, side by side."""
    is_class = result.task.is_classification
    named = is_class and not result.task.is_presence
    painted = _classes(field, result) if named else _values(field, result)
    test = result.test
    size = np.abs(test["error"].to_numpy(dtype=float))
    scale = 1.0 if is_class else float(np.quantile(size, 0.95)) or 1.0
    words = "share of runs that are wrong" if is_class else f"error in {result.task.unit}, in size"
    errors = hv.Points(
        (test["lon"], test["lat"], np.clip(size / scale, 0.0, 1.0)), ["lon", "lat"], ["error"]
    ).opts(color="error", cmap=["#1d4e5f", "#ffb454", "#ff4d4d"], clim=(0.0, 1.0), size=3.5,
           responsive=True, shared_axes=False)  # fmt: skip
    empty = hv.DynamicMap(lambda: world.picture(np.zeros((2, 4, 4), dtype=np.uint8), GLOBE))
    top = "1" if is_class else f"{scale:.3g}"
    right = pn.Column(
        theme.text("<span class='title'>Where it errs, on places never shown</span>"),
        plots.plot_pane(plots.on_globe(empty, selection, errors)),
        theme.color_scale(["#1d4e5f", "#ffb454", "#ff4d4d"], "0", f"{top}: {words}"),
        margin=0, styles=HALF,
    )  # fmt: skip
    return pn.FlexBox(painted(selection), right, gap="10px", sizing_mode="stretch_width", margin=0)


HALF = {"flex": "1 1 46%", "min-width": "min(100%, 320px)", "width": "auto"}


def _classes(field: Any, result: Any) -> Any:
    codes = field.to_numpy()
    land = land_mask(Grid(GLOBE, codes.shape)) & (codes >= 0)
    counts = np.bincount(codes[land], minlength=len(result.task.classes))
    order = np.argsort(-counts, kind="stable")
    palette = np.zeros((len(counts), 3), dtype=np.uint8)
    palette[order] = plots.palette(len(counts))
    colors = np.zeros((*codes.shape, 4), dtype=np.uint8)
    colors[land, :3], colors[land, 3] = palette[codes[land]], 255
    legend = "".join(
        f"<span style='white-space:nowrap'><span style='color:rgb{tuple(palette[code].tolist())}'>"
        f"■</span> {theme.escape(result.task.classes[code])} &nbsp;</span> "
        for code in order[:MOST_NAMED]
        if counts[code]
    )
    more = int((counts > 0).sum()) - MOST_NAMED
    note = f"and {more} more" if more > 0 else ""
    return lambda selection: _map(colors, selection, theme.text(
        f"<div class='hint' style='line-height:1.5'>{legend}{note}</div>"))  # fmt: skip


def _values(field: Any, result: Any) -> Any:
    values = field.to_numpy()
    land = land_mask(Grid(GLOBE, values.shape)) & np.isfinite(values)
    low, high = np.quantile(values[land], [0.01, 0.99])
    steps = np.nan_to_num((values - low) / max(high - low, 1e-12)).clip(0.0, 1.0)
    ramp = plots.ramp(theme.WARMTH)
    colors = np.zeros((*values.shape, 4), dtype=np.uint8)
    colors[..., :3] = ramp[(steps * 255).astype(int)]
    colors[land, 3] = 255
    end = f"{high:.3g} {result.task.unit}"
    if result.threshold is not None:
        end = f"{high:.3g} suitability; suitable from {result.threshold:.3g} on"
    scale = theme.color_scale(theme.WARMTH, f"{low:.3g}", end)
    return lambda selection: _map(colors, selection, scale)


def _map(colors: np.ndarray, selection: Selection, legend: Any) -> pn.Column:
    raster = hv.DynamicMap(lambda: world.picture(colors, GLOBE))
    return pn.Column(
        theme.text("<span class='title'>Predicted</span>"),
        plots.plot_pane(plots.on_globe(raster, selection, alpha=0.35)),
        legend, margin=0, styles=HALF,
    )  # fmt: skip

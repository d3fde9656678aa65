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
from satclip_explore.panes.tasks import HALF, paint_classes, paint_values

RESOLUTION = 1.0


def scores(result: Any) -> pn.pane.HTML:
    """Show the table of scores and what it does and does not say, in sentences."""
    mine = f"color:{theme.ACCENT};font-weight:600"
    table = score_table(result, lambda name: mine if name == result.name else "", lambda _: "")
    said = "".join(f"<li>{theme.escape(line)}</li>" for line in result.verdict())
    return theme.text(
        f"{table}<ul class='hint' style='padding-left:16px;margin:8px 0'>{said}</ul>",
        sizing_mode="stretch_width",
    )


def painted(result: Any, field: Any) -> tuple[np.ndarray, Any]:
    """Color the predicted raster, clear at sea: (H, W, 4), uint8, and its legend."""
    values = field.to_numpy()
    land = land_mask(Grid(GLOBE, values.shape))
    if result.task.is_classification and not result.task.is_presence:
        return paint_classes(values, land & (values >= 0), result.task.classes)
    unit = result.task.unit
    if result.threshold is not None:
        unit = f"suitability; suitable from {result.threshold:.3g} on"
    return paint_values(values, land & np.isfinite(values), unit)


def maps(result: Any, field: Any, selection: Selection) -> pn.FlexBox:
    """Show the predicted raster of the globe and where it errs, side by side."""
    is_class, test = result.task.is_classification, result.test
    size = np.abs(test["error"].to_numpy(dtype=float))
    scale = 1.0 if is_class else float(np.quantile(size, 0.95)) or 1.0
    words = "share of runs that are wrong" if is_class else f"absolute error in {result.task.unit}"
    errors = hv.Points(
        (test["lon"], test["lat"], np.clip(size / scale, 0.0, 1.0)), ["lon", "lat"], ["error"]
    ).opts(color="error", cmap=["#1d4e5f", "#ffb454", "#ff4d4d"], clim=(0.0, 1.0), size=3.5,
           responsive=True, shared_axes=False)  # fmt: skip
    empty = hv.DynamicMap(lambda: world.picture(np.zeros((2, 4, 4), dtype=np.uint8), GLOBE))
    top = "1" if is_class else f"{scale:.3g}"
    right = pn.Column(
        theme.text("<span class='title'>Errors at held-out places</span>"),
        plots.plot_pane(plots.on_globe(empty, selection, errors)),
        theme.color_scale(["#1d4e5f", "#ffb454", "#ff4d4d"], "0", f"{top}: {words}"),
        margin=0, styles=HALF,
    )  # fmt: skip
    left = _map(*painted(result, field), selection)
    return pn.FlexBox(left, right, gap="10px", sizing_mode="stretch_width", margin=0)


def _map(colors: np.ndarray, legend: Any, selection: Selection) -> pn.Column:
    raster = hv.DynamicMap(lambda: world.picture(colors, GLOBE))
    return pn.Column(
        theme.text("<span class='title'>Predicted</span>"),
        plots.plot_pane(plots.on_globe(raster, selection, alpha=0.35)),
        legend, margin=0, styles=HALF,
    )  # fmt: skip

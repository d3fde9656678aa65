"""What an evaluation shows beside its ladder: folds, a verdict, where to trust, labels to get."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import holoviews as hv
import numpy as np
import panel as pn
from numpy.typing import NDArray

from satclip_explore.files.raster import grid_of
from satclip_explore.panes import plots, theme, world
from satclip_explore.panes.base import Selection
from satclip_explore.panes.furniture import earth_beneath
from satclip_explore.panes.tasks import HALF, paint_classes, paint_values
from training.evaluation.verdict import words_km

MOST_SHOWN = 4000
"""Places drawn, at most: an even choice of them."""

STRIPES = 3
"""Screen pixels for each pixel of the raster, one of which is a stripe where nothing was tested."""


def fold_points(lonlat: NDArray[np.float64], fold: NDArray[np.int64]) -> hv.Points:
    """Draw places, each in the color of the fold that tests it."""
    every = slice(None, None, max(1, -(-len(lonlat) // MOST_SHOWN)))
    colors = np.array(theme.SERIES)[fold % len(theme.SERIES)]
    rows = (lonlat[every, 0], lonlat[every, 1], colors[every])
    return hv.Points(rows, ["lon", "lat"], ["color"]).opts(
        color="color", size=4, line_color=None, responsive=True, shared_axes=False
    )


def verdict_list(sentences: Sequence[str], notes: Sequence[str]) -> str:
    """Write the verdict large, and what was assumed small, as markup."""
    said = "".join(f"<li>{theme.escape(line)}</li>" for line in sentences)
    noted = "".join(f"<li>{theme.escape(line)}</li>" for line in notes)
    more = f"<ul class='hint' style='padding-left:18px;margin:4px 0'>{noted}</ul>" if noted else ""
    return (
        f"<ul aria-label='verdict' style='font-size:15px;line-height:1.5;padding-left:18px;"
        f"margin:6px 0'>{said}</ul>{more}"
    )


def next_list(following: Any) -> str:
    """List the labels to get next, numbered as on the map, as markup."""
    rows = "".join(
        f"<tr><td>{number}</td><td>{theme.coordinates((row.lon, row.lat))}</td>"
        f"<td>{words_km(row.km)}</td><td>{100 * row.gain:.1f} %</td></tr>"
        for number, row in enumerate(following.itertuples(), start=1)
    )
    return (
        "<table aria-label='next labels'><tr><th></th><th>place</th><th>nearest label</th>"
        "<th title='share of the mean unlikeness to the labels that a label here removes'>helps by"
        f"</th></tr>{rows}</table>"
    )


def trust_map(survey: Any, task: Any, selection: Selection) -> pn.FlexBox:
    """Show the prediction, striped and dim where it is not to be trusted, and the next labels."""
    field = survey.raster["prediction"]
    grid, values = grid_of(field), field.to_numpy()
    if task.is_classification:
        colors, legend = paint_classes(values, values >= 0, task.classes)
    else:
        colors, legend = paint_values(values, np.isfinite(values), task.unit)
    colors = striped(colors, survey.raster["trusted"].to_numpy() == 0.0)
    # Bound early: a figure that is drawn again must not wait for the raster.
    raster = hv.DynamicMap(lambda: world.picture(colors, grid.bounds))
    west, south, east, north = plots.twice_as_wide(grid.bounds)
    chart = plots.plot_pane(plots.on_globe(
        raster, selection, labels(task.lonlat), *numbered(survey.following), alpha=0.4,
        xlim=(west, east), ylim=(south, north), hooks=[plots.dark, earth_beneath],
    ))  # fmt: skip
    said = (
        f"Predicted by {survey.raster.attrs['contender']}. Striped and dim: less like your labels "
        "than nearly all places that were tested, so no score applies there. Dots: your "
        "labels. Numbers: labels to get next."
    )
    left = pn.Column(
        theme.text("<span class='title'>Where to trust it</span>"), chart, legend,
        theme.hint(said), margin=0, styles=HALF,
    )  # fmt: skip
    right = pn.Column(
        theme.text("<span class='title'>Which labels next</span>"),
        theme.text(next_list(survey.following), sizing_mode="stretch_width"),
        theme.hint("Each brings the most other places close to a label, in embedding space."),
        margin=0, styles=HALF | {"flex": "1 1 30%"},
    )  # fmt: skip
    return pn.FlexBox(left, right, gap="12px", sizing_mode="stretch_width", margin=(8, 0, 0, 0))


def striped(colors: NDArray[np.uint8], beyond: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Dim and stripe some pixels of RGBA colors (H, W, 4), each as several pixels of a screen."""
    fine = colors.repeat(STRIPES, axis=0).repeat(STRIPES, axis=1)
    outside = beyond.repeat(STRIPES, axis=0).repeat(STRIPES, axis=1)
    rows, columns = np.indices(outside.shape)
    stripe = (rows + columns) % STRIPES == 0
    fine[outside, 3] = fine[outside, 3] // 3
    fine[outside & stripe, :3] = 0
    return fine


def labels(lonlat: NDArray[np.float64]) -> hv.Points:
    """Draw the labeled places, small."""
    every = slice(None, None, max(1, -(-len(lonlat) // MOST_SHOWN)))
    return hv.Points(lonlat[every], ["lon", "lat"]).opts(
        color="#ffffff", alpha=0.6, size=1.5, responsive=True, shared_axes=False
    )


def numbered(following: Any) -> tuple[Any, ...]:
    """Draw the next labels as numbered marks."""
    rows = following[["lon", "lat"]].to_numpy()
    text = [(lon, lat, str(number)) for number, (lon, lat) in enumerate(rows, start=1)]
    both = {"responsive": True, "shared_axes": False}
    return (
        hv.Points(rows, ["lon", "lat"]).opts(
            size=15, color=theme.GOLD, line_color=theme.SEA, **both
        ),
        hv.Labels(text, ["lon", "lat"], "number").opts(
            text_font_size="9px", text_color=theme.SEA, **both
        ),
    )

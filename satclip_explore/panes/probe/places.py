"""The map that shows which places test a probe, and on which a region is drawn by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import holoviews as hv
import numpy as np

from satclip_explore.geo import GLOBE
from satclip_explore.panes import plots, theme, world
from satclip_explore.panes.base import Selection
from satclip_explore.panes.furniture import earth_beneath

MAX_SHOWN = 4000
"""Places drawn, at most: an even choice of them."""

MAX_VERTICES = 200
TRAINS, TESTS, SHOT = theme.SKY, theme.GOLD, "#ffffff"
TOOLS = ("BoxSelectTool", "LassoSelectTool", "PanTool", "WheelZoomTool", "ResetTool")


def in_words(task: Any) -> str:
    """Say what a task holds, and what was left out of its table."""
    holds = f"{len(task.classes)} classes"
    if not task.is_classification:
        noun = "counts" if task.is_counts else "numbers"
        ends = f"{noun} from {task.target.min():.4g} to {task.target.max():.4g}"
        holds = f"{ends} {task.unit}".rstrip()
    if task.is_presence:
        holds = f"{task.target.sum():,} presences, the others background"
    left = ", ".join(f"{count:,} ({why})" for why, count in task.dropped.items())
    return f"{task.name}: {len(task):,} places, {holds}." + (f" Left out: {left}." if left else "")


def legend(about: str, split: Any) -> str:
    """Write what the places are, and what they do, as markup."""
    parts = [about] if about else []
    rows = []
    if split is not None:
        n_shots = len(split.shots)
        rows = [(TESTS, "tests", len(split.test)), (TRAINS, "trains", len(split.train) - n_shots)]
        rows += [(SHOT, "held out, but shown", n_shots)] if n_shots else []
    keys = " &nbsp; ".join(f"{theme.dot(color)} {word} {count:,}" for color, word, count in rows)
    words = [theme.escape(part) for part in parts] + [part for part in [keys] if part]
    words.append("Drag a box on the map to hold it out; the lasso above the map draws freely.")
    return "".join(f"<div class='hint' style='margin-top:3px'>{line}</div>" for line in words)


def places(lonlat: np.ndarray, split: Any) -> hv.Points:
    """Draw places in the color of what they do.

    Parameters
    ----------
    lonlat : numpy.ndarray, shape (N, 2)
        Degrees.
    split : Split or None
        Which of them train, test, or are held out but shown.
    """
    role = np.zeros(len(lonlat), dtype=int)
    if split is not None:
        for number, rows in enumerate((split.train, split.test, split.shots), start=1):
            role[rows] = number
    shown = np.zeros(len(lonlat), dtype=bool)
    shown[:: max(1, len(lonlat) // MAX_SHOWN)] = True
    shown |= role == 3
    colors = np.array([theme.GRAY, TRAINS, TESTS, SHOT])[role[shown]]
    sizes = np.where(role[shown] == 3, 6.0, 3.0)
    rows = (lonlat[shown, 0], lonlat[shown, 1], colors, sizes)
    # What a box on the map selects is no longer faint beside the rest: colors tell it.
    return hv.Points(rows, ["lon", "lat"], ["color", "size"]).opts(
        color="color", size="size", line_color=None, nonselection_alpha=1.0, responsive=True,
        shared_axes=False,
    )  # fmt: skip


def outline(drawn: Any) -> hv.Curve:
    """Draw the edge of a box (four numbers) or a polygon (pairs); nothing for None."""
    vertices = np.full((2, 2), np.nan)
    if drawn is not None and len(drawn) == 4 and np.ndim(drawn) == 1:
        west, south, east, north = drawn
        vertices = np.array(
            [(west, south), (east, south), (east, north), (west, north), (west, south)]
        )
    elif drawn is not None:
        vertices = np.array([*drawn, drawn[0]])
    return hv.Curve(vertices, "lon", "lat").opts(
        color=TESTS, line_width=2, responsive=True, shared_axes=False
    )


def box(bounds: Sequence[float]) -> tuple[float, ...] | None:
    """Clip a drawn box to the globe; None where it has no area."""
    west, south, east, north = (float(value) for value in bounds)
    west, east = max(west, -180.0), min(east, 180.0)
    south, north = max(south, -90.0), min(north, 90.0)
    return (west, south, east, north) if west < east and south < north else None


def polygon(vertices: Any) -> list[tuple[float, float]] | None:
    """Clip a drawn line to the globe and thin it; None where it is not a polygon."""
    line = np.asarray(vertices, dtype=np.float64).reshape(-1, 2)
    line = line[np.isfinite(line).all(axis=1)]
    # The antimeridian itself would count as the other side of the map.
    line = np.stack([line[:, 0].clip(-180.0, 179.999), line[:, 1].clip(-90.0, 90.0)], axis=1)
    line = line[:: max(1, -(-len(line) // MAX_VERTICES))]
    if len(np.unique(line, axis=0)) < 3:
        return None
    return [(float(lon), float(lat)) for lon, lat in line]


def place_map(
    selection: Selection,
    stream: Any,
    points: Callable[..., hv.Points],
    edge: Callable[..., hv.Curve],
    drew: Callable[[Any], None],
) -> Any:
    """Make the map.

    Parameters
    ----------
    selection : Selection
        Followed by the mark of the selected place.
    stream : holoviews.streams.Stream
        Redraws `points` and `edge`.
    points, edge : callable
        Give what is shown.
    drew : callable
        Called with a box (four numbers) or a polygon (pairs), or None, when one was drawn.
    """
    empty = hv.DynamicMap(lambda: world.picture(np.zeros((2, 4, 4), dtype=np.uint8), GLOBE))
    boxes, lines = hv.streams.BoundsXY(source=empty), hv.streams.Lasso(source=empty)

    def drew_box(bounds: Any = None) -> None:
        if bounds is not None:
            drew(box(bounds))

    def drew_line(geometry: Any = None) -> None:
        if geometry is not None:
            drew(polygon(geometry))

    boxes.add_subscriber(drew_box)
    lines.add_subscriber(drew_line)
    shown = plots.on_globe(
        empty, selection, hv.DynamicMap(points, streams=[stream]),
        hv.DynamicMap(edge, streams=[stream]),
        toolbar="above", active_tools=["box_select"], hooks=[plots.dark, earth_beneath, _few_tools],
        tools=["box_select", "lasso_select", "pan", "wheel_zoom", "tap", "reset"],
    )  # fmt: skip
    return plots.plot_pane(shown)


def _few_tools(plot: Any, element: Any) -> None:
    """Show the tools that draw and move, not those that elements bring along; a HoloViews hook."""
    bar = plot.state.toolbar
    bar.logo = None
    for tool in bar.tools:
        tool.visible = type(tool).__name__ in TOOLS

"""The plots that rasters share: dark plate carrée, coastlines, the mark of the selected place."""

from __future__ import annotations

import colorsys
import inspect
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import holoviews as hv
import numpy as np
import panel as pn

from satclip_explore.atlas import outlines
from satclip_explore.geo import Bounds
from satclip_explore.panes import theme
from satclip_explore.panes.base import Selection

NIGHT = {
    "--bk-background-fill-color": theme.SEA,
    "--bk-grid-line-color": theme.CHALK,
    "--bk-grid-line-alpha": "0.09",
}
"""Styles that keep a map dark: without them a page's light theme would paint its figure white."""

LINKED = "linked"
"""Tag of a layout whose figures share their ranges: in a notebook it is one widget."""


def dark(plot: Any, element: Any) -> None:
    """Paint a figure in the page's colors and keep it on the globe; a HoloViews hook."""
    figure = plot.state
    figure.background_fill_color = theme.SEA
    figure.border_fill_color = figure.outline_line_color = None
    for side in ("left", "right", "top", "bottom"):
        setattr(figure, f"min_border_{side}", 0)
    figure.margin = 0
    figure.html_attributes = {"role": "group", "aria-label": "Map; arrow keys move the place"}
    figure.lod_threshold = None
    # New ranges are sent only when this much time has passed without a turn of the wheel.
    figure.lod_timeout = 100
    canvas_backend(plot, element)
    for axis in (figure.x_range, figure.y_range):
        axis.min_interval = 0.2
    figure.x_range.bounds = (-180.0, 180.0)
    figure.y_range.bounds = (-90.0, 90.0)


def canvas_backend(plot: Any, element: Any) -> None:
    """Draw without WebGL; a HoloViews hook.

    Copying a WebGL surface into the page took 150 ms a frame where a browser has no GPU; a raster
    and some thousand line ends gain nothing from it elsewhere.
    """
    plot.state.output_backend = "canvas"


def dark_axes(plot: Any, element: Any) -> None:
    """Paint a chart with axes in colors that show in both themes; a HoloViews hook."""
    canvas_backend(plot, element)
    figure = plot.state
    figure.background_fill_color = figure.border_fill_color = figure.outline_line_color = None
    for axis in figure.axis:
        axis.axis_line_color = axis.major_tick_line_color = theme.GRAY
        axis.minor_tick_line_color = None
        axis.major_label_text_color = axis.axis_label_text_color = theme.GRAY
    for grid in figure.grid:
        grid.grid_line_color = theme.GRAY
        grid.grid_line_alpha = 0.25
    for legend in figure.legend:
        legend.background_fill_color = None
        legend.border_line_color = None
        legend.label_text_color = theme.GRAY


def weakly(hook: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """Make a HoloViews hook of a method without holding the method's object.

    HoloViews keeps options until no element has them: a hook that holds its pane holds the
    elements too, and none of them would ever go.
    """
    if not inspect.ismethod(hook):
        return hook
    held = weakref.WeakMethod(hook)

    def call(plot: Any, element: Any) -> None:
        method = held()
        if method is not None:
            method(plot, element)

    return call


def linked_ranges(
    ranges: weakref.WeakValueDictionary[str, Any],
) -> Callable[[Any, Any], None]:
    """Make a HoloViews hook that gives every figure it sees the same ranges, kept in `ranges`."""

    def link(plot: Any, element: Any) -> None:
        figure = plot.state
        figure.x_range = ranges.setdefault("x", figure.x_range)
        figure.y_range = ranges.setdefault("y", figure.y_range)

    return link


def rgb(colors: Sequence[str]) -> np.ndarray:
    """Read colors such as "#ffb454": (n, 3), uint8."""
    numbers = [[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in colors]
    return np.array(numbers, dtype=np.uint8).reshape(-1, 3)


def ramp(colors: Sequence[str]) -> np.ndarray:
    """Interpolate between colors: (256, 3), uint8."""
    stops = rgb(colors)
    at = np.linspace(0.0, len(stops) - 1, 256)
    bands = [np.interp(at, np.arange(len(stops)), stops[:, band]) for band in range(3)]
    return np.stack(bands, axis=1).round().astype(np.uint8)


def smooth(colors: Sequence[str]) -> list[str]:
    """Interpolate between colors: 256 of them, as a legend's gradient has."""
    return ["#" + bytes(color).hex() for color in ramp(colors)]


def palette(n: int) -> np.ndarray:
    """Return n colors that are apart from one another: (n, 3), uint8.

    The hue moves on by the golden angle; lightness and saturation change slowly.
    """
    index = np.arange(n)
    hue = (0.09 + index * 0.61803398875) % 1.0
    light = 0.62 - 0.16 * ((index // 5) % 3) / 2.0
    colors = [
        colorsys.hls_to_rgb(h, l, s)
        for h, l, s in zip(hue, light, 0.72 - 0.25 * ((index // 9) % 2), strict=True)
    ]
    return (np.array(colors).reshape(n, 3) * 255).round().astype(np.uint8)


def world_options(**options: Any) -> dict[str, Any]:
    """Return HoloViews options of a map in degrees that fills its pane; see `plot_pane`."""
    return {
        "responsive": True,
        "xaxis": None,
        "yaxis": None,
        "xlim": (-180, 180),
        "ylim": (-90, 90),
        "toolbar": None,
        "default_tools": [],
        "tools": ["pan", "wheel_zoom", "tap", "reset"],
        "active_tools": ["pan", "wheel_zoom"],
        "hooks": [dark],
        "shared_axes": False,
        "axiswise": True,
    } | options


def twice_as_wide(bounds: Bounds) -> Bounds:
    """Widen a view, in degrees, to the shape of a figure; it stays on the globe."""
    west, south, east, north = bounds
    wide = max(east - west, 2.0 * (north - south))
    lon = min(max((west + east) / 2.0, wide / 2.0 - 180.0), 180.0 - wide / 2.0)
    lat = min(max((south + north) / 2.0, wide / 4.0 - 90.0), 90.0 - wide / 4.0)
    return lon - wide / 2.0, lat - wide / 4.0, lon + wide / 2.0, lat + wide / 4.0


class SameView:
    """Shows in figures what a selection says that the reader looks at.

    Parameters
    ----------
    selection : Selection
        Followed.
    leads : callable, optional
        Tells whether it was these figures that moved the view.
    """

    def __init__(self, selection: Selection, leads: Callable[[], bool] = lambda: False) -> None:
        self._selection, self._leads = selection, leads
        self._figures: list[Any] = []
        selection.param.watch(lambda _: self.show(), "bounds")

    def hook(self, plot: Any, element: Any) -> None:
        """Let a figure follow from now on; a HoloViews hook."""
        if plot.state not in self._figures:
            self._figures.append(plot.state)

    def show(self) -> None:
        """Move all figures to the selection's view."""
        if self._leads():
            return
        # A callback of a figure's stream comes without the document's lock.
        pn.state.execute(self._move, schedule=True)

    def _move(self) -> None:
        west, south, east, north = twice_as_wide(self._selection.bounds)
        for figure in self._figures:
            figure.x_range.update(start=west, end=east)
            figure.y_range.update(start=south, end=north)

    def limits(self) -> dict[str, Any]:
        """Return the view as options of a new figure."""
        west, south, east, north = twice_as_wide(self._selection.bounds)
        return {"xlim": (west, east), "ylim": (south, north)}


def plot_pane(view: Any) -> pn.pane.HoloViews:
    """Hold a map in degrees: as wide as there is room, half as high."""
    # Panel would give the figures of all pages one range, in place of the one they were made with.
    # Without a minimum of 0 the canvas of a size it once had would hold the figure open.
    return pn.pane.HoloViews(
        view,
        sizing_mode="stretch_width",
        margin=0,
        linked_axes=False,
        styles={"aspect-ratio": "2 / 1", "flex": "0 0 auto", "min-height": "0", "height": "auto"}
        | NIGHT,
    )


def coastlines(kind: str = "land", alpha: float = 0.55) -> hv.Curve:
    """Draw the embedded outlines as thin lines.

    Parameters
    ----------
    kind : {"land", "countries"}
        Which outlines.
    alpha : float
        Opacity, 0 to 1.
    """
    # One curve with gaps: a Path of a thousand lines takes HoloViews seconds to draw.
    gap = np.full((1, 2), np.nan)
    points = np.concatenate([part for line in outlines(kind) for part in (line, gap)])
    # Half the bytes; its steps are a meter.
    points = points.astype(np.float32)
    return hv.Curve(points, "lon", "lat").opts(
        color="#ffffff", alpha=alpha, line_width=0.7, responsive=True, shared_axes=False
    )


def topmost(plot: Any, element: Any) -> None:
    """Draw an element over numbered marks; a HoloViews hook."""
    plot.handles["glyph_renderer"].level = "overlay"


def crosshair(lonlat: tuple[float, float]) -> hv.Overlay:
    """Mark the selected place with a ring that shows on any color."""
    place = hv.Points([lonlat], ["lon", "lat"])
    shared = {
        "responsive": True, "shared_axes": False, "fill_alpha": 0.0, "hooks": [topmost],
    }  # fmt: skip
    return place.opts(size=17, line_color="#000000", line_width=4, alpha=0.6, **shared) * hv.Points(
        [lonlat], ["lon", "lat"]
    ).opts(size=17, line_color="#ffffff", line_width=2, **shared)


def on_globe(
    raster: hv.DynamicMap,
    selection: Selection,
    *layers: Any,
    alpha: float = 0.55,
    lines: str = "land",
    select: Callable[[float, float], None] | None = None,
    **options: Any,
) -> Any:
    """Lay coastlines and the selected place over a raster, and let a click on it select.

    Parameters
    ----------
    raster : holoviews.DynamicMap
        Gives an Image or RGB in degrees.
    selection : Selection
        Followed, and moved by a click.
    *layers : holoviews element
        Drawn between the raster and the mark.
    alpha : float
        Opacity of the outlines.
    lines : {"land", "countries"}
        Coasts, or borders too.
    select : callable, optional
        Called with (lon, lat) on a click, in place of `selection.select`.
    **options
        Options of the plot in place of those of `world_options`.
    """
    place = hv.streams.Params(selection, ["settled"], rename={"settled": "lonlat"})
    mark = hv.DynamicMap(crosshair, streams=[place])
    tap = hv.streams.Tap(source=raster)
    move = select or selection.select

    def tapped(x: Any = None, y: Any = None) -> None:
        if x is not None and y is not None:
            move(x, y)

    tap.add_subscriber(tapped)
    chosen = world_options(**options)
    chosen["hooks"] = [weakly(hook) for hook in chosen["hooks"]]
    for_overlay = {k: v for k, v in chosen.items() if k not in ("axiswise", "shared_axes")}
    overlay = raster * coastlines(lines, alpha)
    for layer in layers:
        overlay = overlay * layer
    return (overlay * mark).opts(
        hv.opts.RGB(**chosen), hv.opts.Image(**chosen), hv.opts.Overlay(**for_overlay)
    )

"""What a map has beside its data: the Earth beneath, a graticule, a scale bar, coordinates."""

from __future__ import annotations

from typing import Any

import panel as pn
from bokeh.models import ColumnDataSource, CustomJS, Grid
from bokeh.models.annotations import Label

from satclip_explore.atlas import BASEMAP
from satclip_explore.geo import EARTH_RADIUS_KM
from satclip_explore.panes import theme
from satclip_explore.panes.served.pictures import picture_address

KM_PER_DEGREE = EARTH_RADIUS_KM * 3.141592653589793 / 180.0


def furnish(plot: Any, element: Any) -> None:
    """Draw a graticule, a scale bar and the coordinates under the pointer; a HoloViews hook."""
    figure = plot.state
    if figure.select_one({"name": "scale"}) is not None:
        return
    for number, ticker in enumerate((figure.xaxis, figure.yaxis)):
        axis: Any = number
        figure.add_layout(
            Grid(dimension=axis, ticker=ticker[0].ticker if ticker else None, level="overlay",
                 grid_line_color="#ffffff", grid_line_alpha=0.09, grid_line_width=1)
        )  # fmt: skip
    # North to south, where a degree is as long everywhere.
    bar = ColumnDataSource({"lon": [0, 0], "lat": [0, 0], "words": ["", ""]})
    figure.line("lon", "lat", source=bar, color=theme.CHALK, line_width=3, level="overlay",
                name="scale")  # fmt: skip
    figure.text(
        "lon", "lat", text="words", source=bar, text_color=theme.CHALK, text_font_size="11px",
        text_align="right", x_offset=-6, text_baseline="top", level="overlay",
    )  # fmt: skip
    ranges = {"x": figure.x_range, "y": figure.y_range, "bar": bar, "km": KM_PER_DEGREE}
    measure = CustomJS(args=ranges, code=MEASURE)
    for axis_range in (figure.x_range, figure.y_range):
        axis_range.js_on_change("start", measure)
        axis_range.js_on_change("end", measure)
    # At first there is no change yet that would draw it.
    figure.js_on_event("mouseenter", measure)
    words = Label(
        x=7, y=5, x_units="screen", y_units="screen", text="", text_color=theme.CHALK,
        text_font_size="11px", background_fill_color=theme.SEA, background_fill_alpha=0.6,
    )  # fmt: skip
    figure.add_layout(words)
    figure.js_on_event("mousemove", CustomJS(args={"words": words}, code=WRITE_PLACE))
    figure.js_on_event("mouseleave", CustomJS(args={"words": words}, code="words.text = ''"))


MEASURE = """
const room = (y.end - y.start) * km / 4
const power = 10 ** Math.floor(Math.log10(room))
const size = power * [5, 2, 1].find(n => n * power <= room)
const lon = x.end - (x.end - x.start) / 60
const lat = y.start + (y.end - y.start) / 30
const words = `${size.toLocaleString()} km`
bar.data = {lon: [lon, lon], lat: [lat + size / km, lat], words: [words, ""]}
"""
"""Makes the scale bar a round number long, at most a quarter of the height."""

WRITE_PLACE = """
const {x, y} = cb_obj
const inside = Math.abs(x) <= 180 && Math.abs(y) <= 90
const side = (value, plus, minus) =>
  `${Math.abs(value).toFixed(2)}° ${value >= 0 ? plus : minus}`
words.text = inside ? ` ${side(y, 'N', 'S')}, ${side(x, 'E', 'W')} ` : ''
"""
"""Runs in the browser while the pointer moves; nothing is sent."""


def earth_beneath(plot: Any, element: Any) -> None:
    """Lay a picture of the Earth under a figure in degrees; a HoloViews hook."""
    figure = plot.state
    if figure.select_one({"name": "earth"}) is None:
        figure.image_url(
            url=[picture_address(BASEMAP)], x=-180, y=90, w=360, h=180, level="underlay",
            name="earth", global_alpha=0.55,
        )  # fmt: skip


class NumberedMarks:
    """The marks of a selection on a figure, each with its number.

    Parameters
    ----------
    selection : Selection
        Its marks are followed: (lon, lat, label), a label that begins with a number.
    """

    def __init__(self, selection: Any) -> None:
        self._selection = selection
        self._sources: list[ColumnDataSource] = []
        selection.param.watch(self._show, "marks")

    def hook(self, plot: Any, element: Any) -> None:
        """Add the marks to a figure; a HoloViews hook."""
        figure = plot.state
        if figure.select_one({"name": "marks"}) is not None:
            return
        source = ColumnDataSource(self._data())
        figure.scatter(
            "lon", "lat", source=source, size=15, fill_color=theme.GOLD, line_color=theme.SEA,
            level="annotation", name="marks",
        )  # fmt: skip
        figure.text(
            "lon", "lat", text="number", source=source, text_align="center",
            text_baseline="middle", text_font_size="10px", text_color=theme.SEA,
            text_font_style="bold", level="annotation",
        )  # fmt: skip
        self._sources.append(source)

    def _data(self) -> dict[str, list[Any]]:
        marks = self._selection.marks
        return {
            "lon": [lon for lon, _, _ in marks],
            "lat": [lat for _, lat, _ in marks],
            "number": [label.partition(".")[0] for *_, label in marks],
        }

    def _show(self, _: Any) -> None:
        # Panel sends the figure itself by its queue, which a change of Bokeh's own would overtake.
        with pn.io.unlocked():
            for source in self._sources:
                source.data = self._data()

"""What every pane has: a shared selection, settings that can be quoted, errors as a sentence."""

from __future__ import annotations

import functools
import html
from collections.abc import Callable
from typing import Any

import panel as pn
import param

from satclip_explore.geo import GLOBE, as_lonlat, check_bounds
from satclip_explore.panes import theme
from satclip_explore.panes.served.closing import is_served

LINE = {"min-height": "18px"}
SETTLE_MS = 15
"""Time for the first answer to a click to reach the browser before slower ones are computed."""


def served_page() -> Any:
    """Return the document of the served page that this runs for; None in a notebook or script."""
    document = pn.state.curdoc
    return document if is_served(document) else None


class LonLat(param.NumericTuple):
    """A (lon, lat) pair in degrees that `geo.as_lonlat` accepts."""

    def _validate(self, val: Any) -> None:
        super()._validate(val)
        if val is not None:
            as_lonlat(val)


class Selection(param.Parameterized):
    """What the reader is looking at. Shared by every pane on a page."""

    lonlat = LonLat((13.4, 52.5), length=2, doc="(lon, lat) in degrees")
    settled = LonLat((13.4, 52.5), length=2, doc="the same, a moment later on a served page")
    bounds = param.Tuple(GLOBE, length=4, doc="visible range of the rasters, in degrees")
    marks = param.List([], doc="places to mark on the map: (lon, lat, label)")

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.settled = self.lonlat

    @param.depends("lonlat", watch=True)
    def _settle(self) -> None:
        """Let rasters and tables follow after what answers a click at once has been sent."""

        def follow() -> None:
            self.settled = self.lonlat

        if (page := served_page()) is None:
            follow()
        else:
            page.add_timeout_callback(follow, SETTLE_MS)

    def select(self, lon: float, lat: float) -> None:
        """Move to a place in degrees; the longitude is wrapped, a bad latitude is a ValueError."""
        place = as_lonlat((lon, lat))[0]
        self.lonlat = (float(place[0]), float(place[1]))

    def nudge(self, east: int, north: int) -> None:
        """Move the place by hundredths of the view's width; it stops at the poles."""
        step = (self.bounds[2] - self.bounds[0]) / 100.0
        lon, lat = self.lonlat
        self.select(lon + east * step, min(max(lat + north * step, -90.0), 90.0))

    def look(self, bounds: Any) -> None:
        """Show a range (lon_min, lat_min, lon_max, lat_max) in degrees, clipped to the globe."""
        lon_min, lat_min, lon_max, lat_max = (float(value) for value in bounds)
        if not lon_min < lon_max:
            raise ValueError(f"a view needs lon_min < lon_max; got {lon_min:g} and {lon_max:g}.")
        self.bounds = check_bounds(
            (max(lon_min, -180.0), max(lat_min, -90.0), min(lon_max, 180.0), min(lat_max, 90.0))
        )


class Pane(pn.viewable.Viewer):
    """A view of one compute result: show it alone, or place it in a layout.

    Parameters
    ----------
    encoder : LocationEncoder, optional
        Positional; setting it later makes the pane follow.
    selection : Selection, optional
        Default: the pane's own.
    **params
        Settings of the pane.
    """

    encoder = param.Parameter(doc="the LocationEncoder that is shown")
    selection: Selection = param.ClassSelector(  # type: ignore[assignment]  # never None: see __init__
        class_=Selection, doc="what the panes on a page share"
    )
    message = param.String("", doc="what went wrong, as a sentence; empty when nothing did")
    busy = param.String("", doc="what is being computed; empty when nothing is")

    _not_settings: tuple[str, ...] = ("encoder", "selection", "message", "busy", "name")

    def __init__(self, encoder: Any = None, **params: Any) -> None:
        params.setdefault("selection", Selection())
        super().__init__(encoder=encoder, **params)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        # What a notebook needs takes a page half a second to import.
        from satclip_explore.panes.jupyter import native

        return native.bundle(self.__panel__, include=include, exclude=exclude)

    def settings(self) -> dict[str, Any]:
        """Return the parameters that differ from their defaults, so that a view can be quoted."""
        changed = self.param.values(onlychanged=True)
        return {
            name: value
            for name, value in changed.items()
            if name not in self._not_settings and not name.startswith("_")
        }

    @param.depends("message", "busy")
    def sentences(self) -> str:
        """Write the message and what is being computed as markup."""
        lines = [f"<div class='busy'>{html.escape(self.busy)}</div>"] if self.busy else []
        if self.message:
            lines.append(f"<div class='sentence' role='alert'>{html.escape(self.message)}</div>")
        return "".join(lines)

    def status(self) -> pn.pane.HTML:
        """Show the message and what is being computed, in one line that keeps up to date."""
        # The text changes, not the pane: a new pane lays the whole page out anew.
        # It keeps room for one line: what is below would jump whenever something is computed.
        return theme.text(self.sentences, sizing_mode="stretch_width", styles=LINE)


def sentence(otherwise: Callable[[], Any] = lambda: None) -> Callable[[Any], Any]:
    """Turn a ValueError of a pane's method into the pane's message.

    Parameters
    ----------
    otherwise : callable
        Makes what the method returns in that case. Any other exception is a bug and is raised.
    """

    def decorate(method: Any) -> Any:
        @functools.wraps(method)
        def guarded(self: Pane, *args: Any, **kwargs: Any) -> Any:
            try:
                result = method(self, *args, **kwargs)
            except ValueError as error:
                self.message = str(error)
                return otherwise()
            self.message = ""
            return result

        return guarded

    return decorate

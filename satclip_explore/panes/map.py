"""A slippy map without network: click or type a place; rasters, neighbors and outlines on top.

The one file that swaps to ipyleaflet's (lat, lon) and wraps the longitudes it reports.
"""

from __future__ import annotations

import io
import math
from typing import Any

import ipyleaflet
import ipywidgets
import numpy as np
import panel as pn
import param
from PIL import Image
from shapely import LineString, simplify

from satclip_explore.atlas import BASEMAP, outlines
from satclip_explore.geo import Grid
from satclip_explore.panes import first_look, theme, world
from satclip_explore.panes.background import Background, Job
from satclip_explore.panes.search import SearchPane
from satclip_explore.panes.served.leaflet import OfflineLeaflet
from satclip_explore.panes.served.pictures import data_uri, picture_address
from satclip_explore.store import RESULTS

EVERYWHERE = ((-90.0, -180.0), (90.0, 180.0))
"""The globe's corners as ipyleaflet wants them, (lat, lon)."""

ONLINE = {
    "Sentinel-2 cloudless 2016 (online)": {
        "url": "https://tiles.maps.eox.at/wms?",
        "layers": "s2cloudless",
        "attribution": "Sentinel-2 cloudless by EOX, modified Copernicus Sentinel data 2016-2017",
    },
    "OpenStreetMap (online)": {
        "url": "https://ows.terrestris.de/osm/service?",
        "layers": "OSM-WMS",
        "attribution": "© OpenStreetMap contributors, terrestris",
    },
    "MODIS true color, July 2023 (online)": {
        "url": "https://gibs.earthdata.nasa.gov/wms/epsg4326/best/wms.cgi?TIME=2023-07-15&",
        "layers": "MODIS_Terra_CorrectedReflectance_TrueColor",
        "attribution": "NASA EOSDIS GIBS",
    },
}
FILL = ":host, :host > div, .lm-Widget, .jupyter-widgets { height: 100%; }"
"""Lets the map fill its card."""

MARK = {
    "radius": 5,
    "color": "#14100a",
    "weight": 1,
    "fillColor": theme.GOLD,
    "fillOpacity": 0.95,
}
"""How a neighbor is drawn, in Leaflet's words."""

BASES = ["Blue Marble", "Plain", *ONLINE]

COARSE, FINE_ZOOM = 0.2, 3
"""Degrees to which outlines are simplified, and from which zoom not: a pixel is 0.18 at zoom 2."""


class MapPane(world.ColoredPane):
    """The selected place and its neighbors on a map."""

    base = param.Selector(default="Blue Marble", objects=BASES, doc="what lies beneath")
    opacity = param.Number(0.75, bounds=(0.0, 1.0), step=0.05, doc="of the colors of the embedding")
    height = param.Integer(300, bounds=(150, 2000), doc="pixels, at least")
    search = param.Boolean(True, doc="whether it has a field of its own that finds a place")

    def __init__(self, encoder: Any = None, **params: Any) -> None:
        super().__init__(encoder, **params)
        self._background, self._looking = Background(), False
        self._colors = ipyleaflet.ImageOverlay(url=data_uri(CLEAR), bounds=EVERYWHERE)
        self._place = ipyleaflet.CircleMarker(
            radius=8,
            color="#ffffff",
            weight=2,
            fill_color="#000000",
            fill_opacity=0.15,
            pane="markerPane",
        )
        self._marks = ipyleaflet.GeoJSON(
            data={"type": "FeatureCollection", "features": []}, point_style=MARK
        )
        self._coast = ipyleaflet.Polyline(
            locations=_shared_outlines(COARSE), color="#ffffff", weight=1, opacity=0.35, fill=False
        )
        self._base = ipyleaflet.LayerGroup()
        self.widget = ipyleaflet.Map(
            center=(0.0, 0.0),
            zoom=0,
            min_zoom=0,
            max_zoom=12,
            crs=ipyleaflet.projections.EPSG4326,
            layers=[self._base, self._colors, self._coast, self._marks, self._place],
            scroll_wheel_zoom=True,
            world_copy_jump=True,
            layout=ipywidgets.Layout(height="100%", width="100%"),
        )
        self._touched = self._drawn = False
        self.widget.on_interaction(self._interact)
        self.widget.observe(self._moved, "bounds")
        self.widget.observe(self._refine, "zoom")
        self._show_base()
        self._show_place()
        self._show_marks()
        self._show_opacity()
        self._shown = False

    def _refine(self, change: Any) -> None:
        """Send the outlines as they are once the simple ones can be told apart."""
        if change["new"] >= FINE_ZOOM:
            self.widget.unobserve(self._refine, "zoom")
            self._coast.locations = _shared_outlines(0.0)

    def _interact(self, **event: Any) -> None:
        # The pointer is on the map: what moves from now on, the reader moves.
        self._touched = True
        if event.get("type") == "click":
            lat, lon = event["coordinates"]
            if -90.0 <= lat <= 90.0:
                self.selection.select(lon, lat)

    def _moved(self, change: Any) -> None:
        """Show elsewhere what the reader looks at here."""
        if not self._drawn and change["new"]:
            # What changed while the browser was loading the map has not reached it.
            self._drawn = True
            self._marks.send_state("data")
            self._colors.send_state("url")
        # The browser also tells the bounds when it draws the map, and after every move of ours.
        if not self._touched or not change["new"]:
            return
        (south, west), (north, east) = change["new"]
        turns = 360.0 * np.floor(((west + east) / 2.0 + 180.0) / 360.0)
        west, east = max(west - turns, -180.0), min(east - turns, 180.0)
        south, north = max(south, -90.0), min(north, 90.0)
        if west < east and south < north:
            self._looking = True
            try:
                self.selection.look((west, south, east, north))
            finally:
                self._looking = False

    @param.depends("selection.bounds", watch=True)
    def _follow_view(self) -> None:
        """Show what the reader looks at elsewhere."""
        if self._looking:
            return
        lon_min, lat_min, lon_max, lat_max = self.selection.bounds
        across, up = lon_max - lon_min, lat_max - lat_min
        zoom, wide, high = self.widget.zoom, 360.0, 180.0
        if self.widget.bounds:
            (south, west), (north, east) = self.widget.bounds
            wide, high = east - west, north - south
        closer = math.floor(math.log2(min(wide / across, high / up)) + 0.3)
        self._touched = False
        self.widget.zoom = int(np.clip(zoom + closer, self.widget.min_zoom, self.widget.max_zoom))
        self.widget.center = ((lat_min + lat_max) / 2.0, (lon_min + lon_max) / 2.0)

    @param.depends("selection.lonlat", watch=True)
    def _show_place(self) -> None:
        lon, lat = self.selection.lonlat
        self._place.location = (lat, lon)
        if not self._sees(lon, lat):
            self._touched = False
            self.widget.center = (lat, lon)

    def _sees(self, lon: float, lat: float) -> bool:
        """Tell whether the map shows a place, as it last reported; at first it shows all."""
        if not self.widget.bounds:
            return True
        (south, west), (north, east) = self.widget.bounds
        return south <= lat <= north and (lon - west) % 360.0 <= east - west

    @param.depends("selection.marks", watch=True)
    def _show_marks(self) -> None:
        # One layer with all marks: a widget for each would cost a hundred messages a click.
        self._marks.data = {
            "type": "FeatureCollection",
            "features": [
                {
                    "type": "Feature",
                    "properties": {},
                    "geometry": {"type": "Point", "coordinates": [lon, lat]},
                }
                for lon, lat, _ in self.selection.marks
            ],
        }

    @param.depends("base", watch=True)
    def _show_base(self) -> None:
        if self.base in ONLINE:
            layer = ipyleaflet.WMSLayer(
                format="image/jpeg", crs=ipyleaflet.projections.EPSG4326, **ONLINE[self.base]
            )
            self._base.layers = (layer,)
        elif self.base == "Blue Marble":
            url = picture_address(BASEMAP)
            self._base.layers = (
                # Beneath the colors, whichever of the two the browser draws first.
                ipyleaflet.ImageOverlay(url=url, bounds=EVERYWHERE, opacity=0.6, pane="tilePane"),
            )
        else:
            self._base.layers = ()

    @param.depends("opacity", watch=True)
    def _show_opacity(self) -> None:
        self._colors.opacity = self.opacity

    @param.depends("encoder", "components", "stretch", "land_only", watch=True)
    def _show_colors(self) -> None:
        if self.encoder is None or not self._shown:
            return
        encoder, components, stretch = self.encoder, self.components, self.stretch
        land_only = self.land_only
        shipped = first_look.path_for(encoder)
        if land_only and components == world.BIOMES and shipped.is_file():
            self._background.stop()
            self._colors.url = picture_address(shipped)
            return

        def work(job: Job) -> bytes:
            field = world.world_picture(encoder, components, stretch, job.check)
            height, width = field.shape[:2]
            grid = Grid((-180.0, -90.0, 180.0, 90.0), (height, width))
            return webp(world.rgba(field.to_numpy(), grid, land_only))

        def done(picture: bytes) -> None:
            self._colors.url = data_uri(picture, "webp")

        def failed(error: ValueError) -> None:
            self._colors.url = data_uri(CLEAR)
            self.message = str(error)

        self._background.start(work, done, failed)

    def __panel__(self) -> Any:
        self._shown = True
        pn.state.onload(self._show_colors)
        search = SearchPane(selection=self.selection)
        controls = (
            *([search.field()] if self.search else []),
            theme.select(self.param.base, "Base map", 130),
            theme.select(self.param.opacity, "Opacity of colors", 124, options=_OPACITY),
            self.download_menu(),
        )
        leaflet = OfflineLeaflet(
            self.widget, margin=0, sizing_mode="stretch_width", stylesheets=[FILL],
            styles={"flex": f"1 1 {self.height}px", "min-height": f"{self.height}px"},
        )  # fmt: skip
        answers = [search.answers()] if self.search else []
        return theme.card("Map", *answers, leaflet, self.status(), actions=controls)


_OPACITY = {f"{value} %": value / 100 for value in (0, 25, 50, 75, 100)}


def _outlines(tolerance: float) -> list[list[list[float]]]:
    """Return borders as (lat, lon), simplified to some degrees, smaller islands left out."""
    lines = [line for line in outlines("countries") if np.ptp(line, axis=0).max() > tolerance]
    simple = (simplify(LineString(line), tolerance).coords for line in lines)
    return [np.round(np.array(line)[:, ::-1], 2).tolist() for line in simple]


def _shared_outlines(tolerance: float) -> list[list[list[float]]]:
    """Return the same lists to every map: they are 30,000 where nothing is simplified."""
    return RESULTS.get(("map outlines", tolerance), lambda: _outlines(tolerance))


def webp(colors: np.ndarray) -> bytes:
    """Write RGBA colors, shape (H, W, 4), as WebP: a few hundred kB for the globe."""
    buffer = io.BytesIO()
    Image.fromarray(colors).save(buffer, "WEBP", quality=88, method=2)
    return buffer.getvalue()


CLEAR = webp(np.zeros((1, 1, 4), dtype=np.uint8))
"""One clear pixel: what is shown before there is anything to show."""

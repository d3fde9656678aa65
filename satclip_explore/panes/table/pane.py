"""A file of somebody's own: what was read of it, on a map and in rows, and where it goes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd
import panel as pn
import param

from satclip_explore.files.places import read_places
from satclip_explore.files.reading import Reading
from satclip_explore.files.table import csv_bytes
from satclip_explore.geo import GLOBE
from satclip_explore.panes import cells, plots, theme, world
from satclip_explore.panes.base import Pane
from satclip_explore.panes.download_menu import DownloadMenu
from satclip_explore.panes.downloads import (
    Choice,
    code_choice,
    stem,
    table_choices,
)
from satclip_explore.panes.furniture import earth_beneath, furnish
from satclip_explore.panes.table import views
from satclip_explore.panes.uploads import SAMPLES, drop_field, sample, table_code
from satclip_explore.provenance import provenance

MAX_FILE = "50MB"
MOST_EMBEDDED = 20_000
"""Rows that the page embeds; a file of them is some 50 MB."""

KINDS = {
    "as it looks": "auto",
    "classes": "classification",
    "numbers": "regression",
    "counts": "counts",
}


class TablePane(Pane):
    """Reads a file, says what was understood, and hands it on.

    Parameters
    ----------
    on_probe : callable, optional
        Called with (reading, column, kind) to predict a column.
    on_evaluate : callable, optional
        Called with the same, to ask how far from the labels that holds.
    on_label : callable, optional
        Called with CSV bytes of lon, lat, label.
    """

    lon = param.String("", doc="column of the longitude; empty: found by its name")
    lat = param.String("", doc="column of the latitude; empty: found by its name")
    crs = param.String("", doc="coordinate system, as EPSG:25832; empty: as the file says")
    column = param.Selector(default="", objects=[""], doc="the column that is looked at")
    kind = param.Selector(default="auto", objects=KINDS, doc="what the column holds")

    reading = param.Parameter(doc="the Reading, once there is one")

    _not_settings: tuple[str, ...] = (*Pane._not_settings, "reading")

    def __init__(
        self,
        encoder: Any = None,
        on_probe: Callable[[Reading, str, str], object] | None = None,
        on_evaluate: Callable[[Reading, str, str], object] | None = None,
        on_label: Callable[[bytes], object] | None = None,
        **params: Any,
    ) -> None:
        self._content: Any = None
        self._on_probe, self._on_evaluate, self._on_label = on_probe, on_evaluate, on_label
        super().__init__(encoder, **params)

    def take(self, content: Any) -> None:
        """Read a file anew; columns and coordinate system are found by themselves again."""
        self._content = content
        with param.parameterized.discard_events(self):
            self.param.update(lon="", lat="", crs="", kind="auto")
        self.param.trigger("lon", "lat", "crs", "kind")

    def sample(self, name: str, _: Any = None) -> None:
        """Read one of the files that come with the package."""
        self.take(sample(name))

    @param.depends("lon", "lat", "crs", watch=True)
    def _read(self) -> None:
        if self._content is None:
            return
        said: dict[str, Any] = {
            name: getattr(self, name).strip() or None for name in ("lon", "lat", "crs")
        }
        try:
            reading = read_places(self._content, **said)
        except (ValueError, ImportError) as error:
            self.param.update(message=str(error), reading=None)
            return
        columns = [str(name) for name in reading.columns]
        # A class of its own for each file: the options of the last one are not among them.
        self.param.column.objects = ["", *columns]
        column = self.column if self.column in columns else (columns[0] if columns else "")
        self.param.update(message="", reading=reading, column=column)

    def probe(self, _: Any = None) -> None:
        """Predict the column from the embedding."""
        if self._wanted("probe") and self._on_probe is not None:
            self._on_probe(self.reading, self.column, self.kind)

    def evaluate(self, _: Any = None) -> None:
        """Ask whether the embedding helps with the column, and how far from its places."""
        if self._wanted("evaluate") and self._on_evaluate is not None:
            self._on_evaluate(self.reading, self.column, self.kind)

    def label(self, _: Any = None) -> None:
        """Take the column as labels."""
        if self._wanted("label") and self._on_label is not None:
            frame = self.reading.frame
            rows = pd.DataFrame({"lon": frame["lon"], "lat": frame["lat"],
                                 "label": frame[self._label_of(self.column)]})  # fmt: skip
            self._on_label(csv_bytes(rows.dropna()))

    def _wanted(self, verb: str) -> bool:
        ready = self.reading is not None and bool(self.column)
        self.message = "" if ready else f"choose a file and a column to {verb} first."
        return ready

    def _label_of(self, name: str) -> Any:
        """Return a column's own label, which need not be text."""
        return next(label for label in self.reading.columns if str(label) == name)

    def downloads(self) -> list[Choice]:
        """List what the rows with their embeddings can be had as."""
        reading, encoder = self.reading, self.encoder
        if reading is None:
            raise ValueError("drop a file first, or try a sample.")
        source = table_code(reading)
        if not source.startswith("sx."):
            source = cells.call("sx.read_places", source)
        frame = "" if source.startswith("sx.load_atlas") else ".frame"
        code = code_choice(
            cells.cell({"encoder": encoder}, f"table = {source}{frame}",
                       "encoder.embed_frame(table)")
        )  # fmt: skip
        rows, columns = len(reading), len(reading.columns)
        if rows > MOST_EMBEDDED:
            most = f"{rows:,} rows are more than the {MOST_EMBEDDED:,} that this page embeds"
            return [code._replace(inside=f"{most}: the Python cell that embeds them all")]
        mean = "mean over places inside " if reading.geometry == "polygons" else ""
        return [
            *table_choices(
                lambda _: encoder.embed_frame(reading.frame), stem(encoder.name, "embedded"),
                f"{rows:,} rows: longitude, latitude, your {columns} columns, the {mean}"
                f"{encoder.embed_dim} numbers of {encoder.name}", provenance(encoder),
            ),
            code,
        ]  # fmt: skip

    @param.depends("reading")
    def report(self) -> str:
        """Write what was understood of the file as markup."""
        return views.report(self.reading)

    @param.depends("reading")
    def preview(self) -> str:
        """Write the first ten rows as markup."""
        return views.preview(self.reading)

    @param.depends("reading", "column", "kind")
    def legend(self) -> str:
        """Say, as markup, what the colors on the map mean."""
        return views.legend(self._values(), self.column, self.kind)

    def points(self, **_: Any) -> hv.Points:
        """Show the places in the colors of the column."""
        lonlat = np.zeros((0, 2)) if self.reading is None else self.reading.lonlat
        return views.points(lonlat, self._values(), self.kind)

    def _values(self) -> pd.Series | None:
        if self.reading is None or not self.column:
            return None
        return self.reading.frame[self._label_of(self.column)]

    def __panel__(self) -> Any:
        has = self.param.reading.rx.is_not(None)
        column = theme.select(self.param.column, "Color by, predict, label", 200,
                              options=self.param.column.objects)  # fmt: skip
        self.param.watch(
            lambda _: column.param.update(options=list(self.param.column.objects),
                                          value=self.column), "reading",
        )  # fmt: skip
        drop = drop_field(self.take, MAX_FILE, sizing_mode="stretch_width",
                          styles={"flex": "1 1 300px", "min-width": "240px"})  # fmt: skip
        samples = [theme.button(name, partial(self.sample, name)) for name in SAMPLES]
        start = pn.FlexBox(drop, pn.FlexBox(theme.hint("or try"), *samples, align_items="center",
                           margin=0, styles={"width": "auto", "flex": "0 1 auto"}),
                           align_items="center", gap="4px 12px", margin=0,
                           sizing_mode="stretch_width")  # fmt: skip
        settings = pn.FlexBox(
            column, theme.select(self.param.kind, "It holds", 130),
            theme.text_input(self.param.lon, "Longitude column", 150, placeholder="by name"),
            theme.text_input(self.param.lat, "Latitude column", 150, placeholder="by name"),
            theme.text_input(self.param.crs, "Coordinate system", 150, placeholder="from the file"),
            theme.button("Probe it", self.probe, strong=True),
            theme.button("Evaluate it", self.evaluate),
            theme.button("Use as labels", self.label),
            align_items="center", gap="4px", margin=(4, 0), visible=has,
            sizing_mode="stretch_width",
        )  # fmt: skip
        changes = hv.streams.Params(self, ["reading", "column", "kind"], rename={"reading": "r"})
        empty = hv.DynamicMap(lambda: world.picture(np.zeros((2, 4, 4), dtype=np.uint8), GLOBE))
        chart = plots.plot_pane(plots.on_globe(
            empty, self.selection, hv.DynamicMap(self.points, streams=[changes]),
            hooks=[plots.dark, earth_beneath, furnish],
        ))  # fmt: skip
        left = pn.Column(theme.text(self.report, sizing_mode="stretch_width"), margin=0,
                         styles={"flex": "1 1 320px", "min-width": "min(100%, 300px)"})  # fmt: skip
        wide = {"flex": "1.4 1 420px", "min-width": "min(100%, 300px)"}
        right = pn.Column(chart, theme.text(self.legend), margin=0, styles=wide)
        rows = pn.Column(theme.text(self.preview, sizing_mode="stretch_width"), margin=0,
                         sizing_mode="stretch_width", styles={"overflow-x": "auto"})  # fmt: skip
        return theme.card(
            "Your data", start, self.status(), settings,
            pn.FlexBox(left, right, gap="12px", sizing_mode="stretch_width", margin=0), rows,
            hint="a table, spreadsheet, GeoJSON, GeoPackage, shapefile (zipped), NetCDF or GeoTIFF",
            actions=(DownloadMenu(self.downloads),),
        )  # fmt: skip

"""Label places by clicking and watch the map of the world change with every click."""

from __future__ import annotations

import html
import io
from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui
import param
import xarray as xr

from satclip_explore.atlas import land_mask
from satclip_explore.geo import as_lonlat
from satclip_explore.panes import plots, theme, world
from satclip_explore.panes.globe import GlobePane
from satclip_explore.table_files import csv_bytes
from training.labels import predict_labels

MAX_CLASSES = len(theme.SERIES)
MAX_LABELS = 500
MAX_NAME = 40
MAX_FILE = "1MB"


class LabelsPane(GlobePane):
    """A map that learns from the places you click."""

    classes = param.List(["forest", "desert"], item_type=str, doc="names of the classes")
    current = param.String("forest", doc="the class that a click gives")
    labels = param.List([], doc="(lon, lat, class) of every click, in order")
    new_class = param.String("", doc="a class to add")

    def label(self, lon: float, lat: float) -> None:
        """Give the current class to a place in degrees."""
        if len(self.labels) >= MAX_LABELS:
            self.message = f"{MAX_LABELS} labels are the most that this map takes; undo some first."
            return
        place = as_lonlat((lon, lat))[0]
        self.labels = [*self.labels, (float(place[0]), float(place[1]), self.current)]

    def undo(self, _: Any = None) -> None:
        """Take the last label back."""
        self.labels = self.labels[:-1]

    def clear(self, _: Any = None) -> None:
        """Take all labels back."""
        self.labels = []

    @param.depends("new_class", watch=True)
    def add_class(self) -> None:
        """Add the typed class and choose it."""
        name = self.new_class.strip()
        if not name:
            return
        self.message = ""
        if len(name) > MAX_NAME:
            self.message = f"a class name may have {MAX_NAME} characters; got {len(name)}."
        elif name not in self.classes and len(self.classes) >= MAX_CLASSES:
            self.message = f"{MAX_CLASSES} classes are the most that can be told apart by color."
        else:
            if name not in self.classes:
                self.classes = [*self.classes, name]
            self.current = name
        self.new_class = ""

    def table(self) -> pd.DataFrame:
        """Return the labels: lon, lat, label."""
        return pd.DataFrame(self.labels, columns=["lon", "lat", "label"])

    def load(self, content: bytes) -> None:
        """Replace the labels by those of a CSV file with lon, lat and label."""
        try:
            frame = pd.read_csv(io.BytesIO(content), comment="#", nrows=MAX_LABELS + 1)
            if "label" not in frame:
                raise ValueError("a file of labels needs the columns lon, lat and label.")
            if len(frame) > MAX_LABELS:
                raise ValueError(f"a file of labels may have {MAX_LABELS} rows.")
            places = as_lonlat(frame)
            names = frame["label"].astype(str).str[:MAX_NAME].tolist()
            classes = list(dict.fromkeys([*names, *self.classes]))[:MAX_CLASSES]
            if set(names) - set(classes):
                raise ValueError(f"a file of labels may have {MAX_CLASSES} classes.")
        except (ValueError, pd.errors.ParserError) as error:
            self.message = f"The labels could not be read: {error}"
            return
        rows = [
            (float(lon), float(lat), name) for (lon, lat), name in zip(places, names, strict=True)
        ]
        self.param.update(classes=classes, labels=rows, current=classes[0], message="")

    def prediction(self) -> xr.DataArray:
        """Return the class of every pixel; see `training.labels.predict_labels`."""
        codes = [self.classes.index(name) for _, _, name in self.labels]
        return predict_labels(self.globe(), [row[:2] for row in self.labels], codes)

    def image(self, **_: Any) -> hv.RGB:
        """Show the predicted classes on land, faint where they are nearly tied."""
        nothing = np.zeros((2, 4, 4), dtype=np.uint8)
        bounds = (-180.0, -90.0, 180.0, 90.0)
        if not self.ready() or len({name for _, _, name in self.labels}) < 2:
            return world.picture(nothing, bounds)
        try:
            field = self.prediction()
        except ValueError as error:
            self.message = str(error)
            return world.picture(nothing, bounds)
        palette = np.array([_rgb(color) for color in theme.SERIES], dtype=np.uint8)
        alpha = (70.0 + 185.0 * np.sqrt(field["margin"].to_numpy())).astype(np.uint8)
        alpha[~land_mask(self.globe().grid) | (field.to_numpy() < 0)] = 0
        colors = np.concatenate([palette[field.to_numpy()], alpha[..., None]], axis=-1)
        return world.picture(colors, bounds)

    def points(self, **_: Any) -> hv.Points:
        """Show the labelled places in the colors of their classes."""
        rows = [
            (lon, lat, theme.SERIES[self.classes.index(name)]) for lon, lat, name in self.labels
        ]
        return hv.Points(rows, ["lon", "lat"], ["color"]).opts(
            color="color", size=11, line_color="#ffffff", line_width=1.5, responsive=True,
            shared_axes=False,
        )  # fmt: skip

    @param.depends("labels", "classes", "current")
    def counts(self) -> str:
        """List, as markup, the classes with their colors and how many labels each has."""
        names = [name for _, _, name in self.labels]
        return "".join(
            f"<div style='font-size:13px;padding:2px 0;"
            f"{'font-weight:650' if name == self.current else ''}'>"
            f"<span style='color:{theme.SERIES[i]}'>●</span> {html.escape(name)} "
            f"<span class='hint'>{names.count(name)}</span></div>"
            for i, name in enumerate(self.classes)
        )

    @param.depends("classes")
    def _choose(self) -> pmui.Select:
        return theme.select(self.param.current, "A click means", 190, options=self.classes)

    def __panel__(self) -> Any:
        raster = hv.DynamicMap(
            self.image,
            streams=[
                hv.streams.Params(self, ["labels", "encoder", "_tick"], rename={"_tick": "t"})
            ],
        )
        points = hv.DynamicMap(self.points, streams=[hv.streams.Params(self, ["labels"])])
        view = plots.on_globe(raster, self.selection, points, alpha=0.4, select=self.label)
        drop = pn.widgets.FileDropper(
            max_file_size=MAX_FILE, max_files=1, height=70, sizing_mode="stretch_width",
            accepted_filetypes=[".csv", "text/csv"],
        )  # fmt: skip
        drop.param.watch(lambda event: _first(event.new, self.load), "value")
        side = pn.Column(
            self._choose, theme.text_input(self.param.new_class, "Add a class", 190),
            theme.text(self.counts),
            pn.Row(theme.button("Undo", self.undo), theme.button("Clear", self.clear), margin=0),
            pn.widgets.FileDownload(
                callback=lambda: io.BytesIO(csv_bytes(self.table())), filename="labels.csv",
                label="Save labels", width=190,
            ),
            theme.hint("Load labels from CSV: lon, lat, label"), drop, self.status(),
            width=230, margin=(0, 0, 0, 10),
        )  # fmt: skip
        plot = plots.plot_pane(view)
        plot.styles = plot.styles | {"flex": "1 1 420px", "min-width": "min(100%, 320px)"}
        body = pn.FlexBox(plot, side, align_items="flex-start", sizing_mode="stretch_width",
                          gap="8px")  # fmt: skip
        return theme.card("Label by clicking", body,
                          hint="label two classes; the world follows every click")  # fmt: skip


def _first(files: dict[str, Any] | None, use: Any) -> None:
    for content in (files or {}).values():
        use(content if isinstance(content, bytes) else str(content).encode())
        return


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)

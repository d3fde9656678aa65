"""Label places by clicking and watch the map of the world change with every click."""

from __future__ import annotations

import html
import json
from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd
import panel as pn
import param
import xarray as xr

from satclip_explore.atlas import land_mask
from satclip_explore.geo import as_lonlat
from satclip_explore.labels import predict_labels
from satclip_explore.panes import plots, theme, world
from satclip_explore.panes.download_menu import DownloadMenu
from satclip_explore.panes.furniture import earth_beneath, furnish
from satclip_explore.panes.globe import GlobePane
from satclip_explore.panes.label_files import (
    MAX_BYTES,
    MAX_LABELS,
    checked_name,
    offer,
    read_labels,
)
from satclip_explore.panes.uploads import drop_field

MAX_CLASSES = len(theme.SERIES)
MAX_STEPS_BACK = 200
MAX_FILE = "1MB"

_State = tuple[list[str], list[tuple[float, float, str]], str, dict[str, str]]


class LabelsPane(GlobePane):
    """A map that learns from the places you click."""

    classes = param.List(["forest", "desert"], item_type=str, doc="names of the classes")
    current = param.String("forest", doc="the class that a click gives")
    labels = param.List([], doc="(lon, lat, class) of every click, in order")
    new_class = param.String("", doc="a class to add")
    new_name = param.String("", doc="another name for the current class")

    _not_settings: tuple[str, ...] = (*GlobePane._not_settings, "new_class", "new_name")

    def __init__(self, encoder: Any, **params: Any) -> None:
        self._colors: dict[str, str] = {}
        self._past: list[_State] = []
        super().__init__(encoder, **params)

    @param.depends("classes", watch=True, on_init=True)
    def _paint(self) -> None:
        """Give every class a color of its own, which it keeps when others come and go."""
        colors = {name: self._colors[name] for name in self.classes if name in self._colors}
        for name in self.classes:
            free = (color for color in theme.SERIES if color not in colors.values())
            colors.setdefault(name, next(free, theme.SERIES[0]))
        self._colors = colors

    def _remember(self) -> None:
        state = (list(self.classes), list(self.labels), self.current, dict(self._colors))
        self._past = [*self._past[1 - MAX_STEPS_BACK :], state]
        self.message = ""

    def label(self, lon: float, lat: float) -> None:
        """Give the current class to a place in degrees."""
        if len(self.labels) >= MAX_LABELS:
            self.message = f"{MAX_LABELS} labels are the most that this map takes; undo some first."
            return
        place = as_lonlat((lon, lat))[0]
        self._remember()
        self.labels = [*self.labels, (float(place[0]), float(place[1]), self.current)]

    def label_here(self, _: Any = None) -> None:
        """Give the current class to the selected place, as a click on it would."""
        self.label(*self.selection.lonlat)

    def undo(self, _: Any = None) -> None:
        """Take the last step back: a label, or a change of the classes."""
        if self._past:
            classes, labels, current, self._colors = self._past.pop()
            self.param.update(classes=classes, labels=labels, current=current, message="")

    def clear(self, _: Any = None) -> None:
        """Take all labels back."""
        self._remember()
        self.labels = []

    @param.depends("new_class", watch=True)
    def add_class(self) -> None:
        """Add the typed class and choose it."""
        typed, self.new_class = self.new_class, ""
        name = self._typed(typed)
        if name is None:
            return
        if name not in self.classes and len(self.classes) >= MAX_CLASSES:
            self.message = f"{MAX_CLASSES} classes are the most that can be told apart by color."
            return
        if name not in self.classes:
            self._remember()
            self.classes = [*self.classes, name]
        self.current = name

    @param.depends("new_name", watch=True)
    def rename_class(self) -> None:
        """Give the current class the typed name; its labels and its color stay."""
        typed, self.new_name = self.new_name, ""
        name, old = self._typed(typed), self.current
        if name is None or name == old:
            return
        if name in self.classes:
            self.message = f"there is a class {name!r} already; remove one of the two instead."
            return
        self._remember()
        self._colors = {name if k == old else k: color for k, color in self._colors.items()}
        self.param.update(
            classes=[name if label == old else label for label in self.classes],
            labels=[(lon, lat, name if label == old else label) for lon, lat, label in self.labels],
            current=name,
        )

    def remove_class(self, _: Any = None) -> None:
        """Remove the current class and its labels."""
        if len(self.classes) < 2:
            self.message = "the last class stays; rename it instead."
            return
        self._remember()
        gone = self.current
        classes = [name for name in self.classes if name != gone]
        self.param.update(
            classes=classes,
            labels=[row for row in self.labels if row[2] != gone],
            current=classes[0],
        )

    def _typed(self, text: str) -> str | None:
        """Check a typed name; nothing typed is no name, a bad one leaves a sentence."""
        if not text.strip():
            return None
        try:
            name = checked_name(text)
        except ValueError as error:
            self.message = str(error)
            return None
        self.message = ""
        return name

    def table(self) -> pd.DataFrame:
        """Return the labels: lon, lat, label."""
        return pd.DataFrame(self.labels, columns=["lon", "lat", "label"])

    def load(self, content: bytes) -> None:
        """Replace the labels by those of a CSV file with lon, lat and label."""
        try:
            rows = read_labels(content)
            names = list(dict.fromkeys(name for _, _, name in rows))
            if len(names) > MAX_CLASSES:
                raise ValueError(f"a file of labels may have {MAX_CLASSES} classes.")
        except ValueError as error:
            self.message = f"The labels could not be read: {error}"
            return
        self._remember()
        classes = list(dict.fromkeys([*names, *self.classes]))[:MAX_CLASSES]
        self.param.update(classes=classes, labels=rows, current=classes[0])

    def kept(self) -> str:
        """Write classes and labels as text that a browser keeps; see `restore`."""
        return json.dumps({"classes": self.classes, "labels": self.labels})

    def restore(self, text: str) -> None:
        """Bring back the labels of an earlier session, unless there are some already.

        Parameters
        ----------
        text : str
            From `kept`, by way of a browser: what is no good in it is passed over.
        """
        if self.labels or len(text) > MAX_BYTES:
            return
        try:
            found = json.loads(text)
            classes = [checked_name(name) for name in found["classes"]][:MAX_CLASSES]
            lonlat = as_lonlat([row[:2] for row in found["labels"][:MAX_LABELS]])
            rows = [
                (float(lon), float(lat), name)
                for (lon, lat), (*_, name) in zip(lonlat, found["labels"], strict=False)
                if name in classes
            ]
        except (ValueError, TypeError, KeyError, IndexError):
            return
        if rows and classes:
            self.param.update(classes=classes, labels=rows, current=classes[0])
            self.message = f"{len(rows)} labels from your last visit are back; Clear removes them."

    def prediction(self) -> xr.DataArray:
        """Return the class of every pixel; see `satclip_explore.labels.predict_labels`."""
        codes = [self.classes.index(name) for _, _, name in self.labels]
        field = predict_labels(self.globe(), [row[:2] for row in self.labels], codes)
        return field.assign_attrs(classes=json.dumps(self.classes, ensure_ascii=False))

    def painted(self, field: xr.DataArray) -> np.ndarray:
        """Color a prediction, faint where classes are nearly tied, clear at sea: (H, W, 4)."""
        palette = plots.rgb([self._colors[name] for name in self.classes])
        alpha = (70.0 + 185.0 * np.sqrt(field["margin"].to_numpy())).astype(np.uint8)
        alpha[~land_mask(self.globe().grid) | (field.to_numpy() < 0)] = 0
        return np.concatenate([palette[field.to_numpy()], alpha[..., None]], axis=-1)

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
        return world.picture(self.painted(field), bounds)

    def points(self, **_: Any) -> hv.Points:
        """Show the labeled places in the colors of their classes."""
        rows = [(lon, lat, self._colors[name]) for lon, lat, name in self.labels]
        return hv.Points(rows, ["lon", "lat"], ["color"]).opts(
            color="color", size=11, line_color="#ffffff", line_width=1.5, responsive=True,
            shared_axes=False,
        )  # fmt: skip

    @param.depends("labels", "classes", "current")
    def counts(self) -> str:
        """List, as markup, the classes with their colors and how many labels each has."""
        names = [name for _, _, name in self.labels]
        return self._what_next(names) + "".join(
            f"<div style='font-size:13px;padding:2px 0;"
            f"{'font-weight:650' if name == self.current else ''}'>"
            f"{theme.dot(self._colors[name])} {html.escape(name)} "
            f"<span class='hint'>{names.count(name)}</span></div>"
            for name in self.classes
        )

    def _what_next(self, names: list[str]) -> str:
        """Say what to do, as markup, until two classes have labels."""
        if len(set(names)) >= 2:
            return ""
        bare = [name for name in self.classes if name not in names]
        first = f"Choose {html.escape(bare[0])} above" if bare else "Add a second class below"
        return (
            f"<p class='hint'>{first}, then click on the map where there is some. The world is "
            "painted once two classes have labels.</p>"
        )

    def __panel__(self) -> Any:
        # One stream for both: with two, every click would draw the whole figure twice.
        changes = hv.streams.Params(
            self, ["labels", "classes", "encoder", "_tick"], rename={"_tick": "t"}
        )
        raster = hv.DynamicMap(self.image, streams=[changes])
        points = hv.DynamicMap(self.points, streams=[changes])
        view = plots.on_globe(
            raster,
            self.selection,
            points,
            alpha=0.4,
            select=self.label,
            hooks=[plots.dark, earth_beneath, furnish],
        )
        choose = theme.select(self.param.current, "A click labels", 200, options=self.classes)
        # The list of the same control changes: another control would lay the page out anew.
        self.param.watch(
            lambda event: choose.param.update(options=list(event.new), value=self.current),
            "classes",
        )
        drop = drop_field(
            self.load, MAX_FILE, sizing_mode="stretch_width",
            accepted_filetypes=[".csv", "text/csv"],
        )  # fmt: skip
        side = pn.Column(
            choose,
            theme.button("Label the marked place", self.label_here),
            theme.text(self.counts, margin=(0, 4)),
            pn.Row(theme.button("Undo", self.undo), theme.button("Clear", self.clear),
                   theme.button("Remove", self.remove_class), margin=0),
            theme.text_input(self.param.new_class, "Add a class", 200),
            theme.text_input(self.param.new_name, "Rename this class", 200),
            theme.hint("Load labels from CSV: lon, lat, label"), drop, self.status(),
            width=230, margin=(0, 0, 0, 10),
        )  # fmt: skip
        plot = plots.plot_pane(view)
        plot.styles = plot.styles | {"flex": "1 1 420px", "min-width": "min(100%, 320px)"}
        body = pn.FlexBox(plot, side, align_items="flex-start", sizing_mode="stretch_width",
                          gap="8px")  # fmt: skip
        return theme.card("Label by clicking", body,
                          hint="label two classes, and every click repaints the world",
                          actions=(DownloadMenu(lambda: offer(self)),))  # fmt: skip

"""How alike the rest of the world is to the selected place."""

from __future__ import annotations

from typing import Any

import holoviews as hv
import numpy as np
import panel as pn
import panel_material_ui as pmui
import param
import xarray as xr

from satclip_explore.atlas import land_mask
from satclip_explore.fields import EmbeddedGrid
from satclip_explore.geo import Grid
from satclip_explore.panes import plots, theme, world
from satclip_explore.panes.background import Background, Job
from satclip_explore.panes.base import Pane

NOTHING = np.full((2, 4), -1.0, dtype=np.float32)
"""Shown until there is a field: below every threshold, so clear."""


class SimilarityPane(Pane):
    """Cosine between the selected place and every pixel, cut off below a threshold.

    The globe is encoded once; a click is one matrix-vector product, and the threshold only moves
    the lower end of the color scale, in the browser.
    """

    resolution = param.Number(1.0, bounds=(0.25, 10.0), doc="pixel size in degrees")
    threshold = param.Number(0.3, bounds=(-1.0, 0.99), step=0.01, doc="cosine shown as nothing")
    land_only = param.Boolean(True, doc="leave out the sea, which training hardly sampled")

    _tick = param.Integer(0, doc="counts globes that became ready")

    def __init__(self, encoder: Any, **params: Any) -> None:
        super().__init__(encoder, **params)
        self._background = Background()
        self._asked = ""
        self._plot_name = f"similarity-{id(self)}"

    def globe(self, progress: Any = None) -> EmbeddedGrid:
        """Return the encoded globe, made once per process for an encoder and a resolution."""
        encoder, resolution = self.encoder, self.resolution
        return pn.state.as_cached(
            self._key(), lambda: EmbeddedGrid.of(encoder, resolution, progress=progress)
        )

    def field(self) -> xr.DataArray:
        """Return the cosine to the selected place, dims (lat, lon); the sea is NaN if left out."""
        globe = self.globe()
        field = globe.similarity(self.selection.lonlat)
        return field.where(_land(globe.grid)) if self.land_only else field

    def image(self, **_: Any) -> hv.Image:
        """Show the field; empty until the globe has been encoded."""
        if world.kept(self._key()) is None:
            self._encode()
            field = NOTHING
        else:
            try:
                field = self.field().to_numpy()
            except ValueError as error:
                self.message = str(error)
                field = NOTHING
        return hv.Image(field, bounds=(-180, -90, 180, 90), kdims=["lon", "lat"], vdims=["cosine"])

    def _key(self) -> str:
        return f"globe-{id(self.encoder)}-{self.resolution}"

    def _encode(self) -> None:
        if self._asked == self._key():
            return
        self._asked = self._key()
        self.busy = "encoding the globe …"

        def work(job: Job) -> EmbeddedGrid:
            return self.globe(job.check)

        def done(_: Any) -> None:
            self.param.update(busy="", message="", _tick=self._tick + 1)

        def failed(error: ValueError) -> None:
            self.param.update(busy="", message=str(error))

        self._background.start(work, done, failed)

    def view(self) -> Any:
        """Return the raster with coastlines and the selected place."""
        streams = [
            hv.streams.Params(self.selection, ["lonlat"]),
            hv.streams.Params(
                self, ["encoder", "resolution", "land_only", "_tick"], rename={"_tick": "tick"}
            ),
        ]
        raster = hv.DynamicMap(self.image, streams=streams).opts(
            hv.opts.Image(
                cmap=list(theme.LIKENESS), colorbar=False,
                clipping_colors={"min": "#00000000", "NaN": "#00000000"},
            )
        )  # fmt: skip
        return plots.on_globe(
            raster, self.selection, alpha=0.4, hooks=[plots.dark, self._name_plot]
        )

    def _name_plot(self, plot: Any, element: Any) -> None:
        plot.state.name = self._plot_name

    def __panel__(self) -> Any:
        slider = pmui.FloatSlider(
            label="Hide below", value=self.threshold, start=-1.0, end=0.99, step=0.01,
            sizing_mode="stretch_width", size="small", margin=(0, 10),
        )  # fmt: skip
        slider.param.watch(lambda event: self.param.update(threshold=event.new), "value_throttled")
        slider.jscallback(args={"name": self._plot_name}, value=MOVE_LOW_END)
        plot = plots.plot_pane(self.view())
        return theme.card(
            "How alike is the rest", plot, pn.Row(slider, legend(), margin=0), self.status,
            actions=(theme.select(self.param.land_only, "Show", 112, options=_SEA),),
        )  # fmt: skip


MOVE_LOW_END = """
const plot = source.document.get_model_by_name(name)
for (const renderer of plot?.renderers ?? []) {
  const mapper = renderer.glyph.color_mapper
  if (mapper != null) mapper.low = source.value
}
"""
"""Runs in the browser while the slider moves; nothing is computed or sent."""

_SEA = {"land only": True, "land and sea": False}


def legend() -> pn.pane.HTML:
    """Draw the color scale."""
    colors = ", ".join(theme.LIKENESS)
    return theme.text(
        f"<div style='display:flex;gap:6px;align-items:center;margin-top:14px' class='hint'>"
        f"cut<span style='width:90px;height:8px;border-radius:4px;"
        f"background:linear-gradient(90deg,{colors})'></span>1.0</div>"
    )


def _land(grid: Grid) -> np.ndarray:
    return land_mask(grid)

"""How alike the rest of the world is to the selected place."""

from __future__ import annotations

from typing import Any

import holoviews as hv
import numpy as np
import panel_material_ui as pmui
import param
import xarray as xr

from satclip_explore.atlas import land_mask
from satclip_explore.fields import similarity_raster
from satclip_explore.geo import Grid
from satclip_explore.panes import cells, plots, theme
from satclip_explore.panes.download_menu import DownloadMenu
from satclip_explore.panes.downloads import (
    Choice,
    code_choice,
    colored,
    page_choice,
    raster_choices,
    stem,
)
from satclip_explore.panes.furniture import earth_beneath
from satclip_explore.panes.globe import GlobePane

NOTHING = np.full((2, 4), -1.0, dtype=np.float32)
"""Shown until there is a field: below every threshold, so clear."""


class SimilarityPane(GlobePane):
    """Cosine between the selected place and every pixel, cut off below a threshold.

    The globe is encoded once; a click is one matrix-vector product, and the threshold only moves
    the lower end of the color scale, in the browser.
    """

    threshold = param.Number(0.05, bounds=(-1.0, 0.99), step=0.01, doc="cosine shown as nothing")
    land_only = param.Boolean(True, doc="leave out the sea, which training hardly sampled")

    def __init__(self, encoder: Any, **params: Any) -> None:
        super().__init__(encoder, **params)
        self._plot_name = f"similarity-{id(self)}"
        self._mappers: list[Any] = []

    def field(self) -> xr.DataArray:
        """Return the cosine to the selected place, dims (lat, lon); the sea is NaN if left out."""
        globe = self.globe()
        field = globe.similarity(self.selection.lonlat)
        return field.where(land_mask(globe.grid)) if self.land_only else field

    def downloads(self) -> list[Choice]:
        """List what the field can be had as."""
        encoder, place, threshold = self.encoder, self.selection.lonlat, self.threshold
        grid, land_only = Grid.from_resolution(self.resolution), self.land_only

        def field(check: Any) -> xr.DataArray:
            found = similarity_raster(encoder, place, grid=grid, progress=check)
            return found.where(land_mask(grid)) if land_only else found

        height, width = grid.shape
        lines = [
            f"resolution = {self.resolution:g}",
            "field = " + cells.call("sx.similarity_raster", cells.Code("encoder"), place,
                                    cells.Code("resolution")),
        ]  # fmt: skip
        imports: tuple[str, ...] = ()
        if land_only:
            imports = ("from satclip_explore.atlas import land_mask",)
            lines.append("field = field.where(land_mask(sx.Grid.from_resolution(resolution)))")
        lines.append(f"field.plot.imshow(vmin={threshold:g}, vmax=1)")
        return [
            *raster_choices(field, lambda check: _painted(field(check), threshold),
                            stem(encoder.name, "similarity"),
                            f"{width:,} × {height:,} pixels: the cosine to this place"),
            *page_choice(encoder, place),
            code_choice(cells.cell({"encoder": encoder}, *lines, imports=imports)),
        ]  # fmt: skip

    def image(self, **_: Any) -> hv.Image:
        """Show the field; empty until the globe has been encoded."""
        if not self.ready():
            field = NOTHING
        else:
            try:
                field = self.field().to_numpy()
            except ValueError as error:
                self.message = str(error)
                field = NOTHING
        return hv.Image(field, bounds=(-180, -90, 180, 90), kdims=["lon", "lat"], vdims=["cosine"])

    def view(self) -> Any:
        """Return the raster with coastlines and the selected place."""
        streams = [
            hv.streams.Params(self.selection, ["settled"]),
            hv.streams.Params(
                self, ["encoder", "resolution", "land_only", "_tick"], rename={"_tick": "tick"}
            ),
        ]
        raster = hv.DynamicMap(self.image, streams=streams).opts(
            hv.opts.Image(
                cmap=plots.smooth(theme.SIMILARITY), colorbar=False,
                clim=(self.threshold, 1.0),
                clipping_colors={"min": "#00000000", "NaN": "#00000000"},
            )
        )  # fmt: skip
        same = plots.SameView(self.selection)
        return plots.on_globe(
            raster,
            self.selection,
            alpha=0.4,
            **same.limits(),
            hooks=[plots.dark, earth_beneath, same.hook, self._name_plot],
        )

    def _name_plot(self, plot: Any, element: Any) -> None:
        plot.state.name = self._plot_name
        if (mapper := plot.handles.get("color_mapper")) is not None:
            # A new field would bring the first threshold back.
            mapper.low = self.threshold
            if mapper not in self._mappers:
                self._mappers.append(mapper)

    @param.depends("threshold", watch=True)
    def _cut(self) -> None:
        # A page has moved its own by now; a notebook's slider cannot.
        for mapper in self._mappers:
            mapper.low = self.threshold

    def __panel__(self) -> Any:
        slider = pmui.FloatSlider(
            label="Hide below", value=self.threshold, start=-0.5, end=0.95, step=0.01,
            theme_config=theme.MATERIAL,
            width=190, size="small", margin=(0, 12, 0, 8), show_value=True,
        )  # fmt: skip
        slider.param.watch(lambda event: self.param.update(threshold=event.new), "value_throttled")
        slider.jscallback(args={"name": self._plot_name}, value=MOVE_LOW_END)
        plot = plots.plot_pane(self.view())
        legend = theme.color_scale(theme.SIMILARITY, "hidden below this", "1: this place itself")
        return theme.card(
            "Similarity to this place", plot, legend, self.status(),
            actions=(slider, DownloadMenu(self.downloads)),
        )  # fmt: skip


def _painted(field: xr.DataArray, threshold: float) -> xr.DataArray:
    """Color a field as the page does: clear below the threshold and where nothing is known."""
    values = field.to_numpy()
    shown = np.isfinite(values) & (values >= threshold)
    palette = plots.ramp(theme.SIMILARITY)
    steps = np.where(shown, (values - threshold) / (1.0 - threshold), 0.0) * len(palette)
    colors = np.zeros((*values.shape, 4), dtype=np.uint8)
    colors[..., :3] = palette[steps.astype(int).clip(0, len(palette) - 1)]
    colors[..., 3] = np.where(shown, 255, 0)
    return colored(colors, field, threshold=f"{threshold:g}")


MOVE_LOW_END = """
const plot = source.document.get_model_by_name(name)
for (const renderer of plot?.renderers ?? []) {
  const mapper = renderer.glyph.color_mapper
  if (mapper != null) mapper.low = source.value
}
"""
"""Runs in the browser while the slider moves; nothing is computed or sent."""

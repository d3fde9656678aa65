"""L as a dial: what a number of degrees can and cannot resolve."""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

import holoviews as hv
import numpy as np
import panel as pn
import panel_material_ui as pmui
import param
from PIL import Image

from satclip_explore.atlas import BASEMAP
from satclip_explore.geo import GLOBE, Grid
from satclip_explore.panes import plots, theme, world
from satclip_explore.panes.background import Background, Job
from satclip_explore.panes.base import Pane
from satclip_explore.panes.furniture import earth_beneath
from satclip_explore.projection import pca_raster
from satclip_explore.store import RESULTS
from satclip_explore.truncation import shortest_wave_km, truncate_encoder, truncate_raster

DEGREES = [2, 5, 10, 20, 40, 100]
RESOLUTION = 0.5
BLANK = np.zeros((2, 4, 3), dtype=np.uint8)
WIDTHS_KM = {
    "Australia": 4000, "the Amazon forest": 2500, "the Sahara, north to south": 1800,
    "Borneo": 1000, "Madagascar": 570, "the Caspian Sea": 320, "Sri Lanka": 220,
    "the Alps": 180, "the Nile delta": 160, "Corsica": 80,
}  # fmt: skip
"""Roughly how wide things are across their narrow side."""


class DegreesPane(Pane):
    """The Earth, and an encoder, in L degrees of harmonics."""

    legendre_polys = param.Selector(default=10, objects=DEGREES, doc="number of degrees L")
    land_only = param.Boolean(False, doc="leave out the sea of the encoder")

    _tick = param.Integer(0, doc="counts rasters that became ready")

    def __init__(self, encoder: Any, **params: Any) -> None:
        super().__init__(encoder, **params)
        self._background = Background()
        self._asked: Any = None
        self._shown: dict[str, np.ndarray] = {}

    @param.depends("legendre_polys", "encoder", watch=True)
    def _ask_again(self) -> None:
        """Let what was asked for and stopped be asked for once more."""
        self._asked = None

    @param.depends("encoder", watch=True)
    def _forget(self) -> None:
        self._shown.pop("cut", None)

    def picture(self, **_: Any) -> hv.RGB:
        """Show the picture of the Earth in L degrees; what was shown before until it is ready."""
        return self._paint("picture", _picture_key(self.legendre_polys), land_only=False)

    def cut(self, **_: Any) -> hv.RGB:
        """Show the encoder cut at L; what was shown before until it is ready."""
        return self._paint("cut", self._key(), self.land_only)

    def _paint(self, kind: str, key: tuple[Any, ...], land_only: bool) -> hv.RGB:
        colors = RESULTS.peek(key)
        if colors is None:
            pn.state.onload(self._compute)
            colors = self._shown.get(kind, BLANK)
        self._shown[kind] = colors
        return world.picture(world.rgba(colors, Grid(GLOBE, colors.shape[:2]), land_only), GLOBE)

    def _key(self) -> tuple[Any, ...]:
        return ("degrees", self.encoder, self.legendre_polys)

    def _compute(self) -> None:
        key, encoder, degrees = self._key(), self.encoder, self.legendre_polys
        if key == self._asked:
            return
        self._asked = key
        self.busy = "computing …"

        def work(job: Job) -> None:
            RESULTS.get(_picture_key(degrees), lambda: _in_degrees(degrees), job.check)
            job.deliver(lambda: self.param.update(_tick=self._tick + 1))
            short = truncate_encoder(encoder, degrees)
            # The colors of the whole encoder, so that only what L takes away changes.
            own = encoder if short.name.startswith(encoder.name) else short
            RESULTS.get(key, lambda: pca_raster(
                short, RESOLUTION, projection=world.projection_of(own), progress=job.check
            ).to_numpy(), job.check)  # fmt: skip

        def failed(error: ValueError) -> None:
            self._asked = None
            self.param.update(busy="", message=str(error))

        self._background.start(
            work, lambda _: self.param.update(busy="", message="", _tick=self._tick + 1), failed
        )

    @param.depends("legendre_polys")
    def words(self) -> str:
        """Say what L resolves, with examples."""
        degrees = self.legendre_polys
        wave = shortest_wave_km(degrees)
        seen = [name for name, width in WIDTHS_KM.items() if width >= wave / 2]
        lost = [name for name, width in WIDTHS_KM.items() if width < wave / 2]
        can = f"Wide enough: {', '.join(seen)}. " if seen else "Nothing here is wide enough. "
        cannot = (
            f"Too narrow: {', '.join(lost)}." if lost else "None of our examples is too narrow."
        )
        return (
            f"<div style='font-size:13.5px;line-height:1.5'><b>L = {degrees}</b>: "
            f"{degrees**2:,} harmonics. The shortest wave is {wave:,.0f} km long; what is narrower "
            f"than half of one, <b>{wave / 2:,.0f} km</b>, is blurred.<br>"
            f"<span class='hint'>{theme.escape(can)}<br>{theme.escape(cannot)}</span></div>"
        )

    @param.depends("legendre_polys", "encoder")
    def name_of_cut(self) -> str:
        """Say what the second map shows."""
        own = getattr(self.encoder, "legendre_polys", 0)
        if self.legendre_polys <= own:
            whole = self.legendre_polys == own
            words = "whole" if whole else f"its harmonics cut at L = {self.legendre_polys}"
            return f"<span class='title'>{theme.escape(self.encoder.name)}, {words}</span>"
        why = f"{self.encoder.name} has no L = {self.legendre_polys} to cut at"
        return (
            f"<span class='title'>random-l{self.legendre_polys}</span> "
            f"<span class='hint'>untrained: {theme.escape(why)}</span>"
        )

    def __panel__(self) -> Any:
        ranges: WeakValueDictionary[str, Any] = WeakValueDictionary()
        cells = []
        follow = {"legendre_polys": "degrees", "_tick": "tick"}
        streams = [hv.streams.Params(self, [*follow], rename=follow)]
        cut_streams = [hv.streams.Params(self, [*follow, "encoder", "land_only"], rename=follow)]
        for title, draw, stream in (
            (theme.text("<span class='title'>The Earth in harmonics up to L</span>"),
             self.picture, streams),
            (theme.text(self.name_of_cut), self.cut, cut_streams),
        ):  # fmt: skip
            raster = hv.DynamicMap(draw, streams=stream)
            hooks = [plots.dark, earth_beneath, plots.linked_ranges(ranges)]
            plot = plots.plot_pane(plots.on_globe(raster, self.selection, alpha=0.4, hooks=hooks))
            plot.linked_axes = False
            cells.append(pn.Column(title, plot, margin=0, styles={
                "flex": "1 1 46%", "min-width": "min(100%, 320px)", "width": "auto"}))  # fmt: skip
        dial = pmui.RadioButtonGroup.from_param(
            self.param.legendre_polys, options={str(degrees): degrees for degrees in DEGREES},
            label="", size="small", margin=(4, 2), description="", color="primary",
            theme_config=theme.MATERIAL,
        )  # fmt: skip
        return theme.card(
            "What can L resolve?", theme.text(self.words, sizing_mode="stretch_width"),
            self.status(), pn.FlexBox(*cells, gap="10px", sizing_mode="stretch_width",
                                      margin=(6, 0, 0, 0), tags=[plots.LINKED]),
            hint="turn L: the number of degrees", actions=(dial,),
        )  # fmt: skip


def _picture_key(degrees: int) -> tuple[Any, ...]:
    return ("degrees of the picture", degrees)


def _in_degrees(degrees: int) -> np.ndarray:
    with Image.open(BASEMAP) as file:
        picture = np.asarray(file.convert("RGB").resize((720, 360), Image.Resampling.BOX))
    return truncate_raster(picture, degrees).round().clip(0, 255).astype(np.uint8)

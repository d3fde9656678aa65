"""Months and years: which one is shown, and what changes between two."""

from __future__ import annotations

import calendar
from collections.abc import Callable
from typing import Any

import holoviews as hv
import numpy as np
import panel as pn
import panel_material_ui as pmui
import param
import xarray as xr

from satclip_explore.atlas import land_mask
from satclip_explore.geo import Grid
from satclip_explore.panes import cells, plots, theme
from satclip_explore.panes.background import Background, Job
from satclip_explore.panes.base import Pane
from satclip_explore.panes.download_menu import DownloadMenu
from satclip_explore.panes.downloads import Choice, code_choice, colored, raster_choices, stem
from satclip_explore.panes.furniture import earth_beneath
from satclip_explore.shared_encoders import load_at, time_text
from satclip_explore.store import RESULTS
from satclip_explore.times import at_two_times, change_raster, timeless_name

SHAPE = (120, 240)
"""Rows and columns of the field of change: every pixel is encoded twice."""

NOTHING = np.full((2, 4), np.nan, dtype=np.float32)

SEASONS = "March, June, September and December"
"""What an encoder of months gives where none is chosen."""


class TimesPane(Pane):
    """A slider over the months or years of an encoder, and the field of what changes between two.

    Parameters
    ----------
    on_choose : callable
        Called with the text of the chosen one; empty for none.
    """

    before = param.Selector(default="", objects=[""], doc="the earlier of the two")
    after = param.Selector(default="", objects=[""], doc="the later of the two")
    between = param.String("", doc="the two that are compared, as 'before,after'; empty: none")
    land_only = param.Boolean(True, doc="leave out the sea, which training hardly sampled")

    _tick = param.Integer(0, doc="counts fields that became ready")

    def __init__(self, encoder: Any, on_choose: Callable[[str], object], **params: Any) -> None:
        self._on_choose = on_choose
        super().__init__(encoder, **params)
        self._background = Background()
        self._pair: tuple[str, Any, Any] | None = None
        self._wished = ""
        self._asked: Any = None
        self._offer()

    def options(self) -> dict[str, str]:
        """Return the times of the encoder, words to text; empty where it has none."""
        times = self.encoder.times
        if times is None or self.encoder.origin is None:
            return {}
        offered = {words_of(times.option, step): str(step) for step in times.steps}
        if times.option == "month":
            offered = {SEASONS: ""} | offered
        chosen = time_text(self.encoder)
        return offered if chosen in offered.values() else offered | {chosen: chosen}

    @param.depends("encoder", watch=True)
    def _offer(self) -> None:
        """Offer the times of another encoder; what was compared of the same one stays."""
        if self._pair is not None and at_two_times(self._pair[1], self.encoder):
            return
        self._pair = self._asked = None
        times = self.encoder.times if self.options() else None
        options = {words_of(times.option, s): str(s) for s in times.steps} if times else {"": ""}
        texts = list(options.values())
        # January and July; of years, the first and the last.
        apart = 6 if len(texts) == 12 else len(texts) - 1
        with param.parameterized.batch_call_watchers(self):
            self.param.before.objects = self.param.after.objects = options
            self.param.update(before=texts[0], after=texts[apart], between="")
        wished, self._wished = self._wished, ""
        self.param.update(between=wished, message="")

    @param.depends("before", "after", watch=True)
    def _compare_others(self) -> None:
        if self.between:
            self.compare()

    def compare(self, _: Any = None) -> None:
        """Show what changes between the two that are chosen."""
        self.between = f"{self.before},{self.after}"

    def put_away(self, _: Any = None) -> None:
        """Put the field away."""
        self._background.stop()
        self._asked = None
        self.param.update(between="", busy="", message="")

    @param.depends("between", watch=True)
    def _follow(self) -> None:
        """Take over which two an address names, once its encoder is there."""
        before, _, after = self.between.partition(",")
        offered = self.param.before.objects
        if before in offered and after in offered:
            self.param.update(before=before, after=after)
        elif self.between:
            self._wished = self.between
            self.param.update(
                between="", message=f"{self.encoder.name} does not have the two times of this link."
            )

    def grid(self) -> Grid:
        """Return the pixels of the field: the view that all rasters share."""
        return Grid(plots.twice_as_wide(self.selection.bounds), SHAPE)

    def field(self) -> xr.DataArray | None:
        """Return the field where it is at hand, else start computing it."""
        if not self.between:
            return None
        grid = self.grid()
        if self._pair is not None and self._pair[0] == self.between:
            found = RESULTS.peek(("change", *self._pair[1:], grid))
            if found is not None:
                return found
        if self._asked != (self.between, grid):
            self._asked = (self.between, grid)
            pn.state.onload(self._start)
        return None

    def _start(self) -> None:
        encoder, between, grid = self.encoder, self.between, self.grid()
        self.busy = "encoding both times …"

        def work(job: Job) -> tuple[Any, ...]:
            pair = pair_of(encoder, between)
            RESULTS.get(
                ("change", *pair, grid),
                lambda: change_raster(*pair, grid=grid, progress=job.check),
                job.check,
            )
            return pair

        def done(pair: tuple[Any, ...]) -> None:
            self._pair = (between, *pair)
            self.param.update(busy="", message="", _tick=self._tick + 1)

        def failed(error: ValueError) -> None:
            self._asked = None
            self.param.update(busy="", message=str(error))

        self._background.start(work, done, failed)

    def shown(self) -> np.ndarray | None:
        """Return the values that are drawn, (H, W), NaN where nothing is; None until they are."""
        field = self.field()
        if field is None:
            return None
        return np.where(land_mask(self.grid()), field, np.nan) if self.land_only else field.values

    def image(self, **_: Any) -> hv.Image:
        """Draw the field; empty until it is there."""
        values = self.shown()
        values = NOTHING if values is None else values
        top = top_of(values)
        image = hv.Image(values, bounds=self.grid().bounds, kdims=["lon", "lat"], vdims=["change"])
        return image.opts(clim=(0.0, top))

    @param.depends("between", "encoder", "_tick", "selection.bounds", "land_only")
    def legend(self) -> str:
        """Say in words, as markup, what the colors mean and how much changes."""
        values = self.shown()
        if values is None:
            return ""
        known = values[np.isfinite(values)]
        if not len(known):
            return "<span class='hint'>There is no data at both times in this view.</span>"
        half, tenth = np.quantile(known, (0.5, 0.9))
        before, after = (self._words(text) for text in self.between.split(","))
        said = (
            f"From {before} to {after}, half of what is shown turns by less than {half:.2g} and a "
            f"tenth by more than {tenth:.2g}, as one minus the cosine: 0 is the same embedding, "
            f"1 one that has nothing in common. Brightest: {top_of(values):.2g} and more."
        )
        return f"<span class='hint'>{theme.escape(said)}</span>"

    def _words(self, text: str) -> str:
        return next((words for words, each in self.options().items() if each == text), text)

    def downloads(self) -> list[Choice]:
        """List what the field can be had as."""
        encoder, between, grid = self.encoder, self.between, self.grid()
        before, after = pair_of(encoder, between)

        def field(check: Any) -> xr.DataArray:
            return change_raster(before, after, grid=grid, progress=check)

        lines = [
            f"grid = {cells.call('sx.Grid', grid.bounds, grid.shape)}",
            "field = sx.change_raster(before, after, grid=grid)",
            "field.plot.imshow(vmin=0)",
        ]
        return [
            *raster_choices(field, lambda check: _painted(field(check)),
                            stem(timeless_name(encoder), "change", between),
                            f"{grid.shape[1]} × {grid.shape[0]} pixels: one minus the cosine"),
            code_choice(cells.cell({"before": before, "after": after}, *lines)),
        ]  # fmt: skip

    def view(self) -> Any:
        """Return the raster with coastlines and the selected place."""
        follow = {name: f"now_{name}" for name in ("encoder", "between", "land_only", "_tick")}
        streams = [
            hv.streams.Params(self.selection, ["bounds"]),
            hv.streams.Params(self, [*follow], rename=follow),
        ]
        raster = hv.DynamicMap(self.image, streams=streams).opts(
            hv.opts.Image(cmap=list(theme.SIMILARITY), colorbar=False,
                          clipping_colors={"NaN": "#00000000"})
        )  # fmt: skip
        same = plots.SameView(self.selection)
        return plots.on_globe(raster, self.selection, alpha=0.4, **same.limits(),
                              hooks=[plots.dark, earth_beneath, same.hook])  # fmt: skip

    def _slider(self) -> Any:
        slider = pmui.DiscreteSlider(
            label="", options=self.options() or {"": ""}, value=time_text(self.encoder),
            theme_config=theme.MATERIAL, size="small", margin=(0, 14), sizing_mode="stretch_width",
            styles={"flex": "1 1 260px", "min-width": "200px", "width": "auto"},
        )  # fmt: skip

        def follow(_: Any) -> None:
            options = self.options() or {"": ""}
            slider.param.update(options=options, value=time_text(self.encoder))

        self.param.watch(follow, "encoder")
        slider.param.watch(lambda _: self._on_choose(slider.value), "value_throttled")
        return slider

    def __panel__(self) -> Any:
        opened = self.param.between.rx.bool()
        choices = pn.FlexBox(
            self._slider(),
            theme.select(self.param.before, "From", 120),
            theme.select(self.param.after, "To", 120),
            theme.button("Show what changes", self.compare, visible=opened.rx.not_()),
            theme.button("Close", self.put_away, visible=opened),
            pn.Row(DownloadMenu(self.downloads), visible=opened, margin=0),
            align_items="center", gap="4px 6px", margin=0, sizing_mode="stretch_width",
        )  # fmt: skip
        shown = theme.card(
            "Time", choices, self.status(),
            hint="move the slider: every picture shows the encoder at that time",
            visible=self.param.encoder.rx().rx.pipe(lambda _: bool(self.options())),
        )  # fmt: skip
        shown.styles = shown.styles | {"flex": "0 0 auto", "margin-bottom": "8px"}
        drawn: list[Any] = []

        def draw(*_: Any) -> None:
            if self.between and not drawn:
                plot = plots.plot_pane(self.view())
                plot.styles = plot.styles | {"max-width": "760px"}
                scale = theme.color_scale(theme.SIMILARITY, "as it was", "changed most")
                drawn.extend([plot, scale, theme.text(self.legend, sizing_mode="stretch_width")])
                shown.extend(drawn)
            for part in drawn:
                part.visible = bool(self.between)

        self.param.watch(draw, "between")
        draw()
        return shown


def pair_of(encoder: Any, between: str) -> tuple[Any, Any]:
    """Return an encoder at two times, written as 'before,after'."""
    before, after = (load_at(encoder, text) for text in between.split(","))
    return before, after


def words_of(option: str, step: Any) -> str:
    """Write a month as its name, anything else as it is."""
    return calendar.month_name[step] if option == "month" else str(step)


def top_of(values: np.ndarray) -> float:
    """Return the change that is drawn brightest: all but the largest fiftieth lie below it."""
    known = values[np.isfinite(values)]
    return max(float(np.quantile(known, 0.98)), 1e-6) if len(known) else 1.0


def _painted(field: xr.DataArray) -> xr.DataArray:
    """Color a field as the page does: clear where nothing is known."""
    values, palette = field.to_numpy(), plots.rgb(theme.SIMILARITY)
    known = np.isfinite(values)
    steps = np.where(known, values / top_of(values), 0.0) * len(palette)
    colors = np.zeros((*values.shape, 4), dtype=np.uint8)
    colors[..., :3] = palette[steps.astype(int).clip(0, len(palette) - 1)]
    colors[..., 3] = np.where(known, 255, 0)
    return colored(colors, field)

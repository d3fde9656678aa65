"""Two to four encoders side by side: the same view, the same place, one color scheme each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import holoviews as hv
import numpy as np
import panel as pn
import panel_material_ui as pmui
import param

from satclip_explore.geo import GLOBE, Grid
from satclip_explore.panes import plots, theme, world
from satclip_explore.panes.background import Background, Job
from satclip_explore.panes.base import Pane

MOST = 4


class ComparePane(Pane):
    """Principal components of several encoders with linked pan and zoom.

    Parameters
    ----------
    encoder : LocationEncoder
        The first one.
    names : sequence of str
        Encoders that can be chosen.
    load : callable
        Turns a name into an encoder; a ValueError is shown.
    """

    chosen = param.List([], item_type=str, doc="two to four names")
    land_only = param.Boolean(True, doc="leave out the sea")

    _tick = param.Integer(0, doc="counts globes that became ready")

    def __init__(
        self,
        encoder: Any,
        names: list[str] | None = None,
        load: Callable[[str], Any] | None = None,
        **params: Any,
    ) -> None:
        self._names = names or [encoder.name]
        self._load = load
        self._encoders: dict[str, Any] = {encoder.name: encoder}
        others = [name for name in self._names if name != encoder.name][:1]
        params.setdefault("chosen", [encoder.name, *others])
        super().__init__(encoder, **params)
        self._background = Background()
        self._asked: set[str] = set()

    def encoders(self) -> Mapping[str, Any]:
        """Return the chosen encoders that are loaded, by name."""
        return {name: self._encoders[name] for name in self.chosen if name in self._encoders}

    def image(self, name: str, **_: Any) -> hv.RGB:
        """Show the globe of one encoder; empty until it has been encoded."""
        encoder = self._encoders.get(name)
        key = None if encoder is None else world.world_key(encoder, (0, 1, 2), 1.0)
        field = None if key is None else world.kept(key)
        if field is None:
            self._encode()
            colors = _BLANK
        else:
            grid = Grid(GLOBE, field.shape[:2])
            colors = world.rgba(field.to_numpy(), grid, self.land_only)
        return world.picture(colors, GLOBE)

    def _encode(self) -> None:
        missing = [name for name in self.chosen if name not in self._asked]
        if not missing:
            return
        self._asked.update(missing)
        self.busy = f"encoding {', '.join(missing)} …"

        def work(job: Job) -> None:
            for name in missing:
                if name not in self._encoders:
                    self._encoders[name] = self._load(name)
                world.world_picture(self._encoders[name], progress=job.check)
                job.deliver(lambda: self.param.update(_tick=self._tick + 1))

        def failed(error: ValueError) -> None:
            self.param.update(busy="", message=str(error))

        self._background.start(work, lambda _: self.param.update(busy=""), failed)

    @param.depends("chosen")
    def view(self) -> Any:
        """Arrange the globes; pan and zoom of one move all."""
        if len(self.chosen) < 2:
            return theme.hint("Choose two to four encoders.")
        ranges: dict[str, Any] = {}
        cells = []
        for name in self.chosen[:MOST]:
            raster = hv.DynamicMap(
                lambda name=name, **_: self.image(name),
                streams=[hv.streams.Params(self, ["_tick", "land_only"], rename={"_tick": "tick"})],
            )
            link = plots.linked_ranges(ranges)
            overlay = plots.on_globe(raster, self.selection, hooks=[plots.dark, link])
            title = theme.text(f"<span class='title'>{theme.escape(name)}</span>")
            cell = pn.Column(title, plots.plot_pane(overlay), margin=0, styles={
                "flex": "1 1 46%", "min-width": "min(100%, 320px)", "width": "auto"})  # fmt: skip
            cells.append(cell)
        return pn.FlexBox(*cells, gap="10px", sizing_mode="stretch_width", margin=0)

    def __panel__(self) -> Any:
        choose = pmui.MultiChoice.from_param(
            self.param.chosen, options=self._names, label="Encoders", max_items=MOST, width=460,
            margin=(4, 2), description="",
        )  # fmt: skip
        return theme.card(
            "Side by side", self.view, self.status(), hint="pan, zoom and click move all",
            actions=(choose,),
        )  # fmt: skip


_BLANK = np.zeros((2, 4, 4), dtype=np.uint8)

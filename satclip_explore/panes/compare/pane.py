"""Two to four encoders side by side: the same view, how alike they are, what each one knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from functools import partial
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
import param

from satclip_explore.comparison import N_SAMPLES, compare_encoders
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.geo import GLOBE, Grid
from satclip_explore.panes import theme, world
from satclip_explore.panes.background import TRAININGS, Background, Job
from satclip_explore.panes.base import Pane
from satclip_explore.panes.compare import views as compare_views
from satclip_explore.panes.compare.downloads import offer
from satclip_explore.panes.compare.near import NearView
from satclip_explore.panes.download_menu import DownloadMenu
from satclip_explore.store import RESULTS
from satclip_explore.times import timeless_name
from training.probe import train_probe
from training.probes.losses import Losses
from training.probes.registry import MENU
from training.tasks.atlas import list_tasks

MOST = 4
TASKS = {name.replace("_", " "): name for name in list_tasks().index}
COMPUTED = ("harmonics-l20", "random-l20")
"""Offered beside the registered ones: between L = 10 and L = 40."""

RESOLUTION = 0.5
"""Degrees per pixel of a globe: beside another one it is at most some 700 pixels wide."""

HOLD_OUTS = {
    "half of the places, at random": "random",
    "Africa, but for 1 %": "Africa",
    "South America, but for 1 %": "South America",
    "Asia, but for 1 %": "Asia",
}


class ComparePane(Pane):
    """Encoders beside one another: rasters, CKA and shared neighbors, probes of any task.

    Parameters
    ----------
    encoder : LocationEncoder
        The first one.
    names : sequence of str
        Encoders that can be chosen.
    load : callable
        Turns a name into an encoder; a ValueError is shown.
    """

    names = param.List([], item_type=str, doc="encoders that can be chosen")
    chosen = param.List([], item_type=str, doc="two to four names")
    layout = param.Selector(default="beside", objects={"Beside": "beside", "Swipe": "swipe"})
    land_only = param.Boolean(True, doc="leave out the sea")
    task = param.Selector(default="biome", objects=TASKS, doc="what the probes predict")
    model = param.Selector(default="linear", objects=dict(MENU), doc="the small model")
    hold_out = param.Selector(
        default="random", objects=HOLD_OUTS, doc="where the probes are tested"
    )

    comparison = param.Parameter(doc="how the chosen encoders compare, once there is a result")
    result = param.Parameter(doc="the ProbeResult, once there is one")
    probing = param.String("", doc="how far the probes are; empty when none are trained")
    problem = param.String("", doc="why the probes could not be trained, as a sentence")

    _tick = param.Integer(0, doc="counts globes that became ready")
    _not_settings: tuple[str, ...] = (
        *Pane._not_settings,
        "names",
        "comparison",
        "result",
        "probing",
        "problem",
    )

    def __init__(
        self,
        encoder: Any,
        names: list[str] | None = None,
        load: Callable[[str], Any] = load_encoder,
        **params: Any,
    ) -> None:
        listed = names or [encoder.name]
        names = list(dict.fromkeys([*listed, *COMPUTED]))
        self._load = load
        self._encoders: dict[str, Any] = {encoder.name: encoder}
        self._originals = dict(self._encoders)
        others = [name for name in names if name != encoder.name][:1]
        params.setdefault("chosen", [encoder.name, *others])
        super().__init__(encoder, names=names, **params)
        self._background, self._probes = Background(), Background(TRAININGS)
        self.near = NearView(self._closer, lambda error: self.param.update(message=str(error)))
        self._asked: tuple[object, ...] = ()
        self._open = False

    @param.depends("encoder", watch=True)
    def _lead(self) -> None:
        """Put the page's encoder first; the last one makes room, and that is said."""
        name, first = self.offer(self.encoder), self._encoders.get(self.chosen[0])
        if (
            first is not None
            and first.times
            and timeless_name(first) == timeless_name(self.encoder)
        ):
            # Another month of the page's encoder takes its own place.
            self.chosen = list(dict.fromkeys([name, *self.chosen[1:]]))
            return
        others = [other for other in self.chosen if other != name]
        chosen = [name, *others][: max(2, len(self.chosen))]
        gone = [other for other in others if other not in chosen]
        self.chosen = chosen
        if gone:
            self.message = f"{name} takes the place of {gone[0]}."

    @param.depends("chosen", watch=True)
    def _keep_to_four(self) -> None:
        """Refuse a fifth encoder in words, and keep the four that are shown."""
        if len(self.chosen) > MOST:
            more = ", ".join(self.chosen[MOST:])
            self.chosen = self.chosen[:MOST]
            self.message = f"{MOST} encoders fit side by side: take one away before adding {more}."
        # An address may name one at a month of its own.
        self.names = list(dict.fromkeys([*self.names, *self.chosen]))

    def encoders(self) -> Mapping[str, Any]:
        """Return the chosen encoders that are loaded, by name."""
        return {name: self._encoders[name] for name in self.chosen if name in self._encoders}

    def offer(self, encoder: Any) -> str:
        """Let an encoder be chosen too, e.g. the one that was just trained.

        Returns
        -------
        str
            What it is called here: another one of the same name gets a number.
        """
        name, number = encoder.name, 1
        while not _same(self._originals.get(name, encoder), encoder):
            number += 1
            name = f"{encoder.name} ({number})"
        self._keep(name, encoder)
        if name not in self.names:
            self.names = [*self.names, name]
        return name

    def _keep(self, name: str, encoder: Any) -> None:
        """Keep an encoder under the name that it has here: two files may both be last.ckpt."""
        self._originals[name] = encoder
        if encoder.name != name:
            encoder = copy(encoder)
            encoder.name = name
        self._encoders[name] = encoder

    def image(self, name: str, x_range: Any = None, y_range: Any = None, **_: Any) -> Any:
        """Show the globe of one encoder; empty until it has been encoded.

        Ranges in degrees come with the first globe: where they are narrow, all are encoded afresh.
        """
        if x_range is not None and y_range is not None:
            self.near.look(x_range, y_range, self.encoders())
        encoder = self._encoders.get(name)
        globe = None if encoder is None else self._globe(encoder)
        if globe is None:
            return world.picture(compare_views.BLANK, GLOBE)
        grid, colors = self.near.raster(name) or (Grid(GLOBE, globe.shape[:2]), globe)
        return world.picture(world.rgba(colors[..., :3], grid, self.land_only), grid.bounds)

    def _globe(self, encoder: Any) -> np.ndarray | None:
        """Return the colors of a globe that is at hand, (H, W, 3 or 4), or None."""
        return world.kept_globe(encoder, land_only=self.land_only, resolution=RESOLUTION)

    def _closer(self) -> None:
        self._tick += 1

    @param.depends("chosen", "land_only", watch=True)
    def prepare(self) -> None:
        """Encode the globes of the chosen encoders and compare them, beside the page."""
        chosen = tuple(self.chosen[:MOST])
        asked = (*chosen, self.land_only)  # the globe that ships is of the land
        if len(chosen) < 2 or asked == self._asked or not self._open:
            return
        self._asked = asked
        self._probes.stop()
        self.param.update(
            comparison=None, result=None, probing="", problem="", message="", busy="encoding …"
        )

        def work(job: Job) -> Any:
            for name in chosen:
                job.check()
                job.deliver(partial(self.param.update, busy=f"encoding {name} …"))
                if name not in self._encoders:
                    self._keep(name, self._load(name))
                encoder = self._encoders[name]
                if self._globe(encoder) is None:
                    world.world_picture(encoder, progress=job.check, resolution=RESOLUTION)
                job.deliver(lambda: self.param.update(_tick=self._tick + 1))
            encoders = [self._encoders[name] for name in chosen]
            job.deliver(lambda: self.param.update(busy=f"comparing at {N_SAMPLES:,} places …"))
            return RESULTS.get(
                ("comparison", *encoders),
                lambda: compare_encoders(encoders, progress=job.check),
                job.check,
            )

        def failed(error: ValueError) -> None:
            self._asked = ()
            self.param.update(busy="", message=str(error))

        self._background.start(
            work, lambda found: self.param.update(busy="", comparison=found), failed
        )

    def probe(self, _: Any = None) -> None:
        """Train a probe of the task on every chosen encoder; a second start replaces the first."""
        chosen, task, model = self.chosen[:MOST], self.task, self.model
        region = None if self.hold_out == "random" else self.hold_out
        if len(chosen) < 2:
            self.problem = "choose two to four encoders first."
            return
        self.param.update(probing="starting …", problem="", result=None)

        def work(job: Job) -> Any:
            for name in chosen:
                job.check()
                if name not in self._encoders:
                    self._keep(name, self._load(name))
            encoders = [self._encoders[name] for name in chosen]

            def on_progress(losses: Losses) -> None:
                words = f"{losses.encoder} … {losses.share:.0%}"
                job.deliver(lambda: self.param.update(probing=words))

            return train_probe(
                task, encoder=encoders[0], encoders=encoders[1:], baselines=("nearest",),
                model=model, region=region, seeds=3, on_progress=on_progress, cancel=job,
            )  # fmt: skip

        def failed(error: ValueError) -> None:
            self.param.update(probing="", problem=str(error))

        self._probes.start(work, lambda found: self.param.update(probing="", result=found), failed)

    def stop(self, _: Any = None) -> None:
        """Stop the probes; what was shown before is gone."""
        self._probes.stop()
        if self.probing:
            self.param.update(probing="", problem="Stopped.")

    @param.depends("chosen", "layout")
    def view(self) -> Any:
        """Arrange the globes; pan and zoom of one move all."""
        chosen = self.chosen[:MOST]
        # New figures show the whole globe.
        self.near.forget()
        if len(chosen) < 2:
            return theme.hint("Choose two to four encoders.")
        # On a served page the first figure comes first, and nothing is computed for a hidden page.
        self._open = True
        pn.state.onload(self.prepare)
        if self.layout == "swipe":
            left_out = chosen[2:]
            shown = compare_views.swipe(self, chosen[:2])
            if left_out:
                words = f"Swipe shows the first two, without {' and '.join(left_out)}."
                shown.insert(0, theme.hint(words))
            return shown
        return compare_views.beside(self, chosen)

    @param.depends("comparison")
    def statistics(self) -> Any:
        """Show how alike the encoders are on the same places."""
        if self.comparison is None:
            return theme.hint("" if len(self.chosen) < 2 else "Comparing …")
        return compare_views.statistics(self.comparison)

    @param.depends("result", "probing", "problem")
    def scores(self) -> str:
        """Write the scores of the probes, how far they are, or what went wrong."""
        if self.problem:
            return f"<div class='sentence' role='alert'>{theme.escape(self.problem)}</div>"
        if self.probing:
            return f"<div class='busy'>training {theme.escape(self.probing)}</div>"
        if self.result is None:
            return (
                "<span class='hint'>Train a small model on each encoder, on the same places, and "
                "see which one knows the task best.</span>"
            )
        return compare_views.scores(self.result, self.chosen)

    def __panel__(self) -> Any:
        choose = pmui.MultiChoice.from_param(
            self.param.chosen, options=self.param.names, label="Two to four encoders",
            max_items=MOST, margin=(4, 2), description="", theme_config=theme.MATERIAL,
            sizing_mode="stretch_width", styles={"flex": "1 1 300px", "min-width": "260px"},
        )  # fmt: skip
        arrange = pmui.RadioButtonGroup.from_param(
            self.param.layout, label="", size="small", margin=(4, 2), description="",
            color="primary", theme_config=theme.MATERIAL,
        )  # fmt: skip
        controls = pn.FlexBox(choose, arrange, align_items="center", gap="4px 10px",
                              sizing_mode="stretch_width", margin=(0, 0, 6, 0))  # fmt: skip
        maps = theme.card("Side by side", controls, self.status(), self.view,
                          hint="pan, zoom, or click one and all follow",
                          actions=(DownloadMenu(lambda: offer(self)),))  # fmt: skip
        alike = theme.card(
            "How alike are they?", self.statistics,
            hint="on the same land places, uniform by area",
        )  # fmt: skip
        settings = pn.FlexBox(
            theme.select(self.param.task, "Predict", 150),
            theme.select(self.param.hold_out, "Test on", 260),
            theme.select(self.param.model, "Small model", 200),
            theme.button("Train on each", self.probe, strong=True),
            theme.button("Stop", self.stop),
            align_items="center", sizing_mode="stretch_width", margin=(0, 0, 6, 0),
        )  # fmt: skip
        table = theme.text(self.scores, sizing_mode="stretch_width")
        probes = theme.card("What does each know?", settings, table)
        return pn.Column(maps, alike, probes, margin=0, sizing_mode="stretch_width",
                         styles={"gap": "8px", "max-height": "none"})  # fmt: skip


def _same(first: Any, second: Any) -> bool:
    """Tell whether two encoders are one: the same object, or the same weights."""
    return first is second or bool(first.weights_hash and first.weights_hash == second.weights_hash)

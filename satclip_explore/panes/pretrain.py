"""Train an encoder of your own and watch the globe fill with color, epoch by epoch."""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path
from typing import Any

import holoviews as hv
import numpy as np
import panel as pn
import param

from satclip_explore.geo import GLOBE, Grid
from satclip_explore.panes import plots, theme, world
from satclip_explore.panes.background import Background, Job
from satclip_explore.panes.base import Pane
from satclip_explore.projection import pca_raster
from training.pretrain import Cancelled, Progress, pretrain

CONFIGS = {
    "laptop: L = 10, minutes on two cores": "laptop",
    "mini-l10": "mini-l10",
    "mini-l40": "mini-l40",
    "SatCLIP L = 10, for a GPU": "satclip-l10",
    "SatCLIP L = 40, for a GPU": "satclip-l40",
}
BATCH_SECONDS = 0.2


class PretrainPane(Pane):
    """Starts, shows and stops a pretraining run on this machine.

    Parameters
    ----------
    runs : path
        Folder of the results; the folder of a run is never chosen from the page.
    on_encoder : callable, optional
        Called with the folder of a finished run.
    """

    config = param.Selector(default="laptop", objects=CONFIGS, doc="what to train")
    data = param.String("", doc="folder of the imagery on this machine")
    epochs = param.Integer(0, bounds=(0, 10_000), doc="0: as the configuration says")

    progress = param.Parameter(doc="the last Progress of the run")
    _points = param.List([], doc="(step, loss) so far")
    _epochs = param.List([], doc="(epoch, validation recall at 1) so far")
    _globe = param.Array(default=None, allow_None=True, doc="colors of the current epoch")

    _not_settings = (*Pane._not_settings, "progress")

    def __init__(
        self, encoder: Any = None, runs: str | Path = "runs", on_encoder: Any = None, **params: Any
    ) -> None:
        self._runs, self._on_encoder = Path(runs), on_encoder
        super().__init__(encoder, **params)
        self._background = Background()
        self._cancel = threading.Event()

    def start(self, _: Any = None) -> None:
        """Train in the background, going on where an earlier run of these settings stopped."""
        settings = {"epochs": self.epochs} if self.epochs else {}
        config, data, output = self.config, self.data.strip() or None, self._runs / self.config
        self._cancel = cancel = threading.Event()
        self.param.update(busy="starting …", message="", _points=[], _epochs=[], _globe=None)

        def work(job: Job) -> Path:
            points: list[tuple[int, float]] = []
            last = 0.0

            def on_step(progress: Progress) -> None:
                nonlocal last
                if job.stopped:
                    cancel.set()
                if math.isfinite(progress.loss):
                    points.append((progress.step, progress.loss))
                if time.monotonic() - last >= BATCH_SECONDS:
                    last = time.monotonic()
                    shown = points[:: max(1, len(points) // 500)]
                    job.deliver(lambda: self._show(progress, shown))

            def on_epoch(progress: Progress) -> None:
                colors = pca_raster(progress.encoder, 1.0).to_numpy()
                job.deliver(lambda: self._show_epoch(progress, colors))

            try:
                return pretrain(config, data=data, output=output, on_step=on_step,
                                on_epoch=on_epoch, cancel=cancel, **settings)  # fmt: skip
            except (Cancelled, FileNotFoundError, OSError, ImportError) as error:
                raise ValueError(str(error) or "Stopped before the first epoch.") from error

        def done(folder: Path) -> None:
            self.param.update(busy="", message="")
            if self._on_encoder is not None:
                self._on_encoder(folder)

        def failed(error: ValueError) -> None:
            self.param.update(busy="", message=str(error))

        self._background.start(work, done, failed)

    def stop(self, _: Any = None) -> None:
        """Stop cleanly; the last checkpoint stays."""
        self._cancel.set()
        if self.busy:
            self.busy = "stopping after this step; the last checkpoint stays …"

    def _show(self, progress: Progress, points: list[tuple[int, float]]) -> None:
        words = (
            f"{progress.stage}: epoch {progress.epoch} of {progress.epochs}, "
            f"step {progress.step:,} of {progress.steps:,}, "
            f"{progress.places_per_second:,.0f} places per second"
        )
        if math.isfinite(progress.seconds_left):
            words += f", about {_duration(progress.seconds_left)} left"
        busy = self.busy if self._cancel.is_set() else words
        self.param.update(progress=progress, _points=points, busy=busy)

    def _show_epoch(self, progress: Progress, colors: np.ndarray) -> None:
        recall = progress.validation.recall_at_1 if progress.validation else math.nan
        self.param.update(_epochs=[*self._epochs, (progress.epoch, recall)], _globe=colors)

    @param.depends("_points")
    def loss(self) -> hv.Curve:
        """Return the loss of each step so far."""
        return _line(self._points, "step", "contrastive loss", theme.ACCENT)

    @param.depends("_epochs")
    def recall(self) -> hv.Curve:
        """Return the share of unseen images found at first try, per epoch."""
        return _line(self._epochs, "epoch", "recall at 1", theme.COOL)

    def image(self, **_: Any) -> hv.RGB:
        """Return the globe as the encoder of the last epoch sees it."""
        if self._globe is None:
            return world.picture(np.zeros((2, 4, 4), dtype=np.uint8), GLOBE)
        grid = Grid(GLOBE, self._globe.shape[:2])
        return world.picture(world.rgba(self._globe, grid, land_only=True), GLOBE)

    def __panel__(self) -> Any:
        controls = pn.FlexBox(
            theme.select(self.param.config, "Train", 250),
            theme.text_input(self.param.data, "Folder of the imagery", 300,
                             placeholder="on the machine that runs this page"),
            theme.select(self.param.epochs, "Epochs", 130,
                         options={"as configured": 0, "1": 1, "2": 2, "5": 5, "50": 50}),
            theme.button("Start", self.start, strong=True), theme.button("Stop", self.stop),
            align_items="center", sizing_mode="stretch_width", margin=(0, 0, 6, 0),
        )  # fmt: skip
        raster = hv.DynamicMap(
            self.image, streams=[hv.streams.Params(self, ["_globe"], rename={"_globe": "colors"})]
        )
        globe = plots.plot_pane(plots.on_globe(raster, self.selection))
        globe.styles = globe.styles | {"flex": "2 1 480px", "min-width": "min(100%, 320px)"}
        charts = pn.Column(
            pn.pane.HoloViews(hv.DynamicMap(self.loss), height=190, sizing_mode="stretch_width"),
            pn.pane.HoloViews(hv.DynamicMap(self.recall), height=190, sizing_mode="stretch_width"),
            margin=0, styles={"flex": "1 1 320px", "min-width": "min(100%, 320px)"},
        )  # fmt: skip
        return theme.card(
            "Train your own", controls, self.status(),
            pn.FlexBox(globe, charts, gap="10px", sizing_mode="stretch_width", margin=0),
            hint="one run on this machine; every epoch leaves a checkpoint",
        )  # fmt: skip


def _line(points: list[Any], across: str, up: str, color: str) -> hv.Curve:
    rows = points or [(0, math.nan)]
    return hv.Curve(rows, across, up).opts(
        color=color, responsive=True, toolbar=None, shared_axes=False, framewise=True,
        hooks=[plots.dark_axes], line_width=2,
    )  # fmt: skip


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"

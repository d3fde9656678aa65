"""Train an encoder of your own and watch the globe fill with color, epoch by epoch."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import holoviews as hv
import numpy as np
import panel as pn
import panel_material_ui as pmui
import param

from satclip_explore.errors import Offer, sentence
from satclip_explore.geo import GLOBE, Grid
from satclip_explore.panes import plots, theme, world
from satclip_explore.panes.background import TRAININGS, Background, Job
from satclip_explore.panes.base import Pane
from satclip_explore.panes.furniture import earth_beneath
from satclip_explore.panes.losses import loss_chart
from satclip_explore.panes.pretrain import views
from satclip_explore.panes.pretrain.imagery_choice import (
    BLUE_MARBLE,
    FOLDER,
    ImageryChoice,
)
from satclip_explore.panes.served.settings import SETTINGS
from satclip_explore.steady_colors import SteadyColors
from training.pretrain import Cancelled, TrainingProgress, pretrain
from training.pretraining.checkpoint import STATE_FILE
from training.pretraining.config import load_config

CONFIGS = {
    "laptop, L = 10: minutes on two cores": "laptop",
    "as mini-l10, the embedded encoder": "mini-l10",
    "as mini-l40, the embedded encoder": "mini-l40",
    "as mini-satclip-l10: contrast alone": "mini-satclip-l10",
    "SatCLIP L = 10 on S2-100K, for a GPU": "satclip-l10",
    "SatCLIP L = 40 on S2-100K, for a GPU": "satclip-l40",
}
EPOCHS = {"as set": 0, "1": 1, "2": 2, "5": 5, "20": 20, "100": 100}
STAGES = {
    "imagery": "opening the imagery …",
    "features": "describing the images, once",
    "preparing": "whitening the features …",
    "resumed": "resuming the earlier run",
    "training": "training",
}
OFFERS = {
    Offer.START_OVER: "Tick “Start over” to train anew.",
    Offer.DOWNLOAD: "Press “Download” under Imagery first."
    if SETTINGS.fetch
    else "This server fetches nothing for its readers.",
}
"""How this page says what answers an error."""
BATCH_SECONDS = 0.2
RASTER_DEGREES = 1.0


RUNS = Path("runs")
"""Where results lie, below the folder that the server was started in."""


def finished_runs(runs: Path = RUNS) -> dict[str, Path]:
    """Return the folders of runs that left a checkpoint, by the names of their encoders."""
    folders = sorted(file.parent for file in runs.glob(f"*/{STATE_FILE}"))
    return {folder.name: folder for folder in folders}


class PretrainPane(Pane):
    """Starts, shows and stops a pretraining run on this machine.

    Parameters
    ----------
    runs : path
        Folder of the results; the folder of a run is never chosen from the page.
    imagery : ImageryChoice, optional
        What the run looks at.
    on_encoder : callable, optional
        Called with the folder of a run that was finished or stopped.
    """

    config = param.Selector(default="laptop", objects=CONFIGS, doc="what to train")
    epochs = param.Selector(default=0, objects=EPOCHS, doc="0: as the configuration says")
    fresh = param.Boolean(False, doc="forget what an earlier run of these settings learned")

    running = param.Boolean(False, doc="whether a run is under way")
    progress = param.Parameter(doc="the last TrainingProgress of the run")
    outcome = param.String("", doc="how the last run ended, as a sentence")
    _points = param.List([], doc="(step, loss) so far")
    _epochs = param.List([], doc="(epoch, validation recall at 1, 5, 10, scores by task) so far")
    _globe = param.Array(default=None, allow_None=True, doc="colors of the current epoch")

    _not_settings: tuple[str, ...] = (*Pane._not_settings, "progress", "running", "outcome")

    def __init__(
        self,
        encoder: Any = None,
        runs: str | Path = RUNS,
        imagery: ImageryChoice | None = None,
        on_encoder: Any = None,
        **params: Any,
    ) -> None:
        self._runs, self._on_encoder = Path(runs), on_encoder
        self.imagery = imagery or ImageryChoice()
        super().__init__(encoder, **params)
        self._background = Background(TRAININGS)
        self._cancel = threading.Event()

        self.imagery.param.watch(self._offered, ["kind", "left", "fetching"])

    def _offered(self, _: Any) -> None:
        self.message = ""

    @param.depends("config", watch=True)
    def _suggest(self) -> None:
        """Sentinel-2 is nothing that this page could fetch."""
        if self.config.startswith("satclip-"):
            self.imagery.kind = FOLDER

    def run_name(self) -> str:
        """Name a run after its settings: its folder, and its encoder in the switch."""
        parts = ["my", self.config]
        parts += [self.imagery.kind] if self.imagery.kind != BLUE_MARBLE else []
        parts += [f"{self.epochs}-epochs"] if self.epochs else []
        return "-".join(parts)

    def start(self, _: Any = None) -> None:
        """Train in the background, going on where an earlier run of these settings stopped."""
        if self.running:
            return
        name = self.run_name()
        settings = {"name": name} | ({"epochs": self.epochs} if self.epochs else {})
        config, output, fresh = self.config, self._runs / name, self.fresh
        self._cancel = cancel = threading.Event()
        self.imagery.message = ""
        self.param.update(
            running=True, busy="starting …", message="", outcome="", progress=None, fresh=False,
            _points=[], _epochs=[], _globe=None,
        )  # fmt: skip

        def work(job: Job) -> Path:
            points: list[tuple[int, float]] = []
            colors = SteadyColors(RASTER_DEGREES)
            last = 0.0

            def show(progress: TrainingProgress) -> None:
                shown = points[:: max(1, len(points) // 500)]
                job.deliver(lambda: self._show(progress, shown))

            def on_progress(progress: TrainingProgress) -> None:
                nonlocal last
                if job.is_set():
                    cancel.set()
                if progress.stage == "resumed" and progress.encoder is not None:
                    known = (past for past in progress.past if math.isfinite(past.loss))
                    points.extend((past.done, past.loss) for past in known)
                    globe = colors.paint(progress.encoder)
                    job.deliver(lambda: self._show_epoch(progress.past, globe))
                if math.isfinite(progress.loss):
                    points.append((progress.done, progress.loss))
                if progress.stage != "training" or time.monotonic() - last >= BATCH_SECONDS:
                    last = time.monotonic()
                    show(progress)

            def on_epoch(progress: TrainingProgress) -> None:
                assert progress.encoder is not None
                globe = colors.paint(progress.encoder)
                job.deliver(lambda: self._show_epoch([progress], globe))
                # A run may be over before its steps are due.
                show(progress)

            try:
                data = self.imagery.open(load_config(config).imagery.night_lights)
                # Blue Marble has a button of its own; this fetches weights of image encoders.
                return pretrain(config, data=data, output=output, fresh=fresh, cancel=cancel,
                                on_progress=on_progress, on_epoch=on_epoch, download=SETTINGS.fetch,
                                **settings)  # fmt: skip
            except (Cancelled, ValueError, OSError, ImportError) as error:
                raise ValueError(sentence(error, OFFERS)) from error
            except Exception as error:
                words = f"The run failed because of an error in this program: {error}"
                job.deliver(lambda: failed(ValueError(words)))
                raise

        def done(folder: Path) -> None:
            self.param.update(running=False, busy="", outcome=self._ending(folder))
            if self._on_encoder is not None:
                self._on_encoder(folder)

        def failed(error: ValueError) -> None:
            self.param.update(running=False, busy="", message=str(error))

        self._background.start(work, done, failed)

    def stop(self, _: Any = None) -> None:
        """Stop cleanly; the last checkpoint stays."""
        self._cancel.set()
        if self.running:
            self.busy = "stopping after this step; the last checkpoint stays …"

    def _ending(self, folder: Path) -> str:
        kept, recall = self._epochs[-1][:2] if self._epochs else (0, math.nan)
        return views.ending(
            folder.name,
            folder.resolve(),
            kept,
            self.progress.epochs if self.progress else 0,
            recall,
        )

    def _show(self, progress: TrainingProgress, points: list[tuple[int, float]]) -> None:
        busy = self.busy if self._cancel.is_set() else STAGES[progress.stage]
        self.param.update(progress=progress, _points=points, busy=busy)

    def _show_epoch(self, epochs: Sequence[TrainingProgress], globe: np.ndarray) -> None:
        rows = [
            (epoch.epoch, found.recall_at_1, found.recall_at_5, found.recall_at_10, epoch.probes)
            for epoch in epochs
            if (found := epoch.validation) is not None
        ]
        self.param.update(_epochs=[*self._epochs, *rows], _globe=globe)

    @param.depends("progress", "outcome")
    def how_far(self) -> str:
        """Say how far the run is and how long it will take, as markup."""
        return views.how_far(self.progress, self.outcome)

    @param.depends("_points")
    def loss(self) -> str:
        """Draw the loss of each step so far, as markup."""
        training = self.progress is not None and self.progress.stage in ("training", "resumed")
        steps = self.progress.total if training else 100
        return loss_chart([("training", *point) for point in self._points], steps)

    @param.depends("_epochs", "config", "epochs")
    def recall(self) -> hv.Overlay:
        """Return the share of unseen images found among the first 1, 5 and 10, per epoch."""
        return views.recall_chart(self._epochs, self._last_epoch())

    @param.depends("_epochs", "config", "epochs")
    def probes(self) -> hv.Overlay:
        """Return how well the nearest labels in the embedding predict a few tasks, per epoch."""
        tasks = load_config(self.config).training.probes
        return views.probe_chart(self._epochs, tasks, self._last_epoch())

    def _last_epoch(self) -> int:
        configured = self.epochs or load_config(self.config).training.epochs
        return self.progress.epochs if self.progress is not None else configured

    def image(self, **_: Any) -> hv.RGB:
        """Return the globe as the encoder of the last epoch sees it."""
        if self._globe is None:
            return world.picture(np.zeros((2, 4, 4), dtype=np.uint8), GLOBE)
        grid = Grid(GLOBE, self._globe.shape[:2])
        return world.picture(world.rgba(self._globe, grid, land_only=True), GLOBE)

    def __panel__(self) -> Any:
        controls = pn.FlexBox(
            theme.select(self.param.config, "Train", 315),
            theme.select(self.param.epochs, "Epochs", 105),
            theme.button("Start", self.start, strong=True, disabled=self.param.running),
            theme.button("Stop", self.stop, disabled=self.param.running.rx.not_()),
            pmui.Checkbox.from_param(
                self.param.fresh, label="Start over", size="small", margin=(4, 2), description="",
                theme_config=theme.MATERIAL,
            ),
            align_items="center", sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        raster = hv.DynamicMap(
            self.image, streams=[hv.streams.Params(self, ["_globe"], rename={"_globe": "colors"})]
        )
        # In a frame of its own: an updated plot is as high as what holds it.
        globe = pn.Column(
            plots.plot_pane(
                plots.on_globe(raster, self.selection, hooks=[plots.dark, earth_beneath])
            ),
            margin=0, styles={"flex": "2 1 480px", "min-width": "min(100%, 320px)"},
        )  # fmt: skip
        charts = pn.Column(
            theme.text(self.loss, sizing_mode="stretch_width"),
            *(pn.pane.HoloViews(hv.DynamicMap(chart), sizing_mode="stretch_width", margin=0)
              for chart in (self.recall, self.probes)),
            margin=0, styles={"flex": "1 1 320px", "min-width": "min(100%, 320px)"},
        )  # fmt: skip
        return theme.card(
            "Train your own", controls, self.imagery, self.status(),
            theme.text(self.how_far, sizing_mode="stretch_width", margin=(2, 0, 6, 0)),
            pn.FlexBox(globe, charts, gap="10px", align_items="flex-start",
                       align_content="flex-start", sizing_mode="stretch_width", margin=0),
            hint="one run at a time; every epoch saves a checkpoint",
        )  # fmt: skip

"""What the encoder knows of a task, and whether it holds where it was never shown."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import panel as pn
import param

from satclip_explore.panes import theme
from satclip_explore.panes.background import Background, Job
from satclip_explore.panes.base import Pane
from satclip_explore.panes.probe_views import RESOLUTION, curves, maps, scores
from training.probe import Losses, ProbeCancelledError, train_probe
from training.tables import task_from_table
from training.tasks import Task, list_tasks, load_task

OWN = "your own table"
HOLD_OUTS = {
    "half of the places, at random": "random",
    "blocks of 1,000 km": "blocks",
    "Africa": "Africa",
    "Asia": "Asia",
    "Europe": "Europe",
    "North America": "North America",
    "South America": "South America",
    "Oceania": "Oceania",
    "a country or box, as typed": "typed",
    "what the world view shows": "view",
}
MAX_FILE = "50MB"
BATCH_SECONDS = 0.2


class _Cancel:
    """A job as `train_probe` asks for it."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def is_set(self) -> bool:
        return self._job.stopped


class ProbePane(Pane):
    """Train small models on frozen embeddings and show how they do beside the baselines."""

    task = param.Selector(default="biome", objects=[], doc="what to predict")
    column = param.String("", doc="of the uploaded table; empty: the only one left")
    hold_out = param.Selector(default="Africa", objects=HOLD_OUTS, doc="where it is tested")
    typed = param.String("", doc="a country, or lon_min, lat_min, lon_max, lat_max")
    shots = param.Number(0.01, bounds=(0.0, 1.0), doc="part of the held-out places that train")
    model = param.Selector(default="linear", objects=["linear", "mlp", "knn", "kernel"])
    seeds = param.Integer(3, bounds=(1, 20), doc="independent runs")

    field = param.Parameter(doc="the predicted raster, set with the result")
    result = param.Parameter(doc="the ProbeResult, once there is one")
    _losses = param.List([], doc="(encoder, step, validation loss) so far")

    _not_settings = (*Pane._not_settings, "result", "field")

    def __init__(self, encoder: Any, **params: Any) -> None:
        tasks = {**{name.replace("_", " "): name for name in list_tasks().index}, OWN: OWN}
        self.param.task.objects = tasks
        super().__init__(encoder, **params)
        self._background = Background()
        self._upload: bytes | None = None

    def chosen_task(self) -> Task:
        """Return the task: one that comes with the package, or the uploaded table."""
        if self.task != OWN:
            return load_task(self.task)
        if self._upload is None:
            raise ValueError("drop a table with coordinates and labels first: CSV or GeoJSON.")
        return task_from_table(self._upload, self.column.strip() or None)

    def split(self) -> dict[str, Any]:
        """Return the hold-out as arguments of `train_probe`."""
        if self.hold_out in ("random", "blocks"):
            return {"split": self.hold_out}
        region: Any = self.hold_out
        if region == "typed":
            region = _box_or_name(self.typed)
        elif region == "view":
            region = self.selection.bounds
        return {"region": region, "shots": self.shots}

    def upload(self, content: bytes) -> None:
        """Take a table; it is read when the probe is started."""
        self._upload = content
        self.task = OWN
        try:
            task = self.chosen_task()
        except ValueError as error:
            self.message = str(error)
        else:
            kind = "classes" if task.is_classification else "values"
            self.param.update(message="", busy=f"{task.name}: {len(task):,} places, {kind}")

    def start(self, _: Any = None) -> None:
        """Train in the background; a second start replaces the first."""
        try:
            task, split = self.chosen_task(), self.split()
        except ValueError as error:
            self.message = str(error)
            return
        encoder, model, seeds = self.encoder, self.model, self.seeds
        self.param.update(busy="training …", message="", result=None, _losses=[])

        def work(job: Job) -> Any:
            points: list[Any] = []
            last = time.monotonic()

            def on_update(step: int, losses: Losses) -> None:
                nonlocal last
                points.append((losses.encoder, step, float(np.nanmean(losses.valid))))
                if time.monotonic() - last >= BATCH_SECONDS or len(points) == 1:
                    last = time.monotonic()
                    shown, done = list(points), losses.done
                    job.deliver(lambda: self._show(shown, done))

            try:
                result = train_probe(
                    task, encoder=encoder, model=model, seeds=seeds, on_update=on_update,
                    cancel=_Cancel(job), **split,
                )  # fmt: skip
            except ProbeCancelledError as error:
                raise ValueError(str(error)) from error
            return result, result.predict_raster(RESOLUTION)

        def done(found: Any) -> None:
            self.param.update(busy="", result=found[0], field=found[1])

        def failed(error: ValueError) -> None:
            self.param.update(busy="", message=str(error))

        self._background.start(work, done, failed)

    def _show(self, points: list[Any], done: float) -> None:
        self.param.update(_losses=points, busy=f"training … {done:.0%}")

    def stop(self, _: Any = None) -> None:
        """Stop the training; what was there before is gone."""
        self._background.stop()
        if self.busy:
            self.param.update(busy="", message="Stopped.")

    def table(self) -> pd.DataFrame:
        """Return the scores of the encoder and the baselines, mean ± sd over seeds."""
        return pd.DataFrame() if self.result is None else self.result.table()

    @param.depends("result", "_losses")
    def view(self) -> Any:
        """Show curves while it trains, then scores and maps."""
        if self.result is not None:
            found = scores(self.result), maps(self.result, self.field, self.selection)
            return pn.Column(*found, margin=0, sizing_mode="stretch_width")
        if self._losses:
            return curves(self._losses)
        return theme.hint(
            "Choose a task and where to test it, then press Train. The encoder stays as it is; "
            "a small model on top of it learns from the labels."
        )

    @param.depends("task", "hold_out")
    def _more(self) -> Any:
        """Show the fields that the choice needs."""
        fields: list[Any] = []
        if self.hold_out == "typed":
            fields.append(theme.text_input(self.param.typed, "Country or box", 210,
                                           placeholder="Peru, or -80, -20, -65, 0"))  # fmt: skip
        if self.hold_out not in ("random", "blocks"):
            shares = {"nothing there": 0.0, "0.1 % of it": 0.001, "1 % of it": 0.01,
                      "5 % of it": 0.05, "20 % of it": 0.2}  # fmt: skip
            fields.append(theme.select(self.param.shots, "Shown from there", 130, options=shares))
        if self.task == OWN:
            drop = pn.widgets.FileDropper(max_file_size=MAX_FILE, max_files=1, height=70, width=260)
            drop.param.watch(lambda event: self._dropped(event.new), "value")
            fields += [theme.text_input(self.param.column, "Column to predict", 150), drop]
        return pn.FlexBox(*fields, align_items="center", margin=0, styles={"width": "auto"})

    def _dropped(self, files: dict[str, Any] | None) -> None:
        for content in (files or {}).values():
            self.upload(content if isinstance(content, bytes) else str(content).encode())
            return

    def __panel__(self) -> Any:
        controls = pn.FlexBox(
            theme.select(self.param.task, "Predict", 150),
            theme.select(self.param.hold_out, "Test on", 230),
            self._more,
            theme.select(self.param.model, "Small model", 110),
            theme.select(self.param.seeds, "Runs", 80, options=[1, 3, 5, 10]),
            theme.button("Train", self.start, strong=True),
            theme.button("Stop", self.stop),
            align_items="center", sizing_mode="stretch_width", margin=(0, 0, 6, 0),
        )  # fmt: skip
        return theme.card("What does it know?", controls, self.status(), self.view)


def _box_or_name(text: str) -> Any:
    """Read four numbers as a box, anything else as the name of a country or continent."""
    parts = [part.strip() for part in text.split(",")]
    try:
        return tuple(float(part) for part in parts) if len(parts) == 4 else text.strip()
    except ValueError:
        return text.strip()

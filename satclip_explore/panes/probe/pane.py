"""What the encoder knows of a task, and whether it holds where it was never shown."""

from __future__ import annotations

import threading
import time
from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd
import panel as pn
import param

from satclip_explore.panes import theme
from satclip_explore.panes.background import TRAININGS, Background, Job
from satclip_explore.panes.base import Pane
from satclip_explore.panes.download_menu import DownloadMenu
from satclip_explore.panes.losses import loss_chart
from satclip_explore.panes.probe.downloads import offer
from satclip_explore.panes.probe.places import in_words, legend, outline, place_map, places
from satclip_explore.panes.probe.views import RESOLUTION, maps, scores
from satclip_explore.panes.tasks import HALF, KINDS, MAX_FILE, OWN, TASKS
from satclip_explore.panes.uploads import drop_field
from satclip_explore.progress import Cancelled
from training.probe import hold_out, train_probe
from training.probes.losses import Losses
from training.probes.registry import MENU
from training.tasks.atlas import load_task
from training.tasks.tables import as_task
from training.tasks.task import COUNTS, PRESENCE, Task

HOLD_OUTS = {
    "half of the places, at random": "random",
    "blocks of 1,000 km": "blocks",
    "Africa": "Africa",
    "Asia": "Asia",
    "Europe": "Europe",
    "North America": "North America",
    "South America": "South America",
    "Oceania": "Oceania",
    "a region drawn on the map": "drawn",
    "a country or box, as typed": "typed",
    "what the world view shows": "view",
}
ALL_KINDS = {**KINDS, "counts": COUNTS, "a species' occurrences": PRESENCE}
DRAWN = {
    "at random": "random",
    "records of other species": "target-group",
    "around presences": "thickened",
}
SHARES = {"0.1 % of it": 0.001, "1 % of it": 0.01, "5 % of it": 0.05, "20 % of it": 0.2}


def box_or_name(text: str) -> Any:
    """Read four numbers as a box, anything else as the name of a country or continent."""
    parts = [part.strip() for part in text.split(",")]
    try:
        return tuple(float(part) for part in parts) if len(parts) == 4 else text.strip()
    except ValueError:
        return text.strip()


BATCH_SECONDS = 0.2
PARTLY = "Stopped early: the scores are those of the training so far."


class ProbePane(Pane):
    """Train small models on frozen embeddings and show how they do beside the baselines."""

    task = param.Selector(default="biome", objects=TASKS, doc="what to predict")
    column = param.String("", doc="of the uploaded table; empty: the only one left")
    kind = param.Selector(default="auto", objects=ALL_KINDS, doc="of the uploaded column")
    species = param.String("", doc="of the occurrences; empty: the only one there is")
    background = param.Selector(default="random", objects=DRAWN, doc="beside the occurrences")
    hold_out = param.Selector(default="Africa", objects=HOLD_OUTS, doc="where it is tested")
    typed = param.String("", doc="a country, or lon_min, lat_min, lon_max, lat_max")
    drawn = param.Parameter(doc="a box (four numbers) or a polygon (pairs), in degrees")
    shots = param.Number(0.01, bounds=(0.0, 1.0), doc="part of the held-out places that train")
    model = param.Selector(default="linear", objects=dict(MENU), doc="the small model")
    seeds = param.Integer(3, bounds=(1, 20), doc="independent runs")

    field = param.Parameter(doc="the predicted raster, set with the result")
    result = param.Parameter(doc="the ProbeResult, once there is one")
    about = param.String("", doc="what the chosen places are, in a sentence")
    _losses = param.List([], doc="(encoder, step, validation loss) so far")
    _split = param.Parameter(doc="the split as it would be, for the map")

    _not_settings: tuple[str, ...] = (*Pane._not_settings, "result", "field", "about")

    def __init__(self, encoder: Any, **params: Any) -> None:
        self._upload: Any = None
        self._read: tuple[Any, Task] | None = None
        super().__init__(encoder, **params)
        self._background, self._cancel = Background(TRAININGS), threading.Event()

    def chosen_task(self) -> Task:
        """Return the task: one that comes with the package, or the uploaded table."""
        if self.task != OWN:
            return load_task(self.task)
        if self._upload is None:
            raise ValueError("drop a table with coordinates and labels first: CSV or GeoJSON.")
        more: dict[str, Any] = {}
        if self.kind == PRESENCE:
            more = {"species": self.species.strip() or None, "background": self.background}
        asked = (id(self._upload), self.column.strip(), self.kind, *more.values())
        if self._read is None or self._read[0] != asked:
            found = as_task(self._upload, asked[1] or None, kind=self.kind, **more)
            self._read = (asked, found)
        return self._read[1]

    def uploaded(self) -> Any:
        """Return the table that is predicted, as it was taken; None for tasks of the package."""
        return self._upload if self.task == OWN else None

    def split(self) -> dict[str, Any]:
        """Return the hold-out as arguments of `train_probe`."""
        if self.hold_out in ("random", "blocks"):
            return {"split": self.hold_out}
        region: Any = self.hold_out
        if region == "typed":
            region = box_or_name(self.typed)
            if not region:
                raise ValueError(
                    "type a country, a continent or lon_min, lat_min, lon_max, lat_max."
                )
        elif region == "drawn":
            region = self.drawn
            if region is None:
                raise ValueError(
                    "draw the region first: drag a box on the map, or take the lasso above it."
                )
        elif region == "view":
            region = self.selection.bounds
        return {"region": region, "shots": self.shots}

    def draw(self, region: Any) -> None:
        """Take a region that was drawn on the map, and hold it out."""
        if region is None:
            self.message = "the drawn region has no area; drag a box or a closed line on the map."
            return
        self.param.update(drawn=region, hold_out="drawn")

    def take(self, reading: Any, column: str, kind: str) -> None:
        """Predict a column of a file that was read already."""
        self._upload = reading
        self.param.update(column=column, kind=kind, task=OWN)
        self.preview()

    def upload(self, content: bytes) -> None:
        """Take a table; what was understood, and what was left out, is said at once."""
        self._upload = content
        if self.task == OWN:
            self.preview()
        else:
            self.task = OWN

    @param.depends(
        "encoder", "task", "column", "kind", "species", "background", "hold_out", "typed", "drawn",
        "shots", "model", "seeds", watch=True,
    )  # fmt: skip
    def _forget_result(self) -> None:
        """Take away scores that belong to other settings than those on the page."""
        self._background.stop()
        self._cancel.set()
        self.param.update(busy="", result=None, field=None, _losses=[])

    @param.depends(
        "task", "column", "kind", "species", "background", "hold_out", "typed", "drawn", "shots",
        watch=True,
    )  # fmt: skip
    def preview(self) -> None:
        """Show which places would train and test; a sentence where they cannot."""
        about, split, message = "", None, ""
        try:
            task = self.chosen_task()
            about = in_words(task)
            split = hold_out(task, **self.split())
        except (ValueError, ImportError) as error:
            message = str(error)
        self.param.update(about=about, _split=split, message=message)

    def start(self, _: Any = None) -> None:
        """Train in the background; a second start replaces the first."""
        try:
            task, split = self.chosen_task(), self.split()
        except (ValueError, ImportError) as error:
            self.message = str(error)
            return
        encoder, model, seeds = self.encoder, self.model, self.seeds
        self._cancel = cancel = threading.Event()
        self.param.update(busy="training …", message="", result=None, _losses=[])

        def work(job: Job) -> Any:
            points: list[Any] = []
            last = time.monotonic()

            def on_progress(losses: Losses) -> None:
                nonlocal last
                if job.is_set():
                    cancel.set()
                points.append((losses.encoder, losses.step, losses.loss))
                if time.monotonic() - last >= BATCH_SECONDS or len(points) == 1:
                    last = time.monotonic()
                    shown, done = list(points), losses.share
                    job.deliver(lambda: self._show(shown, done))

            result = train_probe(
                task, encoder=encoder, model=model, seeds=seeds, on_progress=on_progress,
                cancel=cancel, **split,
            )  # fmt: skip
            if cancel.is_set():
                job.deliver(lambda: self.param.update(message=PARTLY))
            return result, result.predict_raster(RESOLUTION), points

        def done(found: Any) -> None:
            result, field, points = found
            self.param.update(busy="", _losses=points, field=field, result=result)

        def failed(error: ValueError) -> None:
            self.param.update(busy="", message=str(error))

        def fit(job: Job) -> Any:
            try:
                return work(job)
            except Cancelled as error:
                raise ValueError("Stopped before there was anything to show.") from error

        self._background.start(fit, done, failed)

    def _show(self, points: list[Any], done: float) -> None:
        self.param.update(_losses=points, busy=f"training … {done:.0%}")

    def stop(self, _: Any = None) -> None:
        """Stop the training; what was learned until then is shown."""
        self._cancel.set()
        if self.busy:
            self.busy = "stopping; scoring what was learned so far …"

    def table(self) -> pd.DataFrame:
        """Return the scores of the encoder and the baselines, mean ± sd over seeds."""
        return pd.DataFrame() if self.result is None else self.result.table()

    @param.depends("selection.bounds", watch=True)
    def _follow(self) -> None:
        if self.hold_out == "view":
            self.preview()

    @param.depends("_losses")
    def curves(self) -> str:
        """Draw the curves so far, as markup; before there are any, say what to do."""
        if self._losses:
            return loss_chart(self._losses)
        return (
            "<p class='hint'>Choose what to predict and where to test it, then press Train. The "
            "encoder stays as it is; a small model on top of it learns from the labels.</p>"
        )

    @param.depends("result")
    def view(self) -> Any:
        """Show scores and maps, once there are any."""
        if self.result is None:
            return pn.Column(margin=0)
        found = scores(self.result), maps(self.result, self.field, self.selection)
        return pn.Column(*found, margin=0, sizing_mode="stretch_width")

    @param.depends("about", "_split")
    def legend(self) -> str:
        """Say, as markup, what the places on the map do."""
        return legend(self.about, self._split)

    def points(self, **_: Any) -> Any:
        """Show the places of the task in the color of what they do."""
        lonlat = np.zeros((0, 2)) if self._split is None else self.chosen_task().lonlat
        return places(lonlat, self._split)

    def edge(self, **_: Any) -> Any:
        """Show the edge of the drawn region."""
        return outline(self.drawn if self.hold_out == "drawn" else None)

    def _controls(self) -> Any:
        task = theme.select(self.param.task, "Predict", 150)
        where = theme.select(self.param.hold_out, "Test on", 250)
        typed = theme.text_input(self.param.typed, "Country or box", 210,
                                 placeholder="Peru, or -80, -20, -65, 0")  # fmt: skip
        shots = theme.select(self.param.shots, "Also train on", 130, options=SHARES)
        column = theme.text_input(self.param.column, "Column to predict", 150)
        kind = theme.select(self.param.kind, "It holds", 150)
        species = theme.text_input(self.param.species, "Species", 150)
        background = theme.select(self.param.background, "Background", 170)
        drop = drop_field(self.upload, MAX_FILE, width=260, margin=(4, 2))

        def show(*_: Any) -> None:
            typed.visible = self.hold_out == "typed"
            shots.visible = self.hold_out not in ("random", "blocks")
            column.visible = kind.visible = drop.visible = self.task == OWN
            species.visible = background.visible = self.task == OWN and self.kind == PRESENCE

        show()
        self.param.watch(show, ["task", "kind", "hold_out"])
        return pn.FlexBox(
            task, column, kind, species, background, drop, where, typed, shots,
            theme.select(self.param.model, "Small model", 200),
            theme.select(self.param.seeds, "Runs", 80, options=[1, 3, 5, 10]),
            theme.button("Train", self.start, strong=True), theme.button("Stop", self.stop),
            align_items="center", sizing_mode="stretch_width", margin=(0, 0, 6, 0),
        )  # fmt: skip

    def __panel__(self) -> Any:
        changes = hv.streams.Params(self, ["_split", "drawn"], rename={"_split": "s"})
        left = pn.Column(
            place_map(self.selection, changes, self.points, self.edge, self.draw),
            theme.text(self.legend, sizing_mode="stretch_width"), margin=0, styles=HALF,
        )  # fmt: skip
        right = pn.Column(theme.text(self.curves, sizing_mode="stretch_width"),
                          margin=0, styles=HALF)  # fmt: skip
        self.preview()
        return theme.card(
            "What does it know?", self._controls(), self.status(),
            pn.FlexBox(left, right, gap="10px", sizing_mode="stretch_width", margin=0),
            self.view, hint="the encoder stays frozen; a small model learns from labels",
            actions=(DownloadMenu(lambda: offer(self)),),
        )  # fmt: skip

"""Does it help my data? A ladder of scores by distance, a verdict, and where to trust."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import holoviews as hv
import numpy as np
import panel as pn
import panel_material_ui as pmui
import param

from satclip_explore.encoders.registry import load_encoder
from satclip_explore.geo import GLOBE
from satclip_explore.panes import plots, theme, world
from satclip_explore.panes.background import TRAININGS, Background, Job
from satclip_explore.panes.base import Pane
from satclip_explore.panes.download_menu import DownloadMenu
from satclip_explore.panes.evaluate import views
from satclip_explore.panes.evaluate.downloads import offer
from satclip_explore.panes.evaluate.ladder_chart import ladder_chart
from satclip_explore.panes.furniture import earth_beneath
from satclip_explore.panes.tasks import HALF, KINDS, MAX_FILE, OWN, TASKS
from satclip_explore.panes.uploads import drop_field
from satclip_explore.progress import Cancelled
from training.evaluate import DEFAULT_MODELS, draw_places, evaluate
from training.evaluation.geobias import bias_words
from training.evaluation.prediction import survey
from training.tasks.atlas import load_task
from training.tasks.folds import RUNGS, make_rungs
from training.tasks.tables import task_from_table
from training.tasks.task import Task

NAMES = ["random", *(f"{cell:g}°" for cell in RUNGS[1:])]
HELD_OUT = {"single places, at random": "random",
            **{f"cells of {cell:g}°": f"{cell:g}°" for cell in RUNGS[1:]}}  # fmt: skip
PLACES = {"500 of them": 500, "1,000 of them": 1000, "3,000 of them": 3000, "all": 10**9}
WITH_PLACE, ALONE = "and with place", "alone, fast"
MODELS = {WITH_PLACE: DEFAULT_MODELS, ALONE: ("ridge",)}
SEEDS = 2
"""Draws of the folds; five times as long gives intervals that are hardly narrower."""

MOST_BESIDE = 3


class Outcome(NamedTuple):
    """What an evaluation gave: `survey` follows the ladder."""

    ladder: Any
    survey: Any = None


class EvaluatePane(Pane):
    """Ask whether embeddings help with labels, beside them and far from them.

    Parameters
    ----------
    encoder : LocationEncoder
        The one in question.
    names : sequence of str
        Encoders that can stand beside it.
    load : callable
        Turns a name into an encoder; a ValueError is shown.
    """

    task = param.Selector(default="air_temperature", objects=TASKS, doc="what to predict")
    column = param.String("", doc="of the uploaded table; empty: the only one left")
    kind = param.Selector(default="auto", objects=KINDS, doc="of the uploaded column")
    beside = param.List([], item_type=str, doc="names of other encoders")
    places = param.Selector(default=1000, objects=PLACES, doc="labels that are used, at most")
    models = param.Selector(default=WITH_PLACE, objects=list(MODELS), doc="how embeddings are used")
    rung = param.Selector(default="10°", objects=HELD_OUT, doc="whose folds the map shows")

    names = param.List([], item_type=str, doc="encoders that can be chosen")
    result = param.Parameter(doc="the Outcome, once there is one")
    about = param.String("", doc="what the chosen places are, in a sentence")
    steps = param.List([], doc="what has been scored so far")
    _folds = param.Parameter(doc="(lonlat, fold) of the chosen rung, for the map")

    _not_settings: tuple[str, ...] = (*Pane._not_settings, "names", "result", "about", "steps")

    def __init__(
        self,
        encoder: Any,
        names: Sequence[str] | None = None,
        load: Callable[[str], Any] = load_encoder,
        **params: Any,
    ) -> None:
        self._upload: Any = None
        self._load = load
        super().__init__(encoder, names=list(names or []), **params)
        self._background, self._preview = Background(TRAININGS), Background()
        self._cancel = threading.Event()

    def take(self, reading: Any, column: str = "", kind: str = "auto") -> None:
        """Evaluate a column of a file, read already or as bytes."""
        self._upload = reading
        with param.parameterized.discard_events(self):
            self.param.update(column=column, kind=kind, task=OWN)
        self.param.trigger("column", "kind", "task")

    def uploaded(self) -> Any:
        """Return the table that is evaluated, as it was taken; None for tasks of the package."""
        return self._upload if self.task == OWN else None

    def _reader(self) -> Callable[[], Task]:
        """Return what reads the chosen task, for another thread."""
        name, upload, column, kind = self.task, self._upload, self.column.strip(), self.kind
        if name != OWN:
            return lambda: load_task(name)
        if upload is None:
            raise ValueError("drop a table with coordinates and labels first: CSV or GeoJSON.")
        return lambda: task_from_table(upload, column or None, kind=kind)

    @param.depends(
        "encoder", "task", "column", "kind", "beside", "places", "models", watch=True
    )  # fmt: skip
    def _forget_result(self) -> None:
        """Take away scores that belong to other settings than those on the page."""
        self._background.stop()
        self._cancel.set()
        self.param.update(busy="", result=None, steps=[])

    @param.depends("task", "column", "kind", "places", "rung", watch=True)
    def preview(self) -> None:
        """Show the folds of one rung; a sentence where the places cannot be read."""
        rung, most = RUNGS[NAMES.index(self.rung)], self.places

        def read(_: Job) -> Any:
            whole = reader()
            task = draw_places(whole, most)
            rungs, notes = make_rungs(task, [rung], seeds=1)
            drawn = "" if len(task) == len(whole) else f" of {len(whole):,}, drawn at random"
            holds = f"{len(task.classes)} classes"
            if not task.is_classification:
                holds = f"{task.target.min():.4g} to {task.target.max():.4g} {task.unit}".rstrip()
            about = f"{task.name}: {len(task):,} places{drawn}; {holds}."
            left = ", ".join(f"{count:,} ({why})" for why, count in task.dropped.items())
            about += f" Left out: {left}." if left else ""
            return " ".join([about, *notes]), (task.lonlat, rungs[0].fold[0])

        def done(found: Any) -> None:
            self.param.update(about=found[0], _folds=found[1], message="")

        def failed(error: ValueError) -> None:
            self.param.update(about="", _folds=None, message=str(error))

        try:
            reader = self._reader()
        except ValueError as error:
            failed(error)
            return
        self._preview.start(_in_words(read), done, failed)

    def start(self, _: Any = None) -> None:
        """Evaluate in the background; a second start replaces the first."""
        try:
            reader = self._reader()
        except ValueError as error:
            self.message = str(error)
            return
        encoders = [self.encoder, *(name for name in self.beside if name != self.encoder.name)]
        models, most, load = MODELS[self.models], self.places, self._load
        self._cancel = cancel = threading.Event()
        self.param.update(busy="reading …", message="", result=None, steps=[])

        def work(job: Job) -> Outcome:
            steps: list[Any] = []

            def on_progress(step: Any) -> None:
                if job.is_set():
                    cancel.set()
                if step.rung:
                    steps.append(step)
                    shown = list(steps)
                    job.deliver(lambda: self._show(shown))

            loaded = [load(each) if isinstance(each, str) else each for each in encoders]
            ladder = evaluate(
                reader(), encoders=loaded, models=models, max_places=most, rungs=RUNGS,
                seeds=SEEDS, on_progress=on_progress, cancel=cancel,
            )  # fmt: skip
            stopped = not ladder.complete
            said = "" if stopped else "scored; mapping where to trust it …"
            job.deliver(lambda: self.param.update(result=Outcome(ladder), busy=said))
            mapped = None if stopped else survey(ladder)
            return Outcome(ladder, mapped)

        def done(found: Outcome) -> None:
            self.param.update(busy="", result=found)

        def failed(error: ValueError) -> None:
            self.param.update(busy="", message=str(error))

        self._background.start(_in_words(work), done, failed)

    def _show(self, steps: list[Any]) -> None:
        last = steps[-1]
        left = last.seconds_left
        ends = "" if left != left else f", {max(1, round(left)):,} s left"
        self.param.update(steps=steps, busy=f"scoring … {last.share:.0%}{ends}")

    def stop(self, _: Any = None) -> None:
        """Stop; what was scored until then is shown."""
        self._cancel.set()
        if self.busy:
            self.busy = "stopping; showing what was scored so far …"

    def mark(self, _: Any = None) -> None:
        """Mark the next labels on the maps of the page."""
        following = self.result.survey.following
        self.selection.marks = [
            (row.lon, row.lat, f"{number}. label to get next")
            for number, row in enumerate(following.itertuples(), start=1)
        ]

    @param.depends("steps", "result")
    def chart(self) -> str:
        """Draw the ladder so far, as markup; before there is any, say what to do."""
        seen = {step.rung for step in self.steps}
        done = self.result is not None
        return ladder_chart(self.steps, [name for name in NAMES if not done or name in seen])

    @param.depends("result")
    def verdict(self) -> str:
        """Write the verdict as markup; empty before there is one."""
        if self.result is None:
            return ""
        return views.verdict_list(self.result.ladder.verdict, self.result.ladder.notes)

    @param.depends("result")
    def view(self) -> Any:
        """Show where to trust and which labels next."""
        found = self.result
        if found is None or found.survey is None:
            return pn.Column(margin=0)
        return pn.Column(
            views.trust_map(found.survey, found.ladder.task, self.selection),
            theme.hint(bias_words(found.ladder.geo_bias, found.ladder.best())),
            theme.button("Mark them on Explore", self.mark),
            margin=0, sizing_mode="stretch_width",
        )  # fmt: skip

    @param.depends("about", "_folds")
    def legend(self) -> str:
        """Say, as markup, what the places on the map are."""
        folds = 0 if self._folds is None else int(self._folds[1].max()) + 1
        keys = "".join(map(theme.dot, theme.SERIES[:folds]))
        line = (
            f"{keys} Each color is a fold: its places are predicted from the labels of all others."
        )
        words = [theme.escape(self.about), line] if folds else []
        return "".join(f"<div class='hint' style='margin-top:3px'>{word}</div>" for word in words)

    def points(self, **_: Any) -> Any:
        """Show the places in the color of the fold that tests them."""
        nothing = np.zeros((0, 2)), np.zeros(0, dtype=np.int64)
        return views.fold_points(*(self._folds or nothing))

    def _controls(self) -> Any:
        column = theme.text_input(self.param.column, "Column to predict", 150)
        kind = theme.select(self.param.kind, "It holds", 150)
        drop = drop_field(self.take, MAX_FILE, width=260, margin=(4, 2))
        beside = pmui.MultiChoice.from_param(
            self.param.beside, options=self.param.names, label="Compare with encoders",
            max_items=MOST_BESIDE, width=250, margin=(4, 2), description="",
            theme_config=theme.MATERIAL,
        )  # fmt: skip

        def show(*_: Any) -> None:
            column.visible = kind.visible = drop.visible = self.task == OWN

        show()
        self.param.watch(show, "task")
        return pn.FlexBox(
            theme.select(self.param.task, "Predict", 160), column, kind, drop, beside,
            theme.select(self.param.places, "Places", 160),
            theme.select(self.param.models, "Embeddings", 150),
            theme.button("Evaluate", self.start, strong=True), theme.button("Stop", self.stop),
            align_items="center", sizing_mode="stretch_width", margin=(0, 0, 6, 0),
        )  # fmt: skip

    def __panel__(self) -> Any:
        changes = hv.streams.Params(self, ["_folds"], rename={"_folds": "f"})
        empty = hv.DynamicMap(lambda: world.picture(np.zeros((2, 4, 4), dtype=np.uint8), GLOBE))
        folds = plots.plot_pane(plots.on_globe(
            empty, self.selection, hv.DynamicMap(self.points, streams=[changes]),
            hooks=[plots.dark, earth_beneath],
        ))  # fmt: skip
        left = pn.Column(
            theme.select(self.param.rung, "Held out together", 200), folds,
            theme.text(self.legend, sizing_mode="stretch_width"), margin=0, styles=HALF,
        )  # fmt: skip
        right = pn.Column(theme.text(self.chart, sizing_mode="stretch_width"), margin=0,
                          styles=HALF)  # fmt: skip
        self.preview()
        return theme.card(
            "Does it help your data?", self._controls(), self.status(),
            theme.text(self.verdict, sizing_mode="stretch_width"),
            pn.FlexBox(left, right, gap="12px", sizing_mode="stretch_width", margin=0),
            self.view, hint="near your labels and far from them, compared with interpolation",
            actions=(DownloadMenu(lambda: offer(self, MODELS[self.models], SEEDS)),),
        )  # fmt: skip


def _in_words(work: Callable[[Job], Any]) -> Callable[[Job], Any]:
    """Make what a person can read of an evaluation that gave nothing."""

    def run(job: Job) -> Any:
        try:
            return work(job)
        except Cancelled as error:
            raise ValueError("Stopped before there was anything to show.") from error
        except ImportError as error:
            raise ValueError(str(error)) from error

    return run

"""Complementarity: what one encoder adds to another on a task, and where."""

from __future__ import annotations

import html
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from satclip_explore.checks import known_keywords
from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.encoders.combine import concat
from satclip_explore.progress import Cancel, Cancelled
from training.evaluate import evaluate
from training.evaluation.cells import Cell
from training.evaluation.verdict import LEVEL, paired
from training.probes.baselines import as_encoder, covered_places
from training.probes.figures import draw_coast, image_element, new_figure, safe_text
from training.tasks.tables import as_task
from training.tasks.task import Task


@dataclass(frozen=True, eq=False, repr=False)
class Complementarity:
    """What a second encoder adds to a first one, out of fold; shows itself.

    Parameters
    ----------
    task : Task
        The labeled places that both cover.
    first, second : str
        Names of the encoders.
    rung : str
        How places were held out.
    scores : pandas.DataFrame
        One row per seed and fold: R² or accuracy of the first alone, and of both joined.
    places : pandas.DataFrame
        lon, lat, error_first, error_both and gain, by how much the error is smaller with both:
        absolute errors in the unit of the target, for classes the share of draws named wrong.
    low, high : float
        95 % interval of the mean difference of scores.
    """

    task: Task
    first: str
    second: str
    rung: str
    scores: pd.DataFrame
    places: pd.DataFrame
    low: float
    high: float

    @property
    def difference(self) -> float:
        """Mean score of both less that of the first alone."""
        return float((self.scores["both"] - self.scores["first"]).mean())

    def __repr__(self) -> str:
        means, metric = self.scores[["first", "both"]].mean(), self.scores.attrs["metric"]
        adds = "adds" if self.low > 0 else "takes away" if self.high < 0 else "adds nothing sure"
        helped = float((self.places["gain"] > 0).mean())
        return (
            f"{self.second} {adds} to {self.first} on {self.task.name} ({self.rung}): {metric} "
            f"{means['first']:.3f} alone, {means['both']:.3f} together, a difference of "
            f"{self.difference:+.3f} ({self.low:+.3f} to {self.high:+.3f}); errors are smaller at "
            f"{helped:.0%} of {len(self.places):,} places."
        )

    def figure(self) -> Any:
        """Map the gain: green where both are better than the first alone."""
        figure = new_figure(8.0, 4.2)
        axis = figure.subplots()
        draw_coast(axis)
        gain = self.places["gain"]
        limit = max(float(np.quantile(np.abs(gain), 0.98)), 1e-12)
        points = axis.scatter(
            self.places["lon"], self.places["lat"], c=gain, s=4, cmap="PiYG", vmin=-limit,
            vmax=limit,
        )  # fmt: skip
        unit = "share of draws" if self.task.is_classification else self.task.unit
        label = safe_text(f"error less with both {f'({unit})' if unit else ''}".strip())
        figure.colorbar(points, ax=axis, label=label, shrink=0.8)
        axis.set_title(safe_text(f"{self.second} beside {self.first}, {self.rung}"), fontsize=9)
        axis.set(xlabel="longitude", ylabel="latitude", aspect=1.2)
        return figure

    def _repr_html_(self) -> str:
        picture = ""
        # As a probe does, without matplotlib it shows itself in words.
        with suppress(ImportError):
            picture = image_element(self.figure(), "where both are better than the first alone")
        return f"<p>{html.escape(repr(self))}</p>{picture}"


@known_keywords
def complementarity(
    data: Any,
    first: str | LocationEncoder,
    second: str | LocationEncoder,
    *,
    target: str | None = None,
    rung: Any = 10.0,
    folds: int = 5,
    seeds: int = 5,
    max_places: int | None = None,
    cancel: Cancel | None = None,
    device: str = "auto",
) -> Complementarity:
    """Ask what a second encoder adds to a first one, place by place.

    Both are joined by `concat`; ridge regression on the first alone and on both predicts every
    place from other folds, and their errors are compared there.

    Parameters
    ----------
    data : str, path, frame or Task
        As for `evaluate`.
    first, second : str or LocationEncoder
        Two different ones.
    target : str, optional
        Column of a table.
    rung : object
        How places are held out: "random", "clusters", "region", or cells of so many degrees.
    folds, seeds, max_places, cancel, device
        As for `evaluate`.

    Returns
    -------
    Complementarity
        `.places` with the gain of each, `.scores`, `.difference`, `.figure()`.

    Raises
    ------
    ValueError
        If both are one encoder, or `evaluate` refuses the data.
    Cancelled
        If it was stopped.

    Notes
    -----
    An encoder that adds nothing to another may still know the task as well as that one does: swap
    them to see. More numbers can cost accuracy where labels are few.
    """
    alone, added = as_encoder(first, device), as_encoder(second, device)
    if alone.name == added.name:
        raise ValueError(f"complementarity needs two different encoders; got {alone.name!r} twice.")
    task = covered_places(as_task(data, target), (alone, added))[0]
    both = concat([alone, added], places=task.lonlat, name=f"{alone.name} and {added.name}")
    ladder = evaluate(
        task, encoders=[alone, both], models=("ridge",), rungs=(rung,), folds=folds, seeds=seeds,
        max_places=max_places, cancel=cancel, device=device,
    )  # fmt: skip
    if not ladder.complete:
        raise Cancelled("stopped before both were scored; nothing to show yet.")
    held_out, metric = ladder.rungs[0].name, ladder.metric
    errors = {
        name: _errors(ladder.task, ladder.cells[held_out, encoder.name])
        for name, encoder in (("error_first", alone), ("error_both", both))
    }
    places = pd.DataFrame({"lon": ladder.task.lonlat[:, 0], "lat": ladder.task.lonlat[:, 1]})
    places = places.assign(**errors, gain=errors["error_first"] - errors["error_both"])
    by_fold = ladder.scores.pivot(index=["seed", "fold"], columns="contender", values=metric)
    scores = by_fold[[alone.name, both.name]].set_axis(["first", "both"], axis=1)
    scores.attrs["metric"] = "R²" if metric == "r2" else metric
    share = float((ladder.scores["test_places"] / ladder.scores["train_places"]).mean())
    difference = (scores["both"] - scores["first"]).dropna().to_numpy(dtype=np.float64)
    _, low, high, _ = paired(difference, share, LEVEL)
    return Complementarity(ladder.task, alone.name, added.name, held_out, scores, places, low, high)


def _errors(task: Task, cell: Cell) -> Any:
    """Average the error of every place over the draws of the folds, shape (N,)."""
    if task.is_classification:
        return (cell.best != task.target).mean(0)
    return np.abs(cell.best - task.target).mean(0)

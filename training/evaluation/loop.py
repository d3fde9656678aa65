"""The loop over rungs and contenders: cheap contenders first, so that a ladder is seen soon."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from satclip_explore.progress import Cancel, Cancelled
from training.evaluation.cells import (
    Cell,
    Step,
    cell,
    kilometers,
    labels_digest,
    labels_of,
    score_cells,
)
from training.evaluation.contenders import Contender, Labels
from training.evaluation.verdict import mean_score
from training.tasks.folds import Rung
from training.tasks.task import Task


def fill_cells(
    task: Task,
    rungs: Sequence[Rung],
    contenders: Mapping[str, Contender],
    notes: tuple[str, ...],
    folder: Path | None,
    on_progress: Callable[[Step], object] | None,
    cancel: Cancel | None,
) -> dict[tuple[str, str], Cell]:
    """Score every contender on every rung; stops early with what is finished.

    Returns
    -------
    dict of (str, str) to Cell
        By rung and contender.

    Raises
    ------
    Cancelled
        If nothing was finished.
    """
    cells: dict[tuple[str, str], Cell] = {}
    seconds = defaultdict[str, list[float]](list)
    known: dict[int, tuple[Labels, str]] = {}
    order = _order(rungs, contenders)
    if on_progress is not None:
        on_progress(Step("evaluation", 0, len(order), notes=notes))
    for rung, name in order:
        model, encoder = contenders[name].model, contenders[name].encoder
        if id(encoder) not in known:
            labels = labels_of(task, encoder)
            known[id(encoder)] = labels, labels_digest(labels)
        start = time.perf_counter()
        try:
            found = cell(model, *known[id(encoder)], rung, folder, cancel)
        except Cancelled:
            break
        cells[rung.name, name] = found
        seconds[name].append(time.perf_counter() - start)
        if on_progress is not None:
            scores = score_cells(task, {rung.name: rung}, {(rung.name, name): found})
            mean, low, high = mean_score(scores, "accuracy" if task.is_classification else "r2")
            on_progress(
                Step(
                    "evaluation", len(cells), len(order), 0.0,
                    _seconds_left(seconds, contenders, len(rungs)), rung.name, name, mean, low,
                    high, float(np.median(kilometers(task, rung))), notes,
                )
            )  # fmt: skip
        if cancel is not None and cancel.is_set():
            break
    if not cells:
        raise Cancelled("stopped before any contender was scored; nothing to show yet.")
    return cells


def _order(rungs: Sequence[Rung], contenders: Mapping[str, Contender]) -> list[tuple[Rung, str]]:
    """List the cells in the order in which they are filled: slow contenders after all others."""
    return [
        (rung, name)
        for slow in (False, True)
        for rung in rungs
        for name, contender in contenders.items()
        if (contender.model.seeds is not None) == slow
    ]


def _seconds_left(
    seconds: Mapping[str, Sequence[float]], contenders: Mapping[str, Contender], n_rungs: int
) -> float:
    """Estimate from what each contender took so far; NaN before all have been seen."""
    if any(not seconds.get(name) for name in contenders):
        return float("nan")
    return sum((n_rungs - len(taken)) * sum(taken) / len(taken) for taken in seconds.values())

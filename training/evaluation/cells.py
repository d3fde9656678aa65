"""Cells of the ladder: out-of-fold predictions, found again by what they depend on."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import training.evaluation
import training.probes
from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.files.atomic import write_whole
from satclip_explore.progress import Cancel, Progress, stop_if
from satclip_explore.store import RESULTS
from training.evaluation.contenders import Labels, Model
from training.probes.baselines import task_features
from training.probes.metrics import classification_metrics, regression_metrics
from training.tasks.folds import Rung
from training.tasks.task import Task

PREDICTING = (
    "training.tasks.distances",
    "training.tasks.folds",
    "training.tasks.splits",
    "training.tasks.units",
    *(
        f"training.evaluation.{module.name}"
        for module in iter_modules(training.evaluation.__path__)
    ),
    *(f"training.probes.{module.name}" for module in iter_modules(training.probes.__path__)),
)
"""Modules whose text decides a prediction: what another text left on disk is done again."""


@dataclass(frozen=True)
class Step(Progress):
    """Where an evaluation is, as `on_progress` receives it; `done` counts finished cells.

    Parameters
    ----------
    rung, contender : str
        What was finished; "" before the first.
    score, low, high : float
        Its mean R², or accuracy, and the 95 % interval of that.
    km : float
        Median distance from test to training places on that rung.
    notes : tuple of str
        What is bounded or left out, said before it starts.
    """

    rung: str = ""
    contender: str = ""
    score: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    km: float = float("nan")
    notes: tuple[str, ...] = ()


class Cell(NamedTuple):
    """What one contender predicts on one rung, by labels of other folds.

    `best` is (S, N): values, or class codes; `truth` is (S, N): the score of the true class, and
    zeros for values. S may be fewer seeds than the rung has.
    """

    best: NDArray[Any]
    truth: NDArray[np.float64]


def labels_of(task: Task, encoder: LocationEncoder | None) -> Labels:
    """Join what a model on an encoder, or on none, may learn from."""
    features = (
        np.zeros((len(task), 0), dtype=np.float32)
        if encoder is None
        else task_features(encoder, task).cpu().numpy()
    )
    return Labels(
        task.lonlat, task.target, len(task.classes), features, task.group_codes,
        tuple(getattr(encoder, "prefixes", ())),
    )  # fmt: skip


def kilometers(task: Task, rung: Rung) -> NDArray[np.float64]:
    """Measure how far each place is from its training places, shape (S, N), once for a rung."""
    key = ("kilometers", task.lonlat, rung.fold, _unused(rung))
    found: NDArray[np.float64] = RESULTS.get(key, lambda: rung.distances_km(task.lonlat))
    return found


def _unused(rung: Rung) -> NDArray[np.bool_]:
    return rung.unused if rung.unused is not None else np.zeros(0, dtype=bool)


def code_digest(modules: Iterable[str]) -> str:
    """Name the text of some modules in sixteen digits."""
    digest = hashlib.sha256()
    for module in modules:
        found = find_spec(module)
        assert found is not None
        assert found.origin is not None
        digest.update(Path(found.origin).read_bytes())
    return digest.hexdigest()[:16]


def labels_digest(labels: Labels) -> str:
    """Name everything that a contender may learn from."""
    digest = hashlib.sha256()
    for part in (labels.lonlat, labels.target, labels.features, labels.groups):
        digest.update(f"{part.dtype} {part.shape}".encode())
        digest.update(np.ascontiguousarray(part).tobytes())
    digest.update(f"{labels.n_classes} {labels.prefixes}".encode())
    return digest.hexdigest()


def cell(
    model: Model,
    labels: Labels,
    digest: str,
    rung: Rung,
    folder: Path | None = None,
    cancel: Cancel | None = None,
) -> Cell:
    """Predict every place out of fold, or find that it was done.

    Parameters
    ----------
    model : Model
    labels : Labels
    digest : str
        Of the labels, see `labels_digest`.
    rung : Rung
    folder : path, optional
        Where cells are kept for the next run; else for this process.
    cancel : object with is_set(), optional
        Asked after every fold.

    Raises
    ------
    Cancelled
        If it was stopped within this cell, of which nothing is kept.
    """
    settings = repr(sorted(vars(model).items()))
    key = ("out of fold", model.kind, settings, digest, rung.fold, _unused(rung))

    def make() -> Cell:
        found = None if folder is None else _read(folder / f"{_name(key)}.npz", labels, rung)
        if found is None:
            found = _predict(model, labels, rung, cancel)
            if folder is not None:
                _write(folder / f"{_name(key)}.npz", found)
        return found

    result: Cell = RESULTS.get(key, make)
    return result


def _predict(model: Model, labels: Labels, rung: Rung, cancel: Cancel | None) -> Cell:
    n_seeds = min(model.seeds or rung.n_seeds, rung.n_seeds)
    shape = (n_seeds, len(labels.target))
    best = np.zeros(shape, dtype=labels.target.dtype)
    truth = np.zeros(shape)
    for seed, fold, scores in model.out_of_fold(labels, rung):
        rows = np.flatnonzero(rung.fold[seed] == fold)
        if labels.n_classes:
            best[seed, rows] = scores.argmax(1)
            truth[seed, rows] = scores[np.arange(len(rows)), labels.target[rows]]
        else:
            best[seed, rows] = scores[:, 0]
        stop_if(cancel, "stopped within a rung.")
    return Cell(best, truth)


def _name(key: tuple[Any, ...]) -> str:
    digest = hashlib.sha256(code_digest(PREDICTING).encode())
    for part in key:
        digest.update(part.tobytes() if isinstance(part, np.ndarray) else str(part).encode())
    return digest.hexdigest()[:32]


def _write(path: Path, found: Cell) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, best=found.best, truth=found.truth)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, buffer.getvalue())


def _read(path: Path, labels: Labels, rung: Rung) -> Cell | None:
    """Read a cell that an earlier run left; one that is damaged is done again."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            best, truth = arrays["best"], arrays["truth"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    fits = best.ndim == 2 and best.shape == truth.shape and best.dtype == labels.target.dtype
    fits = fits and 1 <= len(best) <= rung.n_seeds and best.shape[1] == len(labels.target)
    return Cell(best, truth) if fits and np.isfinite(truth).all() else None


def score_cells(
    task: Task, rungs: Mapping[str, Rung], cells: Mapping[tuple[str, str], Cell]
) -> pd.DataFrame:
    """Score cells fold by fold; see `Ladder.scores`."""
    rows = []
    for (name, contender), found in cells.items():
        for seed, fold, split in rungs[name].splits(len(found.best)):
            predicted, target = found.best[seed, split.test], task.target[split.test]
            if task.is_classification:
                metrics = classification_metrics(predicted[:, None], target)
                del metrics["top5"]
            else:
                metrics = regression_metrics(predicted, target, 1.0)
                metrics = {"r2": metrics.get("r2", float("nan")), "mae": metrics["mae"]}
            counts = {"test_places": len(split.test), "train_places": len(split.train)}
            where = {"rung": name, "contender": contender, "seed": seed, "fold": fold}
            rows.append({**where, **counts, **metrics})
    return pd.DataFrame(rows)

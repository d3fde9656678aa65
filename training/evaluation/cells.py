"""Cells of the ladder: out-of-fold predictions, found again by what they depend on."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import training.evaluation
import training.probes
from satclip_explore.files.atomic import write_whole
from satclip_explore.progress import Cancel, stop_if
from satclip_explore.store import RESULTS
from training.evaluation.contenders import Labels, Model
from training.tasks.folds import Rung

PREDICTING = (
    "training.tasks.distances",
    "training.tasks.folds",
    "training.tasks.splits",
    "training.tasks.units",
    *(f"training.evaluation.{one.name}" for one in iter_modules(training.evaluation.__path__)),
    *(f"training.probes.{one.name}" for one in iter_modules(training.probes.__path__)),
)
"""Modules whose text decides a prediction: what another text left on disk is done again."""


class Cell(NamedTuple):
    """What one contender predicts on one rung, by labels of other folds.

    `best` is (S, N): values, or class codes; `truth` is (S, N): the score of the true class, and
    zeros for values. S may be fewer seeds than the rung has.
    """

    best: NDArray[Any]
    truth: NDArray[np.float64]


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
    unused = rung.unused if rung.unused is not None else np.zeros(0, dtype=bool)
    key = ("out of fold", model.kind, settings, digest, rung.fold, unused)

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

"""CoordBench: its folds and its probe on the tables that a user has, in its result format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.files.atomic import write_whole
from training.evaluation.cells import cell, labels_digest, labels_of, score_cells
from training.evaluation.contenders import Contender, InverseDistance, Labels, Model, Ridge
from training.evaluation.coordbench_tables import read_tables
from training.evaluation.ridge import RidgeFolds
from training.probes.baselines import as_encoder
from training.tasks.folds import Rung, make_rungs
from training.tasks.task import Task

PENALTIES = tuple(10.0 ** (k / 2) for k in range(-8, 13))
"""Those that CoordBench tries."""

SPLITS = ("random", 2.0, 10.0, 40.0)
"""Folds of which means are published; cells in degrees."""

R2_FLOOR = -1.0
"""What a lower R² counts as in a mean, as in the leaderboard of torchgeo-bench."""

PUBLISHED = pd.DataFrame(
    {
        "random": [".675 (67.7)", ".504 (63.8)", ".543 (63.5)", ".590 (66.7)", ".643 (67.8)"],
        "2°": [".435 (62.8)", ".375 (60.8)", ".463 (60.6)", ".435 (63.2)", ".508 (64.6)"],
        "10°": [".187 (55.7)", ".153 (55.0)", ".303 (56.0)", ".190 (57.1)", ".356 (59.9)"],
        "40°": ["-.053 (51.2)", "-.082 (51.9)", ".151 (54.2)", "-.086 (52.8)", ".184 (56.3)"],
    },
    index=["coordinate IDW (k = 50)", "SatCLIP L40", "GeoCLIP", "Climplicit", "MIND, chunked"],
)
"""Mean R², and accuracy in %, over 78 targets: Corley et al. (2026), arXiv:2609.25454."""


class PublishedRidge(Ridge):
    """CoordBench's linear probe: one penalty for all folds, the best on the tested places.

    That choice sees the labels it is scored on, so that its scores are a little high; `Ridge`
    chooses among the other folds. Where a table has a test set of its own, fifths of the training
    rows choose, and nothing tested is seen.
    """

    kind = "ridge, as published"

    def __init__(self) -> None:
        super().__init__(PENALTIES)

    def out_of_fold(
        self, labels: Labels, rung: Rung
    ) -> Iterator[tuple[int, int, NDArray[np.float64]]]:
        """Predict all folds with the penalty of the best mean score; see `Model.out_of_fold`."""
        folds = self._folds(labels)
        for seed in range(rung.n_seeds):
            splits = [rung.split(seed, fold) for fold in range(rung.n_folds)]
            judged = [(split.train, split.test) for split in splits]
            if len(splits) == 1:
                train = splits[0].train
                fifths = [train[fifth::5] for fifth in range(5)]
                judged = [(np.setdiff1d(train, fifth), fifth) for fifth in fifths]
            best = _best(labels, folds, judged)
            fitted = folds.weights([split.train for split in splits])
            for fold, (weights, split) in enumerate(zip(fitted, splits, strict=True)):
                yield seed, fold, weights.predict(folds.x[split.test], best)


def _best(
    labels: Labels, folds: RidgeFolds, judged: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]
) -> int:
    """Return the setting with the best mean score over pairs of training and judging rows."""
    fitted = folds.weights([train for train, _ in judged])
    scores = [
        [
            _score(labels, test, weights.predict(folds.x[test], setting))
            for setting in range(len(weights.bias))
        ]
        for weights, (_, test) in zip(fitted, judged, strict=True)
    ]
    return int(np.mean(scores, axis=0).argmax())


def _score(labels: Labels, test: NDArray[np.int64], scores: NDArray[np.float64]) -> float:
    target = labels.target[test]
    if labels.n_classes:
        return float((scores.argmax(1) == target).mean())
    spread = float(np.square(target - target.mean()).sum())
    return 1.0 - float(np.square(scores[:, 0] - target).sum()) / max(spread, 1e-12)


def run_coordbench(
    folder: Path,
    encoders: Sequence[str | LocationEncoder],
    out: Path,
    *,
    configs: Sequence[str] = (),
    splits: Sequence[Any] = SPLITS,
    seeds: int = 5,
    say: Callable[[str], None] = print,
) -> pd.DataFrame:
    """Score encoders, and inverse-distance interpolation, on the tables that are at hand.

    Finished cells are kept in `out`, where `coordbench_results.csv` has one row for each dataset,
    task, split and seed, in the columns of CoordBench.

    Returns
    -------
    pandas.DataFrame
        The same rows.
    """
    loaded = [as_encoder(encoder, "auto") for encoder in encoders]
    contenders = [Contender("idw", InverseDistance())]
    contenders += [Contender(encoder.name, PublishedRidge(), encoder) for encoder in loaded]
    rows: list[dict[str, Any]] = []
    for dataset, column, task in read_tables(folder, configs):
        for rung in _rungs(task, splits, seeds):
            for contender in contenders:
                rows += _rows(dataset, column, task, rung, contender, out / "cells")
                said = np.mean([row["metric_value"] for row in rows[-rung.n_seeds :]])
                say(f"{dataset:24.24} {column:24.24} {rung.name:8} {contender.name:20} {said:.3f}")
            content = pd.DataFrame(rows).to_csv(index=False)
            write_whole(out / "coordbench_results.csv", content.encode())
    return pd.DataFrame(rows)


def _rungs(task: Task, splits: Sequence[Any], seeds: int) -> list[Rung]:
    """Take the split that a table was published with, where it has one, in place of folds."""
    if task.published_test is not None:
        fold = np.where(task.published_test, 0, -1)[None]
        return [Rung("official", "the split as published", fold, np.arange(len(task))[None])]
    return make_rungs(task, splits, seeds=seeds, spread=False)[0]


def _rows(
    dataset: str, column: str, task: Task, rung: Rung, contender: Contender, folder: Path
) -> list[dict[str, Any]]:
    model: Model = contender.model
    labels = labels_of(task, contender.encoder)
    found = cell(model, labels, labels_digest(labels), rung, folder)
    metric = "accuracy" if task.is_classification else "r2"
    scores = score_cells(task, {rung.name: rung}, {(rung.name, contender.name): found})
    by_cells = rung.name.endswith("°")
    rows = []
    for seed, part in scores.groupby("seed"):
        mean, sd = float(part[metric].mean()), float(part[metric].std(ddof=0))
        rows.append(
            {
                "dataset": dataset,
                "task": column,
                "task_type": task.kind,
                "method": "linear" if contender.encoder is not None else model.kind,
                "split": "spatial" if by_cells else rung.name,
                "metric_name": metric,
                "metric_value": mean,
                "ci_lower": mean - sd,
                "ci_upper": mean + sd,
                "n_folds": rung.n_folds,
                "cell_deg": float(rung.name.rstrip("°")) if by_cells else float("nan"),
                "feature_dim": labels.features.shape[1],
                "n_samples": len(task),
                "n_test": int(part["test_places"].sum()),
                "seed": int(str(seed)),
                "model_name": contender.name,
                "model_target": type(contender.encoder or model).__name__,
            }
        )
    return rows


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """Average over targets: R² (accuracy in %), by split; R² counts as `R2_FLOOR` at least."""
    cells = rows["cell_deg"].map(lambda width: f"{width:g}°")
    split = rows["split"].where(rows["split"] != "spatial", cells)
    floored = rows["metric_value"].clip(lower=R2_FLOOR)
    table = rows.assign(split=split, metric_value=floored).groupby(
        ["model_name", "split", "metric_name"], sort=False
    )
    wide = table["metric_value"].mean().unstack("metric_name")
    text = []
    for values in wide.to_dict("records"):
        r2, accuracy = values.get("r2", np.nan), values.get("accuracy", np.nan)
        said = [f"{r2:.3f}" if np.isfinite(r2) else "–"]
        said += [f"({100 * accuracy:.1f})"] if np.isfinite(accuracy) else []
        text.append(" ".join(said))
    return pd.Series(text, wide.index).unstack("split").reindex(columns=split.unique())


def coordbench_report(rows: pd.DataFrame) -> str:
    """Write our means beside the published ones."""
    targets = rows[["dataset", "task"]].drop_duplicates()
    lines = [
        f"Mean R² (accuracy in %) over {len(targets)} targets, as measured here:", "",
        means(rows).to_string(), "",
        "As published over 78 targets (Corley et al. 2026, arXiv:2609.25454):", "",
        PUBLISHED.to_string(), "",
        "The two may be compared only where all 78 targets were run.",
    ]  # fmt: skip
    return "\n".join(lines)

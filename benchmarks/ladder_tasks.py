"""Embedding and place against interpolation, on every rung of every task at hand, in Markdown.

Run it from the repository, with tasks of `list_tasks` or tables as FILE:TARGET::

    python -m benchmarks.ladder_tasks elevation biome plots.csv:biomass --out runs/ladder_tasks

The protocol is CoordBench's: five folds of cells of 0.25 to 40 degrees, drawn five times (twice
for embedding and place). A cell of the table holds the better interpolation on that rung, the
embedding, and embedding and place; ↑ or ↓ where the last differs from the first (p < 0.05, Holm).
A second table says how often 90 % intervals, or sets of classes, held: the least and the most of
all contenders but the constant.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import torch

from training.evaluate import evaluate
from training.evaluation.ladder import Ladder
from training.evaluation.verdict import INTERPOLATION, PLACE
from training.tasks.folds import RUNGS


def row(ladder: Ladder, encoder: str) -> dict[str, str]:
    """Write one task: by rung, interpolation, embedding, embedding and place."""
    means = ladder.summary.xs("mean", axis=1, level=1)
    told = ladder.comparisons.set_index(["rung", "contender"])
    cells = {}
    for rung, scores in means.iterrows():
        both = told.loc[(rung, encoder + PLACE)]
        mark = "" if both["p_holm"] >= 0.05 else "↑" if both["difference"] > 0 else "↓"
        best = max(scores[name] for name in INTERPOLATION)
        cells[str(rung)] = f"{best:.2f} {scores[encoder]:.2f} {scores[encoder + PLACE]:.2f}{mark}"
    return cells


def held(ladder: Ladder) -> dict[str, str]:
    """Write how often 90 % intervals held, by rung: from the least to the most, in percent."""
    names = [name for name in ladder.contenders if name != "constant"]
    shares = pd.DataFrame({name: 100.0 * ladder.coverage(0.9, name)["coverage"] for name in names})
    return {str(rung): f"{each.min():.1f}–{each.max():.1f}" for rung, each in shares.iterrows()}


def show(rows: dict[str, dict[str, str]]) -> None:
    """Print a table in Markdown, one row a task."""
    table = pd.DataFrame.from_dict(rows, "index").fillna("")
    print("| task |", " | ".join(table.columns), "|\n|---|" + "---|" * table.shape[1])
    for name, cells in table.iterrows():
        print("|", name, "|", " | ".join(cells), "|")
    print(flush=True)


def main() -> None:
    """Evaluate task by task, and print the table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="+", help="a name in list_tasks(), or FILE:TARGET")
    parser.add_argument("--encoder", default="mini-l40")
    parser.add_argument("--places", type=int, default=2000, help="of each task, drawn at random")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="keep finished cells here, to go on later")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    rows: dict[str, dict[str, str]] = {}
    intervals: dict[str, dict[str, str]] = {}
    for each in chosen.tasks:
        data, _, target = each.partition(":")
        ladder = evaluate(
            data, target or None, encoders=chosen.encoder, rungs=RUNGS, max_places=chosen.places,
            folder=chosen.out and chosen.out / Path(data).stem,
        )  # fmt: skip
        metric = "R²" if ladder.metric == "r2" else "accuracy"
        rows[f"{Path(data).stem}, {metric}"] = row(ladder, chosen.encoder)
        intervals[Path(data).stem] = held(ladder)
        show(rows)
        show(intervals)


if __name__ == "__main__":
    main()

"""Does the embedded encoder serve? Three ways to hold out, and each encoder's best probe.

Run it from the repository, with a folder of published weights if there is one:

    python -m benchmarks.embedded_encoders --weights FOLDER --out runs/embedded-encoders

Random halves, 500 labels in all, and Africa held out but for 1 % of its places. Every encoder gets
the linear probe, the MLP and the nearest neighbors, over several splits; the table shows the probe
with the best mean. Finished splits are lines of `results.jsonl` and are not computed again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.encoder_table import TASKS, available
from satclip_explore.encoders.cards import CARDS
from satclip_explore.export import write_whole
from training.metrics import HIGHER_IS_BETTER
from training.probe import train_probe
from training.splits import Split, random_split, region_split
from training.task import Task
from training.tasks import load_task

OWN = ("mini-l40", "mini-l10")
PEERS = ("lonlat", "xyz", "harmonics-l10", "harmonics-l40", "random-l40")
MODELS = ("linear", "mlp", "knn")
LABELS = 500
SETTINGS = {"random halves": 3, "500 labels": 3, "Africa but 1 %": 10}
"""Ways to hold out, and over how many splits."""


def split_of(task: Task, setting: str, seed: int) -> Split:
    """Hold out places of a task in one of the three ways."""
    if setting == "random halves":
        return random_split(task, seed=seed)
    if setting == "500 labels":
        return random_split(task, test=1.0 - LABELS / len(task), seed=seed)
    return region_split(task, "Africa", shots=0.01, seed=seed)


def compute(
    encoders: dict[str, Any], tasks: Sequence[str], settings: Sequence[str], out: Path
) -> pd.DataFrame:
    """Score every probe on every split that is not finished; one row each."""
    path = out / "results.jsonl"
    out.mkdir(parents=True, exist_ok=True)
    lines = path.read_text().splitlines() if path.is_file() else []
    done = {
        (row["task"], row["setting"], row["model"], row["seed"]) for row in map(json.loads, lines)
    }
    first, *rest = encoders.values()
    for setting in settings:
        for name in tasks:
            task = load_task(name)
            for model in MODELS:
                for seed in range(SETTINGS[setting]):
                    if (name, setting, model, seed) in done:
                        continue
                    start = time.monotonic()
                    result = train_probe(
                        task, encoder=first, encoders=rest, baselines=("nearest",), model=model,
                        seeds=[seed], split=split_of(task, setting, seed),
                    )  # fmt: skip
                    row = {"task": name, "setting": setting, "model": model, "seed": seed}
                    scores = result.metrics[result.primary].to_dict()
                    with path.open("a") as file:
                        file.write(json.dumps(row | {"metric": result.primary, "scores": scores}))
                        file.write("\n")
                    print(f"{setting} · {name} · {model} · split {seed} · "
                          f"{time.monotonic() - start:.1f} s", flush=True)  # fmt: skip
    return pd.DataFrame(map(json.loads, path.read_text().splitlines()))


def markdown(results: pd.DataFrame, names: Sequence[str]) -> str:
    """Write one table for each way to hold out: best probe, mean and deviation over splits."""
    parts = []
    for setting, of_setting in results.groupby("setting", sort=False):
        tasks = list(dict.fromkeys(of_setting["task"]))
        columns = {}
        for task in tasks:
            part = of_setting[of_setting["task"] == task]
            higher = HIGHER_IS_BETTER[part["metric"].iloc[0]]
            columns[f"{task} {'↑' if higher else 'MSE ↓'}"] = {
                name: _best(part, name, higher) for name in names
            }
        lines = [["encoder", *columns], ["---", *["---:"] * len(columns)]]
        lines += [[name, *(cells[name] for cells in columns.values())] for name in names]
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        parts.append(f"**{setting}**, {SETTINGS[str(setting)]} splits\n\n{table}\n")
    return "\n".join(parts)


def _best(part: pd.DataFrame, name: str, higher: bool) -> str:
    found = part.assign(score=[scores[name] for scores in part["scores"]]).groupby("model")["score"]
    mean, deviation = found.mean(), found.std()
    if name == "nearest":
        return f"{mean.iloc[0]:.3f} ± {deviation.iloc[0]:.3f}"
    model = mean.idxmax() if higher else mean.idxmin()
    return f"{mean[model]:.3f} ± {deviation[model]:.3f} {model}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=None, help="folder of published files")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--out", type=Path, default=Path("runs/embedded-encoders"))
    chosen = parser.parse_args(arguments)
    published = [name for name in CARDS if name.startswith("torchspatial-")]
    encoders = available([*OWN, *PEERS, *published], chosen.weights)
    results = compute(encoders, chosen.tasks, chosen.settings, chosen.out)
    text = markdown(results, [*encoders, "nearest"])
    write_whole(chosen.out / "embedded-encoders.md", text.encode())
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Does the embedded encoder serve? Three ways to hold out, and each encoder's best probe.

Run it from the repository, with a folder of published weights if there is one:

    python -m benchmarks.embedded_encoders --weights FOLDER --out runs/embedded-encoders

Random halves, 500 labels in all, and Africa held out but for 1 % of its places. Every encoder gets
the linear probe, the MLP and the nearest neighbors, over several splits; the table shows the probe
with the best mean. What is finished is a line of `results.jsonl`, and is not computed again for the
same weights. `--write` puts the tables into docs/embedded-encoders.md and the model cards.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.encoder_table import NEAREST, TASKS, available, write_between
from satclip_explore.encoders.cards import CARDS
from satclip_explore.files.atomic import write_whole
from training.probe import train_probe
from training.probes.metrics import HIGHER_IS_BETTER
from training.tasks.atlas import load_task
from training.tasks.splits import Split, random_split, region_split
from training.tasks.task import Task

OWN = ("mini-l40", "mini-l10", "mini-satclip-l10")
PEERS = ("lonlat", "xyz", "harmonics-l10", "harmonics-l40", "random-l40")
MODELS = ("linear", "mlp", "knn")
CELL = ["setting", "task", "model", "seed", "encoder"]
LABELS = 500
ROOT = Path(__file__).resolve().parents[1]
HEADING = "## What probes find"
SETTINGS = {"random halves": 3, "500 labels": 10, "Africa but 1 %": 10}
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
    """Score every probe of every encoder on every split; one row each, finished ones are read."""
    path = out / "results.jsonl"
    out.mkdir(parents=True, exist_ok=True)
    weights = {name: encoder.weights_hash for name, encoder in encoders.items()} | {NEAREST: ""}
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    rows = [row for row in rows if weights.get(row["encoder"]) == row["weights"]]
    done = {tuple(row[key] for key in CELL) for row in rows}
    for setting, task_name, model in product(settings, tasks, MODELS):
        task = load_task(task_name)
        for seed in range(SETTINGS[setting]):
            cell = {"setting": setting, "task": task_name, "model": model, "seed": seed}
            missing = [
                encoder for name, encoder in encoders.items() if (*cell.values(), name) not in done
            ]
            if not missing:
                continue
            start = time.monotonic()
            result = train_probe(
                task, encoder=missing[0], encoders=missing[1:], baselines=(NEAREST,), model=model,
                seeds=[seed], split=split_of(task, setting, seed),
            )  # fmt: skip
            found = [
                cell
                | {"encoder": name, "weights": weights[name]}
                | {"metric": result.primary, "score": float(score)}
                for name, score in result.metrics[result.primary].items()
            ]
            with path.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in found)
            rows += found
            print(f"{' · '.join(map(str, cell.values()))} · {time.monotonic() - start:.1f} s",
                  flush=True)  # fmt: skip
    results = pd.DataFrame(rows).drop_duplicates(CELL)
    results["setting"] = pd.Categorical(results["setting"], list(SETTINGS))
    return results.sort_values("setting", kind="stable")


def markdown(results: pd.DataFrame, names: Sequence[str]) -> str:
    """Write one table for each way to hold out: best probe, mean and deviation over splits."""
    parts = []
    for setting, of_setting in results.groupby("setting", sort=False, observed=True):
        lines = [["encoder"], ["---"], *([name] for name in names)]
        for task, part in of_setting.groupby("task", sort=False):
            columns = {name: best_probe(part, name) for name in names}
            first = _first(columns, part["metric"].iloc[0])
            lines[0].append(_title(str(task), part))
            lines[1].append("---:")
            for line, (name, (_, text)) in zip(lines[2:], columns.items(), strict=True):
                line.append(f"**{text}**" if name == first else text)
        parts.append(f"**{setting}**, {SETTINGS[str(setting)]} splits\n\n{_table(lines)}\n")
    return "\n".join(parts)


def card_section(results: pd.DataFrame, name: str) -> str:
    """Write what probes find in one embedded encoder, beside the best of the others."""
    lines = [
        ["held out", "task", name, "best of the others", "nearest labeled place"],
        ["---", "---", "---:", "---:", "---:"],
    ]
    below = []
    for (setting, task), part in results.groupby(["setting", "task"], sort=False, observed=True):
        peers = [peer for peer in part["encoder"].unique() if peer not in (*OWN, NEAREST)]
        found = {peer: best_probe(part, peer) for peer in peers}
        first = _first(found, part["metric"].iloc[0])
        own = best_probe(part, name)
        if _first({name: own, first: found[first]}, part["metric"].iloc[0]) == first:
            below.append(f"{str(task).replace('_', ' ')} ({setting})")
        cells = [own[1], f"{found[first][1]} on {first}"]
        lines.append([setting, _title(task, part), *cells, best_probe(part, NEAREST)[1]])
    splits = ", ".join(f"{count} for {setting}" for setting, count in SETTINGS.items())
    return f"""{HEADING}

Mean ± sd over splits ({splits}) of the best of linear, MLP and kNN,
for each encoder alike; MSE is of the standardized target. The others are coordinates, harmonics, a
random network and TorchSpatial's published weights. `python -m benchmarks.embedded_encoders` makes
this table; docs/embedded-encoders.md says what was aimed at, and what was tried.

{_table(lines)}

Below the best of the others: {"; ".join(below) or "nowhere"}.
"""


def write(results: pd.DataFrame, tables: str) -> None:
    """Put the tables where readers find them."""
    write_between(ROOT / "docs" / "embedded-encoders.md", "tables", tables)
    for name in OWN:
        card = ROOT / "satclip_explore" / "data" / name / "README.md"
        text = card.read_text().partition(HEADING)[0].rstrip()
        card.write_text(f"{text}\n\n{card_section(results, name)}")


def best_probe(part: pd.DataFrame, name: str) -> tuple[float, str]:
    """Return the mean score of an encoder's best probe on one task, and how it is shown."""
    higher = HIGHER_IS_BETTER[part["metric"].iloc[0]]
    found = part[part["encoder"] == name].groupby("model")["score"]
    mean, deviation = found.mean(), found.std()
    model = mean.idxmax() if higher else mean.idxmin()
    text = f"{mean[model]:.3f} ± {deviation[model]:.3f}"
    return float(mean[model]), text if name == NEAREST else f"{text} {model}"


def _first(found: dict[str, tuple[float, str]], metric: str) -> str:
    return (max if HIGHER_IS_BETTER[metric] else min)(found, key=lambda name: found[name][0])


def _title(task: str, part: pd.DataFrame) -> str:
    higher = HIGHER_IS_BETTER[part["metric"].iloc[0]]
    return f"{task.replace('_', ' ')} {'↑' if higher else 'MSE ↓'}"


def _table(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=None, help="folder of published files")
    parser.add_argument("--encoders", nargs="+", default=None, help="only these; default all")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--write", action="store_true", help="into the docs and the model cards")
    parser.add_argument("--out", type=Path, default=Path("runs/embedded-encoders"))
    chosen = parser.parse_args(arguments)
    published = [name for name in CARDS if name.startswith("torchspatial-")]
    encoders = available(chosen.encoders or [*OWN, *PEERS, *published], chosen.weights)
    results = compute(encoders, chosen.tasks, chosen.settings, chosen.out)
    text = markdown(results, [*encoders, NEAREST])
    write_whole(chosen.out / "embedded-encoders.md", text.encode())
    if chosen.write:
        write(results, text)
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

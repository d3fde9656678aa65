"""Table 1 and Figure 2b as in the paper, and CoordBench: any encoders on any tasks.

Run it from the repository::

    python -m training.benchmark table1 --encoders mini-l40 sphere2vec=FILE --seeds 3
    python -m training.benchmark table1 --task elevation=labels_elevation.csv --tune
    python -m training.benchmark figure2b --seeds 3 --out runs/figure2b
    python -m training.benchmark coordbench --data coordbench --encoders mini-l40 --seeds 5

Every finished cell is a line in `results.jsonl`; a run that is stopped goes on where it was. Cells
of other code, data or settings are not taken for finished.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import numpy as np
import pandas as pd

import training.probes
from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.files.atomic import write_whole
from training.evaluation.coordbench import coordbench_report, run_coordbench
from training.probe import train_probe
from training.probes.baselines import BASELINES
from training.probes.experiments import (
    ENCODERS,
    SEEDS,
    TABLE1_TASKS,
    Cell,
    figure2b,
    published,
    table1,
    tuned,
)
from training.probes.full_batch_mlp import FullBatchMLPProbe
from training.probes.registry import MODELS
from training.probes.report import AS_PUBLISHED, PLACE_ALONE, TUNED, figure_png, markdown
from training.tasks.atlas import load_task
from training.tasks.inaturalist import FILES, URL, load_inaturalist_2018
from training.tasks.published import tables_of
from training.tasks.task import Task

SCORING = (
    "training.benchmark",
    "training.probe",
    "training.tasks.blocks",
    "training.tasks.distances",
    "training.tasks.presence",
    "training.tasks.splits",
    "training.tasks.task",
    *(f"training.probes.{module.name}" for module in iter_modules(training.probes.__path__)),
)
"""Modules whose text decides a score: a cell that another text produced is done again."""


class Results:
    """Finished cells, one JSON line each; a damaged last line is dropped and done again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.rows: dict[str, dict[str, Any]] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
            try:
                row = json.loads(line)
                self.rows[row["key"]] = row
            except (json.JSONDecodeError, KeyError, TypeError):
                continue
        if path.is_file():
            lines = "".join(json.dumps(row) + "\n" for row in self.rows.values())
            write_whole(path, lines.encode())

    def add(self, key: str, row: dict[str, Any]) -> None:
        """Write down a finished cell."""
        self.rows[key] = {"key": key, **row}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.rows[key]) + "\n")


def revision() -> str:
    """Name the code and the settings that a score comes from, in sixteen digits."""
    digest = hashlib.sha256()
    for module in SCORING:
        found = find_spec(module)
        assert found is not None
        assert found.origin is not None
        digest.update(Path(found.origin).read_bytes())
    return digest.hexdigest()[:16]


def task_digest(task: Task) -> str:
    """Name the places, labels, groups and published split of a task."""
    digest = hashlib.sha256(np.ascontiguousarray(task.lonlat).tobytes())
    digest.update(np.ascontiguousarray(task.target).tobytes())
    digest.update(task.group_codes.tobytes())
    if task.published_test is not None:
        digest.update(task.published_test.tobytes())
    return digest.hexdigest()[:16]


def without_folders(text: str) -> str:
    """Keep the file names of a sentence and drop the folders of this machine."""
    return re.sub(r"(?<![\w.:/])(?:~|\.{1,2}|[A-Za-z]:)?[\\/](?:[^\s\\/'\"]+[\\/])+", "", text)


def run(
    cells: Iterable[Cell],
    out: Path,
    say: Callable[[str], None] = print,
    tasks: Mapping[str, Task] | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """Score every cell that is not finished yet.

    Parameters
    ----------
    cells : iterable of Cell
        What to score.
    out : path
        Folder of `results.jsonl`.
    say : callable
        Called with one line per cell.
    tasks : mapping of str to Task, optional
        Those that are at hand, by the name in a cell; others are loaded.

    Returns
    -------
    scores : pandas.DataFrame
        One row per cell: encoder, task, region, shots, model, metric, mean, sd, test places.
    missing : list of str
        What could not be run, which file it lacks and where that is to be had.
    """
    results, rows, missing = Results(out / "results.jsonl"), [], {}
    loaded: dict[str, LocationEncoder] = {}
    known = dict(tasks or {})
    code = revision()
    for cell in cells:
        if cell.encoder in missing:
            continue
        if cell.encoder not in loaded and cell.encoder != "nearest":
            try:
                loaded[cell.encoder] = load_encoder(cell.encoder.rpartition("=")[2])
            except (FileNotFoundError, ValueError, ImportError) as error:
                missing[cell.encoder] = without_folders(f"{cell.encoder}: {error}")
                say(f"cannot run {missing[cell.encoder]}")
                continue
        encoder = loaded.get(cell.encoder)
        name = cell.encoder.rpartition("=")[0] or (encoder.name if encoder else cell.encoder)
        shots = cell.shots if cell.region else None
        weights = encoder.weights_hash if encoder else ""
        if cell.task not in known:
            known[cell.task] = load_task(cell.task)
        task = known[cell.task]
        key = json.dumps(
            [
                *(name, weights, cell.task, cell.region, shots, cell.model, cell.seeds),
                *(cell.tune, code, task_digest(task)),
            ]
        )
        if key not in results.rows:
            start = time.monotonic()
            row = _score(cell, task, encoder, name)
            results.add(key, row | {"seconds": round(time.monotonic() - start, 1)})
        row = results.rows[key]
        part = "" if shots is None else f"{shots:.0%}"
        say(f"{row['encoder']:28.28} {row['task']:16} {part:4} {row['mean']:.3f} ± {row['sd']:.3f}")
        rows.append(row)
    return pd.DataFrame(rows), list(missing.values())


def _score(cell: Cell, task: Task, encoder: LocationEncoder | None, name: str) -> dict[str, Any]:
    """Train and score one cell."""
    nearest = encoder is None
    result = train_probe(
        task,
        region=cell.region,
        shots=cell.shots,
        model="linear" if nearest else cell.model,
        seeds=cell.seeds,
        tune=cell.tune and not nearest,
        # "nearest" uses no embedding; it comes along with the cheapest encoder there is.
        encoder="xyz" if nearest else encoder,
        baselines=("nearest",) if nearest else (),
    )
    scores = result.metrics.loc["nearest" if nearest else result.name]
    if cell.model == "kriging" and encoder:
        name = PLACE_ALONE if encoder.name == "xyz" else f"{name} + place"
    if cell.model == FullBatchMLPProbe.kind and encoder:
        name = f"{name}{AS_PUBLISHED}"
    if cell.tune and encoder:
        name = f"{name}{TUNED}"
    return {
        "encoder": name,
        "dim": encoder.embed_dim if encoder else 0,
        "task": cell.task,
        "region": cell.region,
        "shots": cell.shots if cell.region else None,
        "model": cell.model,
        "tuned": cell.tune and not nearest,
        "settings": result.facts["settings"],
        "metric": result.primary,
        "mean": float(scores[result.primary]),
        "sd": float(scores[f"{result.primary}_sd"]),
        "test_places": len(result.split.test),
        "ceiling": result.ceiling,
        "split": result.split.description,
    }


def _coordbench(chosen: argparse.Namespace, out: Path) -> int:
    """Score CoordBench's tables by its own folds and probe."""
    if chosen.data is None:
        print("coordbench needs --data FOLDER, with data/<config>/data.parquet.", file=sys.stderr)
        return 2
    try:
        rows = run_coordbench(
            chosen.data, chosen.encoders or ["mini-l40"], out, configs=chosen.tasks or (),
            seeds=chosen.seeds,
        )  # fmt: skip
    except (FileNotFoundError, ImportError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(coordbench_report(rows))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 2 for bad arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m training.benchmark", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("what", choices=("table1", "figure2b", "coordbench"))
    parser.add_argument("--encoders", nargs="+", default=None, help="names, files, or SHOWN=FILE")
    parser.add_argument(
        "--tasks", "--task", nargs="+", default=None,
        help="names from list_tasks(), or NAME=FILE for a table",
    )  # fmt: skip
    parser.add_argument("--target", default=None, help="column of such a table to predict")
    parser.add_argument("--inaturalist", type=Path, default=None, help="folder of its four files")
    parser.add_argument("--image-features", type=Path, default=None, help=".npz for iNaturalist")
    parser.add_argument("--region", default="Africa", help="held out in figure2b")
    parser.add_argument("--model", default="mlp", choices=MODELS)
    parser.add_argument("--tune", action="store_true", help="choose settings on validation rows")
    parser.add_argument(
        "--published", action="store_true",
        help="a second row with the probe of the authors' notebook, where the target is a number",
    )  # fmt: skip
    parser.add_argument("--data", type=Path, help="folder of CoordBench's data/<config>")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--out", type=Path, default=None, help="folder; default runs/WHAT")
    chosen = parser.parse_args(arguments)
    out = chosen.out or Path("runs") / chosen.what
    if chosen.what == "coordbench":
        return _coordbench(chosen, out)
    encoders = [*(chosen.encoders or ENCODERS), *BASELINES]
    encoders = list(dict.fromkeys(encoders))
    default = TABLE1_TASKS if chosen.what == "table1" else ("ecoregion", "biome")
    tasks = [task.partition("=")[0] for task in chosen.tasks or default]
    try:
        tables = tables_of(chosen.tasks or (), chosen.target)
        if chosen.inaturalist is not None:
            species = load_inaturalist_2018(chosen.inaturalist, chosen.image_features)
            tables[species.name] = species
            tasks.append(species.name)
        for name, task in tables.items():
            left_out = ", ".join(f"{count:,} ({why})" for why, count in task.dropped.items())
            print(f"{name}: {len(task):,} places; left out: {left_out or 'none'}")
        known = tables | {name: load_task(name) for name in tasks if name not in tables}
        cells = (
            table1(encoders, tasks, chosen.model, chosen.seeds)
            if chosen.what == "table1"
            else figure2b(encoders, tasks, chosen.model, chosen.seeds, chosen.region)
        )
        extra = published(cells, known) if chosen.published else []
        cells = [*(tuned(cells) if chosen.tune else cells), *extra]
        scores, missing = run(dict.fromkeys(cells), out, tasks=known)
    except (FileNotFoundError, ImportError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    if chosen.what == "table1" and chosen.tasks is None and chosen.inaturalist is None:
        missing.append(f"iNaturalist 2018: {FILES}, and image features; from {URL}")
    if scores.empty:
        print("\n".join(["nothing could be run:", *missing]), file=sys.stderr)
        return 2
    text = markdown(scores, missing, chosen.what)
    write_whole(out / f"{chosen.what}.md", text.encode())
    write_whole(out / f"{chosen.what}.png", figure_png(scores, chosen.what))
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

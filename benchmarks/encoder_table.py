"""Every encoder in one table: numbers, coverage, speed, and what probes find on the atlas.

Run it from the repository, with a folder of published weights if there is one:

    python -m benchmarks.encoder_table --weights FOLDER --page

``--page`` puts the table into docs/encoders.md. Encoders that are not at hand share a row without
figures with their like. The best figure of a column is bold.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from satclip_explore.atlas import load_atlas
from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.encoders.cards import CARDS
from satclip_explore.encoders.registry import WeightsNotFoundError, load_encoder
from satclip_explore.files.atomic import write_whole
from training.probe import train_probe
from training.probes.metrics import HIGHER_IS_BETTER
from training.tasks.atlas import load_task
from training.tasks.task import Task

PAGE = Path(__file__).resolve().parents[1] / "docs" / "encoders.md"
TASKS = ("biome", "ecoregion", "country", "elevation", "population", "air_temperature")
PLACES = 20_000
"""Places of one measurement of speed; fewer where an encoder needs more than `SECONDS` for them."""

SECONDS = 3.0
NEAREST = "nearest"


def available(names: Sequence[str], weights: Path | None) -> dict[str, LocationEncoder]:
    """Load every encoder that is at hand, by registered name: own, cached, or in a folder."""
    files = {path.name: path for path in sorted(weights.rglob("*"))} if weights else {}
    found = {}
    for name in names:
        path = files.get(CARDS[name].filename) if not CARDS[name].embedded else None
        try:
            found[name] = load_encoder(name, path=path)
        except WeightsNotFoundError:
            continue
    return found


def places_per_second(encoder: LocationEncoder, repeats: int) -> float:
    """Measure the median speed of `embed` on the land places of the atlas."""
    lonlat = load_atlas().lonlat[:PLACES]
    encoder.embed(lonlat[:256])
    start = time.perf_counter()
    encoder.embed(lonlat[:1024])
    likely = (time.perf_counter() - start) / 1024
    lonlat = lonlat[: max(256, min(PLACES, int(SECONDS / likely)))]
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        encoder.embed(lonlat)
        seconds.append(time.perf_counter() - start)
    return len(lonlat) / statistics.median(seconds)


def scores(
    encoders: dict[str, LocationEncoder], task: Task, model: str, seeds: int
) -> tuple[pd.Series, pd.Series, str]:
    """Score a probe of one task on every encoder: means and deviations over seeds, the metric."""
    first, *rest = encoders.values()
    result = train_probe(
        task, encoder=first, encoders=rest, baselines=(NEAREST,), model=model, seeds=seeds
    )
    metric = result.primary
    return result.metrics[metric], result.metrics[f"{metric}_sd"], metric


def markdown(facts: pd.DataFrame, columns: dict[str, str]) -> str:
    """Write the table; `columns` says which metric each task is scored by."""
    titles = [
        f"{task.replace('_', ' ')} {'MSE ↓' if not HIGHER_IS_BETTER[metric] else '↑'}"
        for task, metric in columns.items()
    ]
    lines = [["encoder", "numbers", "coverage", "places/s", *titles]]
    lines.append(["---", "---:", "---", *["---:"] * (1 + len(titles))])
    best = {
        task: facts[task].max() if HIGHER_IS_BETTER[metric] else facts[task].min()
        for task, metric in columns.items()
    }
    for name, row in _merged(facts).iterrows():
        nearest = name == NEAREST
        cells = ["*nearest labeled place, no encoder*" if nearest else str(name)]
        cells += ["", ""] if nearest else [f"{row['numbers']:,}", str(row["coverage"])]
        cells.append("" if nearest else _two_digits(row["speed"]))
        for task in columns:
            text = "–" if np.isnan(row[task]) else f"{row[task]:.3f}".replace("0.", ".", 1)
            cells.append(f"**{text}**" if row[task] == best[task] else text)
        lines.append(cells)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _merged(facts: pd.DataFrame) -> pd.DataFrame:
    """Join the names of encoders without figures where numbers and coverage agree."""
    absent = facts["speed"].isna() & (facts.index != NEAREST)
    groups = facts[absent].groupby(["numbers", "coverage"], sort=False).groups
    rows, names = [], []
    for name, row in facts.iterrows():
        alike = groups.get((row["numbers"], row["coverage"]), []) if absent[name] else [name]
        if name == alike[0]:
            rows.append(row)
            names.append(", ".join(alike))
    return pd.DataFrame(rows, index=names)


def _two_digits(value: float) -> str:
    return "–" if np.isnan(value) else f"{float(f'{value:.2g}'):,.0f}"


def write_between(page: Path, name: str, text: str) -> None:
    """Replace what stands between two comments, `<!-- name -->` and `<!-- /name -->`, of a page.

    Raises
    ------
    ValueError
        If the page does not have both.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{page.name} must hold {begin.strip()} and {end} on lines of their own.")
    write_whole(page, f"{before}{begin}{text}{end}{after}".encode())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.encoder_table", description=__doc__)
    parser.add_argument("--weights", type=Path, default=None, help="folder of published files")
    parser.add_argument("--encoders", nargs="+", default=list(CARDS), choices=list(CARDS))
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--model", default="mlp", choices=("mlp", "linear", "knn"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--page", action="store_true", help=f"write into docs/{PAGE.name} too")
    parser.add_argument("--out", type=Path, default=Path("runs/encoder-table"))
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    encoders = available(chosen.encoders, chosen.weights)
    facts = pd.DataFrame(
        {
            "numbers": [CARDS[name].dim for name in chosen.encoders],
            "coverage": [CARDS[name].coverage for name in chosen.encoders],
        },
        index=chosen.encoders,
    )
    speeds = {
        name: places_per_second(encoder, chosen.repeats) for name, encoder in encoders.items()
    }
    facts["speed"] = pd.Series(speeds, dtype=float)
    facts.loc[NEAREST] = [0, "", np.nan]
    columns, spread = {}, 0.0
    for name in chosen.tasks:
        start = time.monotonic()
        facts[name], deviations, columns[name] = scores(
            encoders, load_task(name), chosen.model, chosen.seeds
        )
        spread = max(spread, float(deviations.max()))
        print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
    table = markdown(facts, columns)
    if chosen.page:
        write_between(PAGE, "encoder table", table)
    text = table + (
        f"\nRandom halves, {chosen.model}, mean over {chosen.seeds} seeds (sd at most "
        f"{spread:.3f}); speed on {chosen.threads} cores.\n"
    )
    chosen.out.mkdir(parents=True, exist_ok=True)
    write_whole(chosen.out / "encoders.md", text.encode())
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

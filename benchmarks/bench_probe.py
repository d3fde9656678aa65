"""How fast probes train: all seeds at once against one after another, and whole runs.

Run it from the repository:

    python -m benchmarks.bench_probe [--threads 2] [--repeats 3] [--precision float32]

Rounds alternate, so that other work on the machine falls on both sides; medians are printed, of the
wall clock and of the processor's time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from satclip_explore.encoders.registry import load_encoder
from satclip_explore.fields import EmbeddedGrid
from satclip_explore.geo import unit_vectors
from training import contenders
from training.heads import TrainingData
from training.labels import predict_labels
from training.mlp import MLPHead, MLPSettings, fit_mlp
from training.probe import train_probe
from training.splits import random_split, shuffled
from training.tasks import load_task

SEEDS = range(10)


def task_data(name: str, encoder: str) -> TrainingData:
    """Return the training half of a task, with a tenth of it for validation."""
    task = load_task(name)
    rows = random_split(task).train
    lonlat, target = task.lonlat[rows], task.target[rows]
    if not task.is_classification:
        target = ((target - target.mean()) / target.std()).astype(np.float32)
    valid = np.zeros(len(rows), dtype=bool)
    valid[shuffled(len(rows), 1)[: len(rows) // 10]] = True
    return TrainingData(
        torch.from_numpy(load_encoder(encoder).embed(lonlat)).float(),
        torch.from_numpy(unit_vectors(lonlat)).float(),
        torch.from_numpy(target),
        len(task.classes),
        torch.from_numpy(valid),
    )


def seconds(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Return wall seconds, processor seconds and the result."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def together_and_alone(name: str, encoder: str, settings: MLPSettings, repeats: int) -> None:
    """Time ten seeds at once and one after another, in turn, and compare what they predict."""
    data = task_data(name, encoder)
    at_once: list[tuple[float, float]] = []
    in_turn: list[tuple[float, float]] = []
    for _ in range(repeats):
        *took, together = seconds(lambda: fit_mlp(data, SEEDS, settings))
        at_once.append((took[0], took[1]))
        *took, alone = seconds(lambda: [fit_mlp(data, [seed], settings) for seed in SEEDS])
        in_turn.append((took[0], took[1]))
    print(
        f"{name:16} {settings.precision:9} at once {_median(at_once)}  in turn "
        f"{_median(in_turn)}  ratio wall {_ratio(in_turn, at_once, 0):.1f} cpu "
        f"{_ratio(in_turn, at_once, 1):.1f}  {_difference(data, together, alone)}",
        flush=True,
    )


def _difference(data: TrainingData, together: MLPHead, alone: Sequence[MLPHead]) -> str:
    features, vectors = data.features[:2000], data.vectors[:2000]
    one = together.scores(features, vectors)
    other = torch.cat([head.scores(features, vectors) for head in alone])
    relative = float((one - other).abs().max() / one.abs().mean())
    if not data.n_classes:
        return f"largest difference {relative:.1e} of the mean score"
    same = float((one.argmax(2) == other.argmax(2)).float().mean())
    return f"largest difference {relative:.1e} of the mean score, {same:.2%} same class"


def _median(rounds: list[tuple[float, float]]) -> str:
    wall, cpu = (statistics.median(one[k] for one in rounds) for k in (0, 1))
    return f"{wall:6.2f} s (cpu {cpu:6.2f})"


def _ratio(slow: list[tuple[float, float]], fast: list[tuple[float, float]], k: int) -> float:
    return statistics.median(a[k] / b[k] for a, b in zip(slow, fast, strict=True))


def whole_runs(repeats: int) -> None:
    """Time `train_probe(region="Africa")` with nothing kept from the run before."""
    for model in ("linear", "mlp", "knn", "kernel"):
        rounds, first = [], []
        for _ in range(repeats):
            contenders.forget_embeddings()
            start = time.perf_counter()
            points: list[float] = []
            wall, cpu, result = seconds(
                lambda model=model, points=points, start=start: train_probe(
                    region="Africa",
                    model=model,
                    on_update=lambda step, losses: points.append(time.perf_counter() - start),
                )
            )
            rounds.append((wall, cpu))
            first.append(points[0])
        print(
            f"train_probe(region='Africa', model={model!r}): {_median(rounds)}, first point "
            f"{statistics.median(first):.2f} s; {result!r}",
            flush=True,
        )
        raster = seconds(partial(result.predict_raster, 1.0))[:2]
        print(f"    raster of 1 degree {_median([raster])}")


def clicks() -> None:
    """Time a click on a 1 degree map with the default encoder."""
    globe = EmbeddedGrid.of(load_encoder(), 1.0)
    rng = np.random.default_rng(0)
    lonlat = np.stack([rng.uniform(-180, 180, 50), rng.uniform(-80, 80, 50)], axis=1)
    codes = np.arange(50) % 3
    rounds = [
        seconds(lambda n=n: predict_labels(globe, lonlat[:n], codes[:n]))[:2] for n in range(3, 50)
    ]
    wall = [one[0] for one in rounds[2:]]
    print(f"click on a 1 degree map: median {statistics.median(wall) * 1e3:.0f} ms, "
          f"slowest {max(wall) * 1e3:.0f} ms")  # fmt: skip


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    parser.add_argument("--encoder", default="mini-l40")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    settings = MLPSettings(precision=chosen.precision)
    for name in ("air_temperature", "elevation", "biome", "ecoregion"):
        together_and_alone(name, chosen.encoder, settings, chosen.repeats)
    clicks()
    whole_runs(chosen.repeats)


if __name__ == "__main__":
    main()

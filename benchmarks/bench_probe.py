"""How fast probes train: all seeds at once against one after another, and whole runs.

Run it from the repository:

    python -m benchmarks.bench_probe [--threads 2] [--repeats 3] [--precision float32]
        [--tasks biome] [--seeds-only]

Rounds alternate, so that other work on the machine falls on both sides; medians are printed, of the
wall clock and of the processor's time.
"""

from __future__ import annotations

import argparse
import copy
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from satclip_explore.encoders.registry import load_encoder
from satclip_explore.fields import EmbeddedGrid
from satclip_explore.geo import unit_vectors
from satclip_explore.labels import predict_labels
from satclip_explore.store import RESULTS
from training.probe import train_probe
from training.probes.base import mean_error, place_errors, standardization
from training.probes.data import TrainingData
from training.probes.mlp import MLPProbe, MLPSettings
from training.probes.mlp_training import Batches, Weights, first_weights, schedule
from training.tasks.atlas import load_task
from training.tasks.splits import random_split, shuffled

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


def plain_run(data: TrainingData, seed: int, settings: MLPSettings) -> torch.nn.Sequential:
    """Train one probe as one would write it down: autograd, AdamW, one seed, float32.

    First weights, batches, schedule and early stopping are those of `MLPProbe`.
    """
    settings = settings.completed(data.features.shape[1], data.n_outputs)
    steps, decay = settings.steps, settings.weight_decay
    assert steps is not None
    assert decay is not None
    fitting, valid = data.part(~data.valid), data.part(data.valid)
    mean, scale = standardization(fitting.features)
    x, valid_x = (fitting.features - mean) / scale, (valid.features - mean) / scale
    sizes = (x.shape[1], settings.hidden_dim, data.n_outputs)
    generator = torch.Generator().manual_seed(seed)
    first = Weights(first_weights([generator], sizes), 1, sizes).all
    net = torch.nn.Sequential(
        torch.nn.Linear(*sizes[:2]), torch.nn.ReLU(), torch.nn.Linear(*sizes[1:])
    )
    with torch.no_grad():
        for parameter, start in zip(net.parameters(), first, strict=True):
            parameter.copy_(start[0].T.reshape(parameter.shape))
    optimizer = torch.optim.AdamW(net.parameters(), betas=(0.9, 0.99), weight_decay=decay)
    loss_of = torch.nn.CrossEntropyLoss() if data.n_classes else torch.nn.MSELoss()
    target = fitting.target if data.n_classes else fitting.target[:, None]
    batches = Batches(len(x), min(settings.batch_size, len(x)), [generator])
    tenth = max(1, steps // 10)
    every = max(min(10, tenth), min(tenth, math.ceil(len(x) / batches.size)))
    least, margin, stale, kept = math.inf, 0.0, 0, copy.deepcopy(net.state_dict())
    for step in range(steps + 1):
        if step % every == 0 or step == steps:
            with torch.no_grad():
                scores = net(valid_x)[None]
            error, deviation = map(
                float, mean_error(place_errors(scores, valid.target, data.n_classes))
            )
            better = error <= least + margin
            if better:
                kept, stale = copy.deepcopy(net.state_dict()), 0
            else:
                stale += 1
            margin = deviation if error < least else margin
            least = min(least, error)
            if stale >= settings.patience:
                break
        if step < steps:
            rows = batches.next()[0]
            optimizer.param_groups[0]["lr"] = settings.learning_rate * schedule(step, steps)
            optimizer.zero_grad()
            loss_of(net(x[rows]), target[rows]).backward()
            optimizer.step()
    net.load_state_dict(kept)
    return net


def together_and_alone(name: str, encoder: str, settings: MLPSettings, repeats: int) -> None:
    """Time ten seeds at once; one after another by the same code; and as plain PyTorch.

    The three take turns. The last runs a fifth of the seeds only, and is scaled.
    """
    data = task_data(name, encoder)
    rounds: dict[str, list[tuple[float, float]]] = {"at once": [], "in turn": [], "plain": []}
    MLPProbe.fit(data, [0], replace(settings, steps=20))
    plain_run(data, 0, replace(settings, steps=20))
    for _ in range(repeats):
        *took, together = seconds(lambda: MLPProbe.fit(data, SEEDS, settings))
        rounds["at once"].append((took[0], took[1]))
        *took, alone = seconds(lambda: [MLPProbe.fit(data, [seed], settings) for seed in SEEDS])
        rounds["in turn"].append((took[0], took[1]))
        *took, _ = seconds(lambda: [plain_run(data, seed, settings) for seed in SEEDS[::5]])
        rounds["plain"].append((5.0 * took[0], 5.0 * took[1]))
    print(f"{name} ({data.n_outputs} outputs), {settings.precision}")
    for way, times in rounds.items():
        print(
            f"    {way:8} {_median(times)}  ratio wall {_ratio(times, rounds['at once'], 0):.1f} "
            f"cpu {_ratio(times, rounds['at once'], 1):.1f}"
        )
    print(f"    {_difference(data, together, alone)}", flush=True)


def calls(name: str, repeats: int) -> None:
    """Time one call of `train_probe` for ten seeds against ten calls for one, baselines included.

    Fits and embeddings of the call before are forgotten.
    """
    at_once, in_turn = [], []

    def run(**seeds: Any) -> Any:
        RESULTS.clear()
        return train_probe(name, region="Africa", model="mlp", **seeds)

    run(seeds=1)
    for _ in range(repeats):
        at_once.append(seconds(lambda: run(seeds=10).metrics)[:2])
        in_turn.append(seconds(lambda: [run(seeds=[seed]).metrics for seed in SEEDS])[:2])
    print(
        f"train_probe({name!r}): one call {_median(at_once)}, ten calls {_median(in_turn)}, ratio "
        f"wall {_ratio(in_turn, at_once, 0):.1f} cpu {_ratio(in_turn, at_once, 1):.1f}",
        flush=True,
    )


def _difference(data: TrainingData, together: MLPProbe, alone: Sequence[MLPProbe]) -> str:
    features, vectors = data.features[:2000], data.vectors[:2000]
    batched = together.scores(features, vectors)
    single = torch.cat([probe.scores(features, vectors) for probe in alone])
    relative = float((batched - single).abs().max() / batched.abs().mean())
    if not data.n_classes:
        return f"largest difference {relative:.1e} of the mean score"
    same = float((batched.argmax(2) == single.argmax(2)).float().mean())
    return f"largest difference {relative:.1e} of the mean score, {same:.2%} same class"


def _median(rounds: list[tuple[float, float]]) -> str:
    wall, cpu = (statistics.median(times[k] for times in rounds) for k in (0, 1))
    return f"{wall:6.2f} s (cpu {cpu:6.2f})"


def _ratio(slow: list[tuple[float, float]], fast: list[tuple[float, float]], k: int) -> float:
    return statistics.median(a[k] / b[k] for a, b in zip(slow, fast, strict=True))


def whole_runs(repeats: int) -> None:
    """Time `train_probe(region="Africa")` with nothing kept from the run before."""
    for model in ("linear", "mlp", "knn", "kriging"):
        rounds, first = [], []
        for _ in range(repeats):
            RESULTS.clear()
            start = time.perf_counter()
            points: list[float] = []
            wall, cpu, result = seconds(
                lambda model=model, points=points, start=start: train_probe(
                    region="Africa",
                    model=model,
                    on_progress=lambda losses: points.append(time.perf_counter() - start),
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
    wall = [times[0] for times in rounds[2:]]
    print(f"click on a 1 degree map: median {statistics.median(wall) * 1e3:.0f} ms, "
          f"slowest {max(wall) * 1e3:.0f} ms")  # fmt: skip


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    parser.add_argument("--encoder", default="mini-l40")
    parser.add_argument(
        "--tasks", nargs="+", default=["air_temperature", "elevation", "biome", "ecoregion"]
    )
    parser.add_argument("--seeds-only", action="store_true", help="leave out the whole runs")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    settings = MLPSettings(precision=chosen.precision)
    for name in chosen.tasks:
        together_and_alone(name, chosen.encoder, settings, chosen.repeats)
    if chosen.seeds_only:
        return
    calls("biome", chosen.repeats)
    clicks()
    whole_runs(chosen.repeats)


if __name__ == "__main__":
    main()

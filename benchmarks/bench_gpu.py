"""What an accelerator does for each part, beside the CPU of the same machine: `make gpu`.

Needs torch and the package's own dependencies; no maps, no user interface, no network. One JSON
file, one table, at most eight minutes.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from satclip_explore.encoders.satclip import SatCLIP
from satclip_explore.encoders.siren import Siren
from satclip_explore.encoders.spherical_harmonics import real_spherical_harmonics
from satclip_explore.geo import Grid
from satclip_explore.projection import fit_pca, pca_colors
from training.imagery.backbones import Frozen
from training.pretraining.loss import contrastive_loss
from training.probes.data import TrainingData
from training.probes.mlp import MLPProbe
from training.probes.mlp_training import MLPSettings

SECONDS = 2.0
"""Each figure is the best of what fits in this time, and of two runs at least."""

SIZES: dict[str, dict[str, Any]] = {
    "cuda": {
        "places": 1_000_000, "resolution": 0.25, "vectors": 10_000_000, "batch": 8192,
        "side": 8192, "labels": 10_000, "classes": 694, "steps": 400, "tiles": 256,
    },
    "cpu": {
        "places": 50_000, "resolution": 0.25, "vectors": 1_000_000, "batch": 8192,
        "side": 2048, "labels": 10_000, "classes": 694, "steps": 400, "tiles": 8,
    },
    "test": {
        "places": 64, "resolution": 30.0, "vectors": 256, "batch": 32, "side": 32, "labels": 60,
        "classes": 3, "steps": 2, "tiles": 1,
    },
}  # fmt: skip
"""Work on each device; on a CPU less of it, since what is given are rates."""

NEIGHBORS = 100

PRECISIONS = ("float32", "bfloat16")

SEEDS = 10

BACKBONES = {
    "ResNet50, 256 px": ("resnet50", 256),
    "ViT-S/16, 224 px": ("vit_small_patch16_224", 224),
}
"""timm's names and edges of images of the published image encoders; their weights do not matter."""


def best_seconds(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Return the least time of a piece of work, after one run that is not counted."""

    def once() -> float:
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    once()
    times = [once(), once()]
    while sum(times) < seconds:
        times.append(once())
    return min(times)


def matrix_rate(device: torch.device, dtype: torch.dtype, side: int, seconds: float) -> float:
    """Return the floating-point operations a second of one square matrix product."""
    a = torch.randn(side, side, device=device).to(dtype)
    return 2.0 * side**3 / best_seconds(lambda: a @ a, device, seconds)


def encoder_on(device: torch.device) -> SatCLIP:
    """Return an encoder of the published size, L = 40, with random weights."""
    network = Siren(1600, 512, 256, seed=0, w0_initial=5.0)
    return SatCLIP(network, 40, name="l40").to(device)


def network_flops(places: int) -> float:
    """Count the operations of the published network's matrices: 1,600 × 512 × 512 × 256."""
    return 2.0 * places * (1600 * 512 + 512 * 512 + 512 * 256)


def measure(device: torch.device, sizes: dict[str, Any], seconds: float) -> dict[str, float]:
    """Measure every part on one device.

    Parameters
    ----------
    device : torch.device
        Where.
    sizes : dict
        One of `SIZES`.
    seconds : float
        For each figure.

    Returns
    -------
    dict of str to float
        Rates and times by name; the units are in the names.
    """
    rng, found = np.random.default_rng(0), {}
    lonlat = np.column_stack(
        [rng.uniform(-180, 180, sizes["places"]), rng.uniform(-90, 90, sizes["places"])]
    )
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    rates = {
        name: matrix_rate(device, dtype, sizes["side"], seconds)
        for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16))
    }
    for name, rate in rates.items():
        found[f"matrix products, {name}, TFLOP/s"] = rate / 1e12
    encoder = encoder_on(device)
    spent = best_seconds(lambda: encoder.embed(lonlat), device, seconds)
    found["scattered places, float32, per second"] = len(lonlat) / spent
    share = network_flops(len(lonlat)) / spent / rates["float32"]
    found["share of the float32 matrix rate, %"] = 100.0 * share
    grid = Grid.from_resolution(sizes["resolution"])
    pixels = grid.shape[0] * grid.shape[1]
    projection = fit_pca(encoder, 3)
    for precision in PRECISIONS:

        def encode(precision: str = precision) -> None:
            for _ in encoder.iter_grid(grid, projection.readout(), precision=precision):
                pass

        spent = best_seconds(encode, device, seconds)
        found[f"grid, folded to colors, {precision}, pixels per second"] = pixels / spent
    found[f"the globe in colors at {sizes['resolution']:g}°, seconds"] = best_seconds(
        lambda: pca_colors(encoder, grid, projection), device, seconds
    )
    found |= neighbors(device, sizes["vectors"], seconds)
    found |= training_steps(device, sizes["batch"], lonlat, seconds)
    found |= probe(device, sizes["labels"], sizes["classes"], sizes["steps"])
    found |= image_features(device, sizes["tiles"], seconds)
    if device.type == "cuda":
        found["memory at most, GB"] = torch.cuda.max_memory_allocated(device) / 1e9
    return found


def neighbors(device: torch.device, vectors: int, seconds: float) -> dict[str, float]:
    """Time an exact search for the most similar of many unit vectors of 64 numbers."""
    known = torch.nn.functional.normalize(torch.randn(vectors, 64, device=device), dim=1)
    query, count = known[0], min(NEIGHBORS, vectors)
    spent = best_seconds(lambda: torch.topk(known @ query, count), device, seconds)
    return {f"{count} nearest of {vectors / 1e6:g} million, 64 numbers, ms": 1000.0 * spent}


def training_steps(
    device: torch.device, batch: int, lonlat: np.ndarray, seconds: float
) -> dict[str, float]:
    """Time steps of contrastive training at L = 40 on random image features."""
    network = Siren(1600, 512, 256, seed=0, w0_initial=5.0).to(device)
    scale = torch.nn.Parameter(torch.tensor(np.log(1 / 0.07), dtype=torch.float32, device=device))
    optimizer = torch.optim.Adam([*network.parameters(), scale], lr=1e-4)
    rows = np.resize(np.arange(len(lonlat)), batch)
    places = torch.from_numpy(lonlat[rows]).to(device)
    harmonics = real_spherical_harmonics(places, 40).float()
    images = torch.nn.functional.normalize(torch.randn(batch, 256, device=device), dim=1)

    def step() -> None:
        optimizer.zero_grad()
        located = torch.nn.functional.normalize(network(harmonics), dim=1)
        contrastive_loss(images, located, scale).backward()
        optimizer.step()

    rate = 1.0 / best_seconds(step, device, seconds)
    return {f"contrastive steps at batch {batch:,}, L = 40, per second": rate}


def probe(device: torch.device, labels: int, classes: int, steps: int) -> dict[str, float]:
    """Time the default probe, ten seeds together, on random embeddings of 256 numbers."""
    rng = torch.Generator().manual_seed(0)
    data = TrainingData(
        torch.randn(labels, 256, generator=rng).to(device),
        torch.nn.functional.normalize(torch.randn(labels, 3, generator=rng), dim=1).to(device),
        torch.randint(classes, (labels,), generator=rng).to(device),
        classes,
        (torch.arange(labels) % 10 == 0).to(device),
    )
    MLPProbe.fit(data, range(SEEDS), MLPSettings(steps=2))
    began = time.perf_counter()
    fitted = MLPProbe.fit(data, range(SEEDS), MLPSettings(steps=steps, patience=steps))
    fitted.w1.sum().item()
    spent = time.perf_counter() - began
    name = f"probe, {SEEDS} seeds, {steps} steps, {labels:,} labels of {classes} classes, seconds"
    return {name: spent}


def image_features(device: torch.device, tiles: int, seconds: float) -> dict[str, float]:
    """Time the published image encoders on tiles of 13 random bands; {} without timm."""
    try:
        import timm
    except ImportError:
        return {}
    found = {}
    for name, (model, edge) in BACKBONES.items():
        backbone = Frozen(timm.create_model(model, in_chans=13, num_classes=0)).to(device)
        images = torch.randn(tiles, 13, edge, edge, device=device)
        for precision in PRECISIONS:
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                spent = best_seconds(partial(backbone, images), device, seconds)
            found[f"features of {name}, {precision}, tiles per second"] = tiles / spent
    return found


def table(columns: dict[str, dict[str, float]]) -> str:
    """Write figures as a Markdown table, a column for each device."""
    names = list(dict.fromkeys(name for found in columns.values() for name in found))
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name in names:
        cells = [
            f"{found[name]:,.4g}" if name in found else "not measured" for found in columns.values()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def devices() -> dict[str, torch.device]:
    """Return the devices of this machine by what a table calls them."""
    found = {f"CPU, {torch.get_num_threads()} threads": torch.device("cpu")}
    if torch.cuda.is_available():
        found = {torch.cuda.get_device_name(0): torch.device("cuda")} | found
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measure every device of this machine, and write one JSON file and one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=Path("bench_gpu.json"), help="where to write")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each figure")
    parser.add_argument("--small", action="store_true", help="sizes that only show that it runs")
    given = parser.parse_args(arguments)
    columns: dict[str, dict[str, float]] = {}
    facts = {"torch": torch.__version__, "machine": platform.platform(), "figures": columns}
    for name, device in devices().items():
        sizes = SIZES["test" if given.small else device.type]
        columns[name] = measure(device, sizes, given.seconds)
        # One device's figures outlast an interrupt at the next.
        written = json.dumps(facts, indent=1, ensure_ascii=False)
        given.json.write_text(written + "\n", encoding="utf-8")
    if not torch.cuda.is_available():
        print("No GPU was found; the CPU alone was measured.\n")
    print(f"{table(columns)}\n\n{given.json}")


if __name__ == "__main__":
    main()

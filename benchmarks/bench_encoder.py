"""Speed of the encoder beside its peers: `make bench`, or `make bench SATCLIP=path/to/satclip`.

`--torchgeo path/to/torchgeo/models/satclip.py` adds torchgeo's encoder, float32 (it needs einops
and torchvision). With `--threads 1` times are CPU time, which other work on the machine moves less.

Everything runs in one process, in turn (A B C, A B C, …); medians and ratios are printed, since
absolute times mean little on a shared machine. The reference evaluates every `--stride`-th row of
the grid and is scaled up: its cost is the same for every pixel.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.encoders.lightning_files import export_lightning
from satclip_explore.encoders.satclip import SatCLIP
from satclip_explore.encoders.siren import Siren
from satclip_explore.geo import GLOBE, Grid, equal_area_sample
from satclip_explore.precision import fast_precision
from satclip_explore.projection import fit_pca, pca_raster

LEGENDRE_POLYS = 40


def build(dtype: str) -> SatCLIP:
    """Build the published architecture with seeded weights."""
    return SatCLIP(Siren(LEGENDRE_POLYS**2, seed=0), LEGENDRE_POLYS, dtype=dtype)


def reference_path(repository: str | None) -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
    """Return the dense float64 path: microsoft/satclip where its clone is given, else our own."""
    encoder = build("float64")
    if repository is None:
        return "dense float64, this project", encoder.embed
    sys.path.insert(0, repository)
    from satclip.load_lightweight import get_satclip_loc_encoder

    with tempfile.TemporaryDirectory() as folder:
        path = export_lightning(encoder, Path(folder) / "seeded.ckpt")
        theirs = get_satclip_loc_encoder(str(path), device="cpu")

    @torch.no_grad()
    def embed(lonlat: np.ndarray) -> np.ndarray:
        chunks = torch.from_numpy(lonlat).split(8192)
        return torch.cat([theirs(chunk) for chunk in chunks]).numpy()

    return "microsoft/satclip, analytic float64", embed


def torchgeo_path(file: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return torchgeo's float32 encoder with the same weights."""
    spec = importlib.util.spec_from_file_location("torchgeo_satclip", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    theirs = module.SatCLIP(LEGENDRE_POLYS).eval()
    ours = build("float32").network.state_dict()
    theirs.load_state_dict({f"nnet.{name}": value for name, value in ours.items()})

    @torch.no_grad()
    def embed(lonlat: np.ndarray) -> np.ndarray:
        chunks = torch.from_numpy(lonlat).float().split(4096)
        return torch.cat([theirs(chunk) for chunk in chunks]).numpy()

    return embed


def seconds(work: Callable[[], object]) -> float:
    """Time one call: on the clock, or of this thread where it is the only one."""
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    work()
    return clock() - start


def alternate(works: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Run the works in turn and return the median seconds of each."""
    for work in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            times[name].append(seconds(work))
    return {name: statistics.median(values) for name, values in times.items()}


def bench_raster(
    peers: dict[str, Callable[[np.ndarray], np.ndarray]],
    resolution: float,
    stride: int,
    repeats: int,
) -> None:
    """Compare PCA rasters of the globe, and their colors."""
    encoder, exact = build("float32"), build("float64")
    projection = fit_pca(encoder)
    grid = Grid.from_resolution(resolution)
    height, width = grid.shape
    rows = grid.lonlat.reshape(height, width, 2)[stride // 2 :: stride].reshape(-1, 2)
    dense = {**peers, "dense float32": lambda at: LocationEncoder.embed(encoder, at)}
    name = next(iter(peers))

    def raster(precision: str) -> Callable[[], object]:
        return lambda: pca_raster(encoder, grid=grid, projection=projection, precision=precision)

    works: dict[str, Callable[[], object]] = {
        **{key: lambda embed=embed: projection.colors(embed(rows)) for key, embed in dense.items()},
        "embed_grid, separable, float32": lambda: sum(len(x) for _, x in encoder.iter_grid(grid)),
        "separable, folded, float32": raster("float32"),
        f"automatic ({fast_precision('cpu')})": raster("auto"),
    }
    times = alternate(works, repeats)
    scale = height * width / len(rows)
    times = {key: t * (scale if key in dense else 1.0) for key, t in times.items()}
    print(f"\npca_raster, {width} x {height}, L = {LEGENDRE_POLYS}")
    for key, value in times.items():
        print(f"  {key:38s} {value:8.2f} s   ratio {times[name] / value:6.1f}")

    coarse = Grid(GLOBE, (height // 4, width // 4))
    truth = pca_raster(exact, grid=coarse, projection=projection).astype(int)
    for precision in ("float32", "auto"):
        fast = pca_raster(encoder, grid=coarse, projection=projection, precision=precision)
        worst = int(np.abs(fast.astype(int) - truth).max())
        print(f"  colors, {precision} against float64: at most {worst} of 255 apart")

    hidden = encoder.network.layers[0].out_features
    flops = 2.0 * height * width * hidden * (2 * LEGENDRE_POLYS - 1 + hidden + 3)
    achieved = flops / times["separable, folded, float32"] / 1e9
    a, b = torch.ones(4096, hidden), torch.ones(hidden, hidden)
    product = statistics.median(seconds(lambda: a @ b) for _ in range(200))
    peak = 2.0 * 4096 * hidden * hidden / product / 1e9
    print(
        f"  float32 grid path {achieved:.0f} GFLOP/s of {peak:.0f} in a bare matrix product "
        f"({achieved / peak:.0%})"
    )


def bench_points(
    peers: dict[str, Callable[[np.ndarray], np.ndarray]], counts: list[int], repeats: int
) -> None:
    """Compare one place, and many scattered ones with the memory they take."""
    encoder, name = build("float32"), next(iter(peers))
    place = np.array([[13.4, 52.5]])
    embedders = {**peers, "float32": encoder.embed}
    times = alternate(
        {key: partial(embed, place) for key, embed in embedders.items()}, repeats * 20
    )
    print("\none place")
    for key, value in times.items():
        print(f"  {key:38s} {value * 1e3:8.2f} ms  ratio {times[name] / value:6.1f}")
    dense = {"dense float32": lambda at: LocationEncoder.embed(encoder, at)}
    for n in counts:
        lonlat = equal_area_sample(n)
        first = seconds(partial(build("float32").embed, lonlat))
        # The float64 reference costs the same for every place: some of them are enough.
        sample = lonlat[:: max(1, n // 500)]
        works: dict[str, Callable[[], object]] = {name: partial(peers[name], sample)}
        for key, embed in {**embedders, **dense}.items():
            works.setdefault(key, partial(embed, lonlat))
        times = alternate(works, repeats)
        times[name] *= n / len(sample)
        print(f"\n{n:,} places")
        for key, value in {**times, "float32, first call of an encoder": first}.items():
            print(f"  {key:38s} {value:8.3f} s   ratio {times[name] / value:6.1f}")
    threads = ["--threads", str(torch.get_num_threads())]
    command = [sys.executable, "-m", "benchmarks.bench_encoder", "--memory", *threads]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    print(f"\n100,000 places, float32: {out.strip()}")


def report_memory() -> None:
    """Print the time and the extra peak memory of 100,000 places, in a process of its own."""
    encoder, lonlat = build("float32"), equal_area_sample(100_000)
    encoder.embed(lonlat[:10])
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    before = pages * resource.getpagesize() / 1024
    took = seconds(lambda: encoder.embed(lonlat))
    extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{took:.2f} s, {extra:.0f} MB above the start (the result alone is 102 MB)")


def main() -> None:
    """Read the command line and run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--satclip", help="folder of a microsoft/satclip clone")
    parser.add_argument("--torchgeo", help="torchgeo/models/satclip.py of a clone or a wheel")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--resolution", type=float, default=0.25, help="degrees")
    parser.add_argument("--stride", type=int, default=16, help="reference: every n-th row")
    parser.add_argument(
        "--places", type=int, nargs="+", default=[10_000, 20_000, 100_000], help="scattered ones"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.memory:
        report_memory()
        return
    units = "with" if fast_precision("cpu") == "bfloat16" else "without"
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {units} bf16 units")
    peers = dict([reference_path(arguments.satclip)])
    if arguments.torchgeo:
        peers["torchgeo, float32"] = torchgeo_path(arguments.torchgeo)
    bench_raster(peers, arguments.resolution, arguments.stride, arguments.repeats)
    bench_points(peers, arguments.places, arguments.repeats)


if __name__ == "__main__":
    main()

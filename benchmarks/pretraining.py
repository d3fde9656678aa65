"""What pretraining costs, and how much the feature cache saves of it.

    python -m benchmarks.pretraining --backbone vit16 --batch 8192 --device auto

Weights do not change the cost, so none are needed; images and features are random, everything else
is what a run of satclip-l40 does. Times are processor times on the CPU (other programs do not
count) and wall times on a GPU. The backbone runs on a part of the batch at a time, as it must, and
its time is scaled to the whole batch; the step on cached features is run whole. Two ratios are
printed: the backbone against the cached head that takes its place, and the whole step with the
backbone inside against the whole step on cached features. The second is bounded by what both steps
share, the location encoder and the loss.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from satclip_explore.encoders.base import resolve_device
from satclip_explore.geo import equal_area_sample
from satclip_explore.precision import fast_precision
from training.imagery.backbones import BACKBONES, SSL4EO_BANDS, Frozen
from training.imagery.cache import Features
from training.pretraining.batches import PlacePairs
from training.pretraining.config import PretrainConfig, load_config
from training.pretraining.model import ContrastiveModel, make_optimizer

S2_100K = 100_000
"""Places of the data set of the paper."""

Shapes = Sequence[tuple[int, int, int]]


def seconds(call: Callable[[], object], device: torch.device, repeats: int = 3) -> float:
    """Return the median time of a call, after one that warms up."""
    found = []
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    for _ in range(repeats + 1):
        _synchronize(device)
        start = clock()
        call()
        _synchronize(device)
        found.append(clock() - start)
    return sorted(found[1:])[repeats // 2]


def backbone_seconds(name: str, images: int, device: torch.device, precision: str) -> float:
    """Return the time that a frozen backbone needs for one image."""
    import timm

    backbone = BACKBONES[name]
    network = Frozen(timm.create_model(backbone.model, in_chans=13, num_classes=0)).to(device)
    size = backbone.image_size or 256
    batch = torch.rand(images, len(SSL4EO_BANDS), size, size, device=device)

    def autocast() -> object:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            return network(batch)

    return min(seconds(lambda: network(batch), device), seconds(autocast, device)) / images


class Step:
    """One step on cached features, as the loop does it.

    Parameters
    ----------
    config : PretrainConfig
        Settings; the precision is decided.
    dim : int
        Length of a feature vector.
    places : int
        N of them; at least a batch and the validation.
    device : torch.device
        Where it runs.
    """

    def __init__(self, config: PretrainConfig, dim: int, places: int, device: torch.device) -> None:
        self.config, self.low = config, config.training.precision == "bfloat16"
        rng = np.random.default_rng(0)
        table = rng.standard_normal((1, places, dim), dtype=np.float32).astype(np.float16)
        every = np.ones(places, dtype=np.bool_)
        features = Features(table, equal_area_sample(places), every, every, (dim,), {})
        self.pairs = PlacePairs(features, config, device)
        self.model = ContrastiveModel(config, (dim,)).to(device)
        self.model.matmul_dtype = torch.bfloat16 if self.low else torch.float32
        self.optimizer = make_optimizer(self.model, config.training)
        self.pairs.fit(self.model)
        self.pairs.load(self.model)
        self.rows, versions = self.pairs.epoch(0)[0]
        self.versions = np.zeros_like(versions)
        self.rng = rng

    def __call__(self) -> None:
        """Draw a batch and take a step."""
        harmonics, whitened, vectors = self.pairs.batch(self.rows, self.versions, self.rng)
        with torch.autocast(harmonics.device.type, torch.bfloat16, enabled=self.low):
            loss = self.model(harmonics, whitened, vectors, self.pairs.batch_on_land).total
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def head(self) -> None:
        """Map the cached features alone, there and back."""
        images = self.pairs.batch(self.rows, self.versions, self.rng)[1]
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.low):
            mapped = self.model.image_features(images)
        mapped.backward(mapped)

    def products(self) -> Shapes:
        """List the matrix products of a step as (rows, inner, columns), forward and backward."""
        location, batch = self.config.location, self.config.training.batch_size
        hidden = [location.hidden_dim] * location.num_layers
        widths = [location.legendre_polys**2, *hidden, location.embed_dim]
        layers = [(batch, a, b) for a, b in itertools.pairwise(widths)]
        head = (batch, self.model.whitening.dim, location.embed_dim)
        similarities = (batch, location.embed_dim, batch)
        # Backward each has two of the same size, but for inputs that need no gradient.
        return [*layers, *layers, *layers[1:], *[head] * 2, *[similarities] * 3]


def matrix_rate(device: torch.device, precision: str) -> float:
    """Return the floating-point operations per second of a large matrix product."""
    size = 8192 if device.type == "cuda" else 2048
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2.0 * size**3 / seconds(lambda: a @ b, device)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="vit16", choices=list(BACKBONES))
    parser.add_argument("--batch", type=int, default=8192)
    parser.add_argument("--images", type=int, default=64, help="through the backbone at once")
    parser.add_argument("--places", type=int, default=20_000, help="with cached features")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args(arguments)
    device = resolve_device(given.device)
    precision = fast_precision(device)
    config = load_config("satclip-l40").replace(
        batch_size=given.batch, validation_places=max(2, given.places - 2 * given.batch)
    )
    config = replace(config, training=replace(config.training, precision=precision))

    per_image = backbone_seconds(given.backbone, given.images, device, precision)
    print(f"{given.backbone}: {1.0 / per_image:,.0f} images/s on {device}")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    step = Step(config, BACKBONES[given.backbone].dim, given.places, device)
    cached, alone = seconds(step, device), seconds(step.head, device)
    images_alone = per_image * given.batch
    inside = cached + images_alone
    print(f"{given.batch:,} images through the backbone: {images_alone:.1f} s")
    print(f"the cached head, there and back: {alone:.4f} s, 1/{images_alone / alone:,.0f} of that")
    print(f"step of {given.batch:,} pairs, cached features: {cached:.3f} s")
    print(f"step with the backbone inside: {inside:.1f} s, {inside / cached:,.0f} times as long")
    steps = config.training.epochs * int(0.9 * S2_100K / given.batch)
    print(f"{config.training.epochs} epochs of {S2_100K:,} places: {steps * cached / 60:.1f} min")
    work = 2.0 * sum(rows * inner * columns for rows, inner, columns in step.products())
    share = work / cached / matrix_rate(device, precision)
    print(f"matrix products, {precision}: {share:.0%} of the rate of one large product")
    if device.type == "cuda":
        print(f"memory: {torch.cuda.max_memory_allocated() / 1e9:.1f} GB")


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()

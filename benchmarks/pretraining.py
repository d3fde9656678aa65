"""How much the feature cache saves: one training step with it, and with the backbone in the loop.

    python benchmarks/pretraining.py --backbone resnet18 --batch 8192 --device auto

Weights do not change the cost, so none are needed; images are random. Times are processor times on
the CPU (other programs do not count) and wall times on a GPU. The backbone runs on a part of the
batch at a time, as it must, and its time is scaled to the whole batch; the step on cached features
is run whole. Two ratios are printed: the backbone against the cached head that takes its place, and
the whole step with the backbone inside against the whole step on cached features. The second is
bounded by what both steps share, the location encoder and the loss.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from satclip_explore.encoders.base import resolve_device
from training.config import load_config
from training.image_encoder import BACKBONES, SSL4EO_BANDS, Frozen
from training.model import ContrastiveModel
from training.pretrain import native_precision


def seconds(call: Callable[[], object], device: torch.device, repeats: int = 3) -> float:
    """Return the median time of a call, after one that warms up."""
    found = []
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    for _ in range(repeats + 1):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = clock()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        found.append(clock() - start)
    return sorted(found[1:])[repeats // 2]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="resnet18", choices=list(BACKBONES))
    parser.add_argument("--batch", type=int, default=8192)
    parser.add_argument(
        "--images", type=int, default=64, help="images through the backbone at once"
    )
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    import timm

    device = resolve_device(given.device)
    low = native_precision(device) == "bfloat16"
    backbone = BACKBONES[given.backbone]
    network = Frozen(timm.create_model(backbone.model, in_chans=13, num_classes=0)).to(device)
    size = backbone.image_size
    images = torch.rand(given.images, len(SSL4EO_BANDS), size, size, device=device)
    precise = seconds(lambda: network(images), device) / given.images

    def autocast() -> object:
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            return network(images)

    per_image = min(precise, seconds(autocast, device) / given.images)
    print(f"{given.backbone}: {1.0 / per_image:,.0f} images/s on {device}")

    config = load_config("satclip-l40")
    model = ContrastiveModel(config, (backbone.dim,)).to(device)
    model.matmul_dtype = torch.bfloat16 if low else torch.float32
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    harmonics = torch.randn(given.batch, 1600, device=device)
    features = torch.randn(given.batch, backbone.dim, device=device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            loss = model(harmonics, features).total
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    cached = seconds(step, device)

    def head() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            mapped = model.image_features(features)
        mapped.backward(mapped)

    alone = seconds(head, device)
    images_alone = per_image * given.batch
    inside = cached + images_alone
    print(f"{given.batch:,} images through the backbone: {images_alone:.1f} s")
    print(f"the cached head, there and back: {alone:.4f} s, 1/{images_alone / alone:,.0f} of that")
    print(f"step of {given.batch:,} pairs, cached features: {cached:.3f} s")
    print(f"step with the backbone inside: {inside:.1f} s, {inside / cached:,.0f} times as long")


if __name__ == "__main__":
    main()

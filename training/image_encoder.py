"""Frozen image encoders: published Sentinel-2 backbones, and random convolutional features."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from satclip_explore.encoders.base import resolve_device
from training.imagery import ImagerySource

SSL4EO_BANDS = (
    *("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09"),
    *("B10", "B11", "B12"),
)
"""Order of the 13 bands that the SSL4EO-S12 weights expect."""


@dataclass(frozen=True)
class Backbone:
    """A published image encoder and its weights.

    Parameters
    ----------
    model : str
        Name in timm.
    dim : int
        Length of a feature vector.
    repo_id, revision, filename : str
        On the Hugging Face hub. The file name ends in the first eight digits of its SHA-256.
    image_size : int
        Pixels along the edge that the model takes; larger images are cropped to their center.
    """

    model: str
    dim: int
    repo_id: str
    revision: str
    filename: str
    image_size: int = 224

    @property
    def url(self) -> str:
        """Address of the weights."""
        return f"https://huggingface.co/{self.repo_id}/resolve/{self.revision}/{self.filename}"

    @property
    def checksum(self) -> str:
        """First eight hex digits of the SHA-256 of the weights."""
        return Path(self.filename).stem.rpartition("-")[2]


BACKBONES = {
    "resnet18": Backbone(
        "resnet18",
        512,
        "torchgeo/resnet18_sentinel2_all_moco",
        "5b8cddc9a14f3844350b7f40b85bcd32aed75918",
        "resnet18_sentinel2_all_moco-59bfdff9.pth",
    ),
    "resnet50": Backbone(
        "resnet50",
        2048,
        "torchgeo/resnet50_sentinel2_all_moco",
        "da4f3c9dbe09272eb902f3b37f46635fa4726879",
        "resnet50_sentinel2_all_moco-df8b932e.pth",
    ),
    "vit16": Backbone(
        "vit_small_patch16_224",
        384,
        "torchgeo/vit_small_patch16_224_sentinel2_all_moco",
        "1cb683f6c14739634cdfaaceb076529adf898c74",
        "vit_small_patch16_224_sentinel2_all_moco-67c9032d.pth",
    ),
}
"""SSL4EO-S12 (Wang et al. 2023, CC BY 4.0), MoCo, 13 bands; published with torchgeo."""


class Frozen(nn.Module):
    """A network that never changes: no gradients, and batch statistics that stay.

    Parameters
    ----------
    network : torch.nn.Module
        Maps (n, C, H, W) to (n, dim).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Frozen:
        """Stay in evaluation mode, whatever the surrounding model is put in."""
        del mode
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Describe images, shape (n, C, H, W), by features, shape (n, dim)."""
        return self.network(images)


class RandomConvolutions(nn.Module):
    """Random convolutional features: patches of the data itself as filters, averaged responses.

    Parameters
    ----------
    patches : torch.Tensor, shape (F, C, k, k)
        Filters, drawn from the images and whitened by the caller or random.
    bias : float
        Threshold of the two rectifiers.

    References
    ----------
    Rolf et al. (2021), "A generalizable and accessible approach to machine learning with global
    satellite imagery", Nature Communications 12:4392.
    """

    patches: torch.Tensor

    def __init__(self, patches: torch.Tensor, bias: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("patches", patches)
        self.bias = bias
        self.dim = 2 * len(patches)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Average the positive and negative responses of every filter, (n, 2F)."""
        responses = nn.functional.conv2d(images, self.patches)
        rectified = [torch.relu(responses - self.bias), torch.relu(-responses - self.bias)]
        return torch.cat([r.mean(dim=(2, 3)) for r in rectified], dim=1)


def random_convolutions(
    source: ImagerySource, *, n_filters: int = 256, kernel: int = 3, seed: int = 0
) -> RandomConvolutions:
    """Draw filters from a source's own images, centered, whitened and scaled to unit length.

    Parameters
    ----------
    source : ImagerySource
        Images; up to 64 are read.
    n_filters, kernel : int
        Filters F and their edge in pixels.
    seed : int
        Of the choice of patches.
    """
    rng = np.random.default_rng([seed, 3])
    rows = np.sort(rng.permutation(len(source.lonlat))[:64])
    images = source.read(rows)
    images = images[np.isfinite(images).all(axis=(1, 2, 3))]
    if not len(images):
        raise ValueError("none of the first images can be read; no filters to draw.")
    n, _, height, width = images.shape
    count = max(4 * n_filters, 2000)
    which = rng.integers(n, size=count)
    top, left = (
        rng.integers(height - kernel + 1, size=count),
        rng.integers(width - kernel + 1, size=count),
    )
    patches = np.stack(
        [
            images[i, :, y : y + kernel, x : x + kernel]
            for i, y, x in zip(which, top, left, strict=True)
        ]
    )
    flat = patches.reshape(count, -1).astype(np.float64)
    centered = flat - flat.mean(axis=0)
    values, vectors = np.linalg.eigh(centered.T @ centered / count)
    whiten = vectors / np.sqrt(values + 1e-3 * values.max()) @ vectors.T
    filters = centered[:n_filters] @ whiten
    filters /= np.linalg.norm(filters, axis=1, keepdims=True) + 1e-12
    # Responses of a filter on whitened patches: the whitening is folded into the filter.
    filters = (filters @ whiten).reshape(n_filters, *patches.shape[1:])
    return RandomConvolutions(torch.from_numpy(filters.astype(np.float32)))


def load_backbone(
    name: str, weights: str | Path | None = None, *, download: bool = False
) -> Frozen:
    """Build a published backbone, frozen.

    Parameters
    ----------
    name : str
        A key of `BACKBONES`.
    weights : str or pathlib.Path, optional
        Its file; default the cache.
    download : bool
        Fetch missing weights.

    Raises
    ------
    ImportError
        If timm is not installed.
    FileNotFoundError
        If the weights are not on this machine.
    ValueError
        If the file is not these weights.
    """
    from training.backbone_weights import read_backbone_weights

    try:
        import timm
    except ImportError as error:
        raise ImportError(
            f"the backbone {name!r} needs timm: pip install timm torchvision."
        ) from error
    backbone = BACKBONES[name]
    network = timm.create_model(backbone.model, in_chans=len(SSL4EO_BANDS), num_classes=0)
    network.load_state_dict(read_backbone_weights(backbone, weights, download=download))
    return Frozen(network)


class BackboneFeatures:
    """Features of a frozen network over a source's images, in blocks of images.

    Parameters
    ----------
    source : ImagerySource
        Images and places.
    network : Frozen
        Image encoder.
    name : str
        Of the image encoder.
    dim : int
        Length of its features.
    bands : tuple of str
        What it expects; bands that the source lacks are zeros. Empty takes the source's own.
    image_size : int
        Images are cropped to their center; 0 leaves them.
    block_size, batch_size : int
        Images per block of the cache, and at once through the network.
    device : str
        Where it runs.
    """

    def __init__(
        self,
        source: ImagerySource,
        network: Frozen,
        name: str,
        dim: int,
        *,
        bands: tuple[str, ...] = (),
        image_size: int = 0,
        block_size: int = 1024,
        batch_size: int = 64,
        device: str = "auto",
    ) -> None:
        if bands and not set(source.bands) <= set(bands):
            odd = sorted(set(source.bands) - set(bands))[0]
            raise ValueError(f"{name} knows the bands {', '.join(bands)}; the images have {odd!r}.")
        self.source, self.network, self.name = source, network, name
        self.device = resolve_device(device)
        self.network.to(self.device)
        self.lonlat, self.on_land = source.lonlat, source.on_land
        self.copies, self.dim = source.copies, dim
        self.groups: tuple[int, ...] = (dim,)
        self.bands = bands or source.bands
        self.image_size, self.block_size, self.batch_size = image_size, block_size, batch_size
        self.blocks = self.copies * self._per_copy

    @property
    def _per_copy(self) -> int:
        return -(-len(self.lonlat) // self.block_size)

    def describe(self) -> dict[str, Any]:
        """Say which network and weights."""
        known = BACKBONES.get(self.name)
        return {
            "image_encoder": self.name,
            "weights": asdict(known) if known else {},
            "image_size": self.image_size,
        }

    def index(self, block: int) -> tuple[int, slice, slice]:
        """Return version, places and columns of a block."""
        copy, part = divmod(block, self._per_copy)
        return copy, slice(part * self.block_size, (part + 1) * self.block_size), slice(None)

    def compute(self, block: int) -> NDArray[np.float32]:
        """Read the images of a block and describe them, (n, dim); NaN for unusable ones."""
        copy, places, _ = self.index(block)
        rows = np.arange(len(self.lonlat))[places]
        features = np.full((len(rows), self.dim), np.nan, dtype=np.float32)
        for start in range(0, len(rows), self.batch_size):
            images = self.source.read(rows[start : start + self.batch_size], copy)
            good = np.isfinite(images).all(axis=(1, 2, 3))
            if good.any():
                batch = torch.from_numpy(self._arrange(images[good])).to(self.device)
                features[start : start + len(images)][good] = self.network(batch).cpu().numpy()
        return features

    def _arrange(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Put bands where the network wants them and crop to its size."""
        n, _, height, width = images.shape
        size = self.image_size or min(height, width)
        top, left = (height - size) // 2, (width - size) // 2
        arranged = np.zeros((n, len(self.bands), size, size), dtype=np.float32)
        where = [self.bands.index(band) for band in self.source.bands]
        arranged[:, where] = images[:, :, top : top + size, left : left + size]
        return arranged

"""The features of a frozen network over all images of a source, block by block."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from satclip_explore.encoders.base import resolve_device
from training.image_encoder import BACKBONES, Frozen
from training.imagery import ImagerySource


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

"""The features of a frozen network over all images of a source, block by block."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from satclip_explore.encoders.base import resolve_device
from training.imagery.backbones import Frozen
from training.imagery.source import ImagerySource


class BackboneFeatures:
    """Features of a frozen network over a source's images, in blocks of images.

    A block holds all versions of its images, because reading a file costs as much as describing
    it and sources keep what they read last.

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
    weights : mapping, optional
        Plain values that tell its weights from others.
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
        weights: Mapping[str, Any] | None = None,
        bands: tuple[str, ...] = (),
        image_size: int = 0,
        block_size: int = 128,
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
        self.augmentations, self.dim, self.weights = source.augmentations, dim, dict(weights or {})
        self.groups: tuple[int, ...] = (dim,)
        self.bands = bands or source.bands
        self.image_size, self.block_size, self.batch_size = image_size, block_size, batch_size
        self.blocks = -(-len(self.lonlat) // self.block_size)

    def describe(self) -> dict[str, Any]:
        """Say which network and weights."""
        return {
            "image_encoder": self.name,
            "weights": self.weights,
            "image_size": self.image_size,
        }

    def index(self, block: int) -> tuple[slice, slice, slice]:
        """Return versions, places and columns of a block."""
        places = slice(block * self.block_size, (block + 1) * self.block_size)
        return slice(None), places, slice(None)

    def compute(self, block: int) -> NDArray[np.float32]:
        """Read the images of a block and describe them, (A, n, dim); NaN for unusable ones."""
        rows = np.arange(len(self.lonlat))[self.index(block)[1]]
        features = np.full((self.augmentations, len(rows), self.dim), np.nan, dtype=np.float32)
        parts = [
            (slice(start, start + self.batch_size), version)
            for start in range(0, len(rows), self.batch_size)
            for version in range(self.augmentations)
        ]
        with ThreadPoolExecutor(max_workers=1) as reader:
            reading = reader.submit(self.source.read, rows[parts[0][0]], parts[0][1])
            for (part, version), following in zip_longest(parts, parts[1:]):
                images = reading.result()
                if following is not None:
                    # The next images are read while the network looks at these.
                    reading = reader.submit(self.source.read, rows[following[0]], following[1])
                good = np.isfinite(images).all(axis=(1, 2, 3))
                if good.any():
                    batch = torch.from_numpy(self._arrange(images[good])).to(self.device)
                    features[version, part][good] = self.network(batch).cpu().numpy()
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

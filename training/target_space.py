"""What an embedding is asked to hold: where a place is, and what its images show, at fixed shares.

The directions are drawn once and never trained. So lengths in the embedding mean something: its
squared distances are those of a position kernel plus those between image features.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from satclip_explore.geo import EARTH_RADIUS_KM


class TargetSpace(nn.Module):
    """Position features and image components, side by side in one rotated space.

    Parameters
    ----------
    embed_dim : int
        Length of an embedding.
    image_dim : int
        Image components; 0 leaves images out.
    position_features : tuple of int
        Random features of the position, by kernel; all have the same variance. Empty leaves the
        position out.
    scales_km : tuple of float
        Lengths of the Gaussian kernels eastward, over straight lines through the Earth.
    anisotropy : float
        How many times shorter the kernels are northward than eastward; at least 1.
    image_share : float
        Share of the images in the variance of an embedding, between 0 and 1.
    generator : torch.Generator
        Of frequencies, phases and rotation.

    Raises
    ------
    ValueError
        If the embedding is too short to hold both.

    References
    ----------
    Rahimi & Recht (2007), "Random Features for Large-Scale Kernel Machines", NeurIPS 20.
    """

    frequencies: torch.Tensor
    phases: torch.Tensor
    to_position: torch.Tensor
    to_image: torch.Tensor

    def __init__(
        self,
        embed_dim: int,
        image_dim: int,
        position_features: tuple[int, ...],
        scales_km: tuple[float, ...],
        anisotropy: float,
        image_share: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        scale = torch.tensor(scales_km[: len(position_features)])
        scale = scale.repeat_interleave(torch.tensor(position_features, dtype=torch.int64))
        n_features = len(scale)
        if n_features + image_dim > embed_dim:
            raise ValueError(
                f"an embedding of {embed_dim} numbers cannot hold {n_features} position features "
                f"and {image_dim} image components; lower position_features or components."
            )
        # Latitude is a fourth coordinate: a step north moves by 1 on the sphere and by this in it.
        self.stretch = math.sqrt(anisotropy**2 - 1.0)
        frequencies = torch.randn(4, n_features, generator=generator)
        phases = 2.0 * math.pi * torch.rand(n_features, generator=generator)
        self.register_buffer("frequencies", frequencies * EARTH_RADIUS_KM / scale)
        self.register_buffer("phases", phases)
        # A sine has a variance of one half: together they have one.
        self.amplitude = math.sqrt(2.0 / max(1, n_features))
        drawn = torch.randn(embed_dim, embed_dim, generator=generator, dtype=torch.float64)
        directions = torch.linalg.qr(drawn).Q[:, : n_features + image_dim].float()
        image_share = image_share if n_features and image_dim else float(image_dim > 0)
        # On average every number of an embedding has a variance of 1.
        place = math.sqrt((1.0 - image_share) * embed_dim) or 1.0
        image = math.sqrt(image_share * embed_dim / max(1, image_dim)) or 1.0
        self.register_buffer("to_position", directions[:, :n_features] / place)
        self.register_buffer("to_image", directions[:, n_features:] / image)

    def position(self, vectors: torch.Tensor) -> torch.Tensor:
        """Compute the position features of places, given as unit vectors (B, 3): (B, P)."""
        latitude = torch.atan2(vectors[:, 2], vectors[:, :2].norm(dim=1))
        places = torch.cat([vectors, self.stretch * latitude[:, None]], dim=1)
        return torch.sin(places @ self.frequencies + self.phases) * self.amplitude

    def position_of(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Read the position features off embeddings (B, D): (B, P)."""
        return embeddings @ self.to_position

    def image_of(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Read the image components, weighed by relevance, off embeddings (B, D): (B, K)."""
        return embeddings @ self.to_image

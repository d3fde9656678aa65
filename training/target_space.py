"""What an embedding is asked to hold: where a place is, and what its images show, at fixed shares.

The directions are drawn once and never trained. So lengths in the embedding mean something: its
squared distances are those of the position features plus those between image features.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from training.config_checks import check_width
from training.position_features import PositionFeatures


class TargetSpace(nn.Module):
    """Position features and image components, side by side in one rotated space.

    Parameters
    ----------
    embed_dim : int
        Length of an embedding.
    image_dim : int
        Image components; 0 leaves images out.
    position : PositionFeatures, optional
        Features of the position; None leaves it out.
    image_share : float
        Share of the images in the variance of an embedding, between 0 and 1.
    generator : torch.Generator
        Of the rotation.

    Raises
    ------
    ValueError
        If the embedding is too short to hold both.
    """

    to_position: torch.Tensor
    to_image: torch.Tensor

    def __init__(
        self,
        embed_dim: int,
        image_dim: int,
        position: PositionFeatures | None,
        image_share: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.position = position
        n_features = position.dim if position is not None else 0
        check_width(embed_dim, n_features, image_dim)
        drawn = torch.randn(embed_dim, embed_dim, generator=generator, dtype=torch.float64)
        directions = torch.linalg.qr(drawn).Q[:, : n_features + image_dim].float()
        image_share = image_share if n_features and image_dim else float(image_dim > 0)
        # On average every number of an embedding has a variance of 1.
        place = math.sqrt((1.0 - image_share) * embed_dim) or 1.0
        image = math.sqrt(image_share * embed_dim / max(1, image_dim)) or 1.0
        self.register_buffer("to_position", directions[:, :n_features] / place)
        self.register_buffer("to_image", directions[:, n_features:] / image)

    def position_of(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Read the position features off embeddings (B, D): (B, P)."""
        return embeddings @ self.to_position

    def image_of(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Read the image components, weighed by relevance, off embeddings (B, D): (B, K)."""
        return embeddings @ self.to_image

"""What an embedding is asked to hold: where a place is, and what its images show, at fixed shares.

The directions are drawn once and never trained. So lengths in the embedding mean something: its
squared distances are those of the position features plus those between image features.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from satclip_explore.geo import EARTH_RADIUS_KM
from training.pretraining.config_checks import check_width
from training.pretraining.settings import TrainingConfig

LANDMARKS = 1000
"""Places that eigenfunctions are computed on, at most."""


class PositionFeatures(nn.Module):
    """Eigenfunctions for what is far, random features for what is near; their variance is 1.

    Parameters
    ----------
    training : TrainingConfig
        Counts, lengths and shares.
    generator : torch.Generator
        Of the random features.
    """

    def __init__(self, training: TrainingConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.far = Eigenfunctions(
            training.position_eigenfunctions,
            training.position_length_km,
            training.position_zonal_share,
            training.position_zonal_km,
        )
        self.near = RandomFeatures(
            training.position_near_features,
            training.position_near_km,
            training.position_anisotropy,
            generator,
        )
        self.far_length = math.sqrt(1.0 - training.position_near_share)
        self.near_length = math.sqrt(training.position_near_share)
        self.dim = training.position_eigenfunctions + training.position_near_features

    def fit(self, vectors: torch.Tensor) -> None:
        """Fit the eigenfunctions to places, given as unit vectors (N, 3); see `Eigenfunctions`."""
        self.far.fit(vectors)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Compute the features of places, unit vectors (B, 3): shape (B, P)."""
        far, near = self.far(vectors), self.near(vectors)
        return torch.cat([far * self.far_length, near * self.near_length], dim=1)


class Eigenfunctions(nn.Module):
    """The leading eigenfunctions of a kernel over the land: no others come as near to it.

    The kernel has two parts. One falls exponentially with the distance through the Earth, and is a
    mixture of Gaussians of all lengths: near places differ, and far ones differ more. The other
    falls with the distance in latitude alone, as the sun's height does.

    Parameters
    ----------
    count : int
        How many, E.
    length_km : float
        Of the first part.
    zonal_share : float
        Of the second part in the kernel, 0 to 1.
    zonal_km : float
        Length of the second part.

    References
    ----------
    Williams & Seeger (2001), "Using the Nyström Method to Speed Up Kernel Machines", NeurIPS 13.
    """

    landmarks: torch.Tensor
    weight: torch.Tensor
    mean: torch.Tensor

    def __init__(self, count: int, length_km: float, zonal_share: float, zonal_km: float) -> None:
        super().__init__()
        self.scale, self.zonal_scale = EARTH_RADIUS_KM / length_km, EARTH_RADIUS_KM / zonal_km
        self.zonal_share = zonal_share
        self.register_buffer("landmarks", torch.zeros(LANDMARKS, 3))
        self.register_buffer("weight", torch.zeros(LANDMARKS, count))
        self.register_buffer("mean", torch.zeros(count))

    @torch.no_grad()
    def fit(self, vectors: torch.Tensor) -> None:
        """Compute them on a sample of places; together they vary by 1 over it.

        Parameters
        ----------
        vectors : torch.Tensor, shape (N, 3)
            Unit vectors.

        Raises
        ------
        ValueError
            If there are fewer places than eigenfunctions.
        """
        count, n = len(self.mean), min(len(vectors), LANDMARKS)
        if n < count:
            raise ValueError(
                f"{n} training places have no {count} eigenfunctions; lower "
                "position_eigenfunctions or take more places."
            )
        chosen = vectors[torch.arange(n) * len(vectors) // n].double().cpu()
        values, basis = torch.linalg.eigh(self._kernel(chosen, chosen))
        values, basis = values.flip(0)[:count].clamp(min=1e-9), basis.flip(1)[:, :count]
        # An eigenvector has no sign: its largest number is made positive.
        basis = basis * basis.gather(0, basis.abs().argmax(0, keepdim=True)).sign()
        features = basis * values.sqrt()
        spread = features.var(0, correction=0).sum().sqrt()
        # Where there are fewer places than landmarks, the others weigh nothing.
        self.weight.zero_()
        self.landmarks[:n] = chosen.to(self.landmarks)
        self.weight[:n] = (basis / values.sqrt() / spread).to(self.weight)
        self.mean.copy_(features.mean(0) / spread)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Compute the features of places, unit vectors (B, 3): shape (B, E)."""
        return self._kernel(vectors, self.landmarks) @ self.weight - self.mean

    def _kernel(self, places: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
        apart = (2.0 - 2.0 * places @ landmarks.T).clamp_(min=0.0).sqrt_()
        around = apart.mul_(-self.scale).exp_()
        zonal = (latitude(places)[:, None] - latitude(landmarks)).abs_()
        zonal.mul_(-self.zonal_scale).exp_()
        return torch.lerp(around, zonal, self.zonal_share)


class RandomFeatures(nn.Module):
    """Random features of a Gaussian kernel, which has too many eigenfunctions to hold.

    Parameters
    ----------
    count : int
        How many, R; together they vary by 1.
    length_km : float
        Of the kernel eastward, over straight lines through the Earth.
    anisotropy : float
        How many times shorter it is northward; at least 1.
    generator : torch.Generator
        Of frequencies and phases.

    References
    ----------
    Rahimi & Recht (2007), "Random Features for Large-Scale Kernel Machines", NeurIPS 20.
    """

    frequencies: torch.Tensor
    phases: torch.Tensor

    def __init__(
        self, count: int, length_km: float, anisotropy: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        # Latitude is a fourth coordinate: a step north moves by 1 on the sphere and by this in it.
        self.stretch = math.sqrt(anisotropy**2 - 1.0)
        frequencies = torch.randn(4, count, generator=generator)
        phases = 2.0 * math.pi * torch.rand(count, generator=generator)
        self.register_buffer("frequencies", frequencies * EARTH_RADIUS_KM / length_km)
        self.register_buffer("phases", phases)
        # A sine has a variance of one half.
        self.amplitude = math.sqrt(2.0 / count)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Compute the features of places, unit vectors (B, 3): shape (B, R)."""
        places = torch.cat([vectors, self.stretch * latitude(vectors)[:, None]], dim=1)
        return torch.sin(places @ self.frequencies + self.phases) * self.amplitude


def latitude(vectors: torch.Tensor) -> torch.Tensor:
    """Return the latitudes of unit vectors (B, 3), in radians, shape (B,)."""
    return torch.atan2(vectors[:, 2], vectors[:, :2].norm(dim=1))


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

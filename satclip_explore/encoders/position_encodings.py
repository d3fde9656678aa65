"""The multi-scale position encodings of Space2Vec and Sphere2Vec, as TorchSpatial publishes them.

Every function takes places (N, 2), float64 degrees, longitude first, and frequencies (F,), and
returns float64 features in the published order: the weights are learned on that order.

References
----------
Mai et al. (2020), "Multi-Scale Representation Learning for Spatial Feature Distributions using
Grid Cells", ICLR. Mai et al. (2023), "Sphere2Vec", ISPRS Journal 202. Wu et al. (2024),
"TorchSpatial", NeurIPS.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from satclip_explore.encoders.baselines import wrap, xyz


def geometric_frequencies(count: int, min_radius: float, max_radius: float) -> torch.Tensor:
    """Space `count` frequencies geometrically from 1/min_radius down to 1/max_radius: (F,)."""
    step = math.log(max_radius / min_radius) / (count - 1)
    return 1.0 / (min_radius * torch.exp(torch.arange(count, dtype=torch.float64) * step))


def falling_frequencies(count: int, min_radius: float, max_radius: float) -> torch.Tensor:
    """Space frequencies from 1 down to 1/max_radius: the published sphereM+ ignores min_radius."""
    del min_radius
    return max_radius ** -(torch.arange(count, dtype=torch.float64) / (count - 1))


def octave_frequencies(count: int, min_radius: float, max_radius: float) -> torch.Tensor:
    """Double the frequency at every step, from π: (F,), as in NeRF."""
    del min_radius, max_radius
    return math.pi * 2.0 ** torch.arange(count, dtype=torch.float64)


def grid(lonlat: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    """Space2Vec grid: sine and cosine of each coordinate at each frequency, (N, 4F).

    Degrees enter the sines as they are, without a factor of π/180, as published.
    """
    angle = lonlat[:, :, None] * frequencies
    return torch.stack([torch.sin(angle), torch.cos(angle)], dim=-1).flatten(1)


def theory(lonlat: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    """Space2Vec theory: the same along three directions that are 120° apart, (N, 6F)."""
    half, side = 0.5, math.sqrt(3.0) / 2.0
    directions = lonlat.new_tensor([[1.0, 0.0], [-half, side], [-half, -side]])
    angle = (lonlat @ directions.T)[:, None, :] * frequencies[:, None]
    return torch.stack([torch.sin(angle), torch.cos(angle)], dim=-1).flatten(1)


def sphere_c(lonlat: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    """Sphere2Vec sphereC: a unit vector at each frequency, (N, 3F)."""
    lon, lat = torch.deg2rad(lonlat[:, :, None] * frequencies).unbind(1)
    terms = [torch.sin(lat), torch.cos(lat) * torch.cos(lon), torch.cos(lat) * torch.sin(lon)]
    return torch.stack(terms, dim=-1).flatten(1)


def sphere_c_plus(lonlat: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    """Sphere2Vec sphereC+: sphereC and the sines and cosines themselves, (N, 6F)."""
    lon, lat = torch.deg2rad(lonlat[:, :, None] * frequencies).unbind(1)
    terms = [
        torch.sin(lat),
        torch.cos(lat),
        torch.sin(lon),
        torch.cos(lon),
        torch.cos(lat) * torch.cos(lon),
        torch.cos(lat) * torch.sin(lon),
    ]
    return torch.stack(terms, dim=-1).flatten(1)


def sphere_m(lonlat: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    """Sphere2Vec sphereM: each coordinate in turn at every frequency, (N, 5F)."""
    return torch.stack(_mixed_scales(lonlat, frequencies), dim=-1).flatten(1)


def sphere_m_plus(lonlat: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    """Sphere2Vec sphereM+: sphereM and the sines and cosines themselves, (N, 8F)."""
    lon, lat = (torch.deg2rad(lonlat)[:, :, None] * frequencies).unbind(1)
    plain = [torch.sin(lat), torch.cos(lat), torch.sin(lon), torch.cos(lon)]
    return torch.stack(plain + _mixed_scales(lonlat, frequencies)[1:], dim=-1).flatten(1)


def _mixed_scales(lonlat: torch.Tensor, frequencies: torch.Tensor) -> list[torch.Tensor]:
    radians = torch.deg2rad(lonlat)[:, :, None]
    lon, lat = radians.unbind(1)
    fine_lon, fine_lat = (radians * frequencies).unbind(1)
    return [
        torch.sin(fine_lat),
        torch.cos(fine_lat) * torch.cos(lon),
        torch.cos(lat) * torch.cos(fine_lon),
        torch.cos(fine_lat) * torch.sin(lon),
        torch.cos(lat) * torch.sin(fine_lon),
    ]


def nerf(lonlat: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    """NeRF on the unit vector: all sines, then all cosines, (N, 6F)."""
    angle = xyz(lonlat)[:, :, None] * frequencies
    return torch.cat([torch.sin(angle), torch.cos(angle)], dim=1).flatten(1)


def _unit_vector(lonlat: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    del frequencies
    return xyz(lonlat)


def _wrapped(lonlat: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    del frequencies
    return wrap(lonlat)


@dataclass(frozen=True)
class PositionEncoding:
    """How one kind of published file turns places into features.

    Parameters
    ----------
    features : callable
        (lonlat, frequencies) to features.
    frequencies : callable or None
        (count, min_radius, max_radius) to frequencies; None where the encoding has none.
    width : int
        Features per frequency, or in all where there are no frequencies.
    """

    features: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    frequencies: Callable[[int, float, float], torch.Tensor] | None
    width: int


_GRID = PositionEncoding(grid, geometric_frequencies, 4)
_THEORY = PositionEncoding(theory, geometric_frequencies, 6)
_SPHERE_C = PositionEncoding(sphere_c, geometric_frequencies, 3)
_SPHERE_C_PLUS = PositionEncoding(sphere_c_plus, geometric_frequencies, 6)
_SPHERE_M = PositionEncoding(sphere_m, geometric_frequencies, 5)
_SPHERE_M_PLUS = PositionEncoding(sphere_m_plus, falling_frequencies, 8)
_WRAP = PositionEncoding(_wrapped, None, 4)

POSITION_ENCODINGS = {
    "Space2Vec-grid": _GRID,
    "Space2Vec-theory": _THEORY,
    "Sphere2Vec-sphereC": _SPHERE_C,
    "Sphere2Vec-sphereC+": _SPHERE_C_PLUS,
    "Sphere2Vec-sphereM": _SPHERE_M,
    "Sphere2Vec-sphereM+": _SPHERE_M_PLUS,
    "xyz": PositionEncoding(_unit_vector, None, 3),
    "wrap_ffn": _WRAP,
    "NeRF": PositionEncoding(nerf, octave_frequencies, 6),
    # The names that CSP and Sphere2Vec used before TorchSpatial:
    "gridcell": _GRID,
    "theory": _THEORY,
    "sphere": _SPHERE_C,
    "spheregrid": _SPHERE_C_PLUS,
    "spheremixscale": _SPHERE_M,
    "spheregridmixscale": _SPHERE_M_PLUS,
    "geo_net_fft": _WRAP,
}
"""Position encoding of each published `spa_enc_type` that a feed-forward network follows."""

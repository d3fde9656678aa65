"""Encoders without training: what a location says of itself. The bar that the others must clear."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from satclip_explore.encoders.base import LocationEncoder, resolve_device, resolve_dtype
from satclip_explore.encoders.satclip import SatCLIP
from satclip_explore.encoders.siren import LIMITS, Siren
from satclip_explore.encoders.spherical_harmonics import harmonics_by_feature
from satclip_explore.encoders.tensor_files import weights_hash


class Baseline(LocationEncoder):
    """A fixed function of longitude and latitude.

    Parameters
    ----------
    features : callable
        Places (N, 2), float64 degrees, to features (N, D), float64.
    embed_dim : int
        Number of features D.
    name : str
        Registered name.
    dtype : {"float32", "float64", "bfloat16"}
        Of what comes out; the features are computed in float64.
    device : str
        Where they are computed.
    """

    family = "baseline"

    def __init__(
        self,
        features: Callable[[torch.Tensor], torch.Tensor],
        embed_dim: int,
        *,
        name: str,
        dtype: str = "float32",
        device: str = "auto",
    ) -> None:
        self._features = features
        self.periodic = features is not scaled_lonlat
        self.embed_dim = embed_dim
        self.name = name
        self.dtype = resolve_dtype(dtype)
        self.device = resolve_device(device)
        # Features of one chunk, float64, stay near 16 MB.
        self.chunk_size = max(256, min(65_536, 2_000_000 // embed_dim))

    def encode(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Encode one chunk of checked places; see `LocationEncoder.encode`."""
        return self._features(lonlat).to(self.dtype)


def scaled_lonlat(lonlat: torch.Tensor) -> torch.Tensor:
    """Scale longitude by 180 and latitude by 90 degrees: (N, 2), both within [-1, 1]."""
    return lonlat / lonlat.new_tensor([180.0, 90.0])


def xyz(lonlat: torch.Tensor) -> torch.Tensor:
    """Turn places into unit vectors, (N, 3): x toward (0, 0), z toward the north pole."""
    lon, lat = torch.deg2rad(lonlat).unbind(1)
    return torch.stack(
        [torch.cos(lat) * torch.cos(lon), torch.cos(lat) * torch.sin(lon), torch.sin(lat)], dim=1
    )


def wrap(lonlat: torch.Tensor) -> torch.Tensor:
    """Return sin and cos of the scaled coordinates, (N, 4): sin lon, sin lat, cos lon, cos lat.

    Latitude is stretched to a full turn, as published, so both poles get the same numbers.

    References
    ----------
    Mac Aodha et al. (2019), "Presence-Only Geographical Priors for Fine-Grained Image
    Classification", ICCV.
    """
    angle = math.pi * scaled_lonlat(lonlat)
    return torch.cat([torch.sin(angle), torch.cos(angle)], dim=1)


def load_baseline(name: str, *, dtype: str = "float32", device: str = "auto") -> LocationEncoder:
    """Make a baseline by its registered name.

    Parameters
    ----------
    name : {"lonlat", "xyz", "wrap", "harmonics-l{L}", "random-l{L}"}
        `harmonics` are orthonormal; `random` is a SatCLIP whose Siren was drawn and never trained.
    dtype, device : str
        As in `load_encoder`.

    Raises
    ------
    ValueError
        If the name is none of these.
    """
    plain = {"lonlat": (scaled_lonlat, 2), "xyz": (xyz, 3), "wrap": (wrap, 4)}
    if name in plain:
        features, embed_dim = plain[name]
        return Baseline(features, embed_dim, name=name, dtype=dtype, device=device)
    kind, _, degrees = name.partition("-l")
    known = kind in ("harmonics", "random") and degrees.isdecimal() and len(degrees) <= 3
    if not known or not 1 <= int(degrees) <= LIMITS["legendre_polys"]:
        raise ValueError(
            f"no baseline is called {name!r}; try xyz or harmonics-l10 (L from 1 to "
            f"{LIMITS['legendre_polys']})."
        )
    legendre_polys = int(degrees)
    if kind == "random":
        encoder = SatCLIP(
            Siren(legendre_polys**2, seed=0),
            legendre_polys,
            name=name,
            dtype=dtype,
            device=resolve_device(device),
        )
        encoder.weights_hash = weights_hash(encoder.network.state_dict())
        return encoder

    def harmonics(lonlat: torch.Tensor) -> torch.Tensor:
        return harmonics_by_feature(lonlat, legendre_polys, "closed-form").T

    return Baseline(harmonics, legendre_polys**2, name=name, dtype=dtype, device=device)

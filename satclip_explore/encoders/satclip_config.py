"""What has to be known of a SatCLIP network before its weights are read."""

from __future__ import annotations

import math
from dataclasses import dataclass

from satclip_explore.encoders.satclip import SatCLIP
from satclip_explore.encoders.spherical_harmonics import HARMONICS_CALCULATIONS

LIMITS = {"legendre_polys": 200, "hidden_dim": 8192, "num_layers": 32, "embed_dim": 8192}
"""Largest sizes that are built from a file: beyond any published encoder, within any memory."""


@dataclass(frozen=True)
class SatCLIPConfig:
    """Sizes and conventions of one SatCLIP location encoder, checked.

    Parameters
    ----------
    legendre_polys : int
        Degrees L of the harmonics; the network has L² inputs.
    hidden_dim, num_layers, embed_dim : int
        Width and number of hidden layers, and length of an embedding.
    harmonics_calculation : {"analytic", "closed-form"}
        The convention that the weights were learned on.
    w0_initial, w0 : float
        Frequency of the first and of the other hidden layers.
    name : str
        How results call the encoder.

    Raises
    ------
    ValueError
        If a size is not a whole number within `LIMITS`, a frequency is not above 0, or the
        convention is unknown.
    """

    legendre_polys: int
    hidden_dim: int
    num_layers: int
    embed_dim: int
    harmonics_calculation: str = "analytic"
    w0_initial: float = 30.0
    w0: float = 1.0
    name: str = "satclip"

    def __post_init__(self) -> None:
        for key, largest in LIMITS.items():
            value = getattr(self, key)
            if type(value) is not int or not 1 <= value <= largest:
                raise ValueError(
                    f"{key} must be a whole number from 1 to {largest}; got {value!r:.60}."
                )
        for key in ("w0_initial", "w0"):
            value = getattr(self, key)
            if type(value) not in (int, float) or not 0 < value < math.inf:
                raise ValueError(f"{key} must be a number above 0; got {value!r:.60}.")
        if self.harmonics_calculation not in HARMONICS_CALCULATIONS:
            raise ValueError(
                f"harmonics_calculation must be one of {', '.join(HARMONICS_CALCULATIONS)}; "
                f"got {self.harmonics_calculation!r:.60}."
            )
        if not isinstance(self.name, str) or not 0 < len(self.name) <= 200:
            raise ValueError(f"name must be text of 1 to 200 characters; got {self.name!r:.60}.")

    @classmethod
    def of(cls, encoder: SatCLIP) -> SatCLIPConfig:
        """Describe an encoder."""
        network = encoder.network
        return cls(
            legendre_polys=encoder.legendre_polys,
            hidden_dim=network.last_layer.in_features,
            num_layers=len(network.layers),
            embed_dim=encoder.embed_dim,
            harmonics_calculation=encoder.harmonics_calculation,
            w0_initial=network.frequencies[0],
            w0=network.w0,
            name=encoder.name,
        )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """List every weight of the network with its shape, by published key."""
        sizes = [self.legendre_polys**2, *[self.hidden_dim] * self.num_layers]
        shapes: dict[str, tuple[int, ...]] = {}
        for i in range(self.num_layers):
            shapes[f"layers.{i}.weight"] = (sizes[i + 1], sizes[i])
            shapes[f"layers.{i}.bias"] = (sizes[i + 1],)
        shapes["last_layer.weight"] = (self.embed_dim, self.hidden_dim)
        shapes["last_layer.bias"] = (self.embed_dim,)
        return shapes

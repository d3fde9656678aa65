"""Siren: a network of sines, drawn so that its signals keep their range, and its sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from satclip_explore.encoders.base import Readout
from satclip_explore.encoders.spherical_harmonics import HARMONICS_CALCULATIONS


class _Blank(nn.Linear):
    """A linear layer that draws nothing: its weights are drawn later, or read from a file.

    `nn.utils.skip_init` does so too, but imports half a second of what is not needed.
    """

    def reset_parameters(self) -> None:
        """Leave the weights as the memory was."""


class Siren(nn.Module):
    """A multilayer perceptron whose hidden activations are sines.

    The layer list is `num_layers` hidden layers, sin(w0 · (W x + b)), and one linear layer.
    Names of the parameters follow the published checkpoints (`layers.{i}`, `last_layer`).

    Parameters
    ----------
    in_dim : int
        Input features.
    hidden_dim : int
        Width of every hidden layer.
    embed_dim : int
        Output features D.
    num_layers : int
        Hidden layers, at least 1.
    w0_initial, w0 : float
        Frequency of the first and of the other hidden layers.
    seed : int or None
        Seed of the initialization; None leaves the weights uninitialized, to be loaded.

    References
    ----------
    Sitzmann et al. (2020), "Implicit Neural Representations with Periodic Activation Functions".
    """

    def __init__(
        self,
        in_dim: int,
        hidden_dim: int = 512,
        embed_dim: int = 256,
        num_layers: int = 2,
        *,
        w0_initial: float = 30.0,
        w0: float = 1.0,
        seed: int | None = 0,
    ) -> None:
        super().__init__()
        if min(in_dim, hidden_dim, embed_dim, num_layers) < 1:
            raise ValueError(
                "a Siren needs at least one feature, unit and layer; got "
                f"in_dim={in_dim}, hidden_dim={hidden_dim}, embed_dim={embed_dim}, "
                f"num_layers={num_layers}."
            )
        sizes = [in_dim, *[hidden_dim] * num_layers]
        self.layers = nn.ModuleList(_Blank(sizes[i], sizes[i + 1]) for i in range(num_layers))
        self.last_layer: nn.Linear = _Blank(hidden_dim, embed_dim)
        self.frequencies = (w0_initial, *[w0] * (num_layers - 1))
        self.w0 = w0
        if seed is not None:
            self.initialize(torch.Generator().manual_seed(seed))

    @property
    def hidden_layers(self) -> list[nn.Linear]:
        """The hidden layers, first to last."""
        return cast("list[nn.Linear]", list(self.layers))

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights and biases uniformly: ±1/n in the first layer, ±√(6/n)/w0 after it."""
        for index, layer in enumerate([*self.hidden_layers, self.last_layer]):
            n = layer.in_features
            limit = 1.0 / n if index == 0 else math.sqrt(6.0 / n) / self.w0
            layer.weight.uniform_(-limit, limit, generator=generator)
            layer.bias.uniform_(-limit, limit, generator=generator)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map features, shape (N, in_dim), to embeddings, shape (N, embed_dim)."""
        return self.last_layer(self.hidden(features))

    def hidden(self, features: torch.Tensor, layer: int | None = None) -> torch.Tensor:
        """Return the activations of hidden layer `layer` (0-based; None: the last), (N, hidden)."""
        stop = len(self.layers) if layer is None else layer + 1
        for linear, w0 in zip(self.hidden_layers[:stop], self.frequencies[:stop], strict=True):
            features = torch.sin(w0 * linear(features))
        return features


class UpperLayers:
    """What follows the phases of a Siren's first layer, for one block of places after another.

    Frequencies are folded into the weights.

    Parameters
    ----------
    network : Siren
        Gives the layers.
    dtype : torch.dtype
        Arithmetic after the first sine.
    readout : Readout, optional
        Linear map, folded into the last layer.
    """

    def __init__(self, network: Siren, dtype: torch.dtype, readout: Readout | None = None) -> None:
        self._hidden = [
            ((w0 * layer.weight).T.to(dtype), (w0 * layer.bias).to(dtype))
            for layer, w0 in zip(network.hidden_layers[1:], network.frequencies[1:], strict=True)
        ]
        weight: torch.Tensor = network.last_layer.weight
        bias: torch.Tensor = network.last_layer.bias
        if readout is not None:
            fold = torch.as_tensor(readout.weight, dtype=torch.float64, device=weight.device)
            shift = torch.as_tensor(readout.bias, dtype=torch.float64, device=weight.device)
            weight, bias = fold @ weight.double(), fold @ bias.double() + shift
        self._last = weight.T.to(dtype), bias.to(dtype)
        # Reused buffers: fresh ones of this size cost more in page faults than the sines.
        self._buffers = [weight.new_empty(0, dtype=dtype)] * 2

    def __call__(self, phase: torch.Tensor) -> torch.Tensor:
        """Map phases, shape (N, hidden), which are overwritten, to outputs, shape (N, C)."""
        x = phase.sin_()
        if len(self._buffers[0]) < len(x):
            self._buffers = [torch.empty_like(x, dtype=self._last[0].dtype) for _ in range(2)]
        spare, other = (buffer[: len(x)] for buffer in self._buffers)
        if x.dtype != spare.dtype:
            x = other.copy_(x)
        for weight, bias in self._hidden:
            x, spare = torch.addmm(bias, x, weight, out=spare).sin_(), x
        weight, bias = self._last
        return torch.addmm(bias, x, weight)


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

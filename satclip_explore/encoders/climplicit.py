"""Climplicit: a residual Siren of place and month, trained on the climate of 1981 to 2010."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from satclip_explore.encoders.base import LocationEncoder, Times, resolve_device, resolve_dtype
from satclip_explore.encoders.baselines import scaled_lonlat
from satclip_explore.encoders.tensor_files import (
    find_network,
    read_weights,
    take_tensors,
    weights_hash,
)

MONTHS = (3, 6, 9, 12)
"""The months that stand side by side where none is asked for, as published."""

W0_FIRST = 30.0
INPUTS = 4
"""Longitude, latitude, and sine and cosine of the month."""

MAX_LAYERS = 64

ENCODER, REGRESSOR = "location_encoder.", "chelsa_regressor."
"""Where the weights sit; the second turns embeddings into CHELSA's variables and is left alone."""


class Climplicit(LocationEncoder):
    """A residual Siren whose first sine is that of a sinh (Dollinger et al. 2025).

    Parameters
    ----------
    state : mapping of str to torch.Tensor
        Weights with the keys of `weight_shapes`.
    month : float, optional
        1 … 12; default March, June, September and December side by side.
    name, dtype, device : str
        As in `load_encoder`.

    Raises
    ------
    ValueError
        If the month is none.
    """

    family = "climplicit"
    periodic = False
    times = Times("month", tuple(range(1, 13)))

    def __init__(
        self,
        state: Mapping[str, torch.Tensor],
        *,
        month: float | None = None,
        name: str = "climplicit",
        dtype: str = "float32",
        device: str = "auto",
    ) -> None:
        real = isinstance(month, (int, float)) and not isinstance(month, bool)
        if month is not None and not (real and 1 <= month <= 12):
            raise ValueError(f"month must lie in 1 … 12, January to December; got {month!r:.60}.")
        self.month = month
        self.name = name if month is None else f"{name}:month{month:g}"
        self.dtype, self.device = resolve_dtype(dtype), resolve_device(device)
        self.weights_hash = weights_hash(state, **({} if month is None else {"month": month}))
        self._state = {key: value.to(self.device, self.dtype) for key, value in state.items()}
        self._depth = sum(1 for key in state if key.endswith(".weight")) - 1
        self._months = MONTHS if month is None else (month,)
        self.embed_dim = len(self._months) * len(state["last_layer.bias"])

    def encode(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Encode one chunk of checked places; see `LocationEncoder.encode`."""
        precise = torch.float64 if self.dtype == torch.float64 else torch.float32
        place = scaled_lonlat(lonlat.to(precise))
        return torch.cat([self._encode_month(place, month) for month in self._months], dim=1)

    def _encode_month(self, place: torch.Tensor, month: float) -> torch.Tensor:
        """Encode scaled places, (N, 2), in one month."""
        angle = place.new_full((len(place), 1), float(month)) / 12 * math.pi * 2
        x = torch.cat([place, torch.sin(angle), torch.cos(angle)], dim=1).to(self.dtype)
        phase: torch.Tensor | None = None
        for i in range(self._depth):
            weight, bias = self._state[f"layers.{i}.weight"], self._state[f"layers.{i}.bias"]
            z = nn.functional.linear(x, weight, bias)
            # What is passed on is the phase, not its sine.
            phase = z if phase is None else (z + phase) / 2
            x = torch.sin(phase) if i else torch.sin(W0_FIRST * torch.sinh(2 * phase))
        last = self._state["last_layer.weight"], self._state["last_layer.bias"]
        return nn.functional.linear(x, *last)


def weight_shapes(
    layers: int = 16, hidden_dim: int = 512, embed_dim: int = 256
) -> dict[str, tuple[int, ...]]:
    """List every weight of the location encoder with its shape; by default, of the published."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i in range(layers):
        shapes[f"layers.{i}.weight"] = (hidden_dim, hidden_dim if i else INPUTS)
        shapes[f"layers.{i}.bias"] = (hidden_dim,)
    return shapes | {"last_layer.weight": (embed_dim, hidden_dim), "last_layer.bias": (embed_dim,)}


def _encoder_state(content: Mapping[str, Any]) -> dict[str, Any]:
    """Take the location encoder's weights, also out of a Lightning checkpoint."""
    state = find_network(content, f"{ENCODER}layers.0.weight")
    return {key[len(ENCODER) :]: v for key, v in state.items() if key.startswith(ENCODER)}


def is_climplicit(content: Mapping[str, Any]) -> bool:
    """Tell whether the content of a file is laid out like Climplicit's weights."""
    first = _encoder_state(content).get("layers.0.weight")
    return isinstance(first, torch.Tensor) and first.ndim == 2 and first.shape[1] == INPUTS


def read_climplicit(
    path: str | Path,
    *,
    month: float | None = None,
    name: str = "climplicit",
    dtype: str = "float32",
    device: str = "auto",
) -> Climplicit:
    """Load Climplicit; sizes are read from the weights.

    Parameters
    ----------
    path : str or Path
        The hub's model.safetensors, a folder with it, or a Lightning checkpoint.
    month : float, optional
        As in `Climplicit`.
    name, dtype, device : str
        As in `load_encoder`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, would run code, holds other weights, or the month is none.

    References
    ----------
    Dollinger et al. (2025), "Climplicit: Climatic Implicit Embeddings for Global Ecological Tasks",
    arXiv:2504.05089.
    """
    path = Path(path)
    content = read_weights(path)
    if {"layers.0.weight", "last_layer.weight"} <= content.keys():
        content = {f"{ENCODER}{key}": value for key, value in content.items()}
    if not is_climplicit(content):
        raise ValueError(
            f"{path.name} does not hold Climplicit's location encoder "
            f"({ENCODER}layers.0.weight with {INPUTS} inputs)."
        )
    state = _encoder_state(content)
    layers = sum(1 for key in state if key.startswith("layers.") and key.endswith(".weight"))
    last = state.get("last_layer.weight")
    if not isinstance(last, torch.Tensor) or last.ndim != 2 or layers > MAX_LAYERS:
        raise ValueError(f"{path.name} lacks {ENCODER}last_layer.weight, or has too many layers.")
    shapes = weight_shapes(layers, state["layers.0.weight"].shape[0], last.shape[0])
    weights = take_tensors(state, shapes, path.name)
    return Climplicit(weights, month=month, name=name, dtype=dtype, device=device)

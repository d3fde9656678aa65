"""Weights of a SatCLIP location network alone: what their shapes say, beside what one states."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from satclip_explore.encoders.satclip import SatCLIP, build_encoder
from satclip_explore.encoders.siren import SatCLIPConfig
from satclip_explore.encoders.tensor_files import read_weights, take_tensors

FIRST, LAST = "layers.0.weight", "last_layer.weight"


def read_bare_satclip(
    path: str | Path,
    *,
    legendre_polys: int | None = None,
    hidden_dim: int | None = None,
    num_layers: int | None = None,
    embed_dim: int | None = None,
    harmonics_calculation: str = "analytic",
    w0_initial: float = 30.0,
    w0: float = 1.0,
    name: str = "",
    dtype: str = "float32",
    device: str = "auto",
) -> SatCLIP:
    """Load a location network from a file without settings.

    Parameters
    ----------
    path : str or Path
        A .pt or .safetensors file with `layers.{i}` and `last_layer`, below any prefix.
    legendre_polys : int
        Number of degrees L of the harmonics; must be stated.
    hidden_dim, num_layers, embed_dim : int, optional
        Other sizes; those that are stated must be those of the weights.
    harmonics_calculation : {"analytic", "closed-form"}
        The convention that the weights were learned on: nothing in them tells it.
    w0_initial, w0 : float
        Frequencies of the first and of the other hidden layers; nothing tells them either.
    name, dtype, device : str
        As in `load_encoder`.

    Raises
    ------
    ValueError
        If the file holds no such network, or a size is missing or is not that of the weights; says
        what their shapes are.
    """
    path = Path(path)
    content = read_weights(path)
    state = content.get("state_dict", content)
    heads = [key.removesuffix(FIRST) for key in state if str(key).endswith(FIRST)]
    if len(heads) != 1:
        raise ValueError(
            f"{path.name} must hold one network with {FIRST} and {LAST}; it holds {len(heads)}."
        )
    network = {
        key.removeprefix(heads[0]): v for key, v in state.items() if key.startswith(heads[0])
    }
    shapes = _sizes(network, path.name)
    stated = {
        "legendre_polys": legendre_polys,
        "hidden_dim": hidden_dim,
        "num_layers": num_layers,
        "embed_dim": embed_dim,
    }
    told = ", ".join(f"{key}={size}" for key, size in shapes.items())
    if legendre_polys is None:
        raise ValueError(
            f"{path.name} holds weights alone: say legendre_polys=, and harmonics_calculation= "
            f"where it is not 'analytic'; the shapes of its weights say {told}."
        )
    for key, size in stated.items():
        if size is not None and size != shapes[key]:
            raise ValueError(f"{path.name} is not of {key}={size!r:.20}: its shapes say {told}.")
    config = SatCLIPConfig(
        **shapes,
        harmonics_calculation=harmonics_calculation,
        w0_initial=w0_initial,
        w0=w0,
        name=name or path.stem[:200],
    )
    weights = take_tensors(network, config.shapes(), path.name)
    return build_encoder(config, weights, name=name, dtype=dtype, device=device)


def _sizes(network: Mapping[str, Any], source: str) -> dict[str, int]:
    """Read the sizes of a network from the shapes of its weights."""
    first, last = network[FIRST], network.get(LAST)
    for key, weight in ((FIRST, first), (LAST, last)):
        if not isinstance(weight, torch.Tensor) or weight.ndim != 2:
            raise ValueError(f"{source} must hold {key} as a matrix.")
    assert last is not None
    degrees = math.isqrt(first.shape[1])
    if degrees**2 != first.shape[1]:
        raise ValueError(
            f"{source} has {first.shape[1]} inputs, which is no square: harmonics of L degrees are "
            "L² features."
        )
    return {
        "legendre_polys": degrees,
        "hidden_dim": first.shape[0],
        "num_layers": sum(key.startswith("layers.") and key.endswith(".weight") for key in network),
        "embed_dim": last.shape[0],
    }

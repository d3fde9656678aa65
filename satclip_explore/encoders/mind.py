"""MIND: a residual Siren on equal-earth coordinates whose first numbers are an embedding too."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from satclip_explore.encoders.base import LocationEncoder, Times, resolve_device, resolve_dtype
from satclip_explore.encoders.geoclip import equal_earth
from satclip_explore.encoders.tensor_files import (
    find_network,
    plain_settings,
    read_weights,
    take_tensors,
    weights_hash,
)

W0_FIRST = 30.0
"""Frequency of the published first layer; the blocks after it have 1."""

YEAR_ORIGIN, YEAR_SCALE = 2021.0, 4.0
"""Year that is 0, and years that are 1, to the encoders that are told the year."""

YEARS = tuple(range(2017, 2026))
"""Those that lie between -1 and 1."""

ACTIVATIONS = {"resiren": "siren", "siren": "siren", "hsiren": "hsiren", "finer": "finer"}
"""What a training checkpoint says of its encoder, and the sine that it means."""

FIRST = "first.linear.weight"

LIMITS = {"blocks": 64, "width": 16_384, "outputs": 65_536, "year_frequencies": 64}
"""Largest sizes that are built from a file."""


class MIND(LocationEncoder):
    """A residual Siren (Corley et al. 2026).

    Its first `prefixes` numbers were trained to stand for all.

    Parameters
    ----------
    state : mapping of str to torch.Tensor
        Weights with the keys of `weight_shapes`.
    dim : int, optional
        Give the first `dim` numbers; trained at 64, 128, 256, 512, 1024, 2048 and the whole.
    layer : int, optional
        Give the features after this many residual blocks in place of the last.
    head : bool
        Give the linear head, which reconstructs AlphaEarth, in place of the features.
    year : float, optional
        Where the weights are conditioned on a year.
    activation : {"siren", "hsiren", "finer"}
        Which sine the weights were trained with.
    w0_first : float
        Frequency of the first layer.
    name, dtype, device : str
        As in `load_encoder`.

    Raises
    ------
    ValueError
        If the weights lack a head that is asked for, or want a year that is not given, or `dim` or
        `layer` is out of range.
    """

    family = "mind"
    periodic = False
    prefixes = (64, 128, 256, 512, 1024, 2048)
    chunk_size = 2048

    def __init__(
        self,
        state: Mapping[str, torch.Tensor],
        *,
        dim: int | None = None,
        layer: int | None = None,
        head: bool = False,
        year: float | None = None,
        activation: str = "siren",
        w0_first: float = W0_FIRST,
        name: str = "mind",
        dtype: str = "float32",
        device: str = "auto",
    ) -> None:
        depth = sum(1 for key in state if re.fullmatch(r"blocks\.\d+\.linear\.weight", key))
        width, inputs = state["first.linear.weight"].shape
        if head and "head.weight" not in state:
            raise ValueError(f"the weights of {name} have no head; leave head out.")
        if (inputs > 2) != (year is not None):
            rule = "want a year=, e.g. 2021" if inputs > 2 else "know no years; leave year= out"
            raise ValueError(f"the weights of {name} {rule}.")
        if layer is not None and (type(layer) is not int or not 0 <= layer <= depth):
            raise ValueError(f"layer must lie in 0 … {depth} for {name}; got {layer!r:.60}.")
        if layer is not None and head:
            raise ValueError("the head follows the last block; give layer= or head=True, not both.")
        full = state["head.weight"].shape[0] if head else width
        if dim is not None and (type(dim) is not int or not 1 <= dim <= full):
            raise ValueError(f"dim must lie in 1 … {full} for {name}; got {dim!r:.60}.")
        self.dtype, self.device = resolve_dtype(dtype), resolve_device(device)
        self.embed_dim = full if dim is None else dim
        self.year, self._head = year, head
        self.times = Times("year", YEARS) if year is not None else None
        self._depth = depth if layer is None else layer
        self._activation, self._w0_first = activation, w0_first
        settings = {"dim": dim, "layer": layer, "head": head or None, "year": year}
        chosen = {key: value for key, value in settings.items() if value is not None}
        marks = (key if value is True else f"{key}{value:g}" for key, value in chosen.items())
        self.name = ":".join([name, *marks])
        self.weights_hash = weights_hash(
            state, **chosen, **({} if activation == "siren" else {"activation": activation})
        )
        self._state = {key: value.to(self.device, self.dtype) for key, value in state.items()}

    def encode(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Encode one chunk of checked places; see `LocationEncoder.encode`."""
        precise = torch.float64 if self.dtype == torch.float64 else torch.float32
        x = equal_earth(lonlat.to(precise), math.sqrt(3.0))
        if self.year is not None:
            x = torch.cat([x, self._year_features(len(x), precise)], dim=1)
        keep = slice(None) if self._head else slice(self.embed_dim)
        last = slice(None) if self._depth else keep
        h = self._layer(x.to(self.dtype), "first", last)
        for i in range(self._depth):
            # The last block adds number by number: only those that are kept are computed.
            rows = keep if i == self._depth - 1 else slice(None)
            h = h[:, rows] + self._layer(h, f"blocks.{i}", rows)
        if self._head:
            weight, bias = self._state["head.weight"], self._state["head.bias"]
            h = nn.functional.linear(h, weight[: self.embed_dim], bias[: self.embed_dim])
        return h

    def _layer(self, x: torch.Tensor, key: str, rows: slice) -> torch.Tensor:
        """Apply one sine layer, or some of its rows."""
        first = key == "first"
        weight, bias = (self._state[f"{key}.linear.{part}"][rows] for part in ("weight", "bias"))
        z = nn.functional.linear(x, weight, bias)
        if self._activation == "finer":
            z = (z.abs() + 1.0) * z
        elif self._activation == "hsiren" and first:
            z = torch.sinh(z)
        return torch.sin(self._w0_first * z) if first else torch.sin(z)

    def _year_features(self, count: int, dtype: torch.dtype) -> torch.Tensor:
        assert self.year is not None
        years = torch.full((count, 1), self.year, dtype=dtype, device=self.device)
        angle = (years - YEAR_ORIGIN) / YEAR_SCALE * self._state["year_freqs"].to(dtype)
        return torch.cat([torch.sin(angle), torch.cos(angle)], dim=1)


def weight_shapes(
    width: int, blocks: int, *, inputs: int = 2, outputs: int | None = None, frequencies: int = 8
) -> dict[str, tuple[int, ...]]:
    """List every weight of such an encoder with its shape; `outputs` are those of the head."""
    shapes: dict[str, tuple[int, ...]] = {"year_freqs": (frequencies,)}
    for key, n in (("first", inputs), *((f"blocks.{i}", width) for i in range(blocks))):
        shapes |= {f"{key}.linear.weight": (width, n), f"{key}.linear.bias": (width,)}
    if outputs is not None:
        shapes |= {"head.weight": (outputs, width), "head.bias": (outputs,)}
    return shapes


def is_mind(content: Mapping[str, Any]) -> bool:
    """Tell whether the content of a file is laid out like MIND's weights."""
    return "year_freqs" in find_network(content, FIRST)


def read_mind(
    path: str | Path,
    *,
    dim: int | None = None,
    layer: int | None = None,
    head: bool = False,
    year: float | None = None,
    name: str = "",
    dtype: str = "float32",
    device: str = "auto",
) -> MIND:
    """Load the weights of MIND; width, depth and head are read from them.

    Parameters
    ----------
    path : str or Path
        mind.safetensors, a folder with it, or the .pt file of a training run.
    dim, layer, head, year
        As in `MIND`.
    name, dtype, device : str
        As in `load_encoder`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, would run code, holds other weights, or does not have what is asked.

    References
    ----------
    Corley et al. (2026), "MIND: Matryoshka Implicit Neural Distillation", arXiv:2609.25454.
    """
    path = Path(path)
    content = read_weights(path)
    if not is_mind(content):
        raise ValueError(f"{path.name} does not hold MIND's weights (first.linear, year_freqs).")
    state = find_network(content, FIRST)
    meta = content.get("meta") if "state_dict" in content else None
    trained = plain_settings(meta.get("args")) if isinstance(meta, Mapping) else None
    trained = trained if isinstance(trained, Mapping) else {}
    kind, w0_first = trained.get("encoder", "siren"), trained.get("w0_first", W0_FIRST)
    if kind not in ACTIVATIONS or type(w0_first) not in (int, float):
        raise ValueError(f"{path.name} was trained with an unknown encoder; got {kind!r:.60}.")
    return MIND(
        take_tensors(state, _shapes_of(state, path.name), path.name),
        dim=dim,
        layer=layer,
        head=head,
        year=year,
        activation=ACTIVATIONS[kind],
        w0_first=float(w0_first),
        name=name or path.name.removesuffix(".safetensors").removesuffix(".pt"),
        dtype=dtype,
        device=device,
    )


def _shapes_of(state: Mapping[Any, Any], source: str) -> dict[str, tuple[int, ...]]:
    """Derive the shapes that weights must have from the few that tell the sizes."""
    telling = {"first.linear.weight": 2, "year_freqs": 1}
    telling |= {"head.weight": 2} if "head.weight" in state else {}
    for key, axes in telling.items():
        if not isinstance(state[key], torch.Tensor) or state[key].ndim != axes:
            raise ValueError(f"{key} in {source} must be a tensor with {axes} axes.")
    width, inputs = state["first.linear.weight"].shape
    frequencies = len(state["year_freqs"])
    outputs = state["head.weight"].shape[0] if "head.weight" in state else None
    blocks = sum(1 for key in state if re.fullmatch(r"blocks\.\d+\.linear\.weight", str(key)))
    sizes = {"blocks": blocks, "width": width, "outputs": outputs or 0}
    for part, size in (sizes | {"year_frequencies": frequencies}).items():
        if size > LIMITS[part]:
            raise ValueError(f"{source} has {part} = {size:,}; at most {LIMITS[part]:,} are built.")
    if inputs not in (2, 2 + 2 * frequencies):
        raise ValueError(f"{source} takes {inputs} inputs; MIND takes 2, or 2 and those of a year.")
    return weight_shapes(width, blocks, inputs=inputs, outputs=outputs, frequencies=frequencies)

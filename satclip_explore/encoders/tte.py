"""TTE: soft Voronoi cells on the sphere, and semantic tokens that distant cells share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from satclip_explore.encoders.base import LocationEncoder, resolve_device, resolve_dtype
from satclip_explore.encoders.baselines import xyz
from satclip_explore.encoders.tensor_files import (
    find_network,
    read_settings,
    read_weights,
    take_tensors,
    weights_hash,
)

GATE = 0.5
"""Share of the tokens in the sum of tokens and cells, where no config.json states another."""

TEMPERATURE_RANGE = (0.01, 10.0)
"""Where the learned temperature of the attention to tokens is kept, as published."""

TOKENS = "semantic_registers."

TRAINING_ONLY = ("img_to_logits.weight", "img_to_logits.bias", "_img_temperature")
"""Below `TOKENS`: what serves images during training and is left alone here."""


class TTE(LocationEncoder):
    """Soft Voronoi sites, attention to semantic tokens, a residual network (Cher et al. 2026).

    Parameters
    ----------
    state : mapping of str to torch.Tensor
        Weights with the keys of `weight_shapes`.
    gate : float
        Share of the tokens against the cells, 0 … 1.
    normalize : bool
        Give unit vectors, as the authors do.
    name, dtype, device : str
        As in `load_encoder`.
    """

    family = "tte"
    chunk_size = 2048

    def __init__(
        self,
        state: Mapping[str, torch.Tensor],
        *,
        gate: float = GATE,
        normalize: bool = True,
        name: str = "tte",
        dtype: str = "float32",
        device: str = "auto",
    ) -> None:
        self.name = name if normalize else f"{name}:lengths"
        self.gate, self.normalize = gate, normalize
        self.dtype, self.device = resolve_dtype(dtype), resolve_device(device)
        self.weights_hash = weights_hash(state, gate=gate, normalize=normalize)
        self._state = {key: value.to(self.device, self.dtype) for key, value in state.items()}
        layers = sorted(int(key.split(".")[1]) for key in state if re.match(r"mlp\.\d+", key))
        self._last = layers[-1]
        self.embed_dim = len(state[f"mlp.{self._last}.weight"])

    def encode(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Encode one chunk of checked places; see `LocationEncoder.encode`."""
        w = self._state
        if self.dtype != torch.float64:
            lonlat = lonlat.float()
        sites = nn.functional.normalize(w["_directions"], dim=1) * w["_log_tau"].exp()[:, None]
        cells = torch.softmax(xyz(lonlat).to(self.dtype) @ sites.T, dim=1) @ w["_embeddings"]
        x = self._attend(cells)
        x = torch.relu(nn.functional.linear(x, w["mlp.0.weight"], w["mlp.0.bias"]))
        for i in range(2, self._last):
            y = x
            for part in ("w1", "w2"):
                key = f"mlp.{i}.{part}"
                y = torch.relu(nn.functional.linear(y, w[f"{key}.weight"], w[f"{key}.bias"]))
            x = x + y
        x = nn.functional.linear(x, w[f"mlp.{self._last}.weight"])
        return nn.functional.normalize(x, dim=1) if self.normalize else x

    def _attend(self, cells: torch.Tensor) -> torch.Tensor:
        """Mix the cells' vectors (N, E) with the tokens they resemble: (N, D)."""
        w = {k.removeprefix(TOKENS): v for k, v in self._state.items() if k.startswith(TOKENS)}
        temperature = w["log_temperature"].exp().clamp(*TEMPERATURE_RANGE)
        query, keys = cells, w["loc_to_logits.weight"]
        bias = w.get("loc_to_logits.bias")
        if bias is None:
            # Weights without a bias were trained on directions alone.
            query, keys = (nn.functional.normalize(side, dim=1) for side in (query, keys))
        logits = nn.functional.linear(query, keys, bias) / temperature
        tokens = torch.softmax(logits, dim=1) @ w["registers"]
        if "site_to_out.weight" in w:
            cells = nn.functional.linear(cells, w["site_to_out.weight"], w["site_to_out.bias"])
        mixed = (1 - self.gate) * cells + self.gate * tokens
        return nn.functional.layer_norm(mixed, mixed.shape[1:], w["norm.weight"], w["norm.bias"])


def weight_shapes(
    sites: int = 4096,
    site_dim: int = 384,
    embed_dim: int = 512,
    hidden_dim: int = 512,
    residual_layers: int = 2,
    tokens: int = 64,
    *,
    bias: bool = True,
) -> dict[str, tuple[int, ...]]:
    """List every weight of the location encoder with its shape; by default, of the published."""
    shapes: dict[str, tuple[int, ...]] = {
        "_directions": (sites, 3),
        "_log_tau": (sites,),
        "_embeddings": (sites, site_dim),
        f"{TOKENS}registers": (tokens, embed_dim),
        f"{TOKENS}loc_to_logits.weight": (tokens, site_dim),
        f"{TOKENS}log_temperature": (),
        f"{TOKENS}norm.weight": (embed_dim,),
        f"{TOKENS}norm.bias": (embed_dim,),
        "mlp.0.weight": (hidden_dim, embed_dim),
        "mlp.0.bias": (hidden_dim,),
        f"mlp.{residual_layers + 2}.weight": (embed_dim, hidden_dim),
    }
    if bias:
        shapes[f"{TOKENS}loc_to_logits.bias"] = (tokens,)
    if site_dim != embed_dim:
        shapes[f"{TOKENS}site_to_out.weight"] = (embed_dim, site_dim)
        shapes[f"{TOKENS}site_to_out.bias"] = (embed_dim,)
    for i in range(2, residual_layers + 2):
        for part in ("w1", "w2"):
            shapes[f"mlp.{i}.{part}.weight"] = (hidden_dim, hidden_dim)
            shapes[f"mlp.{i}.{part}.bias"] = (hidden_dim,)
    return shapes


def is_tte(content: Mapping[str, Any]) -> bool:
    """Tell whether the content of a file is laid out like TTE's location encoder."""
    return bool(find_network(content, "_log_tau"))


def read_tte(
    path: str | Path,
    *,
    normalize: bool | None = None,
    name: str = "tte",
    dtype: str = "float32",
    device: str = "auto",
) -> TTE:
    """Load TTE's location encoder; sizes are read from the weights.

    Parameters
    ----------
    path : str or Path
        The hub's folder or model.safetensors (with config.json beside it, where it states the gate
        and whether outputs are normalized), or a Lightning checkpoint, whose images are left alone.
    normalize : bool, optional
        Give unit vectors; default what config.json says, else True.
    name, dtype, device : str
        As in `load_encoder`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, would run code, or holds other weights.

    References
    ----------
    Cher et al. (2026), "Tessellating the Earth: Learnable Spherical Voronoi Partitions for Location
    Encoding", ECCV, arXiv:2606.27514.
    """
    path = Path(path)
    content = read_weights(path)
    if not is_tte(content):
        raise ValueError(f"{path.name} does not hold TTE's location encoder (_log_tau …).")
    ours = {
        key: value
        for key, value in find_network(content, "_log_tau").items()
        if key.removeprefix(TOKENS) not in TRAINING_ONLY
    }
    settings = {} if path.suffix in (".ckpt", ".pt", ".pth") else read_settings(path)
    gate = settings.get("register_fixed_gate", GATE)
    if isinstance(gate, bool) or not isinstance(gate, (int, float)) or not 0 <= gate <= 1:
        raise ValueError(f"register_fixed_gate must lie in 0 … 1; got {gate!r:.60}.")
    stated = settings.get("normalize", True)
    if not isinstance(stated, bool):
        raise ValueError(f"normalize in config.json must be true or false; got {stated!r:.60}.")
    return TTE(
        take_tensors(ours, _shapes_of(ours, path.name), path.name),
        gate=float(gate),
        normalize=stated if normalize is None else normalize,
        name=name,
        dtype=dtype,
        device=device,
    )


def _shapes_of(state: Mapping[str, Any], source: str) -> dict[str, tuple[int, ...]]:
    """Derive the shapes that weights must have from the few that tell the sizes."""
    telling = ("_embeddings", f"{TOKENS}registers", "mlp.0.weight")
    for key in telling:
        if not isinstance(state.get(key), torch.Tensor) or state[key].ndim != 2:
            raise ValueError(f"{source} lacks {key}, a tensor with two axes.")
    embeddings, registers, first = (state[key] for key in telling)
    return weight_shapes(
        embeddings.shape[0],
        embeddings.shape[1],
        registers.shape[1],
        first.shape[0],
        sum(1 for key in state if re.fullmatch(r"mlp\.\d+\.w1\.weight", key)),
        registers.shape[0],
        bias=f"{TOKENS}loc_to_logits.bias" in state,
    )

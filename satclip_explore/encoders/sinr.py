"""SINR: a residual network of place, or of place and environment, trained on where species live."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from satclip_explore.encoders.base import LocationEncoder, resolve_device, resolve_dtype
from satclip_explore.encoders.baselines import scaled_lonlat, wrap
from satclip_explore.encoders.feed_forward import ResidualBlock
from satclip_explore.encoders.tensor_files import (
    find_network,
    plain_settings,
    read_weights,
    take_tensors,
    weights_hash,
)

PLACE_INPUTS = 4
"""Sines and cosines of the scaled coordinates."""

INPUT_ENCODINGS = ("sin_cos", "env", "sin_cos_env")
"""What a training file says that the network is given: the place, the environment, or both."""

LIMITS = {"blocks": 64, "width": 8192, "inputs": 4096}
"""Largest sizes that are built from a file."""


class SINR(LocationEncoder):
    """A residual network with ReLU (Cole et al. 2023).

    Parameters
    ----------
    state : mapping of str to torch.Tensor
        Weights with the keys of `weight_shapes`.
    input_encoding : {"sin_cos", "env", "sin_cos_env"}
        What the network is given.
    environment : numpy.ndarray, shape (H, W, C), optional
        Global raster of standardized variables whose corner pixels lie on the corners of the globe,
        north first; NaN counts as 0, the mean.
    name, dtype, device : str
        As in `load_encoder`.

    Raises
    ------
    ValueError
        If the network wants an environment that is not given, or one of another size.
    """

    family = "sinr"

    def __init__(
        self,
        state: Mapping[str, torch.Tensor],
        *,
        input_encoding: str = "sin_cos",
        environment: Any = None,
        name: str = "sinr",
        dtype: str = "float32",
        device: str = "auto",
    ) -> None:
        self.embed_dim, inputs = state["0.weight"].shape
        place = PLACE_INPUTS if "sin_cos" in input_encoding else 0
        wanted = inputs - place
        channels = 0 if environment is None else environment.shape[-1]
        if wanted != channels:
            got = f"{channels} were given" if channels else "none was given"
            raise ValueError(
                f"{name} takes {wanted} environmental variables per place, as environment=, the "
                f".npy raster (H, W, {wanted}) that its authors train on; {got}."
            )
        self.name = name
        self.dtype, self.device = resolve_dtype(dtype), resolve_device(device)
        self.weights_hash = weights_hash(state, input_encoding=input_encoding)
        self._place, self._environment = bool(place), environment
        # Their raster ends at the antimeridian; the sines do not.
        self.periodic = environment is None
        blocks = [ResidualBlock(self.embed_dim) for _ in range((len(state) - 2) // 4)]
        self.network = nn.Sequential(nn.Linear(inputs, self.embed_dim), nn.ReLU(), *blocks)
        self.network.load_state_dict(state, strict=True)
        self.network = self.network.to(self.device, self.dtype).eval().requires_grad_(False)

    def encode(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Encode one chunk of checked places; see `LocationEncoder.encode`."""
        if self.dtype != torch.float64:
            lonlat = lonlat.float()
        features = [wrap(lonlat)] if self._place else []
        if self._environment is not None:
            features.append(self._variables(lonlat))
        return self.network(torch.cat(features, dim=1).to(self.dtype))

    def _variables(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Interpolate the environment at places, (N, C), bilinearly between pixel centers."""
        height, width, _ = self._environment.shape
        east, north = ((scaled_lonlat(lonlat.cpu()).numpy() + 1) / 2).T
        column, row = east * (width - 1), (1 - north) * (height - 1)
        left, top = np.floor(column).astype(int), np.floor(row).astype(int)
        right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
        u, v = (column - left)[:, None], (row - top)[:, None]
        corners = (
            np.nan_to_num(np.asarray(self._environment[y, x], dtype=np.float64))
            for y, x in ((top, left), (top, right), (below, left), (below, right))
        )
        weights = ((1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v)
        total = sum(w * corner for w, corner in zip(weights, corners, strict=True))
        return torch.as_tensor(total, device=self.device).to(lonlat.dtype)


def weight_shapes(inputs: int = 4, width: int = 256, blocks: int = 4) -> dict[str, tuple[int, ...]]:
    """List every weight with its shape, keys without `feats.`; by default, of the published."""
    shapes: dict[str, tuple[int, ...]] = {"0.weight": (width, inputs), "0.bias": (width,)}
    for i in range(2, blocks + 2):
        for part in ("w1", "w2"):
            shapes |= {f"{i}.{part}.weight": (width, width), f"{i}.{part}.bias": (width,)}
    return shapes


def _features(content: Mapping[str, Any]) -> dict[str, Any]:
    """Take the network under the species classifier out of a file."""
    state = find_network(content, "feats.0.weight")
    return {key[len("feats.") :]: v for key, v in state.items() if key.startswith("feats.")}


def is_sinr(content: Mapping[str, Any]) -> bool:
    """Tell whether the content of a file is laid out like SINR's original or the hub's."""
    return {"0.weight", "2.w1.weight"} <= _features(content).keys()


def read_sinr(
    path: str | Path,
    *,
    environment: Any = None,
    name: str = "sinr",
    dtype: str = "float32",
    device: str = "auto",
) -> SINR:
    """Load SINR; sizes are read from the weights.

    Parameters
    ----------
    path : str or Path
        An original .pt file with `params` and `state_dict`, or the hub's model.safetensors or a
        folder with it. The classifier of species in it is left alone.
    environment : str, Path or array_like, shape (H, W, C), optional
        The raster `bioclim_elevation_scaled.npy` of the authors, for networks that take it. A file
        is read where places are, never whole.
    name, dtype, device : str
        As in `load_encoder`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a file is damaged, would run code, holds other weights, or an environment is missing.

    References
    ----------
    Cole et al. (2023), "Spatial Implicit Neural Representations for Global-Scale Species Mapping",
    ICML.
    """
    path = Path(path)
    content = read_weights(path)
    if not is_sinr(content):
        raise ValueError(f"{path.name} does not hold SINR's network (feats.0 and feats.2.w1).")
    state = _features(content)
    first = state["0.weight"]
    blocks = sum(1 for key in state if re.fullmatch(r"\d+\.w1\.weight", key))
    if not isinstance(first, torch.Tensor) or first.ndim != 2:
        raise ValueError(f"feats.0.weight in {path.name} must be a tensor with two axes.")
    width, inputs = first.shape
    for setting, size in (("blocks", blocks), ("width", width), ("inputs", inputs)):
        if size > LIMITS[setting]:
            raise ValueError(f"{path.name} has {setting} = {size:,}; at most {LIMITS[setting]:,}.")
    raster = None if environment is None else _open_raster(environment)
    params = plain_settings(content.get("params"))
    stated = params.get("input_enc") if isinstance(params, Mapping) else None
    if stated is not None and stated not in INPUT_ENCODINGS:
        raise ValueError(
            f"input_enc must be one of {', '.join(INPUT_ENCODINGS)}; got {stated!r:.60}."
        )
    return SINR(
        take_tensors(state, weight_shapes(inputs, width, blocks), path.name),
        input_encoding=stated or _guess_encoding(inputs, raster),
        environment=raster,
        name=name,
        dtype=dtype,
        device=device,
    )


def _guess_encoding(inputs: int, raster: Any) -> str:
    """Tell what the hub's weights are given, which only their number of inputs shows."""
    if inputs == PLACE_INPUTS:
        return "sin_cos"
    return "env" if raster is not None and raster.shape[-1] == inputs else "sin_cos_env"


def _open_raster(environment: Any) -> Any:
    """Open a raster of variables without reading it, and check its shape."""
    if isinstance(environment, (str, Path)):
        file = Path(environment)
        if not file.is_file():
            raise FileNotFoundError(f"no environment at {file}; pass the authors' .npy raster.")
        try:
            environment = np.load(file, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise ValueError(f"{file.name} cannot be read as a plain .npy array.") from error
    raster = environment if isinstance(environment, np.ndarray) else np.asarray(environment)
    if raster.ndim != 3 or min(raster.shape) < 1 or raster.dtype.kind != "f":
        raise ValueError(
            "environment must have shape (H, W, C), north first, and hold floating-point numbers; "
            f"got {raster.shape} of {raster.dtype}."
        )
    return raster

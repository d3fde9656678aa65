"""GeoCLIP's location encoder: an equal-earth projection, Fourier features at three scales."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from satclip_explore.encoders.base import LocationEncoder, resolve_device, resolve_dtype
from satclip_explore.encoders.tensor_files import (
    read_safetensors,
    read_torch_file,
    take_tensors,
    weights_hash,
)

SCALES = 3
FREQUENCIES = 256
HIDDEN_DIM = 1024
EMBED_DIM = 512

EQUAL_EARTH = (1.340264, -0.081106, 0.000893, 0.003796)
"""Coefficients A1 … A4 (Šavrič, Patterson & Jenny 2018, doi:10.1080/13658816.2018.1504949)."""

PROJECTION_SCALE = 66.50336
"""Published factor that brings the projected coordinates to degrees, before they go by 180."""

SQRT3 = torch.tensor(3.0).sqrt().item()
"""√3 rounded to float32, as in the published code: the finest scale shows the difference."""

PREFIXES = ("", "location_encoder.")
"""Where the weights sit: in the location encoder's own file, or in the whole model's."""


class GeoCLIP(LocationEncoder):
    """Three random-Fourier networks whose outputs are added (Vivanco Cepeda et al. 2023).

    Parameters
    ----------
    state : mapping of str to torch.Tensor
        Weights with the keys of `weight_shapes`.
    name, dtype, device : str
        As in `load_encoder`.
    """

    family = "geoclip"
    embed_dim = EMBED_DIM

    def __init__(
        self,
        state: Mapping[str, torch.Tensor],
        *,
        name: str = "geoclip",
        dtype: str = "float32",
        device: str = "auto",
    ) -> None:
        self.name = name
        self.dtype, self.device = resolve_dtype(dtype), resolve_device(device)
        self.weights_hash = weights_hash(state)
        self._state = {key: value.to(self.device, self.dtype) for key, value in state.items()}
        if self.dtype == torch.bfloat16:
            # 8 bits cannot hold the phase of the finest scale: frequencies stay in float32.
            exact = {f"LocEnc{i}.capsule.0.b" for i in range(SCALES)}
            self._state |= {key: state[key].to(self.device, torch.float32) for key in exact}

    def encode(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Encode one chunk of checked places; see `LocationEncoder.encode`."""
        precise = torch.float64 if self.dtype == torch.float64 else torch.float32
        projected = equal_earth(lonlat.to(precise))
        total = torch.zeros(len(lonlat), EMBED_DIM, dtype=self.dtype, device=self.device)
        for i in range(SCALES):
            weights = {
                key.removeprefix(f"LocEnc{i}."): value
                for key, value in self._state.items()
                if key.startswith(f"LocEnc{i}.")
            }
            angle = 2.0 * math.pi * projected @ weights["capsule.0.b"].T
            x = torch.cat([torch.cos(angle), torch.sin(angle)], dim=1).to(self.dtype)
            for layer in ("capsule.1", "capsule.3", "capsule.5"):
                linear = nn.functional.linear(
                    x, weights[f"{layer}.weight"], weights[f"{layer}.bias"]
                )
                x = torch.relu(linear)
            total += nn.functional.linear(x, weights["head.0.weight"], weights["head.0.bias"])
        return total


def equal_earth(lonlat: torch.Tensor) -> torch.Tensor:
    """Project places as GeoCLIP does: (N, 2), x to the east, y to the north, about -1 … 1.

    The published function takes latitude first; here the order is swapped, once.
    """
    a1, a2, a3, a4 = EQUAL_EARTH
    lon, lat = torch.deg2rad(lonlat[:, 0]), torch.deg2rad(lonlat[:, 1])
    theta = torch.asin((SQRT3 / 2) * torch.sin(lat))
    slope = 3 * (9 * a4 * theta**8 + 7 * a3 * theta**6 + 3 * a2 * theta**2 + a1)
    x = (2 * SQRT3 * lon * torch.cos(theta)) / slope
    y = a4 * theta**9 + a3 * theta**7 + a2 * theta**3 + a1 * theta
    return (torch.stack((x, y), dim=1) * PROJECTION_SCALE) / 180


def weight_shapes() -> dict[str, tuple[int, ...]]:
    """List every weight of the published location encoder with its shape."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i in range(SCALES):
        shapes[f"LocEnc{i}.capsule.0.b"] = (FREQUENCIES, 2)
        for position, width in ((1, 2 * FREQUENCIES), (3, HIDDEN_DIM), (5, HIDDEN_DIM)):
            shapes[f"LocEnc{i}.capsule.{position}.weight"] = (HIDDEN_DIM, width)
            shapes[f"LocEnc{i}.capsule.{position}.bias"] = (HIDDEN_DIM,)
        shapes[f"LocEnc{i}.head.0.weight"] = (EMBED_DIM, HIDDEN_DIM)
        shapes[f"LocEnc{i}.head.0.bias"] = (EMBED_DIM,)
    return shapes


def is_geoclip(content: Mapping[str, Any]) -> bool:
    """Tell whether the content of a file is laid out like GeoCLIP's location encoder."""
    return any(f"{prefix}LocEnc0.capsule.0.b" in content for prefix in PREFIXES)


def read_geoclip(
    path: str | Path, *, name: str = "geoclip", dtype: str = "float32", device: str = "auto"
) -> GeoCLIP:
    """Load GeoCLIP's published weights.

    Parameters
    ----------
    path : str or Path
        location_encoder_weights.pth, or the model.safetensors of a whole GeoCLIP.
    name, dtype, device : str
        As in `load_encoder`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, would run code, or holds other weights.
    """
    path = Path(path)
    reader = read_safetensors if path.suffix == ".safetensors" else read_torch_file
    content = reader(path)
    if not is_geoclip(content):
        raise ValueError(f"{path.name} does not hold GeoCLIP's location encoder (LocEnc0 …).")
    prefix = next(p for p in PREFIXES if f"{p}LocEnc0.capsule.0.b" in content)
    mark = f"{prefix}LocEnc"
    state = {
        str(key)[len(prefix) :]: value
        for key, value in content.items()
        if str(key).startswith(mark)
    }
    return GeoCLIP(
        take_tensors(state, weight_shapes(), path.name), name=name, dtype=dtype, device=device
    )

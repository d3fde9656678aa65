"""GeoCLIP's location encoder: an equal-earth projection, Fourier features at three scales."""

from __future__ import annotations

import math
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from satclip_explore.encoders.base import LocationEncoder, resolve_device, resolve_dtype
from satclip_explore.encoders.tensor_files import (
    find_network,
    read_torch_file,
    read_weights,
    take_tensors,
    weights_hash,
)

WHEEL_MEMBER = "geoclip/model/weights/location_encoder_weights.pth"
MAX_WHEEL_BYTES = 500_000_000

MAX_SCALES = 16
"""More networks than any published file adds up."""

EQUAL_EARTH = (1.340264, -0.081106, 0.000893, 0.003796)
"""Coefficients A1 … A4 (Šavrič, Patterson & Jenny 2018, doi:10.1080/13658816.2018.1504949)."""

PROJECTION_SCALE = 66.50336
"""Published factor that brings the projected coordinates to degrees, before they go by 180."""

SQRT3 = torch.tensor(3.0).sqrt().item()
"""√3 rounded to float32, as in the published code: the finest scale shows the difference."""


class GeoCLIP(LocationEncoder):
    """Random-Fourier networks of several scales, their outputs added (Vivanco Cepeda et al. 2023).

    GeoCLIP has three scales and 512 outputs; TaxaBind, GAIR and SLED have its shape in other sizes.

    Parameters
    ----------
    state : mapping of str to torch.Tensor
        Weights with the keys of `weight_shapes`.
    name, dtype, device : str
        As in `load_encoder`.
    """

    family = "geoclip"
    periodic = False

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
        self.scales = _count_scales(state)
        self.embed_dim = len(state["LocEnc0.head.0.bias"])
        self._state = {key: value.to(self.device, self.dtype) for key, value in state.items()}
        if self.dtype == torch.bfloat16:
            # 8 bits cannot hold the phase of the finest scale: frequencies stay in float32.
            exact = {f"LocEnc{i}.capsule.0.b" for i in range(self.scales)}
            self._state |= {key: state[key].to(self.device, torch.float32) for key in exact}

    def encode(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Encode one chunk of checked places; see `LocationEncoder.encode`."""
        precise = torch.float64 if self.dtype == torch.float64 else torch.float32
        projected = equal_earth(lonlat.to(precise))
        total = torch.zeros(len(lonlat), self.embed_dim, dtype=self.dtype, device=self.device)
        for i in range(self.scales):
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


def equal_earth(lonlat: torch.Tensor, root: float = SQRT3) -> torch.Tensor:
    """Project places as GeoCLIP does: (N, 2), x to the east, y to the north, about -1 … 1.

    The published function takes latitude first; here the order is swapped, once. `root` is √3, as
    the code rounds it that the weights were trained with.
    """
    a1, a2, a3, a4 = EQUAL_EARTH
    lon, lat = torch.deg2rad(lonlat[:, 0]), torch.deg2rad(lonlat[:, 1])
    theta = torch.asin((root / 2) * torch.sin(lat))
    slope = 3 * (9 * a4 * theta**8 + 7 * a3 * theta**6 + 3 * a2 * theta**2 + a1)
    x = (2 * root * lon * torch.cos(theta)) / slope
    y = a4 * theta**9 + a3 * theta**7 + a2 * theta**3 + a1 * theta
    return (torch.stack((x, y), dim=1) * PROJECTION_SCALE) / 180


def weight_shapes(
    scales: int = 3, frequencies: int = 256, hidden_dim: int = 1024, embed_dim: int = 512
) -> dict[str, tuple[int, ...]]:
    """List every weight of a location encoder with its shape; by default, of GeoCLIP's."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i in range(scales):
        shapes[f"LocEnc{i}.capsule.0.b"] = (frequencies, 2)
        for position, width in ((1, 2 * frequencies), (3, hidden_dim), (5, hidden_dim)):
            shapes[f"LocEnc{i}.capsule.{position}.weight"] = (hidden_dim, width)
            shapes[f"LocEnc{i}.capsule.{position}.bias"] = (hidden_dim,)
        shapes[f"LocEnc{i}.head.0.weight"] = (embed_dim, hidden_dim)
        shapes[f"LocEnc{i}.head.0.bias"] = (embed_dim,)
    return shapes


def _count_scales(state: Mapping[str, Any]) -> int:
    return sum(1 for i in range(MAX_SCALES) if f"LocEnc{i}.capsule.0.b" in state)


def _encoder_state(content: Mapping[str, Any]) -> dict[str, Any]:
    """Take the location encoder's weights out of those of a whole model, or of its training."""
    state = find_network(content, "LocEnc0.capsule.0.b")
    return {key: value for key, value in state.items() if key.startswith("LocEnc")}


def is_geoclip(content: Mapping[str, Any]) -> bool:
    """Tell whether the content of a file is laid out like GeoCLIP's location encoder."""
    return bool(_encoder_state(content))


def read_geoclip(
    path: str | Path, *, name: str = "geoclip", dtype: str = "float32", device: str = "auto"
) -> GeoCLIP:
    """Load GeoCLIP's published weights, or those of a model whose location encoder has its shape.

    Parameters
    ----------
    path : str or Path
        location_encoder_weights.pth, the model.safetensors of a whole GeoCLIP or of TaxaBind's
        location encoder, a folder with one, GAIR's checkpoint, or the wheel of the Python package
        geoclip. Sizes are read from the weights.
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
    state = _encoder_state(_read_wheel(path) if path.suffix == ".whl" else read_weights(path))
    if not state:
        raise ValueError(f"{path.name} does not hold GeoCLIP's location encoder (LocEnc0 …).")
    sizes = [
        state[key].shape[0] if getattr(state.get(key), "ndim", 0) else 0
        for key in ("LocEnc0.capsule.0.b", "LocEnc0.capsule.1.bias", "LocEnc0.head.0.bias")
    ]
    shapes = weight_shapes(_count_scales(state), *sizes)
    return GeoCLIP(take_tensors(state, shapes, path.name), name=name, dtype=dtype, device=device)


def _read_wheel(path: Path) -> dict[str, Any]:
    """Read the weights inside the wheel of the Python package geoclip."""
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}; pass the wheel that pip downloaded.")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "location_encoder_weights.pth"
        try:
            with zipfile.ZipFile(path) as wheel:
                if wheel.getinfo(WHEEL_MEMBER).file_size > MAX_WHEEL_BYTES:
                    raise ValueError(f"the weights in {path.name} are too large to be GeoCLIP's.")
                file.write_bytes(wheel.read(WHEEL_MEMBER))
        except (zipfile.BadZipFile, KeyError, NotImplementedError) as error:
            raise ValueError(f"{path.name} is not a wheel of geoclip with its weights.") from error
        content = read_torch_file(file)
        # The tensors are views of the file, which is about to go.
        return {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in content.items()}

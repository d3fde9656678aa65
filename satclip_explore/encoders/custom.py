"""Your own encoder: any function, or any torch module, of longitude and latitude."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from satclip_explore.checks import known_keywords
from satclip_explore.encoders.base import LocationEncoder, resolve_device, resolve_dtype
from satclip_explore.encoders.tensor_files import weights_hash

ORDERS = {"lonlat": [0, 1], "latlon": [1, 0]}


class Custom(LocationEncoder):
    """A function of places, wrapped; made by `from_callable` and `from_module`."""

    family = "custom"
    periodic = False

    def __init__(
        self,
        function: Callable[[NDArray[np.float64]], Any] | nn.Module,
        *,
        name: str,
        order: str,
        dtype: str,
        device: str,
    ) -> None:
        if order not in ORDERS:
            raise ValueError(f"order must be 'lonlat' or 'latlon'; got {order!r}.")
        self._function, self._order = function, ORDERS[order]
        self.name = name
        self.dtype, self.device = resolve_dtype(dtype), resolve_device(device)
        self.embed_dim = 0
        with torch.no_grad():
            trial = self.encode(torch.zeros(2, 2, dtype=torch.float64, device=self.device))
        self.embed_dim = trial.shape[1]

    def encode(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Encode one chunk of checked places; see `LocationEncoder.encode`."""
        places = lonlat[:, self._order]
        if isinstance(self._function, nn.Module):
            values = self._function(places.to(self.dtype))
        else:
            values = self._function(places.cpu().numpy())
        values = torch.as_tensor(values)
        widths = (self.embed_dim,) if self.embed_dim else range(1, 1_000_000)
        if values.ndim != 2 or len(values) != len(lonlat) or values.shape[1] not in widths:
            raise ValueError(
                f"{self.name} must return one vector per place, shape ({len(lonlat)}, "
                f"{self.embed_dim or 'D'}); got {tuple(values.shape)}."
            )
        return values.to(self.device, self.dtype)


@known_keywords
def from_callable(
    function: Callable[[NDArray[np.float64]], Any],
    *,
    name: str = "custom",
    order: str = "lonlat",
    dtype: str = "float32",
    device: str = "auto",
) -> Custom:
    """Make an encoder of a function.

    Parameters
    ----------
    function : callable
        Places (N, 2), numpy float64 in degrees, to vectors (N, D). It is tried on two places.
    name : str
        How results call it.
    order : {"lonlat", "latlon"}
        Which coordinate the function takes first.
    dtype, device : str
        As in `load_encoder`.

    Raises
    ------
    ValueError
        If it does not return one vector per place, or the order is unknown.

    Examples
    --------
    >>> from_callable(lambda lonlat: lonlat / 90.0).embed((45.0, -45.0)).tolist()
    [[0.5, -0.5]]
    """
    return Custom(function, name=name, order=order, dtype=dtype, device=device)


@known_keywords
def from_module(
    module: nn.Module,
    *,
    name: str = "custom",
    order: str = "lonlat",
    dtype: str = "float32",
    device: str = "auto",
) -> Custom:
    """Make an encoder of a torch module; it is moved and set to evaluation.

    Parameters
    ----------
    module : torch.nn.Module
        Places (N, 2) in degrees, of `dtype`, to vectors (N, D).
    name, order, dtype, device : str
        As in `from_callable`.

    Raises
    ------
    ValueError
        If it does not return one vector per place, or the order is unknown.
    """
    module = module.to(resolve_device(device), resolve_dtype(dtype)).eval()
    encoder = Custom(module, name=name, order=order, dtype=dtype, device=device)
    encoder.weights_hash = weights_hash(module.state_dict())
    return encoder

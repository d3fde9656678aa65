"""The networks behind Space2Vec's and TorchSpatial's position encodings."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leakyrelu": lambda: nn.LeakyReLU(negative_slope=0.2),
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
}


class FeedForward(nn.Module):
    """Layers of linear, activation, skip and layer norm; the last has the first two only.

    Parameters
    ----------
    sizes : list of int
        Width of the input, of each hidden layer and of the output.
    activation : str
        A key of `ACTIVATIONS`; the output passes it too, as published.
    layer_norm, skip : bool
        Whether hidden layers have them.
    """

    def __init__(self, sizes: list[int], activation: str, layer_norm: bool, skip: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        self.activation = ACTIVATIONS[activation]()
        self.skips = []
        for i in range(len(sizes) - 1):
            last = i == len(sizes) - 2
            layer = nn.ModuleDict({"linear": nn.Linear(sizes[i], sizes[i + 1])})
            if layer_norm and not last:
                layer["layernorm"] = nn.LayerNorm(sizes[i + 1])
            self.layers.append(layer)
            self.skips.append(skip and not last and sizes[i] == sizes[i + 1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map features, shape (N, sizes[0]), to embeddings, shape (N, sizes[-1])."""
        for layer, skip in zip(self.layers, self.skips, strict=True):
            assert isinstance(layer, nn.ModuleDict)
            y = self.activation(layer["linear"](x))
            y = y + x if skip else y
            x = layer["layernorm"](y) if "layernorm" in layer else y
        return x


class ResidualBlock(nn.Module):
    """Two linear layers with ReLU, added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.w1, self.w2 = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, width) to (N, width)."""
        return x + torch.relu(self.w2(torch.relu(self.w1(x))))

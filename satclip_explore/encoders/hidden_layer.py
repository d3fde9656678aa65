"""The activations inside a Siren, as an encoder of their own."""

from __future__ import annotations

import torch

from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.encoders.satclip import SatCLIP


class HiddenLayer(LocationEncoder):
    """One hidden layer of a SatCLIP encoder.

    Parameters
    ----------
    encoder : LocationEncoder
        A SatCLIP encoder.
    layer : int
        Which hidden layer, from 0.

    Raises
    ------
    ValueError
        If the encoder has no Siren, or no such layer.
    """

    family = "satclip"

    def __init__(self, encoder: LocationEncoder, layer: int) -> None:
        if not isinstance(encoder, SatCLIP):
            raise ValueError(
                f"layer= needs an encoder with a Siren; {encoder.name} is of family "
                f"{encoder.family!r}."
            )
        count = len(encoder.network.layers)
        if type(layer) is not int or not 0 <= layer < count:
            raise ValueError(f"layer must lie in 0 … {count - 1} for {encoder.name}; got {layer}.")
        self._encoder, self._layer = encoder, layer
        self.name = f"{encoder.name}:layer{layer}"
        self.embed_dim = encoder.network.hidden_layers[layer].out_features
        self.dtype, self.device = encoder.dtype, encoder.device
        self.weights_hash, self.chunk_size = encoder.weights_hash, encoder.chunk_size

    def encode(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Encode one chunk of checked places; see `LocationEncoder.encode`."""
        return self._encoder.network.hidden(self._encoder.features(lonlat), self._layer)

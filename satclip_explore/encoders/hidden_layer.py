"""The activations inside a Siren, as an encoder of their own."""

from __future__ import annotations

import torch

from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.encoders.satclip import SatCLIP
from satclip_explore.encoders.siren import Siren
from satclip_explore.encoders.torch_files import weights_hash


@torch.no_grad()
def hidden_layer(encoder: LocationEncoder, layer: int) -> SatCLIP:
    """Make an encoder of one hidden layer of a SatCLIP encoder.

    The network is cut after the layer and ends in the identity, so that grids keep their fast path.

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
    if not isinstance(encoder, SatCLIP):
        raise ValueError(
            f"layer= needs an encoder with a Siren; {encoder.name} is of family {encoder.family!r}."
        )
    network = encoder.network
    count = len(network.layers)
    if type(layer) is not int or not 0 <= layer < count:
        raise ValueError(f"layer must lie in 0 … {count - 1} for {encoder.name}; got {layer}.")
    width = network.hidden_layers[layer].out_features
    cut = Siren(
        network.hidden_layers[0].in_features,
        width,
        width,
        layer + 1,
        w0_initial=network.frequencies[0],
        w0=network.w0,
        seed=None,
    ).to(encoder.dtype)
    for ours, theirs in zip(cut.hidden_layers, network.hidden_layers, strict=False):
        ours.load_state_dict(theirs.state_dict())
    torch.nn.init.eye_(cut.last_layer.weight)
    torch.nn.init.zeros_(cut.last_layer.bias)
    inside = SatCLIP(
        cut,
        encoder.legendre_polys,
        harmonics_calculation=encoder.harmonics_calculation,
        name=f"{encoder.name}:layer{layer}",
        dtype=encoder.dtype,
        device=encoder.device,
    )
    inside.weights_hash = weights_hash(cut.state_dict())
    return inside

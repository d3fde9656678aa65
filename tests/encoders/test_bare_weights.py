"""SatCLIP's network without settings: sizes are stated, and compared with the weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from satclip_explore.encoders.registry import load_encoder


@pytest.fixture
def weights(tmp_path, tiny_encoder):
    path = tmp_path / "w.pt"
    torch.save({f"net.{k}": v for k, v in tiny_encoder.network.state_dict().items()}, path)
    return path


def test_stated_sizes_open_a_state_dict_of_any_prefix(weights, tiny_encoder, edges):
    degrees = tiny_encoder.legendre_polys
    encoder = load_encoder(weights, family="satclip", legendre_polys=degrees)
    np.testing.assert_array_equal(encoder.embed(edges), tiny_encoder.embed(edges))
    assert (encoder.name, encoder.weights_hash) == (
        "w",
        tiny_encoder.weights_hash or encoder.weights_hash,
    )
    save_file(tiny_encoder.network.state_dict(), weights.with_suffix(".safetensors"))
    again = load_encoder(
        weights.with_suffix(".safetensors"), family="satclip", legendre_polys=degrees
    )
    np.testing.assert_array_equal(again.embed(edges), encoder.embed(edges))


def test_what_shapes_cannot_tell_is_taken_as_stated(weights, tiny_encoder, edges):
    stated = {"legendre_polys": tiny_encoder.legendre_polys, "w0_initial": 10.0}
    encoder = load_encoder(weights, family="satclip", harmonics_calculation="closed-form", **stated)
    assert encoder.harmonics_calculation == "closed-form"
    assert encoder.network.frequencies[0] == 10.0
    assert np.abs(encoder.embed(edges) - tiny_encoder.embed(edges)).max() > 1e-3


def test_missing_and_wrong_sizes_say_what_the_shapes_say(weights, tiny_encoder):
    config = tiny_encoder.config
    told = (
        f"legendre_polys={config.legendre_polys}, hidden_dim={config.hidden_dim}, "
        f"num_layers={config.num_layers}, embed_dim={config.embed_dim}"
    )
    with pytest.raises(ValueError, match=f"w.pt holds weights alone: say .* say {told}"):
        load_encoder(weights, family="satclip")
    with pytest.raises(ValueError, match=f"not of legendre_polys=99: its shapes say {told}"):
        load_encoder(weights, family="satclip", legendre_polys=99)
    with pytest.raises(ValueError, match="not of hidden_dim=7"):
        load_encoder(weights, family="satclip", legendre_polys=config.legendre_polys, hidden_dim=7)
    with pytest.raises(ValueError, match="family must be one of"):
        load_encoder(weights, family="satclap")


def test_files_that_are_no_such_network_get_one_sentence(tmp_path, weights, tiny_encoder):
    state = torch.load(weights)
    bad = tmp_path / "bad.pt"
    for change, message in (
        (lambda s: s.pop("net.last_layer.weight"), "must hold last_layer.weight as a matrix"),
        (lambda s: s.pop("net.layers.0.weight"), "must hold one network"),
        (lambda s: s.update({"net.more": torch.ones(1)}), "holds the unexpected more"),
        (lambda s: s.update({"net.layers.0.weight": torch.ones(4, 3)}), "3 inputs, which is no sq"),
    ):
        changed = dict(state)
        change(changed)
        torch.save(changed, bad)
        with pytest.raises(ValueError, match=message):
            load_encoder(bad, family="satclip", legendre_polys=tiny_encoder.legendre_polys)

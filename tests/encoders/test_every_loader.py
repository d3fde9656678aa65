"""What must hold for every encoder: hostile files, foreign devices, poles and the antimeridian."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from satclip_explore.encoders.cards import CARDS
from satclip_explore.encoders.geoclip import weight_shapes
from satclip_explore.encoders.registry import list_encoders, load_encoder
from satclip_explore.geo import Grid

AT_HAND = list_encoders().query("available")["name"].tolist()


def geoclip_file():
    return {key: torch.zeros(shape) for key, shape in weight_shapes().items()}


def csp_file():
    """CSP as released: 32 frequencies, 512 hidden, 256 out."""
    sizes = {"0.linear.weight": (512, 128), "0.linear.bias": (512,), "1.linear.weight": (256, 512)}
    sizes |= {"0.layernorm.weight": (512,), "0.layernorm.bias": (512,), "1.linear.bias": (256,)}
    generator = torch.Generator().manual_seed(0)
    state = {
        f"spa_enc.ffn.layers.{key}": torch.randn(shape, generator=generator) / math.sqrt(shape[-1])
        for key, shape in sizes.items()
    }
    params = {
        "spa_enc_type": "gridcell", "frequency_num": 32, "min_radius": 0.1, "max_radius": 360.0,
        "num_hidden_layer": 1, "hidden_dim": 512, "num_filts": 256, "spa_f_act": "gelu",
        "device": "cuda:0",
    }  # fmt: skip
    return {"params": params, "state_dict": state, "optimizer": {}}


FILES = {"csp-fmow": csp_file, "torchspatial-fmow-wrap": csp_file, "geoclip": geoclip_file}


@pytest.mark.parametrize("name", FILES)
def test_tensors_that_were_saved_on_a_gpu_load_on_any_machine(tmp_path, monkeypatch, places, name):
    torch.save(FILES[name](), tmp_path / "here.pth.tar")
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:3")
    torch.save(FILES[name](), tmp_path / "there.pth.tar")
    monkeypatch.undo()
    assert b"cuda:3" in (tmp_path / "there.pth.tar").read_bytes()
    here, there = (load_encoder(name, path=tmp_path / f"{w}.pth.tar") for w in ("here", "there"))
    assert there.device.type == here.device.type
    assert there.weights_hash == here.weights_hash
    np.testing.assert_array_equal(there.embed(places), here.embed(places))


class _Harm:
    """Unpickling this would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


@pytest.mark.parametrize("name", FILES)
def test_code_inside_a_file_is_not_run_by_name_or_by_path(tmp_path, name):
    trace, path = tmp_path / "trace", tmp_path / "model.pth.tar"
    torch.save(FILES[name]() | {"extra": _Harm(str(trace))}, path)
    for load in (lambda: load_encoder(name, path=path), lambda: load_encoder(path)):
        with pytest.raises(ValueError, match="would run code") as error:
            load()
        assert "\n" not in str(error.value)
    assert not trace.exists()


@pytest.mark.parametrize("name", AT_HAND)
def test_poles_and_both_sides_of_the_antimeridian(name, places):
    encoder = load_encoder(name)
    assert encoder.embed_dim == CARDS[name].dim
    x = encoder.embed(places)
    np.testing.assert_array_equal(np.isfinite(x).all(axis=1), encoder.coverage(places))
    np.testing.assert_array_equal(np.isnan(x).any(axis=1), ~encoder.coverage(places))
    for lat in (-90.0, -80.0, 0.0, 68.0, 90.0):
        west, east = encoder.embed([(-180.0, lat)]), encoder.embed([(180.0, lat)])
        if encoder.periodic:
            np.testing.assert_array_equal(west, east)
    with pytest.raises(ValueError, match="latitude must lie in"):
        encoder.embed((0.0, 90.001))


@pytest.mark.parametrize("name", AT_HAND)
def test_a_grid_over_the_antimeridian_is_made_of_its_pixels(name):
    encoder = load_encoder(name)
    grid = Grid((165.0, 55.0, 195.0, 70.0), (5, 10))
    rows = [block.clone() for _, block in encoder.iter_grid(grid)]
    got = torch.cat([block.float() for block in rows]).numpy().reshape(50, -1)
    expected = encoder.embed(grid.lonlat)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    # The separable path of SatCLIP sums in another order: 1e-5 of what the numbers reach.
    scale = np.nanmax(np.abs(expected))
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-5 * scale)

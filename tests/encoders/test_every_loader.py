"""What must hold for every encoder: hostile files, foreign devices, poles and the antimeridian."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from satclip_explore.encoders import climplicit, mind, sinr, tte
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


NETWORKS = {
    "climplicit": ("location_encoder.", lambda: climplicit.weight_shapes(3, 8, 4)),
    "sinr": ("feats.", lambda: sinr.weight_shapes(4, 8, 2)),
    "mind": ("", lambda: mind.weight_shapes(16, 2)),
    "tte": ("location.", lambda: tte.weight_shapes(9, 6, 8, 8, 1, 3)),
    "geoclip": ("", lambda: weight_shapes(2, 4, 8, 5)),
}


@pytest.mark.parametrize("family", NETWORKS)
def test_weights_are_found_wherever_a_file_nests_them(tmp_path, draw, places, family):
    """As DataParallel, Lightning and the hub write them, whole or in several files."""
    own, shapes = NETWORKS[family]
    state = {f"{own}{key}": value for key, value in draw(shapes()).items()}
    save_file(state, tmp_path / "plain.safetensors")
    expected = load_encoder(tmp_path / "plain.safetensors").embed(places)
    hyper = {"args": argparse.Namespace(lr=0.1), "seed": np.float64(3)}
    for before in ("module.", "model.", "net.encoder.", "loc_enc."):
        nested = {f"{before}{key}": value for key, value in state.items()}
        for kind in ("state_dict", "model_state_dict", "model"):
            torch.save({kind: nested, "hyper_parameters": hyper}, tmp_path / "x.pt")
            encoder = load_encoder(tmp_path / "x.pt")
            assert encoder.family == family
            np.testing.assert_array_equal(encoder.embed(places), expected)
    shards = tmp_path / "shards"
    shards.mkdir()
    half = len(state) // 2
    names = {}
    for number, keys in enumerate((list(state)[:half], list(state)[half:])):
        name = f"model-{number}.safetensors"
        save_file({key: state[key] for key in keys}, shards / name)
        names |= dict.fromkeys(keys, name)
    (shards / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    np.testing.assert_array_equal(load_encoder(shards).embed(places), expected)
    assert load_encoder(shards).embed(np.empty((0, 2))).shape == (0, expected.shape[1])
    other = {f"student.{key}": value + 1 for key, value in state.items()}
    torch.save(
        {"state_dict": other | {f"teacher.{k}": v for k, v in state.items()}}, tmp_path / "two.pt"
    )
    if family != "geoclip":
        with pytest.raises(ValueError, match="holds no encoder that is known here"):
            load_encoder(tmp_path / "two.pt")


def test_an_index_that_leads_elsewhere_stays_in_its_folder(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    save_file({"a": torch.ones(1)}, tmp_path / "secret.safetensors")
    for listed in ({"weight_map": {"a": "../secret.safetensors"}}, {"weight_map": 3}, []):
        (inside / "model.safetensors.index.json").write_text(json.dumps(listed))
        with pytest.raises((ValueError, FileNotFoundError), match="no file at|does not list"):
            load_encoder(inside)


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

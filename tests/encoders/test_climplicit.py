"""Climplicit: the published formulas spelled out, on weights made here in the published layout."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import satclip_explore as sx
from satclip_explore.encoders.climplicit import read_climplicit, weight_shapes
from satclip_explore.encoders.registry import load_encoder

LAYERS, HIDDEN, OUT = 5, 14, 6


@pytest.fixture(scope="module")
def state(draw):
    return draw(weight_shapes(LAYERS, HIDDEN, OUT))


def write(tmp_path, state):
    whole = {f"location_encoder.{key}": value for key, value in state.items()}
    whole |= {
        "chelsa_regressor.weight": torch.ones(11, OUT),
        "chelsa_regressor.bias": torch.ones(11),
    }
    save_file(whole, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def by_hand(state, places, month):
    """Phases are averaged with those of the layer before; the first sine is of a sinh."""
    w = {key: value.double().numpy() for key, value in state.items()}
    turn = 2 * math.pi * month / 12
    rows = []
    for lon, lat in places.tolist():
        x, before = np.array([lon / 180, lat / 90, math.sin(turn), math.cos(turn)]), None
        for i in range(LAYERS):
            z = w[f"layers.{i}.weight"] @ x + w[f"layers.{i}.bias"]
            if before is not None:
                z = (z + before) / 2
            before = z
            x = np.sin(30 * np.sinh(2 * z)) if i == 0 else np.sin(z)
        rows.append(w["last_layer.weight"] @ x + w["last_layer.bias"])
    return np.array(rows)


@pytest.mark.parametrize("month", [1, 4, 12, 6.5])
def test_a_month_gives_the_published_embeddings(tmp_path, state, edges, month):
    encoder = load_encoder("climplicit", path=write(tmp_path, state), month=month, dtype="float64")
    # sinh and a frequency of 30 stretch the rounding of the first layer a thousandfold.
    np.testing.assert_allclose(encoder.embed(edges), by_hand(state, edges, month), atol=1e-11)
    assert encoder.name == f"climplicit:month{month:g}"
    assert encoder.embed_dim == OUT


def test_without_a_month_four_stand_side_by_side(tmp_path, state, edges, error_of):
    path = write(tmp_path, state)
    expected = np.hstack([by_hand(state, edges, month) for month in (3, 6, 9, 12)])
    exact, quick = load_encoder(path, dtype="float64"), load_encoder(path)
    np.testing.assert_allclose(exact.embed(edges), expected, rtol=0, atol=1e-11)
    assert (exact.family, exact.name, exact.embed_dim) == ("climplicit", "climplicit", 4 * OUT)
    assert 0 < error_of(quick.embed(edges), expected) < 2e-4
    assert quick.embed((13.4, 52.5)).shape == (1, 4 * OUT)
    assert np.abs(exact.embed((180, 10)) - exact.embed((-180, 10))).max() > 0.1


def test_months_do_not_share_results(tmp_path, state):
    path = write(tmp_path, state)
    hashes = {read_climplicit(path, month=month).weights_hash for month in (None, 1, 7)}
    assert len(hashes) == 3


def test_change_between_months_is_what_the_two_embeddings_say(tmp_path, state):
    path = write(tmp_path, state)
    january, july = (load_encoder(path, month=month) for month in (1, 7))
    change = sx.change_raster(january, july, 30.0)
    first, second = (sx.embed_grid(encoder, 30.0).to_numpy() for encoder in (january, july))
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    np.testing.assert_allclose(change, 1 - (first * second).sum(axis=-1) / lengths, atol=1e-6)
    assert (change.dims, change.attrs["before"]) == (("lat", "lon"), "climplicit:month1")
    assert float(sx.change_raster(january, load_encoder(path, month=1), 30.0).max()) == 0.0
    kenya = sx.change_raster(january, july, 2.0, region="Kenya")
    assert 0 < np.isnan(kenya).mean() < 1
    for other in (load_encoder(path), load_encoder("xyz"), load_encoder("random-l10", dim=OUT)):
        with pytest.raises(ValueError, match="not one encoder at two times.*month=1 and month=7"):
            sx.change_raster(january, other, 30.0)


def test_a_lightning_checkpoint_is_read_too(tmp_path, state, edges):
    whole = {f"location_encoder.{key}": value for key, value in state.items()}
    torch.save({"state_dict": whole | {"other.weight": torch.ones(2)}}, tmp_path / "x.ckpt")
    encoder = load_encoder(tmp_path / "x.ckpt", month=4, dtype="float64")
    np.testing.assert_allclose(encoder.embed(edges), by_hand(state, edges, 4), atol=1e-11)


@pytest.mark.parametrize("month", [0, 13, 0.5, float("nan"), "April", True])
def test_a_month_that_is_none_is_refused(tmp_path, state, month):
    with pytest.raises(ValueError, match="month must lie in 1 … 12"):
        read_climplicit(write(tmp_path, state), month=month)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s.pop("layers.3.bias"), "lacks layers.3.bias"),
        (lambda s: s.pop("last_layer.weight"), "last_layer.weight"),
        (
            lambda s: s.update({"layers.0.weight": torch.ones(HIDDEN, 3)}),
            "does not hold Climplicit",
        ),
        (lambda s: s.update({"layers.2.weight": torch.ones(HIDDEN, 3)}), "must have shape"),
        (lambda s: s.update({"layers.2.gain": torch.ones(1)}), "unexpected layers.2.gain"),
        (lambda s: s["last_layer.bias"].fill_(torch.nan), "not finite"),
    ],
)
def test_other_weights_get_one_sentence(tmp_path, state, edit, message):
    changed = {key: value.clone() for key, value in state.items()}
    edit(changed)
    with pytest.raises(ValueError, match=message):
        read_climplicit(write(tmp_path, changed))


def test_code_is_refused(state, refuses_code):
    refuses_code(read_climplicit, {f"location_encoder.{k}": v for k, v in state.items()})

"""TTE: the published formulas spelled out, on weights made here in the published layouts."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from satclip_explore.encoders.registry import load_encoder
from satclip_explore.encoders.tte import read_tte, weight_shapes

SIZES = {"sites": 30, "site_dim": 6, "embed_dim": 10, "hidden_dim": 12, "residual_layers": 2}


def make(draw, **sizes):
    state = draw(weight_shapes(**SIZES | {"tokens": 5} | sizes))
    return state | {"_log_tau": state["_log_tau"] + 3.0}


@pytest.fixture(scope="module")
def state(draw):
    return make(draw)


def on_the_hub(tmp_path, state, **settings):
    """What the authors' from_pretrained reads: config.json and model.safetensors."""
    training = {"img_to_logits.weight": torch.ones(5, 10), "_img_temperature": torch.tensor(0.05)}
    tokens = {f"location.semantic_registers.{k}": v for k, v in training.items()}
    save_file(
        {f"location.{k}": v for k, v in state.items()} | tokens, tmp_path / "model.safetensors"
    )
    (tmp_path / "config.json").write_text(json.dumps({"n_sites": 30} | settings))
    return tmp_path


def by_hand(state, places, *, gate=0.5, normalize=True, cosine=False):
    w = {key: value.double().numpy() for key, value in state.items()}
    rows = []
    for lon, lat in np.radians(places).tolist():
        g = [math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)]
        s = w["_directions"] / np.linalg.norm(w["_directions"], axis=1, keepdims=True)
        share = np.exp(np.exp(w["_log_tau"]) * (s @ g))
        z = share / share.sum() @ w["_embeddings"]
        t = min(max(math.exp(w["semantic_registers.log_temperature"]), 0.01), 10.0)
        keys, query, bias = w["semantic_registers.loc_to_logits.weight"], z, 0.0
        if cosine:
            keys = keys / np.linalg.norm(keys, axis=1, keepdims=True)
            query = z / np.linalg.norm(z)
        else:
            bias = w["semantic_registers.loc_to_logits.bias"]
        attention = np.exp((keys @ query + bias) / t)
        token = attention / attention.sum() @ w["semantic_registers.registers"]
        if "semantic_registers.site_to_out.weight" in w:
            z = w["semantic_registers.site_to_out.weight"] @ z
            z = z + w["semantic_registers.site_to_out.bias"]
        y = (1 - gate) * z + gate * token
        y = (y - y.mean()) / math.sqrt(y.var() + 1e-5)
        y = y * w["semantic_registers.norm.weight"] + w["semantic_registers.norm.bias"]
        y = np.maximum(w["mlp.0.weight"] @ y + w["mlp.0.bias"], 0)
        for i in (2, 3):
            a = np.maximum(w[f"mlp.{i}.w1.weight"] @ y + w[f"mlp.{i}.w1.bias"], 0)
            y = y + np.maximum(w[f"mlp.{i}.w2.weight"] @ a + w[f"mlp.{i}.w2.bias"], 0)
        y = w["mlp.4.weight"] @ y
        rows.append(y / np.linalg.norm(y) if normalize else y)
    return np.array(rows)


def test_the_hubs_folder_gives_the_published_embeddings(tmp_path, state, edges, error_of):
    folder = on_the_hub(tmp_path, state)
    encoder = load_encoder(folder, dtype="float64")
    expected = by_hand(state, edges)
    np.testing.assert_allclose(encoder.embed(edges), expected, rtol=0, atol=1e-12)
    assert (encoder.name, encoder.family, encoder.embed_dim) == ("tte", "tte", 10)
    assert 0 < error_of(load_encoder("tte", path=folder).embed(edges), expected) < 1e-5
    assert encoder.embed((13.4, 52.5)).shape == (1, 10)


def test_config_json_may_state_gate_and_length(tmp_path, state, edges):
    folder = on_the_hub(tmp_path, state, register_fixed_gate=0.2, normalize=False)
    encoder = read_tte(folder / "model.safetensors", dtype="float64")
    expected = by_hand(state, edges, gate=0.2, normalize=False)
    np.testing.assert_allclose(encoder.embed(edges), expected, rtol=0, atol=1e-12)
    unit = read_tte(folder, normalize=True, dtype="float64").embed(edges)
    np.testing.assert_allclose(unit, by_hand(state, edges, gate=0.2), rtol=0, atol=1e-12)


def test_a_lightning_checkpoint_is_read_without_its_images(tmp_path, state, edges):
    whole = {f"model.location.{key}": value for key, value in state.items()}
    whole |= {"model.visual.head.weight": torch.ones(3), "model.logit_scale": torch.ones(())}
    torch.save({"epoch": 1, "state_dict": whole, "hyper_parameters": {}}, tmp_path / "last.ckpt")
    encoder = load_encoder(tmp_path / "last.ckpt", dtype="float64")
    np.testing.assert_allclose(encoder.embed(edges), by_hand(state, edges), rtol=0, atol=1e-12)


def test_cosine_attention_is_told_by_the_missing_bias(tmp_path, draw, edges):
    state = make(draw, bias=False)
    encoder = read_tte(on_the_hub(tmp_path, state), dtype="float64")
    expected = by_hand(state, edges, cosine=True)
    np.testing.assert_allclose(encoder.embed(edges), expected, rtol=0, atol=1e-12)


def test_cells_as_wide_as_the_output_pass_unchanged(tmp_path, draw, edges):
    state = make(draw, site_dim=10)
    assert "semantic_registers.site_to_out.weight" not in state
    encoder = read_tte(on_the_hub(tmp_path, state), dtype="float64")
    np.testing.assert_allclose(encoder.embed(edges), by_hand(state, edges), rtol=0, atol=1e-12)


def test_sharp_cells_do_not_overflow(tmp_path, state, edges):
    sharp = state | {"_log_tau": torch.full((30,), 6.2)}
    x = read_tte(on_the_hub(tmp_path, sharp)).embed(edges)
    assert np.isfinite(x).all()
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1.0, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s.pop("_log_tau"), "does not hold TTE"),
        (lambda s: s.pop("_embeddings"), "lacks _embeddings"),
        (lambda s: s.pop("mlp.2.w2.bias"), "lacks mlp.2.w2.bias"),
        (lambda s: s.update({"mlp.9.weight": torch.ones(1)}), "unexpected mlp.9.weight"),
        (lambda s: s.update({"_directions": torch.ones(30, 2)}), "must have shape"),
        (lambda s: s["mlp.0.bias"].fill_(torch.inf), "not finite"),
    ],
)
def test_other_weights_get_one_sentence(tmp_path, state, edit, message):
    changed = {key: value.clone() for key, value in state.items()}
    edit(changed)
    with pytest.raises(ValueError, match=message):
        read_tte(on_the_hub(tmp_path, changed))


@pytest.mark.parametrize("gate", [2, -0.1, "half", True])
def test_a_gate_that_is_no_share_is_refused(tmp_path, state, gate):
    with pytest.raises(ValueError, match="register_fixed_gate must lie in 0 … 1"):
        read_tte(on_the_hub(tmp_path, state, register_fixed_gate=gate))


def test_code_is_refused(state, refuses_code):
    refuses_code(read_tte, {"state_dict": {f"model.location.{k}": v for k, v in state.items()}})

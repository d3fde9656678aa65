"""SINR: the published formulas spelled out, on weights made here in both published layouts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from satclip_explore.encoders.registry import load_encoder
from satclip_explore.encoders.sinr import read_sinr, weight_shapes

WIDTH, BLOCKS, VARIABLES = 12, 3, 5


@pytest.fixture
def raster():
    """A global environment whose corner pixels lie on the corners of the globe, with an ocean."""
    values = np.random.default_rng(0).normal(size=(7, 13, VARIABLES)).astype(np.float32)
    values[2, 4:7] = np.nan
    return values


def make(draw, inputs=4):
    return draw(weight_shapes(inputs, WIDTH, BLOCKS))


def original(tmp_path, state, **params):
    """A .pt file as the authors write it."""
    settings = {"model": "ResidualFCNet", "input_enc": "sin_cos", "num_filts": WIDTH} | params
    whole = {f"feats.{key}": value for key, value in state.items()}
    whole["class_emb.weight"] = torch.ones(9, WIDTH)
    torch.save({"params": settings, "state_dict": whole}, tmp_path / "model.pt")
    return tmp_path / "model.pt"


def on_the_hub(tmp_path, state):
    save_file(
        {f"feats.{key}": value for key, value in state.items()}, tmp_path / "model.safetensors"
    )
    return tmp_path / "model.safetensors"


def variables(raster, lon, lat):
    """Bilinear between the four pixels around a place; unknown values count as 0."""
    filled = np.nan_to_num(raster.astype(float))
    height, width, _ = raster.shape
    x, y = (lon + 180) / 360 * (width - 1), (90 - lat) / 180 * (height - 1)
    left, top = min(int(x), width - 2), min(int(y), height - 2)
    u, v = x - left, y - top
    upper = (1 - u) * filled[top, left] + u * filled[top, left + 1]
    lower = (1 - u) * filled[top + 1, left] + u * filled[top + 1, left + 1]
    return (1 - v) * upper + v * lower


def by_hand(state, places, raster=None, *, place=True):
    w = {key: value.double().numpy() for key, value in state.items()}
    rows = []
    for lon, lat in places.tolist():
        a, b = math.pi * lon / 180, math.pi * lat / 90
        x = [math.sin(a), math.sin(b), math.cos(a), math.cos(b)] if place else []
        if raster is not None:
            x = [*x, *variables(raster, lon, lat)]
        y = np.maximum(w["0.weight"] @ x + w["0.bias"], 0)
        for i in range(2, BLOCKS + 2):
            z = np.maximum(w[f"{i}.w1.weight"] @ y + w[f"{i}.w1.bias"], 0)
            y = y + np.maximum(w[f"{i}.w2.weight"] @ z + w[f"{i}.w2.bias"], 0)
        rows.append(y)
    return np.array(rows)


@pytest.mark.parametrize("write", [original, on_the_hub])
def test_both_formats_give_the_published_features(tmp_path, draw, edges, error_of, write):
    state = make(draw)
    path = write(tmp_path, state)
    expected = by_hand(state, edges)
    encoder = load_encoder("sinr", path=path, dtype="float64")
    np.testing.assert_allclose(encoder.embed(edges), expected, rtol=0, atol=1e-12)
    assert (encoder.family, encoder.embed_dim) == ("sinr", WIDTH)
    assert 0 < error_of(load_encoder(path).embed(edges), expected) < 1e-5
    assert load_encoder(path).family == "sinr"
    assert encoder.embed((13.4, 52.5)).shape == (1, WIDTH)


@pytest.mark.parametrize(("kind", "place"), [("env", False), ("sin_cos_env", True)])
@pytest.mark.parametrize("write", [original, on_the_hub])
def test_an_environment_is_read_from_its_raster(tmp_path, draw, edges, raster, write, kind, place):
    state = make(draw, VARIABLES + 4 * place)
    np.save(tmp_path / "env.npy", raster)
    path = write(tmp_path, state, **({"input_enc": kind} if write is original else {}))
    encoder = load_encoder(path, environment=tmp_path / "env.npy", dtype="float64")
    expected = by_hand(state, edges, raster, place=place)
    np.testing.assert_allclose(encoder.embed(edges), expected, rtol=0, atol=1e-12)
    # Their raster has an edge at 180, unlike the sines.
    assert np.abs(encoder.embed((180, 10)) - encoder.embed((-180, 10))).max() > 1e-3
    whole = read_sinr(path, environment=raster)
    np.testing.assert_allclose(whole.embed(edges), expected, rtol=0, atol=1e-4)


def test_a_missing_or_other_environment_gets_one_sentence(tmp_path, draw, raster):
    path = original(tmp_path, make(draw, 9), input_enc="sin_cos_env")
    with pytest.raises(ValueError, match="takes 5 environmental variables .* none was given"):
        read_sinr(path)
    with pytest.raises(ValueError, match="5 environmental variables .* 3 were given"):
        read_sinr(path, environment=raster[..., :3])
    with pytest.raises(ValueError, match="0 environmental variables"):
        read_sinr(original(tmp_path, make(draw)), environment=raster)
    with pytest.raises(FileNotFoundError, match="no environment at"):
        read_sinr(path, environment=tmp_path / "none.npy")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match="plain .npy"):
        read_sinr(path, environment=tmp_path / "objects.npy")
    with pytest.raises(ValueError, match="must have shape"):
        read_sinr(path, environment=raster[0])
    with pytest.raises(ValueError, match="input_enc must be one of"):
        read_sinr(original(tmp_path, make(draw), input_enc="poly"))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s.pop("3.w2.bias"), "lacks 3.w2.bias"),
        (lambda s: s.pop("0.weight"), "does not hold SINR"),
        (lambda s: s.update({"7.w1.bias": torch.ones(1)}), "unexpected 7.w1.bias"),
        (lambda s: s.update({"2.w1.weight": torch.ones(WIDTH, 2)}), "must have shape"),
        (lambda s: s["0.bias"].fill_(torch.nan), "not finite"),
    ],
)
def test_other_weights_get_one_sentence(tmp_path, draw, edit, message):
    state = make(draw)
    edit(state)
    with pytest.raises(ValueError, match=message):
        read_sinr(on_the_hub(tmp_path, state))


def test_code_is_refused(draw, refuses_code):
    refuses_code(read_sinr, {"state_dict": {f"feats.{k}": v for k, v in make(draw).items()}})

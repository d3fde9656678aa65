"""TorchSpatial's rff, tile_ffn and rbf, and CSP's scaled inputs: formulas spelled out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from satclip_explore.encoders.registry import load_encoder

WIDTH, HIDDEN, OUT = 9, 7, 6
ANCHORS = np.array([[10.0, 50.0], [-60.0, -3.0], [179.0, 12.0], [0.0, -80.0]])


def published(draw, kind, **params):
    """A .pth.tar as TorchSpatial writes it, small."""
    width = {"rff": WIDTH, "tile_ffn": 5, "rbf": 3, "gridcell": 16}[kind]
    layers = {
        "layers.0.linear.weight": (HIDDEN, width),
        "layers.0.linear.bias": (HIDDEN,),
        "layers.1.linear.weight": (OUT, HIDDEN),
        "layers.1.linear.bias": (OUT,),
    }
    state = {f"spa_enc.ffn.{key}": value for key, value in draw(layers).items()}
    own = {
        "rff": {"dirvec": (2, WIDTH), "shift": (WIDTH,)},
        "tile_ffn": {"embedding.weight": (6 * 3, 5)},
    }.get(kind, {})
    state |= {f"spa_enc.position_encoder.{key}": v for key, v in draw(own, 1).items()}
    settings = {
        "spa_enc_type": kind, "map_range": [-180, 180, -90, 90], "min_radius": 60.0,
        "max_radius": 360.0, "frequency_num": 4, "rbf_kernel_size": 40.0,
        "rbf_anchor_pt_ids": [np.int64(2), 0, 3], "num_hidden_layer": 1, "hidden_dim": HIDDEN,
        "num_filts": OUT, "spa_f_act": "leakyrelu", "use_layn": False, "skip_connection": True,
    }  # fmt: skip
    return {"params": settings | params, "state_dict": state}


def features_by_hand(content, lon, lat):
    params, state = content["params"], content["state_dict"]
    own = {k.partition("position_encoder.")[2]: v.double().numpy() for k, v in state.items()}
    if params["spa_enc_type"] == "rff":
        x = np.array([lon / 180, lat / 90])
        return np.cos(x @ own["dirvec"] + own["shift"]) * math.sqrt(2 / WIDTH)
    if params["spa_enc_type"] == "tile_ffn":
        column, row = min(int((lon + 180) // 60), 5), min(int((lat + 90) // 60), 2)
        return own["embedding.weight"][row * 6 + column]
    if params["spa_enc_type"] == "rbf":
        near = ANCHORS[[2, 0, 3]]
        return np.array([math.exp(-((lon - a) ** 2 + (lat - b) ** 2) / 3200) for a, b in near])
    ratio = (360 / 60) ** (1 / 3)
    waves = [1 / (60 * ratio**k) for k in range(4)]
    return np.array([f(c * w) for c in (lon, lat) for w in waves for f in (math.sin, math.cos)])


def by_hand(content, places):
    w = {k: v.double().numpy() for k, v in content["state_dict"].items()}
    x = np.array([features_by_hand(content, *place) for place in places.tolist()])
    for i in (0, 1):
        key = f"spa_enc.ffn.layers.{i}.linear"
        x = x @ w[f"{key}.weight"].T + w[f"{key}.bias"]
        x = np.where(x > 0, x, 0.2 * x)
    return x


def write(tmp_path, content):
    torch.save(content, tmp_path / "model.pth.tar")
    return tmp_path / "model.pth.tar"


@pytest.mark.parametrize("kind", ["rff", "tile_ffn", "rbf"])
def test_the_published_embeddings(tmp_path, draw, edges, error_of, kind):
    content = published(draw, kind)
    options = {"train_locs": ANCHORS} if kind == "rbf" else {}
    path = write(tmp_path, content)
    encoder = load_encoder(path, dtype="float64", **options)
    expected = by_hand(content, edges)
    np.testing.assert_allclose(encoder.embed(edges), expected, rtol=0, atol=1e-12)
    assert error_of(load_encoder(path, **options).embed(edges), expected) < 1e-5
    assert (encoder.family, encoder.embed_dim) == ("torchspatial", OUT)
    assert encoder.embed((13.4, 52.5)).shape == (1, OUT)
    # A flat map ends at the antimeridian, so 180 itself is its other edge.
    assert np.abs(encoder.embed((180, 10)) - encoder.embed((-180, 10))).max() > 1e-3


def test_other_anchors_are_another_encoder(tmp_path, draw):
    path = write(tmp_path, published(draw, "rbf"))
    hashes = {load_encoder(path, train_locs=a).weights_hash for a in (ANCHORS, ANCHORS[::-1])}
    assert len(hashes) == 2


def test_scaled_inputs_are_those_of_satclips_comparison(tmp_path, draw, edges, error_of):
    content = published(draw, "gridcell")
    path = write(tmp_path, content)
    plain = load_encoder(path, dtype="float64")
    np.testing.assert_allclose(plain.embed(edges), by_hand(content, edges), rtol=0, atol=1e-12)
    scaled = load_encoder("csp-fmow", path=path, scaled=True, dtype="float64")
    expected = by_hand(content, edges / [180.0, 90.0])
    np.testing.assert_allclose(scaled.embed(edges), expected, rtol=0, atol=1e-12)
    quick = load_encoder("csp-fmow", path=path, scaled=True)
    assert error_of(quick.embed(edges), expected) < 1e-5
    assert scaled.name == "csp-fmow:scaled"
    assert scaled.weights_hash != plain.weights_hash


@pytest.mark.parametrize(
    ("kind", "edit", "options", "message"),
    [
        ("rbf", lambda p, s: None, {}, "holds which of its training places"),
        ("rbf", lambda p, s: None, {"train_locs": ANCHORS[:2]}, "anchor 3 is not among them"),
        ("rbf", lambda p, s: p.update(rbf_kernel_size=0), {"train_locs": ANCHORS}, "above 0"),
        (
            "rbf",
            lambda p, s: p.update(rbf_anchor_pt_ids=None),
            {"train_locs": ANCHORS},
            "must list",
        ),
        ("rff", lambda p, s: None, {"train_locs": ANCHORS}, "train_locs= does not go with"),
        ("rff", lambda p, s: s.pop("spa_enc.position_encoder.shift"), {}, "lacks position_encoder"),
        ("rff", lambda p, s: p.update(map_range=[1, 0, 0, 1]), {}, "west, east, south, north"),
        ("rff", lambda p, s: p.update(map_range="world"), {}, "four numbers"),
        ("rff", lambda p, s: s["spa_enc.position_encoder.shift"].fill_(torch.nan), {}, "finite"),
        ("tile_ffn", lambda p, s: p.update(min_radius=30.0), {}, "holds 18 tiles; .* 6 x 12"),
        ("tile_ffn", lambda p, s: p.update(min_radius=-1), {}, "size of a tile"),
        ("tile_ffn", lambda p, s: p.update(spa_f_act="swish"), {}, "spa_f_act must be one of"),
    ],
)
def test_files_that_lack_something_get_one_sentence(tmp_path, draw, kind, edit, options, message):
    content = published(draw, kind)
    edit(content["params"], content["state_dict"])
    with pytest.raises(ValueError, match=message) as error:
        load_encoder(write(tmp_path, content), **options)
    assert "\n" not in str(error.value)

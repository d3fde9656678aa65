"""MIND: the published formulas spelled out, on weights made here in the published layout."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from satclip_explore.encoders.mind import read_mind, weight_shapes
from satclip_explore.encoders.registry import load_encoder

WIDTH, BLOCKS, HEAD = 24, 3, 5


@pytest.fixture(scope="module")
def state(draw):
    frequencies = {"year_freqs": 2.0 ** torch.arange(8.0)}
    return draw(weight_shapes(WIDTH, BLOCKS, outputs=HEAD)) | frequencies


def write(tmp_path, state, name="mind.safetensors"):
    save_file(state, tmp_path / name)
    return tmp_path / name


def project(lon, lat):
    """The equal-earth projection, from the paper of Šavrič, Patterson and Jenny."""
    t = math.asin(math.sqrt(3) / 2 * math.sin(math.radians(lat)))
    a = (1.340264, -0.081106, 0.000893, 0.003796)
    slope = 9 * a[3] * t**8 + 7 * a[2] * t**6 + 3 * a[1] * t**2 + a[0]
    x = 2 * math.sqrt(3) * math.radians(lon) * math.cos(t) / (3 * slope)
    y = a[3] * t**9 + a[2] * t**7 + a[1] * t**3 + a[0] * t
    return [x * 66.50336 / 180, y * 66.50336 / 180]


def by_hand(state, places, *, blocks=BLOCKS, year=None, sine="siren", w0=30.0):
    """A sine of frequency 30, then blocks that each add a sine of what is there."""
    w = {key: value.double().numpy() for key, value in state.items()}
    x = np.array([project(*place) for place in places.tolist()])
    if year is not None:
        angle = (year - 2021) / 4 * 2.0 ** np.arange(8)
        x = np.hstack([x, np.tile([*np.sin(angle), *np.cos(angle)], (len(x), 1))])
    bend = {
        "siren": lambda z, first: z,
        "hsiren": lambda z, first: np.sinh(z) if first else z,
        "finer": lambda z, first: (np.abs(z) + 1) * z,
    }[sine]
    h = np.sin(w0 * bend(x @ w["first.linear.weight"].T + w["first.linear.bias"], True))
    for i in range(blocks):
        z = h @ w[f"blocks.{i}.linear.weight"].T + w[f"blocks.{i}.linear.bias"]
        h = h + np.sin(bend(z, False))
    return h


def test_the_published_features(tmp_path, state, edges):
    encoder = load_encoder("mind", path=write(tmp_path, state), dtype="float64")
    np.testing.assert_allclose(encoder.embed(edges), by_hand(state, edges), rtol=0, atol=1e-11)
    assert (encoder.name, encoder.family, encoder.embed_dim) == ("mind", "mind", WIDTH)
    # An equal-earth map ends at the antimeridian: 180 is the other edge from -180.
    assert np.abs(encoder.embed((180, 10)) - encoder.embed((-180, 10))).max() > 0.1


def test_float32_and_a_batch_of_one(tmp_path, state, edges, error_of):
    quick = load_encoder(write(tmp_path, state))
    assert quick.embed(edges).dtype == np.float32
    # The first sine turns by 30 times the coordinate: 30 roundings of 6e-8.
    assert 0 < error_of(quick.embed(edges), by_hand(state, edges)) < 1e-5
    one = quick.embed((13.4, 52.5))
    assert one.shape == (1, WIDTH)
    np.testing.assert_allclose(one, by_hand(state, np.array([[13.4, 52.5]])), atol=1e-4)


@pytest.mark.parametrize("dim", [1, 7, WIDTH])
def test_a_prefix_is_the_beginning_of_the_whole(tmp_path, state, edges, dim):
    path = write(tmp_path, state)
    part = load_encoder("mind", path=path, dim=dim, dtype="float64")
    assert (part.name, part.embed_dim) == (f"mind:dim{dim}", dim)
    np.testing.assert_allclose(part.embed(edges), by_hand(state, edges)[:, :dim], atol=1e-11)
    assert part.weights_hash != load_encoder("mind", path=path).weights_hash


@pytest.mark.parametrize("layer", range(BLOCKS + 1))
def test_a_layer_is_what_its_block_leaves(tmp_path, state, edges, layer):
    path = write(tmp_path, state)
    encoder = load_encoder("mind", path=path, layer=layer, dim=4, dtype="float64")
    expected = by_hand(state, edges, blocks=layer)[:, :4]
    np.testing.assert_allclose(encoder.embed(edges), expected, rtol=0, atol=1e-11)
    assert encoder.name == f"mind:dim4:layer{layer}"


def test_the_head_reconstructs_from_the_features(tmp_path, state, edges):
    encoder = read_mind(write(tmp_path, state), head=True, dim=3, dtype="float64")
    w = state["head.weight"].double().numpy()
    expected = by_hand(state, edges) @ w.T + state["head.bias"].double().numpy()
    np.testing.assert_allclose(encoder.embed(edges), expected[:, :3], rtol=0, atol=1e-11)


def test_weights_that_know_years(tmp_path, draw, edges):
    frequencies = {"year_freqs": 2.0 ** torch.arange(8.0)}
    state = draw(weight_shapes(WIDTH, BLOCKS, inputs=18)) | frequencies
    path = write(tmp_path, state)
    encoder = read_mind(path, year=2019, dtype="float64")
    expected = by_hand(state, edges, year=2019)
    np.testing.assert_allclose(encoder.embed(edges), expected, rtol=0, atol=1e-10)
    assert encoder.name == "mind:year2019"
    with pytest.raises(ValueError, match="want a year="):
        read_mind(path)


@pytest.mark.parametrize("sine", ["siren", "hsiren", "finer"])
def test_a_training_checkpoint_says_which_sine(tmp_path, state, edges, sine):
    meta = {"args": {"encoder": "resiren" if sine == "siren" else sine, "w0_first": 20.0}}
    torch.save({"state_dict": state, "meta": meta}, tmp_path / "run.pt")
    encoder = load_encoder(tmp_path / "run.pt", dtype="float64")
    expected = by_hand(state, edges, sine=sine, w0=20.0)
    np.testing.assert_allclose(encoder.embed(edges), expected, rtol=0, atol=1e-9)
    assert encoder.family == "mind"


@pytest.mark.parametrize(
    ("edit", "options", "message"),
    [
        (lambda s: s.pop("blocks.1.linear.weight"), {}, "holds the unexpected|lacks"),
        (lambda s: s.pop("blocks.2.linear.bias"), {}, "lacks blocks.2.linear.bias"),
        (lambda s: s.update({"extra": torch.ones(1)}), {}, "unexpected extra"),
        (lambda s: s.update({"head.bias": torch.ones(9)}), {}, "must have shape"),
        (lambda s: s.update({"first.linear.weight": torch.ones(WIDTH)}), {}, "2 axes"),
        (lambda s: s.update({"first.linear.weight": torch.ones(WIDTH, 3)}), {}, "takes 3 inputs"),
        (lambda s: s["first.linear.bias"].fill_(torch.nan), {}, "not finite"),
        (lambda s: s.pop("year_freqs"), {}, "does not hold MIND"),
        (lambda s: None, {"dim": 0}, r"dim must lie in 1 … 24"),
        (lambda s: None, {"dim": WIDTH + 1}, r"dim must lie in 1 … 24"),
        (lambda s: None, {"layer": 4}, r"layer must lie in 0 … 3"),
        (lambda s: None, {"layer": 1, "head": True}, "not both"),
        (lambda s: None, {"year": 2020}, "know no years"),
        (lambda s: [s.pop(k) for k in ("head.weight", "head.bias")], {"head": True}, "no head"),
    ],
)
def test_other_weights_and_wishes_get_one_sentence(tmp_path, state, edit, options, message):
    changed = {key: value.clone() for key, value in state.items()}
    edit(changed)
    with pytest.raises(ValueError, match=message) as error:
        read_mind(write(tmp_path, changed), **options)
    assert "\n" not in str(error.value)


def test_code_and_unknown_options_are_refused(tmp_path, state, refuses_code):
    refuses_code(read_mind, {"state_dict": state})
    with pytest.raises(TypeError, match="has the options dim, .*; got 'month'"):
        load_encoder("mind", path=write(tmp_path, state), month=4)
    torch.save({"state_dict": state, "meta": {"args": {"encoder": "mlp"}}}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="unknown encoder; got 'mlp'"):
        read_mind(tmp_path / "x.pt")

"""Space2Vec, Sphere2Vec, CSP and kin: files made here, and the real ones where they are."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from satclip_explore.encoders.position_encodings import (
    POSITION_ENCODINGS,
    falling_frequencies,
    geometric_frequencies,
)
from satclip_explore.encoders.space2vec import read_csp, read_space2vec
from satclip_explore.geo import equal_area_sample

F, HIDDEN, OUT = 4, 14, 6
WIDTHS = {"gridcell": 4 * F, "theory": 6 * F, "sphere": 3 * F, "xyz": 3, "wrap_ffn": 4}
WIDTHS |= {"spheregrid": 6 * F, "spheremixscale": 5 * F, "spheregridmixscale": 8 * F, "NeRF": 96}


def published(kind="gridcell", prefixes=("spa_enc.ffn.",), hidden=(HIDDEN,), **params) -> dict:
    """A .pth.tar as CSP and TorchSpatial write it, small."""
    generator = torch.Generator().manual_seed(5)
    sizes = [WIDTHS[kind], *hidden, OUT]
    network = {}
    for i in range(len(sizes) - 1):
        weight = torch.randn(sizes[i + 1], sizes[i], generator=generator) / math.sqrt(sizes[i])
        network[f"layers.{i}.linear.weight"] = weight
        network[f"layers.{i}.linear.bias"] = torch.randn(sizes[i + 1], generator=generator)
        if i < len(sizes) - 2 and params.get("use_layn", True):
            for key in ("weight", "bias"):
                network[f"layers.{i}.layernorm.{key}"] = torch.rand(
                    sizes[i + 1], generator=generator
                )
    state = {f"{prefix}{key}": value for prefix in prefixes for key, value in network.items()}
    state |= {"class_emb.weight": torch.ones(3, OUT), "user_emb.weight": torch.ones(1, OUT)}
    settings = {
        "spa_enc_type": kind,
        "device": "cuda:7",
        "frequency_num": F,
        "min_radius": 0.1,
        "max_radius": 360.0,
        "freq_init": "geometric",
        "num_hidden_layer": len(hidden),
        "hidden_dim": HIDDEN,
        "num_filts": OUT,
        "spa_f_act": "leakyrelu",
        "use_layn": True,
        "skip_connection": True,
        "dropout": 0.5,
    }
    return {"epoch": 9, "params": settings | params, "state_dict": state, "optimizer": {}}


def write(tmp_path, content):
    path = tmp_path / "model.pth.tar"
    torch.save(content, path)
    return path


def frequencies():
    """1/0.1 down to 1/360, geometrically, one after another."""
    ratio = (360.0 / 0.1) ** (1 / (F - 1))
    return [1.0 / (0.1 * ratio**k) for k in range(F)]


def features_by_hand(kind, lon, lat):
    """The published encodings of one place, one number at a time."""
    sin, cos, rad = math.sin, math.cos, math.radians
    freqs = frequencies()
    if kind == "gridcell":
        return [f(c * w) for c in (lon, lat) for w in freqs for f in (sin, cos)]
    if kind == "theory":
        along = [lon, -lon / 2 + lat * math.sqrt(3) / 2, -lon / 2 - lat * math.sqrt(3) / 2]
        return [f(a * w) for w in freqs for a in along for f in (sin, cos)]
    if kind == "sphere":
        return [
            v
            for w in freqs
            for x, y in [(rad(lon * w), rad(lat * w))]
            for v in (sin(y), cos(y) * cos(x), cos(y) * sin(x))
        ]
    if kind == "spheregrid":
        return [
            v
            for w in freqs
            for x, y in [(rad(lon * w), rad(lat * w))]
            for v in (sin(y), cos(y), sin(x), cos(x), cos(y) * cos(x), cos(y) * sin(x))
        ]
    x1, y1 = rad(lon), rad(lat)
    if kind in ("spheremixscale", "spheregridmixscale"):
        plus = kind == "spheregridmixscale"
        if plus:
            freqs = [360.0 ** (-k / (F - 1)) for k in range(F)]
        return [
            v
            for w in freqs
            for x, y in [(x1 * w, y1 * w)]
            for v in (
                sin(y),
                *([cos(y), sin(x), cos(x)] if plus else []),
                cos(y) * cos(x1),
                cos(y1) * cos(x),
                cos(y) * sin(x1),
                cos(y1) * sin(x),
            )
        ]
    unit = [cos(y1) * cos(x1), cos(y1) * sin(x1), sin(y1)]
    if kind == "xyz":
        return unit
    if kind == "NeRF":
        return [f(c * math.pi * 2**k) for f in (sin, cos) for c in unit for k in range(16)]
    assert kind == "wrap_ffn"
    return [f(math.pi * c) for f in (sin, cos) for c in (lon / 180, lat / 90)]


def by_hand(content, places, activation, skip=()):
    kind = content["params"]["spa_enc_type"]
    x = np.array([features_by_hand(kind, *place) for place in places.tolist()])
    w = {k: v.double().numpy() for k, v in content["state_dict"].items()}
    count = len(content["params"].get("hidden", [])) or content["params"]["num_hidden_layer"]
    for i in range(count + 1):
        layer = f"spa_enc.ffn.layers.{i}."
        y = activation(x @ w[f"{layer}linear.weight"].T + w[f"{layer}linear.bias"])
        y = y + x if i in skip else y
        if f"{layer}layernorm.weight" in w:
            # Biased variance and epsilon 1e-5 inside the root, as torch's LayerNorm.
            y = (y - y.mean(1, keepdims=True)) / np.sqrt(y.var(1, keepdims=True) + 1e-5)
            y = y * w[f"{layer}layernorm.weight"] + w[f"{layer}layernorm.bias"]
        x = y
    return x


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


@pytest.mark.parametrize("kind", WIDTHS)
def test_each_encoding_gives_the_published_embeddings(tmp_path, places, kind):
    content = published(kind)
    encoder = read_space2vec(write(tmp_path, content), dtype="float64")
    expected = by_hand(content, places, leaky)
    # NeRF's finest wave turns 100,000 times; float64 keeps 1e-11 of it.
    np.testing.assert_allclose(encoder.embed(places), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "activation"),
    [
        ("leakyrelu", leaky),
        ("gelu", gelu),
        ("relu", lambda x: np.maximum(x, 0)),
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x))),
        ("tanh", np.tanh),
    ],
)
def test_the_activation_reaches_the_output_too(tmp_path, places, name, activation):
    content = published(spa_f_act=name)
    encoder = read_csp(write(tmp_path, content), name="csp-fmow", dtype="float64")
    np.testing.assert_allclose(
        encoder.embed(places), by_hand(content, places, activation), rtol=0, atol=1e-11
    )
    assert (encoder.family, encoder.name, encoder.embed_dim) == ("csp", "csp-fmow", OUT)
    assert encoder.coverage(places).all()


@pytest.mark.parametrize(("skip", "layers"), [(True, (1,)), (False, ())])
def test_hidden_layers_of_equal_width_are_skipped_over(tmp_path, places, skip, layers):
    content = published(hidden=(HIDDEN, HIDDEN), skip_connection=skip)
    encoder = read_space2vec(write(tmp_path, content), dtype="float64")
    expected = by_hand(content, places, leaky, skip=layers)
    np.testing.assert_allclose(encoder.embed(places), expected, rtol=0, atol=1e-11)


def test_an_encoding_as_wide_as_the_hidden_layer_is_skipped_over_too(tmp_path, places):
    content = published("sphere", hidden=(3 * F,), hidden_dim=3 * F)
    encoder = read_space2vec(write(tmp_path, content), dtype="float64")
    expected = by_hand(content, places, leaky, skip=(0,))
    np.testing.assert_allclose(encoder.embed(places), expected, rtol=0, atol=1e-11)


def test_numbers_of_numpy_among_the_settings_do_no_harm(tmp_path, places):
    content = published()
    first = read_csp(write(tmp_path, content)).embed(places)
    content["params"] |= {"num_classes": np.int64(8142), "lr": np.float64(0.1), "x": np.str_("y")}
    np.testing.assert_array_equal(read_csp(write(tmp_path, content)).embed(places), first)


def test_layer_norm_may_be_off(tmp_path, places):
    content = published(use_layn=False)
    encoder = read_space2vec(write(tmp_path, content), dtype="float64")
    expected = by_hand(content, places, leaky)
    np.testing.assert_allclose(encoder.embed(places), expected, rtol=0, atol=1e-11)


def test_a_network_without_hidden_layer_is_one_layer(tmp_path, places):
    content = published(hidden=())
    encoder = read_space2vec(write(tmp_path, content), dtype="float64")
    expected = by_hand(content, places, leaky)
    np.testing.assert_allclose(encoder.embed(places), expected, rtol=0, atol=1e-11)


def test_coordinates_are_rounded_to_float32_as_published(tmp_path):
    content = published(min_radius=1e-4)
    path = write(tmp_path, content)
    place = np.array([[13.40954, 52.52008]])
    rounded = place.astype(np.float32).astype(np.float64)
    exact, quick = read_space2vec(path, dtype="float64"), read_space2vec(path)
    # At 10,000 radians per degree the rounding of 13.4 alone turns the wave by 0.005.
    np.testing.assert_allclose(quick.embed(place), exact.embed(rounded), rtol=0, atol=2e-5)
    assert np.abs(quick.embed(place) - exact.embed(place)).max() > 1e-4


def test_bfloat16_stays_near(tmp_path, places):
    path = write(tmp_path, published())
    exact = read_space2vec(path, dtype="float64").embed(places)
    got = read_space2vec(path, dtype="bfloat16").embed(places)
    assert got.dtype == np.float32
    # 8 bits in the weights, the features and both layers.
    assert 0 < np.abs(got - exact).max() < 0.05 * np.abs(exact).max()


def test_both_copies_of_csps_network_are_understood(tmp_path, places):
    one = published()
    two = published(prefixes=("loc_enc.spa_enc.ffn.", "spa_enc.ffn."))
    first = read_csp(write(tmp_path, one)).embed(places)
    np.testing.assert_array_equal(read_csp(write(tmp_path, two)).embed(places), first)
    two["state_dict"]["spa_enc.ffn.layers.0.linear.bias"] = torch.zeros(HIDDEN)
    with pytest.raises(ValueError, match="two location encoders that differ"):
        read_csp(write(tmp_path, two))


@pytest.mark.parametrize(
    ("loc_encode", "width"), [("encode_cos_sin", 4), ("encode_none", 2), ("encode_3D", 3)]
)
@pytest.mark.parametrize("kind", ["wrap", "geo_net"])
def test_the_residual_network_gives_the_published_embeddings(tmp_path, kind, loc_encode, width):
    generator = torch.Generator().manual_seed(2)

    def linear(prefix, n, m):
        return {
            f"{prefix}.weight": torch.randn(m, n, generator=generator) / 3,
            f"{prefix}.bias": torch.randn(m, generator=generator) / 3,
        }

    state = linear("feats.0", width, OUT) | {"class_emb.weight": torch.ones(3, OUT)}
    for block in (2, 3, 4, 5):
        state |= linear(f"feats.{block}.w1", OUT, OUT) | linear(f"feats.{block}.w2", OUT, OUT)
    params = {"spa_enc_type": kind, "loc_encode": loc_encode, "num_filts": OUT}
    path = write(tmp_path, {"params": params, "state_dict": state})
    lon, lat = 13.4 / 180, 52.5 / 90
    a, b = math.pi * lon, math.pi * lat
    x = np.array(
        {
            "encode_cos_sin": [math.sin(a), math.sin(b), math.cos(a), math.cos(b)],
            "encode_none": [lon, lat],
            "encode_3D": [
                math.cos(a) * math.cos(b),
                math.sin(a) * math.cos(b),
                math.sin(b),
            ],
        }[loc_encode]
    )
    w = {k: v.double().numpy() for k, v in state.items()}
    x = np.maximum(w["feats.0.weight"] @ x + w["feats.0.bias"], 0)
    for block in (2, 3, 4, 5):
        y = np.maximum(w[f"feats.{block}.w1.weight"] @ x + w[f"feats.{block}.w1.bias"], 0)
        x = x + np.maximum(w[f"feats.{block}.w2.weight"] @ y + w[f"feats.{block}.w2.bias"], 0)
    encoder = read_space2vec(path, dtype="float64")
    np.testing.assert_allclose(encoder.embed((13.4, 52.5))[0], x, rtol=0, atol=1e-12)


def test_an_old_and_a_new_name_mean_the_same():
    for old, new in (("gridcell", "Space2Vec-grid"), ("sphere", "Sphere2Vec-sphereC")):
        assert POSITION_ENCODINGS[old] is POSITION_ENCODINGS[new]


def test_frequencies_run_between_the_radii():
    waves = geometric_frequencies(32, 0.1, 360.0)
    assert waves[0].item() == pytest.approx(10.0, rel=1e-15)
    assert waves[-1].item() == pytest.approx(1 / 360, rel=1e-14)
    assert falling_frequencies(3, 0.1, 100.0).tolist() == pytest.approx([1, 0.1, 0.01])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spa_enc_type": "dfs"}, "spa_enc_type 'dfs' cannot be read"),
        ({"spa_enc_type": "xyz"}, "must have shape"),
        ({"spa_f_act": "swish"}, "spa_f_act must be one of"),
        ({"spa_f_act": None}, "spa_f_act must be one of"),
        ({"frequency_num": 1}, "frequency_num must be a whole number from 2"),
        ({"frequency_num": 10**6}, "frequency_num"),
        ({"frequency_num": 5}, "must have shape"),
        ({"min_radius": 0.0}, "min_radius must be a number above 0"),
        ({"max_radius": float("nan")}, "max_radius must be a number above 0"),
        ({"max_radius": True}, "max_radius must be a number above 0"),
        ({"hidden_dim": "512"}, "hidden_dim must be a whole number"),
        ({"num_hidden_layer": 2}, "lacks layers.2|must have shape|unexpected|lacks"),
        ({"freq_init": "random"}, "freq_init must be 'geometric'"),
        ({"use_layn": False}, "unexpected"),
    ],
)
def test_params_that_do_not_fit_get_one_sentence(tmp_path, change, message):
    content = published()
    content["params"] |= change
    with pytest.raises(ValueError, match=message) as error:
        read_space2vec(write(tmp_path, content))
    assert str(error.value).startswith(("model.pth.tar", "layers."))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must hold params"):
        read_space2vec(write(tmp_path, {"state_dict": {}}))
    content = published()
    content["state_dict"] = {"class_emb.weight": torch.ones(2)}
    with pytest.raises(ValueError, match="no location encoder"):
        read_space2vec(write(tmp_path, content))
    content = published()
    content["params"] |= {"spa_enc_type": "wrap", "loc_encode": "encode_none"}
    content["params"]["use_date_feats"] = True
    with pytest.raises(ValueError, match="without dates"):
        read_space2vec(write(tmp_path, content))


# Scores of the true class that TorchSpatial's authors publish for validation places of fMoW
# (eval_results/, commit d8994dcf) where their image classifier is certain, so that the score is
# the location encoder's alone: place, class, score of xyz, score of Space2Vec-theory.
PUBLISHED_SCORES = [
    (27.984827041625977, 40.338172912597656, 51, 0.30099278688430786, 0.495079904794693),
    (-82.49696350097656, 27.33871078491211, 23, 0.5721070170402527, 0.3161447048187256),
    (-84.30529022216797, 39.29712677001953, 9, 0.7483042478561401, 0.8340362310409546),
    (10.311707496643066, 36.83347702026367, 36, 0.38073956966400146, 0.37509453296661377),
    (-46.474334716796875, -23.54524040222168, 51, 0.6710277199745178, 0.6956814527511597),
    (113.07400512695312, 23.547908782958984, 57, 0.9193851351737976, 0.9574961066246033),
    (-85.3112564086914, 35.04436111450195, 35, 0.6286193132400513, 0.6897402405738831),
    (-80.70760345458984, 28.384309768676758, 42, 0.6227179765701294, 0.2190825343132019),
    (-3.011820077896118, 53.45659255981445, 52, 0.6647679805755615, 0.510816216468811),
    (76.34329223632812, 9.686332702636719, 22, 0.20979905128479004, 0.2530721127986908),
    (-111.89888000488281, 33.311866760253906, 54, 0.6702290177345276, 0.9767335653305054),
    (-79.55986785888672, 8.970537185668945, 2, 0.6367369294166565, 0.5802204608917236),
]


@pytest.mark.parametrize(("kind", "column"), [("xyz", 3), ("Space2Vec-theory", 4)])
def test_real_weights_give_the_scores_that_their_authors_publish(shared, kind, column):
    folder = shared / "weights" / "torchspatial"
    path = next(folder.glob(f"model_fmow_{kind}_*.pth.tar"))
    encoder = read_space2vec(path)
    classes = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    table = np.array(PUBLISHED_SCORES)
    rows = table[:, 2].astype(int)
    logits = encoder.embed(table[:, :2]) @ classes["class_emb.weight"].numpy().T
    scores = 1 / (1 + np.exp(-logits[np.arange(len(rows)), rows]))
    # Published in float32 by another machine: a few units in the last place.
    np.testing.assert_allclose(scores, table[:, column], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["Sphere2Vec-sphereC+", "Space2Vec-theory", "xyz"])
def test_real_weights_tell_countries_better_than_bare_coordinates(shared, kind):
    geopandas = pytest.importorskip("geopandas")
    linear_model = pytest.importorskip("sklearn.linear_model")
    from satclip_explore.encoders.registry import load_encoder

    path = next((shared / "weights" / "torchspatial").glob(f"model_fmow_{kind}_*.pth.tar"))
    outlines = shared / "data" / "boundaries" / "ne_110m_admin_0_countries.geojson"
    countries = geopandas.read_file(outlines)[["ISO_A3", "geometry"]]
    places = equal_area_sample(9000, seed=0)
    points = geopandas.GeoDataFrame(geometry=geopandas.points_from_xy(*places.T), crs=countries.crs)
    joined = points.sjoin(countries, predicate="within")
    joined = joined[~joined.index.duplicated()]
    places, labels = places[joined.index], joined["ISO_A3"].to_numpy()
    half = len(places) // 2
    scores = {}
    for name, encoder in (("bare", load_encoder("xyz")), ("real", read_space2vec(path))):
        x = encoder.embed(places)
        x = (x - x[:half].mean(0)) / (x[:half].std(0) + 1e-6)
        model = linear_model.RidgeClassifier(alpha=10.0).fit(x[:half], labels[:half])
        scores[name] = model.score(x[half:], labels[half:])
    # Measured 0.29 from bare coordinates, 0.56 to 0.66 from the real weights.
    assert scores["real"] > scores["bare"] + 0.1

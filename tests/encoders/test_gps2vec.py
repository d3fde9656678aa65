"""GPS2Vec: zones and grids against formulas, networks in Keras 2 files made here."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch

from satclip_explore.encoders import gps2vec
from satclip_explore.encoders.gps2vec import GPS2Vec, read_gps2vec, zone_grid
from satclip_explore.encoders.keras_files import read_dense_layers
from satclip_explore.encoders.registry import load_encoder

h5py = pytest.importorskip("h5py")
WIDTHS = (400, 512, 1024, 2048)


def write_zone(folder, zone, kind="tag", seed=0, nested=False, edit=None):
    """One zone's file as Keras 2 saves it; returns its weights by layer."""
    rng = np.random.default_rng(seed)
    heads = {"tag": [("tag", 2000)], "visual": [("object", 1000), ("scene", 365)]}[kind]
    layers = [(f"layer{i + 1}", WIDTHS[i], WIDTHS[i + 1]) for i in range(3)]
    layers += [(name, WIDTHS[3], width) for name, width in heads]
    weights = {
        name: (
            (rng.standard_normal((n, m), dtype=np.float32) * (2 / n) ** 0.5),
            rng.standard_normal(m, dtype=np.float32) * 0.1,
        )
        for name, n, m in layers
    }
    if edit:
        edit(weights)
    with h5py.File(folder / f"model_{zone}.h5", "w") as file:
        root = file.create_group("model_weights") if nested else file
        root.attrs["layer_names"] = [b"input_1", b"flatten_1", *(n.encode() for n in weights)]
        root.attrs["keras_version"] = b"2.2.5"
        for empty in ("input_1", "flatten_1"):
            root.create_group(empty).attrs["weight_names"] = np.array([], dtype="S1")
        for name, (kernel, bias) in weights.items():
            group = root.create_group(name)
            group.attrs["weight_names"] = [f"{name}/kernel:0".encode(), f"{name}/bias:0".encode()]
            group[f"{name}/kernel:0"], group[f"{name}/bias:0"] = kernel, bias
    return weights


def forward(weights, x):
    """Dense relu three times, then each head's softmax, in float64."""
    named = {k: (w.astype(np.float64), b.astype(np.float64)) for k, (w, b) in weights.items()}
    for i in (1, 2, 3):
        kernel, bias = named[f"layer{i}"]
        x = np.maximum(x @ kernel + bias, 0)
    heads = []
    for name in [n for n in named if not n.startswith("layer")]:
        z = x @ named[name][0] + named[name][1]
        z = np.exp(z - z.max(axis=-1, keepdims=True))
        heads.append(z / z.sum(axis=-1, keepdims=True))
    return np.concatenate(heads, axis=-1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Berlin's, Singapore's and Oslo's zones, of the tags."""
    path = tmp_path_factory.mktemp("models_tag")
    weights = {z: write_zone(path, z, seed=i) for i, z in enumerate(("33 U", "48 N", "32 V"))}
    return path, weights


def code_of(lon, lat):
    return int(gps2vec.zone_codes(np.array([[lon, lat]], dtype=float))[0])


# Snyder (1987) and the definition of the grid: zones at borders, poles and the exceptions.
ZONES = [
    ((13.4, 52.5), "33 U"),
    ((103.76, 1.32), "48 N"),
    ((0.0, 0.0), "31 N"),
    ((-0.001, -0.001), "30 M"),
    ((-180.0, 10.0), "1 P"),
    ((179.999, 10.0), "60 P"),
    ((6.0, 50.0), "32 U"),
    ((5.999, 50.0), "31 U"),
    ((2.999, 60.0), "31 V"),
    ((3.0, 60.0), "32 V"),
    ((11.999, 63.999), "32 V"),
    ((12.0, 60.0), "33 V"),
    ((5.0, 64.0), "31 W"),
    ((5.0, 55.999), "31 U"),
    ((8.999, 73.0), "31 X"),
    ((9.0, 73.0), "33 X"),
    ((20.999, 80.0), "33 X"),
    ((21.0, 80.0), "35 X"),
    ((33.0, 83.0), "37 X"),
    ((41.999, 84.0), "37 X"),
    ((42.0, 75.0), "38 X"),
    ((-0.001, 75.0), "30 X"),
    ((10.0, 71.999), "32 W"),
    ((0.0, -80.0), "31 C"),
]


@pytest.mark.parametrize(("place", "zone"), ZONES)
def test_places_fall_into_their_zone(place, zone):
    assert gps2vec.zone_name(code_of(*place)) == zone


@pytest.mark.parametrize("lat", [84.001, 90.0, -80.001, -90.0])
def test_beyond_utm_there_is_no_zone(lat):
    assert code_of(0.0, lat) == gps2vec.NO_ZONE


def test_zones_that_the_authors_left_out_have_no_bounds():
    assert gps2vec.zone_bounds(code_of(1.0, 60.0)) is None  # 31 V
    assert gps2vec.zone_bounds(code_of(4.0, 60.0)) == (3.0, 56.0, 12.0, 64.0)
    assert gps2vec.zone_bounds(code_of(15.0, 75.0)) == (9.0, 72.0, 21.0, 84.0)
    assert gps2vec.zone_bounds(code_of(13.4, 52.5)) == (12.0, 48.0, 18.0, 56.0)
    for number in (32, 34, 36):
        assert gps2vec.zone_bounds(number * 20 + 19) is None


# Coordinates by PROJ's transverse Mercator (EPSG:326xx and 327xx), to the millimeter.
@pytest.mark.parametrize(
    ("place", "epsg"),
    [
        ((13.4, 52.5), 32633),
        ((103.764553967551, 1.3199909), 32648),
        ((151.2, -33.9), 32756),
        ((-180.0, -80.0), 32701),
        ((3.0, 56.0), 32632),
        ((20.9, 83.9), 32633),
        ((0.0, 0.0), 32631),
    ],
)
def test_every_place_is_projected_as_epsg_defines_its_zone(place, epsg):
    pyproj = pytest.importorskip("pyproj")
    expected = pyproj.Transformer.from_crs(4326, epsg, always_xy=True).transform(*place)
    np.testing.assert_allclose(gps2vec.to_utm(np.array([place]))[0], expected, rtol=0, atol=1e-6)


def test_the_grid_of_a_zone_spans_its_borders():
    grid = zone_grid(code_of(103.76, 1.32))
    # 48 N: 102° to 108° E, the equator to 8° N; at the equator 6° are 668 km in UTM's scale.
    assert 2 * (500_000 - grid.easting[0]) * 20 / 19 == pytest.approx(667_958, abs=50)
    assert grid.northing[0] == pytest.approx((grid.northing[1] - grid.northing[0]) / 2, abs=1e-6)
    top = gps2vec.to_utm(np.array([[102.0, 8.0 - 1e-8]]))[0, 1]
    assert grid.northing[-1] + grid.northing[0] == pytest.approx(top, abs=1e-6)
    assert np.ptp(np.diff(grid.easting)) < 1e-6


def features_by_hand(lon, lat):
    """exp(-d / 20 km) to each cell, one cell after another."""
    grid = zone_grid(code_of(lon, lat))
    x, y = gps2vec.to_utm(np.array([[lon, lat]]))[0]
    return [
        math.exp(-math.hypot(x - east, y - north) / 20_000)
        for east in grid.easting
        for north in grid.northing
    ]


def test_a_zones_network_gives_the_published_vector(folder):
    path, weights = folder
    encoder = read_gps2vec(path, dtype="float64")
    places = {"33 U": (13.4, 52.5), "48 N": (103.764553967551, 1.3199909), "32 V": (3.0, 60.0)}
    got = encoder.embed(list(places.values()))
    for row, (zone, place) in zip(got, places.items(), strict=True):
        expected = forward(weights[zone], np.array(features_by_hand(*place)))
        np.testing.assert_allclose(row, expected, rtol=1e-9, atol=1e-15)
        assert row.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(read_gps2vec(path).embed(list(places.values())), got, rtol=1e-5)


def test_objects_and_scenes_are_joined(tmp_path):
    weights = write_zone(tmp_path, "33 U", "visual", nested=True)
    encoder = read_gps2vec(tmp_path, name="gps2vec-visual", dtype="float64")
    got = encoder.embed((13.4, 52.5))[0]
    assert encoder.embed_dim == len(got) == 1365
    expected = forward(weights, np.array(features_by_hand(13.4, 52.5)))
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-15)
    assert got[:1000].sum() == pytest.approx(1.0, abs=1e-12)


def test_places_without_a_network_are_nan_and_not_covered(folder):
    encoder = GPS2Vec(folder[0])
    places = [(13.4, 52.5), (0.0, 0.0), (1.0, 60.0), (5.0, 60.0), (0.0, 90.0), (13.4, -85.0)]
    covered = [True, False, False, True, False, False]
    np.testing.assert_array_equal(encoder.coverage(places), covered)
    np.testing.assert_array_equal(np.isnan(encoder.embed(places)).any(axis=1), ~np.array(covered))
    np.testing.assert_array_equal(np.isnan(encoder.embed(places)).all(axis=1), ~np.array(covered))


def test_all_places_of_a_zone_go_through_at_once(folder):
    encoder = GPS2Vec(folder[0])
    rng = np.random.default_rng(0)
    places = np.stack([rng.uniform(12, 18, 300), rng.uniform(48, 56, 300)], axis=1)
    together = encoder.embed(places)
    alone = np.concatenate([encoder.embed(place) for place in places[:20]])
    # One product of 300 rows or 20 of one: float32 sums in another order.
    np.testing.assert_allclose(together[:20], alone, rtol=1e-4, atol=1e-9)
    assert len(encoder._networks) == 1


def test_a_zones_file_is_read_once_for_ten_thousand_places(folder, monkeypatch):
    reads = []

    def counted(path, shapes):
        reads.append(path.name)
        return read_dense_layers(path, shapes)

    monkeypatch.setattr(gps2vec, "read_dense_layers", counted)
    rng = np.random.default_rng(0)
    places = np.stack([rng.uniform(100, 108, 10_000), rng.uniform(0.1, 7.9, 10_000)], axis=1)
    encoder = GPS2Vec(folder[0])
    covered = encoder.coverage(places)
    assert 7_000 < covered.sum() < 8_000
    assert np.isfinite(encoder.embed(places)).all(axis=1).sum() == covered.sum()
    assert reads == ["model_48 N.h5"]


def test_zones_are_read_when_needed_and_few_are_kept(folder, monkeypatch):
    path, _ = folder
    monkeypatch.setattr(gps2vec, "ZONES_IN_MEMORY", 2)
    encoder = GPS2Vec(path)
    assert not encoder._networks
    encoder.embed([(13.4, 52.5), (103.8, 1.3), (5.0, 60.0), (13.5, 52.5)])
    assert len(encoder._networks) == 2
    first = encoder._networks[code_of(13.4, 52.5)][0]
    encoder.embed((14.0, 50.0))
    assert encoder._networks[code_of(13.4, 52.5)][0] is first


def _shape(weights):
    weights["layer2"] = (np.zeros((512, 1000), np.float32), np.zeros(1000, np.float32))


def _nan(weights):
    weights["tag"][1][0] = np.nan


def _short(weights):
    del weights["tag"]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_shape, r"\(512, 1000\) where \(512, 1024\) belongs"),
        (_nan, "not finite"),
        (_short, "6 arrays where 8 belong"),
    ],
)
def test_a_zone_of_another_shape_gets_one_sentence(tmp_path, edit, message):
    write_zone(tmp_path, "33 U", edit=edit)
    encoder = GPS2Vec(tmp_path)
    with pytest.raises(ValueError, match=message) as error:
        encoder.embed((13.4, 52.5))
    assert "model_33 U.h5" in str(error.value)


def test_damaged_zone_files_get_one_sentence(tmp_path):
    write_zone(tmp_path, "33 U")
    path = tmp_path / "model_33 U.h5"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="damaged or is not a Keras 2"):
        GPS2Vec(tmp_path).embed((13.4, 52.5))
    with h5py.File(path, "w") as file:
        file["a"] = [1.0]
    with pytest.raises(ValueError, match="damaged or is not a Keras 2"):
        GPS2Vec(tmp_path).embed((13.4, 52.5))
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read_dense_layers(path, [(1, 1)])


def test_data_outside_the_file_is_refused(tmp_path):
    weights = write_zone(tmp_path, "32 V")
    write_zone(tmp_path, "33 U")
    with h5py.File(tmp_path / "model_33 U.h5", "a") as file:
        del file["tag/tag/bias:0"]
        file["tag/tag/bias:0"] = h5py.ExternalLink("model_32 V.h5", "tag/tag/bias:0")
    assert weights["tag"][1].shape == (2000,)
    with pytest.raises(ValueError, match="damaged or is not a Keras 2"):
        GPS2Vec(tmp_path).embed((13.4, 52.5))


def test_the_folder_around_the_unzipped_one_will_do(folder, tmp_path):
    (tmp_path / "models_tag").symlink_to(folder[0])
    assert load_encoder("gps2vec-tag", path=tmp_path).coverage((13.4, 52.5)).item()


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_other_precisions_agree(folder, dtype):
    exact = GPS2Vec(folder[0], dtype="float64").embed((13.4, 52.5))
    # bfloat16 keeps 8 bits through four layers.
    tolerance = 0.2 if dtype == "bfloat16" else 0.0
    got = GPS2Vec(folder[0], dtype=dtype).embed((13.4, 52.5))
    np.testing.assert_allclose(got, exact, rtol=0, atol=tolerance * exact.max())


def test_a_folder_without_zones_is_refused(tmp_path):
    (tmp_path / "model_31 V.h5").touch()
    (tmp_path / "model_99 N.h5").touch()
    with pytest.raises(ValueError, match="holds no zone of GPS2Vec"):
        GPS2Vec(tmp_path)
    with pytest.raises(FileNotFoundError, match="unzip models_tag.zip"):
        GPS2Vec(tmp_path / "none")
    with pytest.raises(ValueError, match="kind must be"):
        GPS2Vec(tmp_path, "music")


def test_without_h5py_it_says_what_to_install(folder, monkeypatch):
    encoder = GPS2Vec(folder[0])
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ModuleNotFoundError, match="pip install h5py"):
        encoder.embed((13.4, 52.5))
    assert np.isnan(encoder.embed((0.0, 0.0))).all()


def test_the_torch_path_keeps_places_in_order(folder):
    encoder = GPS2Vec(folder[0])
    mixed = torch.tensor([[13.4, 52.5], [103.8, 1.3], [13.4, 52.5]], dtype=torch.float64)
    values = encoder.encode(mixed)
    np.testing.assert_array_equal(values[0].numpy(), values[2].numpy())
    assert not torch.equal(values[0], values[1])

"""Baselines and encoders of one's own."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from satclip_explore.encoders.baselines import load_baseline
from satclip_explore.encoders.custom import from_callable, from_module
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.encoders.spherical_harmonics import real_spherical_harmonics
from satclip_explore.geo import Grid


def test_lonlat_is_scaled_to_one():
    got = load_baseline("lonlat", dtype="float64").embed([(-180.0, 90.0), (90.0, -45.0)])
    np.testing.assert_array_equal(got, [[-1.0, 1.0], [0.5, -0.5]])


def test_xyz_is_the_unit_vector(places):
    got = load_baseline("xyz", dtype="float64").embed(places)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1.0, rtol=0, atol=1e-15)
    np.testing.assert_allclose(got[0], [0, 0, 1], atol=1e-15)
    np.testing.assert_allclose(got[4], [1, 0, 0], atol=1e-15)


def test_wrap_is_sines_then_cosines():
    got = load_baseline("wrap", dtype="float64").embed((45.0, 30.0))[0]
    a, b = math.pi / 4, math.pi / 3
    expected = [math.sin(a), math.sin(b), math.cos(a), math.cos(b)]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-15)


def test_harmonics_are_orthonormal_ones(places):
    got = load_baseline("harmonics-l10", dtype="float64").embed(places)
    expected = real_spherical_harmonics(
        torch.from_numpy(places), 10, harmonics_calculation="closed-form"
    )
    np.testing.assert_array_equal(got, expected.numpy())


def test_random_is_the_same_every_time(places):
    first, second = (load_baseline("random-l10").embed(places) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (8, 256)


@pytest.mark.parametrize(
    "name", ["lonlat", "xyz", "wrap", "harmonics-l10", "harmonics-l40", "random-l10"]
)
def test_baselines_give_their_dtype_everywhere_and_on_grids(name, places):
    encoder = load_baseline(name)
    got = encoder.embed(places)
    assert got.dtype == np.float32
    assert got.shape == (8, encoder.embed_dim)
    assert np.isfinite(got).all()
    assert encoder.coverage(places).all()
    grid = Grid((-180.0, -90.0, 180.0, 90.0), (3, 5))
    rows = torch.cat([v for _, v in encoder.iter_grid(grid)]).reshape(15, -1).numpy()
    np.testing.assert_allclose(rows, encoder.embed(grid.lonlat), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["harmonics", "harmonics-l0", "random-lx", "random-l-1", "random-l201", "abc"]
)
def test_an_unknown_baseline_is_refused(name):
    with pytest.raises(ValueError, match="no baseline is called"):
        load_baseline(name)


def test_a_function_becomes_an_encoder(places):
    encoder = from_callable(lambda lonlat: lonlat @ np.ones((2, 3)), name="mine", dtype="float64")
    expected = np.repeat(places.sum(axis=1, keepdims=True), 3, axis=1)
    np.testing.assert_array_equal(encoder.embed(places), expected)
    assert (encoder.name, encoder.family, encoder.embed_dim) == ("mine", "custom", 3)


def test_a_function_may_want_latitude_first():
    encoder = from_callable(lambda latlon: latlon, order="latlon")
    np.testing.assert_array_equal(encoder.embed((10.0, 20.0)), [[20.0, 10.0]])


def test_a_function_that_gives_integers_is_cast():
    assert from_callable(lambda x: np.ones((len(x), 2), int)).embed((0, 0)).dtype == np.float32


def test_a_module_becomes_an_encoder_in_evaluation_mode(places):
    module = nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.5))
    encoder = from_module(module, dtype="float64", name="net")
    expected = places @ module[0].weight.detach().numpy().T + module[0].bias.detach().numpy()
    np.testing.assert_allclose(encoder.embed(places), expected, rtol=0, atol=1e-12)
    assert len(encoder.weights_hash) == 16
    assert from_module(nn.Linear(2, 4)).weights_hash != encoder.weights_hash


@pytest.mark.parametrize(
    "function",
    [
        lambda lonlat: lonlat[:, 0],
        lambda lonlat: lonlat[:1],
        lambda lonlat: lonlat[:, :0],
        lambda lonlat: 1.0,
    ],
)
def test_a_function_of_another_shape_is_refused(function):
    with pytest.raises(ValueError, match="must return one vector per place"):
        from_callable(function, name="mine")


def test_a_function_that_changes_its_mind_is_refused():
    widths = iter([3, 4])
    encoder = from_callable(lambda lonlat: np.ones((len(lonlat), next(widths))))
    with pytest.raises(ValueError, match=r"shape \(1, 3\); got \(1, 4\)"):
        encoder.embed((0.0, 0.0))


def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match="order must be"):
        from_callable(lambda lonlat: lonlat, order="xy")


def test_longitude_180_reaches_an_encoder_that_is_not_periodic_as_180():
    both = [(180.0, 10.0), (-180.0, 10.0), (540.0, 10.0)]
    lonlat = load_baseline("lonlat", dtype="float64").embed(both)
    assert lonlat[:, 0].tolist() == [1.0, -1.0, -1.0]
    seen = from_callable(lambda places: places, dtype="float64").embed(both)
    assert seen[:, 0].tolist() == [180.0, -180.0, -180.0]
    xyz = load_baseline("xyz", dtype="float64").embed(both)
    np.testing.assert_array_equal(xyz[0], xyz[1])


def test_an_encoder_moves_with_all_its_tensors(places):
    layer = nn.Linear(2, 4)
    encoder = from_module(layer)
    before = encoder.embed(places)
    assert encoder.to("cpu") is encoder
    np.testing.assert_array_equal(encoder.embed(places), before)
    # The meta device holds shapes only: whatever is left behind would show.
    assert layer.weight.device.type == "cpu"
    with pytest.raises(ValueError, match="not available on this machine"):
        encoder.to("meta")
    with pytest.raises(TypeError, match="device must be 'auto', 'cpu'"):
        load_baseline("xyz", device=object())


def test_a_table_gets_the_embeddings_beside_its_columns(places):
    frame = pd.DataFrame({"LON": places[:, 0], "lat": places[:, 1], "what": "x"}, index=[3] * 8)
    encoder = load_baseline("xyz")
    joined = encoder.embed_frame(frame)
    assert list(joined) == ["LON", "lat", "what", "embed_0", "embed_1", "embed_2"]
    np.testing.assert_array_equal(joined.iloc[:, 3:].to_numpy(), encoder.embed(frame))
    assert joined.index.tolist() == [3] * 8
    assert joined.attrs["encoder"] == "xyz"
    assert list(frame) == ["LON", "lat", "what"]
    assert encoder.embed_frame(frame[:1]).shape == (1, 6)
    with pytest.raises(ValueError, match="column embed_0 already"):
        encoder.embed_frame(joined)
    with pytest.raises(TypeError, match="embed_frame takes a table; got list"):
        encoder.embed_frame([(0.0, 0.0)])


def test_a_geodataframe_stays_one_with_embeddings_added(places):
    geopandas = pytest.importorskip("geopandas")
    points = geopandas.points_from_xy(*places.T)
    joined = load_baseline("xyz").embed_frame(geopandas.GeoDataFrame(geometry=points, crs=4326))
    assert isinstance(joined, geopandas.GeoDataFrame)
    assert joined.crs == "EPSG:4326"


def test_only_satclip_encoders_are_saved(tmp_path, tiny_encoder, places):
    with pytest.raises(ValueError, match="only SatCLIP encoders can be saved"):
        load_baseline("xyz").save(tmp_path / "xyz")
    again = load_encoder(tiny_encoder.save(tmp_path / "tiny"))
    np.testing.assert_array_equal(again.embed(places), tiny_encoder.embed(places))

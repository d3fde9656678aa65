"""What L degrees hold: exact for what is made of them, blind for what is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from satclip_explore.encoders.registry import load_encoder
from satclip_explore.encoders.satclip import SatCLIP
from satclip_explore.encoders.siren import Siren
from satclip_explore.encoders.spherical_harmonics import real_spherical_harmonics
from satclip_explore.geo import GLOBE, Grid
from satclip_explore.truncation import shortest_wave_km, truncate_encoder, truncate_raster

GRID = Grid(GLOBE, (48, 96))


def harmonic(l, m):
    y = real_spherical_harmonics(
        torch.from_numpy(GRID.lonlat), l + 1, harmonics_calculation="closed-form"
    )
    return y[:, l * l + l + m].numpy().reshape(GRID.shape)


def test_the_shortest_wave_is_the_circumference_over_the_highest_degree():
    assert shortest_wave_km(2) == pytest.approx(40_030.2, abs=0.1)
    assert shortest_wave_km(41) == pytest.approx(40_030.2 / 40, abs=0.01)
    assert shortest_wave_km(1) == float("inf")


@pytest.mark.parametrize(("l", "m"), [(0, 0), (1, -1), (5, 5), (9, 0), (9, -9), (9, 4)])
def test_degrees_below_l_stay_as_they_are(l, m):
    y = harmonic(l, m)
    np.testing.assert_allclose(truncate_raster(y, 10), y, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("l", "m"), [(10, 0), (10, -10), (12, 5), (20, 1)])
def test_degrees_from_l_on_vanish(l, m):
    # Sums over 48 rows stand for integrals: they are orthogonal to about a percent.
    assert np.abs(truncate_raster(harmonic(l, m), 10)).max() < 0.02


def test_what_is_cut_is_the_nearest_in_area_weighted_squares():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((*GRID.shape, 2))
    cut = truncate_raster(noise, 4)
    weights = np.repeat(GRID.area_weights, GRID.shape[1])
    y = real_spherical_harmonics(
        torch.from_numpy(GRID.lonlat), 4, harmonics_calculation="closed-form"
    ).numpy()
    root = np.sqrt(weights)[:, None]
    solved, *_ = np.linalg.lstsq(root * y, root * noise.reshape(-1, 2), rcond=None)
    np.testing.assert_allclose(cut.reshape(-1, 2), y @ solved, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("values", "L", "message"),
    [
        (np.ones(5), 2, "shape \\(H, W\\)"),
        (np.ones((0, 4)), 2, "shape \\(H, W\\)"),
        (np.full((4, 8), np.nan), 2, "finite raster"),
        (np.ones((48, 96)), 49, "hold at most 48 degrees; got L = 49"),
        (np.ones((48, 20)), 11, "hold at most 10 degrees"),
        (np.ones((48, 96)), 0, "at least 1; got 0"),
        (np.ones((48, 96)), 2.5, "whole number"),
        (np.ones((48, 96)), True, "whole number"),
    ],
)
def test_what_cannot_be_cut_gets_one_sentence(values, L, message):
    with pytest.raises((TypeError, ValueError), match=message):
        truncate_raster(values, L)


def test_an_encoder_cut_at_l_ignores_finer_degrees(tiny_encoder, places):
    cut = truncate_encoder(tiny_encoder, 3)
    assert (cut.name, cut.legendre_polys, cut.embed_dim) == ("tiny-l5 cut at L = 3", 3, 8)
    assert cut.weights_hash
    network = Siren(25, hidden_dim=16, embed_dim=8, num_layers=2, seed=0)
    network.layers[0].weight.data[:, 9:] = 0.0
    expected = SatCLIP(network, 5).embed(places)
    # Fewer zeros in the sums of the first layer.
    np.testing.assert_allclose(cut.embed(places), expected, rtol=0, atol=1e-6)
    assert np.abs(cut.embed(places) - tiny_encoder.embed(places)).max() > 1e-3
    assert truncate_encoder(tiny_encoder, 5) is tiny_encoder


@pytest.mark.parametrize("name", ["xyz", "random-l3"])
def test_where_nothing_can_be_cut_an_untrained_encoder_stands_in(name):
    assert truncate_encoder(load_encoder(name), 4).name == "random-l4"


def test_an_encoder_is_cut_at_whole_degrees(tiny_encoder):
    with pytest.raises(ValueError, match="at most 200; got 201"):
        truncate_encoder(tiny_encoder, 201)

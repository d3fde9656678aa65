"""Many scattered places: the tabulated first layer against float64.

Tolerance 1e-5 of the largest output: the Siren multiplies phases by 30, so that rounding of
float32 alone leaves 1e-6; the series cuts off less.
"""

import pickle

import numpy as np
import pytest
import torch

from satclip_explore.encoders import satclip
from satclip_explore.encoders.patch_series import PatchSeries, pays, sectors_per_band
from satclip_explore.encoders.satclip import SatCLIP, hidden_layer
from satclip_explore.encoders.siren import Siren
from satclip_explore.store import _identity
from satclip_explore.truncation import truncate_encoder

CORNERS = [[-180, 90], [0, 90], [0, -90], [-180, 0], [179.9999999, 0], [0, 0], [13, 89.9999]]


def encoder(dtype="float32", convention="analytic", legendre_polys=40):
    network = Siren(legendre_polys**2, 32, 8, 2, seed=0)
    return SatCLIP(network, legendre_polys, harmonics_calculation=convention, dtype=dtype)


@pytest.fixture
def globe():
    rng = np.random.default_rng(0)
    places = np.c_[rng.uniform(-180, 180, 1500), rng.uniform(-90, 90, 1500)]
    places[: len(CORNERS)] = CORNERS
    return places


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch):
    monkeypatch.setattr(satclip, "MANY_PLACES", 100)


@pytest.fixture
def tables(monkeypatch):
    """Record which bands were tabulated."""
    made, tabulate = [], PatchSeries._tabulate

    def record(self, band):
        made.append(band)
        return tabulate(self, band)

    monkeypatch.setattr(PatchSeries, "_tabulate", record)
    return made


@pytest.mark.parametrize("convention", ["analytic", "closed-form"])
@pytest.mark.parametrize("cut", [None, 0, 1])
def test_many_places_are_those_of_float64(globe, convention, cut, tables):
    fast, exact = encoder(convention=convention), encoder("float64", convention)
    if cut is not None:
        fast, exact = hidden_layer(fast, cut), hidden_layer(exact, cut)
    truth = exact.embed(globe)
    error = np.abs(fast.embed(globe) - truth).max()
    assert tables
    assert 0.0 < error < 1e-5 * np.abs(truth).max()


def test_a_truncated_encoder_takes_the_table_too(globe, tables):
    fast, exact = (truncate_encoder(encoder(dtype), 30) for dtype in ("float32", "float64"))
    truth = exact.embed(globe)
    error = np.abs(fast.embed(globe) - truth).max()
    assert tables
    assert 0.0 < error < 1e-5 * np.abs(truth).max()


def test_order_and_company_do_not_matter(globe):
    enc, rng = encoder(), np.random.default_rng(1)
    whole, some = enc.embed(globe), rng.permutation(len(globe))[:700]
    np.testing.assert_array_equal(enc.embed(globe), whole)
    np.testing.assert_allclose(enc.embed(globe[some]), whole[some], rtol=0, atol=1e-6)
    one_by_one = np.concatenate([enc.embed(place) for place in globe[:50]])
    np.testing.assert_allclose(one_by_one, whole[:50], rtol=0, atol=3e-6)


def test_a_pole_is_one_place_and_the_dateline_no_seam():
    enc = encoder()
    poles = np.c_[np.linspace(-180, 179, 200), np.full(200, 90.0)]
    embeddings = enc.embed(poles)
    np.testing.assert_array_equal(embeddings, np.tile(embeddings[:1], (200, 1)))
    lat = np.linspace(-90, 90, 200)
    west, east = (enc.embed(np.c_[np.full(200, lon), lat]) for lon in (-180.0, 180.0 - 1e-9))
    np.testing.assert_allclose(west, east, rtol=0, atol=3e-6)


def test_only_bands_with_places_are_tabulated_and_once(tables):
    enc = encoder()
    africa = np.random.default_rng(0).uniform((-17, -35), (50, 35), (500, 2))
    enc.embed(africa)
    enc.embed(africa)
    assert sorted(tables) == sorted(set(tables))
    assert 5 <= len(tables) < len(sectors_per_band(40))


def test_new_weights_make_a_new_table(globe):
    enc = encoder()
    enc.embed(globe)
    other = Siren(1600, 32, 8, 2, seed=5)
    enc.network.load_state_dict(other.state_dict())
    np.testing.assert_array_equal(enc.embed(globe), SatCLIP(other, 40).embed(globe))
    with torch.no_grad():
        enc.network.layers[0].bias.data += 1.0
    expected = SatCLIP(enc.network, 40).embed(globe)
    np.testing.assert_array_equal(enc.embed(globe), expected)


@pytest.mark.parametrize(
    ("dtype", "legendre_polys", "n"),
    [("float32", 40, 99), ("float64", 40, 200), ("float32", 10, 200)],
)
def test_few_places_wide_types_and_few_harmonics_keep_the_harmonics(
    globe, tables, dtype, legendre_polys, n
):
    encoder(dtype, legendre_polys=legendre_polys).embed(globe[:n])
    assert not tables


def test_a_table_past_its_bound_is_not_made():
    assert pays(40, 512)
    assert not pays(40, 2048)
    assert not pays(24, 512)


def test_training_still_sees_the_harmonics(globe, tables):
    lonlat = torch.from_numpy(globe[:200])
    enc = encoder()
    enc.encode(lonlat).sum().backward()
    assert not tables
    assert torch.isfinite(enc.network.layers[0].weight.grad).all()


def test_the_table_changes_no_key_and_does_not_travel(globe):
    enc = encoder()
    enc.weights_hash = "0123"
    before = _identity(enc, lambda _: None)
    embeddings = enc.embed(globe)
    assert _identity(enc, lambda _: None) == before
    packed = pickle.dumps(enc)
    assert len(packed) < 1_000_000
    np.testing.assert_array_equal(pickle.loads(packed).embed(globe), embeddings)

"""Months and years on the page: a slider, what changes between two, and the address."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import save_file

import satclip_explore as sx
from satclip_explore.encoders.climplicit import weight_shapes
from satclip_explore.explorer import Explorer
from satclip_explore.panes.times import SEASONS, TimesPane, words_of
from satclip_explore.times import at_time, timeless_name


@pytest.fixture(scope="module")
def months(tmp_path_factory):
    """A file in Climplicit's format, with random weights."""
    generator = torch.Generator().manual_seed(0)
    state = {
        f"location_encoder.{key}": 0.2 * torch.randn(shape, generator=generator)
        for key, shape in weight_shapes(2, 8, 4).items()
    }
    path = tmp_path_factory.mktemp("climplicit") / "model.safetensors"
    save_file(state, path)
    return path


@pytest.fixture(scope="module")
def years(tmp_path_factory):
    """A store of vectors of three years, each of which turns them further."""
    lat, lon = np.arange(85.0, -90, -10), np.arange(-175.0, 180, 10)
    angle = np.array([0.0, 0.2, 1.1])[:, None, None]
    values = np.stack(
        [np.cos(angle + 0 * lat[:, None] * lon), np.sin(angle + 0 * lat[:, None] * lon)], -1
    )
    coords = {"year": [2019, 2020, 2024], "lat": lat, "lon": lon}
    field = xr.DataArray(values, coords, ("year", "lat", "lon", "embed"), name="v")
    path = tmp_path_factory.mktemp("years") / "turning.zarr"
    field.to_dataset().to_zarr(path, zarr_format=2)
    return path


class Location:
    """Stands for the page's address."""

    def __new__(cls, search=""):
        from tests.panes.test_app import Location as Page

        return Page(search=search)


def test_an_encoder_is_loaded_again_at_another_time(months, years):
    april = sx.load_encoder(months, month=4, dtype="float64")
    july = at_time(april, 7)
    assert (july.name, july.month, july.dtype) == ("climplicit:month7", 7, torch.float64)
    assert at_time(april, None).embed_dim == 4 * april.embed_dim
    assert timeless_name(april) == "climplicit"
    early = sx.load_encoder(years, year=2019)
    assert (early.times, timeless_name(early)) == (("year", (2019, 2020, 2024)), "turning")
    np.testing.assert_allclose(
        at_time(early, 2024).embed((5, 5)), [[np.cos(1.1), np.sin(1.1)]], 1e-6
    )
    with pytest.raises(ValueError, match="xyz is the same in every month and year"):
        at_time(sx.load_encoder("xyz"), 7)


def test_only_encoders_with_times_have_a_slider(months, years, tiny_encoder):
    assert TimesPane(tiny_encoder, print).options() == {}
    assert not TimesPane(tiny_encoder, print).__panel__().visible
    offered = TimesPane(sx.load_encoder(months), print).options()
    assert list(offered.items())[:2] == [(SEASONS, ""), ("January", "1")]
    assert len(offered) == 13
    pane = TimesPane(sx.load_encoder(years, year=2020), print)
    assert pane.options() == {"2019": "2019", "2020": "2020", "2024": "2024"}
    assert (pane.before, pane.after) == ("2019", "2024")
    pane.encoder = sx.load_encoder(months, month=6.5)
    assert pane.options()["6.5"] == "6.5"
    assert (pane.before, pane.after, words_of("month", 7)) == ("1", "7", "July")


def test_the_chosen_month_reaches_every_pane_address_code_and_a_copied_link(months):
    explorer = Explorer(sx.load_encoder(months, name=""))
    location = Location()
    explorer.follow_address(location)
    explorer.times._on_choose("7")
    assert {pane.encoder.name for pane in explorer.panes} == {"climplicit:month7"}
    assert explorer.encoder_name == "climplicit"
    assert location.search.startswith("?time=7&compare=climplicit%3Amonth7,")
    assert explorer.compare.chosen[0] == "climplicit:month7"
    assert "month=7" in explorer.pca.downloads()[-1].code
    explorer.time = "3"
    assert explorer.compare.chosen[0] == "climplicit:month3"
    assert "climplicit:month7" not in explorer.compare.chosen
    location.on_back("?time=7")
    assert explorer.pca.encoder.month == 7
    location.on_back("")
    assert explorer.pca.encoder.month is None
    other = Explorer(sx.load_encoder(months))
    other.follow_address(Location("?time=7&change=2,8&compare=climplicit:month7,climplicit:month1"))
    assert (other.pca.encoder.month, other.times.between, other.message) == (7, "2,8", "")
    assert other.compare.chosen == ["climplicit:month7", "climplicit:month1"]
    assert other.compare._load("climplicit:month1").month == 1


def test_a_time_that_is_none_is_a_sentence_and_the_last_one_stays(months, tiny_encoder):
    explorer = Explorer(sx.load_encoder(months, month=5))
    explorer.follow_address(Location("?time=13"))
    assert "has no '13': it has 1, 2" in explorer.message
    assert (explorer.time, explorer.pca.encoder.month) == ("5", 5)
    explorer.encoder_name = "xyz"
    assert (explorer.time, explorer.pca.encoder.name) == ("", "xyz")
    explorer.encoder_name = "climplicit"
    assert (explorer.time, explorer.pca.encoder.month) == ("5", 5)
    without = Explorer(tiny_encoder)
    without.follow_address(Location("?time=7&change=1,2"))
    assert "it is the same at all times" in without.message
    assert without.times.between == ""
    without.times.encoder = sx.load_encoder(months)
    assert without.times.between == "1,2"


def test_change_is_drawn_said_in_words_and_given_as_code(years):
    pane = TimesPane(sx.load_encoder(years, year=2020), print, land_only=False)
    assert pane.shown() is None
    pane.compare()
    assert pane.shown() is None  # starts it
    pane._background.wait(30)
    expected = 1 - np.cos(1.1)
    np.testing.assert_allclose(pane.shown(), expected, rtol=1e-5)
    assert "From 2019 to 2024, half of what is shown turns by less than 0.55" in pane.legend()
    namespace = {}
    exec(pane.downloads()[-1].code.replace("field.plot.imshow(vmin=0)", ""), namespace)
    np.testing.assert_allclose(namespace["field"], expected, rtol=1e-5)
    pane.after = "2020"
    assert pane.between == "2019,2020"
    assert "(year=2020)" not in pane.legend()
    pane._background.wait(30)
    np.testing.assert_allclose(pane.shown(), 1 - np.cos(0.2), rtol=1e-4)
    pane.encoder = at_time(pane.encoder, 2024)
    np.testing.assert_allclose(pane.shown(), 1 - np.cos(0.2), rtol=1e-4)
    pane.put_away()
    assert (pane.between, pane.legend()) == ("", "")

import dataclasses

import numpy as np
import pytest
import torch
import xarray as xr

from satclip_explore.encoders.custom import from_callable
from satclip_explore.encoders.satclip import SatCLIP
from satclip_explore.encoders.siren import Siren
from satclip_explore.geo import Grid
from satclip_explore.precision import fast_precision
from satclip_explore.projection import fit_pca, pca_raster
from satclip_explore.regions import region


@pytest.fixture(scope="module")
def encoder():
    return SatCLIP(Siren(100, 64, 16, 2, seed=0), 10)


def test_colors_do_not_change_with_the_view(encoder):
    globe = pca_raster(encoder, 2.0, precision="float32")
    view = pca_raster(encoder, 2.0, bounds=(10, 40, 30, 60), precision="float32")
    same = globe.sel(lon=view.lon, lat=view.lat)
    # The two views multiply in another order: a value on the edge of rounding may move by one.
    assert np.abs(view.astype(int) - same.astype(int)).max() <= 1


def test_the_fast_path_stays_within_two_of_255_of_float64(encoder):
    exact = SatCLIP(Siren(100, 64, 16, 2, seed=0), 10, dtype="float64")
    projection = fit_pca(exact)
    reference = pca_raster(exact, 3.0, projection=projection).astype(int)
    for precision, limit in (("float32", 1), ("auto", 2)):
        fast = pca_raster(encoder, 3.0, projection=projection, precision=precision)
        assert np.abs(fast.astype(int) - reference).max() <= limit


def test_bands_are_named_and_bytes(encoder):
    field = pca_raster(encoder, 30.0, n_components=2)
    assert field.dims == ("lat", "lon", "band")
    assert field.dtype == np.uint8
    assert field.band.values.tolist() == ["pc1", "pc2"]


def test_a_grid_may_be_given_in_place_of_a_resolution(encoder):
    field = pca_raster(encoder, grid=Grid((170, -10, 190, 10), (3, 5)))
    assert field.shape == (3, 5, 3)
    assert field.lon[-1] > 180


def test_components_are_orthonormal_sorted_and_of_fixed_sign(encoder):
    projection = fit_pca(encoder, 5)
    np.testing.assert_allclose(
        projection.components @ projection.components.T, np.eye(5), atol=1e-9
    )
    assert (np.diff(projection.explained) <= 0).all()
    assert 0 < projection.explained.sum() <= 1
    largest = np.abs(projection.components).argmax(axis=1)
    assert (projection.components[range(5), largest] > 0).all()


def test_scores_and_colors_agree_with_the_readout(encoder, places):
    projection = fit_pca(encoder)
    embeddings = encoder.embed(places)
    scores = projection.scores(embeddings)
    expected = (scores - projection.low) / (projection.high - projection.low) * 255
    colors = projection.colors(embeddings)
    np.testing.assert_array_equal(colors, expected.round().clip(0, 255).astype(np.uint8))


def test_the_fit_happens_once_per_encoder(encoder):
    assert fit_pca(encoder) is fit_pca(encoder)


def test_the_stretch_clips_the_stated_share(encoder):
    wide, narrow = fit_pca(encoder, stretch=0.0), fit_pca(encoder, stretch=10.0)
    assert (wide.low < narrow.low).all()
    assert (wide.high > narrow.high).all()


def test_detail_is_found_below_what_varies_smoothly():
    def waves(lonlat):
        lon, lat = np.radians(lonlat).T
        return np.stack([9.0 * np.sin(lat), 3.0 * np.cos(lat) * np.cos(lon), np.cos(25 * lat)], 1)

    mixed = from_callable(waves)
    first, fine = fit_pca(mixed, 1), fit_pca(mixed, 1, smooth_degrees=4)
    assert abs(first.components[0, 0]) > 0.99
    assert abs(fine.components[0, 2]) > 0.99
    # All that is left is the wave that harmonics of four degrees cannot follow.
    assert fine.explained[0] > 0.98


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"n_components": 0}, "n_components must be at least 1; got 0"),
        ({"n_components": 17}, "n_components may be at most 16; got 17"),
        ({"stretch": 50.0}, "stretch must be a percentage"),
        ({"smooth_degrees": -1}, "smooth_degrees must be at least 0; got -1"),
        ({"smooth_degrees": 21}, "smooth_degrees may be at most 20; got 21"),
        ({"n_samples": 39, "smooth_degrees": 6}, "too few for 3 components"),
        ({"stretch": -1.0}, "stretch must be a percentage"),
        ({"n_samples": 3}, "too few for 3 components"),
    ],
)
def test_settings_out_of_range_are_refused(encoder, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        fit_pca(encoder, **settings)


def test_uncovered_pixels_are_black():
    class Half(SatCLIP):
        def encode(self, lonlat):
            out = super().encode(lonlat)
            return torch.where(lonlat[:, :1] < 0, out.new_tensor(float("nan")), out)

        iter_grid = SatCLIP.__mro__[1].iter_grid

    field = pca_raster(Half(Siren(25, 16, 8, seed=0), 5), 30.0)
    assert (field.sel(lon=slice(-180, 0)) == 0).all()
    assert (field.sel(lon=slice(0, 180)) > 0).any()


def test_the_fast_type_is_measured_once():
    assert fast_precision("cpu") in {"float32", "bfloat16"}
    assert fast_precision("cpu") == fast_precision("cpu")


def test_a_projection_cannot_be_changed(encoder):
    with pytest.raises(dataclasses.FrozenInstanceError):
        fit_pca(encoder).low = 0


@pytest.mark.parametrize("engine", ["scipy", "h5netcdf", "netcdf4"])
def test_colors_go_through_netcdf_with_every_library(encoder, tmp_path, engine):
    pytest.importorskip({"netcdf4": "netCDF4"}.get(engine, engine))
    field = pca_raster(encoder, 30.0)
    field.to_netcdf(tmp_path / "colors.nc", engine=engine)
    with xr.open_dataarray(tmp_path / "colors.nc", engine=engine) as again:
        np.testing.assert_array_equal(again.to_numpy(), field.to_numpy())


def test_pixels_outside_of_a_region_are_black(encoder):
    field = pca_raster(encoder, 2.0, region="Madagascar")
    places = np.stack(np.meshgrid(field.lon, field.lat), axis=-1).reshape(-1, 2)
    inside = region("Madagascar").contains(places).reshape(field.shape[:2])
    assert (field.to_numpy()[~inside] == 0).all()
    assert (field.to_numpy()[inside] > 0).any()


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_an_encoder_that_is_the_same_everywhere_is_refused(value):
    flat = from_callable(lambda lonlat: np.full((len(lonlat), 4), value), name="flat")
    with pytest.raises(ValueError, match="flat must differ from place to place; all rows are the"):
        pca_raster(flat, 30.0)

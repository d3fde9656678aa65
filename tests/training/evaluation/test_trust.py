"""Where to trust: the area of applicability, distances on the ground, and the next labels."""

import numpy as np
import pandas as pd
import pytest
import torch

import satclip_explore as sx
from satclip_explore.geo import GLOBE, great_circle_km
from training.evaluation.contenders import Labels
from training.evaluation.prediction import around, survey
from training.evaluation.trust import Applicability
from training.tasks.folds import make_rungs
from training.tasks.task import Task


@pytest.fixture(scope="module")
def europe():
    rng = np.random.default_rng(0)
    lonlat = np.stack([rng.uniform(-10, 30, 80), rng.uniform(36, 60, 80)], axis=1)
    table = pd.DataFrame(lonlat, columns=["lon", "lat"]).assign(warm=60.5 - lonlat[:, 1])
    return sx.evaluate(
        table, "warm", rungs=["random", 5.0], seeds=1, encoders="xyz", models=["ridge"]
    )


def test_the_area_of_applicability_is_that_of_meyer_and_pebesma():
    rng = np.random.default_rng(1)
    lonlat = np.stack([rng.uniform(-180, 180, 60), rng.uniform(-60, 60, 60)], axis=1)
    x = rng.normal(size=(60, 3))
    y = 2.0 * x[:, 0] + 0.5 * x[:, 1]
    rung = make_rungs(Task("t", "regression", lonlat, y), ["random"], seeds=1)[0][0]
    found = Applicability.fit(Labels(lonlat, y, 0, x, np.arange(60)), rung)
    importance = found.scale * x.std(0)
    assert importance[0] > 3 * importance[1] > 100 * importance[2]
    inside = (x - x.mean(0)) * found.scale
    apart = np.linalg.norm(inside[:, None] - inside[None], axis=2)
    typical = apart.sum() / (60 * 59)
    assert found.typical == pytest.approx(typical, rel=1e-5)
    other = rung.fold[0][:, None] != rung.fold[0][None]
    own = np.where(other, apart, np.inf).min(1) / typical
    low, high = np.quantile(own, (0.25, 0.75))
    assert found.threshold == pytest.approx(min(high + 1.5 * (high - low), own.max()), rel=1e-4)
    np.testing.assert_allclose(found.dissimilarity(x), 0.0, atol=1e-3)


def test_rasters_say_where_a_prediction_is_like_what_was_tested(europe):
    raster = europe.trust(10.0)
    assert raster.sizes == {"lat": 18, "lon": 36}
    assert float(raster["trusted"].sel(lon=15, lat=45)) == 1.0
    assert float(raster["trusted"].sel(lon=-145, lat=-45)) == 0.0
    km = great_circle_km([15.0, 45.0], europe.task.lonlat).min()
    assert float(raster["distance_km"].sel(lon=15, lat=45)) == pytest.approx(km, rel=1e-5)
    africa = europe.trust(10.0, region="Africa")
    assert africa["distance_km"].isnull().any()
    assert (africa["dissimilarity"].isnull() == africa["trusted"].isnull()).all()


def test_the_next_labels_are_where_none_is_alike(europe):
    chosen = europe.next_labels(5)
    assert chosen["gain"].is_monotonic_decreasing
    assert chosen["km"].iloc[0] > 3000.0
    assert 0.0 < chosen["gain"].sum() <= 1.0
    among = [[10.0, 50.0], [-100.0, -50.0]]
    assert europe.next_labels(1, among)["lon"].tolist() == [-100.0]


def test_a_predicted_raster_has_intervals_and_says_where_to_trust_it(europe):
    raster = europe.predict_raster(10.0, bounds=(-20, 30, 40, 70), contender="xyz")
    on_land = raster.sel(lon=15, lat=45, method="nearest")
    near = europe.predict_interval([[15.0, 45.0]], contender="xyz")
    for name in ("prediction", "low", "high"):
        assert float(on_land[name]) == pytest.approx(near[name].item(), rel=1e-4)
    assert {"dissimilarity", "trusted", "distance_km"} <= set(raster)
    assert raster.attrs["contender"] == "xyz"
    assert raster.attrs["threshold"] > 0.0
    assert np.isnan(raster["prediction"].sel(lon=-15, lat=55))
    whole = europe.predict_raster(10.0, bounds=(-20, 30, 40, 70), land_only=False)
    assert whole["prediction"].notnull().all()
    with pytest.raises(ValueError, match="no pixel to predict"):
        europe.predict_raster(1.0, bounds=(-40, 30, -35, 35))


def test_a_raster_of_classes_has_codes_and_how_many_may_hold():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"lon": rng.uniform(-10, 30, 60), "lat": rng.uniform(36, 60, 60)})
    table["zone"] = np.where(table["lat"] > 48, "a|b", "south")
    ladder = sx.evaluate(table, "zone", rungs=["random"], seeds=1, encoders="xyz", models=["ridge"])
    raster = ladder.predict_raster(5.0, bounds=(0, 40, 20, 55))
    codes = raster["prediction"]
    assert codes.dtype == np.int16
    assert codes.attrs["classes"][int(codes.sel(lon=12.5, lat=52.5))] == "a|b"
    assert codes.attrs["classes"][int(codes.sel(lon=2.5, lat=42.5))] == "south"
    sizes = raster["set_size"].to_numpy()
    assert set(sizes[codes.to_numpy() >= 0]) <= {1.0, 2.0}
    assert np.isnan(sizes[codes.to_numpy() < 0]).all()


def test_nothing_is_predicted_where_the_encoder_has_no_coverage():
    rng = np.random.default_rng(0)
    lonlat = np.stack([rng.uniform(-10, 20, 60), rng.uniform(36, 60, 60)], axis=1)
    encoder = sx.from_table(lonlat, lonlat, max_distance_km=600.0, name="west")
    table = pd.DataFrame(lonlat, columns=["lon", "lat"])
    table["zone"] = np.where(table["lat"] > 48, "north", "south")
    ladder = sx.evaluate(
        table, "zone", rungs=["random"], seeds=1, encoders=encoder, models=["ridge", "boosting"]
    )
    for name in ("west", "west (boosting)"):
        found = ladder.predict_interval([[10.0, 55.0], [40.0, 55.0]], contender=name)
        assert found["prediction"][0] == "north"
        assert found["prediction"].isna().tolist() == [False, True]
        assert found["set"][1] == ""
    raster = ladder.predict_raster(5.0, bounds=(10, 45, 40, 60), contender="west")
    beyond = raster["lon"] > 30.0
    assert (raster["prediction"].where(beyond, -1) == -1).all()
    assert (raster["prediction"].where(~beyond, -1) >= 0).any()
    assert raster["set_size"].where(beyond).isnull().all()
    with pytest.raises(ValueError, match="no place to predict lies where west has coverage"):
        ladder.predict_interval([[40.0, 55.0]], contender="west")


def test_a_map_of_the_labels_is_twice_as_wide_as_high_and_on_the_globe():
    box, resolution = around(np.array([[5.0, 50.0], [6.0, 50.5]]))
    west, south, east, north = box
    assert east - west == pytest.approx(2.0 * (north - south))
    assert west < 5.0 < 6.0 < east
    assert resolution == pytest.approx((north - south) / 90)
    assert around(np.array([[0.0, 89.0], [1.0, 90.0]]))[0][3] == 90.0
    for wide in ([[-179.0, -18.0], [179.0, -17.0]], [[0.0, -80.0], [1.0, 80.0]]):
        assert around(np.array(wide)) == (GLOBE, 2.0)


def test_labels_at_sea_are_mapped_at_sea_and_covariates_leave_no_map():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"lon": rng.uniform(-40, -30, 40), "lat": rng.uniform(30, 40, 40)})
    table["salt"], table["depth"] = table["lat"] + rng.normal(size=40), rng.normal(size=40)
    settings = {"rungs": ["random"], "seeds": 1, "encoders": "xyz", "models": ["ridge"]}
    found = survey(sx.evaluate(table, "salt", **settings))
    assert found.raster["prediction"].notnull().all()
    assert found.following["lat"].between(29, 41).all()
    assert survey(sx.evaluate(table, "salt", covariates="depth", **settings)) is None


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda ladder: ladder.trust(encoder="mind"), "no encoder 'mind'; there are"),
        (lambda ladder: ladder.trust(rung="3°"), "no rung '3°'; there are 'random'"),
        (lambda ladder: ladder.next_labels(0), "count must be at least 1"),
    ],
)
def test_unknown_names_are_refused(europe, ask, message):
    with pytest.raises(ValueError, match=message):
        ask(europe)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

"""Where to trust: the area of applicability, distances on the ground, and the next labels."""

import numpy as np
import pandas as pd
import pytest
import torch

import satclip_explore as sx
from satclip_explore.geo import great_circle_km
from training.evaluation.contenders import Labels
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

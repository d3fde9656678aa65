"""Probabilities of classes, intervals of values, and how far either can be trusted."""

from __future__ import annotations

import numpy as np
import pytest

from satclip_explore.files.geotiff import geotiff_bytes
from satclip_explore.geo import equal_area_sample
from training.probe import train_probe
from training.probes.registry import PROBES
from training.probes.saved import load_probe
from training.probes.uncertainty import interval_table
from training.tasks.task import Task

QUICK = {
    "mlp": {"steps": 60, "hidden_dim": 8},
    "full-batch-mlp": {"steps": 60, "hidden_dim": 8},
}


@pytest.fixture(scope="module")
def zones():
    lonlat = equal_area_sample(400, seed=0)
    codes = np.digitize(lonlat[:, 1], [-30, 30])
    return Task("zones", "classification", lonlat, codes, ("south", "lat", "north"))


@pytest.fixture(scope="module")
def heights():
    lonlat = equal_area_sample(600, seed=1)
    noise = np.random.default_rng(0).normal(size=600)
    return Task("heights", "regression", lonlat, 100 * np.sin(lonlat[:, 1] / 30) + 5 * noise)


def run(task, model="linear", **more):
    settings = QUICK.get(model)
    return train_probe(
        task, model=model, encoder="xyz", baselines=False, seeds=2, settings=settings, **more
    )


@pytest.mark.parametrize("model", [kind for kind in PROBES if kind != "nearest"])
def test_every_probe_gives_probabilities(model, zones, tmp_path):
    result = run(zones, model)
    places = equal_area_sample(100, seed=5)
    chances = result.predict_proba(places)
    # A class that is called as a coordinate keeps a name of its own.
    assert list(chances) == ["lon", "lat", "south", "lat (class)", "north"]
    table = chances.iloc[:, 2:].to_numpy()
    np.testing.assert_allclose(table.sum(1), 1.0, atol=1e-5)
    likeliest = np.array(zones.classes)[table.argmax(1)]
    assert (likeliest == result.predict(places)["prediction"]).all()
    loaded = load_probe(result.save(tmp_path / "probe.safetensors"))
    np.testing.assert_allclose(loaded.predict_proba(places).iloc[:, 2:], table, atol=1e-6)
    with pytest.raises(ValueError, match="see predict_proba"):
        result.predict_interval(places)


def test_probability_and_entropy_rasters_agree_with_places(zones):
    result = run(zones)
    chances = result.predict_raster(30.0, kind="probability")
    assert chances.dims == ("lat", "lon", "class")
    assert list(chances["class"].values) == list(zones.classes)
    grid = np.stack(np.meshgrid(chances.lon, chances.lat), axis=-1).reshape(-1, 2)
    expected = result.predict_proba(grid).iloc[:, 2:].to_numpy().reshape(chances.shape)
    np.testing.assert_allclose(chances, expected, atol=1e-5)
    entropy = result.predict_raster(30.0, kind="entropy")
    bits = -(expected * np.log2(np.clip(expected, 1e-30, 1))).sum(2)
    np.testing.assert_allclose(entropy, bits, atol=1e-4)
    assert entropy.attrs["units"] == "bit"
    assert geotiff_bytes(chances)[:4] == b"II*\x00"
    cut = result.predict_raster(1.0, kind="entropy", region="Kenya")
    assert np.isnan(cut).any()
    with pytest.raises(ValueError, match="kind must be one of prediction, probability, entropy"):
        result.predict_raster(30.0, kind="chance")


def test_a_raster_tells_how_far_it_is(zones):
    told = []
    run(zones).predict_raster(30.0, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (6, 6)


def test_calibration_of_classes_is_the_table_of_the_test_places(zones):
    result = run(zones)
    rows = result.split.test
    chances = result.predict_proba(zones.lonlat[rows]).iloc[:, 2:].to_numpy()
    table = result.calibration
    assert table.places.sum() == len(rows)
    right = chances.argmax(1) == zones.target[rows]
    assert (table.frequency * table.places).sum() == pytest.approx(right.sum())
    assert (table.confidence * table.places).sum() == pytest.approx(chances.max(1).sum(), rel=1e-4)
    assert 0.0 <= result.calibration_error < 0.2


def test_intervals_hold_as_often_as_they_say(heights, tmp_path):
    result = run(heights)
    fresh = equal_area_sample(2000, seed=9)
    truth = 100 * np.sin(fresh[:, 1] / 30) + 5 * np.random.default_rng(7).normal(size=2000)
    for level in (0.5, 0.9):
        held = result.predict_interval(fresh, level=level)
        inside = (held.low <= truth) & (truth <= held.high)
        # 300 test places calibrate: the coverage itself has a deviation of up to 0.03.
        assert inside.mean() == pytest.approx(level, abs=0.09)
        np.testing.assert_allclose(held.low + held.high, 2 * held.prediction, atol=1e-9)
    table = result.calibration
    assert table.level.tolist() == [0.5, 0.8, 0.9, 0.95]
    np.testing.assert_allclose(table.coverage, table.level, atol=0.08)
    loaded = load_probe(result.save(tmp_path / "probe.safetensors"))
    assert loaded.predict_interval(fresh).equals(result.predict_interval(fresh))
    with pytest.raises(ValueError, match=r"needs 999 test places; there were 300"):
        result.predict_interval(fresh, level=0.999)
    for refused in (result.predict_proba, lambda _: result.predict_raster(30.0, kind="entropy")):
        with pytest.raises(ValueError, match="is a value: predict_interval"):
            refused(fresh)
    with pytest.raises(ValueError, match="of classes"):
        _ = result.calibration_error


def test_interval_table_on_normal_errors():
    table = interval_table(np.random.default_rng(0).normal(size=4000))
    np.testing.assert_allclose(table.width / 2, [0.674, 1.282, 1.645, 1.960], rtol=0.05)
    np.testing.assert_allclose(table.coverage, table.level, atol=0.02)

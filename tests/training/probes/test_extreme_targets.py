"""Targets near the ends of float64, or nearly constant: scores are numbers, or there are none."""

import numpy as np
import pytest

from satclip_explore.geo import equal_area_sample, unit_vectors
from training.probe import train_probe
from training.probes.registry import MODELS
from training.probes.saved import load_probe
from training.tasks.splits import Split
from training.tasks.task import Task

LONLAT = equal_area_sample(300, seed=0)
HEIGHT = unit_vectors(LONLAT)[:, 2]


def heights(mean=0.0, deviation=1.0):
    """A target that is linear in the place."""
    return Task("heights", "regression", LONLAT, mean + deviation * HEIGHT)


def run(task, model="linear", **options):
    short = {"mlp": {"steps": 30, "precision": "float32"}, "full-batch-mlp": {"steps": 200}}
    return train_probe(
        task, model=model, settings=short.get(model), encoder="xyz", baselines=["nearest"], seeds=2,
        **options,
    )  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("mean", "deviation"), [(0, 1e165), (0, -1e165), (0, 1e-200), (1e9, 1.0), (-1e9, 1.0)]
)
def test_scores_and_predictions_are_those_of_a_plain_target(model, mean, deviation, tmp_path):
    plain, extreme = run(heights(), model), run(heights(mean, deviation), model)
    scores = extreme.metrics
    assert np.isfinite(scores.drop(columns=["difference", "low", "high"])).all(axis=None)
    # At a mean of 1e9 the targets themselves have seven digits left.
    assert scores.loc["xyz", "r2"] == pytest.approx(plain.metrics.loc["xyz", "r2"], abs=0.02)
    assert scores.loc["xyz", "mae"] < abs(deviation)
    assert all(len(text) < 30 for text in extreme.table().to_numpy().ravel())
    predicted = extreme.predict(LONLAT)["prediction"].to_numpy()
    wanted = extreme.task.target
    assert np.corrcoef((predicted - mean) / deviation, (wanted - mean) / deviation)[0, 1] > 0.9
    raster = load_probe(extreme.save(tmp_path / "probe")).predict_raster(30.0)
    assert np.isfinite(raster).all()
    assert np.isfinite(raster.spread).all()
    assert np.ptp(raster.to_numpy() / abs(deviation)) > 1.0


def test_rasters_of_plain_targets_stay_in_float32():
    assert run(heights(100.0)).predict_raster(30.0).dtype == np.float32


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_training_targets_that_are_all_alike_are_refused(sign):
    target = np.full(300, -1.6e-278 * sign)
    target[150:], target[0] = sign, 0.0
    task = Task("odd", "regression", LONLAT, target)
    split = Split(np.arange(150), np.arange(150, 300), "", {})
    with pytest.raises(ValueError, match="training targets of 'odd' must differ") as caught:
        run(task, split=split)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_test_target_beyond_every_score_is_refused(sign):
    target = np.where(np.arange(300) < 150, HEIGHT * 1e-100, sign)
    split = Split(np.arange(150), np.arange(150, 300), "", {})
    with pytest.raises(ValueError, match="standard deviations of the training targets; got"):
        run(Task("odd", "regression", LONLAT, target), split=split)


def test_without_r2_a_sentence_says_why():
    target = np.where(np.arange(300) < 150, HEIGHT, 0.5)
    split = Split(np.arange(150), np.arange(150, 300), "", {})
    result = run(Task("flat", "regression", LONLAT, target), split=split)
    assert "r2" not in result.table()
    assert "All test targets are the same, so there is no R² to give." in result.verdict()
    assert np.isfinite(result.metrics[["mse", "mae"]]).all(axis=None)

"""Counts: Poisson regression of their rates, from a table to a map and a file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from satclip_explore.geo import equal_area_sample, unit_vectors
from training.probe import train_probe
from training.probes.closed_forms import poisson_ridge
from training.probes.data import TrainingData
from training.probes.linear import LinearProbe
from training.probes.metrics import count_metrics
from training.probes.mlp import MLPProbe, MLPSettings
from training.probes.saved import load_probe
from training.tasks.tables import task_from_table


@pytest.fixture(scope="module")
def birds():
    """Counts whose rate depends on where the place is: none at one pole, many at the other."""
    lonlat = equal_area_sample(800, seed=0)
    rate = np.exp(1.0 + 2.0 * unit_vectors(lonlat)[:, 2])
    counts = np.random.default_rng(0).poisson(rate)
    return pd.DataFrame({"lon": lonlat[:, 0], "lat": lonlat[:, 1], "birds": counts, "rate": rate})


def run(birds, model="linear", **more):
    more = {"encoder": "xyz", "baselines": False, "seeds": 2} | more
    return train_probe(birds, target="birds", kind="counts", model=model, **more)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 0.01, 10.0])
def test_poisson_regression_is_that_of_scikit_learn(alpha, weighted):
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 5))
    y = rng.poisson(np.exp(x @ [1.0, -1.0, 0.5, 0.0, 2.0] - 1.0)).astype(float)
    each = rng.uniform(0.5, 2.0, 300) if weighted else np.ones(300)
    # scikit-learn weighs rows by their share.
    each /= each.mean()
    weights = torch.from_numpy(each) if weighted else None
    weight, bias = poisson_ridge(torch.from_numpy(x), torch.from_numpy(y), 300 * alpha, weights)
    model = linear_model.PoissonRegressor(alpha=alpha, tol=1e-10, solver="newton-cholesky")
    model.fit(x, y, sample_weight=each)
    np.testing.assert_allclose(weight[0], model.coef_, atol=1e-5)
    np.testing.assert_allclose(bias[0], model.intercept_, atol=1e-5)


def test_without_a_count_to_fit_the_largest_penalty_is_taken_and_said():
    vectors = torch.from_numpy(unit_vectors(equal_area_sample(40, seed=0))).float()
    valid = torch.arange(40) < 4
    data = TrainingData(vectors, vectors, (valid * 3).float(), 0, valid, counted=True)
    settings = LinearProbe.fit(data, [0]).settings
    assert settings["penalty"] == 1e5
    assert "all 0" in settings["penalty_chosen_by"]
    data = replace(data, target=torch.arange(40).float() % 3)
    assert "penalty_chosen_by" not in LinearProbe.fit(data, [0]).settings


def test_scores_of_counts_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(2)
    target, rate = rng.poisson(2.0, 200).astype(float), rng.uniform(0.5, 5.0, 200)
    scores = count_metrics(rate, target)
    assert scores["deviance"] == pytest.approx(metrics.mean_poisson_deviance(target, rate))
    assert scores["d2"] == pytest.approx(metrics.d2_tweedie_score(target, rate, power=1))
    assert "d2" not in count_metrics(rate, np.ones(200))


@pytest.mark.parametrize("model", ["linear", "mlp"])
def test_rates_are_found_mapped_and_kept_in_a_file(birds, model, tmp_path):
    settings = {"steps": 200} if model == "mlp" else None
    result = run(birds, model, baselines=["nearest"], settings=settings)
    scores = result.metrics.loc["xyz"]
    assert scores["d2"] > 0.55
    assert scores["d2"] > result.metrics.loc["nearest", "d2"] > 0.3
    assert scores["deviance"] < result.metrics.loc["nearest", "deviance"]
    assert result.metrics.loc["nearest", "high"] < 0.0  # deviance: less is better
    assert any("xyz is better than nearest in deviance" in line for line in result.verdict())
    predicted = result.predict(birds)
    assert np.corrcoef(np.log(predicted["prediction"]), np.log(birds["rate"]))[0, 1] > 0.95
    raster = result.predict_raster(30.0)
    assert raster.min() > 0.0
    assert raster.sel(lat=75.0).mean() > 5.0 * raster.sel(lat=-75.0).mean()
    assert (result.predict_interval(birds)["low"] >= 0.0).all()
    kept = load_probe(result.save(tmp_path / "birds.safetensors"))
    pd.testing.assert_frame_equal(kept.predict(birds), predicted)


def test_a_rate_of_the_linear_probe_is_the_mean_of_its_counts(birds):
    """As any Poisson regression with an intercept: predictions sum to the counts."""
    vectors = torch.from_numpy(unit_vectors(birds[["lon", "lat"]].to_numpy())).float()
    target = torch.tensor(birds["birds"].to_numpy(np.float32))
    data = TrainingData(
        vectors, vectors, target / target.mean(), 0, torch.arange(800) % 10 == 0, counted=True
    )
    rate = LinearProbe.fit(data, [0]).scores(vectors, vectors).exp()
    assert float(rate.mean()) == pytest.approx(1.0, rel=1e-4)
    mlp = MLPProbe.fit(data, [0, 1], MLPSettings(steps=300)).scores(vectors, vectors).exp()
    np.testing.assert_allclose(mlp.mean(1)[:, 0], 1.0, atol=0.1)


def test_counts_are_asked_about_and_other_numbers_are_refused(birds):
    with pytest.raises(ValueError, match="or kind='counts'"):
        task_from_table(birds, "birds")
    below = birds.assign(birds=birds["birds"] - 1)
    with pytest.raises(ValueError, match=r"kind='classification' or kind='regression'\."):
        task_from_table(below, "birds")
    with pytest.raises(ValueError, match="counts must be whole numbers from 0 .* holds -1"):
        run(below)
    with pytest.raises(ValueError, match="counts must be whole numbers"):
        task_from_table(birds, "rate", kind="counts")
    with pytest.raises(ValueError, match="predicts no counts; take linear or mlp"):
        run(birds, "kriging")

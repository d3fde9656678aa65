import numpy as np
import pytest

from satclip_explore.geo import equal_area_sample
from training.probes.metrics import (
    classification_metrics,
    paired_bootstrap,
    regression_metrics,
    standard_deviation,
)


def test_classification_metrics_equal_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    target = rng.integers(0, 9, 400)
    ranked = np.argsort(rng.random((400, 12)) - 0.4 * np.eye(12)[target], axis=1)[:, :5]
    scores = classification_metrics(ranked, target)
    predicted = ranked[:, 0]
    assert scores["accuracy"] == pytest.approx(metrics.accuracy_score(target, predicted))
    # Recall of the classes that are present, which is what scikit-learn's score is without them.
    recall = metrics.recall_score(target, predicted, average="macro", labels=np.unique(target))
    assert scores["balanced_accuracy"] == pytest.approx(recall)
    assert scores["macro_f1"] == pytest.approx(metrics.f1_score(target, predicted, average="macro"))
    assert scores["top5"] == pytest.approx((ranked == target[:, None]).any(1).mean())


def test_regression_metrics_equal_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    target = rng.normal(5, 3, 200)
    predicted = target + rng.normal(0, 1, 200)
    scores = regression_metrics(predicted, target, 3.0)
    assert scores["mse"] == pytest.approx(metrics.mean_squared_error(target, predicted) / 9)
    assert scores["r2"] == pytest.approx(metrics.r2_score(target, predicted))
    assert scores["mae"] == pytest.approx(metrics.mean_absolute_error(target, predicted))


@pytest.mark.parametrize("nearly", [0.0, 1e-15])
def test_a_constant_test_set_has_no_r2(nearly):
    target = np.ones(3) + nearly * np.arange(3)
    scores = regression_metrics(np.zeros(3), target, 1.0)
    assert set(scores) == {"mse", "mae"}
    assert scores["mse"] == pytest.approx(1.0)


@pytest.mark.parametrize("unit", [1e-240, -1e-200, 1e165, -1e249])
def test_regression_metrics_do_not_depend_on_the_unit(unit):
    rng = np.random.default_rng(0)
    target, error = rng.normal(size=50), rng.normal(size=50)
    expected = regression_metrics(target + error, target, 0.5)
    scores = regression_metrics(unit * (target + error), unit * target, 0.5 * abs(unit))
    assert scores["mse"] == pytest.approx(expected["mse"])
    assert scores["r2"] == pytest.approx(expected["r2"])
    assert scores["mae"] / abs(unit) == pytest.approx(expected["mae"])
    assert standard_deviation(unit * error) / abs(unit) == pytest.approx(error.std())


def test_the_bootstrap_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    lonlat = equal_area_sample(600, seed=0)
    covered = 0
    for _ in range(60):
        one, two = rng.normal(0.3, 1, 600), rng.normal(0.0, 1, 600)
        difference, low, high = paired_bootstrap(one, two, lonlat, n_draws=200)
        assert low <= difference <= high
        covered += low <= 0.3 <= high
    # Binomial around 57 of 60; 4 sd is 7.
    assert 50 <= covered <= 60


def test_neighbors_do_not_count_as_independent():
    rng = np.random.default_rng(0)
    centers = equal_area_sample(30, seed=1)
    lonlat = np.repeat(centers, 20, axis=0)
    scores = np.repeat(rng.normal(size=30), 20)
    _, low, high = paired_bootstrap(scores, np.zeros(600), lonlat)
    # Thirty independent values of sd 1: the half width is near 2 / sqrt(30) = 0.37, not 0.08.
    assert 0.25 < (high - low) / 2 < 0.5

import numpy as np
import pytest

from satclip_explore.geo import equal_area_sample
from training.probes.metrics import classification_metrics, paired_bootstrap, regression_metrics


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


def test_r2_of_a_constant_test_set_is_not_a_number():
    assert np.isnan(regression_metrics(np.zeros(3), np.ones(3), 1.0)["r2"])


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

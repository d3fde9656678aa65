"""Geo-bias: the published surprisal, and what it says of errors that huddle and that do not."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import norm

from satclip_explore.geo import unit_vectors
from training.evaluation.cells import Cell
from training.evaluation.geobias import (
    background,
    bias_by_rung,
    bias_words,
    geo_bias,
    nearest_others,
    surprisal,
)
from training.tasks.tables import task_from_table


def published(values, weights):
    """Minus the log-density of Moran's numerator, written pair by pair from the published code."""
    different, counts = np.unique(values, return_counts=True)
    total, average, most = len(values), values.mean(), counts.argmax()
    mean = variance = 0.0
    for i, a in enumerate(different):
        for j, b in enumerate(different):
            if i == j:
                expected = 4 * counts[i] * (counts[i] - 1) / total - 1
                spread = 8 * counts[i] * (counts[i] - 1) / total
                spread *= 1 - 4 * (2 * counts[i] - 1) / (3 * total)
                factor = (a - different[most]) ** 4
            else:
                expected = 4 * counts[i] * counts[j] / total
                spread = expected * (1 - 4 * max(counts[i], counts[j]) / total)
                middle = different[most] - average
                factor = (a - average) * (b - average) - 2 * (a - average) * middle + middle**2
                factor = factor**2
            mean += (a - average) * (b - average) * expected
            variance += 0.0 if most in (i, j) else factor * spread
    away = values - average
    return -np.log(norm.pdf(away @ weights @ away, mean, np.sqrt(variance)))


@pytest.mark.parametrize("marks", [[1.0], [-1.0, 1.0]])
def test_the_surprisal_is_the_published_one(marks):
    rng = np.random.default_rng(0)
    points = unit_vectors(rng.uniform(-9, 9, (120, 2)))
    values = np.append(rng.choice(marks, 20), np.zeros(100))
    neighbors = nearest_others(points)
    weights = np.zeros((120, 120))
    for own, near in enumerate(np.argsort(-points @ points.T, axis=1)):
        weights[own, near[near != own][:4]] = 1.0
    np.testing.assert_array_equal(weights.sum(1), 4.0)
    both = np.stack([values, values[::-1]])
    expected = [published(each, weights) for each in both]
    np.testing.assert_allclose(surprisal(both, neighbors), expected, rtol=1e-9)


def test_the_background_is_the_published_rings():
    lon, lat, angle, n_places = 13.0, 52.0, 0.1, 20
    step = 1 / np.sqrt(np.ceil(5 * n_places / (np.pi * angle**2)))
    rings = []
    for ring in range(1, int(np.ceil(angle / step)) + 1):
        count = int(np.ceil(2 * np.pi * ring))
        turns = [-180.0 + 360.0 * number / count for number in range(count)]
        rings += [(turn, 90.0 - np.degrees(step * ring)) for turn in turns]
    turned = Rotation.from_euler("yz", [90.0 - lat, lon], degrees=True)
    expected = turned.apply(unit_vectors(np.array(rings)))
    found = background(unit_vectors([[lon, lat]])[0], angle, n_places)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert len(found) == pytest.approx(5 * n_places, rel=0.4)


@pytest.mark.parametrize(("degrees", "middle"), [(60.0, 0.0), (0.1, 48.0)])
def test_errors_that_huddle_score_above_errors_that_are_strewn(degrees, middle):
    rng = np.random.default_rng(1)
    lonlat = rng.uniform(-degrees, degrees, (600, 2)) + np.array([179.99, middle])
    huddled = lonlat[:, 0] < np.quantile(lonlat[:, 0], 0.25)
    there = geo_bias(lonlat, huddled)
    strewn = geo_bias(lonlat, rng.permutation(huddled))
    assert there.relative > 1.0
    assert abs(strewn.relative) < 0.3
    assert there.radius_km == strewn.radius_km
    assert there.radius_km == pytest.approx(111 * 2 * degrees * np.sqrt(30 / 600 / np.pi), rel=0.3)


@pytest.mark.parametrize("classes", [False, True])
def test_each_rung_is_scored_by_its_worst_quarter_or_its_wrong_classes(classes):
    lonlat = np.random.default_rng(2).uniform(-60, 60, (300, 2))
    west = lonlat[:, 0] < -30.0
    y = np.where(west, "west", "east") if classes else 10.0 * west + np.sin(lonlat[:, 1])
    task = task_from_table(pd.DataFrame({"lon": lonlat[:, 0], "lat": lonlat[:, 1], "y": y}), "y")
    right = task.classes.index("east") if classes else 0
    guess = np.full((2, 300), right, dtype=int if classes else float)
    cells = {"random": Cell(guess, np.zeros((2, 300))), "40°": Cell(1 - guess, np.zeros((2, 300)))}
    found = bias_by_rung(task, cells)
    assert found.index.tolist() == ["random", "40°"]
    assert found.loc["random", "relative"] > 1.0
    said = bias_words(found, "idw")
    assert said.startswith(f"Geo-bias of idw: {found.loc['random', 'relative']:+.1f} (random) and ")
    assert bias_words(found.assign(relative=np.nan), "idw").startswith("Geo-bias: not known")


def test_poles_and_places_that_are_one_have_a_score():
    lonlat = np.array([[0.0, 90.0]] * 20 + [[lon, 89.5] for lon in range(0, 360, 5)])
    found = geo_bias(lonlat, np.arange(len(lonlat)) % 3 == 0)
    assert np.isfinite([found.unmarked, found.marked, found.by_chance]).all()
    assert found.neighborhoods == len(lonlat)


def test_without_errors_there_is_no_score():
    found = geo_bias(np.random.default_rng(0).uniform(-9, 9, (50, 2)), np.zeros(50, dtype=bool))
    assert found.neighborhoods == 0
    assert np.isnan(found.marked)

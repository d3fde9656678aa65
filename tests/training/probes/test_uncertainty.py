"""Conformal quantiles and calibration tables."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.probes.uncertainty import (
    calibration_table,
    conformal_quantile,
    expected_calibration_error,
)


def test_conformal_quantile_is_the_rank_of_the_definition():
    scores = np.arange(1.0, 10.0)
    assert conformal_quantile(scores, 0.9) == 9.0  # ⌈10 * 0.9⌉ = 9
    assert conformal_quantile(scores[::-1], 0.5) == 5.0
    assert conformal_quantile(scores, 0.91) == math.inf
    assert conformal_quantile(np.zeros(0), 0.5) == math.inf


def test_conformal_quantile_covers_new_draws_as_promised():
    rng = np.random.default_rng(0)
    covered = [
        np.abs(rng.standard_normal(200)) <= conformal_quantile(np.abs(rng.standard_normal(50)), 0.8)
        for _ in range(400)
    ]
    # The mean coverage is 41/51 = 0.804 exactly; its standard error here is 0.003.
    assert np.mean(covered) == pytest.approx(41 / 51, abs=0.012)


@pytest.mark.parametrize("level", [0.0, 1.0, -1, 90])
def test_conformal_quantile_refuses_what_is_no_level(level):
    with pytest.raises(ValueError, match="level must lie above 0 and below 1"):
        conformal_quantile(np.ones(5), level)
    with pytest.raises(ValueError, match="some are NaN"):
        conformal_quantile(np.array([1.0, np.nan]), 0.5)


def test_calibration_by_hand():
    confidence = np.array([0.0, 0.05, 0.1, 0.95, 1.0, 0.95])
    right = np.array([False, False, True, True, True, False])
    table = calibration_table(confidence, right)
    assert table.places.tolist() == [3, 3]
    assert table.low.tolist() == [0.0, 0.9]
    assert table.confidence.tolist() == pytest.approx([0.05, 2.9 / 3])
    assert table.frequency.tolist() == pytest.approx([1 / 3, 2 / 3])
    expected = 0.5 * (1 / 3 - 0.05) + 0.5 * (2.9 / 3 - 2 / 3)
    assert expected_calibration_error(table) == pytest.approx(expected)


def test_honest_probabilities_are_calibrated_and_bold_ones_are_not():
    rng = np.random.default_rng(1)
    chance = rng.random(100_000)
    right = rng.random(100_000) < chance
    assert expected_calibration_error(calibration_table(chance, right)) < 0.01
    bold = np.clip(2 * chance - 0.5, 0, 1)
    assert expected_calibration_error(calibration_table(bold, right)) > 0.1

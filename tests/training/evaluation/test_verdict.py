"""The verdict: an answer first, in words that a reader outside of the field says back."""

import numpy as np
import pandas as pd
import pytest

from training.evaluation.verdict import compare, holm, paired, verdict, words_km

RUNGS = {"random": 20.0, "5°": 300.0, "region": 1234.0}
"""Kilometers to the nearest known value, by rung."""


def said(
    gains, *, spread=0.01, interpolation=0.6, coordinates=0.2, metric="r2", erratic=0.0, km=RUNGS
):
    """The verdict on one embedding that is so much ahead of interpolation, rung by rung."""
    rows = []
    for rung, gain in zip(km, gains, strict=False):
        scores = {"constant": 0.0, "idw": interpolation, "lonlat": coordinates,
                  "enc": interpolation + gain}  # fmt: skip
        # Up and down from fold to fold: an interval is 1.41 times as wide to each side.
        swings = {"constant": erratic, "enc": spread}
        for name, score in scores.items():
            for fold in range(10):
                found = score + swings.get(name, 0.0) * (-1) ** fold
                rows.append((rung, name, fold // 5, fold % 5, 20, 80, found))
    columns = ["rung", "contender", "seed", "fold", "test_places", "train_places", metric]
    frame = pd.DataFrame(rows, columns=columns)
    return verdict(frame, compare(frame, metric), pd.Series(km), metric)


def test_ahead_everywhere_is_yes_with_a_line_for_each_distance_and_what_they_mean():
    lines = said([0.2, 0.3, 0.1])
    assert lines[0] == (
        "Yes: enc predicts better than interpolation at every distance that was tested (20 km to "
        "1,200 km to a known value)."
    )
    assert lines[1].startswith(
        "20 km to the nearest known value (places at random), better (statistically significant): "
        "R² 0.80 by enc, 0.60 by interpolation; a difference of +0.20 (+0."
    )
    assert "300 km to the nearest known value (cells of 5°), better" in lines[2]
    assert "1,200 km to the nearest known value (continents), better" in lines[3]
    assert [line.split(" to ")[0] for line in lines[1:-1]] == ["20 km", "300 km", "1,200 km"]
    assert "Holm" in lines[-1]
    assert "R² is the share of the variation" in lines[-1]


def test_ahead_in_one_place_depends_on_distance_and_says_where():
    start = "Depends on distance: enc predicts better than interpolation at "
    assert said([0.3, 0.3, -0.01])[0] == (
        f"{start}2 of the 3 distances that were tested (20 km to 300 km to a known value); at 1 it "
        "does not help."
    )
    assert said([0.3, 0.02, 0.3], spread=0.05)[0] == (
        f"{start}2 of the 3 distances that were tested (some between 20 km and 1,200 km to a known "
        "value); at 1 it is ahead, but that is not proven."
    )


def test_rungs_at_one_distance_do_not_contradict_each_other():
    km = {"random": 170.0, "0.25°": 171.0, "0.5°": 174.0, "1°": 180.0}
    lines = said([0.3, 0.02, 0.3, -0.3], spread=0.05, km=km)
    assert lines[0] == (
        "Depends on distance: enc predicts better than interpolation at 2 of the 4 distances that "
        "were tested (170 km to a known value); at 1 it is ahead, but that is not proven; at 1 it "
        "does not help."
    )
    assert lines[2].startswith("170 km to the nearest known value (cells of 0.25°), ahead, but not")


@pytest.mark.parametrize(
    ("gains", "settings", "answer", "kinds"),
    [
        ([0.08, 0.08], {"spread": 0.1}, "Perhaps: enc is ahead", ["ahead, but not proven"] * 2),
        ([-0.2, -0.3], {}, "No: interpolation is", ["worse (statistically"] * 2),
        ([-0.02, -0.3], {"spread": 0.05}, "No: interpolation", ["no better", "worse (stat"]),
        ([0.04, -0.3], {"spread": 0.08}, "Not clearly: an", ["ahead, but", "worse (stat"]),
        ([0.004], {"spread": 0.08}, "No: interpolation is as good", ["no better"]),
        ([0.0], {"interpolation": -0.1, "coordinates": -0.3}, "No: nothing", ["nothing helps"]),
        ([0.2], {"coordinates": 0.9}, "Yes, but no embedding is needed", ["better (stat"]),
    ],
)
def test_other_answers_have_their_words(gains, settings, answer, kinds):
    lines = said(gains, **settings)
    assert lines[0].startswith(answer)
    assert len(lines) == len(kinds) + 2
    for line, kind in zip(lines[1:-1], kinds, strict=True):
        assert " km to the nearest known value (" in line
        assert f"), {kind}" in line


def test_coordinates_that_beat_both_are_not_kept_quiet():
    lines = said([-0.2, -0.3], coordinates=0.9)
    assert lines[0].endswith("; a model of coordinates alone scores higher than both.")
    assert all(line.endswith("; 0.90 by coordinates alone.") for line in lines[1:-1])
    assert "alone" not in "".join(said([-0.2, -0.3])[:-1])


def test_classes_are_counted_in_points():
    lines = said([0.2], metric="accuracy")
    assert "accuracy 80 % by enc, 60 % by interpolation; a difference of +" in lines[1]
    assert " points (+" in lines[1]
    assert "Accuracy is the share of places" in lines[-1]


def test_a_steady_score_is_skill_where_a_constant_guess_is_erratic():
    # Far rungs hold few folds whose means differ: the constant's own R² is all over.
    lines = said([0.2], spread=0.05, erratic=3.0)
    assert not any("Nothing helps" in line for line in lines)


def test_intervals_over_folds_know_that_folds_share_their_training_places():
    rng = np.random.default_rng(0)
    difference = rng.normal(0.1, 0.05, 25)
    mean, low, high, p = paired(difference, 0.25)
    plain = difference.std(ddof=1) / 5.0
    assert low < mean < high
    ratio = (high - low) / (2 * 2.0639 * plain)  # t of 24 degrees of freedom
    assert ratio == pytest.approx(np.sqrt(1 + 25 * 0.25), rel=1e-3)
    assert 0 < p < 1
    assert paired(np.zeros(5), 0.25)[3] == 1.0


def test_holm_is_the_textbooks():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize(
    ("km", "words"),
    [(0.0, "0 km"), (0.42, "420 m"), (8.04, "8.0 km"), (84.2, "84 km"), (1234.0, "1,200 km")],
)
def test_distances_have_two_digits(km, words):
    assert words_km(km) == words

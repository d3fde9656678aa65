from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from satclip_explore.fields import EmbeddedGrid
from satclip_explore.labels import predict_labels


@pytest.fixture
def globe(tiny_encoder) -> EmbeddedGrid:
    return EmbeddedGrid.of(tiny_encoder, 15.0)


def test_labeled_pixels_keep_their_labels(globe):
    places = [(7.5, 7.5), (-82.5, 37.5), (142.5, -22.5)]
    field = predict_labels(globe, places, [0, 1, 2], penalty=1e-6)
    for code, (lon, lat) in enumerate(places):
        here = field.sel(lon=lon, lat=lat)
        assert here.item() == code
        # Almost no penalty: the label's own score is 1 and the others' are 0.
        assert here["margin"].item() == pytest.approx(1.0, abs=1e-2)


def test_the_result_equals_primal_ridge(globe):
    places, codes = [(7.5, 7.5), (-82.5, 37.5), (20.0, 60.0)], np.array([0, 1, 1])
    field = predict_labels(globe, places, codes, penalty=0.5)
    x = globe.encoder.embed(places).astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    unit = globe.unit.double().numpy()
    center = unit.mean(axis=0)
    target = np.eye(2)[codes]
    x -= center
    weight = np.linalg.solve(x.T @ x + 0.5 * np.eye(x.shape[1]), x.T @ (target - target.mean(0)))
    scores = (unit - center) @ weight + target.mean(0)
    np.testing.assert_array_equal(field.to_numpy().ravel(), scores.argmax(1))
    # Float32 against float64.
    np.testing.assert_allclose(
        field["margin"].to_numpy().ravel(),
        np.abs(scores[:, 0] - scores[:, 1]).clip(0, 1),
        atol=1e-4,
    )


def test_a_code_without_a_label_never_wins(globe):
    field = predict_labels(globe, [(7.5, 7.5), (-82.5, 37.5)], [0, 2])
    assert set(np.unique(field)) <= {0, 2}
    assert np.isfinite(field["margin"]).all()


@pytest.mark.parametrize(
    ("places", "codes", "words"),
    [
        ([(0.0, 0.0)], [0], "at least two classes"),
        ([(0.0, 0.0), (1.0, 1.0)], [1, 1], "at least two classes"),
        ([(0.0, 0.0), (1.0, 1.0)], [0], "one class per place"),
        ([(0.0, 0.0), (1.0, 1.0)], [-1, 0], "start at 0"),
        ([(0.0, 0.0), (1.0, 91.0)], [0, 1], "latitude"),
    ],
)
def test_bad_labels_give_a_sentence(globe, places, codes, words):
    with pytest.raises(ValueError, match=words):
        predict_labels(globe, places, codes)


def test_the_penalty_must_be_positive(globe):
    with pytest.raises(ValueError, match="above 0"):
        predict_labels(globe, [(0.0, 0.0), (1.0, 1.0)], [0, 1], penalty=0.0)


@pytest.mark.parametrize("penalty", [Decimal("sNaN"), Fraction(1), None, True, "1"], ids=repr)
def test_a_penalty_that_is_no_number_is_refused(globe, penalty):
    with pytest.raises(TypeError, match="penalty must be a number"):
        predict_labels(globe, [(0.0, 0.0), (1.0, 1.0)], [0, 1], penalty=penalty)


@pytest.mark.parametrize("codes", [[0.5, 1.5], [None, 1], [Decimal("sNaN"), 1], [True, False]])
def test_codes_that_are_no_whole_numbers_are_refused(globe, codes):
    with pytest.raises(TypeError, match="class codes must be whole numbers"):
        predict_labels(globe, [(0.0, 0.0), (1.0, 1.0)], codes)

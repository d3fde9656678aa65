"""Conformal thresholds where places err together: as many witnesses as they are worth."""

import numpy as np
import pytest

from training.evaluation.conformal import calibrated, count_witnesses, threshold


def errors(rng, n_cells, *, shared):
    """Errors of cells of 1 to 80 places; `shared` of their spread is the cell's own."""
    cells = np.repeat(np.arange(n_cells), rng.integers(1, 80, n_cells))
    own = np.exp(shared * rng.normal(size=n_cells))
    return own[cells] * np.abs(rng.normal(size=len(cells))), cells


def test_places_that_err_alone_count_each_and_places_that_err_together_as_their_cell():
    rng = np.random.default_rng(0)
    scores, cells = errors(rng, 200, shared=0.0)
    assert count_witnesses(scores, cells, 0.9) > 0.7 * len(scores)
    together = rng.normal(size=200)[cells]
    assert 30 < count_witnesses(together, cells, 0.9) < 200
    assert count_witnesses(scores, np.zeros_like(cells), 0.9) == 1.0
    assert count_witnesses(np.ones_like(scores), cells, 0.9) == len(scores)


@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
def test_new_cells_lie_within_at_the_level_that_is_promised(shared):
    rng = np.random.default_rng(1)
    held = {"calibrated": [], "cells": []}
    for _ in range(400):
        scores, cells = errors(rng, 29, shared=shared)
        new = errors(rng, 7, shared=shared)[0]
        held["calibrated"].append((new <= calibrated(scores, cells, 0.9)).mean())
        held["cells"].append((new <= threshold(scores, 0.9, 29)).mean())
    assert 0.885 < np.mean(held["calibrated"]) < 0.915
    # As if all places of a cell were one: intervals are too wide.
    assert np.mean(held["cells"]) > np.mean(held["calibrated"]) + 0.005

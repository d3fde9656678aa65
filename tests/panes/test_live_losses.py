"""The curve of a run follows its callbacks."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("ipywidgets")

from satclip_explore.panes.jupyter.live_losses import LiveLosses, svg
from training.probe import Losses


def losses(step, name, valid, done=0):
    return Losses("probe", done, 4, encoder=name, step=step, valid=np.array(valid))


def test_the_curve_is_the_mean_over_seeds_that_have_a_loss():
    live = LiveLosses(redraw_seconds=0.0)
    live(losses(0, "a", [np.nan, np.nan]))
    live(losses(1, "a", [1.0, 3.0], done=2))
    live(losses(2, "a", [1.0, np.nan]))
    assert live.curves == {"a": [(1.0, 2.0), (2.0, 1.0)]}
    assert (live.bar.description, live.bar.value) == ("a", 0.0)
    assert "<polyline" in live.plot.value


def test_pretraining_reports_its_step():
    live = LiveLosses(redraw_seconds=0.0)
    live(SimpleNamespace(done=3, total=12, loss=2.5, stage="training"))
    assert live.curves == {"training": [(3.0, 2.5)]}
    assert live.bar.value == pytest.approx(0.25)


def test_it_redraws_at_most_so_often_and_once_at_the_end():
    live = LiveLosses(redraw_seconds=1e6)
    live(losses(0, "a", [2.0]))
    before = live.plot.value
    live(losses(1, "a", [1.0]))
    assert live.plot.value == before
    live.finish()
    assert live.plot.value != before
    assert live.bar.value == 1.0


def test_names_are_escaped_and_empty_curves_are_drawn():
    assert "<img" not in svg({"<img src=x>": [(0.0, 1.0), (1.0, 0.5)]})
    assert "<svg" in svg({})
    assert "polyline" in svg({"flat": [(0.0, 0.0)]})

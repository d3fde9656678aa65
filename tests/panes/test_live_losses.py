"""The curve of a run follows its callbacks."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("ipywidgets")

from satclip_explore.panes.jupyter.live_losses import LiveLosses
from satclip_explore.panes.losses import loss_chart
from satclip_explore.progress import Progress
from training.pretraining.progress import TrainingProgress
from training.probe import Losses


def losses(step, name, valid, done=0):
    return Losses("probe", done, 4, encoder=name, step=step, valid=np.array(valid))


def test_the_curve_is_the_mean_over_seeds_that_have_a_loss():
    live = LiveLosses(redraw_seconds=0.0)
    live(losses(0, "a", [np.nan, np.nan]))
    live(losses(1, "a", [1.0, 3.0], done=2))
    live(losses(2, "a", [1.0, np.nan]))
    assert live.points == [("a", 1.0, 2.0), ("a", 2.0, 1.0)]
    assert (live.bar.description, live.bar.value) == ("a", 0.0)
    assert "<polyline" in live.plot.value


def test_pretraining_reports_its_step():
    live = LiveLosses(redraw_seconds=0.0)
    live(SimpleNamespace(done=3, total=12, loss=2.5, stage="training"))
    assert live.points == [("training", 3.0, 2.5)]
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


def test_names_are_escaped_and_empty_charts_are_drawn():
    assert "<img" not in loss_chart([("<img src=x>", 0.0, 1.0), ("<img src=x>", 1.0, 0.5)])
    assert "polyline" not in loss_chart([])
    assert "<svg" in loss_chart([])
    assert "polyline" in loss_chart([("flat", 0.0, 0.0)])


def lines(markup):
    return [
        [tuple(map(float, pair.split(","))) for pair in points.split()]
        for points in re.findall(r"<polyline points='([^']*)'", markup)
    ]


def test_one_line_for_each_encoder_in_order_and_losses_that_are_missing_are_left_out():
    points = [("a", 0, 4.0), ("a", 50, np.nan), ("a", 100, 1.0), ("b", 0, 2.0), ("b", 100, np.inf)]
    first, second = lines(loss_chart(points))
    assert first == [(46.0, 12.0), (550.0, 208.0)]
    # Twice the least and half of the largest: halfway on a logarithmic scale.
    assert second == [(46.0, 110.0)]


def test_a_loss_that_is_not_positive_makes_the_scale_linear():
    ((_, low, middle),) = lines(loss_chart([("a", 0, 3.0), ("a", 1, -1.0), ("a", 2, 1.0)]))
    assert (low[1], middle[1]) == (208.0, 110.0)


def test_long_runs_are_thinned_and_keep_their_last_point():
    (line,) = lines(loss_chart([("a", step, 1.0 + step) for step in range(10_000)], last=20_000))
    assert 200 < len(line) < 300
    assert line[-1] == (pytest.approx(46 + 504 * 9999 / 20_000, abs=0.1), 12.0)


@pytest.mark.parametrize("progress", [Progress("features", 1, 4), TrainingProgress("training")])
def test_pretraining_is_shown_by_its_stage_while_it_has_no_encoder(progress):
    losses = LiveLosses(redraw_seconds=0.0)
    losses(progress)
    assert losses.bar.description == progress.stage
    assert losses.points == []

"""What every pane promises: its own selection, settings to quote, errors as a sentence."""

from __future__ import annotations

import threading

import param
import pytest

from satclip_explore.panes.background import Background
from satclip_explore.panes.base import Pane, Selection, sentence


class Answer(Pane):
    size = param.Integer(1, bounds=(1, 9), doc="of the answer")

    @sentence(lambda: "nothing")
    def view(self):
        if self.size == 7:
            raise ValueError("size must not be 7; choose another.")
        if self.size == 8:
            raise RuntimeError("a bug")
        return self.size


def test_a_nudge_moves_by_hundredths_of_the_view_and_stops_at_the_pole():
    selection = Selection(lonlat=(179.0, 89.0), bounds=(100.0, 0.0, 180.0, 90.0))
    selection.nudge(10, 10)
    assert selection.lonlat == (-173.0, 90.0)


def test_two_panes_without_a_selection_do_not_share_one():
    a, b = Answer(), Answer()
    a.selection.select(10.0, 20.0)
    assert b.selection.lonlat != a.selection.lonlat


def test_settings_name_only_what_differs_from_the_defaults():
    assert Answer().settings() == {}
    assert Answer(size=3, selection=Selection()).settings() == {"size": 3}


def test_a_value_error_becomes_the_panes_message_and_goes_away_again():
    pane = Answer(size=7)
    assert pane.view() == "nothing"
    assert pane.message == "size must not be 7; choose another."
    assert "size must not be 7" in pane.sentences()
    pane.size = 2
    assert pane.view() == 2
    assert pane.message == ""


def test_other_exceptions_are_raised():
    with pytest.raises(RuntimeError, match="a bug"):
        Answer(size=8).view()


def test_a_message_is_escaped():
    pane = Answer(message="<img src=x onerror=alert(1)>")
    assert "<img" not in pane.sentences()


def test_select_wraps_longitudes_and_refuses_bad_latitudes():
    selection = Selection()
    selection.select(190.0, 10.0)
    assert selection.lonlat == (-170.0, 10.0)
    with pytest.raises(ValueError, match="latitude"):
        selection.select(0.0, 91.0)
    with pytest.raises(ValueError, match="finite"):
        selection.lonlat = (float("nan"), 0.0)
    assert selection.lonlat == (-170.0, 10.0)


def test_look_clips_to_the_globe():
    selection = Selection()
    selection.look((-200.0, -95.0, 20.0, 30.0))
    assert selection.bounds == (-180.0, -90.0, 20.0, 30.0)
    with pytest.raises(ValueError, match="lon_min < lon_max"):
        selection.look((20.0, 0.0, 10.0, 5.0))


def test_a_second_job_stops_the_first_and_only_its_result_arrives():
    jobs, results, gate = Background(), [], threading.Event()

    def slow(job):
        gate.wait(10)
        job.check()
        return "slow"

    first = jobs.start(slow, results.append, results.append)
    jobs.start(lambda job: "fast", results.append, results.append)
    jobs.wait(10)
    gate.set()
    first.wait(10)
    assert first.is_set()
    assert results == ["fast"]


def test_a_value_error_in_a_job_goes_to_failed():
    jobs, done, failed = Background(), [], []

    def work(job):
        raise ValueError("no imagery")

    jobs.start(work, done.append, failed.append)
    jobs.wait(10)
    assert not done
    assert str(failed[0]) == "no imagery"

"""A page that is never connected costs nothing, whatever its figures were told."""

import threading
import time

import holoviews as hv
import panel as pn
import pytest
from bokeh.document.document import Document
from holoviews.plotting.plot import Plot
from panel.tests.util import serve_and_request

from satclip_explore.panes.served.server import wait_for_connection


@pytest.fixture
def served(monkeypatch):
    """Serve a figure, ask for its page without connecting, and change its range."""
    monkeypatch.setattr(Plot, "refresh", Plot.refresh)
    hv.extension("bokeh")
    asked, moved = [], threading.Event()
    add = Document.add_next_tick_callback

    def counted(document, callback):
        asked.append(callback)
        return add(document, callback)

    monkeypatch.setattr(Document, "add_next_tick_callback", counted)

    def page():
        ranges = hv.streams.RangeXY()
        view = hv.DynamicMap(lambda x_range, y_range: hv.Points([(0, 0)]), streams=[ranges])

        def move():
            ranges.event(x_range=(0.0, 1.0), y_range=(0.0, 1.0))
            moved.set()

        pn.state.curdoc.add_next_tick_callback(move)
        return pn.pane.HoloViews(view)

    def count():
        try:
            serve_and_request(page)
            assert moved.wait(10)
            time.sleep(0.3)
            return len(asked)
        finally:
            pn.state.kill_all_servers()

    return count


def test_a_figure_waits_for_its_page(served):
    wait_for_connection()
    assert served() < 10


def test_without_waiting_the_loop_never_rests(served):
    # Where this fails, HoloViews waits by itself, and `wait_for_connection` can go.
    assert served() > 10


def test_waiting_is_asked_for_once(monkeypatch):
    monkeypatch.setattr(Plot, "refresh", Plot.refresh)
    wait_for_connection()
    first = Plot.refresh
    wait_for_connection()
    assert Plot.refresh is first

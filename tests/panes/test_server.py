"""A page costs nothing before it is connected, whatever its figures were told, nor once closed."""

import asyncio
import gc
import html
import json
import logging
import threading
import time

import holoviews as hv
import panel as pn
import pytest
import tornado.web
from bokeh.application.application import Application
from bokeh.application.handlers.document_lifecycle import DocumentLifecycleHandler
from bokeh.application.handlers.function import FunctionHandler
from bokeh.document.document import Document
from holoviews.plotting.plot import Plot
from ipywidgets.widgets.widget import _instances
from panel.io.application import build_single_handler_application
from panel.io.session import generate_session
from panel.io.state import set_curdoc
from panel.models.markup import HTML
from panel.tests.util import serve_and_request
from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import WebSocketClosedError

from satclip_explore import app as app_module
from satclip_explore import explorer as explorer_module
from satclip_explore.explorer import Explorer
from satclip_explore.panes.background import Job
from satclip_explore.panes.served import closing, server
from satclip_explore.panes.served.closing import open_pages
from satclip_explore.panes.served.lanes import Lane
from satclip_explore.panes.served.server import wait_for_connection
from satclip_explore.panes.served.settings import Settings


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


def test_a_closed_page_lets_its_widgets_go(tiny_encoder, monkeypatch):
    trimmed = threading.Event()
    monkeypatch.setattr(closing, "TRIM_SECONDS", 0.0)
    monkeypatch.setattr(closing, "give_back_memory", trimmed.set)

    def page(document):
        with set_curdoc(document):
            Explorer(tiny_encoder).page().server_doc(document)
            jobs.append(Job())

    def widgets():
        return [one for one in _instances.values() if getattr(one, "_document", None) is document]

    jobs = []
    app = Application(FunctionHandler(page), DocumentLifecycleHandler())
    session = generate_session(app)
    document = session.document
    assert open_pages() == 1
    assert widgets()
    asyncio.run(app.on_session_destroyed(document.session_context))
    session.destroy()
    assert open_pages() == 0
    assert trimmed.wait(10)
    assert not widgets()
    assert jobs[0].is_set()
    jobs[0].deliver(lambda: pytest.fail("a page that is gone takes no results"))


@pytest.fixture
def opened(tiny_encoder, monkeypatch):
    """Ask for the app's page: `shown(words)` looks into it, `fill()` builds the dashboard."""
    # What a server changes for its whole process stays out of the other tests.
    monkeypatch.setattr(Plot, "refresh", Plot.refresh)
    monkeypatch.setattr(server, "allow_ipywidgets", lambda: None)
    monkeypatch.setattr(server, "threads", dict)
    monkeypatch.setattr(explorer_module, "load_once", lambda name: tiny_encoder)
    app = build_single_handler_application(app_module.__file__)
    app.add(DocumentLifecycleHandler())
    session = generate_session(app)
    document = session.document

    def shown(words):
        texts = (model.text for model in document.select({"type": HTML}))
        return any(words in html.unescape(text) for text in texts)

    def fill():
        ((soon, _),) = pn.state._onload.pop(document)
        with set_curdoc(document):
            soon()
            (callback,) = document.session_callbacks
            callback.callback()

    yield shown, fill
    asyncio.run(app.on_session_destroyed(document.session_context))
    session.destroy()
    assert open_pages() == 0


def test_the_app_answers_with_a_picture_and_is_built_in_its_place(opened):
    shown, fill = opened
    assert shown("Loading the encoder")
    assert not shown("The world as the encoder sees it</")
    fill()
    assert not shown("Loading the encoder")
    assert shown("The world as the encoder sees it</")


def test_a_page_that_cannot_be_built_says_what_to_do_and_not_why(opened, monkeypatch):
    def broken(name):
        raise OSError("/home/somebody/weights is unreadable")

    shown, fill = opened
    monkeypatch.setattr(explorer_module, "load_once", broken)
    with pytest.raises(OSError, match="unreadable"):
        fill()
    assert not shown("Loading the encoder")
    assert shown("could not be built. Reload it")
    assert not shown("somebody")


def test_owners_take_turns_and_too_much_waiting_is_refused():
    lane, order, go, started = Lane(1, waiting=4), [], threading.Event(), threading.Event()

    def block():
        started.set()
        go.wait(10)

    assert lane.put("first", block)
    assert started.wait(10)
    assert all(lane.put("greedy", lambda n=n: order.append(n)) for n in (1, 2, 3))
    assert lane.put("patient", lambda: order.append("patient"))
    assert not lane.put("late", lambda: order.append("late"))
    assert (lane.running, lane.waiting) == (1, 4)
    go.set()
    deadline = time.monotonic() + 10
    while len(order) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert order == [1, "patient", 2, 3]


def test_limits_come_from_the_environment_or_a_sentence():
    settings = Settings.from_environment({"SATCLIP_SESSIONS": "7"})
    assert (settings.sessions, settings.workers) == (7, Settings().workers)
    for bad in ("0", "-1", "many", "1e3", "99999999999"):
        with pytest.raises(ValueError, match="SATCLIP_SESSIONS must be a whole number"):
            Settings.from_environment({"SATCLIP_SESSIONS": bad})
    assert not Settings.from_environment({"SATCLIP_FETCH": "0"}).fetch
    with pytest.raises(ValueError, match="SATCLIP_FETCH must be 0 or 1; got 'no'"):
        Settings.from_environment({"SATCLIP_FETCH": "no"})


def test_a_supervisor_gets_an_answer_and_numbers():
    from satclip_explore.panes.served import routes

    async def ask(path):
        server = tornado.web.Application(routes.ROUTES).listen(0, "127.0.0.1")
        port = next(iter(server._sockets.values())).getsockname()[1]
        try:
            return await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}{path}")
        finally:
            server.stop()

    assert asyncio.run(ask("/healthz")).body == b"ok\n"
    answer = asyncio.run(ask("/metrics"))
    values = dict(line.split() for line in answer.body.decode().splitlines() if line[0] != "#")
    assert float(values["process_resident_memory_bytes"]) > 1e7
    assert values["satclip_sessions"] == "0"


def test_a_page_that_was_closed_is_one_line_and_an_error_keeps_its_traceback(monkeypatch, caplog):
    monkeypatch.setattr(server, "threads", dict)
    monkeypatch.setattr(server, "allow_ipywidgets", lambda: None)
    for _ in range(2):
        server.set_up_page()

    async def fail(error):
        raise error

    async def forget():
        for error in (WebSocketClosedError(), RuntimeError("a mistake of ours")):
            task = asyncio.ensure_future(fail(error))
            await asyncio.wait([task])
            del task
            gc.collect()

    with caplog.at_level(logging.INFO, "asyncio"):
        asyncio.run(forget())
    closed, mistake = (record for record in caplog.records if record.name == "asyncio")
    assert (closed.levelname, closed.exc_info) == ("INFO", None)
    assert closed.getMessage() == "a page was closed before a message reached it"
    assert (mistake.levelname, mistake.exc_info[0]) == ("ERROR", RuntimeError)


def test_a_line_of_the_log_is_json():
    from satclip_explore.panes.served.routes import JsonLines

    record = logging.LogRecord("a", logging.WARNING, "", 0, 'said "%s"\n', ("x",), None)
    line = json.loads(JsonLines().format(record))
    assert (line["level"], line["message"]) == ("warning", 'said "x"\n')

"""What strangers send to a server costs it little, and its end costs readers nothing."""

import asyncio
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from bokeh.util.token import generate_jwt_token
from panel.io.server import ComponentResourceHandler
from tornado.iostream import IOStream
from tornado.testing import bind_unused_port
from tornado.web import Application, HTTPError

from satclip_explore.panes import encoders as encoders_pane
from satclip_explore.panes.background import WORK
from satclip_explore.panes.encoders import EncodersPane
from satclip_explore.panes.pretrain.imagery_choice import BLUE_MARBLE, FOLDER, ImageryChoice
from satclip_explore.panes.served import guard, routes, settings
from satclip_explore.panes.served.server import is_stranger
from satclip_explore.panes.served.settings import Settings
from satclip_explore.panes.uploads import drop_field


@pytest.fixture
def limits(monkeypatch):
    monkeypatch.setattr(guard, "SETTINGS", replace(Settings(), request_seconds=1, grace_seconds=5))


class App(Application):
    """What Bokeh's own application says of itself."""

    def __init__(self, routes=()):
        self.websocket_origins = {"localhost:5006"}
        super().__init__(list(routes), websocket_max_message_size=20_000_000)


def answers(*requests):
    """Send requests to a server and wait, of each, until it has closed the connection."""

    async def ask(port, request):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        try:
            return await asyncio.wait_for(reader.read(), 10)
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    async def serve():
        socket, port = bind_unused_port()
        server = guard.LimitedServer(App(routes.ROUTES))
        server.add_sockets([socket])
        try:
            return await asyncio.gather(*(ask(port, request) for request in requests))
        finally:
            server.stop()

    return asyncio.run(serve())


def test_a_request_has_a_size_and_a_time(limits):
    began = time.monotonic()
    good, large, slow_head, slow_body = answers(
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000001\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
    )
    assert good.endswith(b"ok\n")
    assert large.startswith(b"HTTP/1.1 400")
    assert slow_head == slow_body == b""
    assert 0.5 < time.monotonic() - began < 5


def test_connections_from_elsewhere_are_counted_and_a_health_check_is_not(monkeypatch):
    monkeypatch.setattr(guard, "CONNECTIONS", 2)
    monkeypatch.setattr(guard.HTTPServer, "handle_stream", lambda *_: None)

    async def come():
        server = guard.LimitedServer(App())
        streams = []
        for address in ["192.0.2.1"] * 3 + ["127.0.0.1"]:
            socket, _ = bind_unused_port()
            streams.append(IOStream(socket))
            server.handle_stream(streams[-1], (address, 1))
        found = [stream.closed() for stream in streams]
        for stream in streams:
            stream.close()
        return found

    assert asyncio.run(come()) == [False, False, True, False]


def test_an_address_imports_no_module(monkeypatch):
    monkeypatch.delitem(sys.modules, "this", raising=False)
    handler = SimpleNamespace(_resource_attrs=ComponentResourceHandler._resource_attrs)
    with pytest.raises(HTTPError, match="404"):
        ComponentResourceHandler.parse_url_path(handler, "this/s/_css/x")
    assert "this" not in sys.modules
    with pytest.raises(HTTPError, match="403"):  # loaded, and not a resource
        ComponentResourceHandler.parse_url_path(handler, "os/path/sep/x")


def test_a_full_server_makes_no_session_for_pages_and_websockets(monkeypatch):
    monkeypatch.setattr(guard, "HARD_SESSIONS", 1)
    context = SimpleNamespace(_sessions={"a": "kept"}, _pending_sessions={})
    create = guard.ApplicationContext.create_session_if_needed
    with pytest.raises(HTTPError, match="503: this server is full"):
        asyncio.run(create(context, "b"))
    assert asyncio.run(create(context, "a")) == "kept"
    closed = []
    handler = SimpleNamespace(
        application_context=context, close=lambda code, reason: closed.append((code, reason))
    )
    token = generate_jwt_token("b")
    asyncio.run(guard.WSHandler._async_open(handler, token))
    assert closed == [(1013, guard.FULL)]


def test_a_stop_waits_for_what_runs_and_takes_nothing_new(limits, monkeypatch):
    order = []
    server = SimpleNamespace(
        _http=SimpleNamespace(stop=lambda: order.append("closed")),
        io_loop=SimpleNamespace(stop=lambda: order.append("stopped")),
    )

    def work():
        time.sleep(0.3)
        order.append("worked")

    assert WORK.put("a reader", work)
    asyncio.run(guard.finish(server))
    assert order == ["closed", "worked", "stopped"]
    monkeypatch.setattr(guard, "SETTINGS", replace(Settings(), grace_seconds=0))
    assert WORK.put("a reader", lambda: time.sleep(0.5))
    began = time.monotonic()
    asyncio.run(guard.finish(server))
    assert time.monotonic() - began < 0.4


def test_the_start_says_where_the_server_is_and_what_it_allows():
    server = guard.LimitedServer(App())
    said = server.described(("127.0.0.1", 5006))
    assert said.startswith("127.0.0.1:5006: origins localhost:5006, processes 1, threads ")
    assert "websocket message 20 MB" in said
    assert str(Settings().sessions) in said
    assert said.endswith("fetch 1")


def test_a_server_listens_to_its_own_machine_unless_told_otherwise():
    sockets, port = guard.bokeh.server.server.bind_sockets(None, 0)
    try:
        assert {socket.getsockname()[0] for socket in sockets} <= {"127.0.0.1", "::1"}
        assert port > 0
    finally:
        for socket in sockets:
            socket.close()


def test_another_machine_gets_no_page_before_that_was_asked_for(monkeypatch):
    monkeypatch.delenv("BOKEH_ALLOW_WS_ORIGIN", raising=False)
    plain = ["panel", "serve", "satclip_explore/app.py"]
    here, there = SimpleNamespace(remote_ip="127.0.0.1"), SimpleNamespace(remote_ip="192.0.2.1")
    assert is_stranger(there, plain)
    assert not is_stranger(here, plain)
    assert not is_stranger(None, plain)
    assert not is_stranger(there, [*plain, "--address", "0.0.0.0"])
    monkeypatch.setenv("BOKEH_ALLOW_WS_ORIGIN", "explorer.example.org")
    assert not is_stranger(there, plain)


def test_readers_of_a_public_server_fetch_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "SETTINGS", replace(Settings(), fetch=False))
    monkeypatch.setattr(encoders_pane, "download_weights", lambda *_, **__: pytest.fail("fetched"))
    pane = EncodersPane(lambda name: None)
    pane.choose(pane.table()["name"].tolist().index("satclip-vit16-l40"))
    words = "The weights of satclip-vit16-l40 cannot be had here: this server fetches nothing"
    assert pane.message.startswith(words)
    assert pane.asked == ""
    pane.asked = "satclip-vit16-l40"  # as a browser of its own making may send
    pane.fetch()
    pane._background.wait(10)
    assert pane.message.startswith(words)
    imagery = ImageryChoice(tmp_path)
    imagery.fetch()
    imagery._background.wait(10)
    assert imagery.message.startswith("Blue Marble cannot be had here")
    imagery.param.update(kind=FOLDER, folder="/etc")
    with pytest.raises(ValueError, match="folder cannot be had here"):
        imagery.open(night_lights=False)
    imagery.kind = BLUE_MARBLE
    assert not imagery.fetching


def test_an_upload_past_its_size_is_dropped_on_the_server_too():
    taken = []
    drop = drop_field(taken.append, "1KB")

    def send(name, chunk, size, chunks):
        data = {"name": name, "chunk": chunk, "data": b"x" * size, "total_chunks": chunks,
                "type": "text/csv"}  # fmt: skip
        drop._process_event(SimpleNamespace(event_name="upload_event", data=data))

    for chunk in (1, 2, 3):
        send("large.csv", chunk, 600, 3)
    send("large.csv", 3, 10, 3)
    assert (taken, drop._file_buffer) == ([], {})
    send("a.csv", 1, 600, 2)
    send("a.csv", 2, 100, 2)
    send("b.csv", 1, 5, 1)
    assert [(file.name, len(file)) for file in taken] == [("a.csv", 700), ("b.csv", 5)]
    assert list(drop.value) == ["b.csv"]

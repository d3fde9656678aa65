"""Requests bent in every way are answered, and the server goes on; see tests/test_fuzz.py."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest
import tornado.web
from hypothesis import given

from tests.bending import HANG_SECONDS, bent, seeds, thorough


@pytest.fixture(scope="module")
def port():
    """Where the routes that a supervisor asks are served."""
    pytest.importorskip("panel")
    from satclip_explore.panes.served import routes

    ready, found = threading.Event(), []

    async def serve():
        server = tornado.web.Application(routes.ROUTES).listen(0, "127.0.0.1")
        found.append(next(iter(server._sockets.values())).getsockname()[1])
        found.append((asyncio.get_running_loop(), stop := asyncio.Event()))
        ready.set()
        await stop.wait()
        server.stop()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    number, (loop, stop) = found
    yield number
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)


REQUESTS = [
    f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n".encode()
    for method in ("GET", "HEAD", "POST", "PATCH")
    for path in (
        "/healthz", "/metrics", "/metrics?x=%00", "/../../etc/passwd", "/%2e%2e/%ff",
        "/tiles/xyz.pca/1/0/1.png", "/tiles/xyz.pca/0/0/0.png", "/tiles/xyz.pca.json",
        "/tiles/..%2fxyz.pca/1/0/1.png",
    )
    for more in ("", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n",
                 "Range: bytes=-1\r\n")
]  # fmt: skip


@thorough
@given(seeds)
def test_a_bent_request_is_answered_and_the_server_goes_on(port, chance):
    request = chance.choice(REQUESTS)
    request = bent(chance, request, REQUESTS) if chance.random() < 0.9 else request
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_SECONDS) as line:
        line.sendall(request)
        line.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    assert b"Traceback" not in answer
    assert answer[:12] in (
        b"",
        *(f"HTTP/1.1 {code}".encode() for code in (200, 304, 400, 404, 405)),
    )

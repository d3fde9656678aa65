"""What a server does about strangers, floods, and its own end; set up by the plugin `routes`."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import time
from importlib import import_module
from typing import Any
from weakref import WeakSet

import bokeh.server.server
import panel as pn
from bokeh.server.contexts import ApplicationContext
from bokeh.server.server import Server
from bokeh.server.util import bind_sockets
from bokeh.server.views.ws import WSHandler
from bokeh.settings import settings as bokeh_settings
from bokeh.util.token import get_session_id
from panel.io.server import ComponentResourceHandler
from tornado.httpserver import HTTPServer
from tornado.web import HTTPError

from satclip_explore.panes.background import TRAININGS, WORK
from satclip_explore.panes.served import tiles
from satclip_explore.panes.served.server import threads
from satclip_explore.panes.served.settings import SETTINGS

LOG = logging.getLogger("satclip_explore")

CONNECTIONS = 8 * SETTINGS.sessions
"""A browser keeps six connections to a server, and a websocket for each page."""

HARD_SESSIONS = 2 * SETTINGS.sessions
"""Pages past `SETTINGS.sessions` hold one sentence; past these, not even that is made."""

FULL = "this server is full; try again in a few minutes"


class LimitedServer(HTTPServer):
    """An HTTP server whose requests have a size, a time, and a number, and which says so."""

    def initialize(self, app: Any, **options: Any) -> None:  # type: ignore[override]
        """Set what tornado leaves at 100 MB and one hour; websockets have limits of their own."""
        super().initialize(
            app,
            **options,
            max_body_size=SETTINGS.request_mb * 1_000_000,
            body_timeout=SETTINGS.request_seconds,
            idle_connection_timeout=SETTINGS.request_seconds,
        )
        self._streams = WeakSet[Any]()
        self._processes = 1

    def start(self, num_processes: int | None = 1, max_restarts: int | None = None) -> None:
        """Load the dashboard, which takes seconds in which no reader should wait, and go on."""
        import_module("satclip_explore.explorer")
        # What is loaded stays: looking it over for garbage took a fifth of the time of every page.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 10)
        self._processes = num_processes or 0
        super().start(num_processes, max_restarts)

    def add_sockets(self, sockets: Any) -> None:
        """Say where the server is and what it allows."""
        super().add_sockets(sockets)
        for socket in sockets:
            LOG.info("serving on %s", self.described(socket.getsockname()))

    def described(self, name: Any) -> str:
        """Return an address, and the settings of Panel and of the environment."""
        app: Any = self.request_callback
        origins = bokeh_settings.allowed_ws_origin() or app.websocket_origins
        largest = app.settings["websocket_max_message_size"]
        return (
            f"{':'.join(map(str, name[:2])) if isinstance(name, tuple) else name}: "
            f"origins {' '.join(sorted(origins))}, processes {self._processes or 'one per core'}, "
            f"threads {threads().get('nthreads', pn.config.nthreads)}, "
            f"websocket message {largest / 1e6:.0f} MB; {SETTINGS}"
        )

    def handle_stream(self, stream: Any, address: Any) -> Any:
        """Serve a connection, unless there are too many; a health check of this machine always."""
        local = address[0] in ("127.0.0.1", "::1")
        if not local and sum(not other.closed() for other in self._streams) >= CONNECTIONS:
            stream.close()
            return None
        self._streams.add(stream)
        return super().handle_stream(stream, address)


def only_loaded_modules() -> None:
    """Give no files of modules that are not loaded: Panel imports what an address names."""
    parse = ComponentResourceHandler.parse_url_path

    def parse_loaded(handler: Any, path: str) -> str:
        if path.partition("/")[0] not in sys.modules:
            raise HTTPError(404)
        return parse(handler, path)

    ComponentResourceHandler.parse_url_path = parse_loaded  # type: ignore[assignment,method-assign]


def bound_sessions() -> None:
    """Make no session past `HARD_SESSIONS`, whoever asks: a page, or a websocket without one."""
    create, connect = ApplicationContext.create_session_if_needed, WSHandler._async_open

    def is_full(context: Any, session_id: Any) -> bool:
        known = session_id in context._sessions or session_id in context._pending_sessions
        return not known and len(context._sessions) >= HARD_SESSIONS

    async def create_or_refuse(context: Any, session_id: Any, *request: Any) -> Any:
        if is_full(context, session_id):
            raise HTTPError(503, reason=FULL)
        return await create(context, session_id, *request)

    async def connect_or_refuse(handler: Any, token: str) -> None:
        if is_full(handler.application_context, get_session_id(token)):
            handler.close(1013, FULL)  # "try again later"
        else:
            await connect(handler, token)

    ApplicationContext.create_session_if_needed = create_or_refuse  # type: ignore[assignment,method-assign]
    WSHandler._async_open = connect_or_refuse  # type: ignore[assignment,method-assign]


async def finish(server: Any) -> None:
    """Take no more connections, and stop once what runs is done or the time for it is over."""
    server._http.stop()
    deadline = time.monotonic() + SETTINGS.grace_seconds
    LOG.info("stopping; what runs has %d s", SETTINGS.grace_seconds)
    while time.monotonic() < deadline and (
        WORK.running or WORK.waiting or TRAININGS.running or tiles.being_painted()
    ):
        await asyncio.sleep(0.1)
    server.io_loop.stop()


def set_up() -> None:
    """Put all of it in place, before Panel makes the server."""
    if bokeh.server.server.HTTPServer is LimitedServer:  # type: ignore[attr-defined]
        return
    bokeh.server.server.HTTPServer = LimitedServer  # type: ignore[attr-defined]
    # Without an address Bokeh's server listens to every network.
    bokeh.server.server.bind_sockets = lambda address, port: (  # type: ignore[attr-defined]
        bind_sockets(address or "localhost", port)
    )
    Server._sigterm = lambda server, *_: (  # type: ignore[method-assign]
        server.io_loop.add_callback_from_signal(finish, server)
    )
    only_loaded_modules()
    bound_sessions()

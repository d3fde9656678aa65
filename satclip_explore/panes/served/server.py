"""What a server needs before its first page: threads, figures that wait, no other machine."""

from __future__ import annotations

import logging
import os
import weakref
from typing import Any

import panel as pn
from panel.io.state import set_curdoc
from tornado.websocket import WebSocketClosedError

from satclip_explore.panes.served.closing import is_served


class _ClosedPages(logging.Filter):
    """Make one line of the traceback of a message to a page that was closed meanwhile."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], WebSocketClosedError):
            record.msg, record.args = "a page was closed before a message reached it", ()
            record.exc_info = None
            record.levelno, record.levelname = logging.INFO, "INFO"
        return True


_CLOSED_PAGES = _ClosedPages()


def threads() -> dict[str, int]:
    """Return how many threads to ask Panel for: none where `--num-threads` has said it."""
    return {"nthreads": 4} if pn.config.nthreads is None else {}


def is_stranger(request: Any, started: list[str]) -> bool:
    """Tell whether a page is asked for from another machine, of a server that is for its own.

    Panel's server listens to every network unless it is given an address.

    Parameters
    ----------
    request : tornado.httputil.HTTPServerRequest or None
        What the page was asked for with.
    started : list of str
        Arguments that the server was started with.
    """
    meant = any(
        word.startswith(("--address", "--allow-websocket", "--plugins")) for word in started
    )
    own = getattr(request, "remote_ip", "") in ("", "127.0.0.1", "::1")
    return not (own or meant or "BOKEH_ALLOW_WS_ORIGIN" in os.environ)


def set_up_page() -> None:
    """Load what a served page needs before it is sent; nothing of it comes from another machine."""
    # Tornado and Panel leave such errors to asyncio, which logs what nobody has caught.
    logging.getLogger("asyncio").addFilter(_CLOSED_PAGES)
    pn.extension("filedropper", notifications=False, **threads())
    # The page names the scripts of all that is imported by then.
    allow_ipywidgets()


def set_up_figures() -> None:
    """Load what a page needs before its first figure."""
    import holoviews as hv

    hv.extension("bokeh")
    wait_for_connection()


def allow_ipywidgets() -> None:
    """Let this server show ipywidgets. For served pages only, never inside JupyterLab."""
    # Panel's module comes first: it keeps ipywidgets_bokeh from putting its own kernel in place.
    from panel.io.ipywidget import PanelKernel

    # isort: split
    import ipywidgets_bokeh.widget

    assert PanelKernel is not None
    # Its style sheet is an icon font on a public server.
    ipywidgets_bokeh.widget.IPyWidget.__css__ = []


def wait_for_connection() -> None:
    """Refresh a figure only once its page is connected.

    A browser sends ranges and sizes of figures before it says that the page is there. HoloViews
    1.23 answers each by asking again at the next turn of the server's loop, until the page is
    connected: a tab that was closed while it loaded kept a core busy, and the other pages waiting.
    """
    from holoviews.plotting.plot import Plot

    if Plot.refresh.__module__ == __name__:
        return
    refresh, waiting = Plot.refresh, weakref.WeakSet[Any]()

    def refresh_or_wait(plot: Any, **options: Any) -> None:
        document = plot.document
        if not is_served(document) or pn.state._connected.get(document):
            waiting.discard(plot)
            refresh(plot, **options)
        elif plot not in waiting:
            waiting.add(plot)
            with set_curdoc(document):
                pn.state.onload(plot.refresh)

    Plot.refresh = refresh_or_wait

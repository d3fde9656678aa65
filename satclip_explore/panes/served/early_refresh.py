"""Figures of a served page that is not connected yet: they wait for it, in place of asking on."""

from __future__ import annotations

import weakref
from typing import Any

import panel as pn
from holoviews.plotting.plot import Plot
from panel.io.state import set_curdoc


def wait_for_connection() -> None:
    """Refresh a figure only once its page is connected.

    A browser sends ranges and sizes of figures before it says that the page is there. HoloViews
    1.23 answers each by asking again at the next turn of the server's loop, until the page is
    connected: a tab that was closed while it loaded kept a core busy, and the other pages waiting.
    """
    if getattr(Plot.refresh, "waits_for_connection", False):
        return
    refresh, waiting = Plot.refresh, weakref.WeakSet[Any]()

    def refresh_or_wait(plot: Any, **options: Any) -> None:
        document = plot.document
        served = document is not None and document.session_context is not None
        if not served or pn.state._connected.get(document):
            waiting.discard(plot)
            refresh(plot, **options)
        elif plot not in waiting:
            waiting.add(plot)
            with set_curdoc(document):
                pn.state.onload(plot.refresh)

    refresh_or_wait.waits_for_connection = True
    Plot.refresh = refresh_or_wait

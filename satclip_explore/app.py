"""The page that is served: `panel serve satclip_explore/app.py` runs this for every reader."""

from __future__ import annotations

import sys
from typing import Any

import panel as pn

from satclip_explore.panes.served.closing import open_pages
from satclip_explore.panes.served.frame import TITLE, open_page
from satclip_explore.panes.served.server import is_stranger
from satclip_explore.panes.served.settings import SETTINGS


def explorer() -> Any:
    """Make the dashboard; importing it takes seconds, and the page is there by then."""
    from satclip_explore.explorer import Explorer

    return Explorer()


def refusal() -> str:
    """Say why a reader gets no page; empty: they get it."""
    context = pn.state.curdoc.session_context if pn.state.curdoc else None
    if is_stranger(getattr(context, "request", None), sys.argv):
        return (
            "This page is for the machine that serves it; for others start it with --address and "
            "--allow-websocket-origin, as docs/running-a-server.md says."
        )
    if open_pages() >= SETTINGS.sessions:
        return f"{SETTINGS.sessions} pages are open on this server; try again in a few minutes."
    return ""


if pn.state.served:
    if words := refusal():
        pn.pane.Str(words).servable(title=TITLE)
    else:
        open_page(explorer, tour=True)

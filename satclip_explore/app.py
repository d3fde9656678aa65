"""The page that is served: `panel serve satclip_explore/app.py` runs this for every reader."""

from __future__ import annotations

from typing import Any

import panel as pn

from satclip_explore.panes.served.closing import open_pages
from satclip_explore.panes.served.frame import TITLE, open_page
from satclip_explore.panes.served.settings import SETTINGS


def explorer() -> Any:
    """Make the dashboard; importing it takes seconds, and the page is there by then."""
    from satclip_explore.explorer import Explorer

    return Explorer()


if pn.state.served:
    if open_pages() >= SETTINGS.sessions:
        words = f"{SETTINGS.sessions} pages are open on this server; try again in a few minutes."
        pn.pane.Str(words).servable(title=TITLE)
    else:
        open_page(explorer, tour=True)

"""The page that is served: `panel serve satclip_explore/app.py` runs this for every reader."""

from __future__ import annotations

import panel as pn

from satclip_explore.explorer import TITLE, Explorer
from satclip_explore.panes.served.closing import open_pages
from satclip_explore.panes.served.page_link import session_link
from satclip_explore.panes.served.server import set_up_server
from satclip_explore.panes.served.settings import SETTINGS

if pn.state.served:
    if open_pages() >= SETTINGS.sessions:
        words = f"{SETTINGS.sessions} pages are open on this server; try again in a few minutes."
        pn.pane.Str(words).servable(title=TITLE)
    else:
        set_up_server()
        explorer = Explorer()
        explorer.follow_address(session_link())
        explorer.page().servable()

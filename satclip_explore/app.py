"""The page that is served: `panel serve satclip_explore/app.py` runs this for every reader."""

from __future__ import annotations

import panel as pn

from satclip_explore.explorer import Explorer
from satclip_explore.panes.served.page_link import session_link
from satclip_explore.panes.served.server import set_up_server

if pn.state.served:
    set_up_server()
    explorer = Explorer()
    explorer.follow_address(session_link())
    explorer.page().servable()

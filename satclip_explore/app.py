"""The page that is served: `panel serve satclip_explore/app.py` runs this for every reader."""

from __future__ import annotations

import panel as pn

from satclip_explore.panes.served.closing import open_pages
from satclip_explore.panes.served.frame import TALL, TITLE, frame, waiting
from satclip_explore.panes.served.page_link import session_link
from satclip_explore.panes.served.server import set_up_figures, set_up_page
from satclip_explore.panes.served.settings import SETTINGS

if pn.state.served:
    if open_pages() >= SETTINGS.sessions:
        words = f"{SETTINGS.sessions} pages are open on this server; try again in a few minutes."
        pn.pane.Str(words).servable(title=TITLE)
    else:
        set_up_page()
        link = session_link(tour=True)
        room = pn.Column(waiting(link.search), margin=0, sizing_mode="stretch_width", styles=TALL)
        page = frame([], [room])

        def fill() -> None:
            """Build the dashboard where the picture was."""
            # The page is there by now: what takes seconds to import comes after it.
            from satclip_explore.explorer import Explorer

            set_up_figures()
            explorer = Explorer()
            explorer.follow_address(link)
            page.header = explorer.header()
            room[:] = [explorer.body()]

        def soon() -> None:
            """Leave the thread that Panel loads pages in."""
            if pn.state.curdoc is not None:
                pn.state.curdoc.add_next_tick_callback(fill)

        pn.state.onload(soon)
        page.servable()

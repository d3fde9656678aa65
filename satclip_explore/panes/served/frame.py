"""The frame of the served page, and what it shows until the dashboard is built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import panel as pn
from panel_material_ui.template.base import Page

from satclip_explore.panes import first_look, theme
from satclip_explore.panes.served import look
from satclip_explore.panes.served.closing import let_go_when_closed
from satclip_explore.panes.served.page_link import session_link
from satclip_explore.panes.served.pictures import picture_address
from satclip_explore.panes.served.server import set_up_figures, set_up_page

TITLE = "SatCLIP Explore"
TALL = {"max-height": "none"}
"""Style of what may be higher than the window: Panel ends it there, and what follows overlaps."""
PAGES, OPENING = "pages", "Opening this page …"
TURN = f"""
for (const page of source.document.get_model_by_name("{PAGES}")?.children ?? [])
  page.visible = page.name === names[source.value]
"""
"""Turns the page in the browser at once; the server follows, and fills it when it is first seen."""
OTHER_LOOKS = {"encoder", "tab", "components", "land", "view"}
"""Keys of an address that show something else at first."""


def frame(header: list[Any], main: list[Any]) -> Page:
    """Return a page in the project's colors, dark or light."""
    page = Page(
        title=TITLE,
        header=header,
        main=main,
        dark_theme=look.starts_dark(),
        theme_toggle=False,
        theme_config=theme.MATERIAL,
        busy_indicator="linear",
        template=look.TEMPLATE,
        raw_css=[theme.VARIABLES, theme.PAGE],
        stylesheets=[theme.FRAME],
    )
    let_go_when_closed(page)
    return page


FAILED = (
    "<p class='sentence' role='alert'>This page could not be built. Reload it; if that does not "
    "help, the server's log says why.</p>"
)


def open_page(build: Callable[[], Any], *, tour: bool = False) -> None:
    """Show a picture at once, and a dashboard in its place as soon as there is one.

    Parameters
    ----------
    build : callable
        Makes the Explorer; what takes seconds to import it imports itself.
    tour : bool
        Whether a first visit is told what can be done.
    """
    set_up_page()
    link = session_link(tour=tour)
    room = pn.Column(waiting(link.search), margin=0, sizing_mode="stretch_width", styles=TALL)
    page = frame([], [room])

    def fill() -> None:
        try:
            set_up_figures()
            explorer = build()
            explorer.follow_address(link)
            page.header = explorer.header()
            room[:] = [explorer.body()]
        except Exception:
            room[:] = [theme.text(FAILED, margin=8, sizing_mode="stretch_width")]
            raise

    def soon() -> None:
        """Leave the thread that Panel loads pages in."""
        if pn.state.curdoc is not None:
            pn.state.curdoc.add_next_tick_callback(fill)

    pn.state.onload(soon)
    page.servable()


def waiting(query: str) -> pn.pane.HTML:
    """Show the world where a page's first picture will be, unless its address asks for another."""
    path = None if OTHER_LOOKS & set(parse_qs(query.removeprefix("?"))) else first_look.shipped()
    picture = "" if path is None else (
        f"<img src='{picture_address(path)}' alt='The world as the encoder sees it' "
        f"style='width:100%;max-width:900px;display:block;background:{theme.SEA}'>"
    )  # fmt: skip
    words = "<p class='hint' role='status'>Loading the encoder …</p>"
    return theme.text(f"{picture}{words}", margin=8, sizing_mode="stretch_width")


def credits_line() -> Any:
    """Say whose data and ideas these are."""
    return theme.text(
        "<p class='hint'>Location encoders after SatCLIP (Klemmer et al. 2023). Imagery: NASA Blue "
        "Marble. Outlines: Natural Earth. Places: RESOLVE Ecoregions 2017, Köppen–Geiger (Beck et "
        "al. 2023), GPW v4, NOAA. Similarity is not causation.</p>",
        sizing_mode="stretch_width",
    )

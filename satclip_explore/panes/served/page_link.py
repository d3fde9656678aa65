"""The page's own script: its address, the browser's Back and Forward, a copied link."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn
import param
from panel.custom import JSComponent


class PageLink(JSComponent):
    """Ties a session to the window that shows it; takes no room.

    The address is replaced while one looks around, so that a zoom leaves no trace in the history;
    what one would go back to (a page, an encoder, a place) gets an entry of its own.
    """

    search = param.String("", doc="the address from the question mark on")
    keep = param.Boolean(False, doc="whether the address before stays in the history")
    copied = param.Integer(0, doc="copies the address when it changes")

    _esm = """
    export function render({model, el}) {
      el.style.display = "none"
      const own = () => location.pathname + (model.search || "")
      const write = () => {
        if (own() === location.pathname + location.search) return
        history[model.keep ? "pushState" : "replaceState"]({}, "", own())
      }
      const back = () => model.send_msg({back: location.search})
      model.on("search", write)
      model.on("copied", async () => {
        write()
        let done = true
        try { await navigator.clipboard.writeText(location.href) }
        catch { done = window.prompt("Copy this link", location.href) !== null }
        model.send_msg({copied: done})
      })
      window.addEventListener("popstate", back)
      model.on("remove", () => window.removeEventListener("popstate", back))
    }
    """

    def __init__(self, **params: Any) -> None:
        super().__init__(width=0, height=0, margin=0, **params)
        self.on_back: Callable[[str], None] = lambda search: None
        self.on_copied: Callable[[bool], None] = lambda done: None

    def _handle_msg(self, message: Any) -> None:
        if not isinstance(message, dict):
            return
        if isinstance(message.get("back"), str):
            self.on_back(message["back"])
        elif "copied" in message:
            self.on_copied(bool(message["copied"]))


def session_link() -> PageLink:
    """Make the link of this session, with the address that the page was asked for."""
    location = pn.state.location
    return PageLink(search="" if location is None else location.search or "")

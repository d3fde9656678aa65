"""The page's own script: its address, Back and Forward, a lost server, labels that outlive it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn
import param
from panel.custom import JSComponent


class PageLink(JSComponent):
    """Ties a session to the window that shows it; takes no room.

    The address is replaced while one looks around, so that a zoom leaves no trace in the history;
    what one would go back to (a page, an encoder, a place) gets an entry of its own. Where the
    server no longer answers, a line says so, and the page loads anew once it does. What is to
    outlive the session is kept in the browser.
    """

    search = param.String("", doc="the address from the question mark on")
    keep = param.Boolean(False, doc="whether the address before stays in the history")
    copied = param.Integer(0, doc="copies the address when it changes")
    kept = param.String("", doc="what the browser keeps for the next session")

    _esm = """
    const EVERY = 5000
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

      const KEY = "satclip-explore"
      model.on("kept", () => {
        try { localStorage.setItem(KEY, model.kept) } catch { /* a browser that keeps nothing */ }
      })
      let stored = null
      try { stored = localStorage.getItem(KEY) } catch { /* the same */ }
      if (stored) model.send_msg({stored})

      const banner = document.createElement("div")
      banner.setAttribute("role", "alert")
      banner.textContent = "The server does not answer. What you see stays; trying again …"
      banner.style.cssText = "position:fixed;top:0;left:0;right:0;z-index:9999;padding:8px 14px;" +
        "background:#ff6b6b;color:#14100a;font:13px system-ui;text-align:center;display:none"
      document.body.append(banner)
      let heard = Date.now()
      const alive = () => { heard = Date.now(); banner.style.display = "none" }
      model.on("msg:custom", alive)
      document.addEventListener("visibilitychange", alive)
      const timer = setInterval(async () => {
        if (document.hidden) return
        model.send_msg({ping: true})
        if (Date.now() - heard < 4 * EVERY) return
        banner.style.display = "block"
        try {
          const answer = await fetch(location.href, {cache: "no-store"})
          // It serves again, yet this session is gone: address and labels bring it back.
          if (answer.ok && Date.now() - heard > 6 * EVERY) location.reload()
        } catch { /* still away */ }
      }, EVERY)
      model.on("remove", () => {
        clearInterval(timer)
        banner.remove()
        window.removeEventListener("popstate", back)
        document.removeEventListener("visibilitychange", alive)
      })
    }
    """

    def __init__(self, **params: Any) -> None:
        super().__init__(width=0, height=0, margin=0, **params)
        self.on_back: Callable[[str], None] = lambda search: None
        self.on_copied: Callable[[bool], None] = lambda done: None
        self.on_stored: Callable[[str], None] = lambda text: None

    def _handle_msg(self, message: Any) -> None:
        if not isinstance(message, dict):
            return
        if isinstance(message.get("back"), str):
            self.on_back(message["back"])
        elif isinstance(message.get("stored"), str):
            self.on_stored(message["stored"])
        elif "copied" in message:
            self.on_copied(bool(message["copied"]))
        elif "ping" in message:
            self._send_msg({"pong": True})


def session_link() -> PageLink:
    """Make the link of this session, with the address that the page was asked for."""
    location = pn.state.location
    return PageLink(search="" if location is None else location.search or "")

"""The page's own script: its address, Back and Forward, a lost server, labels that outlive it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn
import param
from panel.custom import JSComponent

STEPS = (-10, -1, 0, 1, 10)
"""What an arrow key moves by, in hundredths of the view."""


class PageLink(JSComponent):
    """Ties a session to the window that shows it; takes no room.

    The address is replaced while one looks around, so that a zoom leaves no trace in the history;
    what one would go back to (a page, an encoder, a place) gets an entry of its own. A line says
    where the server is busy with this page, and where it does not answer at all; the page loads
    anew only once its connection is lost and the server answers again. What is to outlive the
    session is kept in the browser. Keys: with the pointer or the focus on a map, arrows move the
    place; `/` goes to the search field, `?` lists them; a first visit sees that list.
    """

    search = param.String("", doc="the address from the question mark on")
    entries = param.Integer(0, doc="addresses so far that stay in the history")
    copied = param.Integer(0, doc="copies the address when it changes")
    kept = param.String("", doc="what the browser keeps for the next session")
    tour = param.Boolean(False, doc="whether a first visit is told what can be done here")

    _esm = """
    const EVERY = 5000
    const AWAY = "The server does not answer. What you see stays; trying again …"
    const BUSY = "The server is still working. This page responds when it is done."
    // Without a session of its own, and not behind one that is busy: 404 is an answer too.
    const serves = async () => {
      const asked = {cache: "no-store", signal: AbortSignal.timeout(2 * EVERY)}
      try {
        const page = location.pathname.replace(/\\/$/, "")
        return (await fetch(`${page}/metadata`, asked)).status < 500
      } catch { return false }
    }
    export function render({view, model, el}) {
      el.style.display = "none"
      const own = () => location.pathname + (model.search || "")
      let entries = model.entries
      const write = () => {
        if (own() === location.pathname + location.search) return
        // Counted, since changes may arrive together: the last alone would not say it.
        history[model.entries > entries ? "pushState" : "replaceState"]({}, "", own())
        entries = model.entries
      }
      const back = () => model.send_msg({back: location.search})
      // After the rest of the message: `entries` comes behind `search`.
      model.on("search", () => setTimeout(write))
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
      banner.style.cssText = "position:fixed;top:0;left:0;right:0;z-index:9999;padding:8px 14px;" +
        "font:13px system-ui;text-align:center"
      banner.hidden = true
      document.body.append(banner)
      const say = words => {
        banner.hidden = !words
        if (banner.textContent === words) return
        banner.setAttribute("role", words === BUSY ? "status" : "alert")
        banner.style.background = `var(--satclip-${words === BUSY ? "cool" : "bad"})`
        banner.style.color = "var(--satclip-ground)"
        banner.textContent = words
      }
      let heard = Date.now(), asked = false, lost = false
      const alive = () => { heard = Date.now(); say("") }
      model.on("msg:custom", () => { asked = false; alive() })
      view.model.document.on_event("connection_lost", () => { lost = true })
      document.addEventListener("visibilitychange", alive)
      const help = document.createElement("dialog")
      help.setAttribute("aria-label", "What you can do here")
      help.style.cssText = "position:fixed;right:14px;bottom:14px;left:auto;top:auto;margin:0;" +
        "z-index:9998;max-width:min(340px, calc(100vw - 60px));padding:12px 16px;" +
        "border-radius:10px;border:1px solid var(--satclip-accent);" +
        "background:var(--satclip-raised);color:var(--satclip-ink);" +
        "font:13px/1.5 system-ui"
      help.innerHTML = `<b>What you can do here</b><ul style="margin:6px 0;padding-left:18px">
        <li>Click a place to see its embedding and the places most like it.</li>
        <li>Scroll to zoom in; all maps move together.</li>
        <li>Train a probe, label places by clicking, or bring your own table.</li></ul>
        <kbd>/</kbd> find a place &nbsp; <kbd>← ↑ → ↓</kbd> on a map: move the place
        (with <kbd>Shift</kbd> ten times as far) &nbsp; <kbd>?</kbd> this list &nbsp;
        <kbd>Esc</kbd> close<br><button style="margin-top:8px;padding:4px 14px;font:inherit;
        background:var(--satclip-accent);color:var(--satclip-on-accent);border:0;
        border-radius:6px;cursor:pointer">Close</button>`
      const SEEN = KEY + "-seen"
      help.querySelector("button").onclick = () => help.close()
      help.onclose = () => { try { localStorage.setItem(SEEN, "1") } catch { /* asked again */ } }
      document.body.append(help)
      let seen = true
      try { seen = localStorage.getItem(SEEN) !== null } catch { /* no memory, no tour */ }
      if (model.tour && !seen) help.show()

      const deep = (node, wanted) => {
        for (const child of [...(node.shadowRoot?.children ?? []), ...(node.children ?? [])]) {
          const found = wanted(child) ? child : deep(child, wanted)
          if (found) return found
        }
        return null
      }
      let over = false
      const onMap = event => event.composedPath().some(n => n.classList?.contains("bk-Canvas"))
      const enter = event => { over = onMap(event) }
      const MOVES = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}
      const typed = event => {
        const at = event.composedPath()[0]
        if (event.ctrlKey || event.metaKey || event.altKey) return
        if (event.key === "Escape" && help.open) { help.close(); return }
        if (at.closest?.("input, textarea, select, [role], [contenteditable]")) return
        if (event.key === "/") deep(document.body, n => n.placeholder?.includes("Nairobi"))?.focus()
        else if (event.key === "?") help.open ? help.close() : help.show()
        else if ((over || onMap(event)) && MOVES[event.key]) {
          const far = event.shiftKey ? 10 : 1
          model.send_msg({nudge: MOVES[event.key].map(step => step * far)})
        } else return
        event.preventDefault()
      }
      document.addEventListener("keydown", typed)
      document.addEventListener("pointerover", enter)
      const silent = () => lost || Date.now() - heard > 4 * EVERY
      const listen = async () => {
        if (!document.hidden && !asked && !lost) {
          asked = true
          model.send_msg({ping: true})
        }
        if (!document.hidden && silent()) {
          const answers = await serves()
          // The session went with the connection: address and labels bring it back.
          if (answers && lost) location.reload()
          else if (silent()) say(answers ? BUSY : AWAY)
        }
        if (timer) timer = setTimeout(listen, EVERY)
      }
      let timer = setTimeout(listen, EVERY)
      model.on("remove", () => {
        clearTimeout(timer)
        timer = null
        help.remove()
        document.removeEventListener("keydown", typed)
        document.removeEventListener("pointerover", enter)
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
        self.on_nudge: Callable[[int, int], None] = lambda east, north: None

    def _handle_msg(self, message: Any) -> None:
        if not isinstance(message, dict):
            return
        if isinstance(message.get("back"), str):
            self.on_back(message["back"])
        elif isinstance(message.get("stored"), str):
            self.on_stored(message["stored"])
        elif "nudge" in message:
            steps = message["nudge"]
            if isinstance(steps, list) and len(steps) == 2 and all(s in STEPS for s in steps):
                self.on_nudge(*steps)
        elif "copied" in message:
            self.on_copied(bool(message["copied"]))
        elif "ping" in message:
            self._send_msg({"pong": True})


def session_link(*, tour: bool = False) -> PageLink:
    """Make the link of this session, with the address that the page was asked for."""
    location = pn.state.location
    return PageLink(tour=tour, search="" if location is None else location.search or "")

"""One button for all that a view gives; nothing is computed before something is chosen."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from panel.custom import JSComponent

from satclip_explore.panes import theme
from satclip_explore.panes.background import Background, Job
from satclip_explore.panes.downloads import Check, Choice


class DownloadMenu(JSComponent):
    """A button that lists what a view gives; nothing is computed before something is chosen.

    Parameters
    ----------
    offer : callable
        Returns the choices of the moment; a ValueError says why there are none.
    """

    _esm = """
    export function render({model}) {
      const make = (tag, parent, text = "", facts = {}) => {
        const node = document.createElement(tag)
        node.textContent = text
        for (const [name, value] of Object.entries(facts)) node.setAttribute(name, value)
        parent?.append(node)
        return node
      }
      const root = make("div", null)
      const button = make("button", root, "Download",
        {type: "button", class: "open", "aria-haspopup": "menu", "aria-expanded": "false"})
      const sheet = make("div", root, "", {class: "sheet", popover: "auto"})
      const menu = make("div", sheet, "", {role: "menu", "aria-label": "Download"})
      const words = make("p", sheet, "", {role: "status"})
      const code = make("textarea", sheet, "",
        {readonly: "", rows: 9, "aria-label": "Python code", spellcheck: "false"})
      code.hidden = true

      const copy = async text => {
        code.hidden = false
        code.value = text
        code.select()
        // Pages that are not served over https have no clipboard.
        try { await navigator.clipboard.writeText(text); words.textContent = "Copied." }
        catch { words.textContent = "Copy the selected text." }
      }
      const list = choices => {
        menu.replaceChildren()
        choices.forEach((choice, take) => {
          const item = make("button", menu, "", {type: "button", role: "menuitem"})
          make("b", item, choice.label)
          make("span", item, choice.inside)
          item.onclick = () => {
            if (choice.code) { copy(choice.code); return }
            words.textContent = "Preparing …"
            model.send_msg({take})
          }
        })
        menu.firstChild?.focus()
      }
      const save = ({filename, content}) => {
        const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0))
        const address = URL.createObjectURL(new Blob([bytes]))
        make("a", null, "", {href: address, download: filename}).click()
        setTimeout(() => URL.revokeObjectURL(address), 60000)
        words.textContent = `${filename} is ready.`
      }
      model.on("msg:custom", data => {
        if (data.choices) { words.textContent = ""; list(data.choices) }
        else if (data.filename) save(data)
        else words.textContent = data.problem
      })
      sheet.addEventListener("toggle", event => {
        const open = event.newState === "open"
        button.setAttribute("aria-expanded", String(open))
        if (!open) return
        const at = button.getBoundingClientRect()
        const left = Math.min(at.left, window.innerWidth - sheet.offsetWidth - 8)
        sheet.style.left = `${Math.max(left, 8)}px`
        const room = window.innerHeight - at.bottom
        sheet.style.top = room > 300 ? `${at.bottom + 4}px` : "auto"
        sheet.style.bottom = room > 300 ? "auto" : `${window.innerHeight - at.top + 4}px`
      })
      button.onclick = () => {
        if (sheet.matches(":popover-open")) { sheet.hidePopover(); return }
        code.hidden = true
        menu.replaceChildren()
        words.textContent = "…"
        sheet.showPopover()
        model.send_msg({open: true})
      }
      menu.addEventListener("keydown", event => {
        const step = {ArrowDown: 1, ArrowUp: -1}[event.key]
        const items = [...menu.children]
        const now = items.indexOf(event.target)
        if (!step || now < 0) return
        items[(now + step + items.length) % items.length].focus()
        event.preventDefault()
        event.stopPropagation()
      })
      return root
    }
    """

    def __init__(self, offer: Callable[[], list[Choice]], **params: Any) -> None:
        self._offer = offer
        self._choices: list[Choice] = []
        self._background = Background()
        params.setdefault("margin", (4, 2))
        super().__init__(stylesheets=[STYLE], **params)

    def choices(self) -> list[Choice]:
        """Ask the view what it gives now."""
        self._choices = self._offer()
        return self._choices

    def content(self, number: int, check: Check) -> str:
        """Make what was chosen, in base64; a ValueError says why that cannot be."""
        make = self._choices[number].make
        try:
            return base64.b64encode(make(check) if make else b"").decode()
        except ImportError as error:
            raise ValueError(str(error)) from error

    def take(self, number: int) -> None:
        """Make a file beside the page and send it; the next one stops it."""
        choice = self._choices[number]
        if choice.make is None:
            return

        def work(job: Job) -> str:
            return self.content(number, job.check)

        def done(content: str) -> None:
            self._send_msg({"filename": choice.filename, "content": content})

        self._background.start(work, done, lambda error: self._send_msg({"problem": str(error)}))

    def _handle_msg(self, message: Any) -> None:
        if not isinstance(message, dict):
            return
        number = message.get("take")
        if message.get("open"):
            try:
                listed = [
                    {"label": choice.label, "inside": choice.inside, "code": choice.code}
                    for choice in self.choices()
                ]
            except ValueError as error:
                self._send_msg({"problem": str(error)})
            else:
                self._send_msg({"choices": listed})
        elif type(number) is int and 0 <= number < len(self._choices):
            self.take(number)


STYLE = f"""
.open {{ font: 13px {theme.FONT}; color: {theme.INK}; background: none; cursor: pointer;
  border: 1px solid {theme.LINE}; border-radius: 8px; padding: 4px 10px; }}
.open:hover {{ border-color: {theme.ACCENT}; }}
:focus-visible {{ outline: 2px solid {theme.INK}; }}
.sheet {{ position: fixed; inset: auto; margin: 0; padding: 6px; width: min(340px, 92vw);
  max-height: 80vh; overflow: auto; box-sizing: border-box; border-radius: 10px;
  border: 1px solid {theme.LINE}; background: {theme.RAISED}; color: {theme.INK};
  font: 12.5px/1.4 {theme.FONT}; }}
[role=menuitem] {{ display: block; width: 100%; text-align: left; font: inherit; color: inherit;
  background: none; border: 0; border-radius: 6px; padding: 5px 8px; cursor: pointer; }}
[role=menuitem]:hover, [role=menuitem]:focus-visible {{ background: {theme.LINE}; }}
[role=menuitem] b {{ display: block; font-weight: 600; }}
[role=menuitem] span {{ color: {theme.MUTED}; }}
p {{ margin: 4px 8px; color: {theme.ACCENT}; }}
p:empty {{ display: none; }}
textarea {{ width: 100%; box-sizing: border-box; font: 11.5px/1.4 {theme.MONO};
  color: {theme.INK}; background: {theme.GROUND}; border: 1px solid {theme.LINE};
  border-radius: 6px; white-space: pre; }}
"""

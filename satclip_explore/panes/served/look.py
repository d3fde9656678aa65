"""Dark or light: what the system prefers, until a button chooses; the browser keeps the choice."""

from __future__ import annotations

from typing import Any

import panel as pn
from panel.custom import JSComponent

from satclip_explore.panes import theme

TEMPLATE = """{% extends "base.html" %}
{% block preamble %}{{ super() }}
<script>
(() => {
  const KEY = "satclip-explore-theme"
  const light = matchMedia("(prefers-color-scheme: light)")
  const preferred = () => light.matches ? "light" : "dark"
  const kept = () => { try { return localStorage.getItem(KEY) } catch { return null } }
  const show = () => {
    const theme = kept() ?? preferred()
    document.documentElement.dataset.theme = theme
    document.cookie = `satclip-theme=${theme}; SameSite=Lax`
  }
  light.addEventListener("change", show)
  window.addEventListener("storage", show)
  window.turnTheme = () => {
    const other = document.documentElement.dataset.theme === "light" ? "dark" : "light"
    try {
      if (other === preferred()) localStorage.removeItem(KEY)
      else localStorage.setItem(KEY, other)
    } catch { /* a browser that keeps nothing */ }
    show()
  }
  show()
})()
</script>
{% endblock %}"""
"""Of the page: its theme is known before anything is drawn. Material follows `data-theme` too."""


def starts_dark() -> bool:
    """Tell whether a page is dark, as its browser said when it was last here."""
    return pn.state.cookies.get("satclip-theme") != "light"


class ThemeButton(JSComponent):
    """A button that turns the page from dark to light and back, for `TEMPLATE`."""

    _esm = """
    export function render() {
      const button = document.createElement("button")
      button.textContent = "◐"
      button.title = button.ariaLabel = "Dark or light"
      button.onclick = () => window.turnTheme?.()
      return button
    }
    """

    def __init__(self, **params: Any) -> None:
        super().__init__(stylesheets=[STYLE], **params)


STYLE = f"""
button {{ font: 17px/1 {theme.FONT}; padding: 6px 8px; cursor: pointer; background: none;
  color: {theme.INK}; border: 1px solid {theme.FAINT}; border-radius: 8px; }}
button:hover {{ border-color: {theme.INK}; }}
button:focus-visible {{ outline: 2px solid {theme.INK}; }}
"""

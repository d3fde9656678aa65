"""Markup whose rows can be clicked, or chosen with the keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import param
from panel.custom import JSComponent

from satclip_explore.panes import theme


class Rows(JSComponent):
    """Shows markup made by this project; an element with `data-row` reports its number.

    Parameters
    ----------
    object : str
        The markup; whatever came from outside is already escaped in it.
    chosen : callable
        Called with the number of the row that was clicked.
    """

    object = param.String("", doc="the markup")

    _esm = """
    export function render({model}) {
      const root = document.createElement("div")
      const draw = () => {
        root.innerHTML = model.object
        for (const row of root.querySelectorAll("[data-row]")) row.tabIndex = 0
      }
      const choose = (event) => {
        const row = event.target.closest("[data-row]")
        if (row != null) model.send_msg({row: Number(row.dataset.row)})
      }
      root.addEventListener("click", choose)
      root.addEventListener("keydown", (event) => { if (event.key === "Enter") choose(event) })
      model.on("object", draw)
      draw()
      return root
    }
    """

    def __init__(self, chosen: Callable[[int], Any], **params: Any) -> None:
        self._chosen = chosen
        super().__init__(stylesheets=[theme.TEXT, CLICKABLE], margin=0, **params)

    def _handle_msg(self, message: Any) -> None:
        row = message.get("row") if isinstance(message, dict) else None
        if isinstance(row, int) and row >= 0:
            self._chosen(row)


CLICKABLE = f"""
[data-row] {{ cursor: pointer; }}
[data-row]:hover, [data-row]:focus-visible {{ background: {theme.RAISED}; }}
[data-row]:focus-visible {{ outline: 2px solid {theme.INK}; outline-offset: -2px; }}
"""

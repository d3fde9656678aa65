"""What a notebook's page needs before it can draw figures: Bokeh's and Panel's own JavaScript."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

_told: set[str] = set()
"""Sessions of front ends that have it: a page that is loaded anew is another session."""


def shell() -> Any:
    """Return the IPython shell of a kernel; None in a script, a test or a terminal."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    found = get_ipython()
    return found if getattr(found, "kernel", None) is not None else None


def load() -> None:
    """Send the page what it lacks, from the installed packages; outside a notebook no page."""
    kernel = shell()
    if kernel is None:
        return
    session = str(kernel.get_parent().get("header", {}).get("session", ""))
    # Colab shows every cell's output in a frame of its own, which shares nothing with the others.
    if session in _told and "google.colab" not in sys.modules:
        return
    _send()
    _told.add(session)


def _send() -> None:
    import panel as pn
    from panel.io.notebook import load_notebook

    if pn.extension._loaded:
        load_notebook(inline=True)
    else:
        pn.extension(inline=True, theme="dark")


def soon(callback: Callable[[], None]) -> None:
    """Call back in a kernel once it is done with the running cell and has sent its output."""
    asyncio.get_running_loop().call_soon(callback)


def later(build: Callable[[], Any]) -> Any:
    """Return what `build()` makes; in a notebook an empty column that it fills after this cell."""
    if shell() is None:
        return build()
    import panel as pn

    column = pn.Column(margin=0)

    def fill() -> None:
        built = build()
        built.styles = built.styles | {"flex": "1 1 auto"}
        column.append(built)

    soon(fill)
    return column

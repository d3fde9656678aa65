"""What libraries keep of a page that was closed, 8 MB a visit, and how it is let go."""

from __future__ import annotations

import ctypes
import threading
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import panel as pn

TRIM_SECONDS = 10.0
"""Time from a page's end until its memory goes back to the system; Panel collects it after 5 s."""

_OPEN: WeakSet[Any] = WeakSet()
_TRIMMING = threading.Lock()


def is_served(document: Any) -> bool:
    """Tell whether a document is of a page that is open: not of a notebook, nor of a closed one."""
    return document is not None and document.session_context is not None


def open_pages() -> int:
    """Count the pages of this process that are open."""
    return len(_OPEN)


def let_go_when_closed(page: Any) -> None:
    """Let go of a page, and of the ipywidgets on it, when its session ends.

    Parameters
    ----------
    page : panel template
        Made on the thread of its session; in a notebook nothing happens.
    """
    document: Any = pn.state.curdoc
    if not is_served(document):
        return

    _OPEN.add(document)

    def close(_: Any) -> None:
        _OPEN.discard(document)
        forget_widgets(document)
        forget_callbacks(document)
        forget_references(page)
        # What waits for a page that never connected holds that page.
        pn.state._onload.pop(document, None)
        if _TRIMMING.acquire(blocking=False):  # else the next turn takes this page too
            timer = threading.Timer(TRIM_SECONDS, _trim)
            timer.daemon = True
            timer.start()

    document.on_session_destroyed(close)


def _trim() -> None:
    _TRIMMING.release()
    give_back_memory()


def give_back_memory() -> None:
    """Give freed memory back to the system; glibc keeps what lies between blocks in use."""
    with suppress(AttributeError, OSError, TypeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def forget_widgets(document: Any) -> None:
    """Take the ipywidgets of a page out of two registries that keep each until it is closed."""
    import comm
    from ipywidgets.widgets.widget import _instances

    comms = comm.get_comm_manager().comms
    for key, widget in list(_instances.items()):
        if getattr(widget, "_document", None) is document:
            _instances.pop(key, None)
            comms.pop(key, None)


def forget_callbacks(document: Any) -> None:
    """Take the callbacks of a page's figures out of HoloViews' registry.

    HoloViews takes out those of a figure itself, but not of the layers that an overlay is made of.
    """
    from holoviews.plotting.bokeh.callbacks import Callback

    for key, callback in list(Callback._callbacks.items()):
        if callback.plot.document is document:
            Callback._callbacks.pop(key, None)


def forget_references(page: Any) -> None:
    """Unwatch what a page follows on Panel's state, which outlives it: whether it is busy."""
    for watcher in list(pn.state.param.watchers.get("busy", {}).get("value", [])):
        follower = getattr(watcher.fn, "__self__", None)
        if getattr(follower, "self", None) is page:
            pn.state.param.unwatch(watcher)

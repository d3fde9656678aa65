"""A field that takes one file, in the page's colors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn

from satclip_explore.panes import theme

STYLE = f"""
:host {{ --border-radius: 8px; }}
.filepond--root {{ font-family: {theme.FONT} !important; margin: 0 !important;
  border: 1px dashed {theme.FAINT}; border-radius: 8px; overflow: hidden; }}
.filepond--panel-root {{ background: {theme.RAISED} !important; }}
.filepond--drop-label, .filepond--drop-label label {{ color: {theme.MUTED} !important;
  font-size: 12.5px !important; white-space: normal; }}
"""

SAVE_STYLE = f"""
.bk-btn, a.bk-btn {{ background: none !important; color: {theme.MUTED} !important;
  border: 1px solid {theme.FAINT} !important; border-radius: 8px; font: 12.5px {theme.FONT}; }}
"""


def save_button(make: Callable[[], Any], filename: str, label: str, **options: Any) -> Any:
    """Make a button that gives a file; `make` returns it as a stream."""
    return pn.widgets.FileDownload(
        callback=make, filename=filename, label=label, icon=None, stylesheets=[SAVE_STYLE],
        **options,
    )  # fmt: skip


def drop_field(use: Callable[[bytes], None], max_size: str, **options: Any) -> Any:
    """Make a field for one file.

    Parameters
    ----------
    use : callable
        Called with the content.
    max_size : str
        What the browser sends at most, as "50MB"; the rest is refused there.
    **options
        Of the field.
    """
    drop = pn.widgets.FileDropper(
        max_file_size=max_size, max_files=1, height=64, stylesheets=[STYLE], **options
    )

    def dropped(event: Any) -> None:
        for content in (event.new or {}).values():
            use(content if isinstance(content, bytes) else str(content).encode())
            return

    drop.param.watch(dropped, "value")
    return drop

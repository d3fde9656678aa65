"""The dashboard in a notebook cell: the page's own scripts are sent first, then all is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from satclip_explore.explorer import Explorer


def explore(encoder: Any = None) -> Explorer:
    """Show the whole dashboard in a notebook cell.

    Parameters
    ----------
    encoder : LocationEncoder or str, optional
        What to start with; default the embedded encoder.

    Returns
    -------
    Explorer
        Shows itself; `explorer.page()` is what `panel serve` shows.

    Raises
    ------
    ValueError
        If there is no such encoder.
    """
    from satclip_explore.panes.jupyter import front_end

    # The browser reads three megabytes of scripts while this side imports and encodes.
    front_end.load()
    from satclip_explore.explorer import Explorer
    from satclip_explore.shared_encoders import load_once

    return Explorer(load_once(encoder) if isinstance(encoder, str) else encoder)

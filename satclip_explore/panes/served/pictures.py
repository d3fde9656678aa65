"""Pictures that this server gives as files, which a browser keeps; in a notebook, addresses."""

from __future__ import annotations

import base64
import shutil
import tempfile
import threading
from pathlib import Path

import panel as pn

from satclip_explore.panes.served.closing import is_served

EXTENSION = "satclip"
KINDS = {".jpg": "jpeg", ".webp": "webp"}
_LOCK = threading.Lock()


def picture_address(path: Path) -> str:
    """Return where the browser finds a picture: on this server; in a notebook it is the address."""
    if not is_served(pn.state.curdoc):
        return data_uri(path.read_bytes(), KINDS[path.suffix])
    target = folder() / path.name
    if not target.exists():
        shutil.copy(path, target)
    return f"static/extensions/{EXTENSION}/{path.name}"


def folder() -> Path:
    """Return the folder that Bokeh's server gives files from."""
    from bokeh.embed import bundle

    with _LOCK:
        if EXTENSION not in bundle.extension_dirs:
            bundle.extension_dirs[EXTENSION] = Path(tempfile.mkdtemp(prefix="satclip-page-"))
    return Path(bundle.extension_dirs[EXTENSION])


def data_uri(picture: bytes, kind: str = "png") -> str:
    """Write a picture as an address that holds the picture itself."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"

"""ipyleaflet on a served page without network: its front end is taken from the installed wheel."""

from __future__ import annotations

import base64
import contextlib
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

import ipyleaflet
import panel as pn

EXTENSION = "satclip"
_LOCK = threading.Lock()


def serve_front_end() -> str:
    """Copy the wheel's JavaScript to where Bokeh's server serves it, and return that address.

    Returns
    -------
    str
        Address that ipywidgets_bokeh loads the widget's front end from.

    Raises
    ------
    FileNotFoundError
        If the installed jupyter-leaflet has no front end.
    """
    from jupyter_core.paths import jupyter_path

    folders = [Path(path) / "nbextensions" / "jupyter-leaflet" for path in jupyter_path()]
    source = next((folder for folder in folders if (folder / "index.js").is_file()), None)
    if source is None:
        raise FileNotFoundError(
            "the map's front end is not installed: pip install jupyter-leaflet, then try again."
        )
    version = ipyleaflet._version.EXTENSION_VERSION
    target = _folder() / f"jupyter-leaflet@{version}" / "dist"
    if not target.exists():
        # Complete before it has its name: another visitor may ask at the same time.
        made = Path(tempfile.mkdtemp(dir=_folder()))
        # The page asks for the module by its name, with no ending.
        shutil.copy(source / "index.js", made / "index")
        for picture in source.glob("*.png"):
            shutil.copy(picture, made)
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            made.rename(target)
    return f"static/extensions/{EXTENSION}"


def picture_address(path: Path) -> str:
    """Return where the browser finds a JPEG: on this server; in a notebook it is the address."""
    document = pn.state.curdoc
    if document is None or document.session_context is None:
        return data_uri(path.read_bytes(), "jpeg")
    target = _folder() / path.name
    if not target.exists():
        shutil.copy(path, target)
    return f"static/extensions/{EXTENSION}/{path.name}"


def _folder() -> Path:
    """Return the folder that Bokeh's server gives files from."""
    from bokeh.embed import bundle

    with _LOCK:
        if EXTENSION not in bundle.extension_dirs:
            bundle.extension_dirs[EXTENSION] = Path(tempfile.mkdtemp(prefix="satclip-page-"))
    return Path(bundle.extension_dirs[EXTENSION])


class OfflineLeaflet(pn.pane.IPyLeaflet):
    """An ipyleaflet map whose front end comes from this server when there is one."""

    def _get_ipywidget(self, obj: Any, doc: Any, root: Any, comm: Any, **kwargs: Any) -> Any:
        served = comm is None
        address = serve_front_end() if served else ""
        model = super()._get_ipywidget(obj, doc, root, comm, **kwargs)
        if served:
            model.cdn = address
        return model


def data_uri(picture: bytes, kind: str = "png") -> str:
    """Write a picture as an address that holds the picture itself."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"

"""ipyleaflet on a served page without network: its front end is taken from the installed wheel."""

from __future__ import annotations

import base64
import shutil
import tempfile
from pathlib import Path
from typing import Any

import ipyleaflet
import panel as pn

EXTENSION = "satclip"


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
    from bokeh.embed import bundle
    from jupyter_core.paths import jupyter_path

    folders = [Path(path) / "nbextensions" / "jupyter-leaflet" for path in jupyter_path()]
    source = next((folder for folder in folders if (folder / "index.js").is_file()), None)
    if source is None:
        raise FileNotFoundError(
            "the map's front end is not installed: pip install jupyter-leaflet, then try again."
        )
    if EXTENSION not in bundle.extension_dirs:
        version = ipyleaflet._version.EXTENSION_VERSION
        root = Path(tempfile.mkdtemp(prefix="satclip-leaflet-"))
        target = root / f"jupyter-leaflet@{version}" / "dist"
        target.mkdir(parents=True)
        # The page asks for the module by its name, with no ending.
        shutil.copy(source / "index.js", target / "index")
        for picture in source.glob("*.png"):
            shutil.copy(picture, target)
        bundle.extension_dirs[EXTENSION] = root
    return f"static/extensions/{EXTENSION}"


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

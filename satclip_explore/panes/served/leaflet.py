"""ipyleaflet on a served page without network: its front end is taken from the installed wheel."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import ipyleaflet
import panel as pn

from satclip_explore.panes.served.pictures import EXTENSION, folder


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
    target = folder() / f"jupyter-leaflet@{version}" / "dist"
    if not target.exists():
        # Complete before it has its name: another visitor may ask at the same time.
        made = Path(tempfile.mkdtemp(dir=folder()))
        # The page asks for the module by its name, with no ending.
        shutil.copy(source / "index.js", made / "index")
        for picture in source.glob("*.png"):
            shutil.copy(picture, made)
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            made.rename(target)
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

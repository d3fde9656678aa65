"""A field that takes one file, in the page's colors, and samples for those who have none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import panel as pn

from satclip_explore.atlas import load_atlas
from satclip_explore.files.reading import Reading
from satclip_explore.files.table import csv_bytes
from satclip_explore.panes import cells, theme

STYLE = f"""
:host {{ --border-radius: 8px; }}
.filepond--root {{ font-family: {theme.FONT} !important; margin: 0 !important;
  border: 1px dashed {theme.FAINT}; border-radius: 8px; overflow: hidden; }}
.filepond--panel-root {{ background: {theme.RAISED} !important; }}
.filepond--drop-label, .filepond--drop-label label {{ color: {theme.MUTED} !important;
  font-size: 12.5px !important; white-space: normal; }}
"""


class Dropped(bytes):
    """Content of a file that was dropped, and what the file is called."""

    name: str

    def __new__(cls, content: bytes, name: str) -> Dropped:
        """Name some content."""
        made = super().__new__(cls, content)
        made.name = name
        return made


def _stations() -> pd.DataFrame:
    columns = ["lon", "lat", "temperature_c", "precipitation_mm"]
    return load_atlas().stations[columns].iloc[::3]


def _biomes() -> pd.DataFrame:
    return load_atlas().places[["lon", "lat", "biome", "elevation_m"]].dropna().iloc[:600]


SAMPLES: dict[str, Callable[[], pd.DataFrame]] = {
    "weather stations": _stations,
    "places and their biomes": _biomes,
}
SAMPLE_CODE = {
    "weather stations": "sx.load_atlas().stations"
    "[['lon', 'lat', 'temperature_c', 'precipitation_mm']].iloc[::3]",
    "places and their biomes": "sx.load_atlas().places"
    "[['lon', 'lat', 'biome', 'elevation_m']].dropna().iloc[:600]",
}
"""The same, as Python writes them."""


def sample(name: str) -> Dropped:
    """Return a sample as the content of a file."""
    return Dropped(csv_bytes(SAMPLES[name]()), name)


def table_code(upload: Any) -> cells.Code:
    """Write what reads a table again: a path, a sample, or a call with what was corrected.

    Parameters
    ----------
    upload : Reading or bytes
        A file that was dropped; one without a name is called your-table.csv.
    """
    reading = isinstance(upload, Reading)
    name = upload.source if reading else getattr(upload, "name", "your-table.csv")
    source = cells.Code(SAMPLE_CODE.get(name) or repr(name))
    asked = dict(upload.asked) if reading else {}
    return cells.call("sx.read_places", source, **asked) if asked else source


def n_bytes(size: str) -> int:
    """Read a size such as 50MB, in the units of the browser's field."""
    return int(size[:-2]) * 1024 ** ("KMG".index(size[-2]) + 1)


class BoundedDropper(pn.widgets.FileDropper):
    """A field that takes one file of the size it says: not every browser is what it says it is."""

    def _process_event(self, event: Any) -> None:
        if event.event_name == "upload_event":
            if event.data["chunk"] == 1:
                self._file_buffer.clear()
                self.value.clear()
            held = sum(len(part) for parts in self._file_buffer.values() for part in parts)
            if held + len(event.data["data"]) > n_bytes(str(self.max_file_size)):
                self._file_buffer.clear()
                return
            if event.data["chunk"] != 1 and event.data["name"] not in self._file_buffer:
                return  # the rest of what was refused
        super()._process_event(event)


def drop_field(use: Callable[[bytes], None], max_size: str, **options: Any) -> Any:
    """Make a field for one file.

    Parameters
    ----------
    use : callable
        Called with the content, `Dropped`.
    max_size : str
        Of the file, as "50MB"; a larger one is refused in the browser, and again on the server.
    **options
        Of the field.
    """
    drop = BoundedDropper(
        max_file_size=max_size, max_files=1, height=64, stylesheets=[STYLE], **options
    )

    def dropped(event: Any) -> None:
        for name, content in (event.new or {}).items():
            use(Dropped(content if isinstance(content, bytes) else str(content).encode(), name))
            return

    drop.param.watch(dropped, "value")
    return drop

"""Places whose embedding is closest to the selected one: a table, and marks on the map."""

from __future__ import annotations

import html
from typing import Any

import pandas as pd
import panel as pn
import param

from satclip_explore.neighbors import atlas_index, has_atlas_index, nearest_neighbors
from satclip_explore.panes import cells, theme
from satclip_explore.panes.background import Background, Job
from satclip_explore.panes.base import Pane, served_page
from satclip_explore.panes.download_menu import DownloadMenu
from satclip_explore.panes.downloads import (
    Choice,
    code_choice,
    stem,
    table_choices,
)
from satclip_explore.panes.rows import Rows


class NeighborsPane(Pane):
    """Land places of the embedded atlas most like the selected one.

    Parameters
    ----------
    places : pandas.DataFrame, optional
        Where to search, with coordinate columns; default the embedded atlas.
    """

    n_neighbors = param.Integer(8, bounds=(1, 50), doc="rows to list")
    min_distance_km = param.Number(500.0, bounds=(0.0, 10_000.0), doc="leave out what lies nearer")
    spacing_km = param.Number(250.0, bounds=(0.0, 5_000.0), doc="keep neighbors this far apart")
    region = param.String("", doc="search only in this continent or country; empty: everywhere")

    found = param.DataFrame(default=None, allow_None=True, doc="what `search` found last")

    _not_settings: tuple[str, ...] = (*Pane._not_settings, "found")

    def __init__(self, encoder: Any, places: pd.DataFrame | None = None, **params: Any) -> None:
        self._places, self._shown = places, False
        self._background = Background()
        super().__init__(encoder, **params)

    @param.depends(
        "encoder", "selection.lonlat", "n_neighbors", "min_distance_km", "spacing_km", "region"
    )
    def table(self) -> pd.DataFrame:
        """Return the neighbors, best first; see `nearest_neighbors`."""
        return nearest_neighbors(
            self.encoder,
            self.selection.lonlat,
            self.n_neighbors,
            self.min_distance_km,
            self.region.strip() or None,
            spacing_km=self.spacing_km,
            places=self._places,
        )

    @param.depends(
        "encoder", "selection.settled", "n_neighbors", "min_distance_km", "spacing_km", "region",
        watch=True,
    )  # fmt: skip
    def _follow(self) -> None:
        if self._shown:
            self.search()

    def search(self) -> None:
        """Find the neighbors, and mark them on the map; on a page the first search comes later."""
        # What was begun for another encoder is no longer wanted.
        self._background.stop()
        self.busy = ""
        encoder = self.encoder
        if served_page() is None or self._places is not None or has_atlas_index(encoder):
            self._find()
            return

        def work(job: Job) -> None:
            atlas_index(encoder, job.check)

        def done(_: Any) -> None:
            self.busy = ""
            self._find()

        def failed(error: ValueError) -> None:
            self.param.update(busy="", message=str(error))

        self.busy = "encoding candidate places …"
        self._background.start(work, done, failed)

    def _find(self) -> None:
        table, message = None, ""
        try:
            table = self.table()
        except ValueError as error:
            message = str(error)
        if table is not None and table.empty:
            table, message = None, "no place is left: lower the distance or widen the region."
        self.param.update(found=table, message=message)
        self.selection.marks = [] if table is None else _marks(table)

    def visit(self, row: int) -> None:
        """Select the place of a row, counted from 0."""
        if self.found is not None and row < len(self.found):
            self.selection.select(*self.found.iloc[row][["lon", "lat"]])

    @param.depends("found")
    def view(self) -> str:
        """Write what was found as markup."""
        if self.found is None:
            return ""
        note = html.escape(self.found.attrs.get("note", ""))
        said = f"<p class='hint' role='note'>This is {note}</p>" if note else ""
        return said + _markup(self.found, _labels(self.found))

    def downloads(self) -> list[Choice]:
        """List what the places can be had as."""
        found, encoder = self.found, self.encoder
        if found is None:
            raise ValueError("there are no places to download yet.")
        known = ", ".join(name for name in found if name not in ("lon", "lat"))
        asked = {
            "n_neighbors": self.n_neighbors, "min_distance_km": self.min_distance_km,
            "region": self.region.strip() or None, "spacing_km": self.spacing_km,
        }  # fmt: skip
        wanted = {name: value for name, value in asked.items() if value is not None}
        if self._places is not None:
            wanted["places"] = cells.Code("places")
        call = cells.call("sx.nearest_neighbors", cells.Code("encoder"), self.selection.lonlat,
                          **wanted)  # fmt: skip
        inside = f"{len(found)} places: longitude, latitude, {known}"
        return [
            *table_choices(lambda _: found, stem(encoder.name, "places-like-this"), inside),
            code_choice(cells.cell({"encoder": encoder}, call)),
        ]

    def __panel__(self) -> Any:
        self._shown = True
        self.search()
        controls = (
            theme.text_input(self.param.region, "Region", 120, placeholder="everywhere"),
            theme.select(self.param.min_distance_km, "Farther than", 106, options=_DISTANCES),
            theme.select(self.param.n_neighbors, "Rows", 68, options=[5, 8, 10, 20, 50]),
            DownloadMenu(self.downloads),
        )
        # One pane whose text changes: a new one each time lays the whole page out anew.
        rows = Rows(self.visit, object=self.param.found.rx.pipe(lambda _: self.view()),
                    sizing_mode="stretch_width")  # fmt: skip
        body = pn.Column(rows, max_height=262, scroll="y-auto", sizing_mode="stretch_width",
                         margin=0)  # fmt: skip
        return theme.card("Places like this one", self.status(), body, actions=controls,
                          hint="click one to go there")  # fmt: skip


_DISTANCES = {f"{km:,} km": float(km) for km in (0, 100, 500, 1_000, 2_500, 5_000)}


def _labels(table: pd.DataFrame) -> list[str]:
    """Name each place after a town and a country, as far as the table knows them."""
    columns = [table[name].fillna("").astype(str) for name in ("near", "country") if name in table]
    if not columns:
        return [theme.coordinates(place) for place in table[["lon", "lat"]].to_numpy()]
    return [", ".join(filter(None, names)) for names in zip(*columns, strict=True)]


def _marks(table: pd.DataFrame) -> list[tuple[float, float, str]]:
    """Number the places, as (lon, lat, label)."""
    rows = zip(table["lon"], table["lat"], _labels(table), strict=True)
    return [(float(lon), float(lat), f"{rank}. {label}")
            for rank, (lon, lat, label) in enumerate(rows, start=1)]  # fmt: skip


def _markup(table: pd.DataFrame, labels: list[str]) -> str:
    has_biome = "biome" in table
    table = table.fillna({"biome": ""}) if has_biome else table
    rows = []
    for rank, (row, label) in enumerate(zip(table.to_dict("records"), labels, strict=True)):
        biome = f"<td class='b'>{html.escape(str(row['biome']))}</td>" if has_biome else ""
        share = max(0.0, float(row["similarity"])) * 100
        rows.append(
            f"<tr data-row='{rank}' title='{html.escape(label, quote=True)}'>"
            f"<td class='r'>{rank + 1}</td><td class='p'>{html.escape(label)}</td>"
            f"<td class='d'><span class='bar'><i style='width:{share:.0f}%'></i></span> "
            f"{row['similarity']:.3f}</td>"
            f"<td class='d'>{row['distance_km']:,.0f} km</td>{biome}</tr>"
        )
    return (
        f"<style>{STYLE}</style><table class='n'><tr><th></th><th>Place</th>"
        f"<th title='{LIKENESS}'>Likeness</th><th>Distance</th>"
        f"{'<th>Biome</th>' if has_biome else ''}</tr>{''.join(rows)}</table>"
    )


LIKENESS = "Cosine of the angle between two embeddings: 1 is the same, 0 has nothing in common."

STYLE = f"""
.r {{ color: {theme.ACCENT}; font-weight: 600; width: 18px; }}
.p {{ max-width: 170px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }}
.b {{ max-width: 120px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
  color: {theme.MUTED}; }}
.d {{ white-space: nowrap; }}
.bar {{ display: inline-block; width: 34px; height: 5px; border-radius: 3px; vertical-align: middle;
  background: {theme.LINE}; }}
.bar i {{ display: block; height: 5px; border-radius: 3px; background: {theme.ACCENT}; }}
"""

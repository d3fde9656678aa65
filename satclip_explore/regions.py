"""Continents, countries, boxes and polygons: which places lie inside."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satclip_explore.atlas import (
    OFFSHORE_KM,
    codes_at,
    country_raster,
    country_table,
    outlines_geojson,
)
from satclip_explore.geo import Bounds, as_lonlat, check_bounds, wrap_lon
from satclip_explore.html_view import facts_table
from satclip_explore.polygons import Polygon, in_polygons, read_polygons


@dataclass(frozen=True, eq=False, repr=False)
class Region:
    """A part of the Earth that can say which places it contains; made by `region`.

    Parameters
    ----------
    name : str
        As shown to people.
    kind : {"continent", "country", "box", "polygon"}
        How the region is given.
    bounds : tuple of float
        (lon_min, lat_min, lon_max, lat_max) in degrees, lon_min in [-180, 180); lon_max is above
        180 where the region crosses the antimeridian.
    codes : frozenset of int
        Codes in the country raster; continents and countries only.
    polygons : tuple
        Rings of vertices; polygons only.
    """

    name: str
    kind: str
    bounds: Bounds
    codes: frozenset[int] = frozenset()
    polygons: tuple[Polygon, ...] = field(default=())

    def contains(self, lonlat: Any) -> NDArray[np.bool_]:
        """Tell which places lie inside.

        Parameters
        ----------
        lonlat : array_like or table
            N places in degrees, longitude first; see `geo.as_lonlat`.

        Returns
        -------
        numpy.ndarray, shape (N,), bool
            Continents and countries are known to 0.1 degree and include places up to 50 km off
            their coast that are nearer to them than to other land: harbors and small islands.
            Edges of a box are inside.
        """
        lonlat = as_lonlat(lonlat)
        if self.codes:
            wanted = np.isin(np.arange(256), sorted(self.codes))
            return wanted[codes_at(lonlat, offshore=True)]
        if self.polygons:
            return in_polygons(self.polygons, lonlat)
        lon_min, lat_min, lon_max, lat_max = self.bounds
        lon, lat = lonlat.T
        within = (lon - lon_min) % 360.0 <= lon_max - lon_min
        return within & (lat >= lat_min) & (lat <= lat_max)

    @property
    def __geo_interface__(self) -> dict[str, Any]:
        """The region as GeoJSON: what shapely, geopandas and folium take.

        A MultiPolygon, longitudes past 180 where it crosses the antimeridian. For continents and
        countries it is the outline simplified to 0.1 degree, without the 50 km off the coast.
        """
        if self.codes:
            wanted = set(country_table()["country"][country_table()["code"].isin(self.codes)])
            shapes = [
                polygon
                for feature in outlines_geojson("countries")["features"]
                if feature["properties"]["country"] in wanted
                for polygon in feature["geometry"]["coordinates"]
            ]
        elif self.polygons:
            shapes = [[ring.tolist() for ring in polygon] for polygon in self.polygons]
        else:
            west, south, east, north = self.bounds
            # Readers take an edge of more than 180 degrees the other way round.
            lon = np.linspace(west, east, 5).tolist()
            foot, head = [[x, south] for x in lon], [[x, north] for x in reversed(lon)]
            shapes = [[[*foot, *head, foot[0]]]]
        return {"type": "MultiPolygon", "coordinates": shapes}

    def __repr__(self) -> str:
        return f"Region({self.name!r}, kind={self.kind!r}, bounds={self.bounds})"

    def _repr_html_(self) -> str:
        west, south, east, north = self.bounds
        rows = {
            "kind": self.kind,
            "longitude": f"{west:.2f}° to {east:.2f}°",
            "latitude": f"{south:.2f}° to {north:.2f}°",
        }
        if self.codes:
            rows["coast"] = f"places up to {OFFSHORE_KM} km off it are inside"
        return facts_table(self.name, rows)


def region(area: Any) -> Region:
    """Make a region from a name, a box or a polygon.

    Parameters
    ----------
    area : str, sequence, mapping, geometry or Region
        One of:

        - the name of a continent or country, or its ISO 3166 alpha-3 code, in any case;
          see `list_regions`;
        - a box (lon_min, lat_min, lon_max, lat_max) in degrees, which crosses the antimeridian
          when lon_min is above lon_max or lon_max above 180;
        - vertices [(lon, lat), …] of one polygon, at least three;
        - a GeoJSON geometry, feature or collection, as a dict, of polygons;
        - a shapely polygon, a GeoDataFrame, or anything with `__geo_interface__`.

        A Region comes back as it is.

    Returns
    -------
    Region
        With `.contains(lonlat)`.

    Raises
    ------
    ValueError
        If the name is unknown (the closest names are offered), the box is empty or out of range,
        or the polygon is not one, holds values that are not finite, or is too large.

    Notes
    -----
    Edges of polygons are straight in longitude and latitude. An edge longer than 180 degrees goes
    the short way round, over the antimeridian; for a wider box give its four bounds. A ring that
    goes round a pole contains the pole nearer to it. Several polygons are joined.

    Examples
    --------
    >>> region("africa").contains([(31.2, 30.0), (13.4, 52.5)]).tolist()
    [True, False]
    >>> region((170, -30, -170, 0)).contains([(178.4, -18.1), (0.0, -18.1)]).tolist()
    [True, False]
    """
    if isinstance(area, Region):
        return area
    if isinstance(area, str):
        return _named(area)
    if not isinstance(area, Mapping) and not hasattr(area, "__geo_interface__"):
        box = _as_box(area)
        if box is not None:
            return box
    polygons = read_polygons(area)
    n_vertices = sum(len(ring) - 1 for rings in polygons for ring in rings)
    lows = np.array([rings[0].min(axis=0) for rings in polygons])
    highs = np.array([rings[0].max(axis=0) for rings in polygons])
    spans = np.stack([wrap_lon(lows[:, 0]), highs[:, 0] - lows[:, 0]], axis=1)
    west, east = _shortest_arc(spans)
    bounds = (west, float(lows[:, 1].min()), east, float(highs[:, 1].max()))
    return Region(f"polygon of {n_vertices} vertices", "polygon", bounds, polygons=polygons)


def list_regions() -> pd.DataFrame:
    """List the continents and countries that `region` knows by name.

    Returns
    -------
    pandas.DataFrame
        name, kind ("continent" or "country"), continent (more than one joined by ", "), iso_a3.
    """
    table = country_table()
    countries = table.groupby("country", as_index=False).agg(
        continent=("continent", ", ".join), iso_a3=("iso_a3", "first")
    )
    continents = sorted(table["continent"].unique())
    listed = [
        pd.DataFrame({"name": continents, "kind": "continent", "continent": continents}),
        countries.rename(columns={"country": "name"}).assign(kind="country"),
    ]
    return pd.concat(listed, ignore_index=True).fillna({"iso_a3": ""})


def _named(text: str) -> Region:
    found = _names().get(_fold(text)) if len(text) <= 100 else None
    if found is None:
        shown = text if len(text) <= 60 else text[:57] + "..."
        close = difflib.get_close_matches(_fold(shown), _names(), n=6, cutoff=0.75)
        offers = list(dict.fromkeys(_names()[key][1] for key in close))[:3]
        hint = f"did you mean {' or '.join(offers)}?" if offers else "list_regions() names all."
        raise ValueError(f"no continent or country is called {shown!r}; {hint}")
    kind, name = found
    table = country_table()
    codes = frozenset(table["code"][table[kind] == name].tolist())
    return Region(name, kind, _raster_bounds(codes), codes=codes)


@cache
def _names() -> dict[str, tuple[str, str]]:
    """Map area people may type, folded, to a column of the country table and a name in it."""
    names: dict[str, tuple[str, str]] = {}
    # Later entries win: full names over short ones, continents over countries.
    for row in country_table().itertuples():
        for alias in (row.iso_a3, *str(row.aliases).split("|")):
            names[_fold(str(alias))] = ("country", str(row.country))
    for column in ("country", "continent"):
        for name in country_table()[column]:
            names[_fold(name)] = (column, str(name))
    names.pop("", None)
    return names


def _fold(text: str) -> str:
    """Drop case, accents, spaces and punctuation."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in plain if char.isalnum())


@cache
def _occupied() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Say which rows (256, 1800) and columns (256, 3600) of the raster each code has land in."""
    nearest, land = country_raster()
    rows, columns = np.nonzero(land)
    codes = nearest[rows, columns]
    by_row = np.zeros((256, land.shape[0]), dtype=bool)
    by_column = np.zeros((256, land.shape[1]), dtype=bool)
    by_row[codes, rows] = by_column[codes, columns] = True
    return by_row, by_column


def _raster_bounds(codes: frozenset[int]) -> Bounds:
    """Find the smallest bounds that hold all land cells with these codes."""
    by_row, by_column = _occupied()
    rows = np.flatnonzero(by_row[sorted(codes)].any(axis=0))
    columns = np.flatnonzero(by_column[sorted(codes)].any(axis=0))
    cell = 360.0 / by_column.shape[1]
    spans = np.stack([columns * cell - 180.0, np.full(len(columns), cell)], axis=1)
    west, east = _shortest_arc(spans)
    north, south = 90.0 - rows[0] * cell, 90.0 - (rows[-1] + 1) * cell
    return round(west, 6), round(float(south), 6), round(east, 6), round(float(north), 6)


def _shortest_arc(spans: NDArray[np.float64]) -> tuple[float, float]:
    """Find the shortest stretch of longitude that holds all spans (start, width), in degrees."""
    spans = spans[np.argsort(spans[:, 0])]
    starts = np.r_[spans[:, 0], spans[0, 0] + 360.0]
    reach = np.maximum.accumulate(spans.sum(axis=1))
    # A span that passes the antimeridian also covers the first ones, a turn later.
    reach = np.maximum(reach, reach[-1] - 360.0)
    gaps = starts[1:] - reach
    widest = int(np.argmax(gaps))
    if gaps[widest] <= 1e-6:
        return -180.0, 180.0
    west = starts[(widest + 1) % len(spans)]
    return float(west), round(float(west + 360.0 - gaps[widest]), 9)


def _as_box(area: Any) -> Region | None:
    """Read four plain numbers as a box; None where something else arrived."""
    try:
        values = np.asarray(area, dtype=np.float64)
    except (TypeError, ValueError, ArithmeticError):
        return None
    if values.shape != (4,):
        return None
    lon_min, lat_min, lon_max, lat_max = values.tolist()
    if np.isfinite(values).all() and max(abs(lon_min), abs(lon_max)) > 540.0:
        raise ValueError(
            f"longitudes must lie in [-540, 540] degrees; got {tuple(values.tolist())}."
        )
    if lon_min > lon_max:
        lon_max += 360.0
    lon_min, lat_min, lon_max, lat_max = check_bounds((lon_min, lat_min, lon_max, lat_max))
    width = lon_max - lon_min
    west = float(wrap_lon(lon_min))
    bounds = (
        (-180.0, lat_min, 180.0, lat_max)
        if width == 360.0
        else (west, lat_min, west + width, lat_max)
    )
    name = "box " + ", ".join(f"{value:g}" for value in bounds)
    return Region(name, "box", bounds)

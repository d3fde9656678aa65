"""The embedded atlas: labeled places, countries by location, outlines. No network, no GIS library.

What the files hold, and whose they are, is in `data/SOURCES.md`, shown by `load_atlas().sources`.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satclip_explore.geo import EARTH_RADIUS_KM, Grid, as_lonlat, unit_vectors, wrap_lon
from satclip_explore.html_view import facts_table

DATA = Path(__file__).parent / "data"

BASEMAP = DATA / "basemap.jpg"
"""NASA's Blue Marble, 1024 x 512 pixels, plate carrée, the whole globe. Public domain."""

OFFSHORE_KM = 50
"""How far from a coast a place still counts as near that country, in km."""

OUTLINE_KINDS = ("land", "countries")


@dataclass(frozen=True)
class Atlas:
    """Labeled places that ship with the package.

    Parameters
    ----------
    places : pandas.DataFrame
        20,000 land places, uniform by area, in random order: lon, lat (degrees), country,
        continent, biome, ecoregion, koppen, elevation_m, population_density (people per km²),
        near (a populated place) and near_km. Unknown values are NaN.
    stations : pandas.DataFrame
        3,076 weather stations: lon, lat (degrees), temperature_c, precipitation_mm (annual
        means), country, continent.
    sources : str
        Where every number comes from, and its license, in Markdown.
    """

    places: pd.DataFrame
    stations: pd.DataFrame
    sources: str

    @property
    def lonlat(self) -> NDArray[np.float64]:
        """The land places, shape (M, 2), degrees, longitude first."""
        return self.places[["lon", "lat"]].to_numpy(dtype=np.float64)

    def nearest(self, lonlat: Any) -> pd.DataFrame:
        """Find the labeled land place nearest to each place.

        Parameters
        ----------
        lonlat : array_like or table
            N places in degrees, longitude first; see `geo.as_lonlat`.

        Returns
        -------
        pandas.DataFrame
            N rows of `places`, with `distance_km` added; the index says which rows they are.
        """
        vectors = unit_vectors(self.lonlat)
        query = unit_vectors(as_lonlat(lonlat))
        rows = np.array(
            [np.argmax(vectors @ vector) for vector in query],
            dtype=np.intp,
        )
        # From the chord: the arc cosine of a product near 1 would lose meters.
        chord = np.linalg.norm(vectors[rows] - query, axis=1)
        distance = 2.0 * EARTH_RADIUS_KM * np.arcsin(np.clip(chord / 2.0, 0.0, 1.0))
        return self.places.iloc[rows].assign(distance_km=distance)

    def __repr__(self) -> str:
        return f"Atlas({len(self.places):,} land places, {len(self.stations):,} weather stations)"

    def _repr_html_(self) -> str:
        counts = self.places["continent"].value_counts()
        return facts_table(
            f"{len(self.places):,} land places, uniform by area, and "
            f"{len(self.stations):,} weather stations",
            {str(name): f"{count:,}" for name, count in counts.items()},
        )


def load_atlas() -> Atlas:
    """Load the embedded places.

    Returns
    -------
    Atlas
        Read once; every call gives tables of its own, which may be changed freely.

    Examples
    --------
    >>> load_atlas()
    Atlas(20,000 land places, 3,076 weather stations)
    """
    atlas = _read_atlas()
    return Atlas(atlas.places.copy(), atlas.stations.copy(), atlas.sources)


@cache
def _read_atlas() -> Atlas:
    return Atlas(
        places=pd.read_csv(DATA / "atlas.csv.gz", keep_default_na=False, na_values=[""]),
        stations=pd.read_csv(DATA / "stations.csv.gz", keep_default_na=False, na_values=[""]),
        sources=(DATA / "SOURCES.md").read_text(encoding="utf-8"),
    )


def country_at(lonlat: Any, *, offshore: bool = False) -> NDArray[np.object_]:
    """Name the country of each place.

    Parameters
    ----------
    lonlat : array_like or table
        N places in degrees, longitude first; see `geo.as_lonlat`.
    offshore : bool
        Also name the nearest country up to 50 km off its coast.

    Returns
    -------
    numpy.ndarray, shape (N,), object
        Names of Natural Earth's 2017 release; "" at sea. Borders are good to 0.1 degree.

    Examples
    --------
    >>> country_at([(13.4, 52.5), (-30.0, 40.0)]).tolist()
    ['Germany', '']
    """
    return _lookup("country", lonlat, offshore)


def continent_at(lonlat: Any, *, offshore: bool = False) -> NDArray[np.object_]:
    """Name the continent of each place; parameters and result as in `country_at`.

    Examples
    --------
    >>> continent_at([(82.9, 55.0), (-53.0, 4.0)]).tolist()
    ['Asia', 'South America']
    """
    return _lookup("continent", lonlat, offshore)


def land_mask(grid: Grid) -> NDArray[np.bool_]:
    """Tell which pixels of a grid have their center on land.

    Parameters
    ----------
    grid : Grid
        Pixel centers, shape (H, W).

    Returns
    -------
    numpy.ndarray, shape (H, W), bool
        From cells of 0.1 degree; lakes count as land, as in the country polygons.
    """
    _, land = country_raster()
    rows, columns = _cells(grid.lon, grid.lat)
    return land[np.ix_(rows, columns)]


@cache
def country_table() -> pd.DataFrame:
    """Read what the codes of the country raster mean.

    Returns
    -------
    pandas.DataFrame
        Row i belongs to code i + 1: code, country, continent, iso_a3, aliases (joined by "|"). A
        country on two continents has two rows. Shared by all callers: do not change it.
    """
    return pd.read_csv(DATA / "countries.csv", keep_default_na=False)


@cache
def country_raster() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Read the country raster: 0.1 degree, north up, from -180.

    Returns
    -------
    nearest : numpy.ndarray, shape (1800, 3600), uint8
        Code of the country that holds the cell, or of the nearest within 50 km; 0 elsewhere.
    land : numpy.ndarray, shape (1800, 3600), bool
        True where a country holds the cell. Both are shared by all callers and read-only.
    """
    with np.load(DATA / "countries.npz", allow_pickle=False) as file:
        nearest, packed = file["nearest"], file["land"]
    land = np.unpackbits(packed).astype(bool).reshape(nearest.shape)
    nearest.flags.writeable = land.flags.writeable = False
    return nearest, land


def codes_at(lonlat: Any, *, offshore: bool = False) -> NDArray[np.uint8]:
    """Look up the code of each place in `country_table`, shape (N,); 0 at sea."""
    lonlat = as_lonlat(lonlat)
    nearest, land = country_raster()
    cells = _cells(lonlat[:, 0], lonlat[:, 1])
    codes = nearest[cells]
    return codes if offshore else np.where(land[cells], codes, np.uint8(0))


def _lookup(column: str, lonlat: Any, offshore: bool) -> NDArray[np.object_]:
    names = np.array(["", *country_table()[column]], dtype=object)
    return names[codes_at(lonlat, offshore=offshore)]


def _cells(lon: Any, lat: Any) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Say which row and which column of the raster hold a latitude and a longitude."""
    height, width = country_raster()[0].shape
    rows = ((90.0 - np.asarray(lat)) * (height / 180.0)).astype(np.intp)
    columns = ((wrap_lon(lon) + 180.0) * (width / 360.0)).astype(np.intp)
    return np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)


def outlines_geojson(kind: str = "land") -> dict[str, Any]:
    """Read the outlines as polygons.

    Parameters
    ----------
    kind : {"land", "countries"}
        Countries carry their name as property `country`.

    Returns
    -------
    dict
        A GeoJSON FeatureCollection of MultiPolygons, cut at the antimeridian, simplified to about
        0.1 degree; a fresh copy.

    Raises
    ------
    ValueError
        If `kind` is unknown.
    """
    if kind not in OUTLINE_KINDS:
        raise ValueError(f"kind must be one of {', '.join(OUTLINE_KINDS)}; got {kind!r}.")
    content = json.loads(gzip.decompress((DATA / "outlines.json.gz").read_bytes()))
    return dict(content[kind])


@cache
def _lines(kind: str) -> tuple[NDArray[np.float64], ...]:
    lines = []
    for feature in outlines_geojson(kind)["features"]:
        for polygon in feature["geometry"]["coordinates"]:
            for ring in polygon:
                lines += _off_frame(np.array(ring))
    for line in lines:
        line.flags.writeable = False
    return tuple(lines)


def _off_frame(ring: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Cut away the segments along the edge of the map, where polygons were only cut."""
    on_edge = (np.abs(ring) == (180.0, 90.0)).T
    # Both ends on the same edge: of the two meridians, or of the foot of the map.
    along = (on_edge[:, :-1] & on_edge[:, 1:]).any(axis=0)
    if not along.any():
        return [ring]
    runs = np.split(np.arange(len(ring)), np.flatnonzero(along) + 1)
    return [ring[run] for run in runs if len(run) > 1]


def outlines(kind: str = "land") -> list[NDArray[np.float64]]:
    """Read the outlines as lines to draw.

    Parameters
    ----------
    kind : {"land", "countries"}
        Coasts, or the borders of countries, coasts included.

    Returns
    -------
    list of numpy.ndarray, shape (K, 2)
        Degrees, longitude first, read-only. No line crosses the antimeridian or follows it.

    Raises
    ------
    ValueError
        If `kind` is unknown.
    """
    if kind not in OUTLINE_KINDS:
        raise ValueError(f"kind must be one of {', '.join(OUTLINE_KINDS)}; got {kind!r}.")
    return list(_lines(kind))

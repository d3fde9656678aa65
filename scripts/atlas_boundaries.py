"""Countries, their raster and their outlines: the part of the atlas that is made of boundaries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import shapely
from rasterio.features import rasterize
from scipy.ndimage import binary_dilation
from scipy.spatial import cKDTree

from satclip_explore.geo import EARTH_RADIUS_KM, Grid, unit_vectors

CELL = 0.1  # degrees, of the country raster
OFFSHORE_KM = 50.0  # sea cells this close to land know which land it is
TOLERANCE = 0.1  # degrees, of the outlines
SPECK = 0.02  # square degrees: smaller islands are not drawn, unless they are all of a country

# Natural Earth files these under "Seven seas"; here islands go with the nearest continent.
OPEN_OCEAN = {
    "British Indian Ocean Territory": "Asia",
    "French Southern and Antarctic Lands": "Antarctica",
    "Heard Island and McDonald Islands": "Antarctica",
    "Maldives": "Asia",
    "Mauritius": "Africa",
    "Saint Helena": "Africa",
    "Seychelles": "Africa",
    "South Georgia and the Islands": "Antarctica",
}
# Parts of a country that lie on another continent than its capital, by box in degrees.
ELSEWHERE = (
    ("France", (-70.0, 0.0, -45.0, 10.0), "South America"),
    ("France", (-70.0, 10.0, -45.0, 25.0), "North America"),
    ("France", (40.0, -30.0, 60.0, -5.0), "Africa"),
    ("Netherlands", (-75.0, 10.0, -60.0, 20.0), "North America"),
    ("Spain", (-20.0, 25.0, 0.0, 35.95), "Africa"),
    ("Portugal", (-20.0, 25.0, -10.0, 34.0), "Africa"),
    ("United States of America", (-180.0, 15.0, -150.0, 30.0), "Oceania"),
    ("Chile", (-115.0, -35.0, -75.0, -20.0), "Oceania"),
    ("Norway", (0.0, -60.0, 10.0, -50.0), "Antarctica"),
)
# Watershed, Kara river, then the sea east of Novaya Zemlya: good to about half a degree.
URALS = ((61.5, 40.0), (61.5, 51.0), (59.0, 53.0), (59.0, 60.0), (60.0, 65.0), (66.0, 67.5))
KARA_SEA = ((64.8, 69.2), (70.0, 73.0), (70.0, 90.0))
ASIAN_RUSSIA = shapely.MultiPolygon(
    [
        shapely.Polygon([*URALS, *KARA_SEA, (180.0, 90.0), (180.0, 40.0)]),
        shapely.box(-180.0, 40.0, -160.0, 90.0),
    ]
)
# Names that readers type and the 2017 table lacks.
ALIASES = {
    "Czechia": "Czech Republic",
    "Ivory Coast": "Cote d'Ivoire",
    "Macedonia": "North Macedonia",
    "Myanmar": "Burma",
    "Swaziland": "Eswatini",
    "Turkey": "Türkiye",
    "United Kingdom": "UK|Great Britain",
    "United States of America": "US|USA|America",
    "Vatican": "Holy See",
}


def read_countries(shared: Path) -> tuple[geopandas.GeoDataFrame, geopandas.GeoDataFrame]:
    """Read countries, and the units they consist of: one row per country and continent."""
    countries = geopandas.read_file(shared / "boundaries/ne_50m_admin_0_countries.geojson")
    countries = countries.sort_values("ADMIN", kind="stable", ignore_index=True)
    countries["geometry"] = countries.geometry.make_valid()
    rows = []
    for country in countries.itertuples():
        for part in shapely.get_parts(country.geometry):
            if part.geom_type not in ("Polygon", "MultiPolygon"):
                continue
            rows += [
                {"country": country.ADMIN, "continent": continent, "geometry": piece}
                for continent, piece in split_by_continent(country, part)
            ]
    parts = geopandas.GeoDataFrame(rows, crs=countries.crs)
    units = parts.dissolve(["country", "continent"], as_index=False, sort=True)
    table = countries.drop(columns="geometry").set_index("ADMIN").loc[units["country"]]
    units["iso_a3"] = table["ISO_A3"].where(table["ISO_A3"] != "-99", table["ADM0_A3"]).to_numpy()
    names = zip(table["NAME_LONG"], table["NAME"], units["country"], strict=True)
    units["aliases"] = [
        "|".join(dict.fromkeys(n for n in (*pair, ALIASES.get(admin, "")) if n and n != admin))
        for *pair, admin in names
    ]
    if len(units) > 255:
        raise ValueError(f"the raster holds 255 units; got {len(units)}.")
    units.insert(0, "code", np.arange(1, len(units) + 1))
    return countries, units


def split_by_continent(country: Any, part: Any) -> list[tuple[str, Any]]:
    """Say on which continent a polygon of a country lies; a polygon over the Urals gives two."""
    home = OPEN_OCEAN.get(country.ADMIN, country.CONTINENT)
    if country.ADMIN == "Russia":
        pieces = [("Asia", part & ASIAN_RUSSIA), ("Europe", part - ASIAN_RUSSIA)]
        return [(name, piece) for name, piece in pieces if piece.area > 0]
    point = part.representative_point()
    for name, bounds, continent in ELSEWHERE:
        if name == country.ADMIN and shapely.box(*bounds).covers(point):
            return [(continent, part)]
    return [(home, part)]


def build_raster(units: geopandas.GeoDataFrame) -> dict[str, Any]:
    """Rasterize the units, and tell sea cells near a coast which unit is nearest."""
    grid = Grid.from_resolution(CELL)
    height, width = grid.shape
    transform = rasterio.Affine(CELL, 0.0, -180.0, 0.0, -CELL, 90.0)
    shapes = list(zip(units.geometry, units["code"], strict=True))
    codes = rasterize(shapes, out_shape=grid.shape, transform=transform, dtype="uint8")
    # An island smaller than a cell holds no cell center, and would not exist.
    for geometry, code in shapes:
        for part in shapely.get_parts(geometry):
            row, column = cells_around(part.representative_point(), height, width)[0]
            codes[row, column] = codes[row, column] or code
    for geometry, code in shapes:
        if not (codes == code).any():
            place_microstate(codes, code, geometry.representative_point())
    land = codes > 0
    sea_rows, sea_columns = np.nonzero(~land)
    rim = land & binary_dilation(~land, iterations=1, structure=np.ones((3, 3)))
    # The rim of the array is the rim of the map: columns 0 and -1 are neighbors on the sphere.
    rim[:, [0, -1]] |= land[:, [0, -1]]
    lonlat = grid.lonlat.reshape(height, width, 2)
    tree = cKDTree(unit_vectors(lonlat[rim]))
    chord = 2.0 * np.sin(OFFSHORE_KM / EARTH_RADIUS_KM / 2.0)
    nearest = codes.copy()
    for chunk in np.array_split(np.arange(len(sea_rows)), 20):
        rows, columns = sea_rows[chunk], sea_columns[chunk]
        distance, index = tree.query(
            unit_vectors(lonlat[rows, columns]), distance_upper_bound=chord, workers=2
        )
        found = np.isfinite(distance)
        nearest[rows[found], columns[found]] = codes[rim][index[found]]
    return {"nearest": nearest, "land": np.packbits(land)}


def cells_around(point: Any, height: int, width: int) -> list[tuple[int, int]]:
    """List the cell that holds a point and its eight neighbors, nearest center first."""
    y, x = (90.0 - point.y) / CELL, (point.x + 180.0) / CELL
    row, column = min(int(y), height - 1), min(int(x), width - 1)
    around = [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    inside = [(i, j % width) for i, j in around if 0 <= i < height]
    return sorted(inside, key=lambda cell: np.hypot(cell[0] + 0.5 - y, cell[1] + 0.5 - x))


def place_microstate(codes: np.ndarray, code: int, point: Any) -> None:
    """Give a country without a cell the nearest one that is not all that another country has."""
    for row, column in cells_around(point, *codes.shape):
        if codes[row, column] == 0 or (codes == codes[row, column]).sum() > 1:
            codes[row, column] = code
            return
    raise ValueError(f"no cell is free near {point}.")


def build_outlines(shared: Path, countries: geopandas.GeoDataFrame) -> dict[str, Any]:
    """Simplify land and countries for display; neighbors keep their common border."""
    land = geopandas.read_file(shared / "boundaries/ne_50m_land.geojson").geometry.make_valid()
    parts = shapely.get_parts(land.to_numpy())
    parts = parts[shapely.get_type_id(parts) == 3]
    borders = shapely.coverage_simplify(countries.geometry.to_numpy(), TOLERANCE)
    return {
        "land": collection(drawable(part) for part in shapely.simplify(parts, TOLERANCE)),
        "countries": collection(
            (drawable(border, keep_one=True) for border in borders),
            [{"country": str(name)} for name in countries["ADMIN"]],
        ),
    }


def drawable(geometry: Any, *, keep_one: bool = False) -> Any:
    """Round to 0.01 degree and drop specks; `keep_one` keeps the largest part of all."""
    # Antarctica runs along the foot of the map: no segment there may be half a globe long.
    parts = shapely.get_parts(shapely.segmentize(geometry, 90.0))
    keep = shapely.area(parts) >= SPECK
    if keep_one and not keep.any():
        keep[np.argmax(shapely.area(parts))] = True
    rounded = []
    for part in parts[keep]:
        rings = [np.asarray(ring.coords).round(2) for ring in (part.exterior, *part.interiors)]
        rings = [ring[np.r_[True, (np.diff(ring, axis=0) != 0).any(axis=1)]] for ring in rings]
        if len(rings[0]) >= 4:
            rounded.append([ring.tolist() for ring in rings if len(ring) >= 4])
    return rounded


def collection(geometries: Any, properties: Any = None) -> dict[str, Any]:
    """Make a GeoJSON FeatureCollection of lists of polygons; empty ones are left out."""
    shapes = list(geometries)
    properties = properties or [{} for _ in shapes]
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": values,
                "geometry": {"type": "MultiPolygon", "coordinates": shape},
            }
            for shape, values in zip(shapes, properties, strict=True)
            if shape
        ],
    }

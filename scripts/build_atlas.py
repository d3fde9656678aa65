"""Build the atlas that ships with the package from openly licensed global data.

    python -m scripts.build_atlas --shared ../shared/data

run in the root of a checkout, reads boundaries, ecoregions, climate, elevation, population and
stations, and writes the small derived files of `satclip_explore/data`. The same inputs give the
same files, byte for byte, with the same library versions. What each file holds, and under which
licence, is in SOURCES.md there.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import rasterio
import shapely
from PIL import Image
from rasterio.features import rasterize
from scipy.ndimage import binary_dilation, map_coordinates
from scipy.spatial import cKDTree

from satclip_explore.geo import EARTH_RADIUS_KM, Grid, equal_area_sample, unit_vectors

OUT = Path(__file__).resolve().parents[1] / "satclip_explore" / "data"
N_PLACES = 20_000
SEED = 2024
CELL = 0.1  # degrees, of the country raster
OFFSHORE_KM = 50.0  # sea cells this close to land know which land it is
TOLERANCE = 0.1  # degrees, of the outlines
SPECK = 0.02  # square degrees: smaller islands are not drawn, unless they are all of a country

# Natural Earth files these under "Seven seas"; here they follow the United Nations' M49 regions.
OPEN_OCEAN = {
    "British Indian Ocean Territory": "Africa",
    "French Southern and Antarctic Lands": "Africa",
    "Heard Island and McDonald Islands": "Oceania",
    "Maldives": "Asia",
    "Mauritius": "Africa",
    "Saint Helena": "Africa",
    "Seychelles": "Africa",
    "South Georgia and the Islands": "South America",
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
    transform = rasterio.transform.from_origin(-180.0, 90.0, CELL, CELL)
    shapes = list(zip(units.geometry, units["code"], strict=True))
    codes = rasterize(shapes, out_shape=grid.shape, transform=transform, dtype="uint8")
    # An island smaller than a cell holds no cell center, and would not exist.
    for geometry, code in shapes:
        lost_country = not (codes == code).any()
        for part in shapely.get_parts(geometry):
            point = part.representative_point()
            row = min(int((90.0 - point.y) / CELL), height - 1)
            column = min(int((point.x + 180.0) / CELL), width - 1)
            if codes[row, column] == 0 or lost_country:
                codes[row, column] = code
                lost_country = False
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


def sample_raster(path: Path, lonlat: np.ndarray) -> np.ndarray:
    """Read the cell that holds each place of a global north-up raster."""
    with rasterio.open(path) as source:
        values = source.read(1)
    height, width = values.shape
    rows = np.clip(((90.0 - lonlat[:, 1]) / 180.0 * height).astype(int), 0, height - 1)
    columns = np.clip(((lonlat[:, 0] + 180.0) / 360.0 * width).astype(int), 0, width - 1)
    return values[rows, columns]


def interpolate_elevation(
    path: Path, lonlat: np.ndarray, units: geopandas.GeoDataFrame
) -> np.ndarray:
    """Interpolate cell means bilinearly between cell centers, across the antimeridian.

    Cells whose center is at sea count as sea level: the depth of the water off a coast says
    nothing about the height of the land behind it.
    """
    with rasterio.open(path) as source:
        values = source.read(1).astype(np.float64)
        land = rasterize(units.geometry, out_shape=values.shape, transform=source.transform)
    values[land == 0] = 0.0
    height, width = values.shape
    values = np.pad(values, ((0, 0), (1, 1)), mode="wrap")
    rows = (90.0 - lonlat[:, 1]) / 180.0 * height - 0.5
    columns = (lonlat[:, 0] + 180.0) / 360.0 * width + 0.5
    return map_coordinates(values, [rows, columns], order=1, mode="nearest")


def match(lonlat: np.ndarray, frame: geopandas.GeoDataFrame) -> np.ndarray:
    """Say in which row of a table of polygons each place lies, -1 where in none."""
    place, row = shapely.STRtree(frame.geometry.to_numpy()).query(
        shapely.points(lonlat), predicate="intersects"
    )
    found = np.full(len(lonlat), -1)
    # Reversed, so that the first row wins where simplified polygons overlap.
    order = np.lexsort((-row, place))
    found[place[order]] = row[order]
    return found


def build_places(shared: Path, units: geopandas.GeoDataFrame) -> pd.DataFrame:
    """Draw land places uniformly by area and look up what is known of each."""
    lonlat = equal_area_sample(5 * N_PLACES, seed=SEED).round(4)
    unit = match(lonlat, units)
    land = np.flatnonzero(unit >= 0)[:N_PLACES]
    if len(land) < N_PLACES:
        raise ValueError(f"the sample holds {len(land)} land places; {N_PLACES} are needed.")
    lonlat, unit = lonlat[land], unit[land]

    ecoregions = geopandas.read_file(shared / "ecoregions/Ecoregions2017.shp")
    ecoregions["BIOME_NAME"] = ecoregions["BIOME_NAME"].replace("N/A", "Rock and Ice")
    ecoregion = match(lonlat, ecoregions)
    legend = (shared / "climate/koppen_geiger_legend.txt").read_text(encoding="utf-8")
    classes = dict(
        line.split()[:2] for line in legend.splitlines() if line[:8].strip().endswith(":")
    )
    koppen = sample_raster(shared / "climate/koppen_geiger_1991_2020_0p1.tif", lonlat)
    density = sample_raster(
        shared / "population/gpw_v4_population_density_rev11_2020_15_min.tif", lonlat
    ).astype(np.float64)
    elevation = interpolate_elevation(shared / "elevation/etopo_20min.tif", lonlat, units)
    towns = pd.read_csv(shared / "points/natural_earth_populated_places.csv", keep_default_na=False)
    chord, town = cKDTree(unit_vectors(towns[["lon", "lat"]])).query(unit_vectors(lonlat))
    return pd.DataFrame(
        {
            "lon": lonlat[:, 0],
            "lat": lonlat[:, 1],
            "country": units["country"].to_numpy()[unit],
            "continent": units["continent"].to_numpy()[unit],
            "biome": names_of(ecoregions["BIOME_NAME"], ecoregion),
            "ecoregion": names_of(ecoregions["ECO_NAME"], ecoregion),
            "koppen": [classes.get(f"{code}:") for code in koppen],
            "elevation_m": elevation.round().astype(int),
            "population_density": np.where(density < 0, np.nan, density.round(2)),
            "near": towns["name"].to_numpy()[town],
            "near_km": (2 * EARTH_RADIUS_KM * np.arcsin(chord / 2)).round().astype(int),
        }
    )


def names_of(names: pd.Series, rows: np.ndarray) -> np.ndarray:
    """Look up names by row, None for row -1."""
    return np.where(rows >= 0, names.to_numpy(dtype=object)[rows], None)


def build_stations(shared: Path, units: geopandas.GeoDataFrame, raster: dict[str, Any]) -> Any:
    """Take the annual means of the weather stations, and say where each of them is."""
    raw = pd.read_csv(shared / "climate/air_temperature_stations.csv")
    lonlat = raw[["Lon", "Lat"]].to_numpy().round(4)
    unit = match(lonlat, units)
    # Coasts at 1:50 million leave harbors and small islands at sea.
    rows = np.clip(((90.0 - lonlat[:, 1]) / CELL).astype(int), 0, raster["nearest"].shape[0] - 1)
    columns = ((lonlat[:, 0] + 180.0) / CELL).astype(int) % raster["nearest"].shape[1]
    unit = np.where(unit >= 0, unit, raster["nearest"][rows, columns].astype(int) - 1)
    return pd.DataFrame(
        {
            "lon": lonlat[:, 0],
            "lat": lonlat[:, 1],
            "temperature_c": raw["meanT"].round(2),
            "precipitation_mm": raw["meanP"].round().astype(int),
            "country": names_of(units["country"], unit),
            "continent": names_of(units["continent"], unit),
        }
    )


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


def build_basemap(shared: Path) -> bytes:
    """Shrink NASA's Blue Marble by area averaging to one JPEG of 1024 x 512 pixels."""
    source = shared / "imagery/basemap/world.topo.bathy.200407.3x8192x4096.jpg"
    with Image.open(source) as image:
        small = image.convert("RGB").reduce(8)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=88, optimize=True)
    return buffer.getvalue()


def csv_gz(frame: pd.DataFrame) -> bytes:
    """Write a table as gzipped CSV without a time stamp; missing is empty."""
    return gzip_bytes(frame.to_csv(index=False, lineterminator="\n").encode())


def gzip_bytes(data: bytes) -> bytes:
    """Compress without a time stamp, so that equal content gives equal files."""
    return gzip.compress(data, compresslevel=9, mtime=0)


def build(shared: Path) -> dict[str, bytes]:
    """Compute every file of the atlas: name to content."""
    countries, units = read_countries(shared)
    raster = build_raster(units)
    packed = io.BytesIO()
    np.savez_compressed(packed, **raster)
    table = units.drop(columns="geometry").to_csv(index=False, lineterminator="\n")
    outlines = json.dumps(build_outlines(shared, countries), separators=(",", ":"))
    return {
        "atlas.csv.gz": csv_gz(build_places(shared, units)),
        "stations.csv.gz": csv_gz(build_stations(shared, units, raster)),
        "countries.csv": table.encode(),
        "countries.npz": packed.getvalue(),
        "outlines.json.gz": gzip_bytes(outlines.encode()),
        "basemap.jpg": build_basemap(shared),
    }


def main() -> None:
    """Build the atlas and write it into the package."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True, help="folder of the source data")
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write into")
    arguments = parser.parse_args()
    if not arguments.shared.is_dir():
        parser.error(f"no folder {arguments.shared}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, content in build(arguments.shared).items():
        (arguments.out / name).write_bytes(content)
        print(f"{name}: {len(content):,} bytes")


if __name__ == "__main__":
    main()

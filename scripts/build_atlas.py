"""Build the atlas that ships with the package from openly licensed global data.

    python -m scripts.build_atlas --shared ../shared/data

run in the root of a checkout, reads boundaries, ecoregions, climate, elevation, population and
stations, and writes the small derived files of `satclip_explore/data`. The same inputs give the
same files, byte for byte, with the same library versions. What each file holds, and under which
license, is in SOURCES.md there.
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
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from satclip_explore.geo import EARTH_RADIUS_KM, equal_area_sample, unit_vectors
from scripts.atlas_boundaries import CELL, build_outlines, build_raster, read_countries

OUT = Path(__file__).resolve().parents[1] / "satclip_explore" / "data"
N_PLACES = 20_000
SEED = 2024
SMALLEST_TOWN = 1_000
"""People in the smallest place that can be found by name."""


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


def build_basemap(shared: Path) -> bytes:
    """Shrink NASA's Blue Marble by area averaging to one JPEG of 1024 x 512 pixels."""
    source = shared / "imagery/basemap/world.topo.bathy.200407.3x8192x4096.jpg"
    with Image.open(source) as image:
        small = image.convert("RGB").reduce(8)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=88, optimize=True)
    return buffer.getvalue()


def build_gazetteer(shared: Path) -> pd.DataFrame:
    """Choose the populated places that can be found by name, largest first."""
    source = pd.read_csv(
        shared / "points/natural_earth_populated_places.csv", keep_default_na=False
    )
    source = source[source["pop_max"] >= SMALLEST_TOWN].sort_values(
        ["pop_max", "name"], ascending=[False, True]
    )
    return pd.DataFrame(
        {
            "name": source["name"],
            "district": source["adm1name"],
            "country": source["adm0name"],
            "population": source["pop_max"],
            "lon": source["lon"].round(3),
            "lat": source["lat"].round(3),
        }
    )


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
        "gazetteer.csv.gz": csv_gz(build_gazetteer(shared)),
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

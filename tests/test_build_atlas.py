"""The script that makes the atlas: the committed files follow from the sources."""

from __future__ import annotations

import gzip
import io
import json

import numpy as np
import pandas as pd
import pytest

from satclip_explore.atlas import DATA
from satclip_explore.geo import as_lonlat, great_circle_km

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(shared):
    for package in ("geopandas", "rasterio", "shapely", "scipy", "PIL"):
        pytest.importorskip(package)
    from scripts.build_atlas import build

    return build(shared / "data")


def test_the_script_makes_exactly_the_committed_files(built):
    committed = {path.name for path in DATA.iterdir() if path.is_file()}
    assert set(built) <= committed
    assert all(name in (DATA / "SOURCES.md").read_text(encoding="utf-8") for name in built)


@pytest.mark.parametrize("name", ["atlas.csv.gz", "stations.csv.gz", "outlines.json.gz"])
def test_compressed_files_are_reproduced(built, name):
    """Their content: another compression library may pack the same text differently."""
    assert gzip.decompress(built[name]) == gzip.decompress((DATA / name).read_bytes())
    assert built[name][4:8] == bytes(4)  # no time stamp


def test_country_table_and_raster_are_reproduced(built):
    assert built["countries.csv"] == (DATA / "countries.csv").read_bytes()
    with np.load(io.BytesIO(built["countries.npz"])) as new, np.load(DATA / "countries.npz") as old:
        assert set(new) == set(old) == {"nearest", "land"}
        for key in old:
            np.testing.assert_array_equal(new[key], old[key])


def test_basemap_is_reproduced(built):
    image = pytest.importorskip("PIL.Image")
    new = np.asarray(image.open(io.BytesIO(built["basemap.jpg"])), dtype=float)
    old = np.asarray(image.open(DATA / "basemap.jpg"), dtype=float)
    # Decoders differ by a level or two.
    assert np.abs(new - old).max() <= 4


def test_stations_are_those_of_the_source(shared):
    source = pd.read_csv(shared / "data/climate/air_temperature_stations.csv")
    stations = pd.read_csv(DATA / "stations.csv.gz")
    lonlat = as_lonlat(source.rename(columns={"Lon": "lon", "Lat": "lat"}))
    assert great_circle_km(lonlat, stations[["lon", "lat"]]).max() < 0.01
    assert np.abs(stations["temperature_c"] - source["meanT"]).max() < 0.0051
    assert np.abs(stations["precipitation_mm"] - source["meanP"]).max() <= 0.5


def test_elevation_agrees_with_independent_points(shared):
    geopandas = pytest.importorskip("geopandas")
    from scripts.atlas_boundaries import read_countries
    from scripts.build_atlas import interpolate_elevation

    assert geopandas is not None
    labels = pd.read_csv(shared / "data/mosaiks/mosaiks_elevation.csv")
    _, units = read_countries(shared / "data")
    found = interpolate_elevation(
        shared / "data/elevation/etopo_20min.tif", labels[["lon", "lat"]].to_numpy(), units
    )
    # Measured 0.969 and 209 m, as SOURCES.md says.
    assert 0.968 < np.corrcoef(found, labels["elevation"])[0, 1] < 0.971
    assert 200 < np.sqrt(np.mean((found - labels["elevation"]) ** 2)) < 215


def test_every_polygon_is_drawn_inside_the_map(built):
    outlines = json.loads(gzip.decompress(built["outlines.json.gz"]))
    for collection in outlines.values():
        for feature in collection["features"]:
            for polygon in feature["geometry"]["coordinates"]:
                for ring in polygon:
                    assert (np.abs(ring).max(axis=0) <= (180, 90)).all()
                    assert (np.round(ring, 2) == ring).all()


def test_the_command_writes_the_files(shared, built, tmp_path, monkeypatch, capsys):
    from scripts import build_atlas

    monkeypatch.setattr(build_atlas, "build", lambda shared: {"countries.csv": b"1"})
    arguments = ["build_atlas", "--shared", str(shared), "--out", str(tmp_path / "new")]
    monkeypatch.setattr("sys.argv", arguments)
    build_atlas.main()
    assert (tmp_path / "new/countries.csv").read_bytes() == b"1"
    assert "countries.csv: 1 bytes" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["build_atlas", "--shared", str(tmp_path / "absent")])
    with pytest.raises(SystemExit):
        build_atlas.main()
    assert "no folder" in capsys.readouterr().err

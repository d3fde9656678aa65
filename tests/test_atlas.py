"""The embedded atlas: what is in it, and lookups at the edges of the map."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from satclip_explore.atlas import (
    BASEMAP,
    DATA,
    codes_at,
    continent_at,
    country_at,
    country_raster,
    country_table,
    land_mask,
    load_atlas,
    outlines,
    outlines_geojson,
)
from satclip_explore.geo import Grid, great_circle_km


def test_atlas_holds_twenty_thousand_places_with_every_label():
    places = load_atlas().places
    assert len(places) == 20_000
    assert list(places) == [
        "lon", "lat", "country", "continent", "biome", "ecoregion", "koppen", "elevation_m",
        "population_density", "near", "near_km",
    ]  # fmt: skip
    assert places["lon"].between(-180, 180, inclusive="left").all()
    assert places["lat"].between(-90, 90).all()
    missing = places.isna().mean()
    assert (missing[["country", "continent", "elevation_m", "near"]] == 0).all()
    assert 0 < missing["biome"] < 0.015
    assert 0 < missing["koppen"] < 0.005
    # The population grid stops at 60 S; nothing is invented for Antarctica.
    assert 0.08 < missing["population_density"] < 0.10
    assert places["population_density"].dropna().ge(0).all()
    assert places["biome"].nunique() == 15
    assert places["koppen"].nunique() >= 25


def test_atlas_is_uniform_by_area():
    """Shares of the land by continent, from areas in 10^6 km² with Russia divided at the Urals."""
    shares = load_atlas().places["continent"].value_counts(normalize=True)
    areas = {"Africa": 30.1, "Asia": 44.3, "Europe": 10.1, "North America": 24.3}
    areas |= {"South America": 17.8, "Oceania": 8.6, "Antarctica": 13.7}
    total = sum(areas.values())
    for continent, area in areas.items():
        # Sampling alone gives 0.3 % of all places; the areas themselves are good to 1 %.
        assert abs(shares[continent] - area / total) < 0.012, continent
    # By area, half of the sphere lies within 30 degrees of the equator; a plain degree grid of
    # land would put 30 % of the places beyond 60 degrees.
    assert 0.16 < (load_atlas().places["lat"].abs() > 60).mean() < 0.21


def test_first_places_are_a_random_sample():
    places = load_atlas().places
    shares = [part["continent"].eq("Asia").mean() for part in (places.head(2000), places)]
    assert abs(shares[0] - shares[1]) < 0.04  # four standard deviations of 2,000 draws


def test_known_labels_are_near_known_places():
    atlas = load_atlas()
    sahara, amazon, vostok = atlas.nearest([(5.0, 23.0), (-63.0, -4.0), (106.8, -78.5)]).to_dict(
        "records"
    )
    assert sahara["koppen"] == "BWh"
    assert sahara["biome"] == "Deserts & Xeric Shrublands"
    assert amazon["country"] == "Brazil"
    assert amazon["biome"] == "Tropical & Subtropical Moist Broadleaf Forests"
    assert amazon["koppen"] == "Af"
    assert vostok["continent"] == "Antarctica"
    assert 3200 < vostok["elevation_m"] < 3800
    assert np.isnan(vostok["population_density"])


def test_nearest_crosses_the_antimeridian_and_reports_its_distance():
    atlas = load_atlas()
    for place in [(179.999, 67.0), (-180.0, 67.0), (0.0, 90.0), (0.0, -90.0)]:
        found = atlas.nearest([place])
        every = great_circle_km(np.array(place), atlas.lonlat)
        assert found.index[0] == every.argmin()
        assert found["distance_km"].item() == pytest.approx(every.min(), rel=1e-9)


def test_nearest_keeps_a_batch_of_one_and_an_empty_one():
    atlas = load_atlas()
    assert len(atlas.nearest((13.4, 52.5))) == 1
    empty = atlas.nearest(np.empty((0, 2)))
    assert len(empty) == 0
    assert "distance_km" in empty


def test_stations_are_plausible_and_located():
    stations = load_atlas().stations
    assert len(stations) == 3076
    assert stations["temperature_c"].between(-30, 35).all()
    assert stations["precipitation_mm"].between(0, 6000).all()
    assert stations["country"].isna().sum() == 17
    # Warm at the equator, cold toward the poles.
    tropics = stations["lat"].abs() < 15
    assert stations["temperature_c"][tropics].mean() > 20
    assert stations["temperature_c"][stations["lat"] > 65].mean() < 0


def test_tables_of_two_callers_are_separate():
    atlas = load_atlas()
    atlas.places["lon"] = 0.0
    atlas.stations["lat"] = 0.0
    assert load_atlas().places["lon"].nunique() > 10_000
    assert load_atlas().stations["lat"].nunique() > 1_000


def test_atlas_shows_itself_and_its_sources():
    atlas = load_atlas()
    assert repr(atlas) == "Atlas(20,000 land places, 3,076 weather stations)"
    assert "South America" in atlas._repr_html_()
    for word in ("CC BY 4.0", "Natural Earth", "Beck et al. 2023", "Hooker", "scripts.build_atlas"):
        assert word in atlas.sources
    assert {path.name for path in DATA.glob("*.gz")} <= set(atlas.sources.replace("`", " ").split())


def test_tables_read_with_pandas_and_its_defaults():
    plain = pd.read_csv(DATA / "atlas.csv.gz")
    pd.testing.assert_frame_equal(plain, load_atlas().places)


def test_countries_at_poles_antimeridian_and_sea():
    lonlat = [(0, 90), (0, -90), (-180, 67), (179.999, 67), (180, 67), (-30, 40), (12.453, 41.903)]
    expected = ["", "Antarctica", "Russia", "Russia", "Russia", "", "Vatican"]
    assert country_at(lonlat).tolist() == expected
    assert country_at((13.4, 52.5)).tolist() == ["Germany"]
    assert country_at(np.empty((0, 2))).shape == (0,)


def test_every_country_holds_a_cell():
    nearest, land = country_raster()
    assert set(np.unique(nearest[land])) == set(country_table()["code"])
    assert country_table()["code"].tolist() == list(range(1, len(country_table()) + 1))


def test_shared_arrays_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        country_raster()[0][0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        outlines()[0][0] = 0.0


def test_continents_follow_the_land_and_not_the_capital():
    lonlat = [(82.9, 55.0), (37.6, 55.7), (-53.0, 4.0), (-155.5, 19.6), (-15.6, 28.0), (-175, 67)]
    expected = ["Asia", "Europe", "South America", "Oceania", "Africa", "Asia"]
    assert continent_at(lonlat).tolist() == expected
    assert country_at(lonlat[:3]).tolist() == ["Russia", "Russia", "France"]


def test_offshore_names_the_nearest_coast_up_to_fifty_km():
    near, far = (-9.80, 38.7), (-11.0, 38.7)  # 25 and 130 km west of Portugal
    assert country_at([near, far]).tolist() == ["", ""]
    assert country_at([near, far], offshore=True).tolist() == ["Portugal", ""]
    assert continent_at([near], offshore=True).tolist() == ["Europe"]
    # Between Spain and Morocco each side belongs to the nearer one.
    strait = country_at([(-5.3, 36.05), (-5.3, 35.93)], offshore=True)
    assert strait.tolist() == ["Spain", "Morocco"]


def test_offshore_reaches_across_the_antimeridian():
    """Taveuni in Fiji lies on both sides: the sea east and west of 180 belongs to it."""
    assert country_at([(179.7, -17.3), (-179.9, -17.3)], offshore=True).tolist() == ["Fiji"] * 2


def test_raster_and_exact_polygons_agree_on_the_places():
    places = load_atlas().places
    assert (country_at(places, offshore=True) == places["country"]).mean() > 0.995
    assert (continent_at(places, offshore=True) == places["continent"]).mean() > 0.9995


def test_land_mask_follows_the_grid():
    grid = Grid.from_resolution(0.5)
    mask = land_mask(grid)
    assert mask.shape == grid.shape
    assert mask.dtype == bool
    land = (mask * grid.area_weights[:, None]).sum() / (4 * np.pi)
    assert 0.28 < land < 0.30  # 29 % of the Earth is land
    np.testing.assert_array_equal(mask.ravel(), codes_at(grid.lonlat) > 0)


def test_land_mask_of_a_view_over_the_antimeridian_is_the_same_land():
    view = land_mask(Grid((170.0, 60.0, 190.0, 70.0), (20, 40)))
    world = land_mask(Grid((-180.0, 60.0, 180.0, 70.0), (20, 720)))
    np.testing.assert_array_equal(view, np.concatenate([world[:, -20:], world[:, :20]], axis=1))
    assert 0.2 < view.mean() < 0.9


def test_land_mask_of_one_pixel():
    assert land_mask(Grid((13.3, 52.4, 13.5, 52.6), (1, 1))).tolist() == [[True]]


@pytest.mark.parametrize("kind", ["land", "countries"])
def test_outlines_stay_on_the_map_and_never_jump(kind):
    lines = outlines(kind)
    assert len(lines) > 500
    for line in lines:
        assert line.ndim == 2
        assert line.shape[1] == 2
        assert len(line) >= 2
        assert np.abs(line).max(axis=0)[0] <= 180
        assert np.abs(line).max(axis=0)[1] <= 90
        assert np.abs(np.diff(line[:, 0])).max() < 90
        along_edge = (np.abs(line[:-1, 0]) == 180) & (line[:-1, 0] == line[1:, 0])
        assert not along_edge.any()
        assert not ((line[:-1, 1] == -90) & (line[1:, 1] == -90)).any()


@pytest.mark.parametrize("kind", ["land", "countries"])
def test_outline_polygons_are_closed_rings(kind):
    collection = outlines_geojson(kind)
    assert collection["type"] == "FeatureCollection"
    for feature in collection["features"]:
        for polygon in feature["geometry"]["coordinates"]:
            for ring in polygon:
                assert ring[0] == ring[-1]
                assert len(ring) >= 4
                assert np.abs(np.diff(np.array(ring)[:, 0])).max() <= 180


def test_every_country_has_an_outline():
    drawn = {f["properties"]["country"] for f in outlines_geojson("countries")["features"]}
    assert drawn == set(country_table()["country"])


def test_outlines_of_an_unknown_kind_are_refused():
    for function in (outlines, outlines_geojson):
        with pytest.raises(ValueError, match=r"kind must be one of land, countries; got 'rivers'"):
            function("rivers")


def test_files_are_small_and_the_basemap_is_a_picture():
    sizes = {path.name: path.stat().st_size for path in DATA.iterdir() if path.is_file()}
    names = ["atlas.csv.gz", "stations.csv.gz", "countries.csv", "countries.npz"]
    names += ["outlines.json.gz", "basemap.jpg"]
    assert all(0 < sizes[name] < 1_500_000 for name in names)
    assert sum(sizes[name] for name in names) < 2_500_000
    image = pytest.importorskip("PIL.Image").open(BASEMAP)
    assert image.size == (1024, 512)
    # Left edge -180, north up: central Sahara is bright and dry, the Pacific dark and blue.
    pixels = np.asarray(image.convert("RGB")).astype(int)
    sahara, pacific = pixels[190, 540], pixels[256, 100]
    assert sahara[0] > sahara[2] + 30
    assert pacific[2] > pacific[0] + 10


def test_atlas_loads_fast_without_gis_libraries():
    code = (
        "import sys, time; from satclip_explore.atlas import load_atlas; t = time.perf_counter(); "
        "load_atlas(); print(time.perf_counter() - t); "
        "bad = {'geopandas', 'shapely', 'rasterio', 'scipy', 'torch', 'panel'} & set(sys.modules); "
        "assert not bad, bad"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=DATA.parents[1]
    )
    assert result.returncode == 0, result.stderr
    # Measured 0.08 s; the bound only catches a change of kind on a busy machine.
    assert float(result.stdout) < 1.0

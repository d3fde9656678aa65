"""Means over polygons: against what can be worked out by hand."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
import shapely

import satclip_explore as sx
from satclip_explore.areas import Areas, areas_of
from satclip_explore.files.places import read_places
from satclip_explore.geo import unit_vectors
from training.tasks.tables import task_from_table


def box_mean(west, south, east, north):
    """Mean of (x, y, z) over a box of longitude and latitude, integrated by hand."""
    w, s, e, n = np.radians([west, south, east, north])
    area = (e - w) * (np.sin(n) - np.sin(s))
    along = (n - s) / 2 + (np.sin(2 * n) - np.sin(2 * s)) / 4
    z = (np.sin(n) ** 2 - np.sin(s) ** 2) / 2 * (e - w)
    return np.array([along * (np.sin(e) - np.sin(w)), along * (np.cos(w) - np.cos(e)), z]) / area


def mean_of(geometry, crs="EPSG:4326"):
    frame = gpd.GeoDataFrame(geometry=[geometry], crs=crs)
    return sx.load_encoder("xyz", dtype="float64").embed(frame)[0]


def parallel(lat, n=72):
    return [(lon, lat) for lon in np.linspace(-180, 180, n + 1)[:-1]]


@pytest.mark.parametrize("bounds", [(10, 40, 20, 50), (-60, -80, 30, -20), (0, 0, 1, 30)])
def test_the_mean_over_a_box_is_its_integral(bounds):
    np.testing.assert_allclose(mean_of(shapely.box(*bounds)), box_mean(*bounds), atol=5e-3)


def test_places_have_equal_areas_and_are_about_as_many_as_aimed_at():
    areas = Areas.of([shapely.box(0, 0, 60, 80)])
    assert 64 <= areas.counts[0] <= 80
    # Half of the area of this box lies below 29.5 degrees, not below 40.
    assert np.median(areas.lonlat[:, 1]) == pytest.approx(29.5, abs=3)
    assert areas.summary() == f"mean of {areas.counts[0]} places inside each"


def test_holes_are_outside_and_parts_count_by_their_area():
    whole, hole = (0, 0, 40, 40), (10, 5, 30, 35)
    ring = shapely.Polygon(shapely.box(*whole).exterior, [shapely.box(*hole).exterior])
    size = [(e - w) * np.diff(np.sin(np.radians([s, n])))[0] for w, s, e, n in (whole, hole)]
    expected = (box_mean(*whole) * size[0] - box_mean(*hole) * size[1]) / (size[0] - size[1])
    np.testing.assert_allclose(mean_of(ring), expected, atol=2e-2)
    assert not shapely.contains_xy(shapely.box(*hole), *Areas.of([ring]).lonlat.T).any()

    parts = [(0, 0, 20, 20), (90, 0, 95, 20)]
    weights = [0.8, 0.2]
    expected = sum(w * box_mean(*one) for w, one in zip(weights, parts, strict=True))
    found = mean_of(shapely.MultiPolygon([shapely.box(*one) for one in parts]))
    np.testing.assert_allclose(found, expected, atol=2e-2)


def test_polygons_cross_the_dateline_however_they_are_drawn():
    expected = box_mean(170, -20, 190, 10)
    jumping = shapely.Polygon([(170, -20), (-170, -20), (-170, 10), (170, 10)])
    split = shapely.MultiPolygon([shapely.box(170, -20, 180, 10), shapely.box(-180, -20, -170, 10)])
    for shape in (jumping, split, shapely.box(170, -20, 190, 10)):
        np.testing.assert_allclose(mean_of(shape), expected, atol=2e-3)
        reading = read_places(gpd.GeoDataFrame({"v": [1]}, geometry=[shape], crs="EPSG:4326"))
        lon, lat = reading.lonlat[0]
        assert 170 <= lon % 360 <= 190
        assert -20 <= lat <= 10


@pytest.mark.parametrize("pole", [1, -1])
def test_polygons_may_hold_a_pole(pole):
    cap = shapely.Polygon(parallel(60 * pole))
    expected = (0, 0, pole * (1 + np.sin(np.radians(60))) / 2)
    np.testing.assert_allclose(mean_of(cap), expected, atol=2e-3)
    belt = shapely.Polygon(parallel(60 * pole), [parallel(72 * pole)])
    expected = pole * (np.sin(np.radians(72)) + np.sin(np.radians(60))) / 2
    assert mean_of(belt)[2] == pytest.approx(expected, abs=5e-3)
    assert 60 < pole * Areas.of([belt]).inside[0, 1] < 72


def test_polygons_in_meters_round_a_pole_bend_as_they_should():
    square = shapely.box(-2e6, -2e6, 2e6, 2e6)
    plane = np.stack(np.meshgrid(*[(np.arange(100) - 49.5) * 4e4] * 2), axis=-1).reshape(-1, 2)
    there = pyproj.Transformer.from_crs("EPSG:3031", "EPSG:4326", always_xy=True)
    vectors = unit_vectors(np.stack(there.transform(*plane.T), axis=1))
    # A square meter of a stereographic plane is less on the ground, the farther from its center.
    expected = np.average(vectors, axis=0, weights=(1 - vectors[:, 2]) ** 2)
    np.testing.assert_allclose(mean_of(square, crs="EPSG:3031"), expected, atol=5e-3)


def test_slivers_points_and_lines_have_one_place():
    shapes = [shapely.Point(5, 6), shapely.LineString([(0, 0), (4, 0)]), shapely.box(0, 0, 1e-7, 1)]
    areas = Areas.of(shapes)
    assert areas.counts[:2].tolist() == [1, 1]
    assert areas.lonlat[0].tolist() == [5, 6]
    assert shapes[1].covers(shapely.Point(areas.lonlat[1]))
    assert areas.counts[2] >= 1


def test_what_has_no_place_is_refused():
    frame = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1), None], crs="EPSG:4326")
    with pytest.raises(ValueError, match="row 1 has no geometry"):
        areas_of(frame)
    with pytest.raises(ValueError, match="longitude and latitude.*row 0"):
        areas_of(gpd.GeoDataFrame(geometry=[shapely.box(4e5, 5e6, 5e5, 6e6)]))
    with pytest.raises(ValueError, match="'mean' or 'point'; got 'median'"):
        areas_of(frame, "median")


def test_places_without_coverage_do_not_count():
    areas = Areas.of([shapely.box(0, 0, 10, 10), shapely.box(20, 0, 30, 10)])
    east = lambda lonlat: np.where(lonlat[:, :1] > 5, lonlat[:, :1], np.nan)  # noqa: E731
    np.testing.assert_allclose(areas.mean(east), [[7.5], [25]], atol=0.1)
    assert areas.any(areas.lonlat[:, 0] > 12).tolist() == [False, True]
    assert np.isnan(areas.subset(np.array([0])).mean(lambda lonlat: lonlat * np.nan)).all()
    assert areas.subset(np.array([False, False])).mean(unit_vectors).shape == (0, 3)


def counties(n=12):
    rng = np.random.default_rng(0)
    corners = rng.uniform((-100, 30), (-80, 45), (n, 2))
    shapes = [shapely.box(x, y, x + 1, y + 1) for x, y in corners]
    frame = gpd.GeoDataFrame(
        {"GEOID": [f"{i:05d}" for i in range(n)], "income": corners[:, 1] * 1000.5},
        geometry=shapes, crs="EPSG:4326",
    )  # fmt: skip
    return frame.to_crs("EPSG:5070")


def test_a_frame_of_polygons_keeps_its_geometry_and_says_how_many_places():
    frame, encoder = counties(), sx.load_encoder("xyz")
    embedded = encoder.embed_frame(frame)
    assert isinstance(embedded, gpd.GeoDataFrame)
    assert embedded.crs == frame.crs
    assert embedded.geometry.equals(frame.geometry)
    assert (embedded["samples"] > 50).all()
    np.testing.assert_array_equal(embedded[[f"embed_{i}" for i in range(3)]], encoder.embed(frame))
    point = encoder.embed_frame(frame, polygons="point")
    assert (point["samples"] == 1).all()
    with pytest.raises(ValueError, match="column samples already"):
        encoder.embed_frame(embedded.drop(columns=embedded.filter(like="embed_")))


def test_tasks_over_polygons_average_and_predict_back_on_them(tmp_path):
    frame = counties(40)
    frame.to_file(tmp_path / "counties.gpkg")
    reading = read_places(tmp_path / "counties.gpkg")
    assert reading.frame["GEOID"][1] == "00001"
    assert reading.frame.crs == "EPSG:4326"
    task = task_from_table(reading, "income")
    assert (task.areas.counts > 50).all()
    assert len(task.subset(np.arange(20)).areas.counts) == 20
    assert (task_from_table(reading, "income", polygons="point").areas.counts == 1).all()

    found = sx.train_probe(
        tmp_path / "counties.gpkg", target="income", model="linear", encoder="xyz", seeds=1,
        baselines=False,
    )  # fmt: skip
    predicted = found.predict_frame(tmp_path / "counties.gpkg")
    assert isinstance(predicted, gpd.GeoDataFrame)
    assert predicted["GEOID"].tolist() == frame["GEOID"].tolist()
    assert np.corrcoef(predicted["prediction"], frame["income"])[0, 1] > 0.99
    again = found.predict_frame(frame.set_index("GEOID"))
    assert again.index.tolist() == frame["GEOID"].tolist()
    np.testing.assert_allclose(again["prediction"], predicted["prediction"], rtol=1e-4)
    with pytest.raises(ValueError, match="column prediction already"):
        found.predict_frame(again)
    # Tables of points are predicted row by row, too.
    points = pd.DataFrame({"lon": [-90.0], "lat": [40.0], "name": ["a"]})
    assert found.predict_frame(points)["name"].tolist() == ["a"]

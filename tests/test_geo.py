from datetime import date
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch

from satclip_explore.geo import (
    EARTH_RADIUS_KM,
    GLOBE,
    Grid,
    as_lonlat,
    check_bounds,
    equal_area_sample,
    great_circle_km,
    unit_vectors,
    wrap_lon,
)
from satclip_explore.lattice import Lattice
from satclip_explore.regions import region


def test_wrap_lon_keeps_minus_180():
    assert wrap_lon(-180.0) == -180.0
    assert wrap_lon(180.0) == -180.0


def test_wrap_lon_is_idempotent_and_stays_below_180():
    lon = np.concatenate(
        [np.random.default_rng(0).uniform(-1000, 1000, 1000), [-180 - 1e-14, np.nextafter(180, 0)]]
    )
    once = wrap_lon(lon)
    assert ((once >= -180) & (once < 180)).all()
    np.testing.assert_array_equal(wrap_lon(once), once)


@pytest.mark.parametrize(
    "given",
    [
        [13.4, 52.5],
        [(13.4, 52.5)],
        np.array([[13.4, 52.5]]),
        torch.tensor([[13.4, 52.5]], dtype=torch.float64, requires_grad=True),
        {"lon": [13.4], "lat": [52.5]},
        pd.DataFrame({"Latitude": [52.5], "Longitude": [13.4], "name": ["Berlin"]}),
        pd.DataFrame({"y": ["52.5"], "x": ["13.4"]}),
    ],
)
def test_as_lonlat_takes_what_people_have(given):
    np.testing.assert_allclose(as_lonlat(given), [[13.4, 52.5]], rtol=0, atol=1e-15)


def test_as_lonlat_reprojects_geodataframes():
    gpd = pytest.importorskip("geopandas")
    frame = gpd.GeoDataFrame(geometry=gpd.points_from_xy([13.4], [52.5]), crs="EPSG:4326")
    np.testing.assert_allclose(as_lonlat(frame.to_crs(3857)), [[13.4, 52.5]], atol=1e-9)


def test_as_lonlat_refuses_geometries_that_are_not_points():
    gpd = pytest.importorskip("geopandas")
    frame = gpd.GeoDataFrame(geometry=gpd.points_from_xy([13.4], [52.5]).buffer(1), crs=4326)
    with pytest.raises(ValueError, match="must be points; got Polygon"):
        as_lonlat(frame)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (np.zeros((2, 500)), r"got \(2, 500\). Did you mean lonlat.T"),
        (np.zeros((3, 3)), r"shape \(N, 2\)"),
        ([[0.0, np.nan]], "must be finite; got .* at row 0"),
        ([[np.inf, 0.0]], "must be finite"),
        ([[0.0, 0.0], [0.0, 91.0]], "got 91 at row 1"),
        ([[0.0, -90.001]], "latitude must lie in"),
        ([[52.5, 103.8]], "Are the columns swapped"),
        ([[500_000.0, 4_649_776.0]], "meters"),
        ({"a": [1.0], "b": [2.0]}, "no coordinate columns: .* got a, b"),
        ({"lon": ["east"], "lat": [2.0]}, "does not read as longitude"),
        ("Berlin", "hold numbers"),
        (None, "shape"),
    ],
)
def test_as_lonlat_says_what_is_wrong(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        as_lonlat(given)


def test_as_lonlat_of_nothing_is_an_empty_array():
    assert as_lonlat([]).shape == (0, 2)
    assert as_lonlat(pd.DataFrame({"lon": [], "lat": []})).shape == (0, 2)


def test_grid_centers_are_half_a_pixel_inside_and_north_first():
    grid = Grid.from_resolution(0.5)
    assert grid.shape == (360, 720)
    assert grid.lon[[0, -1]].tolist() == [-179.75, 179.75]
    assert grid.lat[[0, -1]].tolist() == [89.75, -89.75]
    assert grid.resolution == (0.5, 0.5)
    assert grid.lonlat[0].tolist() == [-179.75, 89.75]
    assert grid.lonlat[1].tolist() == [-179.25, 89.75]


def test_grid_area_weights_sum_to_four_pi():
    grid = Grid((-180, -90, 180, 90), (91, 37))
    total = grid.area_weights.sum() * grid.shape[1]
    assert abs(total - 4 * np.pi) < 1e-12


def test_grid_over_the_antimeridian_wraps_its_places():
    grid = Grid((170.0, -10.0, 190.0, 10.0), (2, 4))
    assert grid.lon.tolist() == [172.5, 177.5, 182.5, 187.5]
    assert grid.lonlat[:4, 0].tolist() == [172.5, 177.5, -177.5, -172.5]


@pytest.mark.parametrize(
    "bounds",
    [(0, 0, 0, 1), (0, 1, 1, 0), (0, 0, 361, 1), (0, -91, 1, 0), (0, 0, 1), (0, 0, 1, np.nan), 3],
)
def test_bounds_that_make_no_sense_are_refused(bounds):
    with pytest.raises(ValueError, match="bounds must be"):
        check_bounds(bounds)


def test_grids_refuse_what_cannot_be_built():
    with pytest.raises(ValueError, match="resolution must be above 0"):
        Grid.from_resolution(0.0)
    with pytest.raises(ValueError, match="number of rows must be at least 1"):
        Grid((-180, -90, 180, 90), (0, 3))
    with pytest.raises(ValueError, match="coarser resolution"):
        Grid.from_resolution(0.001)


@pytest.mark.parametrize("resolution", [1e-3, 1e-300, 5e-324])
def test_grids_beyond_any_memory_are_refused_before_they_are_built(resolution):
    with pytest.raises(ValueError, match="a grid may hold 50,000,000 pixels"):
        Grid.from_resolution(resolution)
    with pytest.raises(ValueError, match="number of rows may be at most 50,000,000"):
        Grid(GLOBE, (10**13, 1))
    with pytest.raises(ValueError, match="n_samples may be at most 50,000,000"):
        equal_area_sample(10**18)


def test_a_resolution_in_meters_is_refused_with_the_degrees_it_would_be():
    with pytest.raises(ValueError, match=r"1000 meters would be 0\.009 degrees"):
        Grid.from_resolution(1000)
    with pytest.raises(ValueError, match="larger than the bounds, 1 x 1 degrees"):
        Grid.from_resolution(30, (8, 47, 9, 48))
    # Coarse but within the bounds: what was asked for.
    assert Grid.from_resolution(30).shape == (6, 12)


@pytest.mark.parametrize(
    "value",
    [Decimal("sNaN"), Decimal("0.5"), Fraction(1, 2), date(2024, 1, 1), None, "1", True, [1.0]],
    ids=repr,
)
def test_what_is_no_number_is_refused_in_a_sentence(value):
    with pytest.raises(TypeError, match="resolution must be a number; got"):
        Grid.from_resolution(value)
    with pytest.raises(TypeError, match="n_samples must be a whole number; got"):
        equal_area_sample(value)
    with pytest.raises(ValueError, match="bounds must be"):
        check_bounds((0, 0, 10**400, value))


@pytest.mark.parametrize("value", [Decimal("sNaN"), date(2024, 1, 1), 10**400], ids=["d", "t", "h"])
def test_what_is_no_coordinate_is_refused_in_a_sentence(value):
    with pytest.raises(ValueError, match="lonlat must hold numbers"):
        as_lonlat([(0.0, value)])
    with pytest.raises(ValueError, match="lonlat must hold numbers"):
        as_lonlat(np.array([["2024-01-01", "2024-01-02"]], dtype="datetime64[D]"))


def test_bounds_over_the_antimeridian_are_those_of_a_region():
    assert check_bounds((170, -30, -170, 10)) == region((170, -30, -170, 10)).bounds
    grid = Grid.from_resolution(5.0, (170, -30, -170, 10))
    assert grid.lon.tolist() == [172.5, 177.5, 182.5, 187.5]
    assert grid == Grid.from_resolution(5.0, (170, -30, 190, 10))


def test_equal_area_sample_is_uniform_in_sine_of_latitude():
    lonlat = equal_area_sample(20_000, seed=0)
    north = (lonlat[:, 1] > 30.0).mean()  # a quarter of the sphere lies north of 30 degrees
    assert abs(north - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 20_000)
    np.testing.assert_array_equal(lonlat, equal_area_sample(20_000, seed=0))
    with pytest.raises(ValueError, match="at least 1"):
        equal_area_sample(0)


def test_great_circle_distances_have_known_values():
    quarter = np.pi / 2 * EARTH_RADIUS_KM
    assert abs(great_circle_km((0, 0), (0, 90)) - quarter) < 1e-9
    assert abs(great_circle_km((0, 0), (180, 0)) - 2 * quarter) < 1e-9
    assert abs(great_circle_km((179.5, 0), (-179.5, 0)) - EARTH_RADIUS_KM * np.radians(1)) < 1e-9
    centimeter = great_circle_km((0, 45), (0, 45 + 1e-7))
    assert abs(centimeter - EARTH_RADIUS_KM * np.radians(1e-7)) < 1e-9


def test_unit_vectors_point_where_they_should():
    np.testing.assert_allclose(
        unit_vectors([[0, 0], [90, 0], [0, 90]]), np.eye(3), rtol=0, atol=1e-15
    )


def test_lattices_are_equal_where_their_centers_are():
    """Rows 0 and 1 have the bounds and the shape of rows 2 and 3."""
    grid = Grid((-180, -90, 180, 90), (4, 8))
    columns = np.arange(8)
    first, again, other = (
        Lattice.of(grid, np.array(rows), columns) for rows in ([0, 1], [0, 1], [2, 3])
    )
    assert first == again
    assert hash(first) == hash(again)
    assert first != other
    assert first != Grid(first.bounds, first.shape)
    assert len({first, again, other}) == 2

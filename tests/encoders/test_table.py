"""Tables of vectors: nearest, bilinear, MOSAIKS files, and what is wrong with some of them."""

from __future__ import annotations

import math
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from satclip_explore.encoders.mosaiks import read_mosaiks
from satclip_explore.encoders.table import GridTable, from_table, split_table
from satclip_explore.geo import great_circle_km


@pytest.fixture
def frame() -> pd.DataFrame:
    """Four cells of 0.01°, two of them on either side of the antimeridian."""
    return pd.DataFrame(
        {
            "lon": [10.005, 10.015, 179.995, -179.995],
            "lat": [50.005, 50.005, -16.005, -16.005],
            "X_0": [1.0, 2.0, 3.0, 4.0],
            "X_1": [0.5, 0.25, 0.125, 0.0],
        }
    )


def test_the_nearest_vector_within_the_distance(frame):
    encoder = from_table(frame, max_distance_km=1.0)
    got = encoder.embed([(10.0051, 50.0049), (10.0149, 50.006), (10.005, 51.0)])
    np.testing.assert_array_equal(got[:2], [[1.0, 0.5], [2.0, 0.25]])
    assert np.isnan(got[2]).all()
    np.testing.assert_array_equal(
        encoder.coverage([(10.005, 50.005), (10.005, 51.0)]), [True, False]
    )
    assert (encoder.family, encoder.embed_dim) == ("table", 2)


def test_the_antimeridian_is_no_border(frame):
    encoder = from_table(frame, max_distance_km=1.0)
    got = encoder.embed([(180.0 - 0.001, -16.005), (-180.0 + 0.001, -16.005), (179.9999, -16.0)])
    np.testing.assert_array_equal(got[:, 0], [3.0, 4.0, 3.0])


def test_the_distance_is_a_great_circle_and_the_limit_is_exact():
    place, other = np.array([[0.0, 89.0]]), np.array([[90.0, 89.0]])
    distance = float(great_circle_km(place, other)[0])
    for limit, covered in ((distance * 1.0001, True), (distance * 0.9999, False)):
        encoder = from_table(place, [[7.0]], max_distance_km=limit)
        assert encoder.coverage(other).item() is covered


def test_without_a_limit_every_place_has_a_vector(frame):
    far = [(0.0, 90.0), (-100.0, -80.0)]
    assert from_table(frame, max_distance_km=math.inf).coverage(far).all()


def test_places_and_vectors_may_come_apart():
    encoder = from_table([(0.0, 0.0), (10.0, 0.0)], np.eye(2), dtype="float64")
    np.testing.assert_array_equal(encoder.embed((9.0, 1.0)), [[0.0, 1.0]])
    assert encoder.embed((9.0, 1.0)).dtype == np.float64


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_a_grid_may_have_rows_at_the_poles(method):
    values = np.arange(3 * 4.0).reshape(3, 4, 1)
    values[0], values[2] = 90.0, -90.0
    raster = xr.DataArray(
        values, dims=("lat", "lon", "embed"),
        coords={"lat": [-90.0, 0.0, 90.0], "lon": [-180.0, -90.0, 0.0, 90.0]},
    )  # fmt: skip
    encoder = from_table(raster, method=method)
    np.testing.assert_array_equal(
        encoder.embed([(70.0, -90.0), (10.0, 90.0), (-90.0, 0.0)]), [[90.0], [-90.0], [5.0]]
    )


def test_the_hash_follows_the_table(frame):
    other = frame.assign(X_0=frame["X_0"] + 1)
    assert from_table(frame).weights_hash == from_table(frame).weights_hash
    assert from_table(frame).weights_hash != from_table(other).weights_hash


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: from_table(pd.concat([f, f[:1]])), "1 rows repeat one, e.g. lon 10.005"),
        (lambda f: from_table(f.assign(lon=[180.0, 0, 1, -180.0], lat=0.0)), "repeat one"),
        (lambda f: from_table(f.assign(lat=[90.0, 90.0, 0.0, 1.0])), "repeat one.* lat 90"),
        (lambda f: from_table(f.assign(X_0=[1, 2, np.nan, 4])), "row 2 is not"),
        (lambda f: from_table(f.drop(columns=["lat"])), "no latitude beside it"),
        (lambda f: from_table(f[["lon", "lat"]]), "one vector per place"),
        (lambda f: from_table(f[:0]), "one vector per place"),
        (lambda f: from_table([(0, 0)], [[1.0], [2.0]]), "one vector per place"),
        (lambda f: from_table([(0, 0)]), "give vectors="),
        (lambda f: from_table(f, method="cubic"), "'nearest' or 'bilinear'"),
        (lambda f: from_table(f, max_distance_km=0.0), "above 0"),
        (lambda f: from_table(f, max_distance_km=float("nan")), "above 0"),
        (lambda f: from_table(f, method="bilinear"), "needs a complete grid"),
        (lambda f: from_table(f, method="bilinear", max_distance_km=1.0), "nearest' only"),
    ],
)
def test_a_bad_table_gets_one_sentence(frame, make, message):
    with pytest.raises(ValueError, match=message):
        make(frame)


def test_text_columns_and_row_numbers_are_no_features(frame):
    _, vectors = split_table(frame.assign(name="x", **{"Unnamed: 0": range(4)}))
    assert vectors.shape == (4, 2)


def test_without_scipy_it_says_what_to_install(frame, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.spatial", None)
    with pytest.raises(ModuleNotFoundError, match="pip install scipy"):
        from_table(frame)


def plane(lon, lat):
    """A vector that is linear in the coordinates: what bilinear must give exactly."""
    return np.stack([2.0 * lon - lat, lon + 0.5 * lat + 3.0], axis=-1)


@pytest.fixture
def raster() -> xr.DataArray:
    """A regional grid of 1°, north first."""
    lon, lat = np.arange(0.5, 8.0), np.arange(9.5, 4.0, -1.0)
    values = plane(*np.meshgrid(lon, lat))
    return xr.DataArray(values, {"lat": lat, "lon": lon}, ["lat", "lon", "embed"])


def test_bilinear_is_exact_on_a_plane(raster):
    encoder = from_table(raster, method="bilinear", dtype="float64")
    places = np.array([[0.5, 9.5], [3.2, 7.9], [7.5, 4.5], [1.0, 5.25], [6.99, 9.01]])
    np.testing.assert_allclose(encoder.embed(places), plane(*places.T), rtol=0, atol=1e-12)


def test_bilinear_continues_half_a_cell_and_no_farther(raster):
    encoder = from_table(raster, method="bilinear", dtype="float64")
    np.testing.assert_allclose(encoder.embed((0.0, 10.0))[0], plane(0.5, 9.5), atol=1e-12)
    np.testing.assert_allclose(encoder.embed((8.0, 4.0))[0], plane(7.5, 4.5), atol=1e-12)
    outside = [(-0.01, 7.0), (8.01, 7.0), (4.0, 10.01), (4.0, 3.99), (180.0, 7.0), (4.0, -90.0)]
    assert np.isnan(encoder.embed(outside)).all()
    assert not encoder.coverage(outside).any()
    assert encoder.coverage([(0.0, 4.0), (8.0, 10.0)]).all()


def test_a_grid_around_the_globe_is_joined_at_the_antimeridian():
    lon, lat = np.arange(-175.0, 180.0, 10.0), np.arange(-85.0, 90.0, 10.0)
    columns, rows = np.meshgrid(lon, lat)
    values = np.stack([np.cos(np.radians(columns)), rows / 90], axis=-1)
    encoder = GridTable(lon, lat, values, dtype="float64")
    edge = encoder.embed([(-180.0, 0.0), (179.999999, 0.0), (180.0, 0.0)])
    np.testing.assert_allclose(edge[0], edge[1], rtol=0, atol=1e-6)
    assert edge[0, 0] == pytest.approx(np.cos(np.radians(175.0)))
    assert encoder.coverage([(0.0, 90.0), (-180.0, -90.0), (177.0, 3.0)]).all()
    np.testing.assert_allclose(encoder.embed((0.0, 90.0))[0, 1], 85 / 90)


def test_unknown_cells_leave_their_neighborhood_unknown(raster):
    raster[2, 3] = np.nan
    encoder = from_table(raster, method="bilinear")
    assert encoder.coverage([(3.5, 7.5), (3.1, 7.2), (0.6, 9.4)]).tolist() == [False, False, True]
    nearest = from_table(raster, max_distance_km=80.0)
    assert not nearest.coverage((3.5, 7.5)).item()
    assert nearest.coverage((4.4, 7.5)).item()


def test_a_complete_table_may_be_bilinear_too(raster):
    frame = pd.DataFrame(
        [
            {"lon": x, "lat": y, "a": v[0], "b": v[1]}
            for x in raster.lon.to_numpy()
            for y in raster.lat.to_numpy()
            for v in [raster.sel(lon=x, lat=y).to_numpy()]
        ]
    ).sample(frac=1.0, random_state=0)
    encoder = from_table(frame, method="bilinear", dtype="float64")
    np.testing.assert_allclose(encoder.embed((3.2, 7.9))[0], plane(3.2, 7.9), atol=1e-12)


@pytest.mark.parametrize(
    ("lon", "lat", "values", "message"),
    [
        ([0, 1], [0, 1], np.zeros((2, 3, 1)), "must have shape"),
        ([0, 1], [0, 1], np.zeros((2, 2)), "must have shape"),
        ([0, 1, 3], [0, 1], np.zeros((2, 3, 1)), "lon must be at least two evenly spaced"),
        ([1, 0], [0, 1], np.zeros((2, 2, 1)), "lon must be at least two evenly spaced"),
        ([0, 1], [0], np.zeros((1, 2, 1)), "lat must be at least two evenly spaced"),
    ],
)
def test_a_bad_grid_gets_one_sentence(lon, lat, values, message):
    with pytest.raises(ValueError, match=message):
        GridTable(lon, lat, values)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
@pytest.mark.parametrize("style", ["X_{}", "{}"])
def test_mosaiks_tables_are_read(tmp_path, suffix, style):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"features{suffix}"
    table = pd.DataFrame({"lat": [50.005, 50.005], "lon": [10.005, 10.015]})
    # Twelve features in scrambled columns: their number decides, not their place in the file.
    for i in np.random.default_rng(0).permutation(12):
        table[style.format(i)] = [float(i), float(i) / 8]
    write = table.to_parquet if suffix == ".parquet" else table.to_csv
    write(path) if suffix != ".parquet" else write(path, index=False)
    encoder = read_mosaiks(path)
    assert (encoder.family, encoder.name, encoder.embed_dim) == ("mosaiks", "mosaiks", 12)
    got = encoder.embed([(10.0052, 50.0049), (10.0149, 50.0051), (11.0, 50.0)])
    np.testing.assert_array_equal(got[:2], [np.arange(12.0), np.arange(12.0) / 8])
    assert np.isnan(got[2]).all()
    assert encoder.coverage([(10.005, 50.005), (10.05, 50.005)]).tolist() == [True, False]


def test_a_whole_cell_of_a_hundredth_degree_is_reached(tmp_path):
    pd.DataFrame({"lon": [0.005], "lat": [0.005], "0": [1.0]}).to_csv(tmp_path / "f.csv")
    encoder = read_mosaiks(tmp_path / "f.csv")
    corners = [(0.0, 0.0), (0.01, 0.0), (0.0, 0.01), (0.01, 0.01)]
    assert encoder.coverage(corners).all()
    assert read_mosaiks(tmp_path / "f.csv", max_distance_km=0.5).coverage(corners).sum() == 0


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"lon": [0.0, 0.0], "lat": [1.0, 1.0], "0": [1, 2]}, "1 rows repeat one"),
        ({"lon": [0.0], "0": [1.0]}, "lacks coordinate columns"),
        ({"lon": [0.0], "lat": [1.0], "a": [1.0]}, "numbered feature columns"),
        ({"lon": [0.0], "lat": [1.0], "0": [1.0], "2": [1.0]}, "without a gap"),
        ({"lon": [0.0], "lat": [1.0], "0": [1.0], "X_0": [1.0]}, "holds feature 0 twice"),
        ({"lon": [0.0], "lat": [91.0], "0": [1.0]}, "latitude must lie in"),
        ({"lon": [0.0], "lat": [1.0], "0": ["a"]}, "cannot be read as a table"),
        ({"lon": [0.0], "lat": [1.0], "0": [np.inf]}, "row 0 is not"),
    ],
)
def test_a_bad_mosaiks_table_gets_one_sentence(tmp_path, table, message):
    pd.DataFrame(table).to_csv(tmp_path / "features.csv", index=False)
    with pytest.raises(ValueError, match=message) as error:
        read_mosaiks(tmp_path / "features.csv")
    assert "\n" not in str(error.value)


def test_damaged_or_missing_mosaiks_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"api\.mosaiks\.org"):
        read_mosaiks(tmp_path / "none.csv")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match="cannot be read as a table"):
        read_mosaiks(tmp_path / "x.parquet")
    (tmp_path / "x.csv").write_text("")
    with pytest.raises(ValueError, match="cannot be read as a table"):
        read_mosaiks(tmp_path / "x.csv")


def test_far_from_a_table_there_is_no_vector_and_no_coverage():
    lon, lat = np.meshgrid(np.arange(0.0, 5.0), np.arange(40.0, 45.0))
    frame = pd.DataFrame({"lon": lon.ravel(), "lat": lat.ravel(), "a": 1.0})
    encoder = from_table(frame)
    # Rows one degree apart: twice the largest distance to the nearest, 111.2 km at the most.
    assert encoder.max_distance_km == pytest.approx(2 * 85.2, abs=0.5)
    near, far = (2.4, 42.4), (2.0, -5.0)
    assert encoder.coverage([near, far]).tolist() == [True, False]
    assert np.isfinite(encoder.embed([near, far])).all(axis=1).tolist() == [True, False]
    assert from_table(frame, max_distance_km=math.inf).coverage(far).all()
    assert from_table(frame[:1]).coverage(far).all()

"""Rasters as people's next tool wants them: any system, a template's grid, classes, holes."""

import json
from contextlib import contextmanager

import numpy as np
import pyproj
import pytest
import rasterio
import rasterio.shutil
import xarray as xr

from satclip_explore.files.geotiff import geotiff_bytes, to_geotiff
from satclip_explore.geo import GLOBE, Grid
from satclip_explore.provenance import provenance

NAMES = ["Forest", "Meadow & <heath>", "Water"]


def smooth(bounds=GLOBE, step=1.0, bands=()):
    """A field whose value is known everywhere: longitude and latitude, almost linear."""
    grid = Grid.from_resolution(step, bounds)
    lon, lat = np.meshgrid(grid.lon, grid.lat)
    values = 3.0 * np.sin(np.radians(lat)) + np.cos(np.radians(lon))
    return field_of(grid, values.astype(np.float32))


def field_of(grid, values, **attrs):
    coords = {"lat": grid.lat, "lon": grid.lon}
    return xr.DataArray(values, coords, ("lat", "lon"), attrs=provenance(None, grid, **attrs))


def classes(bounds=GLOBE, step=1.0):
    """Three stripes of longitude, and a hole in the south."""
    grid = Grid.from_resolution(step, bounds)
    lon, lat = np.meshgrid((grid.lon + 180) % 360 - 180, grid.lat)
    codes = np.where(lon < -60, 0, np.where(lon < 60, 1, 2))
    return field_of(grid, np.where(lat < -60, -1, codes).astype(np.int16),
                    classes=json.dumps(NAMES))  # fmt: skip


@contextmanager
def opened(content):
    with rasterio.MemoryFile(content) as memory, memory.open() as file:
        yield file


def centers(file):
    column, row = np.meshgrid(np.arange(file.width) + 0.5, np.arange(file.height) + 0.5)
    a, b, c, d, e, f = tuple(file.transform)[:6]
    x, y = a * column + b * row + c, d * column + e * row + f
    there = pyproj.Transformer.from_crs(file.crs.to_wkt(), "EPSG:4326", always_xy=True)
    return there.transform(x, y)


@pytest.mark.parametrize(
    ("crs", "region", "resolution"),
    [
        ("EPSG:32633", (12, 44, 18, 50), 5_000.0),
        ("EPSG:3035", "Germany", 10_000.0),
        ("EPSG:3857", (-20, -20, 20, 20), 20_000.0),
        ("EPSG:3031", (-180, -90, 180, -65), 50_000.0),
        ("EPSG:4807", (0, 44, 6, 48), 0.1),
        ("EPSG:3832", (170, -20, 190, -10), 20_000.0),
    ],
)
def test_a_raster_in_any_system_holds_what_is_there(crs, region, resolution):
    with opened(
        geotiff_bytes(smooth(step=0.25), crs=crs, resolution=resolution, region=region)
    ) as f:
        assert f.crs == rasterio.CRS.from_user_input(crs)
        assert (f.transform.a, f.transform.e) == (resolution, -resolution)
        np.testing.assert_allclose(np.mod([f.transform.c, f.transform.f], resolution) % resolution,
                                   0, atol=1e-6)  # fmt: skip
        values, (lon, lat) = f.read(1), centers(f)
        known = np.isfinite(values)
        expected = 3.0 * np.sin(np.radians(lat)) + np.cos(np.radians(lon))
        np.testing.assert_allclose(values[known], expected[known], atol=2e-4)
        assert known.mean() > 0.3
        assert np.isnan(f.nodata)
        assert "grid_bounds" not in f.tags()


def test_pixels_in_meters_are_the_default_size_of_the_field():
    with opened(geotiff_bytes(smooth((12, 44, 18, 50), 0.1), crs="EPSG:32633")) as file:
        assert file.transform.a == pytest.approx(11_100)
        # The zone ends at 18 E; a field a little wider is kept whole.
    with opened(geotiff_bytes(smooth((4, 44, 18, 50), 0.1), crs="EPSG:32633")) as file:
        lon, _ = centers(file)
        assert lon[np.isfinite(file.read(1))].min() == pytest.approx(4, abs=0.2)
    with opened(geotiff_bytes(smooth(step=2), crs="EPSG:32633", resolution=1e5)) as file:
        lon, lat = centers(file)
        assert 11 < lon[np.isfinite(file.read(1)) & (np.abs(lat) < 10)].min() < 13


def test_the_grid_of_a_template_is_taken_as_it_is(tmp_path):
    transform = rasterio.Affine(1234.5, 0, 412345.678, 0, -987.6, 5123456.789)
    path = tmp_path / "template.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=30, width=40, count=1, dtype="uint8", crs="EPSG:32633",
        transform=transform,
    ):  # fmt: skip
        pass
    for like in (path, str(path), rasterio.open(path)):
        with opened(geotiff_bytes(smooth(step=0.5), like=like)) as file:
            np.testing.assert_allclose(tuple(file.transform), tuple(transform), rtol=0, atol=1e-9)
            assert (file.shape, file.crs.to_epsg()) == ((30, 40), 32633)
            lon, lat = centers(file)
            expected = 3.0 * np.sin(np.radians(lat)) + np.cos(np.radians(lon))
            np.testing.assert_allclose(file.read(1), expected, atol=1e-3)
    with opened(geotiff_bytes(smooth(step=1.0), like=smooth((0, 0, 10, 5), 0.5))) as file:
        assert (tuple(file.bounds), file.shape) == ((0, 0, 10, 5), (10, 20))


def test_classes_keep_their_codes_names_and_colors(tmp_path):
    path = to_geotiff(classes(step=0.5), tmp_path / "classes.tif", crs="EPSG:6933", resolution=5e4)
    with rasterio.open(path) as file:
        codes, (lon, lat) = file.read(1), centers(file)
        assert (file.dtypes[0], file.nodata) == ("uint8", 255)
        # Every pixel has the class of the cell that it lies in.
        expected = np.where(lon < -60, 0, np.where(lon < 60, 1, 2))
        inside = codes != 255
        assert (codes[inside] == expected[inside]).all()
        assert (codes[lat < -60] == 255).all()
        assert inside[(lat > -60) & (np.abs(lon) < 179)].all()
        colors = file.colormap(1)
        assert len({colors[i] for i in range(3)}) == 3
        assert file.tags(1)["CATEGORY_1"] == NAMES[1]
        assert file.colorinterp[0].name == "palette"
    # GDAL finds the names: it writes them into a virtual copy.
    rasterio.shutil.copy(path, tmp_path / "copy.vrt", driver="VRT")
    assert "<Category>Meadow &amp; &lt;heath&gt;</Category>" in (tmp_path / "copy.vrt").read_text()
    given = classes().assign_attrs(colors='["#010203", "#040506", "#0708ff"]')
    with opened(geotiff_bytes(given)) as file:
        assert [file.colormap(1)[i][:3] for i in range(3)] == [(1, 2, 3), (4, 5, 6), (7, 8, 255)]


@pytest.mark.parametrize(
    ("dtype", "values", "nodata"),
    [("float32", [0, 1], np.nan), ("int16", [0, 1], -32768), ("uint8", [0, 1], 255),
     ("uint8", [0, 255], -2147483648), ("bool", [0, 1], 255)],
)  # fmt: skip
def test_nodata_is_always_set_and_never_a_value(dtype, values, nodata):
    grid = Grid.from_resolution(30)
    field = field_of(grid, np.resize(values, grid.shape).astype(dtype))
    with opened(geotiff_bytes(field, region=(0, 0, 60, 60))) as file:
        np.testing.assert_equal(file.nodata, nodata)
        inside = file.read_masks(1) > 0
        assert inside.sum() == 4
        assert set(file.read(1)[inside]) <= set(values)


def test_colors_outside_are_transparent():
    grid = Grid.from_resolution(10)
    field = smooth(step=10).expand_dims(band=3, axis=2).astype(np.uint8)
    with opened(geotiff_bytes(field.drop_attrs(), crs="ESRI:54030", resolution=5e5)) as file:
        assert [one.name for one in file.colorinterp] == ["red", "green", "blue", "alpha"]
        assert file.read(4)[0, 0] == 0
        assert file.read(4)[file.height // 2, file.width // 2] == 255
    assert grid.shape == field.shape[:2]


def test_holes_keep_their_size_and_the_dateline_has_no_seam():
    field = smooth(step=1.0)
    field[40:50, 100:110] = np.nan
    with opened(geotiff_bytes(field, resolution=0.5)) as file:
        assert np.isnan(file.read(1)).sum() == 400
    with opened(geotiff_bytes(smooth(step=0.5), like=smooth((170, -10, 190, 10), 0.25))) as file:
        lon, lat = centers(file)
        expected = 3.0 * np.sin(np.radians(lat)) + np.cos(np.radians(lon))
        np.testing.assert_allclose(file.read(1), expected, atol=1e-4)


def test_large_files_have_overviews_and_are_cloud_optimized():
    grid = Grid.from_resolution(0.3)
    with opened(geotiff_bytes(field_of(grid, np.zeros(grid.shape, np.float32)))) as file:
        assert file.overviews(1)
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crs": "EPSG:32633", "like": "a.tif"}, "leave these out"),
        ({"like": "missing.tif"}, "no raster at missing.tif"),
        ({"like": 3}, "like= takes a raster file"),
        ({"crs": "EPSG:99999"}, "no coordinate system that PROJ knows"),
        ({"crs": "EPSG:32633", "resolution": 1.0}, "at most 50,000,000"),
        ({"crs": "EPSG:32633", "resolution": -5}, "resolution must be above 0"),
        ({"resolution": 1000}, "in degrees here"),
    ],
)
def test_grids_that_cannot_be_are_refused(options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        geotiff_bytes(smooth(step=10), **options)
    with pytest.raises(ValueError, match="outside of where.*is in use"):
        geotiff_bytes(smooth((-60, -30, -50, -20), 1.0), crs="EPSG:32633")

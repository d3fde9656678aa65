"""Folders of GeoTIFFs as encoders: UTM zones, flipped rasters, int8, nodata, damage."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio")
pyproj = pytest.importorskip("pyproj")

from rasterio.transform import Affine  # noqa: E402

from satclip_explore.encoders.registry import load_encoder  # noqa: E402

SIDE = 40


def write(path: Path, values, *, crs="EPSG:4326", transform=None, nodata=None):
    """Write (H, W, D) as a tiled GeoTIFF; by default a degree a pixel from (10 E, 60 N)."""
    transform = transform or Affine(1, 0, 10, 0, -1, 60)
    height, width, bands = values.shape
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=bands, dtype=values.dtype,
        crs=crs, transform=transform, nodata=nodata, tiled=True, blockxsize=16, blockysize=16,
    ) as target:  # fmt: skip
        target.write(np.moveaxis(values, -1, 0))
    return path


def ramp(height=20, width=30, bands=3):
    """Pixel centers as numbers: column, row, and a constant."""
    column, row = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return np.stack([column, row, np.full_like(row, 7.0)], axis=-1)[..., :bands].astype(np.float32)


def test_nearest_gives_the_pixel_that_a_place_lies_in(tmp_path):
    encoder = load_encoder(write(tmp_path / "vectors.tif", ramp()))
    assert (encoder.family, encoder.name, encoder.embed_dim) == ("raster", "vectors", 3)
    got = encoder.embed([(10.01, 59.99), (12.6, 57.2), (39.99, 40.01)])
    np.testing.assert_array_equal(got, [[0.5, 0.5, 7], [2.5, 2.5, 7], [29.5, 19.5, 7]])
    outside = [(9.9, 50.0), (40.1, 50.0), (20.0, 60.1), (20.0, 39.9), (0.0, -90.0), (180.0, 0.0)]
    assert np.isnan(encoder.embed(outside)).all()
    assert encoder.coverage([(12.6, 57.2), *outside]).tolist() == [True] + [False] * 6


def test_bilinear_is_exact_on_a_plane(tmp_path):
    encoder = load_encoder(write(tmp_path / "v.tif", ramp()), method="bilinear", dtype="float64")
    places = np.array([[12.6, 57.2], [20.0, 50.0], [35.25, 44.75]])
    expected = np.stack([places[:, 0] - 10, 60 - places[:, 1], [7.0] * 3], axis=1)
    np.testing.assert_allclose(encoder.embed(places), expected, rtol=0, atol=1e-9)
    # Half a pixel at the rim continues the outermost centers.
    np.testing.assert_allclose(encoder.embed((10.1, 59.9))[0], [0.5, 0.5, 7], atol=1e-9)


def test_a_flipped_raster_is_read_by_its_transform(tmp_path):
    """AlphaEarth's GeoTIFFs have their first row in the south."""
    values = ramp()[::-1].copy()
    encoder = load_encoder(write(tmp_path / "v.tif", values, transform=Affine(1, 0, 10, 0, 1, 40)))
    np.testing.assert_array_equal(encoder.embed((12.6, 57.2)), [[2.5, 2.5, 7]])


def test_tiles_of_two_utm_zones_join_at_their_border(tmp_path):
    """Each tile holds the longitude and latitude of its own pixels."""
    places = []
    for zone, lon in ((32, 11.99), (33, 12.01)):
        there = pyproj.Transformer.from_crs("EPSG:4326", f"EPSG:326{zone}", always_xy=True)
        back = pyproj.Transformer.from_crs(f"EPSG:326{zone}", "EPSG:4326", always_xy=True)
        x, y = there.transform(lon, 48.0)
        transform = Affine(10, 0, x - 200, 0, -10, y + 200)
        column, row = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
        values = np.stack(back.transform(x - 200 + 10 * column, y + 200 - 10 * row), axis=-1)
        write(tmp_path / f"{zone}.tif", values, crs=f"EPSG:326{zone}", transform=transform)
        places += [(lon, 48.0), (lon + 0.001, 48.0005)]
    encoder = load_encoder(tmp_path, dtype="float64")
    # A place is at most half a pixel of 10 m from its center: 7.1 m, 9.5e-5 degrees.
    np.testing.assert_allclose(encoder.embed(places), places, rtol=0, atol=1e-4)
    fine = load_encoder(tmp_path, method="bilinear", dtype="float64")
    np.testing.assert_allclose(fine.embed(places), places, rtol=0, atol=1e-7)


def test_a_globe_of_0_to_360_degrees_is_joined_where_it_ends(tmp_path):
    """Column c holds its own longitude, as the sine and cosine that have no seam."""
    lon = np.radians(np.arange(360) + 0.5)
    values = np.broadcast_to(np.stack([np.cos(lon), np.sin(lon)], axis=-1), (180, 360, 2))
    path = write(tmp_path / "v.tif", values.copy(), transform=Affine(1, 0, 0, 0, -1, 90))
    places = np.array([[-179.5, 0.5], [179.5, 0.5], [-0.2, 10], [0.2, 10], [-180, -90], [77, 90]])
    near = np.radians(np.floor(places[:, 0]) + 0.5)
    got = load_encoder(path, dtype="float64").embed(places)
    np.testing.assert_allclose(got, np.stack([np.cos(near), np.sin(near)], axis=1), atol=1e-12)
    # Between centers a degree apart, a line is at most 4e-5 from the circle.
    there = np.radians(places[:, 0])
    got = load_encoder(path, dtype="float64", method="bilinear").embed(places)
    np.testing.assert_allclose(got, np.stack([np.cos(there), np.sin(there)], axis=1), atol=4e-5)


def test_a_tile_answers_on_its_own_side_of_the_globe_only(tmp_path):
    """A projection repeats itself far from its zone."""
    transform = Affine(10, 0, 400_000, 0, -10, 5_000_000)
    values = np.ones((SIDE, SIDE, 2), np.float32)
    encoder = load_encoder(write(tmp_path / "v.tif", values, crs="EPSG:32633", transform=transform))
    back = pyproj.Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    lon, lat = back.transform(400_200, 4_999_800)
    there = [(lon, lat), (lon - 180, -lat), (lon - 180, lat), (lon, -lat), (lon - 180, 90 - lat)]
    assert encoder.coverage(there).tolist() == [True, False, False, False, False]


def test_alphaearths_int8_is_restored_and_its_nodata_is_nan(tmp_path):
    stored = np.random.default_rng(0).integers(-127, 128, (4, 4, 64)).astype(np.int8)
    stored[1, 2] = -128
    encoder = load_encoder(write(tmp_path / "aef.tif", stored), dtype="float64")
    assert encoder.product == "alphaearth"
    expected = [np.copysign((int(v) / 127.5) ** 2, int(v)) for v in stored[0, 3]]
    np.testing.assert_allclose(encoder.embed((13.5, 59.5))[0], expected, rtol=0, atol=1e-15)
    assert np.isnan(encoder.embed((12.5, 58.5))).all()
    assert not encoder.coverage((12.5, 58.5)).item()
    beside = load_encoder(tmp_path / "aef.tif", method="bilinear")
    assert beside.coverage([(13.5, 59.9), (12.2, 58.8), (12.9, 58.1)]).tolist() == [
        True,
        False,
        False,
    ]


def test_where_tiles_overlap_the_first_with_data_counts(tmp_path):
    first = ramp()
    first[:, :10] = -9
    write(tmp_path / "a.tif", first, nodata=-9)
    write(tmp_path / "b.tif", ramp() + 100)
    encoder = load_encoder(tmp_path)
    got = encoder.embed([(12.5, 57.5), (32.5, 57.5)])[:, 0]
    np.testing.assert_array_equal(got, [102.5, 22.5])


def test_a_year_is_told_by_the_path(tmp_path):
    for year in (2023, 2024):
        write(tmp_path / str(year) / "v.tif", ramp() + year)
    for year in (2023, 2024):
        encoder = load_encoder(tmp_path, year=year)
        assert encoder.embed((12.5, 57.5))[0, 2] == 7 + year
        assert encoder.name.endswith(f":year{year}")
    with pytest.raises(FileNotFoundError, match="no GeoTIFF of 2019 at"):
        load_encoder(tmp_path, year=2019)


def test_a_window_is_read_and_not_the_file(tmp_path, monkeypatch):
    path = write(tmp_path / "v.tif", np.ones((600, 700, 2), np.float32))
    encoder, read = load_encoder(path), []
    plain = rasterio.io.DatasetReader.read

    def counted(self, *args, window=None, **more):
        read.append(window.width * window.height)
        return plain(self, *args, window=window, **more)

    source = rasterio.open(path)
    source.close()
    monkeypatch.setattr(type(source), "read", counted, raising=True)
    encoder.embed([(11.5, 59.5), (12.5, 58.5)])
    assert read == [4]


@pytest.mark.parametrize(
    ("second", "options", "message"),
    [
        (ramp(bands=2), {}, "holds 2 bands of float32, unlike a.tif with 3 of float32"),
        (ramp().astype(np.float64), {}, "3 bands of float64, unlike"),
        (ramp(), {"product": "alphaearth"}, "alphaearth has 64 bands; these rasters have 3"),
        (ramp(), {"product": "tessellate"}, "product must be one of"),
        (ramp(), {"method": "cubic"}, "method must be one of nearest, bilinear"),
    ],
)
def test_files_that_do_not_fit_get_one_sentence(tmp_path, second, options, message):
    write(tmp_path / "a.tif", ramp())
    write(tmp_path / "b.tif", second)
    with pytest.raises(ValueError, match=message) as error:
        load_encoder(tmp_path, **options)
    assert "\n" not in str(error.value)


def test_integers_that_nothing_explains_are_refused_unless_plain(tmp_path):
    path = write(tmp_path / "v.tif", ramp().astype(np.int16))
    with pytest.raises(ValueError, match="3 bands of int16, which no known product has"):
        load_encoder(path)
    assert load_encoder(path, product="plain").embed((12.6, 57.2))[0, 0] == 2


def test_scales_and_offsets_that_a_file_states_are_applied(tmp_path):
    path = write(tmp_path / "v.tif", ramp().astype(np.int16), nodata=-9)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.5, 0.25, 2.0), (0.0, 1.0, -3.0)
    # Column 2, row 2 and 7, as integers.
    assert load_encoder(path).embed((12.6, 57.2)).tolist() == [[1.0, 1.5, 11.0]]


def test_polygons_take_the_mean_of_the_pixels_inside(tmp_path):
    geopandas = pytest.importorskip("geopandas")
    from shapely import box

    encoder = load_encoder(write(tmp_path / "v.tif", ramp()))
    areas = geopandas.GeoDataFrame(geometry=[box(12, 50, 16, 54)], crs="EPSG:4326")
    # Its middle lies 4 columns and 8 rows from the corner at (10, 60).
    np.testing.assert_allclose(encoder.embed(areas), [[4, 8, 7]], atol=0.3)


def test_damaged_or_unplaced_files_get_one_sentence(tmp_path):
    path = write(tmp_path / "v.tif", np.random.default_rng(0).normal(size=(200, 200, 4)))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="damaged"):
        load_encoder(path).embed([(10.5, 59.5), (150.5, -80.5)])
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="v.tif is damaged or is not a GeoTIFF"):
        load_encoder(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(path, ramp(), crs=None, transform=Affine.identity())
        with pytest.raises(ValueError, match="no map position"):
            load_encoder(path)


def test_a_tile_over_the_pole_answers_all_around_it(tmp_path):
    """Its longitudes go around: from -180 to 180 degrees."""
    to_map = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3413", always_xy=True)
    transform = Affine(50_000, 0, -1_000_000, 0, -50_000, 1_000_000)
    encoder = load_encoder(
        write(tmp_path / "v.tif", ramp(SIDE, SIDE), crs="EPSG:3413", transform=transform)
    )
    places = np.array([[lon, lat] for lon in range(-175, 180, 35) for lat in (84.0, 89.5)])
    x, y = to_map.transform(*places.T)
    column, row = (x + 1_000_000) // 50_000 + 0.5, (1_000_000 - y) // 50_000 + 0.5
    np.testing.assert_array_equal(encoder.embed(places)[:, :2], np.stack([column, row], axis=1))


@pytest.mark.parametrize("how", ["mask", "opacity"])
def test_pixels_that_a_mask_leaves_out_have_no_data(tmp_path, how):
    seen = np.full((20, 30), 255, np.uint8)
    seen[2, 2] = 0
    bands = np.moveaxis(ramp(), -1, 0)
    opacity = how == "opacity"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(
        tmp_path / "v.tif", "w", driver="GTiff", height=20, width=30, count=3 + opacity,
        dtype="float32", crs="EPSG:4326", transform=Affine(1, 0, 10, 0, -1, 60),
        **{"alpha": "YES", "photometric": "RGB"} if opacity else {},
    ) as target:  # fmt: skip
        target.write(bands, [1, 2, 3])
        if opacity:
            target.write(seen.astype(np.float32), 4)
        else:
            target.write_mask(seen)
    encoder = load_encoder(tmp_path / "v.tif")
    got = encoder.embed([(12.6, 57.2), (13.6, 57.2)])
    np.testing.assert_array_equal(got, [[np.nan] * 3, [3.5, 2.5, 7.0]])


def test_years_of_the_same_places_are_asked_about(tmp_path):
    for year in (2023, 2024):
        write(tmp_path / f"v_{year}.tif", ramp() + year)
    with pytest.raises(ValueError, match="holds the same places in 2023, 2024; say year="):
        load_encoder(tmp_path)
    assert load_encoder(tmp_path, year=2024).embed((12.5, 57.5))[0, 2] == 2031


def test_zero_is_no_data_where_a_whole_vector_is(tmp_path):
    """Activations hold many zeros; a fill of -9999 that nobody states is no vector either."""
    values = ramp()
    values[2, 2], values[2, 3, 0], values[2, 4] = 0, 0, -9999
    encoder = load_encoder(write(tmp_path / "v.tif", values, nodata=0))
    got = encoder.embed([(12.5, 57.5), (13.5, 57.5), (14.5, 57.5)])
    np.testing.assert_array_equal(got, [[np.nan] * 3, [0, 2.5, 7], [np.nan] * 3])

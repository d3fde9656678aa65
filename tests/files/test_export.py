"""Exported files: they read back exactly and say where they come from."""

from __future__ import annotations

import builtins
import io
import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from satclip_explore import __version__
from satclip_explore.files.geotiff import geotiff_bytes, to_geotiff
from satclip_explore.files.raster import grid_of, png_bytes, read_field, to_png
from satclip_explore.files.table import csv_bytes, geoparquet_bytes, to_csv, to_geoparquet
from satclip_explore.geo import GLOBE, Grid
from satclip_explore.provenance import provenance


def make_field(encoder=None, bounds=GLOBE, shape=(18, 36), bands=None, dtype="float32", **facts):
    """A field whose values tell row, column and band apart."""
    grid = Grid(bounds, shape)
    values = np.arange(np.prod(shape) * (bands or 1)).reshape(*shape, *([bands] if bands else []))
    return xr.DataArray(
        (values % 251).astype(dtype),
        dims=["lat", "lon"] + (["band"] if bands else []),
        coords={"lat": grid.lat, "lon": grid.lon},
        attrs=provenance(encoder, grid, **facts),
    )


@pytest.fixture
def rasterio():
    return pytest.importorskip("rasterio")


def test_provenance_names_encoder_grid_and_versions(tiny_encoder):
    facts = provenance(tiny_encoder, Grid.from_resolution(10), place=(13.4, 52.5), nothing=None)
    assert all(isinstance(value, str) for value in facts.values())
    assert facts["encoder"] == "tiny-l5"
    assert facts["encoder_family"] == "satclip"
    assert facts["embed_dim"] == "8"
    assert facts["weights_hash"] == (tiny_encoder.weights_hash or "none")
    assert json.loads(facts["grid_bounds"]) == [-180, -90, 180, 90]
    assert json.loads(facts["grid_shape"]) == [18, 36]
    assert json.loads(facts["place"]) == [13.4, 52.5]
    assert facts["software"] == f"satclip_explore {__version__}"
    assert f"numpy {np.__version__}" in facts["versions"]
    assert "nothing" not in facts
    assert provenance(place=np.float32(1.5))["place"] == "1.5"


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int16", "bool", "float16"])
def test_geotiff_reads_back_exactly(rasterio, tiny_encoder, tmp_path, dtype):
    field = make_field(tiny_encoder, dtype=dtype, place=(1.0, 2.0))
    path = to_geotiff(field, tmp_path / "field.tif")
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), field.to_numpy().astype(file.dtypes[0]))
        assert file.crs.to_epsg() == 4326
        assert tuple(file.bounds) == GLOBE
        # Row 0 is north: the first pixel's center is the first coordinate.
        west, north = file.transform.c, file.transform.f
        assert west + 5.0 == field.lon[0]
        assert north - 5.0 == field.lat[0]
        tags = file.tags()
        assert file.nodata is not None
        assert not (file.read(1) == file.nodata).any()
    assert tags["encoder"] == "tiny-l5"
    assert tags["weights_hash"] == (tiny_encoder.weights_hash or "none")
    assert json.loads(tags["grid_shape"]) == [18, 36]
    assert json.loads(tags["place"]) == [1.0, 2.0]
    assert tags["software"] == f"satclip_explore {__version__}"


def test_geotiff_keeps_bands_colors_and_missing_values(rasterio):
    colors = make_field(bands=3, dtype="uint8").assign_coords(band=["r", "g", "b"])
    with rasterio.MemoryFile(geotiff_bytes(colors)) as memory, memory.open() as file:
        np.testing.assert_array_equal(file.read(), colors.transpose("band", "lat", "lon"))
        assert [band.name for band in file.colorinterp] == ["red", "green", "blue"]
        assert file.descriptions == ("band r", "band g", "band b")
    alpha = make_field(bands=4, dtype="uint8")
    with rasterio.MemoryFile(geotiff_bytes(alpha)) as memory, memory.open() as file:
        assert file.colorinterp[3].name == "alpha"
    holes = make_field(bands=5)
    holes[0, 0] = np.nan
    with rasterio.MemoryFile(geotiff_bytes(holes)) as memory, memory.open() as file:
        assert np.isnan(file.nodata)
        np.testing.assert_array_equal(file.read(), holes.transpose("band", "lat", "lon"))
        assert file.descriptions[4] == "band 4"


@pytest.mark.parametrize(
    ("dtype", "attrs", "nodata"),
    [
        ("int16", {"classes": "[]"}, -1),
        ("int16", {"nodata": "-1"}, -1),
        ("int32", {"nodata": 7}, 7),
        ("uint8", {"nodata": 255, "classes": "[]"}, 255),
        ("uint8", {"classes": "[]"}, 255),
        ("int16", {"nodata": "none"}, -32768),
        ("int16", {"nodata": 10**30}, -32768),
    ],
)
def test_geotiff_of_class_codes_says_which_one_is_missing(rasterio, dtype, attrs, nodata):
    field = make_field(dtype=dtype)
    field.attrs |= attrs
    with rasterio.MemoryFile(geotiff_bytes(field)) as memory, memory.open() as file:
        assert file.nodata == nodata
        if nodata == -1:
            np.testing.assert_array_equal(file.read(1, masked=True).mask, file.read(1) == -1)


def test_geotiff_over_the_antimeridian_stays_in_one_piece(rasterio):
    field = make_field(bounds=(170.0, -30.0, 190.0, 0.0), shape=(6, 4))
    with rasterio.MemoryFile(geotiff_bytes(field)) as memory, memory.open() as file:
        assert tuple(file.bounds) == (170.0, -30.0, 190.0, 0.0)


def test_equal_fields_give_equal_bytes(tiny_encoder, rasterio):
    pytest.importorskip("PIL")
    for encode in (geotiff_bytes, png_bytes):
        assert encode(make_field(tiny_encoder)) == encode(make_field(tiny_encoder))
        assert encode(make_field(tiny_encoder)) != encode(make_field(tiny_encoder, shape=(18, 35)))


def test_a_piece_of_a_field_says_where_the_piece_is(rasterio):
    piece = make_field().isel(lat=slice(2, 5), lon=slice(4, 10))
    with rasterio.MemoryFile(geotiff_bytes(piece)) as memory, memory.open() as file:
        assert tuple(file.bounds) == pytest.approx((-140.0, 40.0, -80.0, 70.0))
        assert json.loads(file.tags()["grid_bounds"]) == pytest.approx([-140, 40, -80, 70])
        assert json.loads(file.tags()["grid_shape"]) == [3, 6]


def test_grids_of_one_row_column_or_pixel():
    whole = make_field(bounds=(0.0, 0.0, 40.0, 20.0), shape=(2, 4))
    assert grid_of(whole.isel(lat=[0])).bounds == pytest.approx((0, 10, 40, 20))
    assert grid_of(whole.isel(lon=[3])).bounds == pytest.approx((30, 0, 40, 20))
    with pytest.raises(ValueError, match="single pixel"):
        grid_of(whole.isel(lat=[0], lon=[3]))
    one = make_field(bounds=(1.0, 2.0, 4.0, 3.0), shape=(1, 1))
    assert grid_of(one).bounds == (1.0, 2.0, 4.0, 3.0)


def test_stale_or_hostile_attributes_do_not_move_a_field():
    for text in ("[0, 0, 10, 10]", "not json", "[1]", '{"a": 1}', "null"):
        field = make_field()
        field.attrs["grid_bounds"] = text
        assert grid_of(field).bounds == pytest.approx(GLOBE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda field: field.to_numpy(), "must be an xarray.DataArray; got ndarray"),
        (lambda field: field.transpose("lon", "lat"), "needs axes"),
        (lambda field: field.expand_dims("time"), "needs axes"),
        (lambda field: field.isel(lat=slice(0, 0)), "needs axes"),
        (lambda field: field.drop_vars("lat"), "needs coordinates"),
        (lambda field: field.isel(lat=slice(None, None, -1)), "lat must fall"),
        (lambda field: field.isel(lon=slice(None, None, -1)), "lon must rise"),
        (lambda field: field.isel(lon=[0, 1, 3]), "lon must rise"),
        (lambda field: field.astype(str), "real numbers"),
        (lambda field: field.astype(complex), "real numbers"),
    ],
)
def test_what_is_no_field_is_refused(change, message):
    wrong = change(make_field())
    for encode in (geotiff_bytes, png_bytes, read_field):
        with pytest.raises(ValueError, match=message):
            encode(wrong)


def read_png(content):
    image = pytest.importorskip("PIL.Image").open(io.BytesIO(content))
    image.load()
    return np.asarray(image), image.text


@pytest.mark.parametrize("bands", [3, 4])
def test_png_keeps_colors_and_provenance(tiny_encoder, bands):
    field = make_field(tiny_encoder, bands=bands, dtype="uint8", note="Köppen ✓")
    pixels, text = read_png(png_bytes(field))
    np.testing.assert_array_equal(pixels, field.to_numpy())
    assert text["encoder"] == "tiny-l5"
    assert text["note"] == "Köppen ✓"
    assert json.loads(text["grid_bounds"]) == list(GLOBE)


def test_png_of_bytes_is_gray_as_it_is():
    field = make_field(dtype="uint8")
    np.testing.assert_array_equal(read_png(png_bytes(field))[0], field.to_numpy())
    stretched, text = read_png(png_bytes(field, low=0, high=250))
    assert stretched.max() == 255
    assert json.loads(text["gray_range"]) == [0.0, 250.0]


def test_png_of_numbers_stretches_and_leaves_missing_ones_transparent():
    field = make_field()
    pixels, text = read_png(png_bytes(field))
    assert pixels.shape == (18, 36)
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert json.loads(text["gray_range"]) == [0.0, 250.0]
    field[3, 4] = np.nan
    pixels, _ = read_png(png_bytes(field, low=-250, high=250))
    assert pixels.shape == (18, 36, 2)
    assert pixels[3, 4, 1] == 0
    assert (pixels[..., 1] == 0).sum() == 1
    assert pixels[0, 0, 0] == 128  # 0 lies half way
    field[:] = np.nan
    assert (read_png(png_bytes(field))[0][..., 1] == 0).all()
    field[:] = 7.0
    assert read_png(png_bytes(field))[0].shape == (18, 36)


def test_png_refuses_what_it_cannot_show():
    pytest.importorskip("PIL")
    for field in (make_field(bands=2, dtype="uint8"), make_field(bands=3)):
        with pytest.raises(ValueError, match="three or four bands of bytes"):
            png_bytes(field)
    for low, high in ((2, 1), (0, np.nan), (-np.inf, 1)):
        with pytest.raises(ValueError, match="low must be at most high"):
            png_bytes(make_field(), low=low, high=high)


def test_png_comes_with_a_world_file(rasterio, tmp_path):
    field = make_field(bands=3, dtype="uint8")
    path = to_png(field, tmp_path / "map.png")
    numbers = [float(line) for line in (tmp_path / "map.pgw").read_text().splitlines()]
    assert numbers == [10.0, 0.0, 0.0, -10.0, -175.0, 85.0]
    with rasterio.open(path) as file:
        assert tuple(file.bounds) == GLOBE
    to_png(field, tmp_path / "plain.png", world_file=False)
    assert not (tmp_path / "plain.pgw").exists()


def test_csv_reads_back_below_its_comments(tiny_encoder, tmp_path):
    frame = pd.DataFrame(
        {
            "lon": [-71.25, 13.4],
            "near": ['Bahía #1, "x"', None],
            "# note": ["two\n# lines", "#"],
            "similarity": [np.nan, 0.125],
            "count": [1, 2],
        }
    )
    frame.attrs["place"] = (1.0, 2.0)
    path = to_csv(frame, tmp_path / "table.csv", provenance(tiny_encoder, note="a\nb"))
    pd.testing.assert_frame_equal(pd.read_csv(path, comment="#"), frame, check_dtype=False)
    comments = path.read_text("utf-8").split('"lon"')[0].splitlines()
    assert "# encoder: tiny-l5" in comments
    assert "# place: [1.0, 2.0]" in comments
    assert "# note: a b" in comments
    assert any(line.startswith("# versions: python 3") for line in comments)


def test_csv_of_no_rows_keeps_its_columns():
    content = csv_bytes(pd.DataFrame({"lon": [], "name": []}))
    assert list(pd.read_csv(io.BytesIO(content), comment="#")) == ["lon", "name"]


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd", "-cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "＝1+1"]
)
def test_csv_never_starts_a_formula(text):
    frame = pd.DataFrame({text: [text], "category": pd.Categorical([text]), "mixed": [text]})
    back = pd.read_csv(io.BytesIO(csv_bytes(frame)), comment="#")
    assert back.iloc[0].tolist() == [f"'{text}"] * 3
    assert back.columns[0] == f"'{text}"
    assert frame.columns[0] == text  # the table itself is not touched


def test_csv_leaves_numbers_and_harmless_text_alone():
    frame = pd.DataFrame({"n": [-1.5], "text": ["-1.5"], "name": ["a=b"], "flag": [True]})
    back = pd.read_csv(io.BytesIO(csv_bytes(frame)), comment="#", dtype={"text": str})
    assert back.iloc[0].tolist() == [-1.5, "-1.5", "a=b", True]


def test_comments_cannot_break_out_of_their_line():
    content = csv_bytes(pd.DataFrame({"a": [1]}), {"x\n=1": "b\n=cmd\r\n=cmd\u2028=cmd"}).decode()
    assert content.splitlines()[-3:] == ["# x__1: b =cmd =cmd =cmd", '"a"', "1"]


def test_geoparquet_reads_back_in_geopandas(tiny_encoder, places, tmp_path):
    geopandas = pytest.importorskip("geopandas")
    frame = pd.DataFrame({"lon": places[:, 0], "lat": places[:, 1], "name": list("abcdefgh")})
    path = to_geoparquet(frame, tmp_path / "places.parquet", provenance(tiny_encoder))
    back = geopandas.read_parquet(path)
    assert back.crs == "OGC:CRS84"
    np.testing.assert_array_equal(back.geometry.x, places[:, 0])
    np.testing.assert_array_equal(back.geometry.y, places[:, 1])
    pd.testing.assert_frame_equal(
        pd.DataFrame(back.drop(columns="geometry")), frame, check_dtype=False
    )
    assert back.total_bounds.tolist() == [-180.0, -90.0, 179.999, 90.0]


def test_geoparquet_carries_provenance_and_takes_geometry(tiny_encoder):
    parquet = pytest.importorskip("pyarrow.parquet")
    geopandas = pytest.importorskip("geopandas")
    frame = geopandas.GeoDataFrame(
        {"a": [1]}, geometry=geopandas.points_from_xy([13.4], [52.5]), crs="EPSG:4326"
    )
    frame = frame.to_crs("EPSG:3857")
    frame.attrs["place"] = np.float32(1.5)
    content = geoparquet_bytes(frame, provenance(tiny_encoder))
    metadata = parquet.read_schema(io.BytesIO(content)).metadata
    assert json.loads(metadata[b"satclip_explore"])["place"] == "1.5"
    assert frame.attrs == {"place": 1.5}
    assert json.loads(metadata[b"satclip_explore"])["encoder"] == "tiny-l5"
    geo = json.loads(metadata[b"geo"])["columns"]["geometry"]
    assert geo["encoding"] == "WKB"
    assert geo["bbox"] == pytest.approx([13.4, 52.5, 13.4, 52.5])
    assert geopandas.read_parquet(io.BytesIO(content)).geometry.x.item() == pytest.approx(13.4)


def test_geoparquet_of_no_rows_opens():
    geopandas = pytest.importorskip("geopandas")
    content = geoparquet_bytes(pd.DataFrame({"lon": [], "lat": []}))
    assert len(geopandas.read_parquet(io.BytesIO(content))) == 0


def test_geoparquet_refuses_what_is_no_table_of_places():
    pytest.importorskip("pyarrow")
    with pytest.raises(ValueError, match="no coordinate columns"):
        geoparquet_bytes(pd.DataFrame({"a": [1]}))
    with pytest.raises(ValueError, match="values of one type"):
        geoparquet_bytes(pd.DataFrame({"lon": [1, 2], "lat": [1, 2], "a": ["x", 5]}))
    with pytest.raises(ValueError, match="geometry already"):
        geoparquet_bytes(pd.DataFrame({"lon": [1], "lat": [1], "geometry": ["POINT"]}))


@pytest.mark.parametrize(
    ("package", "encode", "what"),
    [
        ("rasterio", geotiff_bytes, make_field()),
        ("PIL", png_bytes, make_field()),
        ("pyarrow", geoparquet_bytes, pd.DataFrame({"lon": [1.0], "lat": [2.0]})),
    ],
)
def test_a_missing_package_is_named(monkeypatch, package, encode, what):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == package:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match="pip install 'satclip-explore"):
        encode(what)


def test_a_missing_folder_or_a_folder_as_file_is_one_sentence(tmp_path):
    frame = pd.DataFrame({"a": [1]})
    with pytest.raises(OSError, match=r"cannot write .*: No such file or directory\."):
        to_csv(frame, tmp_path / "missing" / "table.csv")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="cannot write"):
        to_csv(frame, tmp_path / "folder")
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]

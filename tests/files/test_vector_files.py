"""Vector and CF files: what is written reads back in other tools."""

import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from pyarrow.parquet import read_schema

import satclip_explore as sx
from satclip_explore.files.cf import cf_dataset
from satclip_explore.files.table import csv_bytes
from satclip_explore.geo import Grid
from satclip_explore.provenance import provenance

ENDINGS = [".gpkg", ".geojson", ".parquet", ".fgb"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_polygons_and_points_come_back_from_every_format(tmp_path, ending):
    shapes = [shapely.box(i * 1e4, 5e6, i * 1e4 + 1e4, 5.01e6) for i in range(3)]
    frame = gpd.GeoDataFrame({"GEOID": ["01", "02", "03"], "value": [1.5, np.nan, 3.0]},
                             geometry=shapes, crs="EPSG:32633", index=[7, 8, 9])  # fmt: skip
    frame.attrs = {"encoder": "tiny"}
    path = sx.to_vector(frame, tmp_path / f"counties{ending}")
    back = gpd.read_parquet(path) if ending == ".parquet" else gpd.read_file(path)
    assert back["GEOID"].tolist() == ["01", "02", "03"]
    np.testing.assert_equal(back["value"].to_numpy(), frame["value"].to_numpy())
    assert back.crs.to_epsg() == (4326 if ending == ".geojson" else 32633)
    same = (
        back.to_crs(frame.crs)
        .set_index(frame.index)
        .geometry.geom_equals_exact(frame.geometry, 1e-3)
    )
    assert same.all()
    reading = sx.read_places(path)
    assert (len(reading), reading.geometry) == (3, "polygons")

    points = pd.DataFrame({"lon": [1.0, 2.0], "lat": [3.0, 4.0], "name": ["a", "=b"]})
    reading = sx.read_places(sx.to_vector(points, tmp_path / f"points{ending}"))
    assert reading.lonlat.tolist() == [[1, 3], [2, 4]]
    assert reading.frame["name"].tolist() == ["a", "=b"]


def test_vector_files_say_where_they_come_from_or_why_not(tmp_path):
    frame = pd.DataFrame({"lon": [1.0], "lat": [3.0]})
    path = sx.to_vector(frame, tmp_path / "a.geojson", {"encoder": "tiny"})
    assert json.loads(path.read_text())["provenance"]["encoder"] == "tiny"
    shapes = gpd.GeoDataFrame({"a": [1]}, geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:4326")
    found = sx.to_vector(shapes, tmp_path / "a.parquet", {"encoder": "tiny"})
    assert json.loads(read_schema(found).metadata[b"satclip_explore"])["encoder"] == "tiny"
    with pytest.raises(ValueError, match=r"must end in .gpkg.*'a.shp'"):
        sx.to_vector(frame, tmp_path / "a.shp")
    with pytest.raises(ValueError, match="no coordinate columns"):
        sx.to_vector(pd.DataFrame({"a": [1]}), tmp_path / "a.gpkg")
    with pytest.raises(ValueError, match="no coordinate system"):
        sx.to_vector(gpd.GeoDataFrame(geometry=[shapely.Point(0, 0)]), tmp_path / "a.gpkg")


def test_formulas_are_defused_and_said():
    frame = pd.DataFrame({"lon": [-1.5], "name": ["=cmd|' /C calc'!A0"], "@sum": ["+1+1"]})
    text = csv_bytes(frame).decode()
    assert "'=cmd" in text
    assert "'@sum" in text
    assert "'+1+1" in text
    assert "formulas_defused: 3" in text
    assert "formulas" not in csv_bytes(pd.DataFrame({"a": ["b"]})).decode()


def classes():
    grid = Grid.from_resolution(30)
    codes = np.resize([-1, 0, 1], grid.shape).astype(np.int16)
    attrs = {**provenance(None, grid), "classes": '["Dry forest", "Water"]'}
    coords = {"lat": grid.lat, "lon": grid.lon}
    return xr.DataArray(codes, coords, ("lat", "lon"), "land cover", attrs)


@pytest.mark.parametrize("name", ["classes.nc", "classes.zarr"])
def test_netcdf_and_zarr_follow_the_cf_conventions(tmp_path, name):
    path = sx.to_netcdf(classes(), tmp_path / name)
    path = sx.to_netcdf(classes(), path)
    opened = xr.open_zarr(path, chunks=None) if name.endswith("zarr") else xr.open_dataset(path)
    with opened as data:
        assert data.attrs["Conventions"] == "CF-1.11"
        assert "satclip_explore" in data.attrs["software"]
        assert data["lat"].attrs["units"] == "degrees_north"
        assert data["lon"].attrs["standard_name"] == "longitude"
        field = data["land_cover"]
        assert field.attrs["flag_meanings"] == "Dry_forest Water"
        assert list(field.attrs["flag_values"]) == [0, 1]
        assert (field.attrs | field.encoding)["grid_mapping"] == "spatial_ref"
        assert data["spatial_ref"].attrs["grid_mapping_name"] == "latitude_longitude"
        np.testing.assert_array_equal(field.fillna(-1), classes())
    assert (sx.read_places(path).frame["land_cover"].isna()).sum() == (classes() == -1).sum()


def test_quantities_keep_their_unit():
    field = classes().astype(np.float32).drop_attrs().assign_attrs(units="K")
    assert cf_dataset(field)["land_cover"].attrs["units"] == "K"
    with pytest.raises(ValueError, match="end in .nc or .zarr"):
        sx.to_netcdf(field, "a.tif")
    with pytest.raises(ValueError, match="coordinates lat and lon"):
        sx.to_netcdf(xr.DataArray([1.0]), "a.nc")


def test_rasters_carry_the_names_and_units_of_their_axes(tiny_encoder):
    field = sx.embed_grid(tiny_encoder, resolution=45)
    assert field["lat"].attrs["units"] == "degrees_north"
    assert field["lon"].attrs["standard_name"] == "longitude"

"""Embeddings written for others, read back by this package, xarray, rasterio and geopandas."""

from __future__ import annotations

import json

import numpy as np
import pytest

import satclip_explore as sx

zarr = pytest.importorskip("zarr")
geopandas = pytest.importorskip("geopandas")
rasterio = pytest.importorskip("rasterio")


def item_of(path):
    return json.loads(path.with_suffix(".stac.json").read_text())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.zarr", "int8"),
        ("a.zarr", "float16"),
        ("a.zarr", "float32"),
        ("a.tif", "float16"),
        ("a.parquet", "float16"),
        ("a.parquet", "float32"),
    ],
)
def test_what_is_written_is_read_within_the_error_that_it_states(
    tmp_path, tiny_encoder, name, kind
):
    path = sx.export_embeddings(
        tiny_encoder, tmp_path / name, 2.0, (-20, 0, 140, 80), quantize=kind
    )
    item = item_of(path)
    stated = item["properties"]["emb:runtime_parameters"]["largest_error"]
    encoder = sx.load_encoder(path)
    centers = np.array([[-19.0, 79.0], [1.0, 1.0], [77.0, 41.0], [139.0, 1.0]])
    exact = tiny_encoder.embed(centers)
    error = np.abs(encoder.embed(centers) - exact).max()
    # Grids and places are encoded by ways of their own, which differ in the last digits.
    assert error <= stated + 1e-5
    assert stated < {"int8": 0.01, "float16": 1e-3, "float32": 1e-9}[kind] * np.abs(exact).max() * 4
    assert not encoder.coverage([(-30.0, 40.0), (50.0, -20.0)]).any()
    assert item["assets"]["embeddings"]["href"] == f"./{name}"
    assert item["bbox"] == [-20, 0, 140, 80]
    assert tiny_encoder.weights_hash in json.dumps(item)


def test_int8_stays_within_half_a_step_of_each_pixels_factor(tmp_path, tiny_encoder):
    path = sx.export_embeddings(tiny_encoder, tmp_path / "a.zarr", 10.0, quantize="int8")
    group = zarr.open_group(path, mode="r")
    exact = sx.embed_grid(tiny_encoder, 10.0).to_numpy()
    factor = group["scales"][:][..., None]
    np.testing.assert_allclose(factor[..., 0], np.abs(exact).max(axis=-1) / 127, rtol=1e-6)
    assert (np.abs(group["embedding"][:] * factor - exact) <= factor * 0.5001).all()
    said = group.attrs["geoemb:quantization"]["scale"]
    assert said == {"type": "array", "array_name": "scales", "nodata": "NaN"}
    assert (group.attrs["geoemb:dimensions"], group.attrs["proj:code"]) == (
        tiny_encoder.embed_dim,
        "EPSG:4326",
    )


def test_others_open_them_with_the_right_position(tmp_path, tiny_encoder):
    import xarray as xr

    bounds = (10, 40, 40, 60)
    exact = sx.embed_grid(tiny_encoder, 1.0, bounds)
    zarr_path = sx.export_embeddings(
        tiny_encoder, tmp_path / "a.zarr", 1.0, bounds, quantize="float32"
    )
    with xr.open_zarr(zarr_path, consolidated=False, chunks=None) as dataset:
        xr.testing.assert_allclose(dataset["embedding"].drop_attrs(), exact.drop_attrs(), atol=1e-6)
    tif = sx.export_embeddings(tiny_encoder, tmp_path / "a.tif", 1.0, bounds)
    assert item_of(tif)["assets"]["embeddings"]["type"].endswith("profile=cloud-optimized")
    with rasterio.open(tif) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert (tuple(file.bounds), file.crs.to_epsg()) == (bounds, 4326)
        row, column = file.index(13.4, 52.6)
        np.testing.assert_allclose(file.read()[:, row, column], exact[7, 3], atol=1e-6)
    frame = geopandas.read_parquet(
        sx.export_embeddings(tiny_encoder, tmp_path / "a.parquet", 1.0, bounds, quantize="float32")
    )
    assert len(frame) == 600
    assert frame.crs.to_epsg() in (4326, None)
    np.testing.assert_allclose(frame["embedding"].iloc[7 * 30 + 3], exact[7, 3], atol=1e-6)
    assert frame.geometry.iloc[7 * 30 + 3].coords[0] == (13.5, 52.5)


def test_pixels_outside_of_a_region_have_no_data(tmp_path, tiny_encoder):
    path = sx.export_embeddings(
        tiny_encoder, tmp_path / "a.zarr", 1.0, region="Kenya", quantize="int8"
    )
    encoder = sx.load_encoder(path)
    assert encoder.coverage([(37.0, 0.5), (41.4, -4.0)]).tolist() == [True, False]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.nc", {}, r"path must end in \.zarr, \.tif"),
        ("a.tif", {"quantize": "int8"}, r"quantize must be one of float32, float16 for \.tif"),
        ("a.zarr", {"quantize": "int4"}, "quantize must be one of float32, float16, int8"),
        ("there.zarr", {}, "is there already"),
    ],
)
def test_what_cannot_be_written_is_a_sentence(tmp_path, tiny_encoder, name, options, message):
    (tmp_path / "there.zarr").mkdir()
    with pytest.raises(ValueError, match=message):
        sx.export_embeddings(tiny_encoder, tmp_path / name, 30.0, **options)
    assert [one.name for one in tmp_path.iterdir()] == ["there.zarr"]

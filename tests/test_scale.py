"""What does not fit in memory: the same numbers as in memory, in order, and no work done twice."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from satclip_explore import grid_store, scale
from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.fields import embed_grid
from satclip_explore.geo import Grid

ROOT = Path(__file__).resolve().parents[1]

dd = pytest.importorskip("dask.dataframe")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("zarr")


@pytest.fixture
def places():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "name": [f"place {i}" for i in range(57)],
            "lon": rng.uniform(-180, 180, 57),
            "lat": rng.uniform(-90, 90, 57),
        }
    )


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(scale, "BLOCK_ROWS", 10)
    monkeypatch.setattr(grid_store, "CHUNK", 4)
    monkeypatch.setattr(grid_store, "SHARD_COLUMNS", 16)


def vectors(table):
    return np.stack(table["embedding"].to_numpy())


def test_a_dask_table_keeps_partitions_index_and_order(tiny_encoder, places):
    frame = dd.from_pandas(places, npartitions=3)
    lazy = scale.embed(tiny_encoder, frame)
    assert lazy.npartitions == 3
    found = lazy.compute(scheduler="threads")
    expected = tiny_encoder.embed_frame(places)
    assert list(found.columns) == list(expected.columns)
    np.testing.assert_allclose(
        found.filter(like="embed_"), expected.filter(like="embed_"), atol=1e-5
    )
    assert list(found["name"]) == list(places["name"])


def test_a_table_in_memory_is_sent_elsewhere(tiny_encoder, places):
    with pytest.raises(TypeError, match="embed_frame"):
        scale.embed(tiny_encoder, places)


def test_an_empty_partition_has_the_columns(tiny_encoder, places):
    frame = dd.from_pandas(places, npartitions=2)
    frame = frame[frame["lon"] > 1000]
    assert scale.embed(tiny_encoder, frame).compute().shape == (0, 3 + tiny_encoder.embed_dim)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("workers", [1, 2])
def test_parquet_keeps_columns_rows_and_order(tiny_encoder, places, tmp_path, workers):
    places.to_parquet(tmp_path / "in.parquet", row_group_size=7, index=False)
    out = scale.embed_parquet(tiny_encoder, tmp_path / "in.parquet", tmp_path / "out",
                              workers=workers)  # fmt: skip
    assert len(list(out.glob("part-*.parquet"))) == 6
    found = pd.read_parquet(out)
    pd.testing.assert_frame_equal(found[places.columns], places)
    expected = tiny_encoder.embed(places[["lon", "lat"]].to_numpy())
    np.testing.assert_allclose(vectors(found), expected, atol=1e-5)


def test_points_in_degrees_are_read_as_geopandas_reads_them(places, tmp_path):
    geopandas = pytest.importorskip("geopandas")
    lon, lat = places["lon"], places["lat"]
    points = geopandas.points_from_xy(lon, lat, crs="EPSG:4326")
    lonlat = places[["lon", "lat"]].to_numpy()

    def read(geometry, **options):
        geopandas.GeoDataFrame(places, geometry=geometry).to_parquet(
            tmp_path / "a.parquet", row_group_size=7, **options
        )
        table = pq.read_table(tmp_path / "a.parquet").slice(10, 30)
        return scale._degrees_of_points(table), scale._places(table, ("lon", "lat"))

    fast, found = read(points)
    np.testing.assert_array_equal(fast, lonlat[10:40])
    np.testing.assert_allclose(found, lonlat[10:40], atol=1e-12)
    other = geopandas.GeoSeries(points).to_crs("EPSG:3035")
    high = geopandas.GeoSeries(geopandas.points_from_xy(lon, lat, z=lat, crs="EPSG:4326"))
    for geometry, options in (
        (other, {}), (high, {}), (points, {"geometry_encoding": "geoarrow"}),
    ):  # fmt: skip
        fast, found = read(geometry, **options)
        assert fast is None
        np.testing.assert_allclose(found, lonlat[10:40], atol=1e-6)
    points = geopandas.GeoSeries(points)
    points[12] = None
    with pytest.raises(ValueError, match="must be finite"):
        read(points)


@pytest.mark.usefixtures("small_blocks")
def test_a_folder_of_parquet_goes_on_where_it_was_stopped(tiny_encoder, places, tmp_path):
    places.to_parquet(tmp_path / "in.parquet", index=False)
    out = scale.embed_parquet(tiny_encoder, tmp_path / "in.parquet", tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    (out / "part-00002.parquet").unlink()
    scale.embed_parquet(tiny_encoder, tmp_path / "in.parquet", out)
    after = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert [path.name for path in after if after[path] != before[path]] == ["part-00002.parquet"]
    assert len(pd.read_parquet(out)) == 57


@pytest.mark.usefixtures("small_blocks")
def test_a_damaged_block_is_made_again_and_blocks_of_others_are_refused(
    tiny_encoder, places, tmp_path
):
    source, out = tmp_path / "in.parquet", tmp_path / "out"
    places.to_parquet(source, index=False)
    scale.embed_parquet(tiny_encoder, source, out)
    before = pd.read_parquet(out)
    damaged = out / "part-00001.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    pd.testing.assert_frame_equal(
        pd.read_parquet(scale.embed_parquet(tiny_encoder, source, out)), before
    )
    with pytest.raises(ValueError, match=r"part-00000.parquet is of another encoder or source"):
        scale.embed_parquet(load_encoder("xyz"), source, out)
    places.assign(lon=places["lon"][::-1].to_numpy()).to_parquet(source, index=False)
    with pytest.raises(ValueError, match="another encoder or source; give another folder"):
        scale.embed_parquet(tiny_encoder, source, out)
    places[:20].to_parquet(tmp_path / "short.parquet", index=False)
    few = scale.embed_parquet(tiny_encoder, tmp_path / "short.parquet", tmp_path / "few")
    places.to_parquet(few / "mine.parquet")
    with pytest.raises(ValueError, match=r"mine.parquet is of another"):
        scale.embed_parquet(tiny_encoder, tmp_path / "short.parquet", few)


@pytest.mark.usefixtures("small_blocks")
def test_geoparquet_keeps_its_geometry_and_its_crs(tiny_encoder, places, tmp_path):
    geopandas = pytest.importorskip("geopandas")
    points = geopandas.points_from_xy(places["lon"], places["lat"].clip(-80, 80), crs="EPSG:4326")
    frame = geopandas.GeoDataFrame(places[["name"]], geometry=points)
    frame.to_crs("EPSG:3857").to_parquet(tmp_path / "in.parquet")
    out = scale.embed_parquet(tiny_encoder, tmp_path / "in.parquet", tmp_path / "out")
    found = geopandas.read_parquet(out)
    assert found.crs == "EPSG:3857"
    np.testing.assert_allclose(vectors(found), tiny_encoder.embed(frame), atol=1e-4)


@pytest.mark.parametrize("said", ["{}", "none", "[]", '{"primary_column": "g", "columns": []}'])
def test_metadata_that_describe_no_geometry_are_a_sentence(tiny_encoder, tmp_path, said):
    table = pa.table({"g": [b"bytes"]}).replace_schema_metadata({"geo": said})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="do not describe its geometry"):
        scale.embed_parquet(tiny_encoder, tmp_path / "a.parquet", tmp_path / "b")


def test_a_missing_column_and_a_bad_place_are_sentences(tiny_encoder, places, tmp_path):
    with pytest.raises(FileNotFoundError, match="no Parquet files"):
        scale.embed_parquet(tiny_encoder, tmp_path / "none", tmp_path / "out")
    places.to_parquet(tmp_path / "in.parquet", index=False)
    with pytest.raises(ValueError, match="no column 'x'"):
        scale.embed_parquet(tiny_encoder, tmp_path / "in.parquet", tmp_path / "out",
                            columns=("x", "lat"))  # fmt: skip
    places.assign(lat=91.0).to_parquet(tmp_path / "in.parquet", index=False)
    with pytest.raises(ValueError, match=r"in.parquet, rows from 0: latitude"):
        scale.embed_parquet(tiny_encoder, tmp_path / "in.parquet", tmp_path / "out")


def content(store):
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in store.rglob("*")
        if path.is_file()
    }


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_store_holds_what_embed_grid_gives(tiny_encoder, tmp_path, workers):
    bounds = (-20.0, -30.0, 50.0, 41.0)
    store = grid_store.write_grid(
        tiny_encoder, tmp_path / "earth.zarr", 3.0, bounds, workers=workers
    )
    found = grid_store.open_grid(store)
    expected = embed_grid(tiny_encoder, 3.0, bounds)
    assert found.dims == ("lat", "lon", "embed")
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(found["lat"], Grid.from_resolution(3.0, bounds).lat)
    assert found["lon"].attrs["units"] == "degrees_east"
    assert found.attrs["weights_hash"] == expected.attrs["weights_hash"]
    assert found.attrs["Conventions"].startswith("CF")


@pytest.mark.usefixtures("small_blocks")
def test_a_store_that_was_stopped_ends_the_same_and_is_not_made_twice(
    tiny_encoder, tmp_path, monkeypatch
):
    whole = grid_store.write_grid(tiny_encoder, tmp_path / "whole.zarr", 6.0)
    written, write = [], grid_store._write_band

    def dies(encoder, path, grid, start, *rest):
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append(start)
        write(encoder, path, grid, start, *rest)

    monkeypatch.setattr(grid_store, "_write_band", dies)
    with pytest.raises(KeyboardInterrupt):
        grid_store.write_grid(tiny_encoder, tmp_path / "cut.zarr", 6.0)
    # One shard of a band was written, the others were not: as after SIGKILL.
    part = tmp_path / ".cut.zarr.part"
    (part / "embedding/c/3/1/0").unlink()
    (part / "largest_error/c/3").unlink()
    assert not (tmp_path / "cut.zarr").exists()

    def count(encoder, path, grid, start, *rest):
        written.append(start)
        write(encoder, path, grid, start, *rest)

    monkeypatch.setattr(grid_store, "_write_band", count)
    cut = grid_store.write_grid(tiny_encoder, tmp_path / "cut.zarr", 6.0)
    assert content(cut) == content(whole)
    assert not part.exists()
    assert len(written) == len(set(written)) + 1


class NorthOnly(LocationEncoder):
    """Has no data in the south."""

    name, embed_dim = "north", 2

    def encode(self, lonlat):
        return torch.where(lonlat[:, 1:] > 0, lonlat, torch.nan).float()


@pytest.mark.usefixtures("small_blocks")
def test_bands_without_data_are_encoded_once(tmp_path, monkeypatch):
    store = grid_store.write_grid(NorthOnly(), tmp_path / "earth.zarr", 10.0)
    monkeypatch.setattr(grid_store, "_write_band", lambda *_: pytest.fail("encoded again"))
    found = grid_store.open_grid(grid_store.write_grid(NorthOnly(), store, 10.0))
    assert (
        np.isfinite(found).all("embed").any("lon").to_numpy().tolist() == [True] * 9 + [False] * 9
    )


def test_the_last_band_ends_at_the_pole(tmp_path):
    # 169 times the pixel is more than 180 degrees, by rounding.
    bounds, resolution = (0.0, -90.0, 2.0, 90.0), 180 / 169
    store = grid_store.write_grid(NorthOnly(), tmp_path / "a.zarr", resolution, bounds)
    whole = embed_grid(NorthOnly(), resolution, bounds).astype(np.float16)
    np.testing.assert_array_equal(grid_store.open_grid(store), whole)


KILLED = """
import os, signal, sys
from satclip_explore import grid_store
from satclip_explore.encoders.registry import load_encoder

grid_store.CHUNK, grid_store.SHARD_COLUMNS = 4, 16
measure, calls = grid_store.largest_error, []

def dies(*arrays):
    calls.append(1)
    if len(calls) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return measure(*arrays)

grid_store.largest_error = dies
grid_store.write_grid(load_encoder("xyz"), sys.argv[1], 6.0, workers=2)
"""
"""Dies in its fourth band, once its numbers are written and before it is marked as whole."""


@pytest.mark.usefixtures("small_blocks")
def test_killed_half_way_a_store_ends_the_same(tmp_path, monkeypatch):
    encoder, cut = load_encoder("xyz"), tmp_path / "cut.zarr"
    whole = grid_store.write_grid(encoder, tmp_path / "whole.zarr", 6.0)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(cut)], cwd=ROOT, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not cut.exists()
    again, write = [], grid_store._write_band

    def count(encoder, path, grid, start, *rest):
        again.append(start)
        write(encoder, path, grid, start, *rest)

    monkeypatch.setattr(grid_store, "_write_band", count)
    assert content(grid_store.write_grid(encoder, cut, 6.0)) == content(whole)
    # Of eight bands four were begun, and each of the two workers may have lost one.
    assert 8 - 4 < len(again) <= 8 - 4 + 2


def test_a_store_of_other_settings_or_another_folder_is_refused(tiny_encoder, tmp_path):
    store = grid_store.write_grid(tiny_encoder, tmp_path / "earth.zarr", 30.0)
    with pytest.raises(ValueError, match="something else"):
        grid_store.write_grid(tiny_encoder, store, 45.0)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="something else"):
        grid_store.write_grid(tiny_encoder, tmp_path / "mine", 30.0)
    with pytest.raises(ValueError, match="float32, float16, int8"):
        grid_store.write_grid(tiny_encoder, tmp_path / "other.zarr", 30.0, dtype="int4")
    kenya = grid_store.write_grid(tiny_encoder, tmp_path / "kenya.zarr", 2.0, region="Kenya")
    bounds = tuple(zarr_group(kenya).attrs["spatial:bbox"])
    with pytest.raises(ValueError, match="something else"):
        grid_store.write_grid(tiny_encoder, kenya, 2.0, bounds)


def test_numbers_past_the_end_of_float16_are_refused(tmp_path):
    class Far(NorthOnly):
        def encode(self, lonlat):
            return lonlat.float() * 1e4

    with pytest.raises(ValueError, match=r"numbers reach 1,650,000, past 65,504.*float32"):
        grid_store.write_grid(Far(), tmp_path / "far.zarr", 30.0)
    store = grid_store.write_grid(Far(), tmp_path / "far.zarr", 30.0, dtype="int8")
    with pytest.raises(ValueError, match="holds int8 and factors; open it with load_encoder"):
        grid_store.open_grid(store)
    assert np.isfinite(load_encoder(store).embed([[15.0, 75.0]])).all()


def zarr_group(store, mode="r"):
    return pytest.importorskip("zarr").open_group(store, mode=mode)


@pytest.mark.parametrize("facts", [{}, {"encoder": "another, that was stopped"}])
def test_a_layout_that_was_not_finished_is_made_again(tiny_encoder, tmp_path, facts):
    store = grid_store.write_grid(tiny_encoder, tmp_path / "earth.zarr", 30.0)
    before = content(store)
    part = store.rename(tmp_path / ".earth.zarr.part")
    zarr_group(part, "r+").attrs.put(facts)
    assert content(grid_store.write_grid(tiny_encoder, store, 30.0)) == before


def test_the_command_writes_a_store_and_says_what_is_wrong(tmp_path, capsys):
    scale.main(["--encoder", "xyz", "grid", str(tmp_path / "earth.zarr"), "--resolution", "30"])
    assert grid_store.open_grid(tmp_path / "earth.zarr").shape == (6, 12, 3)
    with pytest.raises(SystemExit):
        scale.main(["embed", str(tmp_path / "none"), str(tmp_path / "out")])
    assert "no Parquet files" in capsys.readouterr().err
    expected = load_encoder("xyz").embed([[15.0, 75.0]])
    found = grid_store.open_grid(tmp_path / "earth.zarr").sel(lon=15, lat=75).to_numpy()
    np.testing.assert_allclose(found[None], expected, atol=1e-3)

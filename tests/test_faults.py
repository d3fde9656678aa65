"""Full disks and clocks that jump: nothing that was written is lost, and the next start works."""

from __future__ import annotations

import os
import re
import time

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import satclip_explore as sx
from satclip_explore import scale
from satclip_explore.encoders import remote_files
from satclip_explore.encoders.lightning_files import export_lightning
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.encoders.satclip import SatCLIP
from satclip_explore.encoders.siren import Siren
from satclip_explore.files.atomic import write_whole
from satclip_explore.grid_store import write_grid

resource = pytest.importorskip("resource")

ROOM = 1000
"""Bytes that a file may have while the disk is full; every file below is larger."""


@pytest.fixture
def full_disk():
    """Fail in every write past `ROOM`, also those of libraries in C, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(room=ROOM):
        soft = before[0] if room is None else room
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, before[1]))

    yield fill
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def field(seed):
    values = np.random.default_rng(seed).normal(size=(45, 90)).astype(np.float32)
    coords = {"lat": np.arange(88.0, -90, -4), "lon": np.arange(-178.0, 180, 4)}
    return xr.DataArray(values, coords, ("lat", "lon"), name="t")


def table(seed):
    rng = np.random.default_rng(seed)
    columns = {"lon": rng.uniform(-180, 180, 200), "lat": rng.uniform(-90, 90, 200)}
    return pd.DataFrame(columns | {"value": rng.normal(size=200)})


def encoder(seed):
    return SatCLIP(Siren(25, hidden_dim=16, embed_dim=8, seed=seed), 5, name=f"seed-{seed}")


WRITERS = {
    "a.png": lambda path, seed: sx.to_png(field(seed), path),
    "a.tif": lambda path, seed: sx.to_geotiff(field(seed), path),
    "a.nc": lambda path, seed: sx.to_netcdf(field(seed), path),
    "a.csv": lambda path, seed: sx.to_csv(table(seed), path),
    "a.parquet": lambda path, seed: sx.to_geoparquet(table(seed), path),
    "vector.parquet": lambda path, seed: sx.to_vector(table(seed), path),
    "a.gpkg": lambda path, seed: sx.to_vector(table(seed), path),
    "a.geojson": lambda path, seed: sx.to_vector(table(seed), path),
    "a.onnx": lambda path, seed: encoder(seed).to_onnx(path),
    "a.ckpt": lambda path, seed: export_lightning(encoder(seed), path),
    "encoder": lambda path, seed: encoder(seed).save(path),
    "grid.tif": lambda path, seed: sx.export_embeddings(encoder(seed), path, 10.0),
    "grid.parquet": lambda path, seed: sx.export_embeddings(encoder(seed), path, 10.0),
}
"""What writes a file or a folder, by its name."""


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_one_sentence_and_keeps_what_was_there(tmp_path, full_disk, name):
    write = WRITERS[name]
    write(tmp_path / name, 0)
    before = contents(tmp_path)
    assert max(map(len, before.values())) > ROOM
    full_disk()
    with pytest.raises(OSError, match="cannot write") as error:
        write(tmp_path / name, 1)
    assert contents(tmp_path) == before
    assert re.fullmatch(
        r".*cannot write \S+: .*File too large\. Nothing was changed\. Free some space, .*\.",
        re.sub(r" \([\d,]+ bytes\)", "", str(error.value)),
    )


def test_a_full_disk_ends_work_in_parts_which_goes_on_once_there_is_room(tmp_path, full_disk):
    source, places = tmp_path / "source.parquet", table(0)
    places.to_parquet(source, index=False)
    full_disk(100_000)
    with pytest.raises(OSError, match=r"cannot write .*part-00000.parquet: .* Free some space"):
        scale.embed_parquet(load_encoder("mini-l10"), source, tmp_path / "table")
    with pytest.raises(OSError, match=r"cannot write .*earth.zarr: File too large.*call again"):
        write_grid(encoder(0), tmp_path / "earth.zarr", 2.0)
    assert not (tmp_path / "earth.zarr").exists()
    full_disk(None)
    done = scale.embed_parquet(load_encoder("mini-l10"), source, tmp_path / "table")
    pd.testing.assert_frame_equal(pd.read_parquet(done)[places.columns], places)
    done = write_grid(encoder(0), tmp_path / "earth.zarr", 2.0)
    whole = write_grid(encoder(0), tmp_path / "whole.zarr", 2.0)
    assert contents(done) == contents(whole)


@pytest.mark.parametrize("jump", [-1e9, 1e9])
def test_a_clock_that_jumped_stops_nothing(tmp_path, monkeypatch, jump):
    path, left = tmp_path / "a.csv", tmp_path / ".a.csv.01.part"
    write_whole(path, b"1")
    left.touch()
    now = time.time() + jump
    os.utime(path, (now, now))
    os.utime(left, (now, now))
    write_whole(path, b"2")
    assert path.read_bytes() == b"2"
    # What seems to be written to in times to come is left, until it is old.
    assert left.exists() == (jump > 0)


def test_a_file_of_the_future_does_not_push_out_what_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(remote_files, "MAX_CACHE_BYTES", 15)
    mine, other = tmp_path / "mine", tmp_path / "other"
    for path in (mine, other):
        path.write_bytes(bytes(10))
    os.utime(other, (time.time() + 1e9,) * 2)
    remote_files._make_room(tmp_path, mine)
    assert mine.exists()

"""A worker that is lost costs its own chunk and nothing else: same numbers, same order."""

import logging
import os
import signal
import sys
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import torch

from satclip_explore import grid_store, scale
from satclip_explore.encoders.base import LocationEncoder

pytest.importorskip("pyarrow.parquet")
pytest.importorskip("zarr")
cloudpickle = pytest.importorskip("cloudpickle")
dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.slow


class Fatal(LocationEncoder):
    """Notes every piece that is begun; whoever begins the fourth is killed in it, once."""

    name, embed_dim, chunk_size = "fatal", 2, 1_000_000

    def __init__(self, folder, client=None):
        self.begun, self.died, self.client = (
            folder / "begun",
            folder / "died",
            client or os.getpid(),
        )

    def encode(self, lonlat):
        with self.begun.open("a") as notes:
            notes.write(f"{float(lonlat[0, 1])}\n")
        if os.getpid() != self.client and len(self.pieces()) >= 4 and not self.died.exists():
            self.died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.stack([lonlat[:, 0] / 7, lonlat[:, 1] ** 2], 1).float()

    def pieces(self):
        return self.begun.read_text().split()


@contextmanager
def two_processes():
    """Two workers of this machine; a nanny starts one anew when it dies."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    # A copy of this process has loaded torch already.
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": "fork"}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster),
    ):  # fmt: skip
        yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_a_killed_worker_costs_one_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(scale, "BLOCK_ROWS", 10)
    monkeypatch.setattr(grid_store, "CHUNK", 4)
    monkeypatch.setattr(grid_store, "SHARD_COLUMNS", 16)
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"lon": rng.uniform(-180, 180, 97), "lat": rng.uniform(-90, 90, 97)})
    source = tmp_path / "in.parquet"
    table.to_parquet(source, index=False)
    folders = [tmp_path / name for name in ("calm", "table", "grid")]
    for folder in folders:
        folder.mkdir()
    calm, for_table, for_grid = (Fatal(folder) for folder in folders)
    expected = pd.read_parquet(scale.embed_parquet(calm, source, tmp_path / "calm.parquets"))
    exact = grid_store.open_grid(grid_store.write_grid(calm, tmp_path / "calm.zarr", 4.0))
    with two_processes():
        found = pd.read_parquet(scale.embed_parquet(for_table, source, tmp_path / "lost.parquets"))
        stored = grid_store.write_grid(for_grid, tmp_path / "lost.zarr", 4.0)
    assert for_table.died.exists()
    assert for_grid.died.exists()
    pd.testing.assert_frame_equal(found, expected)
    np.testing.assert_array_equal(grid_store.open_grid(stored), exact)
    for encoder, chunks in ((for_table, 10), (for_grid, 12)):
        pieces = encoder.pieces()
        assert len(set(pieces)) == chunks
        assert len(pieces) == chunks + 1, "only what the lost worker was at is done twice"

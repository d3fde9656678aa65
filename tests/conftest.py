"""Fixtures shared by all tests: small encoders and the optional folder of real data."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from satclip_explore.encoders.satclip import SatCLIP
from satclip_explore.encoders.siren import Siren

with suppress(ImportError):
    from hypothesis import settings

    settings.register_profile("fuzz", max_examples=100_000)

SHARED = Path(__file__).resolve().parents[2] / "shared"
BROWSER = "tests/browser/"


@pytest.fixture(autouse=True)
def _deterministic():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and weights beside the checkout; not on a user's machine."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no real data at {SHARED}")
    return SHARED


@pytest.fixture
def tiny_encoder() -> SatCLIP:
    """A seeded SatCLIP of L = 5 with 8 numbers per place: milliseconds, no files."""
    network = Siren(25, hidden_dim=16, embed_dim=8, num_layers=2, seed=0)
    return SatCLIP(network, 5, name="tiny-l5")


@pytest.fixture
def places() -> np.ndarray:
    """Eight telling places, (8, 2): poles, antimeridian from both sides, equator, cities."""
    return np.array(
        [
            [0.0, 90.0],
            [0.0, -90.0],
            [-180.0, 10.0],
            [179.999, 10.0],
            [0.0, 0.0],
            [13.4, 52.5],
            [-60.0, -3.1],
            [151.2, -33.9],
        ]
    )


def pytest_configure(config):
    """Share the cores among the workers of pytest-xdist, and with the programs that they start.

    A GPU is left to the tests that ask for one: the others compare with the CPU bit for bit.
    """
    if config.option.markexpr != "gpu":
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    threads = max(1, torch.get_num_threads() // workers)
    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)


def pytest_collection_modifyitems(items):
    """Let browsers come first: the longest piece of work at the end would keep one worker alone."""
    items.sort(
        key=lambda item: (
            item.get_closest_marker("ui") is None,
            "end_server" in getattr(item, "fixturenames", ()),
        )
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give a worker whole files, and one of them all browser tests: one Chromium, one server."""
    if config.option.dist != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return BROWSER if nodeid.startswith(BROWSER) else super()._split_scope(nodeid)

    return Scheduling(config, log)


def pytest_terminal_summary(terminalreporter):
    """Say in one line what this machine could not run, and why."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        reasons[reason] = reasons.get(reason, 0) + 1
    if reasons:
        text = "; ".join(f"{count} × {reason}" for reason, count in sorted(reasons.items()))
        terminalreporter.write_line(f"not run here: {text}")

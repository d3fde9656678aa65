"""What a notebook's first cell does, and a process that keeps nothing from test to test."""

from __future__ import annotations

import holoviews as hv
import panel as pn
import pytest

from satclip_explore.store import RESULTS


@pytest.fixture(autouse=True, scope="session")
def _plotting():
    hv.extension("bokeh", logo=False)


@pytest.fixture(autouse=True)
def _nothing_kept():
    yield
    pn.state.clear_caches()
    RESULTS.clear()

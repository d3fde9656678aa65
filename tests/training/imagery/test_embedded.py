"""The embedded picture can stand in for twelve months of Blue Marble."""

import numpy as np
import pytest

pytest.importorskip("PIL")

from satclip_explore.atlas import continent_at
from training.imagery.blue_marble import BlueMarble
from training.imagery.embedded import write_embedded_months


def test_the_blue_marble_source_reads_it_and_finds_land_where_it_is(tmp_path):
    source = BlueMarble(
        write_embedded_months(tmp_path / "new"), places=300, antarctica_fraction=0.05
    )
    assert source.survey[0].shape == (512, 1024)
    # 29 % of the Earth is land by area; plain pixels count Antarctica and Greenland more.
    assert 0.28 < source.survey[0].mean() < 0.42
    known = continent_at(source.lonlat) != ""
    # A pixel is 0.35 degree wide, so some places drawn in coastal pixels lie at sea.
    assert 0.9 < known.mean() <= 1.0
    assert np.isfinite(source.read(np.arange(3))).all()

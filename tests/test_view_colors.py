"""Views on a screen: fewer pixels where that shows the same, all of them where it does not."""

from __future__ import annotations

import numpy as np
import pytest

import satclip_explore as sx
from satclip_explore.geo import Grid
from satclip_explore.lattice import Lattice, between, every
from satclip_explore.projection import fit_pca, pca_colors
from satclip_explore.tiles import TileGrid
from satclip_explore.view_colors import view_colors


@pytest.fixture
def counted(tiny_encoder, monkeypatch):
    """An encoder, and the number of pixels that it was asked for."""
    asked = []
    plain = type(tiny_encoder).iter_grid

    def count(self, grid, *args, **options):
        asked.append(grid.shape[0] * grid.shape[1])
        return plain(self, grid, *args, **options)

    monkeypatch.setattr(type(tiny_encoder), "iter_grid", count)
    return tiny_encoder, asked


@pytest.mark.parametrize("grid", [Grid((5.0, 40.0, 15.0, 45.0), (90, 181)), TileGrid.of(6, 33, 21)])
def test_a_smooth_view_takes_few_pixels_and_shows_the_same(counted, grid):
    encoder, asked = counted
    projection = fit_pca(encoder)
    true = pca_colors(encoder, grid, projection)
    asked.clear()
    colors = view_colors(encoder, grid, projection)
    assert np.abs(colors.astype(int) - true).max() <= 2
    assert true.std() > 5.0
    assert sum(asked) < 0.2 * grid.shape[0] * grid.shape[1]


def test_a_rough_view_is_encoded_in_full():
    rough = sx.load_encoder("random-l40")
    grid, projection = Grid((-180.0, -90.0, 180.0, 90.0), (60, 120)), fit_pca(rough)
    np.testing.assert_array_equal(
        view_colors(rough, grid, projection), pca_colors(rough, grid, projection)
    )


def test_a_view_with_holes_is_encoded_in_full(tiny_encoder, monkeypatch):
    grid, projection = Grid((5.0, 40.0, 15.0, 45.0), (90, 181)), fit_pca(tiny_encoder)
    plain = type(tiny_encoder).iter_grid

    def with_hole(self, grid, *args, **options):
        for rows, values in plain(self, grid, *args, **options):
            hole = np.ix_(np.abs(grid.lat[rows] - 42.0) < 0.3, np.abs(grid.lon - 9.0) < 0.3)
            values[hole] = np.nan
            yield rows, values

    monkeypatch.setattr(type(tiny_encoder), "iter_grid", with_hole)
    np.testing.assert_array_equal(
        view_colors(tiny_encoder, grid, projection), pca_colors(tiny_encoder, grid, projection)
    )


def test_cubics_are_read_off_exactly_also_at_the_ends():
    at = every(8, 35)
    assert at.tolist() == [0, 8, 16, 24, 32, 34]
    x = np.arange(35.0)
    cubic = 1e-3 * x**3 - 0.05 * x**2 + x
    np.testing.assert_allclose(between(cubic[at], at, 0), cubic, rtol=0, atol=1e-4)


def test_encoders_side_by_side_keep_the_rows_of_tiles_and_lattices(tiny_encoder):
    both = sx.concat([tiny_encoder, sx.load_encoder("xyz")])
    tile = TileGrid.of(1, 0, 0, size=8)
    for grid in (tile, Lattice.of(tile, np.array([0, 5, 7]), np.array([1, 2]))):
        expected = both.embed(grid.lonlat).reshape(*grid.shape, -1)
        np.testing.assert_allclose(sx.embed_grid(both, grid=grid), expected, rtol=0, atol=1e-4)

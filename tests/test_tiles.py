from io import BytesIO

import numpy as np
import pytest

from satclip_explore.projection import fit_pca
from satclip_explore.tiles import TileGrid, pca_tile, png_bytes

Image = pytest.importorskip("PIL.Image")


def test_the_world_tile_ends_at_the_mercator_limit():
    grid = TileGrid.of(0, 0, 0)
    assert grid.bounds[0] == -180
    assert grid.bounds[2] == 180
    # arctan(sinh π), where the square map is cut.
    assert abs(grid.bounds[3] - 85.05112877980659) < 1e-12
    np.testing.assert_allclose(grid.lat, -grid.lat[::-1], rtol=0, atol=1e-12)


def test_children_tile_their_parent():
    parent = TileGrid.of(3, 2, 5)
    north_west, south_east = TileGrid.of(4, 4, 10), TileGrid.of(4, 5, 11)
    assert north_west.bounds[0] == parent.bounds[0]
    assert north_west.bounds[3] == parent.bounds[3]
    assert south_east.bounds[1:3] == parent.bounds[1:3]


def test_rows_are_pixel_centers_inside_the_tile():
    grid = TileGrid.of(2, 1, 1)
    assert (np.diff(grid.lat) < 0).all()
    assert grid.bounds[1] < grid.lat[-1] < grid.lat[0] < grid.bounds[3]


def test_a_tile_paints_places_in_their_colors(tiny_encoder):
    image = np.asarray(Image.open(BytesIO(pca_tile(tiny_encoder, 1, 1, 0))))
    assert image.shape == (256, 256, 4)
    grid = TileGrid.of(1, 1, 0)
    place = [(grid.lon[100], grid.lat[200])]
    expected = fit_pca(tiny_encoder).colors(tiny_encoder.embed(place))[0].astype(int)
    assert np.abs(image[200, 100, :3].astype(int) - expected).max() <= 2
    assert (image[..., 3] == 255).all()


def test_uncovered_pixels_are_transparent(tiny_encoder):
    tiny_encoder.coverage = lambda lonlat: np.asarray(lonlat)[:, 0] > 90
    image = np.asarray(Image.open(BytesIO(pca_tile(tiny_encoder, 1, 1, 0))))
    assert set(np.unique(image[:, 0, 3])) == {0}
    assert set(np.unique(image[:, -1, 3])) == {255}


@pytest.mark.parametrize("tile", [(-1, 0, 0), (25, 0, 0), (1, 2, 0), (1, 0, -1), (0, 0, 1)])
def test_tiles_that_do_not_exist_are_refused(tile):
    with pytest.raises(ValueError, match="a tile needs"):
        TileGrid.of(*tile)


def test_png_bytes_round_trip():
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(png_bytes(picture)))), picture)

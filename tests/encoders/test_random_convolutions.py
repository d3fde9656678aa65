"""MOSAIKS-like features computed from a picture: by hand in one cell, and what is refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from satclip_explore.atlas import BASEMAP, load_atlas
from satclip_explore.encoders.random_convolutions import (
    CELLS,
    RandomConvolutions,
    read_convolved_picture,
    whitened_filters,
)
from satclip_explore.encoders.registry import list_encoders, load_encoder
from satclip_explore.geo import GLOBE, Grid

Image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("mosaiks-mini")


def write(path, height=128):
    shape = (height, 2 * height, 3)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_the_embedded_picture_gives_features_of_the_land_without_any_file(encoder):
    assert (encoder.name, encoder.family, encoder.embed_dim) == ("mosaiks-mini", "rcf", 256)
    row = list_encoders().set_index("name").loc["mosaiks-mini"]
    assert row["available"]
    assert row["dim"] == encoder.embed_dim
    lonlat = load_atlas().lonlat
    x = encoder.embed(lonlat)
    covered = encoder.coverage(lonlat)
    # The atlas is of land; a few of its small islands are narrower than a pixel of 39 km.
    assert covered.mean() > 0.99
    np.testing.assert_array_equal(np.isfinite(x).all(axis=1), covered)
    np.testing.assert_array_equal(np.isnan(x).all(axis=1), ~covered)
    assert (x[covered] >= 0.0).all()
    assert x[covered].std(axis=0).min() > 0.0


def test_the_sea_has_no_features_and_both_sides_of_the_antimeridian_have_the_same(encoder):
    sea, chukotka = [(-30.0, 30.0), (0.0, 90.0)], [(-180.0, 68.0), (180.0, 68.0), (179.9999, 68.0)]
    assert not encoder.coverage(sea).any()
    assert np.isnan(encoder.embed(sea)).all()
    x = encoder.embed(chukotka)
    np.testing.assert_array_equal(x[0], x[1])
    # A ten-thousandth of a degree of a cell of 1.4° between two cells.
    np.testing.assert_allclose(x[2], x[0], rtol=0, atol=1e-3 * x.max())
    assert encoder.coverage((0.0, -90.0)).all()  # the South Pole is land


def test_the_features_tell_deserts_from_forests_across_continents(encoder):
    sahara, arabia, amazon, congo = encoder.embed(
        [(10.0, 24.0), (48.0, 20.0), (-62.0, -4.0), (22.0, -1.0)]
    )
    apart = min(np.linalg.norm(a - b) for a in (sahara, arabia) for b in (amazon, congo))
    assert np.linalg.norm(sahara - arabia) < 0.5 * apart
    assert np.linalg.norm(amazon - congo) < 0.5 * apart


def test_a_cell_holds_the_mean_response_over_its_land(tmp_path):
    pixels = write(tmp_path / "a.png", height=256)
    encoder = read_convolved_picture(tmp_path / "a.png", dtype="float64")
    grid = Grid(GLOBE, CELLS)
    row, column = 50, 140  # in the Sahara: all of its four pixels are land
    place = (float(grid.lon[column]), float(grid.lat[row]))
    patches = _land_patches(pixels)
    filters = whitened_filters(patches, 128)
    image = torch.from_numpy(pixels.astype(np.float32) / 255.0).permute(2, 0, 1)
    image = image - torch.from_numpy(patches.mean(axis=(0, 2, 3)))[:, None, None]
    around = image[:, 2 * row - 1 : 2 * row + 3, 2 * column - 1 : 2 * column + 3]
    expected = RandomConvolutions(filters, 0.5)(around[None])[0].numpy()
    # Sums of 27 products in single precision.
    np.testing.assert_allclose(encoder.embed(place)[0], expected, rtol=0, atol=2e-4)
    assert np.ptp(expected) > 0.1


def _land_patches(pixels, n_patches=4096):
    """Patches around the first land places of the seeded sample, as the encoder takes them."""
    from satclip_explore.atlas import land_mask
    from satclip_explore.geo import equal_area_sample

    height, width = pixels.shape[:2]
    land = land_mask(Grid(GLOBE, (height, width)))
    patches = []
    padded = np.pad(pixels, ((0, 0), (1, 1), (0, 0)), mode="wrap")
    padded = np.pad(padded, ((1, 1), (0, 0), (0, 0)), mode="edge")
    for lon, lat in equal_area_sample(8 * n_patches, seed=0):
        row, column = int((90 - lat) / 180 * height), int((lon + 180) / 360 * width)
        if land[row, column] and len(patches) < n_patches:
            patches.append(padded[row : row + 3, column : column + 3].transpose(2, 0, 1) / 255.0)
    return np.array(patches, dtype=np.float32)


def test_filters_are_white_on_the_patches_they_come_from():
    rng = np.random.default_rng(0)
    patches = rng.standard_normal((5000, 3, 3, 3)) * np.linspace(1, 4, 27).reshape(3, 3, 3)
    filters = whitened_filters(patches, 64).reshape(64, -1).numpy()
    centered = patches.reshape(5000, -1) - patches.reshape(5000, -1).mean(axis=0)
    # Unit filters on whitened data: every response has variance 1 but for the small ridge.
    np.testing.assert_allclose((centered @ filters.T).std(axis=0), 1.0, atol=0.02)


@pytest.mark.parametrize(("height", "width"), [(64, 128), (128, 128), (100, 200), (4224, 8448)])
def test_pictures_of_another_shape_get_one_sentence(tmp_path, height, width):
    path = tmp_path / "shape.png"
    Image.new("RGB", (width, height)).save(path, compress_level=1)
    with pytest.raises(ValueError, match=f"twice as wide as high.*got {width} x {height}"):
        read_convolved_picture(path)


def test_other_files_get_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match="no picture at"):
        read_convolved_picture(tmp_path / "none.png")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n nonsense")
    with pytest.raises(ValueError, match="a.png cannot be read"):
        read_convolved_picture(tmp_path / "a.png")
    write(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:5000])
    with pytest.raises(ValueError, match="cut.png cannot be read"):
        read_convolved_picture(tmp_path / "cut.png")
    write(tmp_path / "page.tiff")
    with pytest.raises(ValueError, match="page.tiff cannot be read"):
        read_convolved_picture(tmp_path / "page.tiff")


def test_a_picture_of_ones_own_takes_the_place_of_the_embedded_one(tmp_path, encoder):
    write(tmp_path / "mine.png")
    mine = load_encoder("mosaiks-mini", path=tmp_path / "mine.png")
    assert mine.weights_hash != encoder.weights_hash
    same = load_encoder("mosaiks-mini", path=BASEMAP)
    assert same.weights_hash == encoder.weights_hash


def test_without_pillow_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ModuleNotFoundError, match="pip install pillow"):
        read_convolved_picture(BASEMAP)

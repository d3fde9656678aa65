"""Blue Marble and its statistics, on a small Earth that the test paints."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from satclip_explore.geo import great_circle_km
from training.imagery.blue_marble import OCEAN, BlueMarble
from training.imagery.patch_statistics import STATISTICS, PatchStatistics, _Box, _integral
from training.imagery.source import displace


@pytest.fixture(scope="module")
def source(earth):
    return BlueMarble(earth, places=500, augmentations=2, jitter_m=200_000.0)


def test_places_are_on_land_by_area_and_reproducible(earth, source):
    lon, lat = source.lonlat.T
    assert len(source.lonlat) == 500
    assert ((np.abs(lon) <= 90) | (np.abs(lat) > 75)).all()
    assert (lat < -60).sum() == round(0.03 * 500)
    assert (np.diff(lat) <= 0).all()
    # By area, a quarter of the places between 60 S and 90 N lie north of 36 N (plus the cap).
    assert 0.15 < (lat > 36).mean() < 0.35
    again = BlueMarble(earth, places=500, augmentations=2, jitter_m=200_000.0)
    np.testing.assert_array_equal(again.lonlat, source.lonlat)
    other = BlueMarble(earth, places=500, augmentations=2, jitter_m=200_000.0, seed=1)
    assert not np.array_equal(other.lonlat, source.lonlat)


def test_places_at_sea_come_beside_those_on_land(earth):
    source = BlueMarble(earth, places=1000, ocean_fraction=0.2)
    assert len(source.lonlat) == 1000
    assert source.on_land.sum() == 800
    lon = np.abs(source.lonlat[~source.on_land][:, 0])
    # Half of them were displaced from land by 200 km along each axis: 5 degrees and less at most
    # latitudes; a hundred places drawn by area over 180 degrees of sea are rarely that near.
    assert 90 < ((lon - 90) < 15).sum() < 175
    assert BlueMarble(earth, places=1000).on_land.all()


def test_versions_after_the_first_are_displaced(source):
    np.testing.assert_array_equal(source.centers(0), source.lonlat)
    moved = great_circle_km(source.centers(1), source.lonlat)
    # Rayleigh: the mean of the length is 1.2533 times the deviation along an axis; 500 draws.
    assert 225 < moved.mean() < 276
    np.testing.assert_array_equal(source.centers(1), source.centers(1))


def test_displacement_is_symmetric_in_meters_at_any_latitude():
    rng = np.random.default_rng(0)
    for lat in (0.0, 75.0, -75.0):
        lonlat = np.tile([179.9, lat], (20_000, 1))
        moved = displace(lonlat, 5000.0, rng)
        north = (moved[:, 1] - lat) * 111_195.0
        east = (moved[:, 0] - 179.9 + 180.0) % 360.0 - 180.0
        east *= 111_195.0 * np.cos(np.radians(lat))
        # Five standard errors of a mean of 20,000; the sphere bends 4 km squares by less.
        assert abs(north.mean()) < 180
        assert abs(east.mean()) < 180
        assert 4800 < north.std() < 5200
        assert 4800 < east.std() < 5200


def test_displacement_crosses_the_poles():
    rng = np.random.default_rng(0)
    moved = displace(np.tile([10.0, 90.0], (1000, 1)), 1000.0, rng)
    assert (moved[:, 1] < 90).all()
    assert (moved[:, 1] > 89.9).all()
    # All directions: four quadrants of longitude are about equally full.
    counts = np.histogram(moved[:, 0], bins=4, range=(-180, 180))[0]
    assert counts.min() > 200


def test_zero_displacement_stays():
    lonlat = np.array([[13.4, 52.5], [-180.0, 0.0]])
    # Trigonometry there and back, in degrees.
    np.testing.assert_allclose(displace(lonlat, 0.0, np.random.default_rng(0)), lonlat, atol=1e-10)


def brute_force(layer, land, lonlat, km):
    """Average over the land pixels whose centers lie within the square, weighted by overlap."""
    height, width = layer.shape
    half = 0.5 * km / 20015.1 * height
    row = (90 - lonlat[1]) / 180 * height
    column = (lonlat[0] + 180) / 360 * width
    across = min(half / max(np.cos(np.radians(lonlat[1])), 1e-3), width / 2)
    rows = np.clip(
        np.minimum(np.arange(height) + 1, row + half) - np.maximum(np.arange(height), row - half),
        0,
        1,
    )
    columns = np.zeros(width)
    for turn in (-width, 0, width):
        low, high = column - across + turn, column + across + turn
        columns += np.clip(
            np.minimum(np.arange(width) + 1, high) - np.maximum(np.arange(width), low), 0, 1
        )
    weight = rows[:, None] * columns * land
    return (layer * weight).sum() / weight.sum()


@pytest.mark.parametrize("km", [100.0, 700.0, 5000.0])
def test_means_equal_summing_pixel_by_pixel(source, km):
    features = PatchStatistics(source, (km, 20_000.0))
    block = features.compute(2)[0]
    land = source.survey[0]
    layer = source.month(3)[..., 1] / 255.0
    outer = PatchStatistics(source, (20_000.0,)).compute(2)[0]
    for row in (0, 100, 250, 400, 499):
        inner = block[row, 1] + outer[row, 1]
        wanted = brute_force(layer, land, source.lonlat[row], km)
        # float32 edges of squares, in pixels, are good to 1e-5.
        assert inner == pytest.approx(wanted, abs=2e-4)


@pytest.mark.parametrize("lon", [-180.0, 179.99, -179.99])
def test_squares_reach_over_the_antimeridian(lon):
    layer = np.zeros((90, 180))
    layer[:, :2] = 1.0
    layer[:, -2:] = 3.0
    box = _Box(np.array([[lon, 0.0]]), 4 * 2 * 111.195, layer.shape)
    # Four pixels wide around the seam: half of each kind.
    assert box.sum(_integral(layer))[0] / box.area[0] == pytest.approx(2.0, abs=0.02)


def test_squares_at_the_pole_are_clipped_and_go_around():
    layer = np.ones((90, 180))
    box = _Box(np.array([[0.0, 90.0], [0.0, -90.0]]), 500.0, layer.shape)
    np.testing.assert_allclose(box.sum(_integral(layer)), box.area, rtol=1e-5)
    np.testing.assert_allclose(box.right - box.left, 180.0, rtol=1e-6)


def test_blocks_fill_every_column_once(source):
    features = PatchStatistics(source, (100.0, 700.0))
    columns = np.concatenate([features.columns(b) for b in range(features.blocks)])
    np.testing.assert_array_equal(np.sort(columns), np.arange(features.dim))
    assert features.dim == 2 * STATISTICS
    for block in range(features.blocks):
        values = features.compute(block)
        assert values.shape == (2, 500, len(features.columns(block)))
        assert np.isfinite(values).all()


def test_lights_are_a_last_group_with_one_column_for_each_scale(lit_earth, source):
    lit = BlueMarble(lit_earth, places=500, augmentations=2, jitter_m=200_000.0, night_lights=True)
    assert lit.night().shape == lit.survey[0].shape
    features = PatchStatistics(lit, (300.0, 3000.0))
    assert features.groups == (STATISTICS, STATISTICS, 2)
    columns = np.concatenate([features.columns(b) for b in range(features.blocks)])
    np.testing.assert_array_equal(np.sort(columns), np.arange(features.dim))
    assert features.dim - 2 in features.columns(features.blocks - 1)
    values = features.compute(features.blocks - 1)
    assert values.shape == (2, 500, 2)
    away = great_circle_km(lit.lonlat, np.array([0.0, 0.0]))
    assert np.argmin(away) == values[0].sum(axis=1).argmax()
    # Its brightness, softened at the rim; far from it, nights are dark at both scales.
    assert np.log(101) < values[0].sum(axis=1).max() < np.log(201)
    assert (values[0][away > 5000] == 0).all()
    # What is kept of others does not know of the night.
    plain = PatchStatistics(source, (300.0, 3000.0))
    np.testing.assert_array_equal(features.compute(3), plain.compute(3))
    np.testing.assert_array_equal(features.columns(3), plain.columns(3))
    assert "BlackMarble_2016_gray.png" in lit.describe()["files"]
    assert "Black Marble" in lit.describe()["license"]
    assert "Black Marble" not in source.describe()["license"]


def test_lights_that_are_missing_or_damaged_are_named(earth, lit_earth):
    with pytest.raises(FileNotFoundError, match="must also hold the lights of the night"):
        BlueMarble(earth, places=10, night_lights=True)
    (lit_earth / "BlackMarble_2016_gray.png").write_bytes(b"dark")
    with pytest.raises(ValueError, match=r"BlackMarble_2016_gray.png is damaged"):
        BlueMarble(lit_earth, places=10, night_lights=True).night()


def test_the_smaller_scale_holds_what_it_adds(source):
    features = PatchStatistics(source, (300.0, 300.1))
    values = features.compute(0)[0]
    half = values.shape[1] // 2
    # Two squares of nearly one size differ by their rim: 0.1 km of 300.
    assert np.abs(values[:, :half]).max() < 2e-3
    assert np.abs(values[:, half:]).max() > 0.2


def test_patches_wrap_and_scale(source):
    patches = source.read(np.array([0, 250]))
    assert patches.shape == (2, 36, 32, 32)
    assert patches.min() >= 0.0
    assert patches.max() <= 1.0
    assert len(source.bands) == 36


def test_a_missing_month_is_named(earth, tmp_path):
    for path in earth.iterdir():
        if "200407" not in path.name:
            (tmp_path / path.name).symlink_to(path)
    with pytest.raises(FileNotFoundError, match="missing: 200407"):
        BlueMarble(tmp_path, places=10)


def test_a_truncated_image_is_named(earth, tmp_path):
    for path in earth.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    broken = tmp_path / "world.200405.png"
    broken.write_bytes(broken.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"world.200405.png is damaged"):
        _ = BlueMarble(tmp_path, places=10).lonlat


def test_a_picture_damaged_in_the_middle_or_of_another_kind_is_one_sentence(earth, tmp_path):
    for path in earth.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    broken = tmp_path / "world.200405.png"
    content = broken.read_bytes()
    # The header of the chunk after the first: what is read is no OSError.
    broken.write_bytes(content[:33] + b"\xff" * 8 + content[41:])
    with pytest.raises(ValueError, match=r"world.200405.png is damaged"):
        BlueMarble(tmp_path, places=10).month(5)
    broken.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 32\n%%EndComments\n")
    with pytest.raises(ValueError, match=r"world.200405.png is damaged"):
        BlueMarble(tmp_path, places=10).month(5)


def test_a_larger_edition_is_not_called_damaged(earth, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match="too many pixels; take an edition of 8,192 x 4,096"):
        BlueMarble(earth, places=10).month(5)


def test_a_month_is_read_once_for_all_squares(earth, monkeypatch):
    source, read = BlueMarble(earth, places=10), []
    month = BlueMarble.month
    monkeypatch.setattr(BlueMarble, "month", lambda s, m: read.append(m) or month(s, m))
    _ = source.survey
    read.clear()
    first = source.read(np.arange(3))
    assert source.read(np.arange(3, 10)).shape == (7, 36, 32, 32)
    assert sorted(read) == list(range(1, 13))
    assert 0.0 <= first.min() < first.max() <= 1.0


@pytest.mark.parametrize(
    ("size", "message"),
    [((64, 64), "twice as wide as high"), ((128, 64), "must have one size")],
)
def test_images_of_other_sizes_are_refused(earth, tmp_path, size, message):
    for path in earth.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    Image.new("RGB", size).save(tmp_path / "world.200405.png")
    with pytest.raises(ValueError, match=message):
        _ = BlueMarble(tmp_path, places=10).lonlat


def test_an_earth_without_land_is_refused(tmp_path):
    for month in range(1, 13):
        Image.new("RGB", (64, 32), OCEAN).save(tmp_path / f"2004{month:02d}.png")
    with pytest.raises(ValueError, match="no land north of 60"):
        _ = BlueMarble(tmp_path, places=10).lonlat


def test_an_earth_with_a_sea_floor_or_without_sea_is_refused(earth, tmp_path):
    rng = np.random.default_rng(0)
    for month in range(1, 13):
        floor = rng.integers(30, 90, (32, 64, 3), dtype=np.uint8)
        Image.fromarray(floor).save(tmp_path / f"world.topo.bathy.2004{month:02d}.png")
    with pytest.raises(ValueError, match="take the edition without sea floor"):
        _ = BlueMarble(tmp_path, places=10).lonlat
    with pytest.raises(ValueError, match="places on land; set it lower"):
        _ = BlueMarble(earth, places=10, ocean_fraction=0.999).lonlat


def test_no_places_are_refused(earth):
    with pytest.raises(ValueError, match="needs a number of places"):
        BlueMarble(earth, places=0)


@pytest.mark.slow
def test_the_real_blue_marble_has_land_where_land_is(shared):
    source = BlueMarble(shared / "data/imagery/blue_marble_monthly", places=2000)
    land = source.survey[0]
    height, width = land.shape
    wanted = {(10.0, 25.0): True, (-60.0, -5.0): True, (-150.0, 0.0): False, (-30.0, 45.0): False}
    for (lon, lat), is_land in wanted.items():
        row, column = int((90 - lat) / 180 * height), int((lon + 180) / 360 * width)
        assert land[row, column] == is_land

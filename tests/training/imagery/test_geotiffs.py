"""GeoTIFF sources: the real patches of S2-100K, shards, and files that cannot be used."""

from __future__ import annotations

import io
import json
import os
import tarfile

import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine

from training.imagery.geotiffs import S2_BANDS, S2100K, GeoTiffs
from training.pretrain import pretrain
from training.pretraining.config import PretrainConfig
from training.pretraining.extractors import open_extractor, open_source


def write_patch(path, values, crs="EPSG:32633", left=500_000.0, top=5_000_000.0, nodata=None):
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=values.shape[1],
        width=values.shape[2],
        count=len(values),
        dtype=values.dtype,
        crs=crs,
        nodata=nodata,
        transform=Affine(10.0, 0.0, left, 0.0, -10.0, top),
    ) as dataset:
        dataset.write(values)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Tiles of 16 pixels are smaller than any of S2-100K."""
    monkeypatch.setattr("training.imagery.geotiffs.SMALLEST_TILE", 0)


@pytest.fixture
def dataset(tmp_path):
    """Six patches of 12 bands and 16 pixels in index.csv and images/."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    rows = []
    for i in range(6):
        values = rng.integers(0, 10_000, (12, 16, 16), dtype=np.uint16)
        write_patch(tmp_path / "images" / f"patch_{i}.tif", values)
        rows.append({"lat": 10.0 * i, "lon": -20.0 * i, "fn": f"patch_{i}.tif"})
    pd.DataFrame(rows).to_csv(tmp_path / "index.csv", index=False)
    return tmp_path


def into_shards(folder):
    """Move images/ into two tars under data/."""
    (folder / "data").mkdir()
    for shard in range(2):
        with tarfile.open(folder / "data" / f"shard-{shard:05d}.tar", "w") as archive:
            for i in range(3 * shard, 3 * shard + 3):
                path = folder / "images" / f"patch_{i}.tif"
                archive.add(path, f"patch_{i}.tif")
                path.unlink()


def test_reads_reflectance_and_places_longitude_first(dataset):
    source = S2100K(dataset, patch_size=16)
    np.testing.assert_array_equal(source.lonlat[3], [-60.0, 30.0])
    images = source.read(np.arange(6))
    assert images.shape == (6, 12, 16, 16)
    with rasterio.open(dataset / "images" / "patch_2.tif") as file:
        np.testing.assert_allclose(images[2], file.read() / 10_000, rtol=1e-6)
    assert source.bands == S2_BANDS
    assert source.on_land.all()


def test_shards_read_as_the_extracted_files_do(dataset):
    extracted = S2100K(dataset, patch_size=16).read(np.arange(6))
    into_shards(dataset)
    source = S2100K(dataset, patch_size=16)
    np.testing.assert_array_equal(source.read(np.arange(6)), extracted)
    assert not list((dataset / "images").glob("*.tif"))


def test_a_missing_shard_is_one_sentence_or_a_warning(dataset):
    into_shards(dataset)
    (dataset / "data" / "shard-00001.tar").unlink()
    with pytest.raises(FileNotFoundError, match=r"3 of the 6 images .* first is patch_3.tif"):
        S2100K(dataset, patch_size=16)
    with pytest.warns(UserWarning, match="They are skipped"):
        source = S2100K(dataset, patch_size=16, allow_missing=True)
    assert len(source.lonlat) == 3


def test_a_truncated_shard_gives_what_it_has(dataset):
    into_shards(dataset)
    shard = dataset / "data" / "shard-00000.tar"
    shard.write_bytes(shard.read_bytes()[:9000])
    with (
        pytest.warns(UserWarning, match="shard-00000.tar is damaged"),
        pytest.warns(UserWarning, match="are not there"),
    ):
        source = S2100K(dataset, patch_size=16, allow_missing=True)
    found = np.isfinite(source.read(np.arange(len(source.lonlat)))).all(axis=(1, 2, 3))
    assert found[-3:].all()


def test_an_index_without_any_image_is_refused(dataset):
    for path in (dataset / "images").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match="6 of the 6 images"):
        S2100K(dataset, patch_size=16, allow_missing=True)


def test_unusable_images_become_nan_and_spare_the_others(dataset):
    images = dataset / "images"
    path = images / "patch_0.tif"
    path.write_bytes(path.read_bytes()[:700])
    write_patch(images / "patch_1.tif", np.zeros((12, 8, 16), np.uint16))
    write_patch(images / "patch_2.tif", np.zeros((3, 16, 16), np.uint16))
    values = np.zeros((12, 16, 16), np.float32)
    values[3, 4, 4] = np.nan
    write_patch(images / "patch_3.tif", values)
    (images / "patch_4.tif").write_bytes(b"")
    read = S2100K(dataset, patch_size=16).read(np.arange(6))
    assert np.isnan(read).all(axis=(1, 2, 3)).tolist() == [True] * 5 + [False]


def test_pixels_that_a_file_calls_empty_are_not_data(dataset):
    values = np.full((12, 16, 16), 500, np.int16)
    values[0, 0, 0] = 501
    write_patch(dataset / "images" / "patch_0.tif", values, nodata=-9999)
    values[3, 4, 4] = -9999
    write_patch(dataset / "images" / "patch_1.tif", values, nodata=-9999)
    read = S2100K(dataset, patch_size=16).read(np.arange(2))
    assert np.isnan(read).all(axis=(1, 2, 3)).tolist() == [False, True]


def test_replaced_files_and_shards_are_other_images(dataset):
    before = S2100K(dataset, patch_size=16).describe()
    assert S2100K(dataset, patch_size=16).describe() == before
    path = dataset / "images" / "patch_3.tif"
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(0, 0))
    assert S2100K(dataset, patch_size=16).describe() != before
    into_shards(dataset)
    before = S2100K(dataset, patch_size=16).describe()
    os.utime(dataset / "data" / "shard-00001.tar", ns=(0, 0))
    assert S2100K(dataset, patch_size=16).describe() != before


def test_ones_own_files_may_be_named_and_scaled(dataset):
    config = PretrainConfig().replace(
        source="geotiffs", places=0, patch_size=16, bands=list(S2_BANDS), scale=10_000
    )
    own = open_source(config, dataset / "images")
    assert own.bands == S2_BANDS
    rows = np.arange(6)
    np.testing.assert_array_equal(own.read(rows), S2100K(dataset, patch_size=16).read(rows))


def test_whole_numbers_are_no_reflectance(dataset, monkeypatch):
    monkeypatch.setattr("training.pretraining.extractors.load_backbone", lambda *a, **b: None)
    config = PretrainConfig().replace(
        source="geotiffs", places=0, patch_size=16, image_encoder="vit16", bands=list(S2_BANDS)
    )
    with pytest.raises(ValueError, match="whole numbers and vit16 expects reflectance; set sca"):
        open_extractor(config, dataset / "images")
    with pytest.raises(ValueError, match="looks at 224 x 224 pixels; patch_size must be at least"):
        open_extractor(config.replace(scale=10_000), dataset / "images")


@pytest.mark.parametrize(
    ("crs", "left", "top"),
    [("EPSG:32633", 5e13, 9e13), ("EPSG:4326", 10.0, 420.0), ("EPSG:4326", np.inf, 10.0)],
)
def test_a_file_that_lies_nowhere_spares_the_others(dataset, crs, left, top):
    path = dataset / "images" / "patch_2.tif"
    write_patch(path, np.ones((12, 16, 16), np.uint16), crs=crs, left=left, top=top)
    with pytest.warns(UserWarning, match="patch_2.tif has no readable map position"):
        assert len(GeoTiffs(dataset / "images", patch_size=16).lonlat) == 5


def test_a_file_of_another_format_cannot_point_elsewhere(dataset):
    target = dataset / "images" / "patch_5.tif"
    vrt = (
        '<VRTDataset rasterXSize="16" rasterYSize="16">'
        "<GeoTransform>0, 10, 0, 0, 0, -10</GeoTransform>"
        + "".join(
            f'<VRTRasterBand dataType="UInt16" band="{band}"><SimpleSource>'
            f"<SourceFilename>{target}</SourceFilename><SourceBand>{band}</SourceBand>"
            "</SimpleSource></VRTRasterBand>"
            for band in range(1, 13)
        )
        + "</VRTDataset>"
    )
    (dataset / "images" / "patch_0.tif").write_text(vrt)
    with rasterio.open(dataset / "images" / "patch_0.tif") as opened:
        assert opened.count == 12  # left alone, the library follows it
    source = S2100K(dataset, patch_size=16)
    assert np.isnan(source.read(np.array([0]))).all()
    assert np.isfinite(source.read(np.array([5]))).all()
    into_shards(dataset)
    assert np.isnan(S2100K(dataset, patch_size=16).read(np.array([0]))).all()


def test_members_of_a_shard_that_point_outside_stay_inside(dataset, tmp_path):
    into_shards(dataset)
    shard = dataset / "data" / "shard-00000.tar"
    content = (dataset / "elsewhere.bin").resolve()
    content.write_bytes(b"secret")
    with tarfile.open(shard) as archive:
        members = {m.name: archive.extractfile(m).read() for m in archive}
    with tarfile.open(shard, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(f"../../{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("patch_0.tif")
        link.type, link.linkname = tarfile.SYMTYPE, str(content)
        archive.addfile(link)
    before = sorted(dataset.parent.rglob("*"))
    source = S2100K(dataset, patch_size=16)
    assert np.isfinite(source.read(np.arange(6))).all()
    assert {file.path.parent for file in source.files.values()} == {dataset / "data"}
    assert sorted(dataset.parent.rglob("*")) == before


def test_a_run_counts_images_that_cannot_be_used_and_goes_on(tmp_path):
    folder, rng = tmp_path / "s2", np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    rows = []
    for i in range(80):
        values = rng.integers(0, 10_000, (12, 16, 16), dtype=np.uint16)
        write_patch(folder / "images" / f"patch_{i}.tif", values)
        rows.append({"lat": i - 40.0, "lon": 4.0 * i - 160.0, "fn": f"patch_{i}.tif"})
    pd.DataFrame(rows).to_csv(folder / "index.csv", index=False)
    path = folder / "images" / "patch_3.tif"
    path.write_bytes(path.read_bytes()[:500])
    write_patch(folder / "images" / "patch_4.tif", np.zeros((12, 8, 16), np.uint16))
    with pytest.warns(UserWarning, match=r"^2 of 80 images are damaged, too small, or have pixels"):
        run = pretrain(
            PretrainConfig(), data=folder, output=tmp_path / "run", source="s2-100k",
            patch_size=16, places=0, image_encoder="random-convolutions", augmentations=2,
            jitter_m=500.0, validation_places=16, batch_size=20, epochs=2, legendre_polys=4,
            hidden_dim=16, embed_dim=8, device="cpu",
        )  # fmt: skip
    card = json.loads((run / "config.json").read_text())["card"]
    assert (card["unusable_images"], card["training_places"]) == (2, 62)
    assert card["data"]["source"] == "s2-100k"


def test_larger_images_are_cropped_to_their_center(dataset):
    source = S2100K(dataset, patch_size=10)
    whole = S2100K(dataset, patch_size=16).read(np.array([0]))
    np.testing.assert_array_equal(source.read(np.array([0])), whole[:, :, 3:13, 3:13])


def test_versions_are_the_eight_turns_and_mirrors(dataset):
    source = S2100K(dataset, patch_size=16, augmentations=8)
    versions = [source.read(np.array([0]), version)[0] for version in range(8)]
    assert len({version.tobytes() for version in versions}) == 8
    assert len({np.sort(version.ravel()).tobytes() for version in versions}) == 1
    with pytest.raises(
        ValueError, match="augmentations must be at most 8, the turned and mirrored"
    ):
        S2100K(dataset, patch_size=16, augmentations=9)


def test_a_file_is_read_once_for_all_its_versions(dataset, monkeypatch):
    source = S2100K(dataset, patch_size=16, augmentations=8)
    opened, decode = [], S2100K._decode
    monkeypatch.setattr(S2100K, "_decode", lambda *a: opened.append(a[1]) or decode(*a))
    rows = np.array([0, 2])
    turned = [source.read(rows, version) for version in range(8)]
    assert len(opened) == 2
    np.testing.assert_array_equal(turned[1], np.rot90(turned[0], axes=(2, 3)))
    assert not np.array_equal(source.read(np.array([1, 2])), turned[0])
    assert len(opened) == 4


def test_a_smaller_number_of_places_is_drawn_with_the_seed(dataset):
    a, b = (S2100K(dataset, patch_size=16, places=3, seed=s) for s in (0, 0))
    assert a.file_names == b.file_names
    assert len(a.lonlat) == 3


def test_an_index_cannot_point_outside_of_the_folder(dataset):
    table = pd.read_csv(dataset / "index.csv")
    table.loc[0, "fn"] = "../../etc/patch_0.tif"
    table.to_csv(dataset / "index.csv", index=False)
    source = S2100K(dataset, patch_size=16)
    assert source.files[source.file_names[0]].path == dataset / "images" / "patch_0.tif"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fn\npatch_0.tif\n", "must have rows and the columns lon, lat, fn"),
        ("lon,lat,fn\n", "must have rows"),
        ("", "is not a readable table"),
    ],
)
def test_an_index_without_its_columns_is_refused(dataset, text, message):
    (dataset / "index.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        S2100K(dataset)


def test_an_empty_folder_says_what_it_needs(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"index.csv is missing"):
        S2100K(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no \*.tif"):
        GeoTiffs(tmp_path)


def test_a_folder_of_ones_own_takes_places_from_the_files(tmp_path):
    values = np.ones((4, 20, 20), np.float32)
    write_patch(tmp_path / "a.tif", values)
    write_patch(tmp_path / "b.tif", values, "EPSG:4326", left=13.0, top=52.0)
    source = GeoTiffs(tmp_path, patch_size=16)
    # UTM zone 33 has its middle at 15 E; 100 m east of it is 0.0013 degrees.
    np.testing.assert_allclose(source.lonlat[0], [15.0013, 45.15], atol=0.01)
    assert source.read(np.array([0, 1])).shape == (2, 4, 16, 16)
    assert source.bands == ("band-1", "band-2", "band-3", "band-4")


def test_files_without_a_place_are_skipped_and_named(tmp_path):
    write_patch(tmp_path / "good.tif", np.ones((2, 16, 16), np.float32))
    (tmp_path / "bad.tif").write_bytes(b"II*\x00nothing")
    write_patch(tmp_path / "flat.tif", np.ones((2, 16, 16), np.float32), crs=None)
    with pytest.warns(UserWarning, match="no readable map position") as warned:
        source = GeoTiffs(tmp_path, patch_size=16)
    said = [str(one.message) for one in warned]
    assert any("bad.tif has no readable map position (bad.tif: TIFFRead" in one for one in said)
    assert "flat.tif has no readable map position (it has no map projection); skipped." in said
    assert source.file_names == ["good.tif"]


def test_a_folder_of_unusable_files_is_refused(tmp_path):
    (tmp_path / "bad.tif").write_bytes(b"II*\x00nothing")
    with (
        pytest.warns(UserWarning, match=r"bad.tif"),
        pytest.raises(ValueError, match="none of the 1 files"),
    ):
        GeoTiffs(tmp_path)


def test_the_real_patches_of_s2_100k(shared):
    folder = shared / "data/imagery/sentinel2_samples/ssl4eo"
    source = S2100K(folder)
    assert len(source.lonlat) == 20
    images = source.read(np.arange(20))
    assert images.shape == (20, 12, 256, 256)
    assert np.isfinite(images).all()
    # Reflectance: bright snow passes 1, nothing passes 3.
    assert 0.05 < images.mean() < 1.0
    assert images.max() < 3.0
    by_file = GeoTiffs(folder)
    order = [by_file.file_names.index(name) for name in source.file_names]
    # The index gives the centers that the files' own projections give.
    np.testing.assert_allclose(by_file.lonlat[order], source.lonlat, atol=0.002)


def test_tiles_too_small_to_hold_a_picture_are_left_out_and_counted(dataset, monkeypatch):
    sizes = [(dataset / "images" / f"patch_{i}.tif").stat().st_size for i in range(6)]
    write_patch(dataset / "images" / "patch_2.tif", np.zeros((12, 2, 2), np.uint16))
    monkeypatch.setattr("training.imagery.geotiffs.SMALLEST_TILE", min(sizes))
    with pytest.warns(UserWarning, match="^1 of 6 images are smaller than .* are left out"):
        source = S2100K(dataset, patch_size=16)
    assert source.file_names == [f"patch_{i}.tif" for i in (0, 1, 3, 4, 5)]
    into_shards(dataset)
    with pytest.warns(UserWarning, match="^1 of 6 images are smaller than"):
        assert len(S2100K(dataset, patch_size=16).lonlat) == 5
    monkeypatch.setattr("training.imagery.geotiffs.SMALLEST_TILE", 10**9)
    with pytest.warns(UserWarning, match="^6 of 6"), pytest.raises(ValueError, match="all images"):
        S2100K(dataset, patch_size=16)


@pytest.mark.parametrize("value", [0, 700])
def test_a_tile_of_one_value_is_no_image(dataset, value):
    write_patch(dataset / "images" / "patch_1.tif", np.full((12, 16, 16), value, np.uint16))
    read = S2100K(dataset, patch_size=16).read(np.arange(3))
    assert np.isnan(read).all(axis=(1, 2, 3)).tolist() == [False, True, False]


def test_the_blur_of_a_version_is_its_own_and_the_first_is_sharp(dataset):
    rows, images = np.arange(2), dataset / "images"
    (images / "patch_1.tif").write_bytes((images / "patch_0.tif").read_bytes())
    sharp = S2100K(dataset, patch_size=16, augmentations=2)
    blurred = S2100K(dataset, patch_size=16, augmentations=2, blur=True)
    np.testing.assert_array_equal(blurred.read(rows, 0), sharp.read(rows, 0))
    once, again = blurred.read(rows, 1), blurred.read(rows, 1)
    np.testing.assert_array_equal(once, again)
    turned = sharp.read(rows, 1)
    # What is blurred keeps its mean, but for the edges, and loses variance.
    np.testing.assert_allclose(once.mean(axis=(2, 3)), turned.mean(axis=(2, 3)), rtol=0.05)
    assert (once.var(axis=(2, 3)) < turned.var(axis=(2, 3))).all()
    assert not np.array_equal(once[0], once[1])
    assert blurred.describe() != sharp.describe()

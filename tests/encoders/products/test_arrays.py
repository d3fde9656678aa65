"""Zarr stores and NetCDF files as encoders: the layouts of TESSERA, AlphaEarth, MIND; damage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from satclip_explore.encoders.registry import load_encoder

zarr = pytest.importorskip("zarr")
pyproj = pytest.importorskip("pyproj")


def add(group, name, values, dims, *, chunks=None, shards=None, attrs=None, fill_value=None):
    """Write an array with named axes, in either version of Zarr."""
    named = {"dimension_names": dims} if group.metadata.zarr_format == 3 else {}
    array = group.create_array(
        name, shape=values.shape, dtype=values.dtype, chunks=chunks or values.shape, shards=shards,
        fill_value=fill_value, **named,
    )  # fmt: skip
    array[:] = values
    array.attrs.update({**({} if named else {"_ARRAY_DIMENSIONS": list(dims)}), **(attrs or {})})
    return array


def plane(lat, lon, bands=3):
    """Longitude, latitude and ones, (lat, lon, bands)."""
    grid = np.meshgrid(lat, lon, indexing="ij")[::-1]
    return np.stack([*grid, *[np.ones_like(grid[0])] * (bands - 2)], axis=-1)


LAT, LON = np.arange(59.5, 39.5, -1.0), np.arange(10.5, 40.5)
PLACES = np.array([[12.6, 57.2], [20.4, 50.3], [39.9, 40.1]])
NEAREST = np.array([[12.5, 57.5, 1], [20.5, 50.5, 1], [39.5, 40.5, 1]])


def store(path, version, *, order=("lat", "lon", "embed"), flip=False, **how):
    group = zarr.open_group(path, mode="w", zarr_format=version)
    lat = LAT[::-1] if flip else LAT
    values = plane(lat, LON).astype(how.pop("dtype", np.float32))
    values = values.transpose([("lat", "lon", "embed").index(axis) for axis in order])
    add(group, "lat", lat, ("lat",))
    add(group, "lon", LON, ("lon",))
    add(group, "vectors", values, order, **how)
    return path


@pytest.mark.parametrize(
    ("version", "how"),
    [
        (2, {"chunks": (7, 8, 3)}),
        (3, {"chunks": (7, 8, 3)}),
        (3, {"chunks": (5, 6, 1), "shards": (10, 12, 3)}),
        (3, {"order": ("embed", "lat", "lon"), "chunks": (2, 16, 16), "flip": True}),
        (2, {"dtype": np.float16, "flip": True}),
    ],
)
def test_every_layout_of_zarr_gives_the_pixel_a_place_lies_in(tmp_path, version, how):
    encoder = load_encoder(store(tmp_path / "v.zarr", version, **how))
    assert (encoder.family, encoder.name, encoder.embed_dim) == ("arrays", "v", 3)
    np.testing.assert_array_equal(encoder.embed(PLACES), NEAREST)
    assert (
        encoder.coverage([*PLACES, (9.9, 50.0), (-160.0, 50.0)]).tolist()
        == [True] * 3 + [False] * 2
    )
    fine = load_encoder(tmp_path / "v.zarr", method="bilinear", dtype="float64", dim=2)
    np.testing.assert_allclose(fine.embed(PLACES[:2]), PLACES[:2], rtol=0, atol=1e-12)


def test_results_of_the_two_methods_are_not_taken_for_one_another(tmp_path):
    store(tmp_path / "v.zarr", 3)
    hashes = [
        load_encoder(tmp_path / "v.zarr", method=method).weights_hash
        for method in ("nearest", "bilinear", "nearest")
    ]
    assert hashes[0] == hashes[2] != hashes[1]


@pytest.mark.parametrize("engine", ["scipy", "h5netcdf"])
def test_netcdf_is_read_alike(tmp_path, engine):
    field = xr.DataArray(plane(LAT, LON), {"lat": LAT, "lon": LON}, ("lat", "lon", "embed"))
    field.to_dataset(name="v").to_netcdf(tmp_path / "v.nc", engine=engine)
    np.testing.assert_array_equal(load_encoder(tmp_path / "v.nc").embed(PLACES), NEAREST)


def test_what_embed_grid_writes_is_read_again(tmp_path, tiny_encoder):
    from satclip_explore.fields import embed_grid

    field = embed_grid(tiny_encoder, 10.0)
    field.drop_attrs().to_dataset(name="embedding").to_zarr(
        tmp_path / "v.zarr", zarr_format=3, consolidated=False
    )
    encoder = load_encoder(tmp_path / "v.zarr")
    lonlat = [(field.lon[i].item(), field.lat[j].item()) for i, j in ((0, 0), (35, 17), (7, 4))]
    expected = [field[j, i].to_numpy() for i, j in ((0, 0), (35, 17), (7, 4))]
    np.testing.assert_array_equal(encoder.embed(lonlat), expected)
    assert np.isfinite(load_encoder(tmp_path / "v.zarr", method="bilinear").embed((180, 0))).all()


def tessera(path):
    """Two zones of one year after another, in the layout that geotessera's tests describe."""
    rng = np.random.default_rng(0)
    root = zarr.open_group(path, mode="w", zarr_format=3)
    root.attrs["geoemb:quantization"] = {
        "method": "per_pixel_scale", "original_dtype": "float32", "quantized_dtype": "int8",
        "scale": {"type": "array", "array_name": "scales", "nodata": "NaN"},
    }  # fmt: skip
    zones = {}
    for zone, lon in ((32, 11.99), (33, 12.01)):
        there = pyproj.Transformer.from_crs("EPSG:4326", f"EPSG:326{zone}", always_xy=True)
        x, y = np.round(there.transform(lon, 48.0), -1)
        stored = rng.integers(-127, 128, (2, 4, 20, 20)).astype(np.int8)
        scales = rng.uniform(0.01, 0.1, (2, 20, 20)).astype(np.float32)
        scales[1, 10, 11], scales[1, 10, 12] = np.nan, np.inf  # water, and never written
        group = root.create_group(f"utm{zone}")
        group.attrs.update(
            {"proj:code": f"EPSG:326{zone}", "spatial:transform": [10, 0, x - 100, 0, -10, y + 100]}
        )
        add(group, "time", np.array([2023, 2024], np.int32), ("time",))
        add(group, "x", x - 95 + 10.0 * np.arange(20), ("x",))
        add(group, "y", y + 95 - 10.0 * np.arange(20), ("y",))
        add(group, "embeddings", stored, ("time", "band", "y", "x"), chunks=(1, 4, 8, 8),
            shards=(1, 4, 16, 16), fill_value=0)  # fmt: skip
        add(group, "scales", scales, ("time", "y", "x"), chunks=(1, 8, 8), fill_value=np.nan)
        zones[zone] = (stored, scales, there, (x, y))
    return path, zones


@pytest.mark.parametrize("product", [None, "tessera"])
def test_tesseras_zones_scales_and_two_kinds_of_nothing(tmp_path, product):
    path, zones = tessera(tmp_path / "tessera.zarr")
    encoder = load_encoder(path, year=2024, product=product)
    for stored, scales, there, (x, y) in zones.values():
        row, column = np.array([3, 10, 10, 19]), np.array([5, 11, 12, 19])
        back = np.stack(
            there.transform(x - 95 + 10 * column, y + 95 - 10 * row, direction="INVERSE")
        )
        expected = [
            [int(stored[1, band, r, c]) * float(scales[1, r, c]) for band in range(4)]
            for r, c in ((3, 5), (19, 19))
        ]
        got = encoder.embed(back.T)
        np.testing.assert_allclose(got[[0, 3]], expected, rtol=1e-6)
        assert np.isnan(got[1:3]).all()
    with pytest.raises(ValueError, match="has the times 2023, 2024; say which"):
        load_encoder(path)
    with pytest.raises(ValueError, match="'2019' is none"):
        load_encoder(path, year=2019)


def test_minds_levels_scales_and_mask(tmp_path):
    """Its numbers are q·emb_scale + emb_offset, of level 0, where the mask is not 0."""
    rng = np.random.default_rng(0)
    root = zarr.open_group(tmp_path / "mind.zarr", mode="w", zarr_format=3)
    scale, offset = rng.uniform(0.01, 0.1, 8), rng.normal(size=8)
    add(root, "emb_scale", scale, ("emb",))
    add(root, "emb_offset", offset, ("emb",))
    for level, step in ((1, 2.0), (0, 1.0)):
        lat, lon = np.arange(50 - step / 2, 40, -step), np.arange(step / 2, 20, step)
        group = root.create_group(str(level))
        stored = rng.integers(0, 256, (8, lat.size, lon.size)).astype(np.uint8)
        mask = np.ones((lat.size, lon.size), np.uint8)
        mask[0, 0] = 0
        add(group, "lat", lat, ("lat",))
        add(group, "lon", lon, ("lon",))
        add(group, "mask", mask, ("lat", "lon"))
        add(group, "embedding", stored, ("emb", "lat", "lon"), chunks=(4, 4, 4))
    encoder = load_encoder(tmp_path / "mind.zarr", dim=5, dtype="float64")
    got = encoder.embed([(3.2, 44.9), (0.5, 49.5)])
    expected = [int(stored[d, 5, 3]) * scale[d] + offset[d] for d in range(5)]
    np.testing.assert_allclose(got[0], expected, rtol=1e-12)
    assert np.isnan(got[1]).all()
    assert (encoder.product, encoder.embed_dim) == ("mind", 5)


def test_alphaearths_mosaic_and_chunks_that_were_never_written(tmp_path):
    root = zarr.open_group(tmp_path / "aef.zarr", mode="w", zarr_format=3)
    root.attrs.update({"proj:code": "EPSG:4326", "spatial:transform": [1, 0, 10, 0, -1, 60]})
    array = root.create_array(
        "embeddings", shape=(1, 64, 20, 30), chunks=(1, 64, 10, 10), dtype="int8",
        fill_value=0, dimension_names=("time", "band", "y", "x"),
    )  # fmt: skip
    stored = np.random.default_rng(0).integers(-127, 128, (64, 10, 10)).astype(np.int8)
    stored[:, 4, 4] = -128
    array[0, :, :10, :10] = stored
    encoder = load_encoder(tmp_path / "aef.zarr", dtype="float64")
    got = encoder.embed([(12.5, 57.5), (14.5, 55.5), (25.5, 55.5)])
    expected = [np.copysign((int(v) / 127.5) ** 2, int(v)) for v in stored[:, 2, 2]]
    np.testing.assert_allclose(got[0], expected, rtol=0, atol=1e-15)
    assert np.isnan(got[1:]).all()


def test_times_are_chosen_by_the_start_of_their_date(tmp_path):
    values = np.stack([plane(LAT, LON) + k for k in range(3)])
    times = np.array(["2024-01-01", "2024-07-01", "2025-01-01"], "datetime64[ns]")
    coords = {"time": times, "lat": LAT, "lon": LON}
    field = xr.DataArray(values, coords, ("time", "lat", "lon", "embed"), name="v")
    field.to_dataset().to_zarr(tmp_path / "v.zarr", zarr_format=2)
    for k, wish in ((1, {"time": "2024-07"}), (2, {"year": 2025})):
        encoder = load_encoder(tmp_path / "v.zarr", **wish)
        np.testing.assert_array_equal(encoder.embed(PLACES), NEAREST + k)
    with pytest.raises(ValueError, match="'2024' is several"):
        load_encoder(tmp_path / "v.zarr", year=2024)


def edit(path: Path, change) -> None:
    metadata = json.loads(path.read_text())
    change(metadata)
    path.write_text(json.dumps(metadata))


def truncate(path: Path) -> None:
    chunk = next(
        f for f in sorted((path / "vectors").rglob("*")) if f.is_file() and f.name[-1].isdigit()
    )
    chunk.write_bytes(chunk.read_bytes()[: chunk.stat().st_size // 2])


@pytest.mark.parametrize("version", [2, 3])
def test_a_truncated_chunk_is_one_sentence_where_it_is_read(tmp_path, version):
    path = store(tmp_path / "v.zarr", version, chunks=(20, 10, 3))
    truncate(path)
    encoder = load_encoder(path)
    np.testing.assert_array_equal(encoder.embed(PLACES[2:]), NEAREST[2:])
    with pytest.raises(ValueError, match="a chunk of it is damaged or was cut") as error:
        encoder.embed(PLACES[0])
    assert "\n" not in str(error.value)


def as_pickle(metadata):
    metadata["filters"] = [{"id": "pickle", "protocol": 4}]


def as_object(metadata):
    metadata |= {"dtype": "|O", "fill_value": 0, "filters": [{"id": "pickle", "protocol": 4}]}


def as_unknown(metadata):
    metadata["compressor"] = {"id": "of-my-own"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (as_pickle, "holds pickled objects, which could run code"),
        (as_object, "holds pickled objects, which could run code"),
        (as_unknown, "v.zarr cannot be read"),
        (lambda m: m.update(chunks=[1 << 20, 1 << 20, 3]), "a chunk may have 1,024 MB"),
    ],
)
def test_hostile_metadata_is_refused_when_the_store_is_opened(tmp_path, change, message):
    path = store(tmp_path / "v.zarr", 2)
    edit(path / "vectors" / ".zarray", change)
    with pytest.raises(ValueError, match=message) as error:
        load_encoder(path)
    assert "\n" not in str(error.value)


def uneven(path):
    group = zarr.open_group(path, mode="r+")
    group["lat"][3] = 56.9


def projected(path):
    group = zarr.open_group(path, mode="w", zarr_format=3)
    add(group, "x", 1000.0 * np.arange(4), ("x",))
    add(group, "y", 1000.0 * np.arange(4), ("y",))
    add(group, "vectors", np.ones((4, 4, 2)), ("y", "x", "embed"))


def two(path):
    group = zarr.open_group(path, mode="r+")
    add(group, "others", np.ones((20, 30, 2)), ("lat", "lon", "band"))


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (uneven, {}, "lat must be evenly spaced"),
        (projected, {}, "needs a reference system and the file names none; say crs="),
        (two, {}, "several arrays of vectors: others, vectors; say variable="),
        (None, {"variable": "lat"}, "no array 'lat' with axes such as"),
        (None, {"year": 2024}, "has no time axis"),
        (None, {"product": "tessera"}, "TESSERA needs an array 'scales'"),
        (None, {"product": "mosaic"}, "product must be one of"),
        (None, {"dim": 4}, "dim must lie in 1 … 3"),
        (None, {"method": "cubic"}, "method must be one of nearest, bilinear"),
    ],
)
def test_stores_that_do_not_fit_get_one_sentence(tmp_path, change, options, message):
    path = store(tmp_path / "v.zarr", 3)
    if change is not None:
        change(path)
    with pytest.raises(ValueError, match=message) as error:
        load_encoder(path, **options)
    assert "\n" not in str(error.value)


def test_a_reference_system_that_names_files_is_refused(tmp_path):
    projected(tmp_path / "v.zarr")
    group = zarr.open_group(tmp_path / "v.zarr", mode="r+")
    group.attrs["crs"] = "+proj=longlat +nadgrids=/etc/passwd"
    with pytest.raises(ValueError, match="names a reference system that is none"):
        load_encoder(tmp_path / "v.zarr")
    assert load_encoder(tmp_path / "v.zarr", crs="EPSG:3857").embed((0.01, 0.01)).tolist() == [
        [1, 1]
    ]


def test_a_sparse_store_of_10_gb_opens_and_reads_a_window(tmp_path):
    root = zarr.open_group(tmp_path / "big.zarr", mode="w", zarr_format=3)
    add(root, "lat", np.arange(89.995, -90, -0.01), ("lat",))
    add(root, "lon", np.arange(-179.995, 180, 0.01), ("lon",))
    array = root.create_array(
        "embeddings", shape=(18000, 36000, 16), chunks=(100, 100, 16), shards=(1000, 1000, 16),
        dtype="int8", fill_value=0, dimension_names=("lat", "lon", "embed"),
    )  # fmt: skip
    array[4000:4100, 20000:20100] = 3
    assert array.nbytes > 10e9
    encoder = load_encoder(tmp_path / "big.zarr", product="plain")
    read = []
    values = encoder.tiles[0].vectors.values
    plain = values.read
    object.__setattr__(values, "read", lambda s: read.append(plain(s)) or read[-1])
    np.testing.assert_array_equal(encoder.embed((20.005, 49.995)), np.full((1, 16), 3))
    assert np.isnan(encoder.embed((-100, 0))).all()
    assert sum(values.nbytes for values in read) == 32


@pytest.mark.parametrize(
    ("attrs", "gone"),
    [
        # xarray adds a _FillValue of NaN to the first.
        ({"missing_value": -5.0}, [True, False, False, False]),
        ({"missing_value": -5.0, "_FillValue": 1e20}, [True, False, False, False]),
        ({"valid_range": [-1.0, 1.0]}, [True, False, True, False]),
        ({"valid_max": 1.0}, [False, False, True, False]),
        ({}, [False, False, False, False]),
    ],
)
def test_what_a_file_says_is_missing_is_no_vector(tmp_path, attrs, gone):
    pytest.importorskip("h5netcdf")
    values = np.full((2, 2, 3), 0.5)
    values[0, 0, 1], values[1, 0] = -5, 7
    data = xr.Dataset(
        {"embedding": (("lat", "lon", "embed"), values, attrs)},
        {"lat": [10.0, 20.0], "lon": [30.0, 40.0]},
    )
    data.to_netcdf(tmp_path / "v.nc", engine="h5netcdf")
    places = [(30, 10), (40, 10), (30, 20), (40, 20)]
    assert (~load_encoder(tmp_path / "v.nc").coverage(places)).tolist() == gone

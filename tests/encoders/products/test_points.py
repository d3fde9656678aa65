"""Parquet files of places with vectors: Major TOM, Clay, Earth Index, numbered columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from satclip_explore.encoders.registry import load_encoder
from satclip_explore.files.table import to_geoparquet

pyarrow = pytest.importorskip("pyarrow")
geopandas = pytest.importorskip("geopandas")

from pyarrow import parquet  # noqa: E402
from shapely import box, to_wkb  # noqa: E402

LON, LAT = (axis.ravel() for axis in np.meshgrid(np.arange(10.0, 20.0), np.arange(40.0, 50.0)))
VECTORS = np.stack([LON, LAT, LON * LAT], axis=1).astype(np.float32)
CELLS = [box(x - 0.02, y - 0.02, x + 0.02, y + 0.02) for x, y in zip(LON, LAT, strict=True)]


def major_tom(path):
    """Columns as the hub shows them: WKB without GeoParquet's metadata beside the center."""
    columns = {
        "unique_id": [str(i) for i in range(100)], "embedding": list(VECTORS),
        "timestamp": ["20200101T000000"] * 100, "grid_row_u": np.arange(100, dtype=np.int16),
        "geometry": [to_wkb(cell) for cell in CELLS],
        "centre_lat": LAT.astype(np.float32), "centre_lon": LON.astype(np.float32),
        "pixel_bbox": [[0, 0, 384, 384]] * 100,
    }  # fmt: skip
    parquet.write_table(pyarrow.table(columns), path, row_group_size=30)


def earth_index(path):
    frame = {"id": range(100), "embedding": list(VECTORS)}
    geopandas.GeoDataFrame(frame, geometry=CELLS, crs="EPSG:4326").to_parquet(path)


def clay(path):
    frame = {"source_url": ["s3://tile"] * 100, "date": ["2021-01-01"] * 100}
    frame["embeddings"] = list(VECTORS)
    cells = geopandas.GeoSeries(CELLS, crs="EPSG:4326").to_crs("EPSG:3857")
    geopandas.GeoDataFrame(frame, geometry=cells).to_parquet(path)


def numbered(path):
    frame = pd.DataFrame({"lon": LON, "lat": LAT, "biomass_mg_ha": 1.0, "plot1": 2.0})
    to_geoparquet(frame.assign(**{f"emb_{i}": VECTORS[:, i] for i in range(3)}), path)


@pytest.mark.parametrize("write", [major_tom, earth_index, clay, numbered])
def test_the_layouts_that_are_published_give_the_nearest_vector(tmp_path, write):
    write(tmp_path / "v.parquet")
    encoder = load_encoder(tmp_path / "v.parquet", max_distance_km=30)
    assert (encoder.family, encoder.name, encoder.embed_dim) == ("points", "v", 3)
    places = [(12.1, 44.9), (19.0, 49.0), (10.2, 40.1), (15.5, 45.5), (-170, 45)]
    got = encoder.embed(places)
    np.testing.assert_array_equal(got[:3], [[12, 45, 540], [19, 49, 931], [10, 40, 400]])
    # Half a degree either way is 68 km.
    assert np.isnan(got[3:]).all()
    assert encoder.coverage(places).tolist() == [True] * 3 + [False] * 2


def test_the_distance_is_stated_where_none_was_given(tmp_path):
    earth_index(tmp_path / "v.parquet")
    encoder = load_encoder(tmp_path / "v.parquet")
    # Twice the gap between columns, 73 to 85 km at these latitudes.
    assert 150 < encoder.max_distance_km < 175
    assert f"within {encoder.max_distance_km:g} km" in encoder._repr_html_()


def test_only_batches_with_a_place_in_them_are_unpacked(tmp_path, monkeypatch):
    for i, rows in enumerate((slice(0, 50), slice(50, 100))):
        frame = pd.DataFrame({"lon": LON[rows], "lat": LAT[rows], "embedding": list(VECTORS[rows])})
        parquet.write_table(pyarrow.Table.from_pandas(frame), tmp_path / f"{i}.parquet", 10)
    encoder, read = load_encoder(tmp_path), []
    plain = parquet.ParquetFile.iter_batches
    monkeypatch.setattr(
        parquet.ParquetFile,
        "iter_batches",
        lambda self, size, groups, **more: read.append(groups) or plain(self, size, groups, **more),
    )
    got = encoder.embed([(12.0, 48.0), (11.0, 41.0), (13.0, 48.0)])
    np.testing.assert_array_equal(got[:, :2], [[12, 48], [11, 41], [13, 48]])
    assert read == [[1], [3]]


def ragged(path):
    vectors = [[1.0, 2.0]] * 99 + [[1.0]]
    parquet.write_table(pyarrow.table({"lon": LON, "lat": LAT, "embedding": vectors}), path)


def two(path):
    columns = {"lon": LON, "lat": LAT, "a": list(VECTORS), "b": list(VECTORS)}
    parquet.write_table(pyarrow.table(columns), path)


def nowhere(path):
    parquet.write_table(pyarrow.table({"embedding": list(VECTORS)}), path)


def twice(path):
    columns = {"lon": LON * 0, "lat": LAT, "embedding": list(VECTORS)}
    parquet.write_table(pyarrow.table(columns), path)


def cut(path):
    earth_index(path)
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (ragged, "vectors of several lengths"),
        (two, "several columns hold vectors: a, b; say column="),
        (nowhere, "no places: need columns such as lon and lat"),
        (twice, "every place may occur once; 90 rows repeat one"),
        (cut, "v.parquet is damaged or was cut"),
    ],
)
def test_files_that_do_not_fit_get_one_sentence(tmp_path, write, message):
    write(tmp_path / "v.parquet")
    with pytest.raises(ValueError, match=message) as error:
        load_encoder(tmp_path / "v.parquet").embed(np.stack([LON, LAT], axis=1))
    assert "\n" not in str(error.value)


def test_a_column_and_a_year_can_be_chosen(tmp_path):
    for year in (2023, 2024):
        (tmp_path / str(year)).mkdir()
        columns = {"lon": LON, "lat": LAT, "a": list(VECTORS), "b": list(VECTORS + year)}
        parquet.write_table(pyarrow.table(columns), tmp_path / str(year) / "v.parquet")
    encoder = load_encoder(tmp_path, column="b", year=2024)
    assert encoder.embed((10, 40)).tolist() == [[2034, 2064, 2424]]
    with pytest.raises(ValueError, match="column 'lon' holds no vectors; a, b do"):
        load_encoder(tmp_path, column="lon", year=2024)
    with pytest.raises(FileNotFoundError, match="no Parquet file of 2019"):
        load_encoder(tmp_path, year=2019)


def test_real_alphaearth_vectors_open_as_they_are(shared):
    path = shared / "data/embeddings/alphaearth_biomass.parquet"
    encoder = load_encoder(path, max_distance_km=0.1)
    frame = pd.read_parquet(path)
    assert encoder.embed_dim == 64
    expected = frame.filter(regex="^emb_").to_numpy(np.float32)[:50]
    np.testing.assert_array_equal(encoder.embed(frame[["lon", "lat"]].head(50)), expected)

import hashlib
import io
import json

import numpy as np
import pandas as pd
import pytest

from satclip_explore.files.raw_table import MAX_BYTES
from training.tasks.atlas import ATLAS_TASKS, FULL_TABLE_SHA256, list_tasks, load_task
from training.tasks.blocks import block_split
from training.tasks.inaturalist import load_inaturalist
from training.tasks.kinds import infer_kind
from training.tasks.splits import random_split
from training.tasks.tables import task_from_table
from training.tasks.task import Task


def rows(n=30, **columns):
    """A table of n places on a line, with a numeric target."""
    return pd.DataFrame(
        {"lon": np.linspace(-170, 170, n), "lat": np.linspace(-60, 60, n), "y": np.arange(n) / 7}
        | columns
    )


def csv(frame, encoding="utf-8", sep=","):
    return frame.to_csv(index=False, sep=sep).encode(encoding)


@pytest.mark.parametrize("name", ATLAS_TASKS)
def test_every_listed_task_loads_and_has_two_labels_at_least(name):
    task = load_task(name)
    assert task.kind == list_tasks().loc[name, "kind"]
    assert len(np.unique(task.target)) > 1
    assert len(task) > 3000
    assert task.license


def test_an_unknown_task_names_the_closest():
    with pytest.raises(ValueError, match="did you mean 'ecoregion'"):
        load_task("ecoregions")
    with pytest.raises(ValueError, match="known: air_temperature"):
        load_task("zzz")


def test_places_without_a_label_are_counted():
    task = load_task("biome")
    assert task.dropped["no label"] == 20_000 - len(task)
    assert "no label" in task._repr_html_()


def test_the_full_table_is_read_like_the_embedded_one(tmp_path):
    path = tmp_path / "stations.csv"
    path.write_text(
        "Lon,Lat,meanT,meanP\n" + "".join(f"{i},{i},{i / 2},{i * 9}\n" for i in range(12))
    )
    task = load_task("air_temperature", path=path)
    np.testing.assert_allclose(task.target, np.arange(12) / 2, atol=0)
    assert load_task("precipitation", path=path).target[2] == 18


def test_the_checksum_of_the_full_table_is_that_of_the_published_file(shared):
    content = (shared / "data/climate/air_temperature_stations.csv").read_bytes()
    assert hashlib.sha256(content).hexdigest() == FULL_TABLE_SHA256


def test_a_full_table_is_downloaded_with_its_checksum(tmp_path, monkeypatch):
    asked = []

    def download_file(url, path, sha256):
        asked.append((url, sha256))
        path.write_text("Lon,Lat,meanT\n" + "".join(f"{i},{i},{i}\n" for i in range(12)))

    monkeypatch.setattr("training.tasks.atlas.download_file", download_file)
    assert len(load_task("air_temperature", path=tmp_path / "t.csv", download=True)) == 12
    assert asked[0][1] == FULL_TABLE_SHA256


def test_full_tables_are_refused_with_the_next_step(tmp_path):
    with pytest.raises(FileNotFoundError, match="download=True"):
        load_task("air_temperature", path=tmp_path / "none.csv")
    with pytest.raises(ValueError, match="no table of its own"):
        load_task("biome", path=tmp_path / "none.csv")
    with pytest.raises(ValueError, match="say where"):
        load_task("air_temperature", download=True)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="lacks the column"):
        load_task("air_temperature", path=tmp_path / "other.csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "ranking"}, "kind must be"),
        ({"target": np.zeros(19)}, "one target per place"),
        ({"target": np.ones(20)}, "one value"),
        ({"target": np.full(20, np.nan)}, "must be finite"),
        ({"target": np.arange(20) * -1e300}, "use a larger unit"),
        ({"target": np.arange(20) * 1e-278}, "must differ by more than"),
        ({"target": np.arange(20) * -1e-278}, "must differ by more than"),
        ({"target": 1e6 + np.arange(20) * 1e-9}, "must differ by more than"),
        ({"target": -1e6 - np.arange(20) * 1e-9}, "must differ by more than"),
        ({"lonlat": np.zeros((3, 2)), "target": np.arange(3)}, "at least 10"),
        ({"image_features": np.zeros((3, 2))}, "image_features"),
        ({"kind": "classification", "classes": ("a", "b")}, "class codes"),
        ({"kind": "classification", "classes": ("a",), "target": np.zeros(20)}, "one class"),
    ],
)
def test_a_task_that_cannot_be_learned_is_refused(change, message):
    lonlat = np.stack([np.arange(20.0), np.zeros(20)], 1)
    facts = {"name": "t", "kind": "regression", "lonlat": lonlat, "target": np.arange(20)}
    with pytest.raises(ValueError, match=message):
        Task(**{**facts, **change})


@pytest.mark.parametrize("sep", [",", ";", "\t"])
def test_csv_is_read_whatever_its_delimiter(sep, tmp_path):
    task = task_from_table(csv(rows(), sep=sep))
    assert (task.name, task.kind, len(task)) == ("y", "regression", 30)
    path = tmp_path / "places.csv"
    path.write_bytes(b"# made by hand\n" + csv(rows(), sep=sep))
    assert len(task_from_table(path)) == 30


@pytest.mark.parametrize("pair", [("longitude", "latitude"), ("X", "Y"), ("Lng", "Lat")])
def test_coordinate_columns_are_found_by_name(pair):
    frame = rows().rename(columns=dict(zip(("lon", "lat"), pair, strict=True)))
    np.testing.assert_allclose(
        task_from_table(frame).lonlat[:, 1], np.linspace(-60, 60, 30), atol=1e-12
    )


def test_coordinate_columns_may_be_named():
    frame = rows().rename(columns={"lon": "east", "lat": "north"})
    assert len(task_from_table(frame, "y", lon="east", lat="north")) == 30
    with pytest.raises(ValueError, match="say which system with crs="):
        task_from_table(frame, "y")
    with pytest.raises(ValueError, match="both lon= and lat="):
        task_from_table(frame, "y", lon="east")
    with pytest.raises(ValueError, match="no column 'west'"):
        task_from_table(frame, "y", lon="west", lat="north")


def test_geojson_points_are_read_and_other_geometry_is_counted():
    features = [
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [i + 1, i]},
         "properties": {"crop": "ab"[i % 2]}}
        for i in range(12)
    ]  # fmt: skip
    features += [{"type": "Feature", "geometry": None, "properties": {"crop": "a"}}]
    content = json.dumps({"type": "FeatureCollection", "features": features}).encode()
    task = task_from_table(content)
    assert (task.classes, dict(task.dropped)) == (("a", "b"), {"no place": 1})


def test_geoparquet_and_geodataframes_are_read():
    geopandas = pytest.importorskip("geopandas")
    frame = rows()
    points = geopandas.GeoDataFrame(
        {"y": frame.y}, geometry=geopandas.points_from_xy(frame.lon, frame.lat), crs=4326
    )
    buffer = io.BytesIO()
    points.to_crs(3857).to_parquet(buffer)
    for given in (points, buffer.getvalue()):
        np.testing.assert_allclose(
            task_from_table(given).lonlat, frame[["lon", "lat"]].to_numpy(), atol=1e-8
        )
    plain = io.BytesIO()
    frame.to_parquet(plain)
    assert len(task_from_table(plain.getvalue())) == 30


def test_rows_that_cannot_be_used_are_counted_by_reason():
    frame = rows(40)
    frame.loc[0, "lon"] = np.nan
    frame.loc[1, "lat"] = 91.0
    frame.loc[2, "y"] = np.nan
    frame.loc[3, ["lon", "lat"]] = frame.loc[4, ["lon", "lat"]]
    task = task_from_table(frame)
    assert dict(task.dropped) == {
        "no place": 1,
        "place out of range": 1,
        "no label": 1,
    }
    assert len(task) == 37


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", "b"], "classification"),
        ([True, False], "classification"),
        ([1, 2], "classification"),
        ([1.0, 2.0, np.nan], "classification"),
        ([1.5, 2.5], "regression"),
        (range(100), "regression"),
        (["1.5", "2.5"], "regression"),
    ],
)
def test_the_kind_of_a_target_is_inferred(values, kind):
    assert infer_kind(pd.Series(values)) == kind


def test_codes_and_counts_are_asked_about():
    frame = rows(90, y=np.arange(90) % 25 + 111)
    with pytest.raises(ValueError, match="25 different whole numbers.*classification.*regression"):
        task_from_table(frame)
    assert len(task_from_table(frame, kind="classification").classes) == 25
    assert task_from_table(frame, kind="regression").target.max() == 135


def test_repeated_places_are_kept_and_stay_together():
    frame = pd.concat([rows(30).assign(y=rows(30).y + year) for year in range(5)])
    task = task_from_table(frame)
    assert len(task) == 150
    for split in (random_split(task), block_split(task)):
        train = {tuple(place) for place in task.lonlat[split.train]}
        assert not train & {tuple(place) for place in task.lonlat[split.test]}


def test_rows_of_a_named_group_stay_together():
    frame = rows(40, site=np.repeat(list("abcdefgh"), 5))
    task = task_from_table(frame, "y", group="site")
    split = random_split(task, seed=3)
    assert not set(task.groups[split.train]) & set(task.groups[split.test])
    with pytest.raises(ValueError, match="no column 'plot' to group by"):
        task_from_table(frame, "y", group="plot")
    twice = pd.concat([frame, frame.assign(site=frame.site + "2")])
    with pytest.raises(ValueError, match="several groups"):
        task_from_table(twice, "y", group="site")


def test_every_longitude_is_one_place_at_a_pole():
    frame = rows(36, lon=np.linspace(-180, 170, 36), lat=90.0)
    task = task_from_table(pd.concat([frame, rows(20)]))
    assert len(np.unique(task.group_codes[:36])) == 1


def test_censored_targets_are_refused_with_two_ways_on():
    text = csv(rows()).replace(b"0.142857", b"<0.5").decode().replace("<0.514285714285", "<0.5")
    text = "\n".join(line.split(",<0.5")[0] + ",<0.5" if "<0.5" in line else line
                     for line in text.split("\n"))  # fmt: skip
    with pytest.raises(ValueError, match="'<0.5'.*'missing'.*'limit'"):
        task_from_table(text.encode())
    assert len(task_from_table(text.encode(), censored="missing")) == 29
    assert len(task_from_table(text.encode(), censored="limit")) == 30


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "file is empty"),
        (b"  \n ", "file is empty"),
        (csv(rows())[:40] + b"\x81\x8d", "neither UTF-8"),
        (csv(rows()) + b"\0", "binary data"),
        (b"PAR1 nonsense", "damaged"),
        (b'{"type": "Topology"}', "TopoJSON"),
        (b'{"features": 3}', "holds no table"),
        (b"[" * 10, "not JSON"),
        (b'a,b\n1,2,3\n1,"2\n', "line 3 has 2 fields where the rows before it have 3"),
        (b"lon,lat,y\n", "no rows"),
        (csv(rows() * 1e5), "coordinates in meters"),
        (csv(rows(y=1.5)), "one value"),
        (csv(rows(y=1)), "one class"),
        (csv(rows(y="a")), "one class"),
        (csv(rows(y=[f"id{i}" for i in range(30)])), "identifier"),
        (csv(rows(5)), "at least 10"),
        (csv(rows(lon=0.0, lat=0.0)), "none of 30 rows has a place.*0, 0"),
        (csv(rows(z=1)), "say which column"),
        (3, "path, bytes or a frame"),
        (rows().rename(columns={"lon": "a"}), "no longitude beside it"),
    ],
)
def test_hostile_tables_get_one_sentence(content, message):
    with pytest.raises(ValueError, match=message) as caught:
        task_from_table(content)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_too_large_is_not_parsed():
    with pytest.raises(ValueError, match="may have 100 MB; got 200 MB"):
        task_from_table(bytes(2 * MAX_BYTES))


def test_unknown_targets_and_kinds_are_refused():
    with pytest.raises(ValueError, match="no column 'x' to predict"):
        task_from_table(rows(), "x")
    with pytest.raises(ValueError, match="kind must be auto"):
        task_from_table(rows(), kind="fancy")
    with pytest.raises(ValueError, match="more than once"):
        task_from_table(pd.concat([rows(), rows()[["y"]]], axis=1), "y")
    with pytest.raises(FileNotFoundError, match="no table"):
        task_from_table("nowhere.csv")


def test_markup_in_names_is_escaped_where_it_is_shown():
    evil = "<img src=x onerror=alert(1)>"
    task = task_from_table(rows().rename(columns={"y": evil}))
    assert evil not in task._repr_html_()
    assert "&lt;img" in task._repr_html_()


@pytest.fixture
def inaturalist(tmp_path):
    """Twenty observations of two species, one without a place, with four image features."""
    images = list(range(100, 121))
    (tmp_path / "val2018.json").write_text(
        json.dumps(
            {
                "annotations": [{"image_id": i, "category_id": i % 2} for i in images],
                "categories": [{"id": 0, "name": "Parus major"}, {"id": 1, "name": "Pica pica"}],
            }
        )
    )
    (tmp_path / "locations.json").write_text(
        json.dumps(
            [{"id": i, "lon": i - 110.0, "lat": 5.0} for i in images[:-1]]
            + [{"id": images[-1], "lon": None, "lat": None}]
        )
    )
    features = np.arange(84, dtype=np.float32).reshape(21, 4)
    np.savez(tmp_path / "features.npz", image_id=np.array(images)[::-1], features=features)
    return tmp_path


def test_inaturalist_joins_species_places_and_image_features(inaturalist):
    task = load_inaturalist(
        inaturalist / "val2018.json", inaturalist / "locations.json", inaturalist / "features.npz"
    )
    assert len(task) == 20
    assert task.classes == ("Parus major", "Pica pica")
    assert task.dropped["no place"] == 1
    # Features lie in reverse order in the file: image 100 has the last row.
    np.testing.assert_array_equal(task.image_features[0], [80, 81, 82, 83])
    assert task.lonlat[0, 0] == -10.0


def test_inaturalist_files_that_are_not_so_are_refused(inaturalist, tmp_path):
    metadata, locations = inaturalist / "val2018.json", inaturalist / "locations.json"
    with pytest.raises(FileNotFoundError, match=r"train2018\.json"):
        load_inaturalist(inaturalist / "none.json", locations)
    with pytest.raises(FileNotFoundError, match="no image features"):
        load_inaturalist(metadata, locations, inaturalist / "none.npz")
    with pytest.raises(ValueError, match="not in the format"):
        load_inaturalist(locations, metadata)
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        load_inaturalist(tmp_path / "bad.json", locations)
    for arrays, message in (
        ({"image_id": np.arange(3)}, "needs arrays"),
        ({"image_id": np.arange(3), "features": np.zeros((2, 4))}, "shape"),
        ({"image_id": np.zeros(2), "features": np.zeros((2, 4))}, "appear once"),
        ({"image_id": np.array([{}]), "features": np.zeros((1, 4))}, "needs arrays"),
    ):
        np.savez(tmp_path / "bad.npz", **arrays)
        with pytest.raises(ValueError, match=message):
            load_inaturalist(metadata, locations, tmp_path / "bad.npz")


def test_codes_with_leading_zeros_are_classes():
    assert infer_kind(pd.Series(["01", "02", "11"] * 4)) == "classification"


def table_of(*columns, header="lon,lat,y"):
    places = [f"{lon},{lat}" for lon, lat in zip(range(12), range(30, 42), strict=True)]
    rows = [",".join(row) for row in zip(places, *columns, strict=True)]
    return "\n".join([header, *rows]).encode()


@pytest.mark.parametrize(
    "form",
    ["{} mi", "{}.5 days", "2024-01-{:02d}", "{:02d}.01.24", "{:02d}:30", "{}-30", "({})", "{} ± 1",
     "-{} bushels", "2024-02-01 {:02d}:00"],
)  # fmt: skip
def test_numbers_with_text_around_them_and_dates_are_asked_about(form):
    table = table_of([form.format(i + 10) for i in range(12)])
    with pytest.raises(ValueError, match="which are no numbers: write the numbers alone"):
        task_from_table(table)


@pytest.mark.parametrize("cells", [("12 mi", "3 mi"), ("5 ft", "10 ft"), ("3 g/m2", "12.5 g/m2")])
def test_a_few_amounts_of_an_unknown_unit_are_asked_about(cells):
    with pytest.raises(ValueError, match="which are no numbers: write the numbers alone"):
        task_from_table(table_of(cells * 6))
    told = task_from_table(table_of(cells * 6), kind="classification")
    assert told.classes == tuple(sorted(cells))


def test_classes_may_begin_with_numbers_or_end_with_them():
    for cells in (
        ("1 - Forest", "2 - Urban"),
        ("5a", "6b"),
        ("zone 1", "zone 2"),
        ("4 stars", "5 stars"),
    ):
        assert task_from_table(table_of(cells * 6)).classes == cells
    assert infer_kind(pd.Series([f"zone {i}" for i in range(12)])) == "classification"


@pytest.mark.parametrize("unit", ["datetime64[s]", "timedelta64[s]"])
def test_times_are_no_quantities_in_silence(unit):
    values = np.arange(12).astype(unit)
    frame = pd.DataFrame({"lon": np.arange(12.0), "lat": 40.0, "y": values})
    for kind in ("auto", "regression"):
        with pytest.raises(ValueError, match="which are no numbers"):
            task_from_table(frame, target="y", kind=kind)


@pytest.mark.parametrize(
    "cells", [("5 km", "300 m"), ("2 t/ha", "100 kg/ha"), ("1.2K", "3M"), ("$5K", "$2M")]
)
def test_amounts_in_several_units_are_no_classes(cells):
    table = table_of(cells * 6)
    with pytest.raises(ValueError, match="several units such as"):
        task_from_table(table)
    assert task_from_table(table, kind="classification").classes == tuple(sorted(cells))
    assert task_from_table(table_of(("5a", "6b") * 6)).classes == ("5a", "6b")


@pytest.mark.parametrize("role", [{"covariates": ["x"]}, {"weights": "x"}])
def test_odd_values_beside_the_target_are_refused_too(role):
    table = table_of(["wet", "dry"] * 6, ["<5", "7", "8.5"] * 4, header="lon,lat,y,x")
    with pytest.raises(ValueError, match="below or above a limit"):
        task_from_table(table, "y", **role)

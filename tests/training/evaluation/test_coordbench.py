"""CoordBench's protocol on tables that look like its own."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

from training.benchmark import main
from training.evaluation.coordbench import PENALTIES, means, run_coordbench
from training.evaluation.coordbench_tables import TABLES, read_tables

COLUMNS = [
    "dataset", "task", "task_type", "method", "split", "metric_name", "metric_value", "ci_lower",
    "ci_upper", "n_folds", "cell_deg", "feature_dim", "n_samples", "n_test", "seed", "model_name",
    "model_target",
]  # fmt: skip


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    rng = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("coordbench")
    lonlat = pd.DataFrame({"lon": rng.uniform(-180, 180, 90), "lat": rng.uniform(-60, 60, 90)})
    written = {
        "air_temp": lonlat.assign(meanT=30 - lonlat["lat"].abs() / 2 + rng.normal(size=90)),
        "satclip_country": lonlat.assign(country=np.where(lonlat["lon"] > 0, 3, 7)),
        "sustainbench": lonlat.assign(
            asset_index=lonlat["lat"] + 0.5,
            women_bmi=rng.normal(size=90),
            split=np.where(np.arange(90) % 3, "trainval", "test"),
        ),
    }
    written["satclip_country"].loc[:9, "country"] = 0
    for name, table in written.items():
        (root / "data" / name).mkdir(parents=True)
        table.to_parquet(root / "data" / name / "data.parquet")
    return root


def test_targets_are_read_as_coordbench_reads_them(tables):
    found = {(dataset, name): task for dataset, name, task in read_tables(tables)}
    assert list(found) == [
        ("satclip-air-temp", "air_temperature"),
        ("satclip-country", "country"),
        ("sustainbench-asset", "asset_index"),
        ("sustainbench-women_bmi", "women_bmi"),
    ]
    assert found["satclip-country", "country"].classes == ("3", "7")
    assert len(found["satclip-country", "country"]) == 80
    assert found["sustainbench-asset", "asset_index"].published_test.sum() == 30
    with pytest.raises(ValueError, match="no table 'moon' in CoordBench"):
        list(read_tables(tables, ["moon"]))
    with pytest.raises(FileNotFoundError, match="CoordBench is at https"):
        list(read_tables(tables / "data" / "air_temp"))


def test_every_table_has_a_config_of_the_dataset():
    assert len(TABLES) == 40
    assert sum(len(table.targets) for table in TABLES.values()) == 86


def test_scores_are_those_of_its_linear_probe(tables, tmp_path):
    rows = run_coordbench(
        tables, ["xyz"], tmp_path, configs=["air_temp"], splits=("random",), seeds=1,
        say=lambda line: None,
    )  # fmt: skip
    assert list(rows) == COLUMNS
    (ours,) = rows.loc[rows["model_name"] == "xyz", "metric_value"]
    ((_, _, task),) = read_tables(tables, ["air_temp"])
    lon, lat = np.radians(task.lonlat).T
    x = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
    order = np.random.default_rng(0).permutation(90)
    scores = []
    for alpha in PENALTIES:
        found = []
        for fold in range(5):
            test = order[fold::5]
            train = np.setdiff1d(order, test)
            scaler = StandardScaler().fit(x[train])
            model = Ridge(alpha=alpha).fit(scaler.transform(x[train]), task.target[train])
            found.append(r2_score(task.target[test], model.predict(scaler.transform(x[test]))))
        scores.append(np.mean(found))
    assert ours == pytest.approx(max(scores), abs=1e-5)


def test_a_published_test_set_does_not_choose_its_penalty(tables, tmp_path):
    rows = run_coordbench(
        tables, ["xyz"], tmp_path, configs=["sustainbench"], seeds=1, say=lambda line: None
    )
    found = (rows["model_name"] == "xyz") & (rows["task"] == "women_bmi")
    (ours,) = rows.loc[found, "metric_value"]
    _, (_, _, task) = read_tables(tables, ["sustainbench"])
    lon, lat = np.radians(task.lonlat).T
    x = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
    train, test = np.flatnonzero(~task.published_test), np.flatnonzero(task.published_test)

    def score(alpha, learning, judging):
        scaler = StandardScaler().fit(x[learning])
        model = Ridge(alpha=alpha).fit(scaler.transform(x[learning]), task.target[learning])
        return r2_score(task.target[judging], model.predict(scaler.transform(x[judging])))

    inner = [train[fifth::5] for fifth in range(5)]
    means = [
        np.mean([score(alpha, np.setdiff1d(train, fifth), fifth) for fifth in inner])
        for alpha in PENALTIES
    ]
    honest = score(PENALTIES[int(np.argmax(means))], train, test)
    assert ours == pytest.approx(honest, abs=1e-5)
    assert honest < max(score(alpha, train, test) for alpha in PENALTIES) - 1e-4


def test_very_low_r2_counts_as_the_floor_in_a_mean():
    row = {"model_name": "a", "split": "random", "metric_name": "r2", "cell_deg": np.nan}
    rows = pd.DataFrame([row | {"metric_value": -30.0}, row | {"metric_value": 0.5}])
    assert means(rows).loc["a", "random"] == "-0.250"


def test_the_command_writes_its_format_and_shows_published_means(tables, tmp_path, capsys):
    settings = ["--encoders", "xyz", "--seeds", "1", "--out", str(tmp_path)]
    assert main(["coordbench", "--data", str(tables), *settings]) == 0
    rows = pd.read_csv(tmp_path / "coordbench_results.csv")
    assert list(rows) == COLUMNS
    assert set(rows["split"]) == {"random", "spatial", "official"}
    assert set(rows.loc[rows["split"] == "official", "n_test"]) == {30}
    said = capsys.readouterr().out
    assert ".643 (67.8)" in said
    assert "all 78 targets" in said
    assert means(rows).loc["idw", "random"].endswith(")")
    assert main(["coordbench", *settings]) == 2
    assert "--data FOLDER" in capsys.readouterr().err

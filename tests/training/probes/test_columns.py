"""Columns of a table beside its target: weights, covariates, groups; and the command line."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from satclip_explore.geo import equal_area_sample
from training.probe import main, train_probe
from training.probes.saved import load_probe


@pytest.fixture(scope="module")
def plots():
    """Yields that follow a column which no place tells."""
    lonlat = equal_area_sample(300, seed=0)
    rng = np.random.default_rng(0)
    soil = rng.normal(1000.0, 200.0, 300)
    return pd.DataFrame(
        {
            "lon": lonlat[:, 0], "lat": lonlat[:, 1], "soil": soil, "site": np.arange(300) // 3,
            "count": rng.integers(1, 5, 300), "crop": soil / 100 + rng.normal(size=300) * 0.1,
        }
    )  # fmt: skip


def run(plots, **more):
    return train_probe(
        plots, target="crop", model="linear", encoder="xyz", baselines=False, kind="regression",
        **more,
    )  # fmt: skip


def test_covariates_join_the_embedding_and_predictions_ask_for_them(plots, tmp_path):
    assert run(plots).metrics.loc["xyz", "r2"] < 0.3
    result = run(plots, covariates=["soil"])
    assert result.metrics.loc["xyz", "r2"] > 0.95
    predicted = result.predict(plots)
    assert np.corrcoef(predicted["prediction"], plots["crop"])[0, 1] > 0.97
    loaded = load_probe(result.save(tmp_path / "probe.safetensors"))
    assert loaded.predict(plots).equals(predicted)
    gap = plots.assign(soil=plots["soil"].where(plots.index > 0))
    assert np.isnan(result.predict(gap)["prediction"][0])
    with pytest.raises(ValueError, match="'soil' is missing"):
        result.predict([(13.4, 52.5)])
    with pytest.raises(ValueError, match="needs soil at every pixel"):
        result.predict_raster(30.0)
    with pytest.raises(ValueError, match="covariates need another"):
        train_probe(plots, target="crop", covariates=["soil"], model="full-batch-mlp")
    with pytest.raises(ValueError, match="columns of numbers"):
        result.predict(plots.assign(soil="loam"))


def test_gaps_take_the_median_of_training_rows(plots):
    """The covariate of the test rows is a million times as large."""
    split = run(plots).split
    soil = plots["soil"].copy()
    soil.iloc[split.test] *= 1e6
    known = float(soil.iloc[split.train[1:]].median())
    soil.iloc[[split.train[0], split.test[0]]] = np.nan
    result = run(plots.assign(soil=soil), covariates=["soil"], split=split)
    filled = result.task.image_features[[split.train[0], split.test[0]], 0]
    np.testing.assert_allclose(filled, known, rtol=1e-6)
    soil.iloc[split.train] = np.nan
    with pytest.raises(ValueError, match="'soil' has no value in a training row"):
        run(plots.assign(soil=soil), covariates=["soil"], split=split)


def test_groups_stay_together_and_weights_are_checked(plots):
    result = run(plots, group="site", weights="count")
    site = plots["site"].to_numpy()
    assert not set(site[result.split.train]) & set(site[result.split.test])
    assert result.task.weights.tolist() == plots["count"].tolist()
    for odd in (0, np.nan, -1):
        with pytest.raises(ValueError, match="weights must be finite and above 0"):
            run(plots.assign(count=[odd] * 300), weights="count")
    with pytest.raises(ValueError, match="no column 'missing' of weights"):
        run(plots, weights="missing")


def test_a_baseline_without_weights_does_not_stand_in_for_one_with(plots):
    uneven = np.where(plots["crop"] > plots["crop"].median(), 1000.0, 1.0)
    plain, weighed = (
        train_probe(
            plots.assign(count=uneven), target="crop", kind="regression", model="linear", seeds=1,
            encoder="xyz", baselines=["lonlat"], weights=weights,
        ).fitted["lonlat"].predicted.mean()
        for weights in (None, "count")
    )  # fmt: skip
    assert weighed > plain + 0.5


def test_the_command_line_does_the_same(plots, tmp_path, capsys):
    path = tmp_path / "plots.csv"
    plots.to_csv(path, index=False)
    arguments = [
        str(path), "--target", "crop", "--model", "linear", "--encoder", "xyz", "--kind",
        "regression", "--covariates", "soil", "--group", "site", "--weights", "count",
        "--save", str(tmp_path / "probe.safetensors"),
    ]  # fmt: skip
    assert main(arguments) == 0
    assert "held out at random" in capsys.readouterr().out
    assert load_probe(tmp_path / "probe.safetensors").covariates == ("soil",)
    assert main([str(path), "--target", "nothing"]) == 2
    assert "no column 'nothing'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "--species SPECIES" in capsys.readouterr().out

"""Presences alone: background places, thinning, suitability, and how it is scored."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from satclip_explore.atlas import codes_at
from satclip_explore.geo import equal_area_sample
from training.probe import train_probe
from training.probes.saved import load_probe
from training.probes.suitability import best_threshold, boyce_index, placements
from training.tasks.distances import nearest_km
from training.tasks.presence import presence_task


@pytest.fixture(scope="module")
def occurrences():
    """Two species on African land: one north of the equator, one south of it."""
    places = equal_area_sample(8000, seed=0)
    africa = (np.abs(places[:, 0] - 20) < 12) & (np.abs(places[:, 1]) < 25)
    places = places[africa & (codes_at(places) > 0)][:160]
    species = np.where(places[:, 1] > 0, "Acacia nilotica", "Protea repens")
    return pd.DataFrame(
        {"decimalLongitude": places[:, 0], "decimalLatitude": places[:, 1], "species": species}
    )


def test_the_background_lies_where_it_was_said(occurrences):
    task = presence_task(occurrences, "Protea repens", n_background=300, buffer_km=50)
    present = task.lonlat[task.target == 1]
    others = task.lonlat[task.target == 0]
    assert task.kind == "presence"
    assert task.classes == ("background", "Protea repens")
    assert len(others) == 300
    assert (codes_at(others) > 0).all()
    distance = nearest_km(others, present)
    assert distance.min() >= 50
    assert 900 < distance.max() <= 1000
    assert "300 background places, drawn at random, within 1000 km" in task.source
    # Both sides weigh the same.
    assert task.weights[task.target == 1].sum() == pytest.approx(task.weights.sum() / 2)
    inside = presence_task(occurrences, "Protea repens", n_background=50, region="Kenya")
    assert "in Kenya" in inside.source
    again = presence_task(occurrences, "Protea repens", n_background=50, region="Kenya")
    assert np.array_equal(inside.lonlat, again.lonlat)


def test_target_group_and_thickened_backgrounds(occurrences):
    group = presence_task(occurrences, "Protea repens", background="target-group", within_km=9e3)
    north = occurrences[occurrences.species == "Acacia nilotica"]
    assert {*map(tuple, group.lonlat[group.target == 0])} <= {
        *map(tuple, north[["decimalLongitude", "decimalLatitude"]].to_numpy())
    }
    thick = presence_task(
        occurrences, "Protea repens", background="thickened", thicken_km=80, n_background=200,
        land=False,
    )  # fmt: skip
    distance = nearest_km(thick.lonlat[thick.target == 0], thick.lonlat[thick.target == 1])
    assert distance.max() <= 80
    # Uniform in a disk: half of it lies beyond 1/√2 of the radius; neighbors bring it nearer.
    assert 25 < np.median(distance) <= 60


def test_records_that_are_unsure_absent_or_crowded_are_left_out(occurrences):
    one = occurrences[occurrences.species == "Protea repens"].copy()
    one["coordinateUncertaintyInMeters"] = [50_000.0, np.nan, *[10.0] * (len(one) - 2)]
    one["occurrenceStatus"] = ["PRESENT"] * (len(one) - 1) + ["ABSENT"]
    crowded = pd.concat([one, one.iloc[3:4], one.iloc[3:4]])
    task = presence_task(crowded, n_background=50)
    assert (task.target == 1).sum() <= len(one) - 2
    assert task.dropped["coordinateUncertaintyInMeters above 10000"] == 1
    assert task.dropped["occurrenceStatus ABSENT"] == 1
    assert task.dropped["others in a cell of 10 km"] >= 2
    kept = presence_task(crowded, n_background=50, thin_km=0, max_uncertainty_m=1e6)
    assert (kept.target == 1).sum() == len(crowded) - 1


def test_what_cannot_be_is_a_sentence(occurrences):
    with pytest.raises(ValueError, match=r"holds 2 species, .*\): say which with species="):
        presence_task(occurrences)
    with pytest.raises(ValueError, match="got species='Rosa'"):
        presence_task(occurrences, "Rosa")
    with pytest.raises(ValueError, match="background must be one of"):
        presence_task(occurrences, "Protea repens", background="none")
    with pytest.raises(ValueError, match="places can be the background"):
        presence_task(occurrences, "Protea repens", buffer_km=1000, within_km=10)
    at_sea = pd.DataFrame({"lon": np.linspace(-40, -20, 30), "lat": 0.0})
    with pytest.raises(ValueError, match="lie at sea"):
        presence_task(at_sea)
    assert len(presence_task(at_sea, land=False, n_background=40)) == 70
    # The row at 0, 0 is left out.
    both = pd.DataFrame({"lon": range(20), "lat": 0.0, "presence": [0, 1] * 10})
    with pytest.raises(ValueError, match="holds 9 absences"):
        presence_task(both)
    with pytest.raises(ValueError, match="say kind='presence'"):
        train_probe(at_sea, species="x")


def boyce_by_hand(suitability, present):
    """Hirzel et al. (2006), equation 3, window by window."""
    low, high = min(suitability), max(suitability)
    width = (high - low) / 10
    pairs = []
    for k in range(101):
        start = low + k * (high - low - width) / 100
        inside = [start <= value <= start + width for value in suitability]
        predicted = sum(i and p for i, p in zip(inside, present, strict=True)) / sum(present)
        expected = sum(i and not p for i, p in zip(inside, present, strict=True)) / (
            len(present) - sum(present)
        )
        if expected > 0 and (not pairs or predicted / expected != pairs[-1][1]):
            pairs.append((start, predicted / expected))
    from scipy.stats import spearmanr

    return spearmanr(*zip(*pairs, strict=True)).statistic


def test_auc_boyce_and_threshold_are_those_of_others():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for decimals in (1, 9):  # with ties, and without
        present = rng.random(300) < 0.3
        suitability = np.round(1 / (1 + np.exp(-rng.normal(present * 1.2, 1.0))), decimals)
        expected = metrics.roc_auc_score(present, suitability)
        assert placements(suitability, present).mean() == pytest.approx(expected, abs=1e-12)
        threshold = best_threshold(suitability, present)
        false, true, _ = metrics.roc_curve(present, suitability)
        called = suitability >= threshold
        youden = called[present].mean() - called[~present].mean()
        assert youden == pytest.approx((true - false).max(), abs=1e-12)
    assert boyce_index(suitability, present) == pytest.approx(
        boyce_by_hand(suitability.tolist(), present.tolist()), abs=1e-9
    )
    assert boyce_index(-suitability, present) < 0 < boyce_index(suitability, present)
    assert np.isnan(boyce_index(np.ones(20), np.arange(20) < 5))


def test_a_probe_of_presences_ranks_maps_and_is_saved(occurrences, tmp_path):
    result = train_probe(
        occurrences, kind="presence", species="Protea repens", model="linear", encoder="xyz",
        baselines=["nearest"],
    )  # fmt: skip
    assert {"auc", "boyce", "sensitivity", "specificity"} <= set(result.metrics)
    assert result.metrics.loc["xyz", "auc"] > 0.6
    assert "it is no probability" in " ".join(result.verdict())
    assert 0.0 < result.threshold < 1.0
    places = np.array([[20.0, -15.0], [20.0, 15.0]])
    predicted = result.predict(places)
    assert predicted["suitability"][0] > predicted["suitability"][1]
    called = predicted["suitability"] >= result.threshold
    assert (predicted["prediction"] == np.where(called, "Protea repens", "background")).all()
    raster = result.predict_raster(20.0)
    assert raster.dims == ("lat", "lon")
    assert 0 <= float(raster.min()) <= float(raster.max()) <= 1
    assert float(raster.attrs["threshold"]) == pytest.approx(result.threshold, rel=1e-5)
    loaded = load_probe(result.save(tmp_path / "probe.safetensors"))
    assert loaded.predict(places).equals(predicted)
    with pytest.raises(ValueError, match="no probability"):
        _ = result.calibration


def test_the_case_of_presences_alone_gives_its_answer(shared):
    table = shared / "cases" / "tables" / "pres.csv"
    task = presence_task(table, n_background=500)
    assert (task.target == 1).sum() == 399  # two lie in one cell of 10 km
    result = train_probe(task, model="linear", encoder="xyz", baselines=False)
    assert 0.5 < result.metrics.loc["xyz", "auc"] <= 1.0

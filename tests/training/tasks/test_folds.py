"""Folds: every place is tested once, nothing leaks, and cells are CoordBench's."""

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GroupKFold

from satclip_explore.geo import great_circle_km
from training.tasks.distances import nearest_km, nearest_places
from training.tasks.folds import CELLS, RUNGS, closest_rung, make_rungs
from training.tasks.tables import task_from_table
from training.tasks.task import Task
from training.tasks.units import cells

EVERY = (*RUNGS, "clusters", "region")


def places(n=240, seed=0, low=-60.0, high=70.0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.uniform(-180, 180, n), rng.uniform(low, high, n)], axis=1)


def values(lonlat, **more):
    return Task(
        "v", "regression", lonlat, np.random.default_rng(1).normal(size=len(lonlat)), **more
    )


def classes(lonlat, target, **more):
    names = tuple(f"c{code}" for code in range(int(target.max()) + 1))
    return Task("c", "classification", lonlat, target, names, **more)


def test_every_place_is_tested_once_and_never_trains_its_own_test():
    task = values(np.concatenate([places(120), places(120)]))  # each place twice
    rungs, _ = make_rungs(task, EVERY, seeds=2)
    assert [rung.name for rung in rungs][:3] == ["random", "0.25°", "0.5°"]
    for rung in rungs:
        for seed in range(rung.n_seeds):
            splits = [rung.split(seed, fold) for fold in range(rung.n_folds)]
            tested = np.concatenate([one.test for one in splits])
            np.testing.assert_array_equal(np.sort(tested), np.arange(len(task)))
            for one in splits:
                codes = task.group_codes
                assert not set(codes[one.train]) & set(codes[one.test]), rung.name


def test_cells_are_those_of_coordbench():
    lonlat = places()
    for degrees in CELLS:
        lon, lat = lonlat.T
        code = np.floor(lat / degrees).astype(int) * 100003 + np.floor(lon / degrees).astype(int)
        np.testing.assert_array_equal(
            cells(lonlat, degrees), np.unique(code, return_inverse=True)[1]
        )
        (rung,), _ = make_rungs(values(lonlat), [degrees], seeds=3)
        for seed in range(3):
            order = np.random.default_rng(seed).permutation(len(np.unique(code)))
            np.testing.assert_array_equal(rung.fold[seed], order[cells(lonlat, degrees)] % 5)


def test_random_folds_are_those_of_coordbench():
    (rung,), _ = make_rungs(values(places()), ["random"], seeds=2)
    for seed in range(2):
        order = np.random.default_rng(seed).permutation(240)
        for fold in range(5):
            np.testing.assert_array_equal(
                np.flatnonzero(rung.fold[seed] == fold), np.sort(order[fold::5])
            )


def test_a_pole_and_the_antimeridian_are_one_place():
    lonlat = np.concatenate([places(20), [[10.0, 90.0], [-170.0, 90.0], [180.0, 5.0], [-180, 5.0]]])
    found = cells(lonlat, 10.0)
    assert found[-4] == found[-3]
    assert found[-2] == found[-1]


def test_groups_are_those_of_scikit_learn():
    lonlat = places(210)
    groups = np.repeat(np.arange(20), np.arange(1, 21))  # sizes differ, so that nothing is a tie
    (rung,), _ = make_rungs(values(lonlat), ["farm"], columns={"farm": groups}, seeds=2)
    theirs = GroupKFold(5).split(lonlat, groups=groups)
    for fold, (train, test) in enumerate(theirs):
        np.testing.assert_array_equal(rung.split(0, fold).test, test)
        np.testing.assert_array_equal(rung.split(0, fold).train, train)
    for fold in range(5):
        one = rung.split(1, fold)
        assert not set(groups[one.train]) & set(groups[one.test])


def test_one_continent_is_held_out_after_the_other():
    lonlat = np.array([[13.4, 52.5], [2.3, 48.8], [36.8, -1.3], [3.4, 6.5], [-47.9, -15.8]] * 3)
    lonlat[5:] += 0.1 * np.arange(10)[:, None]
    (rung,), _ = make_rungs(values(lonlat), ["region"])
    assert rung.fold.shape[0] == 1
    assert rung.fold[0, 0] == rung.fold[0, 1] != rung.fold[0, 2] == rung.fold[0, 3]
    assert rung.n_folds == 3


def test_a_buffer_keeps_training_places_away():
    task = values(places())
    near, _ = make_rungs(task, ["random", 5.0], seeds=1)
    apart, _ = make_rungs(task, ["random", 5.0], seeds=1, buffer_km=500.0)
    for plain, rung in zip(near, apart, strict=True):
        assert np.nanmin(plain.distances_km(task.lonlat)) < 500.0
        assert rung.distances_km(task.lonlat).min() >= 500.0


def test_rows_of_a_group_stay_together_where_cells_part_them():
    task = values(places(), groups=np.arange(240) // 4)
    for rung in make_rungs(task, (5.0, "clusters"), seeds=1)[0]:
        for _, _, split in rung.splits():
            assert not set(task.groups[split.train]) & set(task.groups[split.test])


def test_rare_classes_are_spread_over_folds():
    lonlat = places(400, low=-50, high=50)
    target = np.zeros(400, dtype=np.int64)
    target[:10] = 1
    for rung in make_rungs(classes(lonlat, target), ("random", 1.0), seeds=3)[0]:
        for seed in range(3):
            assert np.bincount(rung.fold[seed, :10], minlength=5).tolist() == [2] * 5, rung.name


def test_a_class_that_no_fold_can_learn_is_named():
    lonlat = places(100, low=10, high=60)
    target = np.zeros(100, dtype=np.int64)
    lonlat[:6], target[:6] = [[5.1, -30.1 - 0.01 * k] for k in range(6)], 1
    rungs, notes = make_rungs(classes(lonlat, target), ("random", 10.0), seeds=2)
    assert rungs[0].notes == ()
    assert notes == [
        "10°: 1 of 2 classes have no training place in some fold, so that nothing can name them "
        "there: c1."
    ]


def test_a_rung_that_the_places_do_not_allow_is_left_out_and_said():
    lonlat = np.array([10.0, 50.0]) + places(60) / 1000.0
    rungs, notes = make_rungs(values(lonlat), ("random", 40.0), seeds=1)
    assert [rung.name for rung in rungs] == ["random"]
    assert notes == ["40°: left out, since all places lie in one cell of 40 degrees."]
    with pytest.raises(ValueError, match="allow none of the ways"):
        make_rungs(values(lonlat), [40.0])


def test_few_cells_are_as_many_folds_and_that_is_said_in_english():
    lonlat = np.where(np.arange(40)[:, None] % 2, [[5.0, 5.0]], [[25.0, 25.0]])
    notes = make_rungs(values(lonlat + places(40) / 1000.0), [20.0], seeds=1)[1]
    assert notes == ["20°: 2 folds, as many as there are cells of 20 degrees."]


@pytest.mark.parametrize("wrong", ["farms", True, 0.0, 400.0])
def test_unknown_rungs_are_refused(wrong):
    with pytest.raises(ValueError, match="rung is|width of a cell"):
        make_rungs(values(places()), [wrong])


def test_distances_grow_up_the_ladder_and_are_great_circles():
    task = values(places(600))
    rungs, _ = make_rungs(task, (1.0, 10.0, 40.0), seeds=1)
    medians = [np.median(rung.distances_km(task.lonlat)) for rung in rungs]
    assert medians == sorted(medians)
    split = rungs[0].split(0, 0)
    by_hand = great_circle_km(task.lonlat[split.test][:, None], task.lonlat[split.train][None])
    found = nearest_km(task.lonlat[split.test], task.lonlat[split.train])
    np.testing.assert_allclose(found, by_hand.min(1), rtol=1e-9)
    km, rows = nearest_places(task.lonlat[split.test], task.lonlat[split.train], 3)
    np.testing.assert_allclose(km, np.sort(by_hand, axis=1)[:, :3], rtol=1e-9)
    np.testing.assert_allclose(np.take_along_axis(by_hand, rows, 1), km, rtol=1e-9)


def test_the_rung_of_places_to_predict_is_the_one_at_their_distance():
    task = values(places(400, low=20, high=50))
    rungs, _ = make_rungs(task, ("random", 40.0), seeds=1)
    beside = task.lonlat + 0.3
    assert closest_rung(rungs, task.lonlat, beside)[0].name == "random"
    assert closest_rung(rungs, task.lonlat, places(50, low=-60, high=-30))[0].name == "40°"


def test_covariates_and_groups_follow_the_rows_that_have_a_label():
    frame = pd.DataFrame(places(40), columns=["lon", "lat"])
    frame["y"] = np.arange(40) + 0.5
    frame.loc[3, "y"] = np.nan
    frame["rain"], frame["state"] = np.arange(40.0), [f"s{k % 4}" for k in range(40)]
    frame.loc[7, "rain"] = np.nan
    task = task_from_table(frame, "y", group="state", covariates=["rain"])
    assert task.image_features.shape == (39, 1)
    # A gap stays one until it is known which rows train.
    assert np.flatnonzero(task.has_gaps).tolist() == [6]
    assert task.image_features[-1, 0] == 39.0
    for wrong in ("y", "snow"):
        with pytest.raises(ValueError, match=f"covariate '{wrong}'"):
            task_from_table(frame, "y", covariates=[wrong])

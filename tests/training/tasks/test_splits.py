from datetime import date
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from satclip_explore.geo import equal_area_sample, great_circle_km, unit_vectors
from satclip_explore.regions import region
from training.probe import hold_out
from training.tasks.blocks import block_of, block_split
from training.tasks.splits import random_split, region_split, shuffled
from training.tasks.task import Task


@pytest.fixture(scope="module")
def task():
    lonlat = equal_area_sample(3000, seed=0)
    return Task("t", "classification", lonlat, np.arange(3000) % 7, tuple("abcdefg"))


def test_the_order_of_a_seed_never_changes():
    # Written down once: a different order on another machine or version would fail here.
    assert shuffled(10, 0).tolist() == shuffled(10, 0).tolist()
    assert sorted(shuffled(1000, 3)) == list(range(1000))
    assert shuffled(1000, 0).tolist() != shuffled(1000, 1).tolist()
    assert shuffled(8, 0).tolist() == EXPECTED_ORDER


EXPECTED_ORDER = [2, 4, 6, 5, 1, 7, 0, 3]


def test_random_halves_are_halves_and_share_no_row(task):
    split = random_split(task)
    assert len(split.train) == len(split.test) == 1500
    assert not set(split.train) & set(split.test)
    np.testing.assert_array_equal(split.test, random_split(task, seed=0).test)


@pytest.mark.parametrize("test", [0.0, 1.0, -1, np.nextafter(1, 2)])
def test_a_test_part_that_is_no_fraction_is_refused(task, test):
    with pytest.raises(ValueError, match="fraction between 0 and 1"):
        random_split(task, test=test)


def test_a_region_is_held_out_but_for_its_shots(task):
    split = region_split(task, "Africa", shots=0.1)
    inside = region("Africa").contains(task.lonlat)
    assert len(split.shots) == round(0.1 * inside.sum())
    assert inside[split.test].all()
    assert inside[split.train].sum() == len(split.shots)
    assert len(split.train) + len(split.test) == len(task)


def test_shots_per_class_take_that_many_of_each(task):
    split = region_split(task, "Africa", shots=3)
    assert np.bincount(task.target[split.shots]).tolist() == [3] * 7


def test_shots_of_a_regression_are_places():
    lonlat = equal_area_sample(500, seed=0)
    task = Task("t", "regression", lonlat, np.arange(500.0))
    assert len(region_split(task, "Asia", shots=5).shots) == 5


@pytest.mark.parametrize("shots", [0, 0.0, -1, np.nan, 1.0, 1.5, -np.inf, 10**18])
def test_shots_out_of_range_are_refused(task, shots):
    with pytest.raises(ValueError, match="^shots"):
        region_split(task, "Africa", shots=shots)


NO_NUMBERS = [
    Decimal("0.1"), Decimal("sNaN"), Fraction(1, 3), date(2024, 1, 1), None, True, "0.1", [0.1],
]  # fmt: skip


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
@pytest.mark.parametrize(
    "make",
    [
        lambda task, value: region_split(task, "Africa", shots=value),
        lambda task, value: random_split(task, test=value),
        lambda task, value: random_split(task, seed=value),
        lambda task, value: block_split(task, block_km=value),
        lambda task, value: block_split(task, buffer_km=value),
        lambda task, value: block_split(task, seed=value),
        lambda task, value: hold_out(task, "Africa", seed=value),
    ],
)
def test_what_is_no_number_is_refused_in_a_sentence(task, make, value):
    with pytest.raises(TypeError, match=r"^(shots|test|seed|block_km|buffer_km) must be a") as no:
        make(task, value)
    assert "\n" not in str(no.value)


def test_a_region_without_places_is_refused(task):
    with pytest.raises(ValueError, match="no place of 't' lies in"):
        region_split(task, (0.0, 0.0, 0.001, 0.001))


def test_a_region_that_holds_everything_leaves_nothing_to_test(task):
    with pytest.raises(ValueError, match="no test places"):
        region_split(task, (-180, -90, 180, 90), shots=100_000)


def test_blocks_keep_their_distance(task):
    split = block_split(task, block_km=1500, buffer_km=300)
    train, test = task.lonlat[split.train], task.lonlat[split.test]
    nearest = great_circle_km(train[:, None], test[None]).min()
    # The bound is the buffer itself; anything nearer is a leak.
    assert 300 <= nearest < 400
    assert 0.3 <= len(split.test) / len(task) < 0.5


def test_blocks_have_no_seam_at_the_antimeridian_and_equal_areas():
    east = block_of(unit_vectors([[179.9999, 10.0]]), 1000)
    west = block_of(unit_vectors([[-179.9999, 10.0]]), 1000)
    assert east == west
    counts = np.bincount(block_of(unit_vectors(equal_area_sample(200_000, seed=1)), 2000))
    # About 1,570 places a block: 5 sd of chance is 13 %, the lattice itself differs by a third.
    assert 0.6 < counts.min() / counts.mean() <= counts.max() / counts.mean() < 1.4


@pytest.mark.parametrize("change", [{"block_km": 10}, {"buffer_km": -1}, {"buffer_km": 1e5}])
def test_blocks_of_absurd_size_are_refused(task, change):
    with pytest.raises(ValueError, match="must lie between"):
        block_split(task, **change)


def pole_and_seam(kind="classification"):
    """Thirty-six longitudes at a pole, ten places named twice across the seam, sixty others."""
    pole = np.stack([np.arange(36) * 10.0 - 180, np.full(36, 90.0)], 1)
    seam = np.stack([np.repeat([180.0, -180.0], 10), np.tile(np.arange(10.0) * 5 - 20, 2)], 1)
    others = equal_area_sample(60, seed=0)
    target = np.arange(116) % 2
    return Task("t", kind, np.concatenate([pole, seam, others]), target, ("a", "b"))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_a_place_is_never_in_training_and_in_test(seed, kind):
    task = pole_and_seam(kind)
    codes = task.group_codes
    assert codes.max() + 1 == 1 + 10 + 60
    splits = [
        random_split(task, seed=seed),
        region_split(task, (-180, -90, 0, 90), shots=0.3, seed=seed),
        region_split(task, (-180, -90, 0, 90), shots=4, seed=seed),
        region_split(task, (-180, 60, 180, 90), shots=2, seed=seed),
        block_split(task, buffer_km=0, seed=seed),
    ]
    for split in splits:
        assert not set(codes[split.train]) & set(codes[split.test])
        assert set(split.shots) <= set(split.train)
    held_out = random_split(task, seed=seed).test
    assert len(np.unique(codes[held_out])) == round(0.5 * 71)


def test_groups_of_ones_own_stay_together():
    lonlat = equal_area_sample(200, seed=0)
    groups = block_of(unit_vectors(lonlat), 3000)
    task = Task("t", "regression", lonlat, np.arange(200.0), groups=groups)
    for split in (random_split(task), region_split(task, "Africa", shots=1), block_split(task)):
        assert not set(groups[split.train]) & set(groups[split.test])
    part = task.subset(np.arange(100, 150))
    assert part.groups.tolist() == groups[100:150].tolist()


def test_groups_that_tear_a_place_apart_are_refused():
    lonlat = np.stack([np.arange(20.0), np.full(20, -90.0)], 1)
    facts = {"name": "t", "kind": "regression", "lonlat": lonlat, "target": np.arange(20.0)}
    with pytest.raises(ValueError, match="lie in several groups"):
        Task(**facts, groups=np.arange(20))
    with pytest.raises(ValueError, match="groups must have shape"):
        Task(**facts, groups=np.arange(3))


def rare_classes():
    """A thousand places; three rare classes live in two far corners each, one in a single one."""
    lonlat = equal_area_sample(1000, seed=0)
    codes = np.zeros(1000, dtype=int)
    for code, corners in enumerate([(0, 1), (2, 3), (4, 5), (6,)], 1):
        for corner in corners:
            far = great_circle_km(lonlat, lonlat[corner])
            codes[np.argsort(far)[:3]] = code
    return Task("rare", "classification", lonlat, codes, ("common", "r", "s", "t", "lone"))


@pytest.mark.parametrize("seed", range(8))
def test_classes_of_two_blocks_are_tested_and_trained(seed):
    task = rare_classes()
    split = block_split(task, seed=seed, buffer_km=0)
    assert set(task.target[split.test]) >= {0, 1, 2, 3}
    assert set(task.target[split.train]) >= {0, 1, 2, 3}
    assert 0.3 <= len(split.test) / 1000 < 0.4
    untested = "; 1 of 5 classes are not tested: lone"
    assert split.description.endswith(untested) == (4 not in task.target[split.test])


def test_blocks_of_a_regression_are_drawn_by_order_alone():
    lonlat = equal_area_sample(1000, seed=0)
    task = Task("t", "regression", lonlat, np.arange(1000.0))
    split = block_split(task, buffer_km=0)
    names, block = np.unique(block_of(unit_vectors(lonlat), 1000), return_inverse=True)
    held_out = set(block[split.test])
    assert held_out == set(shuffled(len(names), 0)[: len(held_out)])

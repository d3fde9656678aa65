import numpy as np
import pytest

from satclip_explore.geo import equal_area_sample, great_circle_km, unit_vectors
from satclip_explore.regions import region
from training.tasks.splits import block_of, block_split, random_split, region_split, shuffled
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


@pytest.mark.parametrize("test", [0.0, 1.0, -1, np.nan])
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


@pytest.mark.parametrize("shots", [0, 0.0, -1, np.nan, True])
def test_no_shots_are_refused(task, shots):
    with pytest.raises(ValueError, match="above 0; got"):
        region_split(task, "Africa", shots=shots)


def test_a_fraction_of_all_places_or_more_is_refused(task):
    with pytest.raises(ValueError, match="must be below 1"):
        region_split(task, "Africa", shots=1.5)


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

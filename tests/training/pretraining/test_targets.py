"""Where a place is: what eigenfunctions and random features stand for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from satclip_explore.geo import EARTH_RADIUS_KM, unit_vectors
from training.pretraining.config import PretrainConfig
from training.pretraining.targets import Eigenfunctions, PositionFeatures, RandomFeatures


def unit(n, seed=0):
    drawn = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=1)


def places(*lonlat):
    return torch.from_numpy(unit_vectors(lonlat)).float()


def test_all_eigenfunctions_together_give_the_kernel_up_to_its_mean():
    fitted = unit(60)
    far = Eigenfunctions(60, 3000.0, 0.3, 1500.0)
    far.fit(fitted)
    features = far(fitted).double()
    vectors = fitted.double()
    latitude = torch.asin(vectors[:, 2])
    chord = torch.cdist(vectors, vectors) * EARTH_RADIUS_KM
    north = (latitude[:, None] - latitude).abs() * EARTH_RADIUS_KM
    kernel = 0.7 * torch.exp(-chord / 3000.0) + 0.3 * torch.exp(-north / 1500.0)
    level = torch.eye(60, dtype=torch.float64) - 1.0 / 60.0
    wanted = level @ kernel @ level
    # Together they vary by 1; the kernel at the same place is float32's distance from 1.
    wanted = wanted / (wanted.trace() / 60.0)
    torch.testing.assert_close(features @ features.T, wanted, rtol=0, atol=5e-3)


def test_eigenfunctions_are_uncorrelated_fall_in_variance_and_vary_by_one():
    fitted = unit(1000)
    far = Eigenfunctions(12, 4000.0, 0.0, 2000.0)
    far.fit(fitted)
    second = (far(fitted) + far.mean).T @ (far(fitted) + far.mean) / 1000.0
    size = second.diagonal()
    assert (size.diff() <= 1e-6).all()
    torch.testing.assert_close(second, torch.diag(size), rtol=0, atol=1e-4)
    assert float(far(fitted).var(0, correction=0).sum()) == pytest.approx(1.0, abs=1e-3)


def test_with_latitude_alone_places_of_a_parallel_are_the_same():
    far = Eigenfunctions(20, 4000.0, 1.0, 2000.0)
    far.fit(unit(500))
    here, along, away = far(places((0.0, 40.0), (150.0, 40.0), (0.0, 10.0)))
    torch.testing.assert_close(here, along, rtol=0, atol=1e-4)
    assert (here - away).norm() > 0.5


def test_fewer_places_than_landmarks_are_enough_but_not_fewer_than_eigenfunctions():
    far = Eigenfunctions(20, 4000.0, 0.5, 2000.0)
    far.fit(unit(20))
    assert torch.isfinite(far(unit(7, seed=3))).all()
    with pytest.raises(ValueError, match="19 training places have no 20 eigenfunctions"):
        far.fit(unit(19))


def test_a_second_fit_keeps_nothing_of_the_first():
    twice, once = (Eigenfunctions(5, 4000.0, 0.5, 2000.0) for _ in range(2))
    twice.fit(unit(400, seed=1))
    for far in (twice, once):
        far.fit(unit(30))
    assert torch.equal(twice(unit(7, seed=3)), once(unit(7, seed=3)))


def test_random_features_give_a_gaussian_kernel():
    near = RandomFeatures(4000, 900.0, 1.0, torch.Generator().manual_seed(0))
    chosen = unit(40)
    features = near(chosen)
    distances = torch.cdist(chosen, chosen) * EARTH_RADIUS_KM
    wanted = torch.exp(-((distances / 900.0) ** 2) / 2.0)
    # Means over 4,000 random sines have a standard deviation of 0.016.
    torch.testing.assert_close(features @ features.T, wanted, rtol=0, atol=0.08)


@pytest.mark.parametrize("lat", [0.0, 70.0, -70.0])
def test_random_features_change_faster_northward(lat):
    near = RandomFeatures(4000, 900.0, 2.0, torch.Generator().manual_seed(0))
    # A hundred kilometers north, and two hundred east: on the sphere, not in degrees.
    north, east = np.degrees(100.0 / 6371.0), np.degrees(200.0 / 6371.0 / np.cos(np.radians(lat)))
    here, northward, eastward = near(places((0.0, lat), (0.0, lat + north), (east, lat)))
    moved = (here - northward).square().sum(), (here - eastward).square().sum()
    assert float(moved[0]) == pytest.approx(float(moved[1]), rel=0.1)


def test_near_and_far_have_their_shares():
    training = PretrainConfig().training
    position = PositionFeatures(training, torch.Generator().manual_seed(0))
    fitted = unit(4000)
    position.fit(fitted)
    variance = position(fitted).var(0)
    assert len(variance) == position.dim == 160
    assert float(variance.sum()) == pytest.approx(1.0, abs=0.03)
    near = float(variance[training.position_eigenfunctions :].sum())
    assert near == pytest.approx(training.position_near_share, abs=0.01)

"""Local kriging: exact where it can be, bounded where it must be."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from satclip_explore.geo import equal_area_sample, unit_vectors
from training.probes import kriging
from training.probes.data import TrainingData
from training.probes.kriging import KrigingProbe, KrigingSettings
from training.probes.nearest import great_circle_as_chord

CHOSEN = KrigingSettings(0.5, 3000.0, 1.0, 0.1)


def data(n, width=12, seed=0):
    """Features that follow place, as embeddings do, and a target that bends in two of them."""
    waves = torch.randn(3, width, generator=torch.Generator().manual_seed(9))
    vectors = torch.from_numpy(unit_vectors(equal_area_sample(n, seed=seed))).float()
    x = torch.sin(2 * vectors @ waves) * 3 + 5
    target = torch.sin(3 * vectors[:, 0]) + torch.tanh(x[:, 0] - 5) + 0.3 * x[:, 1]
    target = (target - target.mean()) / target.std()
    return TrainingData(x, vectors, target, 0, torch.arange(n) % 10 == 0)


def exact(probe, points, vectors, noise=CHOSEN.noise):
    """Solve one dense system for all rows, in float64."""

    def kernel(a, b, c, d):
        place = torch.cdist(a.double(), b.double()) * 6371.0088 / CHOSEN.place_km
        alike = torch.cdist(c.double(), d.double()) / CHOSEN.embedding_scale
        return (1 - CHOSEN.share) * torch.exp(-place) + CHOSEN.share * torch.exp(-alike)

    inner = kernel(probe.vectors, probe.vectors, probe.points, probe.points)
    inner += torch.diag(noise / probe.counts.double())
    outer = kernel(vectors, probe.vectors, points, probe.points)
    return outer @ torch.linalg.solve(inner, probe.values.double())


def test_few_rows_are_solved_exactly():
    task, query = data(32), data(50, seed=5)
    probe = KrigingProbe.fit(task, [0], CHOSEN)
    expected = exact(probe, (query.features - probe.mean) @ probe.basis, query.vectors)
    got = probe.scores(query.features, query.vectors)[0, :, 0]
    # float32 distances; every row is found in both spaces and counts once.
    np.testing.assert_allclose(got, expected, atol=1e-3)


def test_neighborhoods_agree_with_exact_kriging():
    task, query = data(1500), data(200, seed=5)
    probe = KrigingProbe.fit(task, [0], CHOSEN)
    expected = exact(probe, (query.features - probe.mean) @ probe.basis, query.vectors)
    got = probe.scores(query.features, query.vectors)[0, :, 0].double()
    # The target has a standard deviation of one.
    assert (got - expected).square().mean().sqrt() < 0.05
    assert (expected - query.target).square().mean().sqrt() < 0.2


def test_rows_of_one_place_are_one_row_of_less_noise():
    task = data(20)
    again = task.part(torch.arange(20).repeat_interleave(3))
    noisy = torch.linspace(-0.1, 0.1, 60)
    probe = KrigingProbe.fit(dataclasses.replace(again, target=again.target + noisy), [0], CHOSEN)
    assert probe.counts.tolist() == [3.0] * 20
    torch.testing.assert_close(probe.values, task.target + noisy.view(20, 3).mean(1))
    points = (task.features - probe.mean) @ probe.basis
    got = probe.scores(task.features, task.vectors)[0, :, 0]
    np.testing.assert_allclose(got, exact(probe, points, task.vectors), atol=1e-3)
    # Features that differ, as covariates of a year, keep their rows.
    again.features[:, 0] += torch.arange(60)
    assert len(KrigingProbe.fit(again, [0], CHOSEN).values) == 60


def test_many_places_take_bounded_memory(monkeypatch):
    """20,000 places: no table of all pairs, whose 400 million distances would take 1.6 GB."""
    largest = 0
    for name in ("addmm", "bmm"):
        product = getattr(torch, name)

        def measured(*args, product=product, **kwargs):
            nonlocal largest
            result = product(*args, **kwargs)
            largest = max(largest, result.numel())
            return result

        monkeypatch.setattr(torch, name, measured)
    monkeypatch.setattr(kriging, "MAX_SEARCHED", 5_000)
    task = data(20_000, width=8)
    probe = KrigingProbe.fit(task, [0], CHOSEN)
    query = data(300, width=8, seed=5)
    rows, twice = probe.neighbors(query.features[:9] @ probe.basis, query.vectors[:9])
    assert rows.shape == twice.shape == (9, 2 * kriging.NEIGHBORS)
    # Likeness is searched in a sample, nearness in all.
    assert torch.isin(rows[:, kriging.NEIGHBORS :], probe._searched).all()
    chord = torch.cdist(query.vectors[:9], task.vectors)
    near = chord.topk(kriging.NEIGHBORS, largest=False).indices
    assert torch.equal(rows[:, : kriging.NEIGHBORS].sort().values, near.sort().values)
    scores = probe.scores(query.features, query.vectors)[0, :, 0]
    assert np.corrcoef(scores, query.target)[0, 1] > 0.9
    assert largest <= kriging.CHUNK * 20_000


def test_a_raster_takes_the_components_from_the_encoder():
    task = data(200, width=100)
    probe = KrigingProbe.fit(task, [0], CHOSEN)
    assert probe.readout.weight.shape == (kriging.COMPONENTS, 100)
    folded = probe.readout(task.features.double()).float()
    torch.testing.assert_close(
        probe.finish(folded, task.vectors), probe.scores(task.features, task.vectors),
        atol=1e-3, rtol=0,
    )  # fmt: skip


def test_files_of_the_first_version_open():
    task = data(30, width=5)
    mean, scale = task.features.mean(0), task.features.std(0)
    old = {"vectors": task.vectors, "points": (task.features - mean) / scale,
           "values": task.target, "mean": mean, "scale": scale}  # fmt: skip
    probe = KrigingProbe.from_tensors(old, dataclasses.asdict(CHOSEN), 0)
    points = (task.features - mean) / scale
    got = probe.scores(task.features, task.vectors)[0, :, 0]
    np.testing.assert_allclose(got, exact(probe, points, task.vectors), atol=1e-3)
    with pytest.raises(ValueError, match="basis"):
        KrigingProbe.from_tensors(
            {**old, "counts": torch.ones(30), "basis": torch.eye(4)}, dataclasses.asdict(CHOSEN), 0
        )


def test_kriging_uses_place_where_embeddings_are_noise():
    lonlat = equal_area_sample(800, seed=0)
    vectors = torch.from_numpy(unit_vectors(lonlat)).float()
    target = torch.sin(4 * vectors[:, 0]) + vectors[:, 2]
    noise = torch.randn(800, 10, generator=torch.Generator().manual_seed(0))
    valid = torch.arange(800) % 10 == 0
    task = TrainingData(noise, vectors, (target - target.mean()) / target.std(), 0, valid)
    probe = KrigingProbe.fit(task, [0])
    assert probe.settings["share"] < 0.5


def test_hidden_neighbors_make_kriging_look_farther():
    task = data(600)
    probe = KrigingProbe.fit(task, [0], KrigingSettings())
    gap = great_circle_as_chord(1000.0)
    query = (task.features[:5] - probe.mean) @ probe.basis
    rows, _ = probe.neighbors(query, task.vectors[:5], gap)
    chord = (task.vectors[:5, None] - task.vectors[rows]).norm(dim=2)
    assert chord.min() >= gap * (1 - 1e-3)

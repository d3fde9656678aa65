"""Weights of rows: a row that counts three times is three rows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from satclip_explore.geo import equal_area_sample, unit_vectors
from training.probes.base import loss_per_seed, mean_error, place_errors
from training.probes.closed_forms import discriminant, leave_one_out, ridge
from training.probes.data import TrainingData
from training.probes.knn import KNNProbe, KNNSettings
from training.probes.kriging import KrigingProbe, KrigingSettings
from training.probes.mlp import MLPProbe, MLPSettings
from training.probes.mlp_training import Run


@pytest.fixture
def task():
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(80, 6, generator=rng)
    target = x[:, 0] + 0.5 * torch.randn(80, generator=rng)
    vectors = torch.from_numpy(unit_vectors(equal_area_sample(80, seed=0))).float()
    counts = torch.randint(1, 4, (80,), generator=rng).float()
    return TrainingData(x, vectors, target, 0, torch.arange(80) % 8 == 0, weights=counts)


@pytest.fixture
def classes(task):
    return dataclasses.replace(task, target=(task.target > 0).long(), n_classes=2)


def repeated(values, task):
    return values.repeat_interleave(task.weights.long(), 0)


def test_ridge_takes_the_sample_weight_of_scikit_learn(task):
    linear_model = pytest.importorskip("sklearn.linear_model")
    weight, bias = ridge(task.features, task.target[:, None], 2.0, task.weights)
    model = linear_model.Ridge(alpha=2.0).fit(
        task.features.double().numpy(), task.target.double().numpy(), task.weights.numpy()
    )
    np.testing.assert_allclose(weight[0], model.coef_, rtol=1e-4)
    np.testing.assert_allclose(bias[0], model.intercept_, rtol=1e-4)


def test_weighted_leaving_one_out_is_leaving_one_out(task):
    wrong = 0.0
    for row in range(80):
        rest = torch.arange(80) != row
        weight, bias = ridge(
            task.features[rest], task.target[rest][:, None], 2.0, task.weights[rest]
        )
        error = task.features[row] @ weight[0] + bias[0] - task.target[row]
        wrong += float(task.weights[row] * error.square())
    closed = leave_one_out(task.features, task.target, [2.0], task.weights)
    assert float(closed) == pytest.approx(wrong / float(task.weights.sum()), rel=1e-4)


def test_losses_errors_and_discriminants_are_those_of_repeated_rows(task, classes):
    scores = torch.randn(2, 80, 2, generator=torch.Generator().manual_seed(1))
    for part in (task, classes):
        again = [repeated(each, part) for each in (scores[0], scores[1])]
        target = repeated(part.target, part)
        torch.testing.assert_close(
            loss_per_seed(scores, part.target, part.n_classes, part.weights),
            loss_per_seed(torch.stack(again), target, part.n_classes),
        )
        errors = place_errors(scores, part.target, part.n_classes)
        expected = place_errors(torch.stack(again), target, part.n_classes).mean(1)
        torch.testing.assert_close(mean_error(errors, part.weights)[0], expected)
    mean = classes.weights.mean()
    one = discriminant(classes.features, classes.target, 2, weights=classes.weights / mean)
    two = discriminant(repeated(classes.features, classes), repeated(classes.target, classes), 2)
    torch.testing.assert_close(one[0], two[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["task", "classes"])
def test_a_step_of_the_mlp_weighs_its_rows(kind, request):
    data = request.getfixturevalue(kind)
    settings = MLPSettings(hidden_dim=8, precision="float32").completed(6, data.n_outputs)

    def gradient(x, target, rows, counts):
        run = Run(x, target, data.n_classes, [0], settings, counts)
        run._differentiate(rows[None])
        return run.gradient.flat, run.loss

    one = gradient(data.features, data.target, torch.arange(80), data.weights)
    n = int(data.weights.sum())
    two = gradient(
        repeated(data.features, data), repeated(data.target, data), torch.arange(n), None
    )
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


def test_weights_reach_every_probe(task, classes):
    """What counts a thousand times decides."""
    elsewhere = 0.8 * task.features
    one_sided = torch.where(classes.target == 1, 1000.0, 1.0)
    heavy = dataclasses.replace(classes, weights=one_sided / one_sided.mean())
    for probe, settings in (
        (MLPProbe, MLPSettings(steps=60, hidden_dim=8)),
        (KNNProbe, KNNSettings(20)),
        (KrigingProbe, KrigingSettings(noise=1.0)),
    ):
        plain, weighed = (
            probe.fit(dataclasses.replace(part, n_classes=2), [0], settings)
            for part in (dataclasses.replace(classes, weights=None), heavy)
        )
        share = [
            float((fit.scores(elsewhere, task.vectors.roll(1, 0))[0].argmax(1) == 1).float().mean())
            for fit in (plain, weighed)
        ]
        assert share[0] < 0.7 < share[1], probe.kind


def test_chances_sum_to_one_and_agree_with_scores(classes):
    for probe, settings in (
        (MLPProbe, MLPSettings(steps=20, hidden_dim=8)),
        (KNNProbe, None),
        (KrigingProbe, None),
    ):
        fit = probe.fit(classes, [0, 1], settings)
        scores = fit.scores(classes.features + 3.0, classes.vectors)
        chances = fit.chances(scores)
        assert chances.min() >= 0.0
        torch.testing.assert_close(chances.sum(2), torch.ones_like(chances[..., 0]))
        assert torch.equal(chances.argmax(2), scores.argmax(2))

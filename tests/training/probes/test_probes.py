import dataclasses

import numpy as np
import pytest
import torch

from satclip_explore.geo import equal_area_sample, unit_vectors
from training.probes.base import standardization
from training.probes.closed_forms import discriminant, leave_one_out, ridge
from training.probes.data import TrainingData
from training.probes.knn import KNNProbe, KNNSettings
from training.probes.linear import LinearProbe, LinearSettings
from training.probes.mlp import MLPProbe, MLPSettings
from training.probes.nearest import NearestProbe
from training.probes.tuning import trials, tune


def data(n=600, n_classes=0, seed=0, width=12):
    """Features with a target that bends in two of them."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(n, width, generator=rng) * 3 + 5
    value = torch.tanh(x[:, 0] - 5) + 0.3 * x[:, 1] + 0.1 * torch.randn(n, generator=rng)
    target = (value - value.mean()) / value.std()
    if n_classes:
        edges = torch.quantile(target, torch.linspace(0, 1, n_classes + 1)[1:-1])
        target = torch.bucketize(target, edges)
    vectors = torch.from_numpy(unit_vectors(equal_area_sample(n, seed=seed))).float()
    return TrainingData(x, vectors, target, n_classes, torch.arange(n) % 10 == 0)


def noise(n, width, signal=0.0):
    """The same features, and a target that has little or nothing to do with them."""
    task, rng = data(n=n, width=width), torch.Generator().manual_seed(9)
    target = signal * task.target + torch.randn(n, generator=rng)
    return dataclasses.replace(task, target=target)


@pytest.mark.parametrize("n_classes", [0, 3, 100])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_seeds_together_give_what_each_gives_alone(n_classes, precision):
    task = data(n_classes=n_classes)
    settings = MLPSettings(hidden_dim=32, steps=80, batch_size=64, precision=precision)
    together = MLPProbe.fit(task, [3, 0, 7], settings).tensors()
    for k, seed in enumerate((3, 0, 7)):
        for name, alone in MLPProbe.fit(task, [seed], settings).tensors().items():
            # Bit for bit; only a float32 product with one column is summed in another order.
            exact = n_classes or precision == "bfloat16"
            torch.testing.assert_close(
                together[name][k], alone[0], rtol=0, atol=0 if exact else 1e-4
            )
    assert (together["w1"][0] - together["w1"][1]).abs().max() > 0.01


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_seed_that_stops_early_alone_stops_there_among_others(precision):
    # Much noise: seeds stop at different steps.
    task = noise(n=600, width=30, signal=0.3)
    settings = MLPSettings(steps=300, precision=precision, learning_rate=5e-3)
    together = MLPProbe.fit(task, range(4), settings)
    fitted = [MLPProbe.fit(task, [seed], settings) for seed in range(4)]
    assert len({probe.settings["stopped_at"] for probe in fitted}) > 1
    alone = torch.cat([probe.scores(task.features, task.vectors) for probe in fitted])
    scores = together.scores(task.features, task.vectors)
    # Rounding at most, carried through 300 steps.
    assert (scores - alone).abs().max() < 5e-3 * scores.abs().mean()


def test_the_gradient_of_all_seeds_is_that_of_each():
    from training.probes.mlp_training import Run, Weights, buffer_length, forward

    for n_classes in (0, 5):
        task = data(n_classes=n_classes)
        sizes = (12, 8, task.n_outputs)
        settings = MLPSettings(hidden_dim=8, precision="float32").completed(12, n_classes)
        run = Run(task.features, task.target, n_classes, (0, 1), settings)
        flat, low = run.weights.flat, run.low
        rows = torch.tensor([[0, 5, 9, 3], [7, 1, 2, 8]])
        run._differentiate(rows)
        leaf = flat.clone().requires_grad_()
        weights = Weights(leaf, 2, sizes)
        loss = 0.0
        for k in (0, 1):
            w1, b1, w2, b2 = (part[k] for part in weights.all)
            out = torch.relu(task.features[rows[k]] @ w1 + b1) @ w2 + b2
            wanted = task.target[rows[k]]
            if n_classes:
                loss = loss + torch.nn.functional.cross_entropy(out, wanted)
            else:
                loss = loss + 0.5 * (out[:, 0] - wanted).square().mean()
        loss.backward()
        # float32 sums over four rows.
        torch.testing.assert_close(run.gradient.flat, 4 * leaf.grad, rtol=1e-4, atol=1e-5)
        assert forward(low, task.features).shape == (2, 600, task.n_outputs)
        assert buffer_length(2, sizes) == flat.numel()


def test_ridge_equals_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    task = data()
    for penalty in (0.1, 1.0, 1000.0):
        weight, bias = ridge(task.features, task.target[:, None], penalty)
        model = linear_model.Ridge(alpha=penalty).fit(
            task.features.double().numpy(), task.target.double().numpy()
        )
        np.testing.assert_allclose(weight[0], model.coef_, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(bias[0], model.intercept_, rtol=1e-5, atol=1e-5)


def test_the_ridge_probe_is_ridge_on_standardized_features():
    linear_model = pytest.importorskip("sklearn.linear_model")
    task = data()
    probe = LinearProbe.fit(task, [0], LinearSettings(10.0))
    mean, scale = standardization(task.features)
    x = ((task.features - mean) / scale).double().numpy()
    expected = linear_model.Ridge(alpha=10.0).fit(x, task.target.double().numpy()).predict(x)
    scores = probe.scores(task.features, task.vectors)[0, :, 0]
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_leaving_one_out_in_closed_form_is_leaving_one_out():
    task, penalties = data(n=40), (0.1, 10.0, 1000.0)
    errors = torch.zeros(3, dtype=torch.float64)
    for row in range(40):
        rest = torch.arange(40) != row
        for k, penalty in enumerate(penalties):
            weight, bias = ridge(task.features[rest], task.target[rest][:, None], penalty)
            error = task.features[row] @ weight[0] + bias[0] - task.target[row]
            errors[k] += error.double().square() / 40
    closed = leave_one_out(task.features, task.target, penalties)
    # Each refit rounds to float32.
    torch.testing.assert_close(closed, errors, rtol=1e-4, atol=0)


@pytest.mark.parametrize("weighted", [False, True])
def test_leaving_a_group_out_in_closed_form_is_leaving_it_out(weighted):
    """Groups of one row, of some, and of more rows than there are features."""
    task, penalties = data(n=60), (0.1, 10.0, 1000.0)
    groups = torch.tensor([0] * 20 + [1] * 15 + [2, 2, 3, 3, 4, 4, 4, *range(5, 23)])
    groups = groups[torch.randperm(60, generator=torch.Generator().manual_seed(0))]
    counts = torch.rand(60, generator=torch.Generator().manual_seed(1)) + 0.5
    weights = counts if weighted else None
    each = counts.double() if weighted else torch.ones(60, dtype=torch.float64)
    errors = torch.zeros(3, dtype=torch.float64)
    for group in range(23):
        out = groups == group
        kept = None if weights is None else weights[~out]
        for k, penalty in enumerate(penalties):
            weight, bias = ridge(task.features[~out], task.target[~out][:, None], penalty, kept)
            error = task.features[out] @ weight[0] + bias[0] - task.target[out]
            errors[k] += (each[out] * error.double().square()).sum() / each.sum()
    closed = leave_one_out(task.features, task.target, penalties, weights, groups)
    torch.testing.assert_close(closed, errors, rtol=1e-4, atol=0)


@pytest.mark.parametrize("groups", [None, torch.arange(120) // 2])
def test_a_repeated_place_does_not_make_the_penalty_small(groups):
    """The other row of a place knows its label, which nothing else tells."""
    task = noise(n=60, width=50)
    twice = task.part(torch.arange(60).repeat_interleave(2))
    if groups is not None:
        vectors = torch.from_numpy(unit_vectors(equal_area_sample(120, seed=0))).float()
        twice = dataclasses.replace(twice, vectors=vectors, groups=groups)
    assert LinearProbe.fit(twice, [0]).settings["penalty"] > 100.0


def test_the_penalty_suits_the_noise():
    assert LinearProbe.fit(noise(n=60, width=50), [0]).settings["penalty"] > 100.0
    assert LinearProbe.fit(data(n=3000), [0]).settings["penalty"] < 100.0


def test_logistic_regression_comes_near_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    task = data(n=2000, n_classes=3)
    probe = LinearProbe.fit(task, [0])
    scores = probe.scores(task.features, task.vectors)[0]
    ours = torch.nn.functional.cross_entropy(scores[task.valid], task.target[task.valid])
    mean, scale = standardization(task.features[~task.valid])
    x = ((task.features - mean) / scale).double().numpy()
    fit = ~task.valid.numpy()
    model = linear_model.LogisticRegression(C=1.0, max_iter=500).fit(x[fit], task.target[fit])
    chances = model.predict_proba(x[~fit])
    theirs = -np.log(chances[np.arange(len(chances)), task.target[~fit]]).mean()
    # Ours stops on the valid rows: never much worse there, and not magically better.
    assert -0.05 < float(ours) - theirs < 0.02


def test_many_classes_take_the_short_way():
    task = data(n=2000, n_classes=80)
    probe = LinearProbe.fit(task, [0])
    assert 0 < probe.settings["rounds"] <= 5
    accuracy = (
        (probe.scores(task.features, task.vectors)[0].argmax(1) == task.target).float().mean()
    )
    assert 3 / 80 < accuracy < 0.9


def test_the_discriminant_separates_well_separated_classes():
    rng = torch.Generator().manual_seed(0)
    target = torch.arange(300) % 3
    x = torch.randn(300, 4, generator=rng) + 6.0 * torch.eye(3, 4)[target]
    weight, bias = discriminant(x, target, 4)
    predicted = (x @ weight.T + bias).argmax(1)
    assert (predicted == target).float().mean() > 0.99
    assert not (predicted == 3).any()


def test_the_nearest_place_gives_its_label():
    task = data(n_classes=3)
    probe = NearestProbe.fit(task, [0])
    scores = probe.scores(torch.zeros(600, 0), task.vectors)
    assert torch.equal(scores[0].argmax(1), task.target)


def test_the_inverse_distance_mean_lies_among_its_neighbors():
    task = data()
    probe = NearestProbe.fit(task, [0])
    query = torch.from_numpy(unit_vectors(equal_area_sample(200, seed=5))).float()
    values = probe.scores(torch.zeros(200, 0), query)
    assert values.shape == (1, 200, 1)
    assert task.target.min() <= values.min() <= values.max() <= task.target.max()
    at_labels = probe.scores(torch.zeros(600, 0), task.vectors)[0, :, 0]
    # On a label its weight is 1e6 and more, against neighbors of a few hundred.
    assert (at_labels - task.target).abs().max() < 1e-2


def test_knn_finds_the_rows_that_numpy_finds():
    task = data(n_classes=3)
    probe = KNNProbe.fit(task, [0], KNNSettings(5))
    mean, scale = standardization(task.features)
    x = ((task.features - mean) / scale).numpy()
    query = torch.randn(40, 12) * 3 + 5
    q = ((query - mean) / scale).numpy()
    distance = np.linalg.norm(q[:, None] - x[None], axis=2)
    for row, scores in enumerate(probe.scores(query, torch.zeros(40, 3))[0]):
        near = np.argsort(distance[row])[:5]
        weight = 1 / (distance[row, near] + 1e-6)
        votes = np.bincount(task.target[near], weight / weight.sum(), minlength=3)
        np.testing.assert_allclose(scores, votes, atol=1e-5)


def test_knn_counts_by_leaving_one_out():
    # Labels take turns along a line: whoever finds itself is right, whoever does not is wrong.
    x, target = torch.arange(60.0)[:, None], torch.arange(60) % 2
    vectors = torch.from_numpy(unit_vectors(equal_area_sample(60, seed=0))).float()
    task = TrainingData(x, vectors, target, 2, torch.zeros(60, dtype=torch.bool))
    seen = []
    KNNProbe.fit(task, [0], on_step=lambda step, train, wrong: seen.append(float(wrong)))
    assert seen[0] == 1.0
    # Smooth values in noise: several neighbors tell more than one.
    assert KNNProbe.fit(noise(n=300, width=2, signal=1.0), [0]).settings["n_neighbors"] > 5


@pytest.mark.parametrize("groups", [None, torch.arange(60) // 2])
def test_a_repeated_place_is_not_its_own_neighbor(groups):
    """Two rows of each place share a label that nothing else tells: no neighbor may know it."""
    lonlat = equal_area_sample(30, seed=0).repeat(2, axis=0)
    vectors = torch.from_numpy(unit_vectors(lonlat)).float()
    x = torch.randn(30, 3, generator=torch.Generator().manual_seed(0)).repeat_interleave(2, 0)
    target = torch.arange(60) // 2 % 2
    if groups is not None:
        vectors = torch.from_numpy(unit_vectors(equal_area_sample(60, seed=0))).float()
    none = torch.zeros(60, dtype=torch.bool)
    task = TrainingData(x, vectors, target, 2, none, groups=groups)
    seen = []
    KNNProbe.fit(task, [0], on_step=lambda step, train, wrong: seen.append(float(wrong)))
    assert seen[0] > 0.3


def test_few_labels_are_enough_to_count_neighbors():
    assert KNNProbe.fit(data(n=3), [0]).settings["n_neighbors"] == 1


def test_early_stopping_keeps_weights_that_were_seen_at_a_validation():
    task = noise(n=200, width=40)
    seen = []
    probe = MLPProbe.fit(
        task, [0, 1], MLPSettings(steps=400, precision="float32"),
        on_step=lambda step, train, valid: seen.append(valid),
    )  # fmt: skip
    valid = task.part(task.valid)
    errors = (probe.scores(valid.features, valid.vectors)[..., 0] - valid.target).square()
    curve = torch.stack(seen)
    # The standardization is folded in: another order of the same sums.
    distance = (curve / errors.mean(1) - 1.0).abs()
    assert (distance.min(0).values < 1e-3).all()
    least, margin = curve.min(0).values, errors.std(1) / len(valid.target) ** 0.5
    assert (errors.mean(1) <= least + 1.5 * margin).all()
    assert (errors.mean(1) < curve[-1]).all()
    assert probe.settings["stopped_at"] < 400


def test_constant_features_do_no_harm():
    task = data()
    flat = task.features.clone()
    flat[:, 3] = 12345.678
    probe = MLPProbe.fit(
        TrainingData(flat, task.vectors, task.target, 0, task.valid), [0], MLPSettings(steps=60)
    )
    assert torch.isfinite(probe.scores(flat, task.vectors)).all()
    assert standardization(flat)[1][3] == 1.0


def test_more_features_are_held_back_more():
    for width, decay in ((3, 0.003), (100, 0.1), (1600, 0.3)):
        assert MLPSettings().completed(width, 1).weight_decay == pytest.approx(decay)
    assert MLPSettings(weight_decay=0.0).completed(256, 1).weight_decay == 0.0
    probe = MLPProbe.fit(data(width=20), [0], MLPSettings(steps=10))
    assert probe.settings["weight_decay"] == pytest.approx(0.02)


def test_tuning_takes_the_best_of_each_setting():
    task = data(n=200)
    start = MLPSettings(hidden_dim=8, steps=30, learning_rate=1e-5, precision="float32")
    assert tune(MLPProbe, task, start).learning_rate > 1e-5
    assert len(set(trials(MLPProbe, start))) == 10


def test_rows_at_a_pole_are_one_place_to_the_nearest_probe():
    pole = np.stack([np.arange(36) * 10.0, np.full(36, -90.0)], 1)
    seam = [[180.0, 10.0], [-180.0, 10.0]]
    lonlat = np.concatenate([pole, seam, equal_area_sample(30, seed=0)])
    vectors = torch.from_numpy(unit_vectors(lonlat)).float()
    values = torch.arange(68.0)
    task = TrainingData(torch.zeros(68, 0), vectors, values, 0, torch.zeros(68, dtype=torch.bool))
    probe = NearestProbe.fit(task, [0])
    assert len(probe.points) == 1 + 1 + 30
    assert probe.values[:2].tolist() == [values[:36].mean(), values[36:38].mean()]
    # Eight places are averaged, not eight names of one place.
    far = probe.scores(torch.zeros(1, 0), torch.tensor([[0.0, 0.0, -1.0]]))
    assert far.item() == pytest.approx(17.5, abs=1e-3)
    codes = torch.tensor([0] * 10 + [2] * 13 + [1] * 13 + [1, 0] + [1] * 30)
    probe = NearestProbe.fit(dataclasses.replace(task, target=codes, n_classes=3), [0])
    # The most frequent class of each place; the lower one of two as frequent.
    assert probe.values.tolist() == [1, 0] + [1] * 30

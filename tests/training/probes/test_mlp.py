"""When a probe stops: on errors, not on how sure it is of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from training.probes import losses, mlp
from training.probes.base import mean_error, place_errors
from training.probes.data import Scale, TrainingData
from training.probes.mlp import NEVER, MLPProbe, MLPSettings
from training.probes.mlp_training import forward
from training.probes.predictions import summarize


def rows(n, target_of, n_classes, seed=0):
    rng = np.random.default_rng(seed)
    features = torch.from_numpy(rng.normal(size=(n, 24)).astype(np.float32))
    return TrainingData(
        features=features,
        vectors=torch.zeros(n, 3),
        target=target_of(features, rng),
        n_classes=n_classes,
        valid=torch.arange(n) % 5 == 0,
    )


def many_classes(features, rng):
    """Thirty classes for few rows: never all right, and ever surer of what is wrong."""
    directions = torch.from_numpy(rng.normal(size=(24, 30)).astype(np.float32))
    return (features @ directions).argmax(dim=1)


def noise(features, rng):
    return torch.from_numpy(rng.normal(size=len(features)).astype(np.float32))


def test_errors_are_shares_of_places_with_their_standard_error():
    scores = torch.tensor([[[2.0, 1.0], [0.0, 1.0], [3.0, 0.0], [0.0, 9.0]]])
    mean, deviation = mean_error(place_errors(scores, torch.tensor([0, 0, 0, 0]), 2))
    assert mean.tolist() == [0.5]
    assert deviation.tolist() == [0.25]
    mean, deviation = mean_error(
        place_errors(torch.tensor([[[1.0], [3.0]]]), torch.tensor([1.0, 1.0]), 0)
    )
    assert mean.tolist() == [2.0]
    assert deviation.tolist() == pytest.approx([2.0 / 2**0.5])


def test_growing_surer_of_the_same_classes_does_not_end_a_run():
    settings, seen = MLPSettings(hidden_dim=64, steps=300, precision="float32"), []
    probe = MLPProbe.fit(
        rows(600, many_classes, 30), [0], settings, on_step=lambda *a: seen.append(float(a[2]))
    )
    # The cross-entropy of the validation rows was least long before: it is no sign to stop.
    assert seen[-1] > 1.2 * min(seen)
    assert len(seen) - int(np.argmin(seen)) > settings.patience
    assert probe.settings["stopped_at"] == 300


def test_errors_that_grow_end_a_run_and_leave_early_weights():
    data = rows(600, noise, 0)
    probe = MLPProbe.fit(data, [0], MLPSettings(hidden_dim=64, steps=600, precision="float32"))
    assert probe.settings["stopped_at"] < 600
    valid = data.part(data.valid)
    found = probe.scores(valid.features, valid.vectors)[0, :, 0]
    # Learned by heart, the noise of others has twice the error of a constant.
    assert float((found - valid.target).square().mean()) < 1.25 * float(valid.target.var())


@pytest.mark.parametrize("n_classes", [30, 700])
def test_classes_without_a_training_row_cost_nothing_and_never_win(n_classes):
    data, step = rows(400, many_classes, n_classes), n_classes // 30
    spread = replace(data, target=data.target * step)
    settings = MLPSettings(hidden_dim=16, steps=40, precision="float32")
    probe = MLPProbe.fit(spread, [0, 1], settings)
    scores = probe.scores(data.features, data.vectors)
    assert scores.shape == (2, 400, n_classes)
    occurring = data.target.unique()
    assert ((scores > NEVER / 2).all(dim=(0, 1)).nonzero()[:, 0] == occurring * step).all()
    # A file of weights that are not finite is refused.
    assert all(tensor.isfinite().all() for tensor in probe.tensors().values())
    # The same products as for a task that has no other classes.
    dense = replace(data, target=data.target.unique(return_inverse=True)[1], n_classes=30)
    alone = MLPProbe.fit(dense, [0, 1], settings).scores(data.features, data.vectors)
    columns = scores[..., occurring * step]
    torch.testing.assert_close(columns, alone[..., : len(occurring)], rtol=0, atol=0)
    best, spread_over_seeds = summarize(scores, True, Scale())
    assert (best % step == 0).all()
    assert spread_over_seeds.isfinite().all()


@pytest.mark.parametrize("n_classes", [0, 30])
def test_many_valid_rows_are_scored_some_at_a_time(n_classes, monkeypatch):
    task = rows(400, many_classes if n_classes else noise, n_classes)
    settings = MLPSettings(steps=40, hidden_dim=16, precision="float32")
    seen = {}
    widest = 0

    def counting(low, x):
        nonlocal widest
        widest = max(widest, len(x))
        return forward(low, x)

    monkeypatch.setattr(mlp, "forward", counting)
    for limit in (20_000_000, 1_000):
        monkeypatch.setattr(mlp, "VALID_SCORES", limit)
        widest, steps = 0, []
        MLPProbe.fit(
            task, [0, 1], settings, on_step=lambda *losses, told=steps: told.append(losses)
        )
        seen[limit] = torch.stack([valid for _, _, valid in steps])
        assert widest == (80 if limit > 1_000 else 1_000 // (2 * max(n_classes, 16)))
    # The order of a float32 sum.
    torch.testing.assert_close(*seen.values(), rtol=1e-5, atol=1e-6)


def test_scoring_that_takes_long_says_how_long(monkeypatch):
    clock = iter([0.0, 10.0, 11.0, 31.0])
    monkeypatch.setattr(losses.time, "perf_counter", lambda: next(clock))
    told = []
    reports = losses.Reports(2, told.append)
    reports.begin(0, "a")
    reports.step(7, torch.tensor([0.5]), torch.tensor([0.25]))
    reports.scored(100, 500)  # at 10 s
    reports.scored(200, 500)  # a second later: 3 s for the other 300, and as much again for b
    assert [each.stage for each in told] == ["probe", "scores"]
    assert told[-1].seconds_left == pytest.approx(3.0 + 14.0)
    assert (told[-1].encoder, told[-1].step, told[-1].loss) == ("a", 7, 0.25)
    assert len(reports.losses) == 1

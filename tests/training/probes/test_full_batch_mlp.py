import numpy as np
import pytest
import torch
from torch import nn

from satclip_explore.geo import equal_area_sample, unit_vectors
from training.probe import train_probe
from training.probes.data import TrainingData
from training.probes.full_batch_mlp import FullBatchMLPProbe, FullBatchMLPSettings
from training.probes.saved import load_probe
from training.tasks.task import Task

STEPS = 30


def training_rows(n_classes=0, n=90, width=7):
    """Features and a standardized target; the first ten are valid rows."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(n, width, generator=generator) * 3 + 1
    value = 8 * torch.tanh(x[:, 0] / 3) + x[:, 1]
    target = (value - value.mean()) / value.std()
    if n_classes:
        target = (x[:, :n_classes] * 2).argmax(1)
    vectors = torch.from_numpy(unit_vectors(equal_area_sample(n, seed=1))).float()
    valid = torch.arange(n) < 10
    return TrainingData(x, vectors, target, n_classes, valid)


def published(data, target, seed, steps):
    """Train PyTorch's own layers, one seed at a time, on all rows; return its predictions."""
    torch.manual_seed(seed)
    first = nn.Linear(data.features.shape[1], 64)
    repeated = nn.Linear(64, 64)
    last = nn.Linear(64, data.n_outputs)
    model = nn.Sequential(first, nn.ReLU(), *[repeated, nn.ReLU()] * 2, last)
    criterion = nn.CrossEntropyLoss() if data.n_classes else nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    for _ in range(steps):
        optimizer.zero_grad()
        scores = model(data.features)
        criterion(scores if data.n_classes else scores[:, 0], target).backward()
        optimizer.step()
    return model(data.features).detach()


@pytest.mark.parametrize("n_classes", [0, 3])
def test_all_seeds_at_once_are_a_plain_loop_for_each(n_classes):
    data = training_rows(n_classes)
    least, span = data.target.min(), data.target.max() - data.target.min()
    target = data.target if n_classes else (data.target - least) / span
    settings = FullBatchMLPSettings(steps=STEPS)
    found = FullBatchMLPProbe.fit(data, (4, 0, 7), settings).scores(data.features, data.vectors)
    for k, seed in enumerate((4, 0, 7)):
        wanted = published(data, target, seed, STEPS)
        if not n_classes:
            wanted = wanted * span + least
        # Sums in another order: 2e-6 here, unless a unit is within rounding of its threshold.
        torch.testing.assert_close(found[k], wanted, rtol=0, atol=5e-5)
        assert (found[k] - found[k - 1]).abs().max() > 1e-2


def test_validation_rows_train_too_and_nothing_stops_early():
    data = training_rows()
    data.target[data.valid] += 3.0
    settings = FullBatchMLPSettings(steps=5)
    seen = []
    probe = FullBatchMLPProbe.fit(
        data, (0,), settings, on_step=lambda step, train, valid: seen.append((step, train, valid))
    )
    before = training_rows()
    other = FullBatchMLPProbe.fit(before, (0,), settings)
    assert not torch.equal(probe.w1, other.w1)
    assert [step for step, _, _ in seen] == [1, 2, 3, 4, 5]
    assert seen[-1][1] < seen[0][1]
    assert torch.isnan(seen[-1][2]).all()
    assert probe.settings["stopped_at"] == 5


def test_it_can_be_stopped():
    class Stop:
        def is_set(self):
            return True

    data = training_rows()
    assert FullBatchMLPProbe.fit(data, (0,), cancel=Stop()).settings["stopped_at"] == 1


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_it_is_a_probe_among_others_from_training_to_a_file(kind, tmp_path):
    lonlat = equal_area_sample(300, seed=2)
    degrees = 30 * np.cos(np.radians(lonlat[:, 1]))
    classes = ("cold", "warm") if kind == "classification" else ()
    target = (degrees > 20).astype(int) if classes else degrees
    task = Task("warmth", kind, lonlat, target, classes)
    result = train_probe(
        task, model="full-batch-mlp", seeds=2, encoder="xyz", baselines=False,
        settings={"steps": 300},
    )  # fmt: skip
    score = result.metrics[result.primary].iloc[0]
    assert score > 0.9 if classes else score < 0.1
    again = load_probe(result.save(tmp_path / "probe.safetensors"))
    here = [(0.0, 10.0), (120.0, -70.0)]
    assert again.predict(here).equals(result.predict(here))
    raster = result.predict_raster(resolution=30.0)
    # The raster folds the first layer into the encoder; the table does not.
    middle = [(float(raster.lon[3]), float(raster.lat[1]))]
    alone = result.predict(middle)["prediction"].iloc[0]
    if not classes:
        assert float(raster[1, 3]) == pytest.approx(alone, abs=1e-3)


def test_a_file_cannot_ask_for_endless_passes():
    data = training_rows()
    probe = FullBatchMLPProbe.fit(data, (0,), FullBatchMLPSettings(steps=1))
    with pytest.raises(ValueError, match="repeats must lie in 0"):
        FullBatchMLPProbe.from_tensors(probe.tensors(), probe.settings | {"repeats": 10**9}, 0)
    with pytest.raises(ValueError, match="'w3' of the probe has shape"):
        FullBatchMLPProbe.from_tensors(probe.tensors(), probe.settings, 3)


def test_it_has_nothing_to_tune():
    with pytest.raises(ValueError, match="needs a probe with a search"):
        train_probe("air_temperature", model="full-batch-mlp", tune=True)

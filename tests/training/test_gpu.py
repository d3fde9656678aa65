"""What an accelerator computes is what the CPU does: `make gpu`, on a machine with CUDA."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import satclip_explore as sx
from satclip_explore.encoders.satclip import SatCLIP
from satclip_explore.encoders.siren import Siren
from satclip_explore.geo import equal_area_sample, unit_vectors
from training.pretrain import pretrain
from training.pretraining.config import PretrainConfig
from training.probe import train_probe
from training.probes.data import TrainingData
from training.probes.registry import MODELS, PROBES

pytestmark = pytest.mark.gpu

PRECISE = 1e-5


def encoder(device):
    """An encoder of the published size with random weights, L = 40."""
    network = Siren(1600, hidden_dim=512, embed_dim=256, num_layers=2, seed=0)
    return SatCLIP(network, 40, name="random-l40").to(device)


def both(work):
    """What a piece of work gives on the CPU and on the accelerator."""
    return np.asarray(work("cpu"), np.float64), np.asarray(work("cuda"), np.float64)


def difference(cpu, gpu):
    """Largest difference, as a share of the largest value."""
    return np.abs(cpu - gpu).max() / np.abs(cpu).max()


@pytest.mark.parametrize("n_places", [8, 20_000])
def test_scattered_places(places, n_places):
    lonlat = np.concatenate([places, equal_area_sample(n_places, seed=0)])
    assert difference(*both(lambda device: encoder(device).embed(lonlat))) < PRECISE


GRID = sx.Grid.from_resolution(10.0)


def pixels(device, precision="float32"):
    """The embeddings of every pixel of a coarse globe, (N, 256)."""
    blocks = encoder(device).iter_grid(GRID, precision=precision)
    return np.concatenate([block.float().cpu().numpy().reshape(-1, 256) for _, block in blocks])


def test_a_grid_is_that_of_the_cpu_and_of_scattered_places():
    cpu, gpu = both(pixels)
    assert difference(cpu, gpu) < PRECISE
    assert difference(encoder("cuda").embed(GRID.lonlat), gpu) < PRECISE


def test_half_the_bits_move_a_grid_by_a_few_parts_in_a_hundred():
    exact, fast = pixels("cuda"), pixels("cuda", "bfloat16")
    assert 0.0 < np.abs(fast - exact).mean() < 0.03 * np.abs(exact).mean()


def test_colors_and_similarity_of_the_globe():
    cpu, gpu = both(
        lambda device: sx.pca_raster(encoder(device), grid=GRID, precision="float32").values
    )
    # A byte of color may round the other way.
    assert np.abs(cpu - gpu).max() <= 1.0
    cpu, gpu = both(
        lambda device: sx.similarity_raster(encoder(device), (13.4, 52.5), grid=GRID).values
    )
    assert np.abs(cpu - gpu).max() < PRECISE


def test_neighbors():
    cpu, gpu = (sx.nearest_neighbors(encoder(device), (36.8, -1.3)) for device in ("cpu", "cuda"))
    np.testing.assert_array_equal(gpu[["lon", "lat"]], cpu[["lon", "lat"]])


def labels(n_classes):
    """Embeddings, places and a target that bends in two of the features."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(600, 12, generator=rng)
    target = torch.tanh(x[:, 0]) + 0.3 * x[:, 1] + 0.1 * torch.randn(600, generator=rng)
    target = (target - target.mean()) / target.std()
    if n_classes:
        target = torch.bucketize(target, target.quantile(torch.linspace(0, 1, n_classes + 1)[1:-1]))
    vectors = torch.from_numpy(unit_vectors(equal_area_sample(600, seed=0))).float()
    return TrainingData(x, vectors, target, n_classes, torch.arange(600) % 10 == 0, gap_km=300.0)


def moved(data):
    """The same labels on the accelerator."""
    tensors = {
        field.name: value.cuda()
        for field in dataclasses.fields(data)
        if isinstance(value := getattr(data, field.name), torch.Tensor)
    }
    return dataclasses.replace(data, **tensors)


@pytest.mark.parametrize("n_classes", [0, 3])
@pytest.mark.parametrize("kind", PROBES)
def test_every_probe(kind, n_classes):
    probe, task = PROBES[kind], labels(n_classes)
    settings = {"mlp": {"steps": 60, "precision": "float32"}, "full-batch-mlp": {"steps": 60}}
    given = probe.as_settings(settings.get(kind))
    fitted = [probe.fit(data, [0, 1], given) for data in (task, moved(task))]
    cpu = fitted[0].scores(task.features, task.vectors)
    gpu = fitted[1].scores(moved(task).features, moved(task).vectors).cpu()
    # float32 products in another order, carried through sixty steps of training.
    loose = 0.05 if kind in settings else 1e-3
    assert (cpu - gpu).abs().mean() < loose * cpu.abs().mean()


@pytest.mark.parametrize("model", ["linear", "mlp"])
def test_a_whole_probe_of_the_atlas(model):
    run = {"shots": 0.1, "region": "Africa", "seeds": 2, "baselines": False, "model": model}
    cpu, gpu = (
        train_probe("biome", encoder="mini-l10", device=device, **run).metrics
        for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(gpu["accuracy"], cpu["accuracy"], atol=0.02)


@pytest.mark.parametrize("model", MODELS)
def test_a_probe_from_a_file_predicts_where_its_encoder_is(model, tmp_path):
    settings = {"steps": 40} if "mlp" in model else None
    result = train_probe(
        "elevation", encoder="mini-l10", device="cuda", shots=200, seeds=2, baselines=False,
        model=model, settings=settings,
    )  # fmt: skip
    kept = sx.load_probe(result.save(tmp_path / "probe"))
    predicted, again = (probe.predict_raster(30.0).to_numpy() for probe in (result, kept))
    np.testing.assert_allclose(again, predicted, atol=1e-3 * np.abs(predicted).max())
    places = equal_area_sample(20, seed=1)
    here, there = (probe.predict(places)["prediction"] for probe in (result, kept))
    np.testing.assert_allclose(there, here, rtol=1e-3, atol=1.0)


def test_pretraining_is_that_of_the_cpu(tmp_path, earth):
    small = {
        "places": 300, "validation_places": 40, "batch_size": 64, "epochs": 4, "legendre_polys": 5,
        "hidden_dim": 32, "embed_dim": 16, "position_eigenfunctions": 3,
        "position_near_features": 1, "scales_km": (100.0, 1000.0), "components": 6,
        "learning_rate": 3e-3,
    }  # fmt: skip
    losses, folders = {}, {}
    for device in ("cpu", "cuda"):
        losses[device] = []
        folders[device] = pretrain(
            PretrainConfig(), data=earth, output=tmp_path / device,
            cache=tmp_path / "cache", on_epoch=losses[device].append, precision="float32",
            device=device, **small,
        )  # fmt: skip
    for cpu, gpu in zip(losses["cpu"], losses["cuda"], strict=True):
        assert gpu.loss == pytest.approx(cpu.loss, rel=0.01)
    lonlat = equal_area_sample(50, seed=0)
    a, b = (sx.load_encoder(folders[device], device="cpu").embed(lonlat) for device in folders)
    assert difference(a, b) < 0.05

"""Frozen image encoders: no gradients, fixed batch statistics, bands in their places."""

from __future__ import annotations

import hashlib
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import pretraining
from training.imagery.backbone_features import BackboneFeatures
from training.imagery.backbones import (
    BACKBONES,
    SSL4EO_BANDS,
    Frozen,
    load_backbone,
    read_backbone_weights,
)
from training.imagery.geotiffs import S2_BANDS
from training.imagery.random_convolutions import RandomConvolutions, random_convolutions
from training.pretraining.config import PretrainConfig
from training.pretraining.extractors import open_extractor


class Images:
    """Seeded images of 12 Sentinel-2 bands; the one of row 3 cannot be read."""

    name, bands, augmentations = "seeded", S2_BANDS, 2

    def __init__(self, n=10, size=20):
        self.lonlat = np.zeros((n, 2))
        self.on_land = np.ones(n, dtype=bool)
        rng = np.random.default_rng(0)
        self.images = rng.random((n, 12, size, size), dtype=np.float32)
        self.images[3, 5, 2, 2] = np.nan

    def read(self, rows, version=0):
        return np.rot90(self.images[rows], version, axes=(2, 3))

    def describe(self):
        return {"source": self.name}


class Tiny(nn.Module):
    """A convolution, batch statistics and an average: 13 bands to 6 features."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(13, 6, 3)
        self.norm = nn.BatchNorm2d(6)

    def forward(self, images):
        return self.norm(self.convolution(images)).mean(dim=(2, 3))


def test_a_frozen_network_has_no_gradients_and_its_batch_statistics_do_not_move():
    frozen = Frozen(Tiny())
    around = nn.Sequential(frozen, nn.Linear(6, 2))
    around.train()
    before = {key: value.clone() for key, value in frozen.state_dict().items()}
    for _ in range(3):
        around(torch.rand(4, 13, 8, 8)).sum().backward()
    assert all(p.grad is None and not p.requires_grad for p in frozen.parameters())
    assert all(p.grad is not None for p in around[1].parameters())
    for key, value in frozen.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


def test_bands_go_where_the_backbone_wants_them_and_b10_is_zero():
    seen = []

    class Spy(nn.Module):
        def forward(self, images):
            seen.append(images)
            return images.mean(dim=(2, 3))

    source = Images()
    features = BackboneFeatures(
        source, Frozen(Spy()), "spy", 13, bands=SSL4EO_BANDS, image_size=16, batch_size=4
    )
    values = features.compute(0)[0]
    assert seen[0].shape[1:] == (13, 16, 16)
    assert (seen[0][:, 10] == 0).all()
    np.testing.assert_array_equal(seen[0][0, 11], source.images[0, 10, 2:18, 2:18])
    assert np.isnan(values[3]).all()
    assert np.isfinite(np.delete(values, 3, axis=0)).all()


def test_blocks_cover_every_image_and_version_once():
    features = BackboneFeatures(Images(), Frozen(nn.Flatten()), "flat", 4800, block_size=4)
    table = np.zeros((2, 10, 4800), dtype=int)
    for block in range(features.blocks):
        table[features.index(block)] += 1
        assert features.compute(block).shape == table[features.index(block)].shape
    assert (table == 1).all()


def test_every_version_is_described_from_its_own_images():
    source = Images()
    values = BackboneFeatures(
        source, Frozen(nn.Flatten()), "flat", 4800, block_size=7, batch_size=3
    ).compute(1)
    assert values.shape == (2, 3, 4800)
    for version in range(2):
        wanted = source.read(np.arange(7, 10), version).reshape(3, 4800)
        np.testing.assert_array_equal(values[version], wanted)


def test_an_error_while_images_are_read_is_raised():
    class Broken(Images):
        def read(self, rows, version=0):
            if rows[0] == 4:
                raise OSError("the disk is gone")
            return super().read(rows, version)

    features = BackboneFeatures(Broken(), Frozen(nn.Flatten()), "flat", 4800, batch_size=2)
    with pytest.raises(OSError, match="the disk is gone"):
        features.compute(0)


def test_batches_do_not_change_the_features():
    torch.manual_seed(0)
    frozen = Frozen(Tiny())
    one, many = (
        BackboneFeatures(Images(), frozen, "tiny", 6, bands=SSL4EO_BANDS, batch_size=b).compute(0)
        for b in (1, 10)
    )
    # float32 sums in another order.
    np.testing.assert_allclose(one, many, rtol=1e-4, atol=1e-5)


def test_bands_that_the_backbone_does_not_know_are_refused():
    source = Images()
    source.bands = ("red", *S2_BANDS[1:])
    with pytest.raises(ValueError, match="the images have 'red'"):
        BackboneFeatures(source, Frozen(Tiny()), "tiny", 6, bands=SSL4EO_BANDS)


def test_random_convolutions_are_seeded_and_tell_images_apart():
    source = Images()
    a, b, other = (random_convolutions(source, n_filters=8, seed=s) for s in (0, 0, 1))
    torch.testing.assert_close(a.patches, b.patches, rtol=0, atol=0)
    assert not torch.equal(a.patches, other.patches)
    values = a(torch.from_numpy(source.images[:3]))
    assert values.shape == (3, 16)
    assert a.dim == 16
    assert (values >= 0).all()
    assert values.std(dim=0).max() > 0


def test_filters_of_another_seed_are_other_features(tmp_path, earth):
    found = [
        open_extractor(
            PretrainConfig().replace(image_encoder="random-convolutions", places=70, seed=seed),
            earth,
        )
        for seed in (0, 1)
    ]
    # The places change too, but not of files: there nothing else told one from the other.
    assert [description["weights"] for _, description in found] == [{"seed": 0}, {"seed": 1}]


def test_weights_of_another_network_are_one_sentence(tmp_path, monkeypatch):
    stub = SimpleNamespace(create_model=lambda *_, **__: Tiny())
    monkeypatch.setitem(sys.modules, "timm", stub)
    path = tmp_path / "mine.pth"
    torch.save({"conv1.weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="does not hold the weights of resnet18"):
        load_backbone("resnet18", path)


def test_the_cost_of_a_step_is_measured(monkeypatch, capsys):
    class Stub(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(13, BACKBONES["resnet18"].dim, 1)

        def forward(self, images):
            return self.layer(images[:, :, :8, :8]).mean(dim=(2, 3))

    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=lambda *_, **__: Stub()))
    arguments = ["--backbone=resnet18", "--batch=16", "--images=2", "--places=60", "--device=cpu"]
    pretraining.main(arguments)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == [
        "resnet18",
        "16 images through the backbone",
    ]
    assert lines[3].startswith("step of 16 pairs, cached features: ")
    assert lines[5].startswith("500 epochs of 100,000 places: ")
    assert re.search(r"matrix products, \w+: \d+% of the rate", lines[6])


def test_random_convolutions_average_both_sides_of_the_threshold():
    filters = torch.zeros(1, 1, 1, 1).fill_(2.0)
    image = torch.tensor([[[[1.0, -1.0], [0.2, 3.0]]]])
    # Responses 2, -2, 0.4, 6; beyond 1: (1 + 5) / 4 above and 1 / 4 below.
    torch.testing.assert_close(
        RandomConvolutions(filters)(image), torch.tensor([[1.5, 0.25]]), rtol=0, atol=1e-6
    )


def test_random_convolutions_need_an_image():
    source = Images(4)
    source.images[:] = np.nan
    with pytest.raises(ValueError, match="no filters to draw"):
        random_convolutions(source)


def test_the_registry_pins_every_file():
    for backbone in BACKBONES.values():
        assert len(backbone.revision) == 40
        assert len(backbone.checksum) == 8
        assert backbone.url.startswith("https://huggingface.co/torchgeo/")
        assert backbone.revision in backbone.url


def test_missing_weights_say_where_they_are(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"none.pth, where https://huggingface.*download=True"
    ):
        read_backbone_weights(BACKBONES["resnet18"], tmp_path / "none.pth", download=False)


def test_a_file_that_is_not_the_published_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("training.imagery.backbones.CACHE", tmp_path)
    path = tmp_path / BACKBONES["resnet18"].filename
    torch.save({"conv1.weight": torch.zeros(1)}, path)
    start = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    with pytest.raises(ValueError, match=f"starts with {start}, not 59bfdff9"):
        read_backbone_weights(BACKBONES["resnet18"], None, download=False)


@pytest.mark.parametrize("prefix", ["", "module.", "module.encoder_q."])
def test_weights_come_with_the_keys_of_timm(tmp_path, prefix):
    path = tmp_path / "mine.pth"
    state = {f"{prefix}conv1.weight": torch.ones(2), f"{prefix}fc.bias": torch.zeros(1)}
    torch.save({"state_dict": state} if prefix else state, path)
    found = read_backbone_weights(BACKBONES["resnet18"], path, download=False)
    assert list(found) == ["conv1.weight"]


def test_a_missing_timm_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match="pip install timm"):
        load_backbone("resnet18")


def test_batch_statistics_are_those_of_the_batch_and_nothing_stays():
    torch.manual_seed(0)
    network = nn.BatchNorm2d(3)
    network.running_mean += 5.0
    images = torch.rand(8, 3, 4, 4)
    own = Frozen(network, batch_statistics=True)
    found = own(images)
    torch.testing.assert_close(found.mean(dim=(0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(own(images), found)


def test_resnets_see_the_whole_tile_and_only_the_transformer_its_center():
    assert {name: each.image_size for name, each in BACKBONES.items()} == {
        "resnet18": 0,
        "resnet50": 0,
        "vit16": 224,
    }

"""Finished runs as embedded encoders and as published files."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from satclip_explore import load_encoder
from satclip_explore.encoders.tensor_files import read_torch_file
from training.export import export_published, export_run, main, with_published_frequencies
from training.pretrain import pretrain
from training.pretraining.checkpoint import PARTS, write_state
from training.pretraining.config import PretrainConfig
from training.pretraining.model import ContrastiveModel, location_encoder

PLACES = [(13.4, 52.5), (-180.0, 90.0), (0.0, -90.0), (-60.0, -3.1)]

SMALL = {
    "places": 300,
    "validation_places": 40,
    "batch_size": 64,
    "epochs": 1,
    "legendre_polys": 5,
    "hidden_dim": 32,
    "embed_dim": 16,
    "position_eigenfunctions": 3,
    "position_near_features": 1,
    "scales_km": (100.0, 1000.0),
    "components": 6,
    "w0_initial": 12.0,
    "w0": 2.0,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def run(earth, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    return pretrain(PretrainConfig(), data=earth, output=folder / "run", **SMALL)


def test_an_exported_encoder_is_small_near_and_described(run, tmp_path):
    folder = export_run(run, tmp_path / "mine")
    stored, exact = load_encoder(folder), load_encoder(run)
    # float16 keeps 11 bits of the weights.
    np.testing.assert_allclose(stored.embed(PLACES), exact.embed(PLACES), atol=2e-2)
    half, whole = ((f / "encoder.safetensors").stat().st_size for f in (folder, run))
    assert half < 0.7 * whole
    text = (folder / "README.md").read_text()
    assert "credit NASA Earth Observatory" in text
    assert "python -m training.pretrain" in text
    assert "| location.legendre_polys | 5 |" in text


def test_a_run_that_saw_the_lights_is_exported_too(lit_earth, tmp_path):
    run = pretrain(
        PretrainConfig(), data=lit_earth, output=tmp_path / "run", night_lights=True, **SMALL
    )
    folder = export_run(run, tmp_path / "mine")
    np.testing.assert_allclose(
        load_encoder(folder).embed(PLACES), load_encoder(run).embed(PLACES), atol=2e-2
    )
    text = (folder / "README.md").read_text()
    assert "Black Marble 2016" in text
    assert "| imagery.night_lights | True |" in text


def test_other_frequencies_move_into_the_weights():
    config = PretrainConfig().replace(**SMALL)
    encoder = location_encoder(ContrastiveModel(config, (9, 9)), config)
    moved = with_published_frequencies(encoder)
    assert encoder.network.frequencies == (12.0, 2.0)
    assert moved.network.frequencies == (30.0, 1.0)
    np.testing.assert_allclose(moved.embed(PLACES), encoder.embed(PLACES), atol=1e-5)


def test_a_published_file_gives_the_same_embeddings(run, tmp_path):
    path = export_published(run, tmp_path / "mine.ckpt")
    encoder = load_encoder(path)
    np.testing.assert_allclose(encoder.embed(PLACES), load_encoder(run).embed(PLACES), atol=1e-5)


def test_a_published_file_has_every_key_that_its_loader_asks_for(run, tmp_path):
    content = read_torch_file(export_published(run, tmp_path / "mine.ckpt"))
    hyper, state = content["hyper_parameters"], content["state_dict"]
    # Arguments of the published module, and the three that its loader takes out first.
    assert hyper.keys() == {
        *("embed_dim", "image_resolution", "vision_layers", "vision_width", "vision_patch_size"),
        *("in_channels", "le_type", "pe_type", "frequency_num", "max_radius", "min_radius"),
        *("legendre_polys", "harmonics_calculation", "sh_embedding_dims", "learning_rate"),
        *("weight_decay", "num_hidden_layers", "capacity"),
        *("eval_downstream", "air_temp_data_path", "election_data_path"),
    }
    visual = {k.removeprefix("model.visual."): tuple(v.shape) for k, v in state.items()
              if k.startswith("model.visual.")}  # fmt: skip
    # What the published transformer holds at zero layers, one pixel, one band.
    norms = {f"{n}.{p}": (64,) for n in ("ln_pre", "ln_post") for p in ("weight", "bias")}
    assert visual == norms | {
        "conv1.weight": (64, 1, 1, 1),
        "class_embedding": (64,),
        "positional_embedding": (2, 64),
        "proj": (64, 16),
    }
    assert (hyper["vision_layers"], hyper["vision_width"]) == (0, 64)
    assert hyper["image_resolution"] == hyper["vision_patch_size"] == hyper["in_channels"] == 1
    layers = [f"{part}.{kind}" for part in ("layers.0", "layers.1", "last_layer")
              for kind in ("weight", "bias")]  # fmt: skip
    assert state.keys() == {
        "model.logit_scale",
        *(f"model.visual.{key}" for key in visual),
        *(f"model.{net}.{layer}" for net in ("nnet", "location.nnet") for layer in layers),
    }


def test_a_run_on_a_backbone_is_exported_whole(tmp_path):
    config = PretrainConfig().replace(**SMALL | {"image_encoder": "resnet18", "components": 0})
    torch.manual_seed(0)
    model = ContrastiveModel(config, (512,))
    features = torch.randn(50, 512) * 2.0 + 1.0
    model.whitening.fit(features.numpy())
    folder = tmp_path / "run"
    folder.mkdir()
    state = dict.fromkeys(PARTS) | {"config": config.to_dict(), "model": model.state_dict()}
    write_state(folder, state)
    weights = tmp_path / "resnet18.pth"
    torch.save({"conv1.weight": torch.ones(2, 2)}, weights)
    path = export_published(folder, tmp_path / "whole.ckpt", backbone_weights=weights)
    content = read_torch_file(path)
    state = content["state_dict"]
    assert content["hyper_parameters"]["vision_layers"] == "moco_resnet18"
    assert torch.equal(state["model.visual.conv1.weight"], torch.ones(2, 2))
    projected = features @ state["model.visual.fc.weight"].T + state["model.visual.fc.bias"]
    ours = model.image_features(model.whitening(features))
    torch.testing.assert_close(
        torch.nn.functional.normalize(projected, dim=1), ours, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("changes", [{"components": 6}, {"contrastive_weight": 0.0}])
def test_an_image_encoder_that_the_layout_cannot_hold_is_left_out(tmp_path, changes):
    settings = {"image_encoder": "resnet18", "components": 0, "regression_weight": 1.0}
    config = PretrainConfig().replace(**SMALL | settings | {"embed_dim": 520} | changes)
    model = ContrastiveModel(config, (512,))
    state = dict.fromkeys(PARTS) | {"config": config.to_dict(), "model": model.state_dict()}
    write_state(tmp_path, state)
    path = export_published(tmp_path, tmp_path / "mine.ckpt")
    assert read_torch_file(path)["hyper_parameters"]["vision_layers"] == 0


def test_a_folder_without_a_run_is_refused(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        export_run(tmp_path, tmp_path / "mine")
    assert main([str(tmp_path), str(tmp_path / "mine")]) == 1
    assert "holds no run" in capsys.readouterr().err


@pytest.mark.parametrize("changes", [{"network.last_layer.weight": torch.zeros(2, 2)}, None])
def test_a_run_of_another_version_is_refused(run, tmp_path, capsys, changes):
    folder = tmp_path / "old"
    shutil.copytree(run, folder)
    state = torch.load(folder / "training.pt", weights_only=True)
    state["model"] = state["model"] | changes if changes else {}
    torch.save(state, folder / "training.pt")
    assert main([str(folder), str(tmp_path / "mine")]) == 1
    assert "was trained by another version of this program" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["mine", "mine.ckpt"])
def test_the_command_line_writes_both_kinds(run, tmp_path, target, capsys):
    assert main([str(run), str(tmp_path / target)]) == 0
    assert load_encoder(tmp_path / target).embed_dim == 16
    assert str(tmp_path / target) in capsys.readouterr().out

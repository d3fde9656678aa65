"""Checkpoints: the published layout made small, our own format, and files that mean harm."""

from __future__ import annotations

import json
import pickle
import resource
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from satclip_explore.encoders.checkpoint import (
    export_lightning,
    read_config,
    read_encoder,
    save_encoder,
)
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.encoders.satclip import SatCLIP
from satclip_explore.encoders.siren import LIMITS, SatCLIPConfig, Siren
from satclip_explore.encoders.tensor_files import read_torch_file, take_tensors, weights_hash

L, HIDDEN, EMBED = 4, 12, 6


def published(prefixes=("model.nnet.", "model.location.nnet."), **hyper) -> dict:
    """A checkpoint as microsoft/satclip writes it, with a small network and image encoder."""
    generator = torch.Generator().manual_seed(3)
    shapes = SatCLIPConfig(L, HIDDEN, 2, EMBED).shapes()
    network = {
        key: torch.rand(shape, generator=generator, dtype=torch.float64) / 5
        for key, shape in shapes.items()
    }
    state = {f"{prefix}{key}": value for prefix in prefixes for key, value in network.items()}
    state |= {"model.logit_scale": torch.tensor(2.6), "model.visual.conv1.weight": torch.ones(3)}
    hyper_parameters = {
        "embed_dim": EMBED,
        "image_resolution": 256,
        "vision_layers": "moco_resnet18",
        "in_channels": 13,
        "le_type": "sphericalharmonics",
        "pe_type": "siren",
        "legendre_polys": L,
        "harmonics_calculation": "analytic",
        "num_hidden_layers": 2,
        "capacity": HIDDEN,
        "eval_downstream": False,
        "air_temp_data_path": "",
        "election_data_path": "",
    }
    return {"epoch": 3, "hyper_parameters": hyper_parameters | hyper, "state_dict": state}


def write(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "satclip-small.ckpt"
    torch.save(content, path)
    return path


def by_hand(content: dict, lonlat: np.ndarray) -> np.ndarray:
    """The published forward pass, spelled out in numpy: 30 in the first sine, 1 in the second."""
    from satclip_explore.encoders.spherical_harmonics import real_spherical_harmonics

    x = real_spherical_harmonics(torch.from_numpy(lonlat), L).numpy()
    w = {k.removeprefix("model.nnet."): v.numpy() for k, v in content["state_dict"].items()}
    for i, w0 in enumerate((30.0, 1.0)):
        x = np.sin(w0 * (x @ w[f"layers.{i}.weight"].T + w[f"layers.{i}.bias"]))
    return x @ w["last_layer.weight"].T + w["last_layer.bias"]


def test_a_published_file_gives_the_published_embeddings(tmp_path, places):
    content = published()
    encoder = read_encoder(write(tmp_path, content), dtype="float64")
    # Sums of a dozen float64 terms in another order: 1e-13 would do.
    np.testing.assert_allclose(encoder.embed(places), by_hand(content, places), rtol=0, atol=1e-12)
    assert encoder.name == "satclip-small"
    assert encoder.harmonics_calculation == "analytic"
    assert len(encoder.weights_hash) == 16


def test_float32_is_the_default_and_close_to_float64(tmp_path, places):
    path = write(tmp_path, published())
    exact, quick = read_encoder(path, dtype="float64"), read_encoder(path)
    assert quick.embed(places).dtype == np.float32
    np.testing.assert_allclose(quick.embed(places), exact.embed(places), rtol=0, atol=1e-4)
    assert quick.weights_hash == exact.weights_hash


@pytest.mark.parametrize("prefix", ["nnet.", "location.nnet.", "model.location.nnet."])
def test_a_slim_file_may_nest_the_network_anywhere(tmp_path, places, prefix):
    full, slim = published(), published(prefixes=(prefix,))
    slim["state_dict"] = {k: v for k, v in slim["state_dict"].items() if "nnet" in k}
    encoder = read_encoder(write(tmp_path, slim), dtype="float64")
    np.testing.assert_allclose(encoder.embed(places), by_hand(full, places), rtol=0, atol=1e-12)


def test_the_convention_of_the_file_is_followed(tmp_path):
    path = write(tmp_path, published(harmonics_calculation="closed-form"))
    assert read_encoder(path).harmonics_calculation == "closed-form"


def test_a_file_without_convention_is_analytic(tmp_path):
    content = published()
    del content["hyper_parameters"]["harmonics_calculation"]
    assert read_encoder(write(tmp_path, content)).harmonics_calculation == "analytic"


def _without(key):
    def edit(content):
        del content["state_dict"][f"model.nnet.{key}"]

    return edit


def _set(key, value):
    def edit(content):
        content["state_dict"][f"model.nnet.{key}"] = value

    return edit


def _hyper(key, value):
    def edit(content):
        content["hyper_parameters"][key] = value

    return edit


def _drop(key):
    def edit(content):
        del content["hyper_parameters"][key]

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_without("layers.1.bias"), "lacks layers.1.bias"),
        (_set("layers.2.bias", torch.zeros(2)), "unexpected layers.2.bias"),
        (_set("layers.0.weight", torch.zeros(HIDDEN, 25)), "must have shape"),
        (_set("layers.0.bias", torch.full((HIDDEN,), torch.nan)), "not finite"),
        (_set("layers.0.bias", torch.full((HIDDEN,), torch.inf)), "not finite"),
        (_set("layers.0.bias", torch.zeros(HIDDEN, dtype=torch.int64)), "floating-point"),
        (_set("layers.0.bias", [0.0] * HIDDEN), "floating-point"),
        (_set("layers.0.bias", torch.zeros(HIDDEN).to_sparse()), "dense"),
        (_set("layers.0.bias", torch.zeros(HIDDEN, dtype=torch.float64)), "two location networks"),
        (_hyper("le_type", "grid"), "le_type='grid'"),
        (_hyper("pe_type", "fcnet"), "pe_type='fcnet'"),
        (_hyper("legendre_polys", 5), "must have shape"),
        (_hyper("legendre_polys", 10**9), "legendre_polys must be a whole number from 1 to 200"),
        (_hyper("legendre_polys", 0), "legendre_polys"),
        (_hyper("capacity", -1), "hidden_dim"),
        (_hyper("capacity", True), "hidden_dim"),
        (_hyper("num_hidden_layers", 2.5), "num_layers"),
        (_hyper("embed_dim", "256"), "embed_dim"),
        (_hyper("harmonics_calculation", "discretized"), "harmonics_calculation"),
        (_drop("capacity"), "lacks the hyper-parameter capacity"),
        (lambda content: content.pop("hyper_parameters"), "must hold hyper_parameters"),
        (lambda content: content.pop("state_dict"), "must hold hyper_parameters"),
        (lambda content: content.update(state_dict={"model.x": torch.ones(1)}), "no location"),
    ],
)
def test_a_file_that_does_not_fit_gets_one_sentence(tmp_path, edit, message):
    content = published()
    edit(content)
    with pytest.raises(ValueError, match=message) as error:
        read_encoder(write(tmp_path, content))
    assert "\n" not in str(error.value)


class _Harm:
    """Unpickling this would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def test_code_inside_a_pickle_is_not_run(tmp_path):
    trace = tmp_path / "trace"
    path = write(tmp_path, published() | {"callbacks": _Harm(str(trace))})
    with pytest.raises(ValueError, match="would run code"):
        read_encoder(path)
    assert not trace.exists()


def test_a_plain_pickle_is_refused_unread(tmp_path):
    trace, path = tmp_path / "trace", tmp_path / "model.ckpt"
    path.write_bytes(pickle.dumps(_Harm(str(trace))))
    with pytest.raises(ValueError, match="not a PyTorch file"):
        read_encoder(path)
    assert not trace.exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, share):
    path = write(tmp_path, published())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="truncated"):
        read_encoder(path)


def test_a_damaged_inside_is_refused(tmp_path):
    path = write(tmp_path, published())
    content = path.read_bytes()
    start = content.index(b"data.pkl") + 60
    path.write_bytes(content[:start] + b"\xff" * 40 + content[start + 40 :])
    with pytest.raises(ValueError, match=r"damaged|run code"):
        read_encoder(path)


def test_another_zip_file_is_refused(tmp_path):
    path = tmp_path / "a.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(ValueError, match="not written by torch.save"):
        read_torch_file(path)


def test_a_compressed_archive_is_refused_before_it_grows(tmp_path):
    path = tmp_path / "a.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\0" * 10_000_000)
    with pytest.raises(ValueError, match="not written by torch.save"):
        read_torch_file(path)


def test_a_bloated_description_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("satclip_explore.encoders.tensor_files.MAX_PICKLE_BYTES", 100)
    with pytest.raises(ValueError, match="at most 100 are read"):
        read_torch_file(write(tmp_path, published()))


def test_a_list_in_a_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must hold a dictionary"):
        read_torch_file(write(tmp_path, [1, 2]))


def test_a_tensor_that_repeats_one_number_without_end_is_refused():
    endless = torch.zeros(1).expand(10**9, 10**6)
    with pytest.raises(ValueError, match="must have shape"):
        take_tensors({"a": endless}, {"a": (10**9, 10**6)}, "x")


def test_a_missing_file_is_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file at"):
        read_encoder(tmp_path / "none.ckpt")
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        read_encoder(tmp_path)


def _resident_bytes() -> int:
    status = Path("/proc/self/statm")
    if not status.is_file():
        pytest.skip("this system does not tell how much memory a process holds")
    return int(status.read_text().split()[1]) * resource.getpagesize()


def test_the_image_encoder_stays_on_disk(tmp_path):
    content = published()
    content["state_dict"]["model.visual.big"] = torch.zeros(16_000_000)
    path = write(tmp_path, content)
    del content
    before = _resident_bytes()
    kept = read_torch_file(path)
    # 64 MB are in the file; what is read of it is a few pages.
    assert _resident_bytes() - before < 16e6
    assert kept["state_dict"]["model.visual.big"].numel() == 16_000_000


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_save_then_load_is_exact(tmp_path, places, dtype):
    encoder = SatCLIP(
        Siren(L * L, HIDDEN, EMBED, 3, w0_initial=20.0, w0=2.0, seed=1),
        L,
        harmonics_calculation="closed-form",
        name="mine",
        dtype=dtype,
    )
    folder = save_encoder(encoder, tmp_path / "mine", card={"steps": 600, "note": "ü"})
    loaded = read_encoder(folder, dtype=dtype)
    np.testing.assert_array_equal(loaded.embed(places), encoder.embed(places))
    assert (loaded.name, loaded.network.frequencies) == ("mine", (20.0, 2.0, 2.0))
    assert read_config(folder)["card"] == {"steps": 600, "note": "ü"}
    from_file = read_encoder(folder / "encoder.safetensors", dtype=dtype, name="other")
    assert (from_file.name, from_file.weights_hash) == ("other", loaded.weights_hash)


def test_float16_storage_halves_the_file_and_stays_close(tmp_path, tiny_encoder, places):
    small = save_encoder(tiny_encoder, tmp_path / "small", storage="float16")
    plain = save_encoder(tiny_encoder, tmp_path / "plain")
    sizes = [(f / "encoder.safetensors").stat().st_size for f in (small, plain)]
    assert sizes[0] < 0.75 * sizes[1]
    # Half precision keeps 11 bits; the first layer's sine multiplies them by 30.
    difference = read_encoder(small).embed(places) - tiny_encoder.embed(places)
    assert 0 < np.abs(difference).max() < 0.05


def test_saving_replaces_what_was_there(tmp_path, tiny_encoder):
    save_encoder(SatCLIP(Siren(16, 12, 6, 2), 4), tmp_path)
    save_encoder(tiny_encoder, tmp_path)
    assert read_encoder(tmp_path).name == "tiny-l5"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "encoder.safetensors"]


def test_weights_beside_an_earlier_configuration_are_refused(tmp_path, tiny_encoder):
    save_encoder(SatCLIP(Siren(25, 12, 8, 1, w0_initial=7.0, seed=1), 5), tmp_path / "new")
    folder = save_encoder(SatCLIP(Siren(25, 12, 8, 1, w0_initial=30.0), 5), tmp_path / "old")
    # What is left where saving is killed between its two files: the shapes fit, the sines do not.
    (tmp_path / "new" / "encoder.safetensors").replace(folder / "encoder.safetensors")
    for path in (folder, folder / "encoder.safetensors"):
        with pytest.raises(ValueError, match="other weights than its config.json describes"):
            read_encoder(path)
    # Before there was a hash none was written into either; so does whoever converts the weights.
    save_file(load_file(folder / "encoder.safetensors"), folder / "encoder.safetensors")
    assert read_encoder(folder).embed_dim == 8


def test_save_refuses_what_could_not_be_read_again(tmp_path, tiny_encoder):
    with pytest.raises(ValueError, match="plain JSON"):
        save_encoder(tiny_encoder, tmp_path, card={"a": object()})
    with pytest.raises(ValueError, match="plain JSON"):
        save_encoder(tiny_encoder, tmp_path, card={"loss": float("nan")})
    with pytest.raises(ValueError, match="storage must be one of"):
        save_encoder(tiny_encoder, tmp_path, storage="int8")
    with torch.no_grad():
        tiny_encoder.network.last_layer.bias[0] = 1e6
    with pytest.raises(ValueError, match="finite in float16"):
        save_encoder(tiny_encoder, tmp_path, storage="float16")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"format_version": 2}, "format_version 2"),
        ({"family": "bert"}, "family 'satclip'"),
        ({"legendre_polys": 6}, "must have shape"),
        ({"w0": 0}, "w0 must be a number above 0"),
        ({"w0_initial": "30"}, "w0_initial must be a number above 0"),
        ({"name": ""}, "name must be text"),
        ({"capacity": 16}, "unknown 'capacity'"),
        ({"embed_dim": None}, "embed_dim must be a whole number"),
        ({"w0": ...}, "lacks 'w0'"),
    ],
)
def test_a_config_that_does_not_fit_gets_one_sentence(tmp_path, tiny_encoder, edit, message):
    folder = save_encoder(tiny_encoder, tmp_path)
    config = json.loads((folder / "config.json").read_text()) | edit
    config = {key: value for key, value in config.items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        read_encoder(folder)


def test_damaged_files_of_our_own_format_are_refused(tmp_path, tiny_encoder):
    folder = save_encoder(tiny_encoder, tmp_path)
    weights = folder / "encoder.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="damaged"):
        read_encoder(folder)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match="no file at"):
        read_encoder(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        read_encoder(folder)
    (folder / "config.json").write_text(" " * 1_000_001)
    with pytest.raises(ValueError, match="too large"):
        read_encoder(folder)


def test_an_exported_file_reads_back_and_is_complete(tmp_path, tiny_encoder, places):
    image = {"conv1.weight": torch.ones(2, 2), "fc.bias": torch.zeros(8)}
    path = export_lightning(
        tiny_encoder, tmp_path / "out" / "x.ckpt", image, hyper_parameters={"in_channels": 3}
    )
    np.testing.assert_array_equal(read_encoder(path).embed(places), tiny_encoder.embed(places))
    content = read_torch_file(path)
    hyper = content["hyper_parameters"]
    # What get_satclip pops, then what SatCLIPLightningModule takes: one key more is a TypeError.
    for popped in ("eval_downstream", "air_temp_data_path", "election_data_path"):
        del hyper[popped]
    assert set(hyper) == {
        *("embed_dim", "image_resolution", "vision_layers", "vision_width", "vision_patch_size"),
        *("in_channels", "le_type", "pe_type", "frequency_num", "max_radius", "min_radius"),
        *("legendre_polys", "harmonics_calculation", "sh_embedding_dims", "learning_rate"),
        *("weight_decay", "num_hidden_layers", "capacity"),
    }
    assert (hyper["in_channels"], hyper["capacity"], hyper["legendre_polys"]) == (3, 16, 5)
    keys = set(content["state_dict"])
    assert {"model.logit_scale", "model.visual.conv1.weight", "model.visual.fc.bias"} < keys
    assert {k[len("model.nnet.") :] for k in keys if k.startswith("model.nnet.")} == {
        k[len("model.location.nnet.") :] for k in keys if k.startswith("model.location.nnet.")
    }
    assert content["state_dict"]["model.nnet.layers.0.weight"].dtype == torch.float64


def test_export_refuses_what_the_layout_cannot_state(tmp_path, tiny_encoder):
    other = SatCLIP(Siren(16, 12, 6, 2, w0_initial=20.0), 4)
    with pytest.raises(ValueError, match="w0_initial=30"):
        export_lightning(other, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match="got 'capacity'"):
        export_lightning(tiny_encoder, tmp_path / "x.ckpt", hyper_parameters={"capacity": 1})


def test_the_hash_follows_values_names_and_types():
    base = {"a": torch.zeros(3), "b": torch.ones(2)}
    same = {"b": torch.ones(2), "a": torch.zeros(3)}
    assert weights_hash(base) == weights_hash(same)
    changed = [
        {"a": torch.zeros(3), "b": torch.ones(2) * 2},
        {"a": torch.zeros(3), "c": torch.ones(2)},
        {"a": torch.zeros(3).double(), "b": torch.ones(2)},
        {"a": torch.zeros(3), "b": torch.ones(2, 1)},
    ]
    assert len({weights_hash(base), *map(weights_hash, changed)}) == 5


def test_every_limit_is_a_field_of_the_config():
    for key, largest in LIMITS.items():
        sizes = {"legendre_polys": 1, "hidden_dim": 1, "num_layers": 1, "embed_dim": 1}
        assert getattr(SatCLIPConfig(**(sizes | {key: largest})), key) == largest
        with pytest.raises(ValueError, match=key):
            SatCLIPConfig(**(sizes | {key: largest + 1}))


def test_the_hubs_safetensors_give_the_same_encoder(tmp_path, tiny_encoder, places):
    """`MVRL/satclip-loc-enc-*`: the location network alone, in float64, without settings."""
    state = tiny_encoder.network.state_dict()
    whole = {f"location.nnet.{key}": value.double() for key, value in state.items()}
    save_file(whole, tmp_path / "model.safetensors")
    for path in (tmp_path, tmp_path / "model.safetensors"):
        encoder = load_encoder(path)
        np.testing.assert_array_equal(encoder.embed(places), tiny_encoder.embed(places))
        assert (encoder.name, encoder.legendre_polys) == (path.stem, 5)
        assert encoder.harmonics_calculation == "analytic"
    (tmp_path / "config.json").write_text("{}")
    assert load_encoder(tmp_path, name="mine").name == "mine"
    with pytest.raises(ValueError, match="not the published satclip-vit16-l40"):
        load_encoder("satclip-vit16-l40", path=tmp_path)
    del whole["location.nnet.layers.1.bias"]
    save_file(whole, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"lacks layers.1.bias"):
        load_encoder(tmp_path)
    del whole["location.nnet.last_layer.weight"]
    save_file(whole, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="lacks the first or the last layer"):
        load_encoder(tmp_path)


def test_a_file_in_the_cache_that_is_another_models_is_refused(tmp_path):
    cached = tmp_path / "encoders" / "satclip-vit16-l10" / "satclip-vit16-l10.ckpt"
    cached.parent.mkdir(parents=True)
    torch.save(published(), cached)
    with pytest.raises(ValueError, match="is not the published satclip-vit16-l10: its numbers"):
        load_encoder("satclip-vit16-l10", cache=tmp_path)


def test_weights_of_eight_bits_are_one_sentence(tmp_path, tiny_encoder):
    """Their scales are kept elsewhere; those of sixteen bits are read as they are."""
    folder = tiny_encoder.save(tmp_path / "e")
    path = folder / "encoder.safetensors"
    state = load_file(path)
    for kind in (torch.bfloat16, torch.float8_e4m3fn):
        save_file({key: value.to(kind) for key, value in state.items()}, path)
        if kind is torch.bfloat16:
            assert np.isfinite(read_encoder(folder).embed((13.4, 52.5))).all()
    with pytest.raises(ValueError, match="float8_e4m3fn, whose scales are kept elsewhere"):
        read_encoder(folder)

"""Names to encoders: what is at hand, what is not, and what may be fetched."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import satclip_explore as sx
from satclip_explore.encoders import registry, weights
from satclip_explore.encoders.baselines import Baseline
from satclip_explore.encoders.cards import CARDS
from satclip_explore.encoders.checkpoint import export_lightning, save_encoder
from satclip_explore.encoders.download import DownloadError
from satclip_explore.encoders.geoclip import weight_shapes
from satclip_explore.encoders.registry import WeightsNotFoundError, list_encoders, load_encoder
from satclip_explore.encoders.satclip import SatCLIP
from satclip_explore.encoders.siren import Siren


def test_every_promised_name_is_registered():
    promised = [
        *(f"satclip-{b}-l{n}" for b in ("resnet18", "resnet50", "vit16") for n in (10, 40)),
        *[
            "csp-fmow",
            "csp-inat",
            "gps2vec-tag",
            "gps2vec-visual",
            "mosaiks",
            "geoclip",
            "lonlat",
            "xyz",
            "wrap",
        ],
        *["harmonics-l10", "harmonics-l40", "random-l10", "random-l40", "mini-l40", "mini-l10"],
    ]
    assert set(promised) <= set(CARDS)
    assert sum(name.startswith("torchspatial-") for name in CARDS) == 12


def test_the_list_tells_what_is_at_hand(tmp_path):
    table = list_encoders(cache=tmp_path)
    assert isinstance(table, pd.DataFrame)
    assert list(table.columns[:6]) == ["name", "family", "dim", "license", "size_mb", "available"]
    at_hand = table.set_index("name")["available"]
    assert at_hand["xyz"]
    assert at_hand["random-l40"]
    assert not at_hand["satclip-vit16-l40"]
    assert not at_hand["gps2vec-tag"]
    card = CARDS["satclip-vit16-l40"]
    path = tmp_path / "encoders" / card.name / card.filename
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(2_500_000))
    row = list_encoders(cache=tmp_path).set_index("name").loc[card.name]
    assert (row["available"], row["size_mb"], row["family"]) == (True, 2.5, "satclip")


def test_every_card_says_who_what_and_where():
    for card in CARDS.values():
        assert card.authors
        assert card.license
        assert card.training_data
        assert card.source
        assert card.year >= 2019
        assert card.factory or not (card.url and card.repo_id)
        # Exactly one way to get it: embedded, computed, by hand, from the hub or by address.
        ways = [card.factory, card.embedded, card.manual, card.repo_id, card.url]
        assert sum(map(bool, ways)) == 1, card.name
        assert card.sha256 is None or len(card.sha256) == 64


def load_constant(name, *, value=1.0, dtype="float32", device="auto"):
    def features(lonlat):
        return torch.full_like(lonlat[:, :1], value)

    return Baseline(features, 1, name=name, dtype=dtype, device=device)


def test_a_card_that_names_its_factory_is_all_that_an_encoder_needs(monkeypatch):
    card = replace(CARDS["xyz"], name="constant", dim=1, factory=f"{__name__}:load_constant")
    monkeypatch.setitem(CARDS, card.name, card)
    encoder = sx.load_encoder("constant", dtype="float64")
    assert encoder.embed([(0.0, 0.0), (90.0, 45.0)]).tolist() == [[1.0], [1.0]]
    assert (encoder.name, encoder.dtype) == ("constant", torch.float64)
    assert sx.load_encoder("constant", value=2.0).embed((0.0, 0.0)).tolist() == [[2.0]]
    assert sx.list_encoders().set_index("name").loc["constant", "available"]
    with pytest.raises(TypeError, match="constant has the options value; got 'valu'"):
        sx.load_encoder("constant", valu=2.0)


@pytest.mark.parametrize(
    ("name", "closest"),
    [
        ("satclip-vit-l40", "satclip-vit16-l40"),
        ("csp_fmow", "csp-fmow"),
        ("XYZZ", "xyz"),
        ("torchspatial-fmow", "torchspatial-fmow-xyz"),
        ("mini", "mini-l40"),
    ],
)
def test_an_unknown_name_gets_the_closest(name, closest):
    with pytest.raises(ValueError, match=f"closest: .*{closest}"):
        load_encoder(name)


def test_harmonics_of_any_degree_load_without_being_listed():
    assert load_encoder("harmonics-l20").embed_dim == 400
    assert load_encoder("random-l7").name == "random-l7"
    with pytest.raises(ValueError, match="L from 1 to 200"):
        load_encoder("harmonics-l999")


def test_names_may_be_typed_in_capitals():
    assert load_encoder("XYZ").name == "xyz"


def test_a_path_that_is_not_there_is_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        load_encoder(tmp_path / "none.ckpt")


def test_missing_weights_say_how_to_get_them(tmp_path):
    with pytest.raises(WeightsNotFoundError, match="download=True") as error:
        load_encoder("satclip-vit16-l40", cache=tmp_path)
    assert isinstance(error.value, FileNotFoundError)
    assert isinstance(error.value, ValueError)
    with pytest.raises(WeightsNotFoundError, match="only be downloaded by hand.*dropbox"):
        load_encoder("csp-fmow", cache=tmp_path, download=True)
    with pytest.raises(WeightsNotFoundError, match="no weights of geoclip at"):
        load_encoder("geoclip", path=tmp_path / "x.pth")


def test_missing_embedded_weights_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "EMBEDDED", tmp_path)
    with pytest.raises(WeightsNotFoundError, match=r"mini-l40 are missing from this installation"):
        load_encoder()


def test_the_default_is_the_embedded_encoder(tmp_path, monkeypatch, tiny_encoder, places):
    monkeypatch.setattr(weights, "EMBEDDED", tmp_path)
    save_encoder(tiny_encoder, tmp_path / "mini-l40", storage="float16")
    encoder = sx.load_encoder()
    assert (encoder.name, encoder.dtype) == ("mini-l40", torch.float32)
    assert encoder.embed(places).shape == (8, 8)
    assert encoder.weights_hash


def test_the_family_is_read_from_the_content(tmp_path, tiny_encoder, places):
    path = export_lightning(tiny_encoder, tmp_path / "anything.bin")
    np.testing.assert_array_equal(load_encoder(path).embed(places), tiny_encoder.embed(places))
    folder = save_encoder(tiny_encoder, tmp_path / "own")
    np.testing.assert_array_equal(load_encoder(folder).embed(places), tiny_encoder.embed(places))
    assert load_encoder(path, name="mine").name == "mine"
    published = export_lightning(load_encoder("random-l10"), tmp_path / "published.bin")
    named = load_encoder("satclip-resnet18-l10", path=published)
    assert named.name == "satclip-resnet18-l10"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("satclip-resnet18-l40", "its degrees should be 40; got 10"),
        ("satclip-vit16-l10", None),
        ("csp-fmow", "must hold params"),
    ],
)
def test_a_file_of_another_model_is_not_taken_for_a_published_one(tmp_path, name, message):
    path = export_lightning(load_encoder("random-l10"), tmp_path / "published.bin")
    if message is None:
        assert load_encoder(name, path=path).legendre_polys == 10
        return
    with pytest.raises(ValueError, match=message):
        load_encoder(name, path=path)


def test_weights_with_a_known_hash_are_compared_with_it(tmp_path):
    torch.save(
        {key: torch.zeros(shape) for key, shape in weight_shapes().items()}, tmp_path / "g.pth"
    )
    with pytest.raises(ValueError, match=r"not the published geoclip: its SHA-256 should be 94b8"):
        load_encoder("geoclip", path=tmp_path / "g.pth")
    assert load_encoder(tmp_path / "g.pth", name="mine").name == "mine"


def test_a_mistyped_keyword_names_the_closest():
    with pytest.raises(TypeError, match=r"got 'dowload'\. Did you mean download\?"):
        load_encoder("xyz", dowload=True)
    with pytest.raises(TypeError, match=r"takes no argument 'cach'\. Did you mean cache\?"):
        list_encoders(cach=".")


def test_a_file_of_no_known_family_is_refused(tmp_path):
    torch.save({"weights": torch.ones(2)}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="no encoder that is known here"):
        load_encoder(tmp_path / "x.pt")


def test_a_folder_of_zones_asks_which_kind(tmp_path):
    (tmp_path / "model_48 N.h5").touch()
    with pytest.raises(ValueError, match="gps2vec-visual"):
        load_encoder(tmp_path)


def test_a_folder_stands_for_the_published_file_in_it(tmp_path):
    export_lightning(load_encoder("random-l10"), tmp_path / CARDS["satclip-vit16-l10"].filename)
    assert load_encoder("satclip-vit16-l10", path=tmp_path).name == "satclip-vit16-l10"


def test_a_hidden_layer_is_an_encoder(places):
    whole = load_encoder("random-l10", dtype="float64")
    last = load_encoder("random-l10", dtype="float64", layer=1)
    assert (last.name, last.embed_dim) == ("random-l10:layer1", 512)
    head = whole.network.last_layer
    rebuilt = last.embed(places) @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    np.testing.assert_allclose(rebuilt, whole.embed(places), rtol=0, atol=1e-12)


@pytest.mark.parametrize("layer", [-1, 2, 1.0, True])
def test_a_layer_that_is_not_there_is_refused(layer):
    with pytest.raises(ValueError, match="layer must lie in 0 … 1"):
        load_encoder("random-l10", layer=layer)


def test_a_layer_needs_a_siren():
    with pytest.raises(ValueError, match="needs an encoder with a Siren"):
        load_encoder("xyz", layer=0)


def test_a_layer_of_a_grid_equals_its_pixels():
    from satclip_explore.geo import Grid

    grid = Grid((-10.0, 40.0, 10.0, 50.0), (3, 4))
    encoder = load_encoder("random-l10", layer=0)
    rows = torch.cat([values.clone() for _, values in encoder.iter_grid(grid)]).reshape(12, -1)
    np.testing.assert_allclose(rows.numpy(), encoder.embed(grid.lonlat), rtol=0, atol=1e-5)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A stand-in for the hub's client that serves one small checkpoint and counts."""
    huggingface_hub = pytest.importorskip("huggingface_hub")
    network = Siren(100, hidden_dim=8, embed_dim=256, num_layers=2, seed=0)
    source = export_lightning(SatCLIP(network, 10), tmp_path / "hub.ckpt")

    class Facts:
        commit_hash = "c" * 40
        etag = hashlib.sha256(source.read_bytes()).hexdigest()

    class Hub:
        calls: list[str] = []  # noqa: RUF012
        facts = Facts
        failure: Exception | None = None

    def fetch(repo_id, filename, *, revision, local_dir):
        if Hub.failure:
            raise Hub.failure
        Hub.calls.append(f"{repo_id}@{revision}:{filename}")
        (local_dir).mkdir(parents=True, exist_ok=True)
        (local_dir / filename).write_bytes(source.read_bytes())
        return str(local_dir / filename)

    Hub.calls = []
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda url: Hub.facts)
    return Hub


def test_a_download_is_made_once_and_only_when_asked(hub, tmp_path):
    cache = tmp_path / "cache"
    with pytest.raises(WeightsNotFoundError):
        load_encoder("satclip-resnet18-l10", cache=cache)
    assert hub.calls == []
    for download in (True, True, False):
        encoder = load_encoder("satclip-resnet18-l10", cache=cache, download=download)
        assert encoder.name == "satclip-resnet18-l10"
    assert hub.calls == [f"microsoft/SatCLIP-ResNet18-L10@{'c' * 40}:satclip-resnet18-l10.ckpt"]


def test_a_download_with_another_hash_is_removed(hub, tmp_path):
    hub.facts = type("Facts", (), {"commit_hash": None, "etag": "0" * 64})
    with pytest.raises(DownloadError, match="not the expected file"):
        load_encoder("satclip-resnet18-l10", cache=tmp_path / "c", download=True)
    assert not list((tmp_path / "c").rglob("*.ckpt"))


def test_the_hash_of_the_first_download_is_remembered(hub, tmp_path):
    hub.facts = type("Facts", (), {"commit_hash": None, "etag": "a" * 40})
    load_encoder("satclip-resnet18-l10", cache=tmp_path / "c", download=True)
    path = next((tmp_path / "c").rglob("*.ckpt"))
    path.unlink()
    record = path.with_name(path.name + ".sha256")
    record.write_text("0" * 64)
    with pytest.raises(DownloadError, match="not the expected file"):
        load_encoder("satclip-resnet18-l10", cache=tmp_path / "c", download=True)


def test_a_failing_hub_is_one_sentence(hub, tmp_path):
    hub.failure = OSError("no route")
    with pytest.raises(DownloadError, match="could not be fetched from huggingface.co/microsoft"):
        load_encoder("satclip-resnet18-l10", cache=tmp_path, download=True)


def test_a_missing_hub_client_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModuleNotFoundError, match="pip install huggingface_hub"):
        load_encoder("satclip-resnet18-l10", cache=tmp_path, download=True)


def test_a_file_by_address_is_fetched_with_its_hash(monkeypatch, tmp_path, shared):
    name = "torchspatial-fmow-xyz"
    source = shared / "weights" / "torchspatial" / CARDS[name].filename

    def fetch(url, path, sha256, on_progress):
        assert url.startswith("https://raw.githubusercontent.com/seai-lab/TorchSpatial/")
        assert sha256 == CARDS[name].sha256
        path.parent.mkdir(parents=True)
        path.write_bytes(source.read_bytes())
        return path

    monkeypatch.setattr(weights, "download_file", fetch)
    encoder = load_encoder(name, cache=tmp_path, download=True)
    assert (encoder.name, encoder.embed_dim) == (name, 256)


def test_the_loaders_all_exist():
    for family in registry._LOADERS:
        assert callable(registry._loader(family))
        assert registry._loader(family, 2) is None or callable(registry._loader(family, 2))
    families = {card.family for card in CARDS.values()} - {"baseline"}
    # What is made of encoders, or read from a product, has no card.
    others = {
        "concat",
        "mapped",
        "raster",
        "arrays",
        "points",
        "onnx",
        "stac",
        "vrt",
        "bare-satclip",
    }
    assert families | others == set(registry._LOADERS)


def test_loading_encoders_imports_nothing_optional():
    """A fresh interpreter: what the registry pulls in is what everybody has installed."""
    code = (
        "import sys, satclip_explore.encoders.registry as r; r.load_encoder('xyz'); "
        "r.list_encoders(); "
        "print(*sorted({'h5py', 'scipy', 'huggingface_hub', 'timm', "
        "'lightning', 'torchgeo', 'panel'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []

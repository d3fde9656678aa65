"""Files by address: only when asked, once, and within the cache's size."""

from __future__ import annotations

import shutil

import pytest

from satclip_explore.encoders import remote_files
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.encoders.weights import WeightsNotFoundError

URL = "https://example.org/models/{}.onnx?version=2"


@pytest.fixture
def fetched(tmp_path, tiny_encoder, monkeypatch):
    """What was asked of the network, which answers with one small file."""
    pytest.importorskip("onnxruntime")
    source, urls = tiny_encoder.to_onnx(tmp_path / "source.onnx"), []

    def download_file(url, path, *, max_bytes):
        assert max_bytes == remote_files.MAX_CACHE_BYTES
        urls.append(url)
        path.parent.mkdir(parents=True)
        shutil.copy(source, path)

    monkeypatch.setattr(remote_files, "download_file", download_file)
    return urls


def test_an_address_is_fetched_when_asked_for_and_once(tmp_path, fetched, tiny_encoder):
    url = URL.format("tiny")
    with pytest.raises(WeightsNotFoundError, match="is not on this machine.*download=True"):
        load_encoder(url, cache=tmp_path)
    assert fetched == []
    for download in (True, False):
        encoder = load_encoder(url, cache=tmp_path, download=download)
        assert encoder.embed_dim == tiny_encoder.embed_dim
    assert fetched == [url]


def test_the_oldest_gives_way_when_the_cache_is_full(tmp_path, fetched, monkeypatch):
    size = (tmp_path / "source.onnx").stat().st_size
    monkeypatch.setattr(remote_files, "MAX_CACHE_BYTES", int(2.5 * size))
    for name in "abc":
        load_encoder(URL.format(name), cache=tmp_path, download=True)
    kept = sorted(path.name for path in (tmp_path / "addresses").rglob("*.onnx"))
    assert kept == ["b.onnx", "c.onnx"]


@pytest.mark.parametrize("url", ["http://example.org/a.tif", "https:///a.tif"])
def test_an_address_that_is_not_allowed_is_one_sentence(tmp_path, url):
    with pytest.raises(ValueError, match="https") as error:
        load_encoder(url, cache=tmp_path, download=True)
    assert "\n" not in str(error.value)


def test_an_address_cannot_leave_its_folder_in_the_cache(tmp_path, fetched):
    for end in ("%2e%2e", "..", "a/%2e%2e%2f%2e%2e%2fx.onnx"):
        try:
            load_encoder(f"https://example.org/{end}", cache=tmp_path / "cache", download=True)
        except ValueError:
            continue
    assert {f.name for f in tmp_path.iterdir()} <= {"cache", "source.onnx"}
    assert all("addresses" in f.parts for f in (tmp_path / "cache").rglob("*") if f.is_file())

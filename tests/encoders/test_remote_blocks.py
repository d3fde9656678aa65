"""Products on a server of this machine: only the parts that places lie in are fetched, and kept."""

from __future__ import annotations

import json
import os
import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import satclip_explore as sx
from satclip_explore.encoders import download, remote_blocks, remote_files
from satclip_explore.encoders.download import DownloadError
from satclip_explore.encoders.weights import WeightsNotFoundError

zarr = pytest.importorskip("zarr")
rasterio = pytest.importorskip("rasterio")

BLOCK = 1 << 14


class Handler(SimpleHTTPRequestHandler):
    """Serves parts of files, and does what `server.fault` says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        fault, path = self.server.fault, self.translate_path(self.path)
        self.server.asked.append(self.path)
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError:
            return self.send_error(404)
        if fault == "stalls":
            self.server.go_on.wait(5)
            return self.send_error(500)
        if fault == "elsewhere":
            self.send_response(301)
            self.send_header("x-amz-bucket-region", "us-west-2")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if fault == "redirects":
            self.send_response(302)
            self.send_header("Location", "ftp://localhost/a.tif")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        wanted = self.headers["Range"] or f"bytes=0-{len(content) - 1}"
        first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", wanted).groups())
        part = content if fault == "no parts" else content[first : last + 1]
        self.send_response(200 if fault == "no parts" else 206)
        self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", "other" if fault == "changes" else "one")
        self.end_headers()
        self.server.sent += len(part)
        self.wfile.write(part)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    encoder = sx.load_encoder("xyz")
    sx.export_embeddings(encoder, folder / "a.tif", 0.4)
    sx.export_embeddings(encoder, folder / "a.zarr", 0.5, quantize="int8")
    return folder


@pytest.fixture
def server(files, monkeypatch):
    monkeypatch.setattr(remote_blocks, "BLOCK", BLOCK)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=files)) as http:
        http.fault, http.asked, http.sent, http.go_on = "", [], 0, threading.Event()
        http.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield http
        http.go_on.set()
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_the_parts_that_places_lie_in_are_fetched_once(tmp_path, server, files, name):
    places = np.array([[13.4, 52.5], [13.9, 52.1], [-70.7, -33.4]])
    url = f"{server.url}/{name}"
    encoder = sx.load_encoder(url, cache=tmp_path, download=True)
    found = encoder.embed(places)
    np.testing.assert_array_equal(found, sx.load_encoder(files / name).embed(places))
    paths = [files / name] if name == "a.tif" else (files / name).rglob("*")
    whole = sum(path.stat().st_size for path in paths if path.is_file())
    assert 0 < server.sent < whole / 2
    server.asked.clear()
    again = sx.load_encoder(url, cache=tmp_path)
    np.testing.assert_array_equal(again.embed(places), found)
    assert again.weights_hash == encoder.weights_hash
    assert server.asked == []
    with pytest.raises(WeightsNotFoundError, match="a part of .* is not on this machine"):
        again.embed([[140.0, -20.0]])


def test_a_store_on_a_server_is_not_written(tmp_path, server):
    store = remote_blocks.remote_store(f"{server.url}/a.zarr", tmp_path, True)
    group = zarr.open_group(store, mode="r")
    with pytest.raises(ValueError, match="read-only"):
        group["embedding"][0] = 0


def test_the_signature_of_an_address_goes_with_every_part(tmp_path, server, files):
    url = f"{server.url}/a.zarr?sv=2024&sig=x%2Fy"
    encoder = sx.load_encoder(url, cache=tmp_path, download=True)
    places = [[13.4, 52.5]]
    np.testing.assert_array_equal(
        encoder.embed(places), sx.load_encoder(files / "a.zarr").embed(places)
    )
    assert all(path.endswith("?sv=2024&sig=x%2Fy") for path in server.asked)


def test_nothing_is_asked_unless_it_may_be(tmp_path, server):
    for name in ("a.tif", "a.zarr"):
        with pytest.raises(WeightsNotFoundError, match="download=True"):
            sx.load_encoder(f"{server.url}/{name}", cache=tmp_path)
    assert server.asked == []


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("stalls", "timed out"),
        ("redirects", "could not be fetched|https only"),
        ("no parts", "does not serve parts"),
        ("elsewhere", "lies in us-west-2: ask https://s3.us-west-2.amazonaws.com/"),
    ],
)
@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_a_server_that_does_not_serve_is_one_sentence(
    tmp_path, server, monkeypatch, name, fault, message
):
    monkeypatch.setattr(download, "TIMEOUT_S", 0.3)
    server.fault = fault
    with pytest.raises(DownloadError, match=message) as error:
        sx.load_encoder(f"{server.url}/{name}", cache=tmp_path, download=True)
    assert "\n" not in str(error.value)
    server.fault = ""
    encoder = sx.load_encoder(f"{server.url}/{name}", cache=tmp_path, download=True)
    server.fault = fault
    with pytest.raises(DownloadError, match=message):
        encoder.embed([[140.0, -20.0]])


def test_versions_of_a_file_are_not_mixed(tmp_path, server):
    encoder = sx.load_encoder(f"{server.url}/a.tif", cache=tmp_path, download=True)
    server.fault = "changes"
    with pytest.raises(DownloadError, match="changed while it was read; load it again"):
        encoder.embed([[140.0, -20.0]])
    fresh = sx.load_encoder(f"{server.url}/a.tif", cache=tmp_path, download=True)
    assert np.isfinite(fresh.embed([[140.0, -20.0]])).all()
    assert fresh.weights_hash != encoder.weights_hash


def test_what_is_kept_is_bounded(tmp_path, server, monkeypatch):
    monkeypatch.setattr(remote_files, "MAX_CACHE_BYTES", 20 * BLOCK)
    monkeypatch.setattr(remote_files, "ROOM_EVERY", 1)
    encoder = sx.load_encoder(f"{server.url}/a.tif", cache=tmp_path, download=True)
    encoder.embed([[lon, lat] for lon in (-170, 0, 170) for lat in (-60, 60)])
    kept = [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(kept) <= 20 * BLOCK < server.sent


def test_parts_that_were_cut_changed_or_swapped_are_fetched_again(tmp_path, server):
    places = [[lon, lat] for lon in (-170, 0, 170) for lat in (-60, 60)]
    encoder = sx.load_encoder(f"{server.url}/a.tif", cache=tmp_path, download=True)
    expected = encoder.embed(places)
    kept = sorted((path for path in tmp_path.rglob("*") if path.name.isdigit()), key=str)
    contents = [path.read_bytes() for path in kept]
    cut, changed, *middle, first, second = contents
    bad = [cut[:-1], bytes([changed[0] ^ 1]) + changed[1:], *middle, second, first]
    for path, content in zip(kept, bad, strict=True):
        path.write_bytes(content)
    again = sx.load_encoder(f"{server.url}/a.tif", cache=tmp_path, download=True)
    np.testing.assert_array_equal(again.embed(places), expected)
    assert [path.read_bytes() for path in kept] == contents


@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_a_part_that_cannot_be_kept_is_no_part_without_data(tmp_path, server, monkeypatch, name):
    encoder = sx.load_encoder(f"{server.url}/{name}", cache=tmp_path, download=True)

    def fail(*_):
        raise FileNotFoundError(2, "cannot write it.")

    monkeypatch.setattr(remote_blocks, "write_whole", fail)
    with pytest.raises(DownloadError, match="cannot write it"):
        encoder.embed([[140.0, -20.0]])


def test_files_that_vanish_while_room_is_made_are_passed_over(tmp_path, monkeypatch):
    """Parts are fetched by several threads, and each of them makes room."""
    for name in "ab":
        (tmp_path / name).write_bytes(b"1")
    stat = Path.stat

    def vanish(path, **options):
        facts = stat(path, **options)
        if path.parent == tmp_path:
            for name in os.listdir(tmp_path):
                os.remove(tmp_path / name)
        return facts

    monkeypatch.setattr(Path, "stat", vanish)
    remote_files._make_room(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_file_that_is_not_there_and_a_store_that_lists_nothing(tmp_path, server, files):
    with pytest.raises(FileNotFoundError, match=r"the server has no http.*b\.tif"):
        sx.load_encoder(f"{server.url}/b.tif", cache=tmp_path, download=True)
    group = zarr.open_group(files / "bare.zarr", mode="w")
    group.create_array("embedding", shape=(2, 2, 2), dtype="f4")
    with pytest.raises(ValueError, match="does not list its arrays"):
        sx.load_encoder(f"{server.url}/bare.zarr", cache=tmp_path, download=True)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("s3://embeddings/a.tif", "https://embeddings.s3.amazonaws.com/a.tif"),
        (
            "s3://us-west-2.opendata/tge/a.tif",
            # A certificate of *.s3.amazonaws.com covers no name with more dots.
            "https://s3.amazonaws.com/us-west-2.opendata/tge/a.tif",
        ),
        ("gs://embeddings/2024/a.zarr", "https://storage.googleapis.com/embeddings/2024/a.zarr"),
    ],
)
def test_public_buckets_are_asked_on_the_web(tmp_path, monkeypatch, url, address):
    asked = []
    monkeypatch.setattr(remote_blocks, "fetch_range", lambda *call: asked.append(call[0]) or 1 / 0)
    with pytest.raises((ZeroDivisionError, ValueError)):
        sx.load_encoder(url, cache=tmp_path, download=True)
    assert asked[0].startswith(address)
    with pytest.raises(ValueError, match="names no bucket"):
        sx.load_encoder("s3://user@evil.org/a.tif", cache=tmp_path, download=True)


def test_a_list_on_a_server_leads_to_what_lies_there(tmp_path, server, files):
    """The list is fetched whole, and of its rasters the parts around places."""
    (files / "lists").mkdir(exist_ok=True)
    for name in ("items", "page"):
        item = json.loads((files / "a.stac.json").read_text())
        item["assets"]["embeddings"]["href"] = "../a.tif"
        (files / "lists" / f"{name}.json").write_text(json.dumps(item))
    band = "".join(
        f'<VRTRasterBand dataType="Float32" band="{number}"><SimpleSource><SourceFilename '
        f'relativeToVRT="1">../a.tif</SourceFilename><SourceBand>{number}</SourceBand>'
        '<SrcRect xOff="0" yOff="0" xSize="900" ySize="450"/>'
        '<DstRect xOff="0" yOff="0" xSize="900" ySize="450"/></SimpleSource></VRTRasterBand>'
        for number in (1, 2, 3)
    )
    (files / "lists" / "a.vrt").write_text(
        '<VRTDataset rasterXSize="900" rasterYSize="450"><SRS>EPSG:4326</SRS>'
        f"<GeoTransform>-180, 0.4, 0, 90, 0, -0.4</GeoTransform>{band}</VRTDataset>"
    )
    places = np.array([[13.4, 52.5], [13.9, 52.1], [-70.7, -33.4]])
    for name in ("items.json", "a.vrt"):
        url = f"{server.url}/lists/{name}"
        with pytest.raises(WeightsNotFoundError, match="not on this machine"):
            sx.load_encoder(url, cache=tmp_path)
        encoder = sx.load_encoder(url, cache=tmp_path, download=True)
        found = encoder.embed(places)
        np.testing.assert_array_equal(found, sx.load_encoder(files / "a.tif").embed(places))
    assert server.sent < (files / "a.tif").stat().st_size / 2
    server.asked.clear()
    np.testing.assert_array_equal(sx.load_encoder(url, cache=tmp_path).embed(places), found)
    assert server.asked == []


@pytest.mark.parametrize(
    ("href", "message"),
    [
        ("file:///etc/passwd", "not on its server"),
        ("/etc/passwd.tif", "the server has no"),
        ("../../../../etc/passwd.tif", "the server has no"),
        ("http://127.0.0.1:1/a.tif", "not on the public network"),
        ("https://127.0.0.1/a.tif", "not on the public network"),
        ("https://[::1]/a.tif", "not on the public network"),
        ("https://169.254.169.254/latest/meta-data.tif", "not on the public network"),
    ],
)
def test_a_list_on_a_server_leads_nowhere_else(tmp_path, server, files, href, message):
    item = json.loads((files / "a.stac.json").read_text())
    item["assets"]["embeddings"]["href"] = href
    (files / "hostile.json").write_text(json.dumps(item))
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        sx.load_encoder(f"{server.url}/hostile.json", cache=tmp_path, download=True)
    assert "\n" not in str(error.value)

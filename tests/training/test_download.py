"""Fetching Blue Marble from a server on this machine."""

from __future__ import annotations

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from satclip_explore.encoders.download import DownloadError
from training.sources import download


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Twelve small files; the addresses and checksums of the module point to them."""
    folder = tmp_path / "server"
    folder.mkdir()
    content = [f"month {month}".encode() for month in range(1, 13)]
    for month, data in enumerate(content, start=1):
        (folder / f"world.2004{month:02d}.jpg").write_bytes(data)
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{httpd.server_port}/world.2004{{month:02d}}.jpg"
    monkeypatch.setattr(download, "COPY", address)
    monkeypatch.setattr(download, "NASA", address)
    sums = tuple(hashlib.sha256(data).hexdigest() for data in content)
    monkeypatch.setattr(download, "SHA256", sums)
    yield folder
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.mark.parametrize("origin", ["copy", "nasa"])
def test_fetches_twelve_months_and_counts_them(server, tmp_path, origin):
    seen = []
    folder = download.download_blue_marble(
        tmp_path / "mine", origin=origin, on_file=lambda *a: seen.append(a)
    )
    assert seen == [(month, 12) for month in range(1, 13)]
    assert (folder / "world.200412.jpg").read_bytes() == b"month 12"


def test_whole_files_are_kept_and_others_fetched_again(server, tmp_path):
    folder = download.download_blue_marble(tmp_path / "mine")
    (folder / "world.200402.jpg").write_bytes(b"cut")
    for path in server.iterdir():
        if "200402" not in path.name:
            path.unlink()
    download.download_blue_marble(folder)
    assert (folder / "world.200402.jpg").read_bytes() == b"month 2"


def test_a_file_with_another_checksum_is_refused(server, tmp_path):
    (server / "world.200403.jpg").write_bytes(b"something else")
    with pytest.raises(DownloadError, match="does not have the expected SHA-256"):
        download.download_blue_marble(tmp_path / "mine")
    assert not (tmp_path / "mine" / "world.200403.jpg").exists()
    assert (tmp_path / "mine" / "world.200402.jpg").exists()


def test_an_unknown_origin_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must be 'copy' or 'nasa'; got 'mirror'"):
        download.download_blue_marble(tmp_path, origin="mirror")


def test_the_checksums_are_those_of_the_real_images(shared):
    folder = shared / "data/imagery/blue_marble_monthly"
    found = [hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())]
    assert tuple(found) == download.SHA256


@pytest.mark.network
@pytest.mark.parametrize("origin", ["copy", "nasa"])
def test_the_public_addresses_answer(tmp_path, origin):
    from training.sources.blue_marble import BlueMarble

    folder = download.download_blue_marble(tmp_path, origin=origin)
    assert BlueMarble(folder, places=100).on_land.all()

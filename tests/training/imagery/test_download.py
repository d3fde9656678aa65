"""Fetching Blue Marble from a server on this machine."""

from __future__ import annotations

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from satclip_explore.encoders.download import DownloadError
from satclip_explore.progress import Cancelled
from training.imagery import download
from training.pretraining.config import load_config
from training.pretraining.extractors import open_source


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Thirteen small files; the addresses and checksums of the module point to them."""
    folder = tmp_path / "server"
    folder.mkdir()
    content = [f"month {month}".encode() for month in range(1, 13)]
    for month, data in enumerate(content, start=1):
        (folder / f"world.2004{month:02d}.jpg").write_bytes(data)
    (folder / "BlackMarble_2016.png").write_bytes(b"night")
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{httpd.server_port}"
    for name in ("COPY", "NASA"):
        monkeypatch.setattr(download, name, f"{address}/world.2004{{month:02d}}.jpg")
    for name in ("COPY_LIGHTS", "NASA_LIGHTS"):
        monkeypatch.setattr(download, name, f"{address}/BlackMarble_2016.png")
    sums = tuple(hashlib.sha256(data).hexdigest() for data in [*content, b"night"])
    monkeypatch.setattr(download, "SHA256", sums)
    monkeypatch.setattr(download, "SIZES", tuple(len(data) for data in [*content, b"night"]))
    yield folder
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.mark.parametrize("origin", ["copy", "nasa"])
def test_fetches_months_and_night_and_counts_them(server, tmp_path, origin):
    seen = []
    folder = download.download_blue_marble(
        tmp_path / "mine", origin=origin, on_progress=seen.append
    )
    assert {progress.total for progress in seen} == {92 if origin == "copy" else 0}
    ends = [*range(0, 64, 7), 71, 79, 87, 92]
    assert [*dict.fromkeys(progress.done for progress in seen)] == ends
    assert (folder / "world.200412.jpg").read_bytes() == b"month 12"
    assert (folder / "BlackMarble_2016.png").read_bytes() == b"night"


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


def test_a_download_is_counted_stopped_and_gone_on_with(server, tmp_path):
    folder, cancel = tmp_path / "mine", threading.Event()
    assert download.missing_bytes(folder) == 92

    def on_progress(progress):
        if progress.done == 21:
            cancel.set()

    with pytest.raises(Cancelled, match="finished images are kept"):
        download.download_blue_marble(folder, on_progress=on_progress, cancel=cancel)
    assert download.missing_bytes(folder) == 92 - 21
    assert len(list(folder.iterdir())) == 3
    download.download_blue_marble(folder)
    assert download.missing_bytes(folder) == 0


def test_imagery_that_is_not_named_is_the_downloaded_one(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "DEFAULT_CACHE", tmp_path / "kept")
    config = load_config("laptop")
    with pytest.raises(FileNotFoundError, match=r"kept.blue-marble. .*31.5 MB.* download=True"):
        open_source(config)
    source = open_source(config, download=True)
    assert source.files[12] == tmp_path / "kept" / "blue-marble" / "world.200412.jpg"
    assert open_source(config).files == source.files
    assert source.night_lights_file is None
    lights = tmp_path / "kept" / "blue-marble" / "BlackMarble_2016.png"
    lit = config.replace(night_lights=True, components=15)
    assert open_source(lit).night_lights_file == lights
    lights.unlink()
    with pytest.raises(FileNotFoundError, match=r"must also hold the lights of the night"):
        open_source(lit)
    assert open_source(config).files == source.files
    with pytest.raises(FileNotFoundError, match="No imagery at"):
        open_source(config, tmp_path / "elsewhere", download=True)


def test_an_unknown_origin_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must be 'copy' or 'nasa'; got 'mirror'"):
        download.download_blue_marble(tmp_path, origin="mirror")


def test_the_checksums_are_those_of_the_real_images(shared, tmp_path):
    imagery = shared / "data/imagery"
    found = [*sorted((imagery / "blue_marble_monthly").iterdir())]
    found += (imagery / "night_lights").glob("black_marble_2016*.png")
    assert tuple(hashlib.sha256(p.read_bytes()).hexdigest() for p in found) == download.SHA256
    assert tuple(p.stat().st_size for p in found) == download.SIZES
    names = [url.rpartition("/")[2] for url, _ in download._files("copy")]
    for path, name in zip(found, names, strict=True):
        (tmp_path / name).symlink_to(path)
    assert download.missing_bytes(tmp_path) == 0


@pytest.mark.network
@pytest.mark.parametrize("origin", ["copy", "nasa"])
def test_the_public_addresses_answer(tmp_path, origin):
    from training.imagery.blue_marble import BlueMarble

    folder = download.download_blue_marble(tmp_path, origin=origin)
    source = BlueMarble(folder, places=100, night_lights=True)
    assert source.on_land.all()
    assert source.night().max() > 200

"""Downloads against a server on this machine that cuts, lies and redirects."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import threading
import urllib.request
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.response import addinfourl

import numpy as np
import pytest

from satclip_explore.encoders import download
from satclip_explore.encoders.download import (
    DownloadError,
    download_file,
    file_sha256,
    path_inside,
)
from satclip_explore.progress import Cancelled

BODY = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
SHA256 = hashlib.sha256(BODY).hexdigest()


class Server:
    """What the server does."""

    def __init__(self) -> None:
        self.cut_after: int | None = None
        self.status = 200
        self.redirect: str | None = None
        self.declare = True
        self.url = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302 if self.redirect else self.status)
        if self.redirect:
            handler.send_header("Location", self.redirect)
        elif self.declare:
            handler.send_header("Content-Length", str(len(BODY)))
        handler.end_headers()
        if self.status == 200 and not self.redirect:
            handler.wfile.write(BODY[: self.cut_after])


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.answer(self)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        state.url = f"http://127.0.0.1:{http.server_address[1]}/weights.bin"
        yield state
        http.shutdown()
        thread.join()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_and_alone(tmp_path, server):
    seen = []
    path = download_file(server.url, tmp_path / "a" / "w.bin", SHA256, on_progress=seen.append)
    assert path.read_bytes() == BODY
    assert names(tmp_path / "a") == ["w.bin"]
    assert (seen[-1].stage, seen[-1].done, seen[-1].total) == ("download", len(BODY), len(BODY))
    assert file_sha256(path) == SHA256


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_a_cut_download_leaves_nothing(tmp_path, server, sha256):
    server.cut_after = 100_000
    with pytest.raises(DownloadError, match=r"100,000 of 300,000 bytes arrived\); .* call again"):
        download_file(server.url, tmp_path / "w.bin", sha256)
    assert names(tmp_path) == []


def test_a_full_disk_is_one_sentence(tmp_path, server, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DownloadError, match=r"cannot write .*w.bin: No space left .* Free some"):
        download_file(server.url, tmp_path / "w.bin")
    assert names(tmp_path) == []


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path, server):
    (tmp_path / "home").write_text("a file where a folder should be")
    with pytest.raises(DownloadError, match=r"cannot write into .*home/cache: .*cache=\.$"):
        download_file(server.url, tmp_path / "home" / "cache" / "w.bin")


def test_a_server_that_falls_silent_is_one_sentence(tmp_path, server, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT_S", 0.2)
    go_on = threading.Event()

    def stall(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(BODY)))
        handler.end_headers()
        handler.wfile.write(BODY[:1000])
        handler.wfile.flush()
        go_on.wait(10)

    monkeypatch.setattr(server, "answer", stall)
    try:
        with pytest.raises(DownloadError, match=r"check the connection|call again"):
            download_file(server.url, tmp_path / "w.bin")
    finally:
        go_on.set()
    assert names(tmp_path) == []


def test_a_download_is_stopped(tmp_path, server, monkeypatch):
    monkeypatch.setattr(download, "CHUNK_BYTES", 10_000)
    cancel = threading.Event()

    def on_progress(progress):
        if progress.done >= 50_000:
            cancel.set()

    with pytest.raises(Cancelled, match=r"download of w.bin was stopped"):
        download_file(server.url, tmp_path / "w.bin", on_progress=on_progress, cancel=cancel)
    assert names(tmp_path) == []


def test_a_wrong_hash_is_refused_and_removed(tmp_path, server):
    with pytest.raises(DownloadError, match="expected SHA-256 and was removed"):
        download_file(server.url, tmp_path / "w.bin", "0" * 64)
    assert names(tmp_path) == []


def test_a_file_that_exists_survives_a_failed_download(tmp_path, server):
    (tmp_path / "w.bin").write_bytes(b"old")
    with pytest.raises(DownloadError):
        download_file(server.url, tmp_path / "w.bin", "0" * 64)
    assert (tmp_path / "w.bin").read_bytes() == b"old"


@pytest.mark.parametrize("declare", [True, False])
def test_a_file_beyond_the_limit_is_refused(tmp_path, server, declare):
    server.declare = declare
    with pytest.raises(DownloadError, match="larger than the 1,000 bytes"):
        download_file(server.url, tmp_path / "w.bin", max_bytes=1000)
    assert names(tmp_path) == []


@pytest.mark.parametrize(("status", "shown"), [(404, "HTTP 404"), (500, "HTTP 500")])
def test_a_server_error_is_one_sentence(tmp_path, server, status, shown):
    server.status = status
    with pytest.raises(DownloadError, match=shown):
        download_file(server.url, tmp_path / "w.bin")


def test_no_server_is_one_sentence(tmp_path):
    with pytest.raises(DownloadError, match="check the connection"):
        download_file("http://127.0.0.1:9/x", tmp_path / "w.bin")


@pytest.mark.parametrize(
    "url",
    ["http://example.org/x", "file:///etc/passwd", "ftp://example.org/x", "x.bin", "https://"],
)
def test_only_https_leaves_this_machine(tmp_path, url):
    with pytest.raises(DownloadError, match="https only"):
        download_file(url, tmp_path / "w.bin")


@pytest.mark.parametrize("to", ["http://example.org/x", "ftp://example.org/x"])
def test_a_redirect_may_not_lead_to_an_open_connection(tmp_path, server, to):
    server.redirect = to
    with pytest.raises(DownloadError, match="https only"):
        download_file(server.url, tmp_path / "w.bin")


class FakeHTTPS(urllib.request.HTTPSHandler):
    """A server that only redirects."""

    to = ""

    def https_open(self, request):
        headers = Message()
        headers["Location"] = self.to
        answer = addinfourl(io.BytesIO(), headers, request.full_url, 302)
        answer.msg = "Found"
        return answer


@pytest.mark.parametrize(
    "to",
    [
        "http://localhost/x", "http://127.0.0.1:8000/x", "https://localhost/x", "https://10.0.0.1/x",
        "https://192.168.1.1/x", "https://169.254.169.254/latest", "https://[::1]/x",
        "https://[fe80::1]/x",
    ],
)  # fmt: skip
def test_a_redirect_may_not_lead_from_the_public_network_to_ones_own(tmp_path, monkeypatch, to):
    monkeypatch.setattr(FakeHTTPS, "to", to)
    opener = urllib.request.build_opener(download._SafeRedirects, FakeHTTPS)
    monkeypatch.setattr(download, "_OPENER", opener)
    with pytest.raises(DownloadError, match="which is not on the public network"):
        download_file("https://example.org/x", tmp_path / "w.bin")


def test_a_redirect_within_the_public_network_is_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(FakeHTTPS, "to", "https://1.1.1.1/x")
    opener = urllib.request.build_opener(download._SafeRedirects, FakeHTTPS)
    monkeypatch.setattr(download, "_OPENER", opener)
    # Until it has been there often enough.
    with pytest.raises(DownloadError, match="HTTP 302"):
        download_file("https://example.org/x", tmp_path / "w.bin")


def test_the_bar_is_drawn_where_tqdm_is_installed(tmp_path, server, capsys):
    pytest.importorskip("tqdm")
    download_file(server.url, tmp_path / "w.bin", SHA256)
    assert "w.bin" in capsys.readouterr().err


def test_a_download_error_is_an_os_error_and_a_value_error():
    assert issubclass(DownloadError, OSError)
    assert issubclass(DownloadError, ValueError)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "", "."])
def test_a_name_cannot_leave_the_cache(tmp_path, name):
    with pytest.raises(ValueError, match="leads out of"):
        path_inside(tmp_path, name)


def test_a_link_cannot_leave_the_cache(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "out").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="leads out of"):
        path_inside(tmp_path / "root", "out", "x")


def test_a_plain_name_stays(tmp_path):
    assert path_inside(tmp_path, "a", "b.bin") == tmp_path.resolve() / "a" / "b.bin"

"""Downloads against a server on this machine that cuts, lies, redirects and forgets."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from satclip_explore.encoders import download
from satclip_explore.encoders.download import (
    DownloadError,
    download_file,
    file_sha256,
    path_inside,
)

BODY = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
SHA256 = hashlib.sha256(BODY).hexdigest()


class Server:
    """What the server does, and what it was asked."""

    def __init__(self) -> None:
        self.cut_after: int | None = None
        self.ranges = True
        self.etag: str | None = '"v1"'
        self.status = 200
        self.redirect: str | None = None
        self.declare = True
        self.body = BODY
        self.requests: list[str | None] = []
        self.url = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.requests.append(asked)
        if self.redirect:
            handler.send_response(302)
            handler.send_header("Location", self.redirect)
            handler.end_headers()
            return
        start = int(asked[6:-1]) if asked and self.ranges else 0
        if handler.headers.get("If-Range", self.etag) != self.etag:
            start = 0
        if self.status != 200 or (start and start >= len(self.body)):
            handler.send_response(self.status if self.status != 200 else 416)
            handler.send_header("Content-Range", f"bytes */{len(self.body)}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.body) - 1}/x")
        if self.etag:
            handler.send_header("ETag", self.etag)
        if self.declare:
            handler.send_header("Content-Length", str(len(self.body) - start))
        handler.end_headers()
        stop = len(self.body) if self.cut_after is None else start + self.cut_after
        handler.wfile.write(self.body[start:stop])


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.answer(self)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        state.url = f"http://127.0.0.1:{http.server_address[1]}/weights.bin"
        yield state
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _one_attempt(monkeypatch):
    monkeypatch.setattr(download, "ATTEMPTS", 1)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_and_alone(tmp_path, server):
    seen = []
    path = download_file(
        server.url, tmp_path / "a" / "w.bin", SHA256, lambda done, total: seen.append((done, total))
    )
    assert path.read_bytes() == BODY
    assert names(tmp_path / "a") == ["w.bin"]
    assert seen[-1] == (len(BODY), len(BODY))
    assert file_sha256(path) == SHA256


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_a_cut_download_continues_where_it_stopped(tmp_path, server, sha256):
    server.cut_after = 100_000
    target = tmp_path / "w.bin"
    with pytest.raises(DownloadError, match="call again to continue"):
        download_file(server.url, target, sha256, progress=False)
    assert not target.exists()
    server.cut_after = None
    download_file(server.url, target, sha256, progress=False)
    assert target.read_bytes() == BODY
    assert server.requests == [None, "bytes=100000-"]


def test_a_lost_connection_is_tried_again_by_itself(tmp_path, server, monkeypatch):
    monkeypatch.setattr(download, "ATTEMPTS", 3)
    server.cut_after = 120_000
    download_file(server.url, tmp_path / "w.bin", SHA256, progress=False)
    assert (tmp_path / "w.bin").read_bytes() == BODY
    assert server.requests == [None, "bytes=120000-", "bytes=240000-"]


def test_a_file_that_changed_meanwhile_starts_afresh(tmp_path, server):
    server.cut_after = 100_000
    with pytest.raises(DownloadError):
        download_file(server.url, tmp_path / "w.bin", progress=False)
    server.cut_after, server.etag, server.body = None, '"v2"', BODY[::-1]
    download_file(server.url, tmp_path / "w.bin", progress=False)
    assert (tmp_path / "w.bin").read_bytes() == BODY[::-1]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_hash_or_strong_tag_nothing_is_continued(tmp_path, server, etag):
    server.cut_after, server.etag = 100_000, etag
    with pytest.raises(DownloadError):
        download_file(server.url, tmp_path / "w.bin", progress=False)
    server.cut_after = None
    download_file(server.url, tmp_path / "w.bin", progress=False)
    assert server.requests == [None, None]
    assert (tmp_path / "w.bin").read_bytes() == BODY


def test_a_server_without_ranges_starts_afresh(tmp_path, server):
    server.cut_after, server.ranges = 100_000, False
    with pytest.raises(DownloadError):
        download_file(server.url, tmp_path / "w.bin", SHA256, progress=False)
    server.cut_after = None
    download_file(server.url, tmp_path / "w.bin", SHA256, progress=False)
    assert (tmp_path / "w.bin").read_bytes() == BODY


def test_a_partial_file_that_is_already_whole_is_taken(tmp_path, server):
    (tmp_path / "w.bin.partial").write_bytes(BODY)
    download_file(server.url, tmp_path / "w.bin", SHA256, progress=False)
    assert (tmp_path / "w.bin").read_bytes() == BODY


def test_a_partial_file_that_is_too_long_is_dropped(tmp_path, server):
    (tmp_path / "w.bin.partial").write_bytes(BODY + b"more")
    download_file(server.url, tmp_path / "w.bin", SHA256, progress=False)
    assert (tmp_path / "w.bin").read_bytes() == BODY


def test_a_wrong_hash_is_refused_and_removed(tmp_path, server):
    with pytest.raises(DownloadError, match="expected SHA-256 and was removed"):
        download_file(server.url, tmp_path / "w.bin", "0" * 64, progress=False)
    assert names(tmp_path) == []


def test_a_file_that_exists_survives_a_failed_download(tmp_path, server):
    (tmp_path / "w.bin").write_bytes(b"old")
    with pytest.raises(DownloadError):
        download_file(server.url, tmp_path / "w.bin", "0" * 64, progress=False)
    assert (tmp_path / "w.bin").read_bytes() == b"old"


@pytest.mark.parametrize("declare", [True, False])
def test_a_file_beyond_the_limit_is_refused(tmp_path, server, declare):
    server.declare = declare
    with pytest.raises(DownloadError, match="larger than the 1,000 bytes"):
        download_file(server.url, tmp_path / "w.bin", progress=False, max_bytes=1000)
    assert names(tmp_path) == []


@pytest.mark.parametrize(("status", "shown"), [(404, "HTTP 404"), (500, "HTTP 500")])
def test_a_server_error_is_one_sentence(tmp_path, server, status, shown):
    server.status = status
    with pytest.raises(DownloadError, match=shown):
        download_file(server.url, tmp_path / "w.bin", progress=False)


def test_no_server_is_one_sentence(tmp_path):
    with pytest.raises(DownloadError, match="check the connection"):
        download_file("http://127.0.0.1:9/x", tmp_path / "w.bin", progress=False)


@pytest.mark.parametrize(
    "url",
    ["http://example.org/x", "file:///etc/passwd", "ftp://example.org/x", "x.bin", "https://"],
)
def test_only_https_leaves_this_machine(tmp_path, url):
    with pytest.raises(DownloadError, match="https only"):
        download_file(url, tmp_path / "w.bin", progress=False)


@pytest.mark.parametrize("to", ["http://example.org/x", "ftp://example.org/x"])
def test_a_redirect_may_not_lead_to_an_open_connection(tmp_path, server, to):
    server.redirect = to
    with pytest.raises(DownloadError, match="https only"):
        download_file(server.url, tmp_path / "w.bin", progress=False)


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

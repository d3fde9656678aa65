"""Downloads that are checked against a hash, can be stopped, and never leave their folder."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

from satclip_explore.files.atomic import replacing
from satclip_explore.progress import Cancel, Meter, OnProgress, Progress, stop_if

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 30.0
MAX_BYTES = 20_000_000_000
"""Largest file that is fetched unless the caller says otherwise."""

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
"""Hosts that may be asked without encryption."""


class DownloadError(OSError, ValueError):
    """A download that could not be finished; the message says what to do."""


def download_file(
    url: str,
    path: str | Path,
    sha256: str | None = None,
    *,
    on_progress: OnProgress | None = None,
    cancel: Cancel | None = None,
    max_bytes: int = MAX_BYTES,
) -> Path:
    """Fetch a file; it appears at `path` only when it is complete and checked.

    Parameters
    ----------
    url : str
        https, or http on this machine.
    path : str or Path
        Where to put the file; an existing one is replaced.
    sha256 : str, optional
        Expected hash in hex. A file with another hash is removed.
    on_progress : callable, optional
        Called with a `Progress` in bytes; by default a bar is drawn, where tqdm is installed.
    cancel : Cancel, optional
        Set it to stop.
    max_bytes : int
        Larger files are refused.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    Cancelled
        If it was stopped.
    DownloadError
        If the address, or one that it redirects to, is not allowed, the server fails, the
        connection is lost, the disk is full, the file is too large, or its hash is another.
    """
    _check_url(url)
    path = Path(path)
    make_folder(path.parent)
    digest = hashlib.sha256()
    try:
        with (
            replacing(path) as [part],
            part.open("wb") as file,
            _bar(path.name, on_progress) as report,
        ):
            for block in _receive(url, report, max_bytes):
                stop_if(cancel, f"the download of {path.name} was stopped.")
                digest.update(block)
                file.write(block)
            if sha256 is not None and digest.hexdigest() != sha256.lower():
                raise DownloadError(
                    f"{path.name} from {url} does not have the expected SHA-256 and was removed."
                )
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(error.strerror) from error
    return path


def make_folder(folder: Path) -> None:
    """Make a folder of the cache where there is none; `DownloadError` if that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(
            f"cannot write into {folder}: {error.strerror}; choose a folder with cache=."
        ) from error


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def path_inside(root: str | Path, *parts: str) -> Path:
    """Join parts to a folder and make sure that the result stays in it.

    Raises
    ------
    ValueError
        If the path would lead out of the folder.
    """
    base = Path(root).expanduser().resolve()
    joined = base.joinpath(*parts).resolve()
    if joined == base or not joined.is_relative_to(base):
        raise ValueError(f"{'/'.join(parts)!r:.80} leads out of {base}; give a plain file name.")
    return joined


def fetch_range(url: str, start: int, stop: int) -> tuple[bytes, int, str]:
    """Fetch a part of a file.

    Parameters
    ----------
    url : str
        As `download_file` takes it.
    start, stop : int
        Bytes start … stop - 1; fewer come where the file ends before.

    Returns
    -------
    content : bytes
        The part.
    size : int
        Of the whole file.
    version : str
        What the server calls this version of it; empty where it does not say.

    Raises
    ------
    DownloadError
        As of `download_file`; or if the server does not serve parts.
    FileNotFoundError
        If the server has no such file.
    """
    _check_url(url)
    with _asked(url, {"Range": f"bytes={start}-{stop - 1}"}) as response:
        said = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", ""))
        if response.status != 206 or said is None or int(said[1]) != start:
            raise DownloadError(f"the server of {url:.200} does not serve parts of files.")
        size = int(said[3])
        content = response.read(stop - start)
        if len(content) < min(stop, size) - start:
            raise ConnectionError(f"{len(content):,} bytes of a part arrived")
        version = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
    return content, size, version


def _receive(url: str, on_progress: OnProgress | None, max_bytes: int) -> Iterator[bytes]:
    with _asked(url, {}) as response:
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else 0
        report = Meter("download", on_progress, total=total)
        _check_size(total, max_bytes)
        done = 0
        while block := response.read(CHUNK_BYTES):
            done += len(block)
            _check_size(done, max_bytes)
            yield block
            report(done)
        if done < total:
            raise ConnectionError(f"{done:,} of {total:,} bytes arrived")


@contextmanager
def _asked(url: str, headers: dict[str, str]) -> Iterator[Any]:
    """Ask a server, and turn what goes wrong until the block ends into a sentence."""
    request = urllib.request.Request(url, headers={"User-Agent": "satclip-explore", **headers})
    try:
        with _OPENER.open(request, timeout=TIMEOUT_S) as response:
            yield response
    except DownloadError:
        raise
    except (OSError, HTTPException) as error:
        reason: Any = error
        if isinstance(error, urllib.error.HTTPError):
            region = error.headers.get("x-amz-bucket-region", "")
            reason = f"HTTP {error.code}"
            if error.code == 301 and re.fullmatch(r"[a-z0-9-]+", region):
                reason = (
                    f"its bucket lies in {region}: ask https://s3.{region}.amazonaws.com/bucket/…"
                )
            error.close()
        if "Range" in headers and reason in ("HTTP 404", "HTTP 410"):
            raise FileNotFoundError(f"the server has no {url:.200}.") from error
        raise DownloadError(
            f"{url} could not be fetched ({reason}); check the connection and call again."
        ) from error


def _check_url(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in LOCAL_HOSTS
    if not local and not (parts.scheme == "https" and parts.hostname):
        raise DownloadError(f"files are fetched over https only; got {url!r:.120}.")


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise DownloadError(f"the file is larger than the {max_bytes:,} bytes that are allowed.")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to allowed addresses only."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Check where it leads before following."""
        try:
            _check_url(newurl)
            host = urllib.parse.urlsplit(newurl).hostname or ""
            if req.type == "https" and (not newurl.startswith("https:") or is_private(host)):
                raise DownloadError(
                    f"{req.full_url} redirects to {newurl!r:.120}, which is not on the public "
                    "network."
                )
        except DownloadError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def is_private(host: str) -> bool:
    """Tell whether a name leads to this machine or its own network."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False  # It cannot be reached either, unless a proxy knows it.
    return not all(ipaddress.ip_address(address.partition("%")[0]).is_global for address in found)


_OPENER = urllib.request.build_opener(_SafeRedirects)


@contextmanager
def _bar(name: str, on_progress: OnProgress | None) -> Iterator[OnProgress | None]:
    """Give what is called with progress: the caller's own, or a bar."""
    try:
        from tqdm import tqdm
    except ImportError:
        tqdm = None
    if on_progress is not None or tqdm is None:
        yield on_progress
        return
    with tqdm(desc=name, unit="B", unit_scale=True, unit_divisor=1024) as bar:

        def show(progress: Progress) -> None:
            bar.total = progress.total or None
            bar.update(progress.done - bar.n)

        yield show

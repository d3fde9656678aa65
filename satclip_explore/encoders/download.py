"""Downloads that can be cut and continued, checked against a hash, and never leave their folder."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 30.0
ATTEMPTS = 3
MAX_BYTES = 20_000_000_000
"""Largest file that is fetched unless the caller says otherwise."""

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
"""Hosts that may be asked without encryption."""

Progress = Callable[[int, int | None], None]


class DownloadError(OSError, ValueError):
    """A download that could not be finished; the message says what to do."""


def download_file(
    url: str,
    path: str | Path,
    sha256: str | None = None,
    progress: Progress | bool | None = None,
    *,
    max_bytes: int = MAX_BYTES,
) -> Path:
    """Fetch a file, continuing what an earlier attempt left.

    The file appears at `path` only when it is complete; until then it grows beside it, with
    `.partial` at the end of its name.

    Parameters
    ----------
    url : str
        https, or http on this machine.
    path : str or Path
        Where to put the file; an existing one is replaced.
    sha256 : str, optional
        Expected hash in hex. A file with another hash is removed.
    progress : callable or bool, optional
        Called with (bytes so far, bytes in all or None). By default a bar, where tqdm is
        installed; False shows nothing.
    max_bytes : int
        Larger files are refused.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    DownloadError
        If the address is not allowed, the server fails, the connection is lost (what arrived is
        kept), the file is too large, or its hash is another.
    """
    _check_url(url)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with _Reporter(progress, path.name) as report:
        for attempt in range(ATTEMPTS):
            try:
                _fetch(url, partial, sha256 is not None, report, max_bytes)
                break
            except (urllib.error.HTTPError, urllib.error.URLError) as error:
                raise DownloadError(
                    f"{url} could not be fetched ({_reason(error)}); check the connection and call "
                    "again, what arrived is kept."
                ) from error
            except (HTTPException, TimeoutError, ConnectionError) as error:
                if attempt == ATTEMPTS - 1:
                    raise DownloadError(
                        f"the connection to {urllib.parse.urlsplit(url).hostname} was lost; "
                        "call again to continue where it stopped."
                    ) from error
    if sha256 is not None and file_sha256(partial) != sha256.lower():
        _forget(partial)
        raise DownloadError(
            f"{path.name} from {url} does not have the expected SHA-256 and was removed."
        )
    os.replace(partial, path)
    _validator(partial).unlink(missing_ok=True)
    return path


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


def _fetch(url: str, partial: Path, hash_known: bool, report: _Reporter, max_bytes: int) -> None:
    """Write the rest of a file to `partial`, or all of it where it cannot be continued."""
    have = partial.stat().st_size if partial.is_file() else 0
    validator = _validator(partial)
    known = validator.read_text(encoding="utf-8") if validator.is_file() else ""
    if have and not known and not hash_known:
        have = 0  # Nothing would tell whether the file changed in between.
    request = urllib.request.Request(url, headers={"User-Agent": "satclip-explore"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        if known:
            request.add_header("If-Range", known)
    try:
        response = _OPENER.open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:
            error.close()
            # Nothing follows what is here: it is the whole file, or one that has changed.
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return
            _forget(partial)
            return _fetch(url, partial, hash_known, report, max_bytes)
        raise
    with response:
        continued = response.status == 206 and response.headers.get("Content-Range", "").startswith(
            f"bytes {have}-"
        )
        have = have if continued else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length is not None and length.isdecimal() else None
        _check_size(total or 0, max_bytes, partial)
        tag = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        # A weak tag does not promise the same bytes and may not be used to continue.
        validator.write_text("" if tag.startswith("W/") else tag, encoding="utf-8")
        with open(partial, "ab" if have else "wb") as file:
            while block := response.read(CHUNK_BYTES):
                have += len(block)
                _check_size(have, max_bytes, partial)
                file.write(block)
                report(have, total)
        if total is not None and have < total:
            raise ConnectionError(f"{have} of {total} bytes")
    return None


def _check_url(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in LOCAL_HOSTS
    if not local and not (parts.scheme == "https" and parts.hostname):
        raise DownloadError(f"files are fetched over https only; got {url!r:.120}.")


def _check_size(size: int, max_bytes: int, partial: Path) -> None:
    if size > max_bytes:
        _forget(partial)
        raise DownloadError(f"the file is larger than the {max_bytes:,} bytes that are allowed.")


def _validator(partial: Path) -> Path:
    return partial.with_name(partial.name + ".etag")


def _forget(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    _validator(partial).unlink(missing_ok=True)


def _reason(error: urllib.error.URLError) -> str:
    code = getattr(error, "code", None)
    return f"HTTP {code}" if code else str(error.reason)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to allowed addresses only."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Check where it leads before following."""
        _check_url(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_SafeRedirects)


class _Reporter:
    """Passes progress on, or draws it."""

    def __init__(self, progress: Progress | bool | None, name: str) -> None:
        self._call = progress if callable(progress) else None
        self._bar: Any = None
        if progress is None or progress is True:
            try:
                from tqdm import tqdm
            except ImportError:
                return
            self._bar = tqdm(desc=name, unit="B", unit_scale=True, unit_divisor=1024)

    def __call__(self, done: int, total: int | None) -> None:
        if self._call is not None:
            self._call(done, total)
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(done - self._bar.n)

    def __enter__(self) -> _Reporter:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

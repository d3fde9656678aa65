"""Encoders and products by address: fetched when asked for, into a cache of bounded size."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.parse
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from satclip_explore.encoders.download import download_file, path_inside
from satclip_explore.encoders.products import list_family
from satclip_explore.encoders.remote_blocks import RemoteFile, remote_store
from satclip_explore.encoders.weights import DEFAULT_CACHE, WeightsNotFoundError
from satclip_explore.errors import Offer

MAX_CACHE_BYTES = 10_000_000_000
"""What files by address may take together; those that were read longest ago give way."""

ROOM_EVERY = 64
"""Fetches after which it is looked for room again."""

_fetched = count(1)

BUCKETS = {"s3://": "https://{}.s3.amazonaws.com", "gs://": "https://storage.googleapis.com/{}"}
"""Where public buckets are on the web."""


@dataclass(frozen=True)
class FetchedList:
    """A file that lists others, and the address that it came from."""

    path: Path
    url: str
    family: str

    @property
    def name(self) -> str:
        """File name."""
        return self.path.name


def is_address(name: str) -> bool:
    """Tell an address from a path."""
    return name.lower().startswith(("https://", "http://", *BUCKETS))


def open_address(url: str, cache: str | Path | None, download: bool) -> Any:
    """Return what is at an address: a GeoTIFF or Zarr store to be read in parts, or a file.

    Parameters
    ----------
    url, cache, download
        As in `fetch_address`; also s3 and gs for public buckets.

    Returns
    -------
    Path, RemoteFile, zarr.abc.store.Store or FetchedList
        The second for .tif, the third for .zarr, the fourth for a STAC file or virtual raster.

    Raises
    ------
    WeightsNotFoundError
        If what is needed is not in the cache and may not be fetched.
    DownloadError
        As of `fetch_address`.
    """
    ending = Path(urllib.parse.urlsplit(url.rstrip("/")).path).suffix.lower()
    if ending in (".tif", ".tiff", ".zarr"):
        return open_blocks(url, cache, download, remote_store if ending == ".zarr" else RemoteFile)
    path = fetch_address(url, cache, download)
    family = list_family(path)
    return FetchedList(path, _https(url), family) if family else path


def open_blocks(
    url: str, cache: str | Path | None, download: bool, kind: Callable[..., Any] = RemoteFile
) -> Any:
    """Return a file or store that is read in parts; see `open_address`."""
    root = _root(cache) / "blocks"

    def on_fetch() -> None:
        if next(_fetched) % ROOM_EVERY == 0:
            _make_room(root.parent)

    return kind(_https(url), root, download, on_fetch)


def _https(url: str) -> str:
    """Turn the address of a public bucket into the one that it has on the web."""
    parts = urllib.parse.urlsplit(url)
    host = BUCKETS.get(f"{parts.scheme.lower()}://")
    if host is None:
        return url
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", parts.netloc):
        raise ValueError(
            f"{url!r:.120} names no bucket; give s3://bucket/path or gs://bucket/path."
        )
    if "." in parts.netloc and parts.scheme.lower() == "s3":
        # The certificate of *.s3.amazonaws.com is not one of names with more dots.
        host = "https://s3.amazonaws.com/{}"
    return host.format(parts.netloc) + parts.path


def _root(cache: str | Path | None) -> Path:
    return Path(cache if cache is not None else DEFAULT_CACHE).expanduser() / "addresses"


def fetch_address(url: str, cache: str | Path | None, download: bool) -> Path:
    """Return the file of an address: from the cache, and from the network only if allowed.

    Parameters
    ----------
    url : str
        https, or http on this machine; redirects off the public network are refused.
    cache : str or Path or None
        Where downloads are kept; None is ~/.cache/satclip_explore.
    download : bool
        Whether it may be fetched.

    Raises
    ------
    WeightsNotFoundError
        If it is not in the cache and may not be fetched.
    DownloadError
        If the address is not allowed, the server fails or stalls, or the file is too large.
    """
    root, url = _root(cache), _https(url)
    name = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name or "file"
    path = path_inside(root, hashlib.sha256(url.encode()).hexdigest()[:16], name)
    if not path.is_file():
        if not download:
            raise WeightsNotFoundError(f"{url:.200} is not on this machine.", Offer.DOWNLOAD)
        download_file(url, path, max_bytes=MAX_CACHE_BYTES)
        _make_room(root, path)
    path.touch()
    return path


def _make_room(root: Path, keep: Path | None = None) -> None:
    """Remove the files and blocks that were read longest ago until the rest fits."""
    found = []
    for folder, _, names in os.walk(root):
        for file in (Path(folder, name) for name in names):
            with suppress(FileNotFoundError):  # others write and make room at the same time
                found.append((file.stat(), file))
    total = 0
    for facts, file in sorted(found, key=lambda pair: pair[0].st_mtime_ns, reverse=True):
        total += facts.st_size
        if total > MAX_CACHE_BYTES and file != keep:
            file.unlink(missing_ok=True)
            with suppress(OSError):
                file.parent.rmdir()

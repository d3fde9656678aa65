"""Encoders and products by address: fetched when asked for, into a cache of bounded size."""

from __future__ import annotations

import hashlib
import shutil
import urllib.parse
from pathlib import Path

from satclip_explore.encoders.download import download_file, path_inside
from satclip_explore.encoders.weights import DEFAULT_CACHE, WeightsNotFoundError
from satclip_explore.errors import Offer

MAX_CACHE_BYTES = 10_000_000_000
"""What files by address may take together; those that were opened longest ago give way."""


def is_address(name: str) -> bool:
    """Tell an address from a path."""
    return name.lower().startswith(("https://", "http://"))


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
    root = Path(cache if cache is not None else DEFAULT_CACHE).expanduser() / "addresses"
    name = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name or "file"
    path = path_inside(root, hashlib.sha256(url.encode()).hexdigest()[:16], name)
    folder = path.parent
    if not path.is_file():
        if not download:
            raise WeightsNotFoundError(f"{url:.200} is not on this machine.", Offer.DOWNLOAD)
        download_file(url, path, max_bytes=MAX_CACHE_BYTES)
    folder.touch()
    _make_room(root, folder)
    return path


def _make_room(root: Path, keep: Path) -> None:
    """Remove the folders that were opened longest ago until the rest fits."""
    folders = sorted(root.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
    total = 0
    for folder in folders:
        total += sum(file.stat().st_size for file in folder.iterdir())
        if total > MAX_CACHE_BYTES and folder != keep:
            shutil.rmtree(folder, ignore_errors=True)

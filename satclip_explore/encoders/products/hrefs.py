"""Files that a list names: none out of the list's own folder, none on a network that is not public.

A list may come from anybody, as a STAC file or a virtual raster that was sent by mail.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from satclip_explore.encoders.download import DownloadError, is_private, path_inside
from satclip_explore.encoders.remote_blocks import RemoteFile
from satclip_explore.encoders.remote_files import (
    FetchedList,
    fetch_address,
    is_address,
    open_address,
    open_blocks,
)
from satclip_explore.files.columns import shown
from satclip_explore.files.containers import check_size

GDAL_SCHEMES = {"/vsicurl/": "", "/vsis3/": "s3://", "/vsigs/": "gs://"}
"""How GDAL writes what lies elsewhere."""

Place = Path | str
"""A file on this machine, or an address."""


@dataclass(frozen=True)
class Listing:
    """A file that names others.

    Parameters
    ----------
    place : Path or str
        Of the file, or its address.
    root : Path or str
        Folder that nothing it names may lie out of; or the address that the user gave.
    cache, download
        As in `load_encoder`.
    path : Path
        Where its content is.
    """

    place: Place
    root: Place
    cache: str | Path | None
    download: bool
    path: Path

    @classmethod
    def of(cls, given: Path | FetchedList, cache: str | Path | None, download: bool) -> Listing:
        """Begin with what the user gave."""
        if isinstance(given, FetchedList):
            return cls(given.url, given.url, cache, download, given.path)
        path = given.resolve()
        return cls(path, path.parent, cache, download, path)

    def content(self) -> bytes:
        """Return all of it; a file that is too large for a list is refused."""
        check_size(self.path.stat().st_size)
        return self.path.read_bytes()

    def find(self, href: str) -> Place:
        """Return where an href leads.

        Raises
        ------
        ValueError
            If it leads out of the folder, or from a server to this machine.
        """
        text = href.strip()
        for prefix, scheme in GDAL_SCHEMES.items():
            if text.startswith(prefix):
                text = scheme + text.removeprefix(prefix)
        if is_address(text):
            return text
        if isinstance(self.place, str):
            joined = urllib.parse.urljoin(self.place, text)
            if not is_address(joined):
                raise ValueError(f"{self._said(href)}, which is not on its server.")
            return joined
        if re.match(r"[a-z][a-z0-9+.-]+:|/vsi", text, re.IGNORECASE) and text[:7] != "file://":
            raise ValueError(f"{self._said(href)}, which is neither a file beside it nor https.")
        text = urllib.parse.unquote(text.removeprefix("file://")) if text[:7] == "file://" else text
        folder = self.place.parent
        for name in (text, urllib.parse.unquote(text)):
            try:
                found = path_inside(self.root, str(folder / name))
            except (ValueError, OSError) as error:
                raise ValueError(
                    f"{self._said(href)}, out of its folder; keep the files beside the list."
                ) from error
            if found.exists():
                return found
        raise FileNotFoundError(f"{self._said(href)}, which is not there; get all of its files.")

    def below(self, href: str) -> Listing:
        """Follow an href to another list."""
        place = self.find(href)
        if isinstance(place, Path):
            return replace(self, place=place, path=place)
        self._allow(place)
        return replace(self, place=place, path=fetch_address(place, self.cache, self.download))

    def raster(self, place: Place) -> Path | RemoteFile:
        """Return a GeoTIFF, to be read in parts."""
        if isinstance(place, Path):
            return place
        self._allow(place)
        return open_blocks(place, self.cache, self.download)

    def product(self, place: Place) -> Any:
        """Return what a reader of arrays or of places takes."""
        if isinstance(place, Path):
            return place
        self._allow(place)
        return open_address(place, self.cache, self.download)

    def _allow(self, url: str) -> None:
        """Refuse an address off the public network, unless the user gave one of that very server.

        Raises
        ------
        DownloadError
            If it is refused.
        """
        server = urllib.parse.urlsplit(url)[:2]
        if isinstance(self.root, str) and server == urllib.parse.urlsplit(self.root)[:2]:
            return
        host = urllib.parse.urlsplit(url).hostname or ""
        if server[0].lower() == "http" or (self.download and _is_private(host)):
            raise DownloadError(f"{self._said(url)}, which is not on the public network.")

    def _said(self, href: str) -> str:
        return f"{self.path.name} names {shown(href)!r}"


_is_private: Callable[[str], bool] = lru_cache(maxsize=256)(is_private)

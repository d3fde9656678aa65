"""Files on servers, read in blocks where they are needed; every block is kept on disk."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import secrets
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any

from satclip_explore.encoders.download import DownloadError, fetch_range, make_folder
from satclip_explore.encoders.weights import WeightsNotFoundError
from satclip_explore.errors import Offer
from satclip_explore.files.atomic import write_whole

BLOCK = 1 << 18
"""Bytes that are fetched and kept together."""

FACTS = "facts.json"

SEAL = 16
"""Bytes behind each block that is kept: a hash of it, its number, and its file's version."""


def _sealed(block: bytes, number: int, size: int, version: str) -> bytes:
    """Append the seal to a block of a file of so many bytes."""
    seal = hashlib.blake2b(f"{number} {size} {version} ".encode(), digest_size=SEAL)
    seal.update(block)
    return block + seal.digest()


class RemoteFile:
    """A file on a server, of which the blocks that are read are kept in a folder.

    Parameters
    ----------
    url : str
        As `download.fetch_range` takes it.
    root : pathlib.Path
        Below which the folder is.
    download : bool
        Whether blocks that are not there may be fetched.
    on_fetch : callable, optional
        Called after blocks were fetched.

    Raises
    ------
    FileNotFoundError
        If the server has no such file; `WeightsNotFoundError` if it may not be asked.
    DownloadError
        If the address is not allowed, the server fails, stalls, or does not serve parts, or what
        came cannot be kept.
    """

    family = "raster"

    def __init__(
        self, url: str, root: Path, download: bool, on_fetch: Callable[[], None] = lambda: None
    ) -> None:
        self.url, self.name = url, PurePosixPath(url.partition("?")[0]).name
        self.folder = root / hashlib.sha256(url.encode()).hexdigest()[:16]
        self._download, self._on_fetch = download, on_fetch
        known = self._known()
        if known is None:
            self._fetch(0, 1)
            known = self._known()
        if known is None or known["size"] < 0:
            raise FileNotFoundError(f"the server has no {url:.200}.")
        self.size: int = known["size"]
        self.version: str = known["version"]

    @property
    def identity(self) -> tuple[str, int, str]:
        """Address, size, and what the server calls this version."""
        return self.url, self.size, self.version

    def _known(self) -> dict[str, Any] | None:
        try:
            path = self.folder / FACTS
            known = json.loads(path.read_text())
            size, version = known["size"], known["version"]
            path.touch()
        except (OSError, ValueError, TypeError, KeyError):
            return None
        # That a file is missing may be another on the next day.
        if type(size) is not int or (size < 0 and self._download):
            return None
        return {"size": size, "version": str(version)}

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes start … stop - 1, as far as the file goes."""
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        first, last = start // BLOCK, (stop - 1) // BLOCK
        blocks = [self._kept(number) for number in range(first, last + 1)]
        number = 0
        while number < len(blocks):
            end = number
            while end < len(blocks) and blocks[end] is None:
                end += 1
            if end > number:
                blocks[number:end] = self._fetch(first + number, first + end)
            number = end + 1
        whole = b"".join(block for block in blocks if block is not None)
        return whole[start - first * BLOCK : stop - first * BLOCK]

    def _kept(self, number: int) -> bytes | None:
        path = self.folder / str(number)
        try:
            content = path.read_bytes()
            path.touch()
        except OSError:
            return None
        block = content[:-SEAL]
        if len(block) != min(BLOCK, self.size - number * BLOCK):
            return None
        return block if content == _sealed(block, number, self.size, self.version) else None

    def _fetch(self, first: int, stop: int) -> list[bytes]:
        """Fetch blocks that lie side by side, and keep them."""
        if not self._download:
            raise WeightsNotFoundError(
                f"a part of {self.url:.200} is not on this machine.", Offer.DOWNLOAD
            )
        try:
            content, size, version = fetch_range(self.url, first * BLOCK, stop * BLOCK)
        except FileNotFoundError:
            content, size, version = b"", -1, ""
        if hasattr(self, "size") and (size, version) != (self.size, self.version):
            shutil.rmtree(self.folder, ignore_errors=True)
            raise DownloadError(f"{self.url:.200} changed while it was read; load it again.")
        if not hasattr(self, "size"):
            facts = {"url": self.url, "size": size, "version": version}
            self._keep(FACTS, json.dumps(facts).encode())
        blocks = [content[i : i + BLOCK] for i in range(0, len(content), BLOCK)]
        for number, block in enumerate(blocks, start=first):
            self._keep(str(number), _sealed(block, number, size, version))
        self._on_fetch()
        return blocks

    def _keep(self, name: str, content: bytes) -> None:
        make_folder(self.folder)
        try:
            write_whole(self.folder / name, content)
        except OSError as error:
            # A FileNotFoundError would read as a chunk that the server does not have.
            raise DownloadError(error.strerror) from error

    @contextmanager
    def open_raster(self, **options: Any) -> Iterator[Any]:
        """Open it with rasterio; GDAL itself asks no server, and is shown no other file."""
        import rasterio

        # One name can be read by one dataset at a time.
        name = f"{secrets.token_hex(8)}/{self.name}"
        failures: list[Exception] = []

        def opener(path: str, mode: str = "rb", **_: Any) -> io.BufferedIOBase:
            if not str(path).endswith(name) or mode != "rb":
                raise FileNotFoundError(path)
            return io.BufferedReader(_Stream(self, failures))

        try:
            with (
                rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"),
                rasterio.open(name, driver="GTiff", opener=opener, **options) as source,
            ):
                yield source
        except rasterio.errors.RasterioError:
            if not failures:
                raise
        if failures:
            raise failures[0]


class _Stream(io.RawIOBase):
    """A remote file as Python's files are."""

    def __init__(self, file: RemoteFile, failures: list[Exception]) -> None:
        self._file, self._failures, self._at = file, failures, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        try:
            content = self._file.read(self._at, self._at + len(buffer))
        except Exception as error:
            # GDAL can pass on no exception; the file seems to end here.
            self._failures.append(error)
            return 0
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)


def remote_store(
    url: str, root: Path, download: bool, on_fetch: Callable[[], None] = lambda: None
) -> Any:
    """Return a Zarr store at an address, read-only; its arrays must be listed in its metadata."""
    try:
        from zarr.abc.store import OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
    except ImportError as error:
        raise ModuleNotFoundError("Zarr needs zarr: pip install 'satclip-explore[geo]'") from error

    class RemoteStore(Store):
        family = "arrays"
        supports_writes = supports_deletes = supports_listing = False

        def __init__(self) -> None:
            super().__init__(read_only=True)
            self.url, self.name = url, PurePosixPath(url.partition("?")[0]).name
            self._files: dict[str, RemoteFile | None] = {}
            self._opening: dict[str, Lock] = defaultdict(Lock)

        def __eq__(self, other: object) -> bool:
            return isinstance(other, RemoteStore) and other.url == self.url

        def identity(self) -> list[Any]:
            """Say what was found of metadata: address, size, and version of each."""
            return sorted(file.identity for file in self._files.values() if file is not None)

        def _file(self, key: str) -> RemoteFile | None:
            with self._opening[key]:
                if key not in self._files:
                    self._files[key] = self._open_file(key)
                return self._files[key]

        def _open_file(self, key: str) -> RemoteFile | None:
            # A signature stands behind the path, and is of all files below it.
            path, mark, query = url.partition("?")
            address = f"{path.rstrip('/')}/{key}{mark}{query}"
            try:
                return RemoteFile(address, root, download, on_fetch)
            except WeightsNotFoundError:
                raise
            except FileNotFoundError:
                return None

        def _read(self, key: str, part: Any) -> bytes | None:
            file = self._file(key)
            if file is None:
                return None
            start, stop = 0, file.size
            if isinstance(part, RangeByteRequest):
                start, stop = part.start, part.end
            elif isinstance(part, OffsetByteRequest):
                start = part.offset
            elif isinstance(part, SuffixByteRequest):
                start = max(0, stop - part.suffix)
            return file.read(start, stop)

        async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
            try:
                content = await asyncio.to_thread(self._read, key, byte_range)
            except WeightsNotFoundError as error:
                # zarr takes a FileNotFoundError for a chunk that was never written.
                raise RuntimeError(str(error)) from error
            return None if content is None else prototype.buffer.from_bytes(content)

        async def get_partial_values(self, prototype: Any, key_ranges: Any) -> list[Any]:
            return [await self.get(key, prototype, part) for key, part in key_ranges]

        async def exists(self, key: str) -> bool:
            return await asyncio.to_thread(self._file, key) is not None

        async def set(self, key: str, value: Any) -> None:
            self._check_writable()

        async def delete(self, key: str) -> None:
            self._check_writable()

        def list(self) -> Any:
            raise NotImplementedError("a server does not list what it has.")

        def list_prefix(self, prefix: str) -> Any:
            return self.list()

        def list_dir(self, prefix: str) -> Any:
            return self.list()

    return RemoteStore()

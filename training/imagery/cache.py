"""The feature cache: what the frozen part of the image encoder says, computed once and kept."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from satclip_explore.files.atomic import replacing, write_whole
from satclip_explore.progress import Cancel, Meter, OnProgress, stop_if
from training.imagery.source import former_names

ZEROS = 1 << 24
"""Bytes written at once where the system cannot reserve them."""


def open_table(path: Path, shape: tuple[int, ...]) -> Any:
    """Open a float16 table for writing, made with its full size on disk if it is not there.

    Parameters
    ----------
    path : pathlib.Path
        Of the table; a journal of what is in it, blocks.jsonl beside it, goes with the old one.
    shape : tuple of int
        A table of another shape is replaced.

    Returns
    -------
    numpy.memmap

    Raises
    ------
    OSError
        If the disk is full.
    """
    if path.is_file():
        try:
            table = np.lib.format.open_memmap(path, mode="r+")
            if table.shape == shape and table.dtype == np.float16:
                return table
        except (ValueError, OSError, EOFError):
            pass
    # A sparse file would die with a bus error in mid-write once the disk is full.
    with replacing(path, size=2 * math.prod(shape)) as [part]:
        np.lib.format.open_memmap(part, mode="w+", dtype=np.float16, shape=shape).flush()
        with part.open("r+b") as stream:
            _reserve(stream, part.stat().st_size)
    path.with_name("blocks.jsonl").unlink(missing_ok=True)
    return np.lib.format.open_memmap(path, mode="r+")


def _reserve(stream: BinaryIO, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(stream.fileno(), 0, size)
        return
    # macOS and Windows: write what follows the header, which holds zeros already.
    start = min(size, 4096)
    stream.seek(start)
    for offset in range(start, size, ZEROS):
        stream.write(bytes(min(ZEROS, size - offset)))


FORMAT_VERSION = 1


class FeatureExtractor(Protocol):
    """A table of features of shape (A, N, dim) that is computed in independent blocks.

    Attributes
    ----------
    lonlat : numpy.ndarray, shape (N, 2), float64
        Places in degrees.
    on_land : numpy.ndarray, shape (N,), bool
        False for places that no image tells apart.
    augmentations, dim, blocks : int
        Versions A of each image, features, and blocks.
    groups : tuple of int
        Widths of the groups of columns that belong together; they add up to `dim`.
    """

    lonlat: NDArray[np.float64]
    on_land: NDArray[np.bool_]
    augmentations: int
    dim: int
    blocks: int
    groups: tuple[int, ...]

    def describe(self) -> dict[str, Any]:
        """Say in plain values what the features are."""
        ...

    def index(self, block: int) -> tuple[Any, Any, Any]:
        """Return where a block goes in the table."""
        ...

    def compute(self, block: int) -> NDArray[np.float32]:
        """Compute a block; rows of images that cannot be used are NaN."""
        ...


@dataclass(frozen=True)
class Features:
    """A complete table and its places.

    Parameters
    ----------
    table : numpy.ndarray, shape (A, N, dim), float16
        Memory-mapped, read only.
    lonlat : numpy.ndarray, shape (N, 2), float64
        Degrees.
    usable : numpy.ndarray, shape (N,), bool
        False for images that could not be used in some version.
    on_land : numpy.ndarray, shape (N,), bool
        See `FeatureExtractor`.
    groups : tuple of int
        See `FeatureExtractor`.
    description : dict
        Of imagery and features.
    """

    table: NDArray[np.float16]
    lonlat: NDArray[np.float64]
    usable: NDArray[np.bool_]
    on_land: NDArray[np.bool_]
    groups: tuple[int, ...]
    description: dict[str, Any]


def cached_features(
    extractor: FeatureExtractor,
    description: dict[str, Any],
    folder: str | Path,
    *,
    on_progress: OnProgress | None = None,
    cancel: Cancel | None = None,
) -> Features:
    """Compute the features that a folder does not hold yet, and open them.

    Parameters
    ----------
    extractor : FeatureExtractor
        What to compute.
    description : dict
        Plain values that decide the features; the cache is valid for exactly these.
    folder : str or pathlib.Path
        Holds one sub-folder for each description.
    on_progress : callable, optional
        Called with a `Progress` before the first and after every block.
    cancel : Cancel, optional
        Stops between blocks.

    Returns
    -------
    Features

    Raises
    ------
    Cancelled
        If `cancel` was set.
    OSError
        If the disk is full; finished blocks stay.
    ValueError
        If no image could be used.

    Notes
    -----
    Every finished block is noted with its checksum, in a journal that is only appended to. A block
    whose bytes do not match (the machine lost power, the file was changed) is computed again.
    """
    shape = (extractor.augmentations, len(extractor.lonlat), extractor.dim)
    full = {**description, "shape": list(shape), "version": FORMAT_VERSION}
    # Processors differ in the last digits of an arcsine; 1e-6 degrees are 0.1 m. -0 is 0.
    places = np.ascontiguousarray(np.round(extractor.lonlat, 6) + 0.0)
    full["lonlat"] = hashlib.sha256(places.tobytes()).hexdigest()
    identity = json.dumps(former_names(full), sort_keys=True)
    key = hashlib.sha256(identity.encode()).hexdigest()[:16]
    folder = Path(folder) / key
    folder.mkdir(parents=True, exist_ok=True)
    table = open_table(folder / "features.npy", shape)
    journal = folder / "blocks.jsonl"
    done = _verified(journal, extractor, table)
    write_whole(folder / "description.json", json.dumps(full, indent=2).encode())

    report = Meter(
        "features",
        on_progress,
        total=extractor.blocks,
        done=len(done),
        places_per_unit=shape[0] * shape[1] / extractor.blocks,
    )
    for block in range(extractor.blocks):
        if block in done:
            continue
        report(len(done))
        stop_if(cancel, f"stopped after {len(done)} of {extractor.blocks} blocks of features.")
        values = extractor.compute(block).astype(np.float16)
        table[extractor.index(block)] = values
        with journal.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"block": block, "checksum": _checksum(values)}) + "\n")
        done.add(block)
    report(len(done))
    table.flush()
    usable = np.ones(shape[1], dtype=np.bool_)
    for version in table:
        usable &= np.isfinite(version).all(axis=1)
    if not usable.any():
        raise ValueError(f"none of the {shape[1]:,} images could be used: damaged or too small.")
    readable = np.load(folder / "features.npy", mmap_mode="r")
    return Features(readable, extractor.lonlat, usable, extractor.on_land, extractor.groups, full)


def _verified(journal: Path, extractor: FeatureExtractor, table: NDArray[np.float16]) -> set[int]:
    """Return the blocks whose bytes match their checksum."""
    noted: dict[int, str] = {}
    if journal.is_file():
        for line in journal.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
                noted[int(entry["block"])] = str(entry["checksum"])
            except (ValueError, KeyError, TypeError):
                continue  # the line that a killed process was writing
    return {
        block
        for block, checksum in noted.items()
        if 0 <= block < extractor.blocks
        and _checksum(np.asarray(table[extractor.index(block)])) == checksum
    }


def _checksum(values: NDArray[np.float16]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=16).hexdigest()

"""The file of the feature cache: its whole size is on disk before anything is written."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

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
    partial = path.with_suffix(".partial")
    try:
        table = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
        table.flush()
        # A sparse file would die with a bus error in mid-write once the disk is full.
        with partial.open("r+b") as stream:
            _reserve(stream, partial.stat().st_size)
    except OSError as error:
        partial.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            size = 2 * int(np.prod(shape)) / 1e6
            raise OSError(
                error.errno,
                f"no room for the feature cache ({size:,.1f} MB) at {path.parent}. "
                "Free some space or pass cache=… on another disk.",
            ) from error
        raise
    os.replace(partial, path)
    path.with_name("blocks.jsonl").unlink(missing_ok=True)
    return table


def _reserve(stream: BinaryIO, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(stream.fileno(), 0, size)
        return
    # macOS and Windows: write what follows the header, which holds zeros already.
    start = min(size, 4096)
    stream.seek(start)
    for offset in range(start, size, ZEROS):
        stream.write(bytes(min(ZEROS, size - offset)))

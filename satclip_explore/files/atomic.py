"""Files that are written completely or not at all."""

from __future__ import annotations

import errno
import glob
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FULL_DISK = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)

ABANDONED_S = 3600.0
"""A part that nobody has written to for so long, in seconds, was left by a process that died."""


@contextmanager
def replacing(*paths: str | Path, size: int | None = None) -> Iterator[list[Path]]:
    """Give new files to write, which take the places of others together when the block ends.

    Parameters
    ----------
    *paths : str or pathlib.Path
        Files to replace or to make. What was there before survives a failure.
    size : int, optional
        Bytes that they need, for the message.

    Yields
    ------
    list of pathlib.Path
        One for each path, in its folder; the block makes them.

    Raises
    ------
    OSError
        If a folder is missing or not writable, or the disk is full; one sentence.
    """
    targets = [Path(path) for path in paths]
    parts = [path.with_name(f".{path.name}.{secrets.token_hex(4)}.part") for path in targets]
    try:
        for path in targets:
            _remove_abandoned(path)
        yield parts
        for part in parts:
            with part.open("r+b") as file:
                os.fsync(file.fileno())
        for part, path in zip(parts, targets, strict=True):
            part.replace(path)
    except OSError as error:
        if error.errno is None:
            raise  # in the words of the block
        reason = error.strerror
        needed = "" if size is None else f" ({size:,} bytes)"
        advice = ""
        if error.errno in FULL_DISK:
            advice = " Free some space, or choose another disk."
        raise OSError(
            error.errno,
            f"cannot write {targets[0]}{needed}: {reason}. Nothing was changed.{advice}",
        ) from error
    finally:
        for part in parts:
            with suppress(OSError):
                part.unlink()


def write_whole(path: str | Path, content: bytes) -> Path:
    """Write a file completely or not at all; see `replacing`."""
    with replacing(path, size=len(content)) as [part]:
        part.write_bytes(content)
    return Path(path)


def _remove_abandoned(path: Path) -> None:
    for name in glob.iglob(f".{glob.escape(path.name)}.*.part", root_dir=path.parent):
        part = path.parent / name
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > ABANDONED_S:
                part.unlink()

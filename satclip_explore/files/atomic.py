"""Files that are written completely or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def write_whole(path: str | Path, content: bytes) -> Path:
    """Write a file completely or not at all: what was there before survives a failure.

    Raises
    ------
    OSError
        If the folder is missing or not writable, or the disk is full; one sentence.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        reason = error.strerror or str(error)
        raise OSError(
            f"cannot write {path} ({len(content):,} bytes): {reason}. Nothing was changed."
        ) from error
    return path

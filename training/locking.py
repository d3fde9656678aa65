"""One run at a time in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_FILE = "in-use.lock"


@contextmanager
def only_one(folder: str | Path) -> Iterator[None]:
    """Hold a folder against other processes, and other threads, that want to write there.

    The operating system lets go of it when the process ends, however it ends.

    Parameters
    ----------
    folder : str or pathlib.Path
        Made if needed.

    Raises
    ------
    ValueError
        If somebody else holds it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        yield
        return
    with (folder / LOCK_FILE).open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"another run is writing to {folder}; wait for it, stop it, or pass another folder."
            ) from error
        yield

"""Files that are written completely or not at all."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from satclip_explore.files.atomic import ABANDONED_S, replacing, write_whole


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        OSError, match=r"cannot write .*table\.csv \(3 bytes\): No space left on device\."
    ):
        write_whole(path, b"new")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


def test_writing_replaces_and_returns_the_path(tmp_path):
    path = tmp_path / "table.csv"
    write_whole(path, b"1")
    assert write_whole(str(path), b"2") == Path(path)
    assert path.read_bytes() == b"2"
    assert path.stat().st_mode & 0o444 == 0o444 & ~os_umask()


def os_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_files_take_their_places_together(tmp_path):
    names = [tmp_path / "a", tmp_path / "b"]
    with replacing(*names) as parts:
        for part in parts:
            part.write_text("1")
    assert [path.read_text() for path in names] == ["1", "1"]

    def write_one(error=None):
        with replacing(*names) as [first, _]:
            first.write_text("2")
            if error is not None:
                raise error

    with pytest.raises(OSError, match=r"cannot write .*: No such file .* Nothing was changed\.$"):
        write_one()
    with pytest.raises(KeyError, match="of the block"):
        write_one(KeyError("of the block"))
    assert [path.read_text() for path in names] == ["1", "1"]
    assert sorted(tmp_path.iterdir()) == names


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path):
    left, busy, other = (tmp_path / f".{n}.part" for n in ("a.csv.01", "a.csv.02", "b.csv.01"))
    for path in (left, busy, other):
        path.touch()
    then = time.time() - ABANDONED_S - 1.0
    for path in (left, other):
        os.utime(path, (then, then))
    write_whole(tmp_path / "a.csv", b"1")
    assert sorted(tmp_path.iterdir()) == [busy, other, tmp_path / "a.csv"]

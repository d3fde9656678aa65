"""One run at a time in a folder, however the one before ended."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from training.pretraining.checkpoint import only_one

ROOT = Path(__file__).resolve().parents[3]


def test_a_second_run_is_refused_until_the_first_ends(tmp_path):
    with only_one(tmp_path / "run"):
        with (
            pytest.raises(ValueError, match="another run is writing to"),
            only_one(tmp_path / "run"),
        ):
            pass
        with only_one(tmp_path / "other"):
            pass
    with only_one(tmp_path / "run"):
        pass


def test_another_thread_is_refused_too(tmp_path):
    found = []

    def attempt():
        try:
            with only_one(tmp_path):
                found.append("entered")
        except ValueError as error:
            found.append(str(error))

    with only_one(tmp_path):
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    assert "another run" in found[0]


def test_a_killed_process_leaves_nothing_locked(tmp_path):
    code = (
        "import os, signal, sys\n"
        "from training.pretraining.checkpoint import only_one\n"
        "with only_one(sys.argv[1]):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    found = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT)
    assert found.returncode == -9
    with only_one(tmp_path):
        pass


def test_where_there_are_no_locks_runs_start_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with only_one(tmp_path), only_one(tmp_path):
        pass

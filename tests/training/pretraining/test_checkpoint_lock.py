"""One run at a time in a folder, however the one before ended."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import Timeout

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


def test_a_second_process_is_refused_in_the_same_words(tmp_path):
    code = (
        "import sys\n"
        "from training.pretraining.checkpoint import only_one\n"
        "with only_one(sys.argv[1]):\n"
        "    pass\n"
    )
    with only_one(tmp_path):
        found = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True
        )
    assert found.returncode == 1
    assert f"ValueError: another run is writing to {tmp_path}; wait for it" in found.stderr


def test_a_lock_that_the_run_itself_misses_is_not_taken_for_this_one(tmp_path):
    with pytest.raises(Timeout, match="of a download"), only_one(tmp_path):
        raise Timeout("of a download")
    with only_one(tmp_path):
        pass

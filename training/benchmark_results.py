"""Finished cells of the benchmark on disk, and what makes a cell the same as another."""

from __future__ import annotations

import hashlib
import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from satclip_explore.export import write_whole
from training.task import Task

SCORING = tuple(
    f"training.{name}"
    for name in (
        "benchmark", "contenders", "heads", "kernel", "linear", "metrics", "mlp", "mlp_run",
        "mlp_step", "neighbor_probes", "predictions", "probe", "splits",
        "training_rows",
    )
)  # fmt: skip
"""Modules whose text decides a score: a cell that another text produced is done again."""


class Results:
    """Finished cells, one JSON line each; a damaged last line is dropped and done again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.rows: dict[str, dict[str, Any]] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
            try:
                row = json.loads(line)
                self.rows[row["key"]] = row
            except (json.JSONDecodeError, KeyError, TypeError):
                continue
        if path.is_file():
            lines = "".join(json.dumps(row) + "\n" for row in self.rows.values())
            write_whole(path, lines.encode())

    def add(self, key: str, row: dict[str, Any]) -> None:
        """Write down a finished cell."""
        self.rows[key] = {"key": key, **row}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.rows[key]) + "\n")


def revision() -> str:
    """Name the code and the settings that a score comes from, in sixteen digits."""
    digest = hashlib.sha256()
    for module in SCORING:
        found = find_spec(module)
        assert found is not None
        assert found.origin is not None
        digest.update(Path(found.origin).read_bytes())
    return digest.hexdigest()[:16]


def task_digest(task: Task) -> str:
    """Name the places and labels of a task."""
    digest = hashlib.sha256(np.ascontiguousarray(task.lonlat).tobytes())
    digest.update(np.ascontiguousarray(task.target).tobytes())
    return digest.hexdigest()[:16]


def without_folders(text: str) -> str:
    """Keep the file names of a sentence and drop the folders of this machine."""
    return re.sub(r"(?<![\w.:/])(?:~|\.{1,2}|[A-Za-z]:)?[\\/](?:[^\s\\/'\"]+[\\/])+", "", text)

"""The state of a run on disk: written whole or not at all, refused when it does not fit."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from satclip_explore import __version__
from satclip_explore.encoders.checkpoint import read_config
from satclip_explore.encoders.tensor_files import read_torch_file, write_torch_file
from satclip_explore.errors import Offer, RunConflictError
from satclip_explore.html_view import facts_table
from training.imagery.source import current_names
from training.pretraining.config import PretrainConfig


class RunFolder(type(Path())):  # type: ignore[misc]
    """What `pretrain` returns; `load_encoder` opens it.

    Any other use of a path works as usual. A path below it is a `RunFolder` too, and shows itself
    as a plain path where there is no encoder.
    """

    def _repr_html_(self) -> str | None:
        try:
            config = read_config(self)
        except (OSError, ValueError):
            return None
        card = config.get("card")
        card = card if isinstance(card, dict) else {}
        data, found = (
            value if isinstance(value := card.get(name), dict) else {}
            for name in ("data", "validation")
        )
        return facts_table(
            str(config.get("name", self.name)),
            {
                "folder": self,
                "degrees L": config.get("legendre_polys", ""),
                "numbers per place": config.get("embed_dim", ""),
                "imagery": data.get("source", ""),
                "training places": card.get("training_places", ""),
                "epochs": card.get("epochs", ""),
                "minutes": card.get("training_minutes", ""),
                "found at first try": _share(found.get("recall_at_1"), found.get("candidates")),
                "open it": "sx.load_encoder(…), sx.explore(…)",
            },
        )


def _share(recall: object, candidates: object) -> str:
    if not isinstance(recall, float | int) or not isinstance(candidates, int):
        return ""
    return f"{recall:.0%} of {candidates:,} unseen images"


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
        held = FileLock(folder / LOCK_FILE, blocking=False).acquire()
    except Timeout as error:
        raise ValueError(
            f"another run is writing to {folder}; wait for it, stop it, or pass another folder."
        ) from error
    with held:
        yield


STATE_FILE = "training.pt"
FORMAT_VERSION = 1

PARTS = (
    "config",
    "description",
    "epoch",
    "seconds",
    "history",
    "model",
    "optimizer",
    "random_state",
)
"""What the state of a run holds, beside figures for people."""

FREE_SETTINGS = {
    "root",
    "device",
    "tensorboard",
    "allow_missing",
    "loss_chunk",
    "description",
    "probes",
}
"""Settings that may differ when a run goes on: they do not decide its result."""


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Replace the state of a run in one step.

    Parameters
    ----------
    folder : pathlib.Path
        Of the run.
    state : dict
        Tensors and plain values.

    Raises
    ------
    OSError
        If the disk is full; the former state is untouched.
    """
    try:
        write_torch_file(folder / STATE_FILE, {"format_version": FORMAT_VERSION, **state})
    except OSError as error:
        raise OSError(
            error.errno, f"{error.strerror} Run the same call again: it goes on from there."
        ) from error


def read_state(folder: Path) -> dict[str, Any] | None:
    """Read the state of a run, or None where there is none.

    Raises
    ------
    ValueError
        If the file is damaged.
    RunConflictError
        If it is of another format or lacks a part.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return None
    state = read_torch_file(path)
    if state.get("format_version") != FORMAT_VERSION:
        raise RunConflictError(
            f"{path} has format_version {state.get('format_version')!r:.60}; this version reads "
            f"{FORMAT_VERSION}.",
            Offer.START_OVER,
        )
    missing = [part for part in PARTS if part not in state]
    if missing:
        raise RunConflictError(
            f"{path} is not the state of a run: {missing[0]!r} is missing.", Offer.START_OVER
        )
    return state | {part: current_names(state[part]) for part in ("config", "description")}


def check_settings(stored: dict[str, Any], wanted: dict[str, Any], folder: Path) -> None:
    """Refuse to go on with settings that are not those of the run.

    Parameters
    ----------
    stored, wanted : dict
        Nested settings, as `PretrainConfig.to_dict` gives them.
    folder : pathlib.Path
        Of the run, for the message.

    Raises
    ------
    RunConflictError
        If a setting differs that decides the result.
    """
    # A setting that was not known then has its default.
    before, now = _flat(PretrainConfig().to_dict()) | _flat(stored), _flat(wanted)
    for name in sorted(now.keys() | before.keys()):
        if name in FREE_SETTINGS or before.get(name) == now.get(name):
            continue
        raise RunConflictError(
            f"{folder} holds a run with {name}={before.get(name)!r:.60}; got "
            f"{now.get(name)!r:.60}.",
            Offer.START_OVER,
        )


def check_description(stored: dict[str, Any], wanted: dict[str, Any], folder: Path) -> None:
    """Refuse to go on with images or features that are not those of the run.

    Parameters
    ----------
    stored : dict
        Description in the state of the run.
    wanted : dict
        What is known of it now, or a part of that.
    folder : pathlib.Path
        Of the run, for the message.

    Raises
    ------
    RunConflictError
        If they differ.
    """
    if any(stored.get(key) != value for key, value in wanted.items()):
        raise RunConflictError(
            f"{folder} holds a run on other images or features than these.", Offer.START_OVER
        )


def _flat(tree: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value)
        else:
            flat[key] = tuple(value) if isinstance(value, list) else value
    return flat


def revision() -> str:
    """Name the version of this code: the git commit of a checkout, else the package's version."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return __version__
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return __version__
    return found.stdout.strip()

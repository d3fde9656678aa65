"""Where the weights of registered encoders are: given, in the cache, or fetched when asked."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from satclip_explore.encoders.card import EncoderCard
from satclip_explore.encoders.download import (
    DownloadError,
    download_file,
    file_sha256,
    path_inside,
)
from satclip_explore.errors import MissingFileError, Offer
from satclip_explore.files.atomic import write_whole
from satclip_explore.progress import Cancelled, OnProgress, Progress

DEFAULT_CACHE = Path("~/.cache/satclip_explore")
EMBEDDED = Path(__file__).resolve().parents[1] / "data"


class WeightsNotFoundError(MissingFileError, ValueError):
    """The weights of a registered encoder are not on this machine; says how to get them."""


def is_at_hand(card: EncoderCard, cache_dir: str | Path | None) -> bool:
    """Tell whether a card's encoder loads without a download."""
    cached = _cached(card, cache_dir)
    return bool(card.factory) or cached.is_file() or any(cached.glob("*"))


def size_mb(card: EncoderCard, cache_dir: str | Path | None) -> float | None:
    """Return the size in MB of a card's files at hand, else that of its download; None: unknown."""
    if card.factory or not is_at_hand(card, cache_dir):
        return card.size_mb
    cached = _cached(card, cache_dir)
    files = [cached] if cached.is_file() else [f for f in cached.glob("*") if f.is_file()]
    return round(sum(file.stat().st_size for file in files) / 1e6, 1)


def locate(
    card: EncoderCard, path: str | Path | None, cache_dir: str | Path | None, download: bool
) -> Path:
    """Find a card's weights: the given path, the cache, and only then the network if allowed.

    Raises
    ------
    WeightsNotFoundError
        If they are nowhere; says how to get them.
    DownloadError
        If they cannot be fetched.
    """
    if path is not None:
        given = Path(path).expanduser()
        # A folder may stand for the published file, or folder, in it.
        if given.is_dir() and (given / card.filename).exists():
            given /= card.filename
        if not given.exists():
            raise WeightsNotFoundError(f"no weights of {card.name} at {given}.")
        return given
    cached = _cached(card, cache_dir)
    if cached.exists():
        return cached
    if card.embedded:
        raise WeightsNotFoundError(
            f"the embedded weights of {card.name} are missing from this installation ({cached}); "
            "install satclip-explore again."
        )
    if card.manual:
        raise WeightsNotFoundError(
            f"the weights of {card.name} can only be downloaded by hand: {card.manual}; "
            f"put it at {cached} or pass path=."
        )
    if not download:
        raise WeightsNotFoundError(
            f"the weights of {card.name} are not on this machine: {card.filename} from "
            f"{card.source} belongs at {cached}.",
            Offer.DOWNLOAD,
        )
    return fetch(card, cached)


def download_weights(
    card: EncoderCard,
    cache_dir: str | Path | None = None,
    *,
    on_progress: OnProgress | None = None,
) -> Path:
    """Download a card's weights to where `load_encoder` looks for them; see `fetch`."""
    return fetch(card, _cached(card, cache_dir), on_progress)


def fetch(card: EncoderCard, path: Path, on_progress: OnProgress | None = None) -> Path:
    """Download a card's weights to `path` and remember their hash.

    `on_progress` is called with a `Progress` in bytes; by default a bar is drawn.

    Raises
    ------
    DownloadError
        If it fails, or the file does not have the expected hash: the card's, else that of the first
        download, else the one that the hub states.
    """
    record = path.with_name(path.name + ".sha256")
    seen = record.read_text(encoding="utf-8").strip() if record.is_file() else ""
    expected = card.sha256 or seen or None
    if card.repo_id:
        stated = fetch_from_hub(card.repo_id, card.filename, card.revision, path, on_progress)
        expected = expected or stated
    else:
        download_file(card.url, path, sha256=expected, on_progress=on_progress)
    got = file_sha256(path)
    if expected is not None and got != expected:
        path.unlink()
        raise DownloadError(
            f"{card.filename} is not the expected file (SHA-256 {got[:12]}…, expected "
            f"{expected[:12]}…) and was removed."
        )
    write_whole(record, f"{got}\n".encode())
    return path


def fetch_from_hub(
    repo_id: str,
    filename: str,
    revision: str,
    path: Path,
    on_progress: OnProgress | None = None,
) -> str | None:
    """Fetch a file of the Hugging Face hub with its own client: a bar, resumed where it was cut.

    Parameters
    ----------
    repo_id, filename, revision : str
        Where it is on the hub.
    path : Path
        Where to put it; its name must be `filename`.
    on_progress : callable, optional
        Called with a `Progress` in bytes, in place of a bar.

    Returns
    -------
    str or None
        The SHA-256 that the hub states for the file, where it states one.

    Raises
    ------
    ModuleNotFoundError
        If huggingface_hub is not installed.
    DownloadError
        If it cannot be fetched.
    """
    try:
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    except ImportError as error:
        raise ModuleNotFoundError(
            "downloads from the Hugging Face hub need huggingface_hub; install it with: "
            "pip install huggingface_hub"
        ) from error
    try:
        facts = get_hf_file_metadata(hf_hub_url(repo_id, filename, revision=revision))
        hf_hub_download(
            repo_id, filename, revision=facts.commit_hash or revision, local_dir=path.parent,
            **({} if on_progress is None else {"tqdm_class": _reporting(on_progress)}),
        )  # fmt: skip
    except Cancelled:
        raise
    # The client lets errors of its own, of its HTTP library and of the system through.
    except Exception as error:
        raise DownloadError(
            f"{filename} could not be fetched from huggingface.co/{repo_id} "
            f"({type(error).__name__}); check the connection and call again, what arrived is kept."
        ) from error
    # Large files are tagged with their SHA-256, small ones with a git hash of 40 digits.
    return facts.etag if re.fullmatch(r"[0-9a-f]{64}", facts.etag or "") else None


def _reporting(on_progress: OnProgress) -> Any:
    """Make a bar for the hub's client that is not drawn, and tells how far it is."""
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    class Reporting(tqdm):
        def __init__(self, *given: Any, **options: Any) -> None:
            super().__init__(*given, **options | {"file": io.StringIO(), "disable": False})

        def update(self, n: float | None = 1) -> bool | None:
            drawn: bool | None = super().update(n)
            on_progress(Progress("download", int(self.n), int(self.total or 0)))
            return drawn

    return Reporting


def _cached(card: EncoderCard, cache_dir: str | Path | None) -> Path:
    if card.embedded:
        return EMBEDDED / (card.filename or card.name)
    root = Path(cache_dir if cache_dir is not None else DEFAULT_CACHE)
    return path_inside(root, "encoders", card.name, card.filename)

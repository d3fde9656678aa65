"""Names to encoders: local files first, downloads only when asked for."""

from __future__ import annotations

import difflib
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.encoders.cards import CARDS, EncoderCard

DEFAULT_ENCODER = "mini-l40"
DEFAULT_CACHE = Path("~/.cache/satclip_explore")
EMBEDDED = Path(__file__).resolve().parents[1] / "data"

_LOADERS = {
    "satclip": "satclip_explore.encoders.checkpoint:read_encoder",
    "embedded": "satclip_explore.encoders.checkpoint:read_encoder",
}
"""Loader of each family that has files: called with path, name, dtype and device."""


class WeightsNotFoundError(FileNotFoundError, ValueError):
    """The weights of a registered encoder are not on this machine; says how to get them."""


def load_encoder(
    name_or_path: str | Path | None = None,
    *,
    path: str | Path | None = None,
    dtype: str = "float32",
    device: str = "auto",
    download: bool = False,
    layer: int | None = None,
    cache_dir: str | Path | None = None,
) -> LocationEncoder:
    """Load a location encoder.

    Parameters
    ----------
    name_or_path : str or Path, optional
        A registered name (see `list_encoders`), or a file or folder whose family is read from its
        content. Default: the embedded encoder.
    path : str or Path, optional
        Where the weights of that name are, if not in the cache.
    dtype : {"float32", "float64", "bfloat16"}
        Arithmetic.
    device : str
        "auto" takes CUDA where there is one.
    download : bool
        Whether missing weights may be fetched. Nothing is downloaded otherwise.
    layer : int, optional
        Give the activations of this hidden layer (0-based) of a Siren in place of its output.
    cache_dir : str or Path, optional
        Where downloads are kept; default ~/.cache/satclip_explore.

    Returns
    -------
    LocationEncoder

    Raises
    ------
    FileNotFoundError
        If the weights are not on this machine (`WeightsNotFoundError`, which is a ValueError too).
    ValueError
        If the name is unknown (the closest are named), or the file is not an encoder.

    Examples
    --------
    >>> load_encoder("xyz").embed((90.0, 0.0)).round(3).tolist()
    [[0.0, 1.0, 0.0]]
    """
    name = DEFAULT_ENCODER if name_or_path is None else str(name_or_path)
    card = CARDS.get(name.lower())
    if card is None:
        encoder = _load_file(_existing(name, path), dtype=dtype, device=device)
    elif card.family == "baseline":
        from satclip_explore.encoders.baselines import load_baseline

        encoder = load_baseline(card.name, dtype=dtype, device=device)
    else:
        weights = _locate(card, path, cache_dir, download)
        loader = _loader(card.family)
        encoder = loader(weights, name=card.name, dtype=dtype, device=device)
    return encoder if layer is None else _hidden_layer(encoder, layer)


def list_encoders(*, cache_dir: str | Path | None = None) -> pd.DataFrame:
    """List every registered encoder.

    Parameters
    ----------
    cache_dir : str or Path, optional
        Where downloads are looked for; default ~/.cache/satclip_explore.

    Returns
    -------
    pandas.DataFrame
        One row each: name, family, dim, licence, size_mb (None where unknown), available (whether
        it loads without a download), authors, year, training_data, coverage, source.
    """
    rows = []
    for card in CARDS.values():
        facts = asdict(card) | {"available": _is_at_hand(card, cache_dir)}
        rows.append({key: facts[key] for key in _COLUMNS})
    return pd.DataFrame(rows, columns=list(_COLUMNS))


_COLUMNS = (
    "name",
    "family",
    "dim",
    "licence",
    "size_mb",
    "available",
    "authors",
    "year",
    "training_data",
    "coverage",
    "source",
)


def _loader(family: str) -> Any:
    module, _, function = _LOADERS[family].partition(":")
    return getattr(import_module(module), function)


def _existing(name: str, path: str | Path | None) -> Path:
    """Take a name that is not registered as a path, or say what may have been meant."""
    file = Path(name).expanduser()
    if path is None and file.exists():
        return file
    if path is None and (file.suffix or len(file.parts) > 1):
        raise FileNotFoundError(f"no file or folder at {file}; pass the path of an encoder.")
    close = difflib.get_close_matches(name.lower(), CARDS, n=3, cutoff=0.4) or list(CARDS)[:3]
    raise ValueError(
        f"no encoder is called {name!r:.80}; closest: {', '.join(close)}. "
        "list_encoders() shows them all."
    )


def _load_file(path: Path, *, dtype: str, device: str) -> LocationEncoder:
    """Read a file or folder whose family its content tells."""
    from satclip_explore.encoders.checkpoint import read_encoder

    return read_encoder(path, dtype=dtype, device=device)


def _cached(card: EncoderCard, cache_dir: str | Path | None) -> Path:
    if card.family == "embedded":
        return EMBEDDED / card.name
    root = Path(cache_dir if cache_dir is not None else DEFAULT_CACHE).expanduser()
    return root / "encoders" / card.name / card.filename


def _is_at_hand(card: EncoderCard, cache_dir: str | Path | None) -> bool:
    return card.family == "baseline" or _cached(card, cache_dir).exists()


def _locate(
    card: EncoderCard, path: str | Path | None, cache_dir: str | Path | None, download: bool
) -> Path:
    """Find a card's weights: the given path, the cache, and only then the network if allowed."""
    if path is not None:
        given = Path(path).expanduser()
        if not given.exists():
            raise WeightsNotFoundError(f"no weights of {card.name} at {given}.")
        return given
    cached = _cached(card, cache_dir)
    if cached.exists():
        return cached
    if card.family == "embedded":
        raise WeightsNotFoundError(
            f"the embedded weights of {card.name} are missing from this installation ({cached}); "
            "install satclip-explore again."
        )
    raise WeightsNotFoundError(
        f"the weights of {card.name} are not on this machine. Call "
        f"load_encoder({card.name!r}, download=True), or put {card.filename} from {card.source} "
        f"at {cached}."
    )


def _hidden_layer(encoder: LocationEncoder, layer: int) -> LocationEncoder:
    from satclip_explore.encoders.hidden_layer import HiddenLayer

    return HiddenLayer(encoder, layer)

"""Names to encoders: local files first, downloads only when asked for."""

from __future__ import annotations

import difflib
import re
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.encoders.cards import CARDS
from satclip_explore.encoders.weights import WeightsNotFoundError, is_at_hand, locate, size_mb

__all__ = ["WeightsNotFoundError", "list_encoders", "load_encoder"]

DEFAULT_ENCODER = "mini-l40"

_LOADERS = {
    "satclip": "checkpoint:read_encoder",
    "csp": "space2vec:read_csp",
    "torchspatial": "space2vec:read_space2vec",
    "gps2vec": "gps2vec:read_gps2vec",
    "mosaiks": "mosaiks:read_mosaiks",
    "rcf": "random_convolutions:read_convolved_picture",
    "geoclip": "geoclip:read_geoclip",
}
"""Loader of each family that has files: called with path, name, dtype and device."""


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
    if path is None and re.fullmatch(r"(harmonics|random)-l\d{1,3}", name.lower()):
        # Any number of degrees can be computed; only some are listed.
        encoder = _baseline(name.lower(), dtype=dtype, device=device)
    elif card is None:
        encoder = _load_file(_existing(name, path), dtype=dtype, device=device)
    elif card.family == "baseline":
        encoder = _baseline(card.name, dtype=dtype, device=device)
    else:
        weights = locate(card, path, cache_dir, download)
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
        One row each: name, family, dim, licence, size_mb (of the files at hand, else of the
        download; missing where unknown), available (whether it loads without a download),
        authors, year, training_data, coverage, source.
    """
    rows = []
    for card in CARDS.values():
        facts = asdict(card) | {"available": is_at_hand(card, cache_dir)}
        facts["size_mb"] = size_mb(card, cache_dir)
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
    return getattr(import_module(f"satclip_explore.encoders.{module}"), function)


def _baseline(name: str, *, dtype: str, device: str) -> LocationEncoder:
    from satclip_explore.encoders.baselines import load_baseline

    return load_baseline(name, dtype=dtype, device=device)


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
    from satclip_explore.encoders.checkpoint import build_encoder, read_encoder
    from satclip_explore.encoders.geoclip import is_geoclip, read_geoclip
    from satclip_explore.encoders.lightning_files import from_published, is_satclip
    from satclip_explore.encoders.mosaiks import read_mosaiks
    from satclip_explore.encoders.space2vec import is_torchspatial, read_space2vec
    from satclip_explore.encoders.tensor_files import read_torch_file

    if path.is_dir() and not (path / "config.json").exists() and any(path.glob("model_*.h5")):
        raise ValueError(
            f"{path} holds zones of GPS2Vec; say which: load_encoder('gps2vec-tag', path=…) or "
            "'gps2vec-visual'."
        )
    if path.is_dir() or path.suffix == ".safetensors":
        return read_encoder(path, dtype=dtype, device=device)
    if path.suffix in (".csv", ".parquet") or path.name.endswith(".csv.gz"):
        return read_mosaiks(path, name=path.stem, dtype=dtype, device=device)
    content = read_torch_file(path)
    if is_torchspatial(content):
        return read_space2vec(path, dtype=dtype, device=device)
    if is_geoclip(content):
        return read_geoclip(path, dtype=dtype, device=device)
    if is_satclip(content):
        config, state = from_published(content, path.name)
        return build_encoder(config, state, dtype=dtype, device=device)
    raise ValueError(
        f"{path.name} holds no encoder that is known here: SatCLIP, CSP, TorchSpatial or GeoCLIP."
    )


def _hidden_layer(encoder: LocationEncoder, layer: int) -> LocationEncoder:
    from satclip_explore.encoders.satclip import hidden_layer

    return hidden_layer(encoder, layer)

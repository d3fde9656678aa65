"""Names to encoders: local files first, downloads only when asked for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import pandas as pd

from satclip_explore.checks import closest, known_keywords
from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.encoders.baselines import load_baseline
from satclip_explore.encoders.card import EncoderCard
from satclip_explore.encoders.cards import CARDS
from satclip_explore.encoders.download import file_sha256
from satclip_explore.encoders.products import family_of
from satclip_explore.encoders.remote_files import is_address, open_address
from satclip_explore.encoders.tensor_files import read_settings, read_weights
from satclip_explore.encoders.weights import WeightsNotFoundError, is_at_hand, locate, size_mb

__all__ = ["WeightsNotFoundError", "list_encoders", "load_encoder"]

DEFAULT_ENCODER = "mini-l40"

_LOADERS = {
    "satclip": "checkpoint:read_encoder:is_satclip",
    "bare-satclip": "bare_weights:read_bare_satclip",
    "csp": "space2vec:read_csp",
    "torchspatial": "space2vec:read_space2vec:is_torchspatial",
    "gps2vec": "gps2vec:read_gps2vec",
    "mosaiks": "mosaiks:read_mosaiks",
    "rcf": "random_convolutions:read_convolved_picture",
    "geoclip": "geoclip:read_geoclip:is_geoclip",
    "mind": "mind:read_mind:is_mind",
    "tte": "tte:read_tte:is_tte",
    "climplicit": "climplicit:read_climplicit:is_climplicit",
    "sinr": "sinr:read_sinr:is_sinr",
    "range": "retrieval:read_range",
    "concat": "combine:read_combined",
    "mapped": "combine:read_combined",
    "raster": "products.raster:read_rasters",
    "arrays": "products.arrays:read_arrays",
    "points": "products.points:read_points",
    "stac": "products.stac:read_stac",
    "vrt": "products.vrt:read_vrt",
    "onnx": "onnx_files:read_onnx",
}
"""Module and reader of each family that has files, and how the content of one is told.

Readers are called with path, name, dtype, device and options of their own; the last function gets
the keys and values of a file.
"""


ANY_SIZE = ("mosaiks", "mind", "tte", "climplicit", "sinr", "range")
"""Families whose authors publish, or let one train, weights of several sizes under one name."""

COMMON = ("name", "family", "dtype", "device", "cache", "download")
"""What a reader may be called with and is not asked of the user as an option of it."""


def load_encoder(
    name_or_path: str | Path | None = None,
    *,
    path: str | Path | None = None,
    name: str = "",
    family: str | None = None,
    dtype: str = "float32",
    device: str = "auto",
    download: bool = False,
    layer: int | None = None,
    dim: int | None = None,
    cache: str | Path | None = None,
    **options: Any,
) -> LocationEncoder:
    """Load a location encoder.

    Parameters
    ----------
    name_or_path : str or Path, optional
        A registered name (see `list_encoders`), or a file or folder whose family is read from its
        content, or an address: https, or s3 or gs for a public bucket; of a .tif or .zarr, and of
        the GeoTIFFs that a .vrt or STAC file lists, the parts around places are fetched. Default:
        the embedded encoder.
    path : str or Path, optional
        Where the weights of that name are, if not in the cache.
    name : str
        How results call the encoder; default the registered name, or what its file says.
    family : str, optional
        Of a file that does not tell it. "satclip" with ``legendre_polys=`` reads bare weights; see
        `bare_weights.read_bare_satclip`.
    dtype : {"float32", "float64", "bfloat16"}
        Arithmetic.
    device : str
        "auto" takes CUDA where there is one.
    download : bool
        Whether missing weights may be fetched. Nothing is downloaded otherwise.
    layer : int, optional
        Give the activations of this hidden layer of a Siren in place of its output, counted from
        0; of MIND, those after so many residual blocks.
    dim : int, optional
        Keep the first `dim` numbers; meant for encoders that were trained for it, as MIND was.
    cache : str or Path, optional
        Where downloads are kept; default ~/.cache/satclip_explore.
    **options
        What a family alone has, e.g. ``month=4`` of Climplicit; see its reader.

    Returns
    -------
    LocationEncoder

    Raises
    ------
    FileNotFoundError
        If the weights are not on this machine (`WeightsNotFoundError`, which is a ValueError too).
    TypeError
        If the family has no such option.
    ValueError
        If the name is unknown (the closest are named), the file is not an encoder, or the weights
        at `path` cannot be those of that name.

    Examples
    --------
    >>> load_encoder("xyz").embed((90.0, 0.0)).round(3).tolist()
    [[0.0, 1.0, 0.0]]
    """
    wanted = DEFAULT_ENCODER if name_or_path is None else str(name_or_path)
    card = CARDS.get(wanted.lower())
    arithmetic = {"dtype": dtype, "device": device}
    has: tuple[str, ...] = ()
    given: Path | None = None
    wishes = {key: v for key, v in (("layer", layer), ("dim", dim)) if v is not None}
    if path is None and re.fullmatch(r"(harmonics|random)-l\d{1,3}", wanted.lower()):
        # Any number of degrees can be computed; only some are listed.
        read: Callable[..., LocationEncoder] = partial(load_baseline, wanted.lower(), **arithmetic)
    elif card is not None and card.factory:
        read, has = _reader(_function(card.factory), card.name, arithmetic)
    else:
        if card is not None:
            file = locate(card, path, cache, download)
        elif path is None and is_address(wanted):
            file = open_address(wanted, cache, download)
        else:
            file = _existing(wanted, path)
        told = _stated(family, file) if family is not None else ""
        told = told or (_family(file) if card is None else card.family)
        own: dict[str, Any] = {} if card is None else {"name": card.name}
        wanted = card.name if card else getattr(file, "url", None) or str(file.resolve())
        reader = _loader(told)
        if "download" in signature(reader).parameters:  # of what lists other files
            own |= {"cache": cache, "download": download}
        read, has = _reader(reader, file, own | arithmetic)
        given = None if card is None or card.embedded else file
    unknown = [key for key in options if key not in has]
    if unknown:
        options_text = f"has the options {', '.join(has)}" if has else "has no options of its own"
        hint = closest(unknown[0], [*has, *signature(load_encoder).parameters])
        raise TypeError(f"{wanted} {options_text}; got {unknown[0]!r:.60}.{hint}")
    encoder: LocationEncoder = read(
        **options, **{key: value for key, value in wishes.items() if key in has}
    )
    if "layer" in wishes and "layer" not in has:
        encoder = _hidden_layer(encoder, wishes["layer"])
    if "dim" in wishes and "dim" not in has:
        encoder = _prefix(encoder, wishes["dim"])
    call = {"name_or_path": wanted, "path": path and str(path), "name": name or None}
    call |= {"family": family}
    encoder.origin = _plain(call | wishes | options)
    if given is not None and card is not None and not (wishes or options):
        _check_identity(encoder, card, given)
    encoder.name = name or encoder.name
    return encoder


def _check_identity(encoder: LocationEncoder, card: EncoderCard, path: Path) -> None:
    """Refuse a file that was given for a registered name and is another model's."""
    degrees = re.fullmatch(r"satclip-.*-l(\d+)", card.name)
    facts: list[tuple[str, Any, Any]] = [("numbers per place", encoder.embed_dim, card.dim)]
    if degrees:
        facts.append(("degrees", getattr(encoder, "legendre_polys", None), int(degrees[1])))
    if card.sha256 is not None and path.suffix == Path(card.filename).suffix:
        facts.append(("SHA-256", file_sha256(path), card.sha256))
    for fact, got, expected in facts:
        if got != expected and card.family not in ANY_SIZE:
            raise ValueError(
                f"{path.name} is not the published {card.name}: its {fact} should be "
                f"{expected}; got {got}. Load it under a name of its own: "
                f"load_encoder({str(path)!r}, name=…)."
            )


@known_keywords
def list_encoders(*, cache: str | Path | None = None) -> pd.DataFrame:
    """List every registered encoder.

    Parameters
    ----------
    cache : str or Path, optional
        Where downloads are looked for; default ~/.cache/satclip_explore.

    Returns
    -------
    pandas.DataFrame
        One row each: name, family, dim, license, size_mb (of the files at hand, else of the
        download; missing where unknown), available (whether it loads without a download),
        authors, year, training_data, coverage, good_for, source.
    """
    rows = []
    for card in CARDS.values():
        facts = asdict(card) | {"available": is_at_hand(card, cache)}
        facts["size_mb"] = size_mb(card, cache)
        rows.append({key: facts[key] for key in _COLUMNS})
    return pd.DataFrame(rows, columns=list(_COLUMNS))


_COLUMNS = (
    "name",
    "family",
    "dim",
    "license",
    "size_mb",
    "available",
    "authors",
    "year",
    "training_data",
    "coverage",
    "good_for",
    "source",
)


def _loader(family: str, part: int = 1) -> Any:
    """Return the reader of a family, or with part=2 the function that tells its files, or None."""
    module, *functions = _LOADERS[family].split(":")
    if part > len(functions):
        return None
    return _function(f"satclip_explore.encoders.{module}:{functions[part - 1]}")


def _function(address: str) -> Any:
    """Import the function at "module:function"."""
    module, _, name = address.partition(":")
    return getattr(import_module(module), name)


def _reader(reader: Any, source: str | Path, common: Any) -> tuple[Any, tuple[str, ...]]:
    """Bind a reader to its file, or a factory to its name, and list the options that it has."""
    has = tuple(
        key
        for key, parameter in signature(reader).parameters.items()
        if parameter.kind == parameter.KEYWORD_ONLY and key not in COMMON
    )
    return partial(reader, source, **common), has


def _plain(call: dict[str, Any]) -> dict[str, Any] | None:
    """Return a call that JSON can hold, or None where an option is an array."""
    given = {k: str(v) if isinstance(v, Path) else v for k, v in call.items() if v is not None}
    plain = all(isinstance(value, (str, int, float, bool)) for value in given.values())
    return given if plain else None


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


def _stated(family: str, path: Path) -> str:
    """Check a family that was stated for a file."""
    if family not in _LOADERS:
        raise ValueError(f"family must be one of {', '.join(_LOADERS)}; got {family!r:.60}.")
    described = path.is_dir() or (path.suffix == ".safetensors" and read_settings(path))
    if family == "satclip" and not described and "hyper_parameters" not in read_weights(path):
        return "bare-satclip"
    return family


def _family(path: Any) -> str:
    """Tell the family of a file or folder by its content; what is read in parts says it."""
    if not isinstance(path, Path):
        return str(path.family)
    settings = read_settings(path) if path.is_dir() or path.suffix == ".safetensors" else {}
    if settings.get("family") in _LOADERS:
        return str(settings["family"])
    if path.is_dir() and any(path.glob("model_*.h5")):
        raise ValueError(
            f"{path} holds zones of GPS2Vec; say which: load_encoder('gps2vec-tag', path=…) or "
            "'gps2vec-visual'."
        )
    if product := family_of(path):
        return product
    if path.suffix in (".csv", ".parquet") or path.name.endswith(".csv.gz"):
        return "mosaiks"
    if path.suffix == ".onnx":
        return "onnx"
    if path.suffix in (".npz", ".whl"):
        return "range" if path.suffix == ".npz" else "geoclip"
    content = read_weights(path)
    for family in _LOADERS:
        tells = _loader(family, 2)
        if tells is not None and tells(content):
            return family
    raise ValueError(
        f"{path.name} holds no encoder that is known here: {', '.join(_LOADERS)}; "
        "list_encoders() tells where each comes from."
    )


def _hidden_layer(encoder: LocationEncoder, layer: int) -> LocationEncoder:
    from satclip_explore.encoders.satclip import hidden_layer

    return hidden_layer(encoder, layer)


def _prefix(encoder: LocationEncoder, dim: int) -> LocationEncoder:
    cut: LocationEncoder = import_module("satclip_explore.encoders.combine").prefix(encoder, dim)
    return cut

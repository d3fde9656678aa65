"""Reading and writing SatCLIP encoders: published Lightning files, and safetensors + config.json.

Both are read strictly: every key is expected, every shape is checked, nothing is executed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from satclip_explore.encoders.lightning_files import (
    export_lightning,
    from_hub,
    from_published,
    is_satclip,
)
from satclip_explore.encoders.satclip import SatCLIP, build_encoder
from satclip_explore.encoders.siren import SatCLIPConfig
from satclip_explore.encoders.tensor_files import (
    HASH,
    check_described,
    read_safetensors,
    read_settings,
    read_torch_file,
    read_weights,
    take_tensors,
    weights_hash,
)
from satclip_explore.files.atomic import replacing

__all__ = [
    "build_encoder",
    "export_lightning",
    "is_satclip",
    "read_config",
    "read_encoder",
    "save_encoder",
]

FORMAT_VERSION = 1
WEIGHTS_FILE = "encoder.safetensors"
CONFIG_FILE = "config.json"
STORAGE = {"float16": torch.float16, "float32": torch.float32, "float64": torch.float64}


def read_encoder(
    path: str | Path, *, name: str = "", dtype: str = "float32", device: str = "auto"
) -> SatCLIP:
    """Load a SatCLIP encoder from a published file or from our own format.

    Parameters
    ----------
    path : str or Path
        A Lightning checkpoint (full, or only the location network), the hub's safetensors of the
        location network, or a folder that `save_encoder` wrote, or its .safetensors file with
        config.json beside it.
    name : str
        How results call the encoder; default the stored name, or the file's.
    dtype : {"float32", "float64", "bfloat16"}
        Arithmetic.
    device : str
        "auto", "cpu", "cuda", …

    Returns
    -------
    SatCLIP
        With `weights_hash` set.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, would run code, or does not hold a SatCLIP location encoder.
    """
    path = Path(path)
    if path.is_dir() or path.suffix == ".safetensors":
        config, state = _read_folder(path)
    else:
        config, state = from_published(read_torch_file(path), path.name)
    return build_encoder(config, state, name=name, dtype=dtype, device=device)


def save_encoder(
    encoder: SatCLIP,
    folder: str | Path,
    *,
    card: Mapping[str, Any] | None = None,
    storage: str | None = None,
) -> Path:
    """Write an encoder as encoder.safetensors and config.json.

    Parameters
    ----------
    encoder : SatCLIP
        To store. Without `storage` it comes back exactly, in its own dtype.
    folder : str or Path
        Made if needed; files of an earlier encoder in it are replaced.
    card : mapping, optional
        Facts of the model card, as JSON: data, steps, seed, retrieval, the command that made it.
    storage : {"float16", "float32", "float64"}, optional
        Store in this precision instead; float16 halves the files.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError
        If the card is not JSON, the storage is unknown, or a weight does not fit in it.
    OSError
        If the disk is full; an encoder that was there stays.
    """
    if storage is not None and storage not in STORAGE:
        raise ValueError(f"storage must be one of {', '.join(STORAGE)}; got {storage!r}.")
    state = {key: value.detach().cpu() for key, value in encoder.network.state_dict().items()}
    if storage is not None:
        state = {key: value.to(STORAGE[storage]) for key, value in state.items()}
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise ValueError(f"weights must be finite in {storage or 'their own dtype'} to be stored.")
    config = {"format_version": FORMAT_VERSION, "family": "satclip"}
    written = {HASH: weights_hash(state)}
    config |= asdict(encoder.config) | {"card": dict(card or {})} | written
    try:
        text = json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"card must hold plain JSON values: {error}.") from error
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / WEIGHTS_FILE, folder / CONFIG_FILE) as [weights_part, config_part]:
        weights_part.write_bytes(
            save({key: value.contiguous() for key, value in state.items()}, written)
        )
        config_part.write_text(text, encoding="utf-8")
    return folder


def read_config(path: str | Path) -> dict[str, Any]:
    """Return the whole config.json of an encoder in our own format, model card included.

    Parameters
    ----------
    path : str or Path
        The folder, or the .safetensors file beside config.json.

    Raises
    ------
    FileNotFoundError
        If config.json is not there.
    ValueError
        If it is not the description of an encoder, or of a newer format.
    """
    path = Path(path)
    file = (path if path.is_dir() else path.parent) / CONFIG_FILE
    if not file.is_file():
        raise FileNotFoundError(f"no {CONFIG_FILE} at {file.parent}; the weights need it.")
    config = read_settings(path)
    if config.get("family") != "satclip":
        raise ValueError(f"{file} must describe an encoder of family 'satclip'.")
    if config.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{file} has format_version {config.get('format_version')!r:.60}; this version reads "
            f"{FORMAT_VERSION}."
        )
    return config


def _read_folder(path: Path) -> tuple[SatCLIPConfig, dict[str, torch.Tensor]]:
    """Read our own format, or what the hub has of SatCLIP's location encoders."""
    if "family" not in read_settings(path) and (path.is_file() or any(path.glob("*.safetensors"))):
        content = read_weights(path)
        if is_satclip(content):
            return from_hub(content, path.name)
    return _read_own(path)


def _read_own(path: Path) -> tuple[SatCLIPConfig, dict[str, torch.Tensor]]:
    described = read_config(path)
    apart = ("format_version", "family", "card", HASH)
    values = {key: value for key, value in described.items() if key not in apart}
    names = {field.name for field in fields(SatCLIPConfig)}
    if values.keys() != names:
        odd = min(values.keys() ^ names)
        fault = "lacks" if odd in names else "holds the unknown"
        raise ValueError(f"{CONFIG_FILE} of {path} {fault} {odd!r:.60}.")
    config = SatCLIPConfig(**values)
    weights = path / WEIGHTS_FILE if path.is_dir() else path
    state = take_tensors(read_safetensors(weights), config.shapes(), weights.name)
    check_described(weights, described)
    return config, state

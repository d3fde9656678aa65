"""Folders of encoders that are made of encoders: what they add, and where their parts are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.encoders.checkpoint import save_encoder
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.encoders.satclip import SatCLIP
from satclip_explore.encoders.tensor_files import (
    HASH,
    check_described,
    read_safetensors,
    read_settings,
    weights_hash,
)
from satclip_explore.files.atomic import replacing

ARRAYS_FILE = "combined.safetensors"


def save_combined(
    folder: str | Path, encoder: LocationEncoder, arrays: dict[str, NDArray[np.float64]]
) -> Path:
    """Write a combination: its arrays, and of each part how it was loaded or the part itself.

    Parameters
    ----------
    folder : str or Path
        Made if needed.
    encoder : LocationEncoder
        The combination. A part that `load_encoder` gave is named with the hash of its weights; a
        SatCLIP or a combination made in code is stored beside.
    arrays : dict of str to numpy.ndarray
        What the combination adds to its parts.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError
        If a part can neither be loaded by name nor stored.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    parts = [_describe(part, folder / f"part-{i}") for i, part in enumerate(encoder.parts)]
    tensors = {key: torch.from_numpy(np.ascontiguousarray(a)) for key, a in arrays.items()}
    config = {"family": encoder.family, "name": encoder.name, "parts": parts}
    written = {HASH: weights_hash(tensors)}
    text = json.dumps(config | written, indent=2, ensure_ascii=False) + "\n"
    with replacing(folder / ARRAYS_FILE, folder / "config.json") as [arrays_part, config_part]:
        arrays_part.write_bytes(save(tensors, written))
        config_part.write_text(text, encoding="utf-8")
    return folder


def _describe(part: LocationEncoder, folder: Path) -> dict[str, Any]:
    facts = {"weights_hash": part.weights_hash, "dtype": str(part.dtype).removeprefix("torch.")}
    if part.origin is not None:
        return facts | {"load": dict(part.origin)}
    if isinstance(part, SatCLIP):
        save_encoder(part, folder)
    elif part.parts and hasattr(part, "save"):
        part.save(folder)
    else:
        raise ValueError(
            f"{part.name} was made in code and cannot be stored; load it with load_encoder first."
        )
    return facts | {"folder": folder.name}


def read_parts(
    path: str | Path, *, dtype: str, device: str
) -> tuple[str, Sequence[LocationEncoder], dict[str, torch.Tensor]]:
    """Open the parts of a combination.

    Parameters
    ----------
    path : str or Path
        The folder, or a file in it.
    dtype : str
        Of the parts, where it is "float64"; else each keeps the one it was stored with.
    device : str
        As in `load_encoder`.

    Returns
    -------
    name : str
    parts : list of LocationEncoder
    arrays : dict of str to torch.Tensor
        What the combination adds, unchecked.

    Raises
    ------
    FileNotFoundError
        If a part's weights are not on this machine.
    ValueError
        If the folder is damaged, or a part has other weights than it had.
    """
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    config = read_settings(folder)
    listed = config.get("parts")
    if not isinstance(listed, list) or not listed or not all(isinstance(p, dict) for p in listed):
        raise ValueError(f"config.json in {folder} lists no parts of a combination.")
    parts = [_open(part, folder, dtype, device) for part in listed]
    arrays = read_safetensors(folder / ARRAYS_FILE)
    check_described(folder / ARRAYS_FILE, config)
    return str(config.get("name") or folder.name)[:200], parts, arrays


def _open(part: dict[str, Any], folder: Path, dtype: str, device: str) -> LocationEncoder:
    stored = str(part.get("dtype", dtype))
    dtype = "float64" if dtype == "float64" else stored
    how = part.get("load")
    if how is None:
        # A plain name below the folder: never a path out of it.
        how = {"name_or_path": str(folder / Path(str(part.get("folder", "part-0"))).name)}
    try:
        encoder = load_encoder(**how, dtype=dtype, device=device)
    except TypeError as error:
        raise ValueError(f"config.json in {folder} says how to load a part wrongly.") from error
    if dtype == stored and "load" in part and encoder.weights_hash != part.get("weights_hash"):
        raise ValueError(
            f"{encoder.name} has other weights than the part that {folder} was made with; "
            "combine them anew."
        )
    return encoder

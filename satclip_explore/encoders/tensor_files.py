"""Tensors in files: read without running the code that a pickle may hold, written whole."""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from satclip_explore.files.atomic import replacing

MAX_PICKLE_BYTES = 64_000_000
"""Largest description of tensors that is parsed; published files need well under 1 MB."""

MAX_TENSOR_VALUES = 500_000_000
"""Largest tensor that is taken out of a file: a first layer of L = 200 and 8,192 units fits."""

MAX_SETTINGS_BYTES = 1_000_000
"""Largest config.json that is parsed."""

HASH = "weights_hash"
"""What weights and the config.json beside them both state, if they were written together."""

_SCALAR = np.float64(0).__reduce__()[0]
_PLAIN: list[Any] = [
    # Files keep the name that the function had when they were written, before numpy 2 or after.
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *{type(np.dtype(kind)) for kind in "?bBhHiIlLqQefdU"},
    argparse.Namespace,
    *((dict, f"{module}.AttributeDict") for module in (
        "pytorch_lightning.utilities.parsing", "lightning.pytorch.utilities.parsing",
        "lightning_fabric.utilities.data", "lightning.fabric.utilities.data",
    )),
]  # fmt: skip
"""What some files have among their settings and runs nothing: numbers of numpy, Namespaces, and the
dictionaries of Lightning."""


def read_torch_file(path: str | Path) -> dict[str, Any]:
    """Read what `torch.save` wrote, tensors and plain values only.

    Tensors stay on disk until they are used, so a file with a large image encoder costs no memory.

    Parameters
    ----------
    path : str or Path
        A file in PyTorch's zip format.

    Returns
    -------
    dict
        The object in the file, tensors on the CPU whatever device is stored in it.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated, not a PyTorch file, does not hold a dictionary, or would need
        code to run when it is read.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}; pass the path of a checkpoint.")
    _check_archive(path)
    try:
        with torch.serialization.safe_globals(_PLAIN):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    # A crafted pickle can raise anything at all while it is parsed.
    except Exception as error:
        if "weights_only" in str(error) or "Unsupported" in str(error):
            raise ValueError(
                f"{path.name} holds more than tensors and plain values; reading it would run code "
                "from the file, so it was refused."
            ) from error
        raise ValueError(
            f"{path.name} is damaged and cannot be read as a PyTorch file; download it again."
        ) from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path.name} must hold a dictionary with weights; got {type(content).__name__}."
        )
    return content


def _check_archive(path: Path) -> None:
    """Refuse what is not a whole, uncompressed archive, before anything in it is parsed."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ValueError(
            f"{path.name} is truncated or is not a PyTorch file (a zip archive); "
            "download it again, or save it with a PyTorch newer than 1.6."
        ) from error
    pickles = [entry for entry in entries if entry.filename.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1 or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError(f"{path.name} is a zip archive but was not written by torch.save.")
    if pickles[0].file_size > MAX_PICKLE_BYTES:
        raise ValueError(
            f"{path.name} describes its tensors in {pickles[0].file_size:,} bytes; "
            f"at most {MAX_PICKLE_BYTES:,} are read."
        )


def write_torch_file(path: str | Path, content: Mapping[str, Any]) -> Path:
    """Write with `torch.save`, completely or not at all.

    Raises
    ------
    OSError
        If it cannot be written, as on a full disk; what was there before is unchanged.
    """
    with replacing(path) as [part], part.open("wb") as stream:
        try:
            torch.save(dict(content), stream)
        except RuntimeError as error:  # what torch makes of a write that failed
            raise OSError(errno.ENOSPC, "it cannot be written whole, as on a full disk") from error
    return Path(path)


def read_safetensors(path: str | Path) -> dict[str, torch.Tensor]:
    """Read every tensor of a safetensors file onto the CPU.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}; pass the path of a .safetensors file.")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path.name} is damaged and cannot be read as safetensors.") from error


def read_weights(path: str | Path) -> dict[str, Any]:
    """Read a safetensors file, a folder of the Hugging Face hub with one, or a PyTorch file.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or no weights in the folder.
    ValueError
        If it is damaged or would run code.
    """
    path = Path(path)
    if path.is_dir() and (index := next(path.glob("*.safetensors.index.json"), None)):
        return _read_shards(path, index)
    if path.is_dir():
        found = sorted(path.glob("*.safetensors"))
        if len(found) != 1:
            raise FileNotFoundError(
                f"{path} must hold one .safetensors file to be read as an encoder; "
                f"it holds {len(found)}."
            )
        path = found[0]
    return read_safetensors(path) if path.suffix == ".safetensors" else read_torch_file(path)


def _read_shards(folder: Path, index: Path) -> dict[str, Any]:
    """Read weights that the hub keeps in several files, as their index lists them."""
    try:
        listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        shards = {Path(str(name)).name for name in listed.values()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{index.name} does not list the files of the weights.") from error
    whole = [read_safetensors(folder / name) for name in sorted(shards)]
    return {key: value for shard in whole for key, value in shard.items()}


def plain_settings(found: Any) -> Any:
    """Return settings as a dictionary, also where a file has them as a Namespace."""
    return vars(found) if isinstance(found, argparse.Namespace) else found


CONTAINERS = ("state_dict", "model_state_dict", "model")
"""Where training files keep their weights."""


def find_network(content: Mapping[str, Any], mark: str) -> dict[str, Any]:
    """Take one network out of a file, whatever precedes its keys: "module.", "model.", nothing.

    Parameters
    ----------
    content : mapping
        Of the file: weights, or a training checkpoint with them.
    mark : str
        A key of the network, which says where it is.

    Returns
    -------
    dict
        Its weights, keys without what precedes them; empty where the mark is not there, or there
        are several networks that differ.
    """
    held = (content.get(key) for key in CONTAINERS)
    state = next((part for part in held if isinstance(part, Mapping)), content)
    keys = [key for key in state if isinstance(key, str) and f".{key}".endswith(f".{mark}")]
    if not keys or any(not _same(state[key], state[keys[0]]) for key in keys[1:]):
        return {}
    before = keys[0].removesuffix(mark)
    return {str(k)[len(before) :]: v for k, v in state.items() if str(k).startswith(before)}


def _same(first: Any, second: Any) -> bool:
    both = isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor)
    return both and torch.equal(first, second)


def read_settings(path: str | Path) -> dict[str, Any]:
    """Read the config.json in a folder, or beside a file; an empty dictionary where there is none.

    Raises
    ------
    ValueError
        If it is too large, or not a JSON object.
    """
    path = Path(path)
    file = (path if path.is_dir() else path.parent) / "config.json"
    if not file.is_file():
        return {}
    if file.stat().st_size > MAX_SETTINGS_BYTES:
        raise ValueError(f"{file} is too large to be the description of an encoder.")
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not valid JSON.") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{file} must hold a JSON object that describes an encoder.")
    return settings


def take_tensors(
    state: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], source: str
) -> dict[str, torch.Tensor]:
    """Copy exactly the named tensors out of a state, checked.

    Parameters
    ----------
    state : mapping
        Key to tensor. Every key must be expected.
    shapes : mapping
        Expected key to expected shape.
    source : str
        Name of the file, for messages.

    Returns
    -------
    dict of str to torch.Tensor
        Contiguous copies in their stored dtype, in the order of `shapes`.

    Raises
    ------
    ValueError
        If a key is missing or unexpected, a shape is another one, a value is not a floating-point
        tensor, or is not finite.
    """
    missing = [key for key in shapes if key not in state]
    extra = [str(key) for key in state if key not in shapes]
    if missing or extra:
        fault = f"lacks {missing[0]}" if missing else f"holds the unexpected {extra[0]}"
        raise ValueError(f"{source} {fault}: its weights do not fit its own description.")
    taken = {}
    for key, shape in shapes.items():
        value = state[key]
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            raise ValueError(f"{key} in {source} must be a floating-point tensor.")
        if value.element_size() < 2:
            raise ValueError(
                f"{key} in {source} is {value.dtype}, whose scales are kept elsewhere; save the "
                "weights as bfloat16, float16 or float32."
            )
        if tuple(value.shape) != shape or value.numel() > MAX_TENSOR_VALUES:
            raise ValueError(
                f"{key} in {source} must have shape {shape}; got {tuple(value.shape)}."
            )
        # A sparse or quantized tensor has no plain values to copy.
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise ValueError(f"{key} in {source} must be a plain, dense tensor.")
        copy = value.detach().clone(memory_format=torch.contiguous_format)
        if not bool(torch.isfinite(copy).all()):
            raise ValueError(f"{key} in {source} holds values that are not finite.")
        taken[key] = copy
    return taken


def check_described(path: Path, settings: Mapping[str, Any]) -> None:
    """Refuse weights that were not written together with the config.json beside them.

    Two files cannot be replaced in one step; what is written here states the same hash in both.

    Raises
    ------
    ValueError
        If the process that saved them was killed between the two.
    """
    with safe_open(path, framework="pt") as file:
        said = (file.metadata() or {}).get(HASH)
    if said is not None and said != settings.get(HASH):
        raise ValueError(
            f"{path.name} holds other weights than its config.json describes: saving was "
            "interrupted, or one of the two was copied alone; save the encoder again."
        )


def weights_hash(state: Mapping[str, torch.Tensor], **settings: Any) -> str:
    """Return the first 16 hex digits of the SHA-256 over names, dtypes, shapes and values.

    Settings that change what the weights give, such as a month, go into it too.
    """
    digest = hashlib.sha256(
        "".join(f"{key}={settings[key]!r}\n" for key in sorted(settings)).encode()
    )
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]

"""The files of the published backbones: found, fetched, checked, and turned into timm's keys."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from satclip_explore.encoders.torch_files import read_torch_file

if TYPE_CHECKING:
    from training.image_encoder import Backbone

CACHE = Path("~/.cache/satclip_explore/backbones")
"""Where fetched weights are kept."""


def read_backbone_weights(
    backbone: Backbone, weights: str | Path | None, *, download: bool
) -> dict[str, torch.Tensor]:
    """Read the weights of a backbone, without executing what the file may hold.

    Parameters
    ----------
    backbone : Backbone
        Which one.
    weights : str, pathlib.Path or None
        The file; None looks into the cache, and takes nothing but the published file.
    download : bool
        Fetch it when the cache lacks it.

    Returns
    -------
    dict of str to torch.Tensor
        Keys as in timm; the classifier is left out.

    Raises
    ------
    FileNotFoundError
        If the file is not there.
    ValueError
        If the file in the cache is not the published one.
    """
    path = Path(weights) if weights is not None else CACHE.expanduser() / backbone.filename
    if not path.is_file() and weights is None and download:
        from satclip_explore.encoders.download import download_file

        download_file(backbone.url, path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no weights of the image encoder at {path}. Pass download=True, or put "
            f"{backbone.url} there."
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if weights is None and not digest.startswith(backbone.checksum):
        raise ValueError(
            f"{path} is not the published file: its SHA-256 starts with {digest[:8]}, not "
            f"{backbone.checksum}. Delete it and download it again."
        )
    content = read_torch_file(path)
    state = content.get("state_dict", content)
    kept = {
        str(key).removeprefix("module.encoder_q.").removeprefix("module."): value
        for key, value in state.items()
        if isinstance(value, torch.Tensor)
    }
    return {key: value for key, value in kept.items() if not key.startswith(("fc.", "head."))}

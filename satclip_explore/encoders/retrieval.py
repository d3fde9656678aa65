"""RANGE: what images in a database look like, at places that resemble this one."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from satclip_explore.encoders.base import LocationEncoder, resolve_device, resolve_dtype
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.encoders.tensor_files import weights_hash
from satclip_explore.geo import unit_vectors

ARRAYS = {"locs": 2, "satclip_embeddings": None, "image_embeddings": None}
"""Arrays of a database, and how many columns they must have where that is fixed."""

MAX_BYTES = 8_000_000_000
"""Largest array that is read from a database; the published ones have well under 1 GB."""

ROWS_PER_BLOCK = 16_384
"""Rows of the database that are weighed together."""

TEMPERATURE = {"range": 15.0, "range-plus": 12.0}
"""Sharpness of the resemblance, of either model."""

GEO_TEMPERATURE = 40.0
"""Sharpness of nearness on the sphere, for RANGE+."""

BETA = 0.5
"""Share of resemblance against nearness, for RANGE+."""


class RANGE(LocationEncoder):
    """Image features of a database, averaged by resemblance (Dhakal et al. 2025).

    Weights are a softmax over the whole database of the cosine between a place's SatCLIP embedding
    and that of each image; RANGE+ averages the result with that of a softmax over nearness. The
    place's own SatCLIP embedding, with length 1, follows.

    Parameters
    ----------
    database : mapping of str to numpy.ndarray
        `locs` (M, 2) degrees, longitude first; `satclip_embeddings` (M, 256); `image_embeddings`
        (M, 1024).
    satclip : LocationEncoder
        SatCLIP's ViT16-L40, in float64 as its authors use it.
    beta : float or None
        Share of resemblance, 0 … 1, of RANGE+; None makes RANGE.
    name, dtype, device : str
        As in `load_encoder`.

    Raises
    ------
    ValueError
        If the embeddings in the database are not of this SatCLIP's length, or `beta` is no share.
    """

    family = "range"
    chunk_size = 1024

    def __init__(
        self,
        database: dict[str, NDArray[Any]],
        satclip: LocationEncoder,
        *,
        beta: float | None = None,
        name: str = "range",
        dtype: str = "float32",
        device: str = "auto",
    ) -> None:
        if beta is not None and not 0 <= beta <= 1:
            raise ValueError(f"beta must lie in 0 … 1; got {beta!r:.60}.")
        width = database["satclip_embeddings"].shape[1]
        if width != satclip.embed_dim:
            raise ValueError(
                f"the database holds SatCLIP embeddings of {width} numbers; {satclip.name} gives "
                f"{satclip.embed_dim}. Use satclip-vit16-l40."
            )
        self.name, self.satclip, self.beta = name, satclip, beta
        self.temperature = TEMPERATURE["range" if beta is None else "range-plus"]
        self.dtype, self.device = resolve_dtype(dtype), resolve_device(device)
        # The published code rounds the database to float32 before anything else.
        held = {key: torch.from_numpy(a.astype(np.float32)) for key, a in database.items()}
        self.weights_hash = weights_hash(held, beta=beta, satclip=satclip.weights_hash)
        self._known = nn.functional.normalize(self._hold(held["satclip_embeddings"]), dim=1)
        self._images = self._hold(held["image_embeddings"])
        self._places = self._hold(torch.from_numpy(unit_vectors(held["locs"].numpy())))
        self.embed_dim = self._images.shape[1] + width

    def _hold(self, values: torch.Tensor) -> torch.Tensor:
        return values.to(self.device, self.dtype)

    def encode(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Encode one chunk of checked places; see `LocationEncoder.encode`."""
        own = nn.functional.normalize(self.satclip.encode(lonlat.to(self.satclip.device)), dim=1)
        own = self._hold(own)
        seen = self._average(own, self._known, self.temperature)
        if self.beta is not None:
            here = self._hold(torch.from_numpy(unit_vectors(lonlat.cpu())))
            near = self._average(here, self._places, GEO_TEMPERATURE)
            seen = (1 - self.beta) * near + self.beta * seen
        return torch.cat([seen, own], dim=1)

    def _average(self, query: torch.Tensor, keys: torch.Tensor, sharpness: float) -> torch.Tensor:
        """Average image features, (N, 1024), with softmax weights, block by block.

        Both sides are unit vectors, so the largest exponent is known: no first pass finds it.
        """
        total = query.new_zeros(len(query), self._images.shape[1])
        weight = query.new_zeros(len(query), 1)
        for start in range(0, len(keys), ROWS_PER_BLOCK):
            rows = slice(start, start + ROWS_PER_BLOCK)
            block = torch.exp(sharpness * (query @ keys[rows].T - 1))
            total += block @ self._images[rows]
            weight += block.sum(dim=1, keepdim=True)
        return total / weight


def read_range(
    path: str | Path,
    *,
    satclip: str | Path = "satclip-vit16-l40",
    plus: bool | None = None,
    beta: float | None = None,
    name: str = "range",
    dtype: str = "float32",
    device: str = "auto",
) -> RANGE:
    """Load RANGE or RANGE+ from its database.

    Parameters
    ----------
    path : str or Path
        range_db_large.npz or range_db_med.npz, about 80,000 images.
    satclip : str or Path
        The SatCLIP that the database was made with: a registered name whose weights are at hand, or
        a file.
    plus : bool, optional
        RANGE+ in place of RANGE; default True for the name "range-plus".
    beta : float, optional
        Share of resemblance in RANGE+, 0 … 1; default 0.5. Small values follow nearness.
    name, dtype, device : str
        As in `load_encoder`.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or SatCLIP's weights are not at hand.
    ValueError
        If the file is damaged, would run code, or its arrays do not fit.

    References
    ----------
    Dhakal et al. (2025), "RANGE: Retrieval Augmented Neural Fields for Multi-Resolution
    Geo-Embeddings", CVPR, arXiv:2502.19781.
    """
    plus = name == "range-plus" if plus is None else plus
    if beta is not None and not plus:
        raise ValueError("beta belongs to RANGE+; pass plus=True, or leave beta out.")
    return RANGE(
        read_database(path),
        load_encoder(satclip, dtype="float64", device=device),
        beta=(BETA if beta is None else beta) if plus else None,
        name=name,
        dtype=dtype,
        device=device,
    )


def read_database(path: str | Path) -> dict[str, NDArray[Any]]:
    """Read and check the arrays of a database; see `RANGE` for their shapes.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, would run code, lacks an array, or its arrays do not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}; pass range_db_large.npz.")
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        if lacking := [key for key in ARRAYS if f"{key}.npy" not in sizes]:
            raise KeyError(lacking[0])
        if max(sizes[f"{key}.npy"] for key in ARRAYS) > MAX_BYTES:
            raise ValueError(f"{path.name} holds more than {MAX_BYTES:,} bytes in one array.")
        with np.load(path, allow_pickle=False) as content:
            arrays = {key: content[key] for key in ARRAYS}
    except KeyError as error:
        raise ValueError(f"{path.name} is not a database of RANGE: it lacks {error}.") from error
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise ValueError(
                f"{path.name} holds Python objects; reading them would run code from the file, so "
                "it was refused."
            ) from error
        raise
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
        raise ValueError(f"{path.name} is damaged and cannot be read as .npz.") from error
    for key, columns in ARRAYS.items():
        array = arrays[key]
        fits = array.ndim == 2 and len(array) == len(arrays["locs"]) > 0
        if not fits or array.shape[1] < 1 or array.shape[1] != (columns or array.shape[1]):
            raise ValueError(
                f"{key} in {path.name} must have shape ({len(arrays['locs'])}, "
                f"{columns or 'D'}); got {array.shape}."
            )
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ValueError(f"{key} in {path.name} must hold finite floating-point numbers.")
    return arrays

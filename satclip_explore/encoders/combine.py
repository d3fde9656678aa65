"""Encoders made of encoders: side by side, cut to a prefix, or mapped to a task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from satclip_explore.atlas import load_atlas
from satclip_explore.encoders.base import LocationEncoder, Readout
from satclip_explore.encoders.combined_files import read_parts, save_combined
from satclip_explore.encoders.tensor_files import take_tensors, weights_hash
from satclip_explore.geo import Grid, as_lonlat
from satclip_explore.lattice import Lattice

BAND_VALUES = 16_000_000
"""Numbers of a grid that are computed together: 64 MB in float32."""

MIN_SAMPLES = 10
"""Covered places below which parts cannot be standardized."""


class Concat(LocationEncoder):
    """Several encoders side by side, their numbers shifted and scaled; made by `concat`.

    Parameters
    ----------
    parts : sequence of LocationEncoder
        In the order of the numbers.
    shift, scale : numpy.ndarray, shape (D,)
        Taken from, and then divided out of, the numbers of all parts.
    name : str
        How results call it.
    """

    family = "concat"

    def __init__(
        self,
        parts: Sequence[LocationEncoder],
        shift: NDArray[np.float64],
        scale: NDArray[np.float64],
        *,
        name: str = "",
    ) -> None:
        self.parts = tuple(parts)
        self.name = name or " + ".join(part.name for part in self.parts)
        self.embed_dim = sum(part.embed_dim for part in self.parts)
        exact = any(part.dtype == torch.float64 for part in self.parts)
        self.dtype = torch.float64 if exact else torch.float32
        self.device = self.parts[0].device
        self.periodic = all(part.periodic for part in self.parts)
        self.chunk_size = min(part.chunk_size for part in self.parts)
        self.shift, self.scale = shift, scale
        self.weights_hash = weights_hash(
            {"shift": torch.from_numpy(shift), "scale": torch.from_numpy(scale)},
            parts=[(part.name, part.weights_hash, str(part.dtype)) for part in self.parts],
        )

    def coverage(self, lonlat: Any) -> NDArray[np.bool_]:
        """Tell which places every part covers; see `LocationEncoder.coverage`."""
        return np.logical_and.reduce([part.coverage(lonlat) for part in self.parts])

    def encode(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Encode one chunk of checked places; see `LocationEncoder.encode`."""
        values = [part.encode(lonlat.to(part.device)).to(self.device) for part in self.parts]
        joined = self._standardize(torch.cat([v.to(self.dtype) for v in values], dim=1))
        joined[joined.isnan().any(dim=1)] = torch.nan
        return joined

    def _standardize(self, values: torch.Tensor) -> torch.Tensor:
        shift, scale = (torch.from_numpy(a).to(values) for a in (self.shift, self.scale))
        return (values - shift) / scale

    @torch.no_grad()
    def iter_grid(
        self, grid: Grid, readout: Readout | None = None, *, precision: str | None = None
    ) -> Iterator[tuple[slice, torch.Tensor]]:
        """Encode a grid band by band, each part in its own fast way; see `LocationEncoder`."""
        height, width = grid.shape
        channels = self.embed_dim if readout is None else len(readout.bias)
        step = max(1, min(height, BAND_VALUES // (width * channels)))
        for start in range(0, height, step):
            stop = min(height, start + step)
            band = Lattice.of(grid, np.arange(start, stop), np.arange(width))
            yield slice(start, stop), self._band(band, readout, precision)

    def _band(self, grid: Grid, readout: Readout | None, precision: str | None) -> torch.Tensor:
        """Encode some rows, (rows, W, C): a readout is shared out among the parts and summed."""
        pieces, first = [], 0
        for part in self.parts:
            own = slice(first, first + part.embed_dim)
            first = own.stop
            share = None
            if readout is not None:
                weight = readout.weight[:, own] / self.scale[own]
                share = Readout(weight, -weight @ self.shift[own])
            rows = [
                block.to(self.device, self.dtype, copy=True)
                for _, block in part.iter_grid(grid, share, precision=precision)
            ]
            pieces.append(torch.cat(rows))
        if readout is not None:
            return torch.stack(pieces).sum(dim=0) + torch.from_numpy(readout.bias).to(pieces[0])
        joined = self._standardize(torch.cat(pieces, dim=2))
        joined[joined.isnan().any(dim=2)] = torch.nan
        return joined

    def save(self, folder: str | Path) -> Path:
        """Write the combination to a folder that `load_encoder` opens; see `save_combined`."""
        arrays = {"shift": self.shift, "scale": self.scale}
        return save_combined(folder, self, arrays)


class Mapped(LocationEncoder):
    """A linear map of another encoder's numbers; made by `stack` and `prefix`.

    Parameters
    ----------
    encoder : LocationEncoder
        What is mapped.
    readout : Readout
        The map. On grids it is folded into the encoder's last layer, where that can be.
    name : str
        How results call it.
    """

    family = "mapped"

    def __init__(self, encoder: LocationEncoder, readout: Readout, *, name: str) -> None:
        self.name, self.encoder, self.readout = name, encoder, readout
        self.parts = (encoder,)
        self.embed_dim = len(readout.bias)
        self.dtype, self.device = encoder.dtype, encoder.device
        self.periodic, self.chunk_size = encoder.periodic, encoder.chunk_size
        tensors = {key: torch.from_numpy(value) for key, value in self._arrays().items()}
        self.weights_hash = weights_hash(tensors, part=(encoder.name, encoder.weights_hash))

    def _arrays(self) -> dict[str, NDArray[np.float64]]:
        return {"weight": self.readout.weight, "bias": self.readout.bias}

    def coverage(self, lonlat: Any) -> NDArray[np.bool_]:
        """Tell which places the encoder covers; see `LocationEncoder.coverage`."""
        return self.encoder.coverage(lonlat)

    def encode(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Encode one chunk of checked places; see `LocationEncoder.encode`."""
        return self.readout(self.encoder.encode(lonlat))

    def iter_grid(
        self, grid: Grid, readout: Readout | None = None, *, precision: str | None = None
    ) -> Iterator[tuple[slice, torch.Tensor]]:
        """Encode a grid in the encoder's own fast way; see `LocationEncoder.iter_grid`."""
        folded = self.readout
        if readout is not None:
            folded = Readout(
                readout.weight @ folded.weight, readout.weight @ folded.bias + readout.bias
            )
        yield from self.encoder.iter_grid(grid, folded, precision=precision)

    def save(self, folder: str | Path) -> Path:
        """Write the map to a folder that `load_encoder` opens; see `save_combined`."""
        return save_combined(folder, self, self._arrays())


def concat(encoders: Sequence[LocationEncoder], *, places: Any = None, name: str = "") -> Concat:
    """Join encoders: their numbers side by side, so that every encoder counts the same.

    Each number is standardized to mean 0 and variance 1 over a sample, then divided by the square
    root of its encoder's length, so that a long encoder does not drown a short one in distances.

    Parameters
    ----------
    encoders : sequence of LocationEncoder
        At least one.
    places : array_like or table, optional
        The sample, in degrees, longitude first; default the embedded atlas, spread evenly by area
        over land. Those that every encoder covers are used.
    name : str
        How results call it; default the names of the encoders, joined by +.

    Returns
    -------
    Concat
        Covers what every encoder covers; elsewhere all numbers are NaN.

    Raises
    ------
    ValueError
        If there is no encoder, or fewer than ten places of the sample are covered by all.

    Examples
    --------
    >>> from satclip_explore import load_encoder
    >>> concat([load_encoder("xyz"), load_encoder("wrap")]).embed((13.4, 52.5)).shape
    (1, 7)
    """
    if not encoders:
        raise ValueError("concat needs at least one encoder; got none.")
    lonlat = load_atlas().lonlat if places is None else as_lonlat(places)
    values = [encoder.embed(lonlat).astype(np.float64) for encoder in encoders]
    known = np.isfinite(np.hstack(values)).all(axis=1)
    if known.sum() < MIN_SAMPLES:
        raise ValueError(
            f"{int(known.sum())} of {len(lonlat)} sampled places are covered by all of "
            f"{', '.join(encoder.name for encoder in encoders)}; at least {MIN_SAMPLES} are needed "
            "to standardize. Pass places= where they overlap."
        )
    spread = [v[known].std(axis=0) for v in values]
    # A number that does not vary says nothing and stays 0.
    scale = [np.where(s > 0, s, 1.0) * np.sqrt(len(s)) for s in spread]
    shift = np.hstack([v[known].mean(axis=0) for v in values])
    return Concat(encoders, shift, np.hstack(scale), name=name)


def prefix(encoder: LocationEncoder, dim: int) -> Mapped:
    """Keep the first numbers of an encoder.

    Parameters
    ----------
    encoder : LocationEncoder
        Best one whose first numbers were trained to stand alone, as MIND's.
    dim : int
        How many, from 1 to its length.

    Raises
    ------
    ValueError
        If `dim` is out of range.
    """
    if type(dim) is not int or not 1 <= dim <= encoder.embed_dim:
        raise ValueError(
            f"dim must lie in 1 … {encoder.embed_dim} for {encoder.name}; got {dim!r:.60}."
        )
    readout = Readout(np.eye(dim, encoder.embed_dim), np.zeros(dim))
    return Mapped(encoder, readout, name=f"{encoder.name}:dim{dim}")


def stack(
    encoders: Sequence[LocationEncoder],
    lonlat: Any,
    target: ArrayLike | None = None,
    *,
    alpha: float = 1.0,
    name: str = "",
) -> Mapped:
    """Join encoders and learn the linear map of their numbers to a task.

    Parameters
    ----------
    encoders : sequence of LocationEncoder
        As in `concat`, whose standardization uses the task's places.
    lonlat : array_like, table or Task
        N places in degrees, longitude first; a task holds its own target.
    target : array_like, shape (N,) or (N, K), optional
        Numbers; whole numbers or text are classes, of which each becomes one output.
    alpha : float
        Penalty of the ridge regression, above 0, for standardized inputs and N places.
    name : str
        How results call it.

    Returns
    -------
    Mapped
        One number per target or class. It has seen the task's labels: to be judged on other places.

    Raises
    ------
    ValueError
        If the target does not fit the places, fewer than ten are covered, or `alpha` is not
        above 0.
    """
    if target is None:
        lonlat, target = getattr(lonlat, "lonlat", lonlat), getattr(lonlat, "target", None)
    places, y = as_lonlat(lonlat), np.asarray(target)
    if y.ndim not in (1, 2) or len(y) != len(places):
        raise ValueError(f"target must have one row per place, {len(places)}; got {y.shape}.")
    if not alpha > 0:
        raise ValueError(f"alpha must be above 0; got {alpha!r:.60}.")
    if y.ndim == 1:
        y = y[:, None] if y.dtype.kind == "f" else (y[:, None] == np.unique(y)).astype(float)
    joined = concat(encoders, places=places)
    x = joined.embed(places).astype(np.float64)
    known = np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
    x, y = x[known], y[known].astype(np.float64)
    if len(x) < MIN_SAMPLES:
        raise ValueError(f"{len(x)} places have numbers and a target; at least {MIN_SAMPLES} must.")
    center, mean = x.mean(axis=0), y.mean(axis=0)
    # The numbers of each part have variance 1 over its length: alpha is in that unit.
    gram = (x - center).T @ (x - center)
    gram[np.diag_indices_from(gram)] += alpha * np.trace(gram) / len(gram) + 1e-12
    weight = np.linalg.solve(gram, (x - center).T @ (y - mean)).T
    readout = Readout(weight, mean - weight @ center)
    return Mapped(joined, readout, name=name or f"stack({joined.name})")


def read_combined(
    path: str | Path, *, name: str = "", dtype: str = "float32", device: str = "auto"
) -> LocationEncoder:
    """Open a combination from its folder; see `combined_files.read_parts`.

    Parameters
    ----------
    path : str or Path
        The folder that `save` wrote.
    name, device : str
        As in `load_encoder`.
    dtype : str
        Of the parts, where it is "float64"; else each keeps the one it was stored with.

    Raises
    ------
    FileNotFoundError
        If a part's weights are not on this machine.
    ValueError
        If the folder is damaged, or a part has other weights than it had.
    """
    title, parts, arrays = read_parts(path, dtype=dtype, device=device)
    title, source = name or title, Path(path).name
    width = sum(part.embed_dim for part in parts)
    if "shift" in arrays:
        taken = take_tensors(arrays, {"shift": (width,), "scale": (width,)}, source)
        shift, scale = (taken[key].double().numpy() for key in ("shift", "scale"))
        if not (scale > 0).all():
            raise ValueError(f"every scale in {source} must be above 0.")
        return Concat(parts, shift, scale, name=title)
    outputs = len(arrays["bias"]) if "bias" in arrays and arrays["bias"].ndim else 0
    taken = take_tensors(arrays, {"weight": (outputs, width), "bias": (outputs,)}, source)
    weight, bias = (taken[key].double().numpy() for key in ("weight", "bias"))
    return Mapped(parts[0], Readout(weight, bias), name=title)

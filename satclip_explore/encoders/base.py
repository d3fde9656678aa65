"""What every location encoder offers, whatever is inside it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from satclip_explore.areas import areas_of
from satclip_explore.geo import Grid, as_lonlat
from satclip_explore.html_view import facts_table
from satclip_explore.provenance import provenance

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Readout:
    """A linear map of embeddings, folded into the last layer where an encoder can.

    Parameters
    ----------
    weight : numpy.ndarray, shape (C, D)
        One row per output channel.
    bias : numpy.ndarray, shape (C,)
        Added after the product.
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]

    def __call__(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Map embeddings, shape (..., D), to channels, shape (..., C), in their dtype."""
        weight = torch.as_tensor(self.weight).to(embeddings)
        return embeddings @ weight.T + torch.as_tensor(self.bias).to(embeddings)


class Times(NamedTuple):
    """The months or years that an encoder can be asked for.

    Parameters
    ----------
    option : {"month", "year", "time"}
        Which option of `load_encoder` chooses one.
    steps : tuple of int or str
        What it can be, in order of time.
    """

    option: str
    steps: tuple[int | str, ...]


class LocationEncoder(ABC):
    """Longitude and latitude in, a vector of `embed_dim` numbers out.

    Subclasses implement `encode`; everything else follows from it. `iter_grid` may be replaced
    where a grid can be encoded faster than its pixels one by one.

    Attributes
    ----------
    name : str
        Registered name, or the file it came from.
    family : str
        Kind of encoder, e.g. "satclip" or "csp".
    embed_dim : int
        Length D of an embedding.
    dtype : torch.dtype
        Of the arithmetic and of what `embed` returns.
    device : torch.device
        Where the arithmetic runs.
    weights_hash : str
        First 16 hex digits of the SHA-256 of the weights; empty where there are none.
    periodic : bool
        Whether longitude 180 is the same as -180 to it; if not, `embed` keeps 180 as it is.
    parts : tuple of LocationEncoder
        What it is made of, if of encoders.
    times : Times or None
        The months or years that it can be loaded for; None where it has one state alone.
    origin : mapping or None
        What `load_encoder` has to be called with to get it again; None for one made in code.
    """

    name: str = "encoder"
    family: str = "custom"
    embed_dim: int
    dtype: torch.dtype = torch.float32
    device: torch.device = torch.device("cpu")
    weights_hash: str = ""
    periodic: bool = True
    parts: tuple[LocationEncoder, ...] = ()
    times: Times | None = None
    origin: Mapping[str, Any] | None = None
    chunk_size: int = 4096

    @abstractmethod
    def encode(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Encode one chunk of checked places.

        Parameters
        ----------
        lonlat : torch.Tensor, shape (N, 2), float64
            Degrees, longitude first, on `device`.

        Returns
        -------
        torch.Tensor, shape (N, D), `dtype`
            Embeddings; rows without coverage are NaN.
        """

    def coverage(self, lonlat: Any) -> NDArray[np.bool_]:
        """Tell where the encoder has something to say.

        Parameters
        ----------
        lonlat : array_like or table
            N places, as in `embed`.

        Returns
        -------
        numpy.ndarray, shape (N,), bool
            All True for encoders of the whole globe.
        """
        return np.ones(len(as_lonlat(lonlat)), dtype=bool)

    def embed(self, lonlat: Any, *, polygons: str = "mean") -> NDArray[Any]:
        """Encode places, or polygons.

        Parameters
        ----------
        lonlat : array_like, pandas.DataFrame or geopandas.GeoDataFrame
            N places in degrees, longitude first; see `geo.as_lonlat`. A GeoDataFrame may hold
            polygons, in any coordinate system that it names.
        polygons : {"mean", "point"}
            The mean over about 64 places of equal area inside each, or a point inside each.

        Returns
        -------
        numpy.ndarray, shape (N, D)
            Unnormalized embeddings in the encoder's dtype (float32 for bfloat16). A single place
            gives shape (1, D).

        Raises
        ------
        ValueError
            If the places are not valid; see `geo.as_lonlat`.
        """
        areas = areas_of(lonlat, polygons)
        return self.embed_places(lonlat) if areas is None else areas.mean(self.embed_places)

    @torch.no_grad()
    def embed_places(self, lonlat: Any) -> NDArray[Any]:
        """Encode places, (N, 2) or a table of points, to (N, D); `embed` without polygons."""
        places = torch.from_numpy(as_lonlat(lonlat, east_edge=not self.periodic))
        dtype = torch.float32 if self.dtype == torch.bfloat16 else self.dtype
        out = torch.empty(len(places), self.embed_dim, dtype=dtype)
        for start in range(0, len(places), self.chunk_size):
            chunk = places[start : start + self.chunk_size]
            out[start : start + len(chunk)] = self.encode(chunk.to(self.device))
        return out.numpy()

    def embed_frame(self, frame: Any, *, polygons: str = "mean") -> Any:
        """Encode the places of a table and give it back with the embeddings as columns.

        Parameters
        ----------
        frame : pandas.DataFrame or geopandas.GeoDataFrame
            N places or polygons, as in `embed`.
        polygons : {"mean", "point"}
            As in `embed`.

        Returns
        -------
        pandas.DataFrame or geopandas.GeoDataFrame
            A new table with the same rows and index, and columns embed_0 … embed_{D-1} added;
            `attrs` says which encoder they are of. Polygons get a column `samples` too: how many
            places each mean is made of.

        Raises
        ------
        TypeError
            If it is not a table.
        ValueError
            If the places are not valid, or a column of that name is there already.
        """
        if not isinstance(frame, pd.DataFrame):
            raise TypeError(
                f"embed_frame takes a table; got {type(frame).__name__}. Use embed(lonlat)."
            )
        names = [f"embed_{i}" for i in range(self.embed_dim)]
        areas = areas_of(frame, polygons)
        for name in frame.columns.intersection([*names, *(["samples"] if areas else [])])[:1]:
            raise ValueError(f"the table has a column {name} already; drop or rename it first.")
        values = self.embed_places(frame) if areas is None else areas.mean(self.embed_places)
        vectors = pd.DataFrame(values, columns=names, index=frame.index)
        if areas is not None:
            vectors.insert(0, "samples", areas.counts)
        joined = pd.concat([frame, vectors], axis=1)
        joined.attrs = {**frame.attrs, **provenance(self)}
        return joined

    def to(self, device: str | torch.device) -> Self:
        """Move the encoder to a device, as `torch.nn.Module.to` does, and return it.

        Raises
        ------
        ValueError
            If this machine has no such device.
        """
        target = resolve_device(device)
        for name, value in vars(self).items():
            setattr(self, name, _moved(value, target))
        self.device = target
        return self

    def save(self, path: str | Path) -> Path:
        """Write the encoder to a folder that `load_encoder` opens, and return it.

        Raises
        ------
        ValueError
            If there is no format for this kind of encoder: only SatCLIP encoders have one.
        """
        del path
        raise ValueError(
            f"{self.name} is of family {self.family!r}, and only SatCLIP encoders can be saved; "
            "keep the file it came from, or its vectors: embed_grid(encoder).to_netcdf(path)."
        )

    def to_onnx(self, path: str | Path) -> Path:
        """Write the encoder as an ONNX graph that `load_encoder` opens, and return its path.

        Raises
        ------
        ValueError
            If there is no graph for this kind of encoder: only SatCLIP encoders have one.
        """
        del path
        raise ValueError(
            f"{self.name} is of family {self.family!r}, and only SatCLIP encoders are written as "
            "ONNX; keep its vectors: sx.export_embeddings(encoder, path)."
        )

    @torch.no_grad()
    def iter_grid(
        self, grid: Grid, readout: Readout | None = None, *, precision: str | None = None
    ) -> Iterator[tuple[slice, torch.Tensor]]:
        """Encode a grid from north to south, some rows at a time.

        Parameters
        ----------
        grid : Grid
            Pixel centers, shape (H, W).
        readout : Readout, optional
            Linear map applied to every embedding.
        precision : {"float32", "float64", "bfloat16"}, optional
            Arithmetic of a fast path, where the encoder has one; default its own dtype.

        Yields
        ------
        rows : slice
            Which rows of the grid these are.
        values : torch.Tensor, shape (rows, W, C)
            Embeddings, or the readout's channels. The memory may be reused by the next step.
        """
        del precision
        height, width = grid.shape
        step = max(1, self.chunk_size // width)
        lonlat = torch.from_numpy(grid.lonlat)
        for start in range(0, height, step):
            stop = min(height, start + step)
            chunks = lonlat[start * width : stop * width].split(self.chunk_size)
            values = torch.cat([self.encode(chunk.to(self.device)) for chunk in chunks])
            values = values if readout is None else readout(values)
            yield slice(start, stop), values.reshape(stop - start, width, -1)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.name!r}, embed_dim={self.embed_dim}, "
            f"dtype={str(self.dtype).removeprefix('torch.')}, device={str(self.device)!r})"
        )

    def _repr_html_(self) -> str:
        rows = {
            "family": self.family,
            "numbers per place": self.embed_dim,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": str(self.device),
            "weights": self.weights_hash or "none",
        }
        return facts_table(self.name, rows)


def _moved(value: Any, device: torch.device) -> Any:
    """Move the tensors in an attribute, at any depth, to a device."""
    if isinstance(value, torch.Tensor | torch.nn.Module | LocationEncoder):
        return value.to(device)
    if isinstance(value, dict):
        for key, item in value.items():
            value[key] = _moved(item, device)
    elif isinstance(value, list):
        value[:] = [_moved(item, device) for item in value]
    return value


def resolve_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """Turn "float32", "float64" or "bfloat16" into a torch dtype; others are a ValueError."""
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}; got {dtype!r}.")
    return DTYPES[name]


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn "auto" or a device name into a device; "auto" is CUDA where there is one, else the CPU.

    Raises
    ------
    TypeError
        If it is no name of a device.
    ValueError
        If the name is unknown or the machine lacks that device.
    """
    if not isinstance(device, str | torch.device):
        raise TypeError(
            f"device must be 'auto', 'cpu', 'cuda' or another name of torch; got {device!r:.60}."
        )
    if device == "auto":
        # MPS has no float64, which the harmonics need.
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        # A "meta" device exists and holds no values.
        torch.zeros(1, device=resolved).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"device {str(device)!r:.60} is not available on this machine; use 'auto' or 'cpu'."
        ) from error
    return resolved

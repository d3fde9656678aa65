"""Zarr and NetCDF as groups of arrays with named axes: opened, never read whole. All is hostile."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satclip_explore.encoders.download import DownloadError
from satclip_explore.encoders.weights import WeightsNotFoundError
from satclip_explore.files.hdf5 import refuse_other_files

MAX_CHUNK_BYTES = 1 << 30
"""A chunk is unpacked whole; a larger one is a mistake, or a bomb."""

MAX_GROUPS = 1000
"""TESSERA has 120, one for each UTM zone and hemisphere."""

SQUARE = 256
"""Side of what is read together of an array that is stored in one piece."""

Attributes = Mapping[str, Any]


class StoreError(ValueError):
    """A store that is refused, in a sentence of ours."""


@dataclass(frozen=True)
class Variable:
    """An array on disk.

    Parameters
    ----------
    name : str
        In its group.
    dims : tuple of str
        Names of its axes.
    shape, chunks : tuple of int
        Of the whole, and of what is unpacked together.
    dtype : numpy.dtype
        Of numbers; others are not offered.
    attrs : mapping
        What is said of it.
    fill : object
        What a chunk that was never written holds; None where nothing says so.
    read : callable
        A slice or number for each axis to values.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    attrs: Attributes
    fill: Any
    read: Callable[[tuple[Any, ...]], NDArray[Any]]

    def all(self) -> NDArray[Any]:
        """Read it whole; for coordinates and scales of an axis."""
        return self.read((slice(None),) * len(self.shape))

    def at(self, **selection: Any) -> NDArray[Any]:
        """Read a part, by names of axes; those that it lacks are ignored."""
        return self.read(tuple(selection.get(name, slice(None)) for name in self.dims))


@dataclass(frozen=True)
class Group:
    """Arrays that belong together, and the groups below them."""

    name: str
    attrs: Attributes
    variables: Mapping[str, Variable]
    groups: tuple[Group, ...] = field(default=())


def open_zarr(path: Any) -> Group:
    """Open a Zarr store, version 2 or 3, sharded or not.

    Raises
    ------
    ModuleNotFoundError
        If zarr is not installed.
    ValueError
        If it is none, is damaged, or holds objects, which are stored as code.
    """
    try:
        import zarr
    except ImportError as error:
        raise ModuleNotFoundError("Zarr needs zarr: pip install 'satclip-explore[geo]'") from error
    title = getattr(path, "name", None) or Path(str(path)).name
    with one_sentence(title), warnings.catch_warnings():
        # Types without a final specification, such as text, are not read here.
        warnings.simplefilter("ignore")
        node = zarr.open(path, mode="r")
        if isinstance(node, zarr.Array):
            variable = _zarr_variable(node, title)
            return Group(title, dict(node.attrs), {variable.name: variable} if variable else {})
        if not node.store.supports_listing and node.metadata.consolidated_metadata is None:
            raise StoreError(
                f"{title} does not list its arrays (consolidated metadata), and its server cannot; "
                "get it whole, and open the folder."
            )
        return _zarr_group(node, title, [MAX_GROUPS])


def _zarr_group(group: Any, name: str, left: list[int]) -> Group:
    left[0] -= 1
    if left[0] < 0:
        raise StoreError(f"the store has more than {MAX_GROUPS} groups; open one of them.")
    variables, groups = {}, []
    for key, member in sorted(group.members(max_depth=0)):
        if hasattr(member, "shape"):
            if (variable := _zarr_variable(member, key)) is not None:
                variables[key] = variable
        else:
            groups.append(_zarr_group(member, key, left))
    return Group(name, dict(group.attrs), variables, tuple(groups))


def _zarr_variable(array: Any, name: str) -> Variable | None:
    """Describe an array of numbers; others give None."""
    if array.dtype.kind not in "iufbM":
        return None
    attrs = dict(array.attrs)
    dims = getattr(array.metadata, "dimension_names", None) or attrs.get("_ARRAY_DIMENSIONS") or ()
    chunk_bytes = int(np.prod(array.chunks, dtype=np.float64)) * array.dtype.itemsize
    if chunk_bytes > MAX_CHUNK_BYTES:
        raise StoreError(
            f"a chunk may have {MAX_CHUNK_BYTES >> 20:,} MB when it is unpacked; those of {name} "
            f"have {chunk_bytes >> 20:,} MB. Write the store again in smaller chunks."
        )

    def read(selection: tuple[Any, ...]) -> NDArray[Any]:
        with one_sentence(name, "a chunk of it is damaged or was cut; get it again"):
            return np.asarray(array[selection])

    return Variable(
        name,
        tuple(str(dim) for dim in dims),
        array.shape,
        array.chunks,
        array.dtype,
        attrs,
        array.fill_value,
        read,
    )


def open_netcdf(path: str | Path) -> Group:
    """Open a NetCDF file, classic or version 4.

    Raises
    ------
    ImportError
        If the package that reads it is not installed.
    ValueError
        If it is none, or is damaged.
    """
    import xarray as xr

    path = Path(path)
    with path.open("rb") as file:
        engine = "scipy" if file.read(3) == b"CDF" else "h5netcdf"
    try:
        with one_sentence(path.name):
            if engine == "h5netcdf":
                refuse_other_files(path)
            dataset = xr.open_dataset(path, engine=engine, decode_cf=False, cache=False)
    except ImportError as error:
        raise ImportError(f"NetCDF needs {engine}: pip install 'satclip-explore[geo]'") from error
    variables = {}
    for key, array in dataset.variables.items():
        if array.dtype.kind in "iuf":
            variables[str(key)] = _netcdf_variable(str(key), array)
    return Group(path.name, dict(dataset.attrs), variables)


def _netcdf_variable(name: str, array: Any) -> Variable:
    def read(selection: tuple[Any, ...]) -> NDArray[Any]:
        with one_sentence(name, "a part of it is damaged or was cut; get it again"):
            return np.asarray(array[selection].values)

    chunks = array.encoding.get("chunksizes") or [min(SQUARE, size) for size in array.shape]
    return Variable(
        name,
        tuple(str(dim) for dim in array.dims),
        array.shape,
        tuple(chunks),
        array.dtype,
        dict(array.attrs),
        array.attrs.get("_FillValue"),
        read,
    )


@contextmanager
def one_sentence(name: str, reason: str = "") -> Iterator[None]:
    """Turn what libraries raise about a hostile or damaged file into a sentence.

    Raises
    ------
    ValueError
        Saying what is wrong.
    """
    try:
        yield
    except (ImportError, MemoryError, StoreError, DownloadError, WeightsNotFoundError):
        raise
    # Codecs, HDF5 and the store raise errors of many kinds.
    except Exception as error:
        if isinstance(error.__cause__, WeightsNotFoundError):
            raise error.__cause__ from None
        said = " ".join(str(error).split()).rstrip(".")
        if "pickle" in said or "'|O'" in said:
            reason = "it holds pickled objects, which could run code; ask for a store of numbers"
        elif not reason and "codec" in said.lower():
            reason = f"it is packed in a way that is not known here ({said:.80})"
        raise StoreError(f"{name} cannot be read: {reason or f'{said:.120}'}.") from error

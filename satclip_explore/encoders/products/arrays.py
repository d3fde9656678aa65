"""Zarr stores and NetCDF files of vectors as encoders: their axes, and what undoes their int8."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satclip_explore.encoders.products.georeference import find_crs, find_transform
from satclip_explore.encoders.products.layout import (
    Vectors,
    choices,
    find_vectors,
    finest,
    time_step,
)
from satclip_explore.encoders.products.profiles import PROFILES
from satclip_explore.encoders.products.quantization import Rule, find_rule
from satclip_explore.encoders.products.stores import Variable, open_netcdf, open_zarr
from satclip_explore.encoders.products.tiles import Read, Take, Tile, TiledProduct

MIN_SIDE = 64
"""Pixels below which a read of its own costs more than its chunk."""


class ArrayTile(Tile):
    """Vectors of one array, at one time."""

    def __init__(
        self, vectors: Vectors, rule: Rule, step: int | None, dim: int, crs: str | None
    ) -> None:
        values = vectors.values
        rows, columns = (values.dims.index(axis) for axis in (vectors.y, vectors.x))
        axes = [vectors.beside(axis) for axis in (vectors.x, vectors.y)]
        shape = (values.shape[rows], values.shape[columns])
        super().__init__(
            f"{vectors.group.name}/{values.name}",
            crs or find_crs(vectors.said, vectors.beside, (vectors.y, vectors.x), axes),
            find_transform(axes, shape, vectors.said("spatial:transform")),
            shape,
            (_side(values.chunks[rows]), _side(values.chunks[columns])),
        )
        self.vectors, self.rule = vectors, rule
        self.profile = PROFILES.get(rule.product, PROFILES["plain"])
        self.fixed: dict[str, Any] = {vectors.numbers: slice(0, dim)}
        self.fixed |= {vectors.time: step} if step is not None else {}
        self.fixed |= {
            name: 0
            for name in values.dims
            if name not in (vectors.y, vectors.x, vectors.numbers, vectors.time)
        }

    @contextmanager
    def open(self) -> Iterator[Read]:
        """Make windows readable; see `Tile.open`."""
        yield self._read

    def _read(self, rows: slice, columns: slice) -> Take:
        vectors, rule = self.vectors, self.rule
        where = {**self.fixed, vectors.y: rows, vectors.x: columns}
        block = vectors.values.at(**where)
        left = [n for n in vectors.values.dims if not isinstance(where.get(n), int)]
        order = [left.index(n) for n in (vectors.y, vectors.x, vectors.numbers)]
        block = block.transpose(order)
        factor, mask = (
            None if v is None else _plane(v, where, vectors) for v in (rule.pixel_scale, rule.mask)
        )

        def take(row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[Any]:
            stored = block[row, column]
            out = self.profile.vectors(stored, rule.nodata)
            out[rule.beyond(stored)] = np.nan
            dim = out.shape[1]
            out = out * _prefix(rule.scale, dim) + _prefix(rule.offset, dim)
            if factor is not None:
                out *= np.where(np.isfinite(factor), factor, np.nan)[row, column, None]
            if mask is not None:
                out[mask[row, column] == 0] = np.nan
            if dim > 1 and vectors.values.fill is not None:
                # A chunk that was never written reads as its fill value, number by number.
                out[(stored == vectors.values.fill).all(axis=1)] = np.nan
            return out

        return take


def _plane(variable: Variable, where: dict[str, Any], vectors: Vectors) -> NDArray[Any]:
    plane = variable.at(**where)
    names = [n for n in variable.dims if not isinstance(where.get(n), int)]
    if sorted(names) != sorted((vectors.y, vectors.x)):
        raise ValueError(f"{variable.name} must hold one number a pixel; its axes are {names}.")
    return plane.T if names[0] == vectors.x else plane


def _prefix(values: NDArray[np.float64], dim: int) -> NDArray[np.float64]:
    return values[:dim] if values.ndim else values


def _side(chunk: int) -> int:
    """Return how many pixels are read together along an axis: whole chunks, not too small."""
    return chunk * max(1, -(-MIN_SIDE // chunk))


def read_arrays(
    path: Any,
    *,
    variable: str | None = None,
    product: str | None = None,
    year: int | None = None,
    time: str | None = None,
    dim: int | None = None,
    crs: str | None = None,
    method: str = "nearest",
    name: str = "",
    dtype: str = "float32",
    device: str = "auto",
) -> TiledProduct:
    """Open a Zarr store or NetCDF file of vectors as an encoder; chunks are read where places are.

    Parameters
    ----------
    path : str, Path or zarr.abc.store.Store
        A Zarr store with one group, one for each UTM zone, or one for each level of detail (the
        finest is read); or a NetCDF file.
    variable : str, optional
        Array of the vectors; default "embeddings" or "embedding", or the only one that can be.
    product : str, optional
        Whose rule undoes the quantization: "alphaearth", "tessera", "mind", "geoemb" or "plain";
        default what the store says or its arrays tell.
    year, time : int and str, optional
        Which step of the time axis: a year, or the start of an ISO date.
    dim : int, optional
        Read the first numbers alone.
    crs : str, optional
        Reference system, where the store names none.
    method : {"nearest", "bilinear"}
        As in `TiledProduct`.
    name, dtype, device : str
        As in `load_encoder`.

    Raises
    ------
    ModuleNotFoundError
        If a package that reads the file is not installed.
    ValueError
        If it is damaged, holds objects, has no array of vectors with a known position, or stores
        integers that nothing explains.
    """
    remote = hasattr(path, "identity")
    path = path if remote else Path(path)
    root = open_netcdf(path) if not remote and path.is_file() else open_zarr(path)
    found = finest(list(find_vectors(root, (), variable)))
    if not found:
        raise ValueError(
            f"{path.name} has no array {variable or 'of vectors'!r:.60} with axes such as "
            "(band, y, x) or (lat, lon, embed); it holds "
            f"{', '.join(list(root.variables)[:8]) or 'groups of others'}."
        )
    wanted = time if time is not None else None if year is None else str(year)
    tiles: list[ArrayTile] = []
    facts: list[Any] = []
    for vectors in found:
        whole = vectors.values.shape[vectors.values.dims.index(vectors.numbers)]
        if dim is not None and not (type(dim) is int and 1 <= dim <= whole):
            raise ValueError(f"dim must lie in 1 … {whole} for {path.name}; got {dim!r:.20}.")
        rule = find_rule(vectors, product)
        step = time_step(vectors, wanted)
        tiles.append(ArrayTile(vectors, rule, step, dim or whole, crs))
        facts.append(
            (tiles[-1].name, vectors.values.shape, str(vectors.values.dtype), rule.product)
        )
        facts.append((step, dim or whole, tiles[-1].transform, tiles[-1].crs))
    dims = {tile.fixed[tile.vectors.numbers].stop for tile in tiles}
    if len(dims) > 1 or len({tile.rule.product for tile in tiles}) > 1:
        raise ValueError(f"{path.name} mixes vectors of {sorted(dims)} numbers; open one group.")
    encoder = TiledProduct(
        tiles,
        dims.pop(),
        (path.name, facts, path.identity() if remote else _changed(path)),
        product=tiles[0].rule.product,
        method=method,
        name=name or Path(path.name).stem + (f":{wanted}" if wanted is not None else ""),
        family="arrays",
        dtype=dtype,
        device=device,
    )
    encoder.times = choices(found[0], year, time)
    return encoder


def _changed(path: Path) -> list[int]:
    """When the store was last written, as far as its metadata tell."""
    marks = [path, *path.glob("*/zarr.json"), *path.glob("*/.zarray")] if path.is_dir() else [path]
    return sorted(mark.stat().st_mtime_ns for mark in marks)

"""Parquet files of places with a vector each as encoders: the nearest, within a stated distance."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from satclip_explore.encoders.base import LocationEncoder, Times, resolve_device, resolve_dtype
from satclip_explore.encoders.place_index import PlaceIndex
from satclip_explore.encoders.products import PARQUET, list_files, years_below
from satclip_explore.encoders.products.point_columns import (
    list_columns,
    place_columns,
    vector_columns,
)
from satclip_explore.files.crs import is_wgs84, to_lonlat
from satclip_explore.geo import as_lonlat

BATCH_ROWS = 8192
"""Rows that are unpacked together: with 2,048 numbers each, 64 MB."""


@dataclass(frozen=True)
class Columns:
    """Which columns hold the vectors and the places: two of degrees, or one of geometry."""

    vectors: tuple[str, ...]
    places: tuple[str, ...]
    crs: Any = None


class PointProduct(LocationEncoder):
    """Vectors of places in Parquet files; the places are kept, vectors are read where asked for.

    Parameters
    ----------
    files : list of Path
        In the order of the places.
    columns : Columns
        Of every file.
    rows : numpy.ndarray, shape (M, 2)
        Number of the file of each place, and its row in it.
    index : PlaceIndex
        Of the places.
    embed_dim : int
        Numbers of a vector.
    name, dtype, device : str
        As in `load_encoder`.
    """

    family = "points"
    chunk_size = 65_536

    def __init__(
        self,
        files: list[Path],
        columns: Columns,
        rows: NDArray[np.int64],
        index: PlaceIndex,
        embed_dim: int,
        *,
        name: str,
        dtype: str = "float32",
        device: str = "auto",
    ) -> None:
        self.files, self.columns, self.rows, self.index = files, columns, rows, index
        self.name, self.embed_dim = name, embed_dim
        self.dtype, self.device = resolve_dtype(dtype), resolve_device(device)
        stats = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
        facts = repr((stats, columns.vectors[:2], len(rows), index.max_distance_km))
        self.weights_hash = hashlib.sha256(facts.encode()).hexdigest()[:16]

    @property
    def max_distance_km(self) -> float:
        """Great-circle distance up to which a place is answered."""
        return self.index.max_distance_km

    def coverage(self, lonlat: Any) -> NDArray[np.bool_]:
        """Tell which places have a vector within the distance; see `LocationEncoder.coverage`."""
        return self.index.nearest(as_lonlat(lonlat))[1]

    def encode(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Encode one chunk of checked places; see `LocationEncoder.encode`."""
        nearest, near = self.index.nearest(lonlat.cpu().numpy())
        kind = np.float64 if self.dtype == torch.float64 else np.float32
        out = np.full((len(nearest), self.embed_dim), np.nan, dtype=kind)
        wanted = np.flatnonzero(near)
        file, row = self.rows[nearest[wanted]].T
        for number in np.unique(file):
            at = np.flatnonzero(file == number)
            for first, batch in _batches(self.files[number], self.columns.vectors, row[at]):
                inside = at[(row[at] >= first) & (row[at] < first + len(batch))]
                out[wanted[inside]] = _vectors(batch, row[inside] - first, self.files[number].name)
        return torch.from_numpy(out).to(self.device, self.dtype)

    def _repr_html_(self) -> str:
        reach = (
            f"<p>the nearest of {len(self.rows):,} places within {self.max_distance_km:g} km</p>"
        )
        return super()._repr_html_() + reach


def _vectors(batch: Any, rows: NDArray[np.int64], name: str) -> NDArray[Any]:
    """Take vectors, (N, D), out of a batch of rows: a column of lists, or one for each number."""
    taken = batch.take(rows)
    if batch.num_columns > 1:
        return np.stack([column.to_numpy(zero_copy_only=False) for column in taken.columns], axis=1)
    column = taken.column(0)
    if column.null_count:
        raise ValueError(f"{name} has places without a vector; leave them out.")
    flat = column.flatten().to_numpy(zero_copy_only=False)
    if len(flat) % max(1, len(rows)):
        raise ValueError(f"{name} holds vectors of several lengths; one encoder has one.")
    return np.asarray(flat.reshape(len(rows), -1))


def _batches(
    path: Path, columns: tuple[str, ...], rows: NDArray[np.int64]
) -> Iterator[tuple[int, Any]]:
    """Read the batches of a file that hold some of the rows, each with its first row's number."""
    from pyarrow import parquet

    with _one_sentence(path.name), parquet.ParquetFile(path) as file:
        first = 0
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            if ((rows >= first) & (rows < first + size)).any():
                start = first
                for batch in file.iter_batches(BATCH_ROWS, [group], columns=list(columns)):
                    if ((rows >= start) & (rows < start + len(batch))).any():
                        yield start, batch.select(list(columns))
                    start += len(batch)
            first += size


@contextmanager
def _one_sentence(name: str) -> Iterator[None]:
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, OSError) as error:
        raise ValueError(f"{name} is damaged or was cut: it does not read as Parquet.") from error


def holds_points(path: Path) -> bool:
    """Tell whether Parquet files hold vectors otherwise than MOSAIKS: in lists, or as emb_0."""
    try:
        from pyarrow import parquet
    except ImportError:
        return False
    files = list_files(path, PARQUET)
    if not files:
        return False
    with _one_sentence(files[0].name):
        schema = parquet.read_schema(files[0])
    if list_columns(schema) or b"geo" in (schema.metadata or {}):
        return True
    try:
        return not re.fullmatch(r"[xX]?_?\d+", vector_columns(schema)[0])
    except ValueError:
        return False


def _read_places(path: Path, columns: Columns) -> NDArray[np.float64]:
    """Read the places of a file, (M, 2): centers of whatever geometry it has."""
    from pyarrow import parquet

    with _one_sentence(path.name):
        table = parquet.read_table(path, columns=list(columns.places), partitioning=None)
    if len(columns.places) == 2:
        x, y = (table.column(name).to_numpy().astype(np.float64) for name in columns.places)
    else:
        import shapely

        try:
            shapes = shapely.from_wkb(table.column(0).to_pylist())
        except (shapely.errors.GEOSException, TypeError) as error:
            raise ValueError(f"{path.name} has a geometry that is no WKB.") from error
        x, y = shapely.get_coordinates(shapely.centroid(shapes)).T
        if len(x) != table.num_rows:
            raise ValueError(f"{path.name} has rows without a geometry; leave them out.")
    if columns.crs is not None:
        from pyproj import CRS

        crs = CRS.from_user_input(columns.crs)
        x, y = (x, y) if is_wgs84(crs) else to_lonlat(x, y, crs)
    return as_lonlat(np.column_stack([x, y]))


def read_points(
    path: str | Path,
    *,
    column: str | None = None,
    max_distance_km: float | None = None,
    year: int | None = None,
    name: str = "",
    dtype: str = "float32",
    device: str = "auto",
) -> PointProduct:
    """Open Parquet files of places with a vector each as an encoder.

    Places are read at once and vectors where they are asked for, batch by batch.

    Parameters
    ----------
    path : str or Path
        A file or a folder of them, as Major TOM, Clay and Earth Index publish them, or with
        columns emb_0, emb_1 …
    column : str, optional
        Of the vectors, where several columns hold lists.
    max_distance_km : float, optional
        Beyond it a place has no vector and no coverage. Default as in `PlaceIndex`; it can be
        read as `encoder.max_distance_km`.
    year : int, optional
        Use the files alone whose path below the folder names this year.
    name, dtype, device : str
        As in `load_encoder`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModuleNotFoundError
        If pyarrow or SciPy is not installed.
    ValueError
        If a file is damaged, lacks places or vectors, or a place occurs twice.
    """
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ModuleNotFoundError(
            "Parquet needs pyarrow: pip install 'satclip-explore[geo]'"
        ) from error
    path = Path(path)
    files = list_files(path, PARQUET, year)
    if not files:
        of_year = f" of {year}" if year is not None else ""
        raise FileNotFoundError(
            f"no Parquet file{of_year} at {path}; pass a file or a folder of them."
        )
    places, dims = [], set()
    for file in files:
        with _one_sentence(file.name):
            schema = parquet.read_schema(file)
        columns = Columns(vector_columns(schema, column), *place_columns(schema))
        places.append(_read_places(file, columns))
        batch = next(_batches(file, columns.vectors, np.array([0])), None)
        if batch is not None:
            dims.add((_vectors(batch[1], np.array([0]), file.name).shape[1], columns.vectors))
    if len(dims) != 1:
        sizes = ", ".join(sorted(str(dim) for dim, _ in dims)) or "no"
        raise ValueError(f"{path.name} holds vectors of {sizes} numbers; one encoder has one size.")
    counts = [len(part) for part in places]
    numbers = np.repeat(np.arange(len(files)), counts)
    rows = np.column_stack([numbers, np.concatenate([np.arange(count) for count in counts])])
    index = PlaceIndex(np.concatenate(places), max_distance_km)
    title = name or path.stem + (f":year{year}" if year is not None else "")
    ((dim, _),) = dims
    encoder = PointProduct(
        files, columns, rows, index, dim, name=title, dtype=dtype, device=device
    )  # fmt: skip
    if year is not None:
        encoder.times = Times("year", years_below(path, PARQUET))
    return encoder

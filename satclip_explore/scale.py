"""Embeddings larger than memory, on Dask tables and Parquet files; and a command for them."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.encoders.download import file_sha256
from satclip_explore.encoders.registry import DEFAULT_ENCODER, load_encoder
from satclip_explore.files.atomic import replacing
from satclip_explore.geo import GLOBE, as_lonlat
from satclip_explore.grid_store import KINDS, write_grid
from satclip_explore.provenance import provenance
from satclip_explore.workers import run

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_ROWS = 100_000
"""Places that are read, encoded and written at a time: 200 MB with 256 numbers each."""

GROUP_ROWS = 16_384
"""Places of a row group: 16 MB, in memory that the one before has just left."""

WKB_POINT = np.dtype([("order", "u1"), ("kind", "<u4"), ("x", "<f8"), ("y", "<f8")])
"""A point in little-endian bytes."""

DEGREES = (("OGC", "CRS84"), ("EPSG", 4326))
"""Coordinate systems of longitude and latitude in degrees on WGS 84."""

VECTORS = "embedding"
"""Name of the column that holds the embeddings."""


def embed(encoder: LocationEncoder, frame: Any) -> Any:
    """Add embeddings to a Dask table, a partition at a time, when it is computed.

    Parameters
    ----------
    encoder : LocationEncoder
        Sent to each worker once.
    frame : dask.dataframe.DataFrame
        With columns of longitude and latitude in degrees; see `LocationEncoder.embed`.

    Returns
    -------
    dask.dataframe.DataFrame
        The same partitions, rows and index, and columns embed_0 … embed_{D-1}.

    Raises
    ------
    TypeError
        If it is no Dask table.
    """
    if not hasattr(frame, "map_partitions"):
        raise TypeError(
            f"scale.embed takes a Dask table; got {type(frame).__name__}. A table in memory: "
            "encoder.embed_frame(frame); Parquet files: embed_parquet(encoder, source, target)."
        )
    dtype = np.dtype(str(encoder.dtype).removeprefix("torch.").replace("bfloat16", "float32"))
    meta = frame._meta.assign(
        **{f"embed_{i}": np.empty(0, dtype) for i in range(encoder.embed_dim)}
    )
    return frame.map_partitions(_embed_part, encoder, meta, meta=meta)


def _embed_part(part: Any, encoder: LocationEncoder, meta: Any) -> Any:
    return encoder.embed_frame(part) if len(part) else meta


def embed_parquet(
    encoder: LocationEncoder,
    source: str | Path,
    target: str | Path,
    *,
    columns: tuple[str, str] = ("lon", "lat"),
    workers: int = 1,
) -> Path:
    """Embed the places of Parquet or GeoParquet files, block by block, into a folder of files.

    Started again after it was stopped, it goes on with the blocks that are missing or damaged. The
    result opens with `load_encoder`, as any folder of places with vectors.

    Parameters
    ----------
    encoder : LocationEncoder
        Any encoder.
    source : str or pathlib.Path
        A file, or a folder of files that are read by name.
    target : str or pathlib.Path
        Folder of part-00000.parquet …; made where it is missing.
    columns : tuple of str
        Longitude and latitude in degrees, where there is no geometry.
    workers : int
        Blocks that are encoded at a time; an active Dask client decides in its place.

    Returns
    -------
    pathlib.Path
        The folder: the source's columns, rows and order, and a column `embedding` of float32.

    Raises
    ------
    FileNotFoundError
        If there are no Parquet files.
    ValueError
        If a column is missing, a place is not valid (the block is named), or the folder holds
        blocks of another encoder or source.
    """
    import pyarrow.parquet as pq

    source, target = Path(source), Path(target)
    files = sorted(source.glob("*.parquet")) if source.is_dir() else [source]
    if not files or not files[0].is_file():
        raise FileNotFoundError(f"no Parquet files at {source}; give a .parquet file or a folder.")
    blocks = []
    for file in files:
        with pq.ParquetFile(file) as opened:
            named = [*opened.schema_arrow.names]
            rows = opened.metadata.num_rows
            if b"geo" not in (opened.schema_arrow.metadata or {}):
                for name in columns:
                    if name not in named:
                        raise ValueError(
                            f"{file.name} has no column {name!r}; name longitude and latitude "
                            f"with columns=(…, …) among {', '.join(named)[:200]}."
                        )
        facts = provenance(encoder, source=f"{file.name} {file_sha256(file)}", columns=columns)
        blocks += [
            (file, start, facts | {"first_row": str(start)}) for start in range(0, rows, BLOCK_ROWS)
        ]
    target.mkdir(parents=True, exist_ok=True)
    parts = {target / f"part-{number:05d}.parquet": block for number, block in enumerate(blocks)}
    _refuse_others(target, {part: facts for part, (_, _, facts) in parts.items()})
    wanted = [(part, *block, columns) for part, block in parts.items() if not part.exists()]
    run(_embed_block, encoder, wanted, workers)
    return target


def _refuse_others(target: Path, expected: dict[Path, dict[str, str]]) -> None:
    """Remove blocks that are damaged, and raise ValueError where one is not what is expected."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for part in sorted(target.glob("*.parquet")):
        try:
            found = pq.read_schema(part).metadata or {}
        except pa.ArrowInvalid:
            if part in expected:
                part.unlink()
                continue
            found = {}
        facts = expected.get(part, {"source": ""})
        # Other versions of packages give the same numbers.
        if any(found.get(key.encode()) != value.encode()
               for key, value in facts.items() if key not in ("software", "versions")):  # fmt: skip
            raise ValueError(
                f"{part} is of another encoder or source; give another folder or remove this one."
            )


def _embed_block(
    encoder: LocationEncoder,
    part: Path,
    file: Path,
    start: int,
    facts: dict[str, str],
    columns: tuple[str, str],
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if part.exists():
        return  # by a worker that was lost before Dask had heard of it
    table = _rows(file, start)
    # What is never null is written a third faster.
    kind = pa.list_(pa.field("element", pa.float32(), nullable=False), encoder.embed_dim)
    said = {key.encode(): value.encode() for key, value in facts.items()}
    schema = table.schema.append(pa.field(VECTORS, kind, nullable=False))
    schema = schema.with_metadata({**(table.schema.metadata or {}), **said})
    # Embeddings do not get smaller; only the columns of the source are compressed.
    options = {"compression": dict.fromkeys(table.column_names, "zstd"),
               "use_dictionary": table.column_names, "write_statistics": False}  # fmt: skip
    try:
        vectors = encoder.embed(_places(table, columns)).astype(np.float32, copy=False)
    except ValueError as error:
        raise ValueError(f"{file.name}, rows from {start:,}: {error}") from error
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), type=kind)
    joined = pa.table([*table.columns, column], schema=schema)
    with replacing(part) as [path]:
        pq.write_table(joined, path, row_group_size=GROUP_ROWS, write_batch_size=GROUP_ROWS,
                       **options)  # fmt: skip


def _rows(file: Path, start: int) -> pa.Table:
    """Read `BLOCK_ROWS` rows from `start` on, without reading the row groups before them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as opened:
        sizes = [opened.metadata.row_group(i).num_rows for i in range(opened.num_row_groups)]
        ends = np.cumsum(sizes)
        first = int(np.searchsorted(ends, start, side="right"))
        skip = start - int(ends[first] - sizes[first])
        batches, seen = [], 0
        for batch in opened.iter_batches(BLOCK_ROWS, range(first, len(sizes))):
            batches.append(batch)
            seen += len(batch)
            if seen >= skip + BLOCK_ROWS:
                break
        return pa.Table.from_batches(batches, opened.schema_arrow).slice(skip, BLOCK_ROWS)


def _places(table: pa.Table, columns: tuple[str, str]) -> NDArray[np.float64]:
    """Return the places of a table: from its geometry, whatever its CRS, or from two columns."""
    if b"geo" not in (table.schema.metadata or {}):
        return as_lonlat(np.column_stack([table[name].to_numpy() for name in columns]))
    try:
        places: Any = _degrees_of_points(table)
        if places is None:
            import geopandas

            places = geopandas.GeoDataFrame.from_arrow(table)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(
            "the metadata “geo” do not describe its geometry as GeoParquet does; write it again "
            "with geopandas, or remove them and name two columns."
        ) from error
    return as_lonlat(places)


def _degrees_of_points(table: pa.Table) -> NDArray[np.float64] | None:
    """Read points in degrees without an object for each; None where geometries are anything else.

    References
    ----------
    GeoParquet 1.1.0, https://geoparquet.org/releases/v1.1.0/ (`crs` is OGC:CRS84 where it is not
    given, and longitude comes first whatever it says); WKB of OGC 06-103r4, 8.2.
    """
    import pyarrow as pa

    geo = json.loads(table.schema.metadata[b"geo"])
    name = geo["primary_column"]
    column, facts = pa.concat_arrays(table[name].chunks), geo["columns"][name]
    crs = facts.get("crs", {"id": {"authority": "OGC", "code": "CRS84"}}) or {}
    identity = crs.get("id") or {}
    known = (identity.get("authority"), identity.get("code")) in DEGREES
    if facts.get("encoding") != "WKB" or not known or column.null_count:
        return None
    wide = {pa.binary(): np.int32, pa.large_binary(): np.int64}.get(column.type)
    if wide is None:
        return None
    offsets = np.frombuffer(column.buffers()[1], wide)[column.offset :][: len(column) + 1]
    if (np.diff(offsets) != WKB_POINT.itemsize).any():
        return None
    count = len(column)
    points = np.frombuffer(column.buffers()[2], WKB_POINT, count, offset=int(offsets[0]))
    if (points["order"] != 1).any() or (points["kind"] != 1).any():
        return None
    return np.column_stack([points["x"], points["y"]])


def main(arguments: list[str] | None = None) -> None:
    """Embed a table or a grid from the command line: `python -m satclip_explore.scale --help`."""
    parser = argparse.ArgumentParser(prog="python -m satclip_explore.scale", description=__doc__)
    parser.add_argument("--encoder", default=DEFAULT_ENCODER, help="a registered name or a path")
    parser.add_argument("--workers", type=int, default=1, help="blocks at a time")
    parser.add_argument("--scheduler", help="address of a Dask scheduler, e.g. tcp://host:8786")
    commands = parser.add_subparsers(dest="command", required=True)
    table = commands.add_parser("embed", help="Parquet files to Parquet files with embeddings")
    table.add_argument("source")
    table.add_argument("target")
    table.add_argument("--columns", nargs=2, default=("lon", "lat"), metavar=("LON", "LAT"))
    grid = commands.add_parser("grid", help="a grid to a Zarr store")
    grid.add_argument("store")
    grid.add_argument("--resolution", type=float, default=1.0, help="degrees")
    grid.add_argument("--bounds", type=float, nargs=4, default=GLOBE,
                      metavar=("WEST", "SOUTH", "EAST", "NORTH"))  # fmt: skip
    grid.add_argument("--dtype", default="float16", choices=KINDS)
    given = parser.parse_args(arguments)
    try:
        if given.scheduler:
            from distributed import Client

            Client(given.scheduler)
        encoder = load_encoder(given.encoder)
        if given.command == "embed":
            done = embed_parquet(encoder, given.source, given.target,
                                 columns=tuple(given.columns), workers=given.workers)  # fmt: skip
        else:
            done = write_grid(encoder, given.store, given.resolution, tuple(given.bounds),
                              dtype=given.dtype, workers=given.workers)  # fmt: skip
    except (ValueError, OSError, ImportError) as error:
        parser.exit(2, f"{error}{os.linesep}")
    print(done)


if __name__ == "__main__":
    main()

"""GeoTIFFs, and folders of them, as one encoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satclip_explore.encoders.download import DownloadError
from satclip_explore.encoders.products import RASTERS, list_files
from satclip_explore.encoders.products.profiles import Profile, find_profile
from satclip_explore.encoders.products.tiles import METHODS, Read, Take, Tile, TiledProduct
from satclip_explore.encoders.remote_blocks import RemoteFile
from satclip_explore.encoders.weights import WeightsNotFoundError

MAX_BLOCK_PIXELS = 256
"""Side of a square of pixels that is read together where a file is stored in strips."""


class RasterTile(Tile):
    """A file that GDAL reads."""

    def __init__(self, path: Path | RemoteFile, source: Any) -> None:
        super().__init__(
            path.name,
            source.crs.to_wkt(),
            source.transform,
            source.shape,
            _block(source.block_shapes[0], source.shape),
        )
        self.path, self.nodata = path, source.nodata
        self.scales, self.offsets = np.array(source.scales), np.array(source.offsets)
        self.kind: tuple[int, str] = (source.count, source.dtypes[0])
        self.profile: Profile

    @contextmanager
    def open(self) -> Iterator[Read]:
        """Open the file for a number of reads; see `Tile.open`."""
        from rasterio.windows import Window

        problem = "is damaged or was cut: a part cannot be read; get it again"
        with _opened(self.path, problem, num_threads="all_cpus") as source:

            def read(rows: slice, columns: slice) -> Take:
                block = source.read(window=Window.from_slices(rows, columns))
                return lambda row, column: self._restore(block[:, row, column].T)

            yield read

    def _restore(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Turn stored vectors, (N, D), into those that are meant."""
        values = self.profile.vectors(stored, self.nodata)
        return values * self.scales + self.offsets if self.profile.name == "plain" else values

    @property
    def scaled(self) -> bool:
        """Whether the file itself says how its numbers are scaled."""
        return bool((self.scales != 1).any() or (self.offsets != 0).any())


def _block(stored: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int]:
    """Return what is read together: a stored block, or a square where a file has strips."""
    height, width = stored
    if width >= shape[1] > MAX_BLOCK_PIXELS or height * width > 4 * MAX_BLOCK_PIXELS**2:
        return MAX_BLOCK_PIXELS, MAX_BLOCK_PIXELS
    return height, width


def read_rasters(
    path: str | Path | RemoteFile,
    *,
    product: str | None = None,
    year: int | None = None,
    method: str = "nearest",
    name: str = "",
    dtype: str = "float32",
    device: str = "auto",
) -> TiledProduct:
    """Open a GeoTIFF, or a folder of them, as an encoder. Pixels are read where places are.

    Parameters
    ----------
    path : str, Path or RemoteFile
        A .tif or .vrt, or a folder; tiles may lie in different UTM zones, and be flipped.
    product : str, optional
        A key of `profiles.PROFILES`; default what bands and kind of the files tell, or the scales
        and offsets that they state.
    year : int, optional
        Use the files alone whose path below the folder names this year.
    method : {"nearest", "bilinear"}
        As in `TiledProduct`.
    name, dtype, device : str
        As in `load_encoder`.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or no raster in the folder.
    ModuleNotFoundError
        If rasterio or pyproj is not installed.
    ValueError
        If a file is damaged or has no map position, files have different bands or kinds, or
        integers are scaled in a way that nothing tells.
    """
    try:
        import pyproj  # noqa: F401
        import rasterio  # noqa: F401
    except ImportError as error:
        raise ModuleNotFoundError(
            "rasters of embeddings need rasterio and pyproj; install them with: "
            "pip install rasterio pyproj"
        ) from error
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r:.60}.")
    path = path if isinstance(path, RemoteFile) else Path(path)
    files = [path] if isinstance(path, RemoteFile) else list_files(path, RASTERS, year)
    if not files:
        of_year = f" of {year}" if year is not None else ""
        raise FileNotFoundError(f"no GeoTIFF{of_year} at {path}; pass a .tif or a folder of them.")
    tiles = [_open(file) for file in files]
    first, (bands, kind) = tiles[0], tiles[0].kind
    for tile in tiles:
        if tile.kind != first.kind:
            raise ValueError(
                f"{tile.name} holds {tile.kind[0]} bands of {tile.kind[1]}, unlike {first.name} "
                f"with {bands} of {kind}; one encoder needs files of one kind."
            )
    if product is None and any(tile.scaled for tile in tiles):
        product = "plain"
    profile = find_profile(product, bands, kind)
    for tile in tiles:
        tile.profile = profile
        tile.nodata = profile.nodata if tile.nodata is None else tile.nodata
    stats = [(t.name, *_version(t.path)) for t in tiles]
    title = name or Path(path.name).stem + (f":year{year}" if year is not None else "")
    return TiledProduct(
        tiles,
        bands,
        sorted(stats),
        product=profile.name,
        method=method,
        name=title,
        family="raster",
        dtype=dtype,
        device=device,
    )


def _open(file: Path | RemoteFile) -> RasterTile:
    """Read the header of a file."""
    with _opened(file, "is damaged or is not a raster") as source:
        if source.crs is None or source.transform.is_identity:
            raise ValueError(f"{file.name} has no map position (CRS and transform).")
        if len(set(source.dtypes)) > 1:
            raise ValueError(f"{file.name} mixes kinds of numbers among its bands.")
        return RasterTile(file, source)


def _version(file: Path | RemoteFile) -> tuple[Any, ...]:
    if isinstance(file, RemoteFile):
        return file.identity
    facts = file.stat()
    return facts.st_size, facts.st_mtime_ns


@contextmanager
def _opened(file: Path | RemoteFile, problem: str, **options: Any) -> Iterator[Any]:
    """Open a raster; what GDAL raises until the block ends becomes a sentence."""
    import rasterio
    from rasterio.errors import RasterioError

    opened = file.open_raster if isinstance(file, RemoteFile) else partial(rasterio.open, file)
    try:
        with opened(**options) as source:
            yield source
    except (DownloadError, WeightsNotFoundError):
        raise
    except (RasterioError, OSError) as error:
        raise ValueError(f"{file.name} {problem}.") from error

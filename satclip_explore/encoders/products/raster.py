"""GeoTIFFs, and folders of them, as one encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satclip_explore.encoders.download import DownloadError
from satclip_explore.encoders.products import GEOTIFF, list_files
from satclip_explore.encoders.products.profiles import Profile, find_profile
from satclip_explore.encoders.products.tiles import Read, Take, Tile, TiledProduct
from satclip_explore.encoders.remote_blocks import RemoteFile
from satclip_explore.encoders.weights import WeightsNotFoundError

MAX_BLOCK_PIXELS = 256
"""Side of a square of pixels that is read together where a file is stored in strips."""

Raster = Path | RemoteFile


@dataclass(frozen=True)
class Header:
    """What a GeoTIFF says of itself.

    Parameters
    ----------
    name : str
        Of the file.
    crs : str
        WKT; empty where it has none.
    transform : tuple of float
        As in `Tile`.
    shape, block : tuple of int
        Rows and columns of the file, and of what is read together.
    dtype : str
        Of its numbers.
    nodata : float or None
        Number of a pixel without data.
    scales, offsets : tuple of float
        Of each band.
    masked : bool
        Whether a mask, or a band of opacity, says where there is data.
    """

    name: str
    crs: str
    transform: tuple[float, ...]
    shape: tuple[int, int]
    block: tuple[int, int]
    dtype: str
    nodata: float | None
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    masked: bool

    @property
    def scaled(self) -> bool:
        """Whether the file itself says how its numbers are scaled."""
        return any(scale != 1 for scale in self.scales) or any(self.offsets)


class RasterTile(Tile):
    """Vectors in the bands of a GeoTIFF, or of several with the same pixels.

    Parameters
    ----------
    header : Header
        Of the tile; in place of what files say, where a list says otherwise.
    parts : sequence of (Path or RemoteFile, tuple of int)
        Files, and which of their bands, from 1, are taken.
    profile : Profile
        Which product it is.
    corner : tuple of int
        Row and column of the files at which the tile begins.
    """

    def __init__(
        self,
        header: Header,
        parts: Sequence[tuple[Raster, tuple[int, ...]]],
        profile: Profile,
        corner: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__(header.name, header.crs, header.transform, header.shape, header.block)
        self.header, self.parts, self.profile, self.corner = header, parts, profile, corner
        self.nodata = profile.nodata if header.nodata is None else header.nodata

    @contextmanager
    def open(self) -> Iterator[Read]:
        """Open the files for a number of reads; see `Tile.open`."""
        from rasterio.windows import Window

        problem = "is damaged or was cut: a part cannot be read; get it again"
        with ExitStack() as stack:
            opened = [
                (stack.enter_context(_opened(file, problem, num_threads="all_cpus")), list(bands))
                for file, bands in self.parts
            ]

            def read(rows: slice, columns: slice) -> Take:
                top, left = self.corner
                window = Window.from_slices(
                    (rows.start + top, rows.stop + top), (columns.start + left, columns.stop + left)
                )
                blocks = [source.read(bands, window=window) for source, bands in opened]
                block = np.concatenate(blocks) if len(blocks) > 1 else blocks[0]
                masks = [_mask(source, window) for source, _ in opened if self.header.masked]

                def take(row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[Any]:
                    values = self._restore(block[:, row, column].T)
                    for mask in masks:
                        values[mask[row, column] == 0] = np.nan
                    return values

                return take

            yield read

    def _restore(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Turn stored vectors, (N, D), into those that are meant."""
        values = self.profile.vectors(stored, self.nodata)
        if self.profile.name != "plain":
            return values
        return values * np.array(self.header.scales) + np.array(self.header.offsets)


@dataclass(frozen=True)
class Kind:
    """What the rasters of one encoder have in common, as the first of them says it.

    Parameters
    ----------
    first : Header
        Of that one.
    bands : int
        Numbers of a vector.
    profile : Profile
        Which product it is.
    """

    first: Header
    bands: int
    profile: Profile

    @classmethod
    def of(cls, first: Header, product: str | None, scaled: bool) -> Kind:
        """Find the product of rasters: as the user says, as they state scales, or by their bands.

        Raises
        ------
        ValueError
            As `find_profile`.
        """
        bands = len(first.scales)
        product = "plain" if product is None and scaled else product
        return cls(first, bands, find_profile(product, bands, first.dtype))

    def tile(self, file: Raster, header: Header, bands: tuple[int, ...]) -> RasterTile:
        """Make a tile of a GeoTIFF, if it is of this kind and has a position.

        Raises
        ------
        ValueError
            Otherwise.
        """
        if not header.crs or not header.transform:
            raise ValueError(f"{header.name} has no map position (CRS and transform).")
        self.check(header)
        return RasterTile(header, [(file, bands)], self.profile)

    def check(self, header: Header) -> None:
        """Refuse a raster of another kind."""
        bands = len(header.scales)
        if (bands, header.dtype) != (self.bands, self.first.dtype):
            raise ValueError(
                f"{header.name} holds {bands} bands of {header.dtype}, unlike {self.first.name} "
                f"with {self.bands} of {self.first.dtype}; one encoder needs files of one kind."
            )


def _opacity(source: Any) -> list[int]:
    from rasterio.enums import ColorInterp

    colors = zip(source.indexes, source.colorinterp, strict=True)
    return [band for band, color in colors if color == ColorInterp.alpha]


def _mask(source: Any, window: Any) -> NDArray[Any]:
    """Read what is 0 where there is no data."""
    opacity = _opacity(source)
    mask = source.read(opacity[0], window=window) if opacity else source.dataset_mask(window=window)
    return np.asarray(mask)


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
        A .tif, or a folder of them; tiles may lie in different UTM zones, and be flipped.
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
    need_rasterio()
    path = path if isinstance(path, RemoteFile) else Path(path)
    files: list[Raster] = (
        [path] if isinstance(path, RemoteFile) else [*list_files(path, GEOTIFF, year)]
    )
    if not files:
        of_year = f" of {year}" if year is not None else ""
        raise FileNotFoundError(f"no GeoTIFF{of_year} at {path}; pass a .tif or a folder of them.")
    headers = [read_header(file) for file in files]
    kind = Kind.of(headers[0][0], product, any(header.scaled for header, _ in headers))
    tiles = [kind.tile(file, *found) for file, found in zip(files, headers, strict=True)]
    facts = sorted((file.name, *version(file)) for file in files)
    return TiledProduct(
        tiles,
        kind.bands,
        facts,
        product=kind.profile.name,
        method=method,
        name=name or Path(path.name).stem + (f":year{year}" if year is not None else ""),
        family="raster",
        dtype=dtype,
        device=device,
    )


def need_rasterio() -> None:
    """Say what to install where a package that reads rasters is missing."""
    try:
        import pyproj  # noqa: F401
        import rasterio  # noqa: F401
    except ImportError as error:
        raise ModuleNotFoundError(
            "rasters of embeddings need rasterio and pyproj; install them with: "
            "pip install rasterio pyproj"
        ) from error


def read_header(file: Raster) -> tuple[Header, tuple[int, ...]]:
    """Read the header of a GeoTIFF, and which bands hold numbers: all but one of opacity.

    Raises
    ------
    ValueError
        If it is damaged, or mixes kinds of numbers.
    """
    from rasterio.enums import MaskFlags

    with _opened(file, "is damaged or is not a GeoTIFF") as source:
        opacity = _opacity(source)
        bands = tuple(band for band in source.indexes if band not in opacity)
        of_bands = [band - 1 for band in bands]
        if len({source.dtypes[band] for band in of_bands}) != 1:
            raise ValueError(f"{file.name} mixes kinds of numbers among its bands.")
        return Header(
            file.name,
            source.crs.to_wkt() if source.crs is not None else "",
            () if source.transform.is_identity else tuple(source.transform)[:6],
            source.shape,
            _block(source.block_shapes[0], source.shape),
            source.dtypes[of_bands[0]],
            source.nodata,
            tuple(source.scales[band] for band in of_bands),
            tuple(source.offsets[band] for band in of_bands),
            bool(opacity) or MaskFlags.per_dataset in source.mask_flag_enums[of_bands[0]],
        ), bands


def version(file: Raster) -> tuple[Any, ...]:
    """Return what changes when a file does."""
    if isinstance(file, RemoteFile):
        return file.identity
    facts = file.stat()
    return facts.st_size, facts.st_mtime_ns


@contextmanager
def _opened(file: Raster, problem: str, **options: Any) -> Iterator[Any]:
    """Open a GeoTIFF; what GDAL raises until the block ends becomes a sentence."""
    import rasterio
    from rasterio.errors import RasterioError

    # Text that is called .tif may be a virtual raster, which names any file of this machine.
    local = partial(rasterio.open, file, driver="GTiff")
    opened = file.open_raster if isinstance(file, RemoteFile) else local
    try:
        with opened(**options) as source:
            yield source
    except (DownloadError, WeightsNotFoundError):
        raise
    except (RasterioError, OSError) as error:
        raise ValueError(f"{file.name} {problem}.") from error

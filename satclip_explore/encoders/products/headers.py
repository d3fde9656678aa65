"""GeoTIFFs, on this machine or a server: what their headers say, and how they are opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from satclip_explore.encoders.download import DownloadError
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


def _block(stored: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int]:
    """Return what is read together: a stored block, or a square where a file has strips."""
    height, width = stored
    if width >= shape[1] > MAX_BLOCK_PIXELS or height * width > 4 * MAX_BLOCK_PIXELS**2:
        return MAX_BLOCK_PIXELS, MAX_BLOCK_PIXELS
    return height, width


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

    with opened_raster(file, "is damaged or is not a GeoTIFF") as source:
        unseen = opacity(source)
        bands = tuple(band for band in source.indexes if band not in unseen)
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
            bool(unseen) or MaskFlags.per_dataset in source.mask_flag_enums[of_bands[0]],
        ), bands


def version(file: Raster) -> tuple[Any, ...]:
    """Return what changes when a file does."""
    if isinstance(file, RemoteFile):
        return file.identity
    facts = file.stat()
    return facts.st_size, facts.st_mtime_ns


@contextmanager
def opened_raster(file: Raster, problem: str, **options: Any) -> Iterator[Any]:
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


def opacity(source: Any) -> list[int]:
    """Return which bands, from 1, are of opacity."""
    from rasterio.enums import ColorInterp

    colors = zip(source.indexes, source.colorinterp, strict=True)
    return [band for band, color in colors if color == ColorInterp.alpha]

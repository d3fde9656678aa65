"""GeoTIFFs, and folders of them, as one encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satclip_explore.encoders.base import Times
from satclip_explore.encoders.products import GEOTIFF, YEAR, list_files, years_below
from satclip_explore.encoders.products.headers import (
    Header,
    Raster,
    need_rasterio,
    opacity,
    opened_raster,
    read_header,
    version,
)
from satclip_explore.encoders.products.profiles import Profile, find_profile
from satclip_explore.encoders.products.tiles import Read, Take, Tile, TiledProduct
from satclip_explore.encoders.remote_blocks import RemoteFile


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
        nodata = profile.nodata if header.nodata is None else header.nodata
        self.nodata: tuple[float, ...] = (
            () if nodata is None or not np.isfinite(nodata) else (nodata,)
        )

    @contextmanager
    def open(self) -> Iterator[Read]:
        """Open the files for a number of reads; see `Tile.open`."""
        from rasterio.windows import Window

        problem = "is damaged or was cut: a part cannot be read; get it again"
        with ExitStack() as stack:
            opened = [
                (
                    stack.enter_context(opened_raster(file, problem, num_threads="all_cpus")),
                    list(bands),
                )
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


def _mask(source: Any, window: Any) -> NDArray[Any]:
    """Read what is 0 where there is no data."""
    found = opacity(source)
    mask = source.read(found[0], window=window) if found else source.dataset_mask(window=window)
    return np.asarray(mask)


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
    _refuse_several_years(path, files, tiles)
    facts = [year, *sorted((file.name, *version(file)) for file in files)]
    encoder = TiledProduct(
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
    if year is not None and isinstance(path, Path):
        encoder.times = Times("year", years_below(path, GEOTIFF))
    return encoder


def _refuse_several_years(
    path: Raster, files: Sequence[Raster], tiles: Sequence[RasterTile]
) -> None:
    """Refuse files of the same pixels whose paths name different years: one alone can count."""
    years: dict[Any, set[str]] = {}
    for file, tile in zip(files, tiles, strict=True):
        below = str(file)[len(str(path)) :] if isinstance(file, Path) else file.name
        found = " ".join(YEAR.findall(below))
        years.setdefault((tile.crs, tile.transform, tile.shape), set()).add(found)
    several = sorted(set().union(*(found for found in years.values() if len(found) > 1)) - {""})
    if several:
        raise ValueError(
            f"{path.name} holds the same places in {', '.join(several[:12])}; say year=."
        )

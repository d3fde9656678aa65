"""Folders of GeoTIFFs as one encoder: tiles of any projection, read by window."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from satclip_explore.encoders.base import LocationEncoder, resolve_device, resolve_dtype
from satclip_explore.encoders.products.profiles import Profile, find_profile
from satclip_explore.geo import as_lonlat

METHODS = ("nearest", "bilinear")
SUFFIXES = (".tif", ".tiff", ".vrt")

MAX_WINDOW_PIXELS = 256
"""Side of a square of pixels whose places are read together."""

EDGE = 1e-6
"""Pixels by which rounding of a projection may carry a place over the edge of its tile."""


@dataclass(frozen=True)
class Tile:
    """One file: where it is, how its pixels lie, what they hold."""

    path: Path
    crs: Any
    inverse: Any
    shape: tuple[int, int]
    nodata: float | None


class RasterProduct(LocationEncoder):
    """Vectors of a folder of GeoTIFFs; made by `read_rasters`.

    Parameters
    ----------
    tiles : list of Tile
        At least one. Where tiles overlap, the first that has data counts.
    profile : Profile
        How stored numbers become those that are meant.
    bands : int
        Numbers per place.
    method : {"nearest", "bilinear"}
        Bilinear weighs the four pixels around a place, after they are restored; a place beside one
        without data has none.
    name, dtype, device : str
        As in `load_encoder`.
    """

    family = "raster"
    chunk_size = 65_536

    def __init__(
        self,
        tiles: list[Tile],
        profile: Profile,
        bands: int,
        *,
        method: str = "nearest",
        name: str,
        dtype: str = "float32",
        device: str = "auto",
    ) -> None:
        self.tiles, self.profile, self.method = tiles, profile, method
        self.name, self.embed_dim = name, bands
        self.dtype, self.device = resolve_dtype(dtype), resolve_device(device)
        # Reading every tile to hash it would undo that they are read where places are.
        listing = [(t.path.name, t.path.stat().st_size, t.path.stat().st_mtime_ns) for t in tiles]
        facts = repr((sorted(listing), profile.name, method))
        self.weights_hash = hashlib.sha256(facts.encode()).hexdigest()[:16]

    def coverage(self, lonlat: Any) -> NDArray[np.bool_]:
        """Tell which places have data; reads them. See `LocationEncoder.coverage`."""
        places = as_lonlat(lonlat)
        return np.asarray(np.isfinite(self._read(places)).all(axis=1), dtype=bool)

    def encode(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Encode one chunk of checked places; see `LocationEncoder.encode`."""
        return torch.from_numpy(self._read(lonlat.cpu().numpy())).to(self.device, self.dtype)

    def _read(self, lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
        """Read places, (N, D), NaN where no tile has data; every tile is opened once."""
        out = np.full((len(lonlat), self.embed_dim), np.nan)
        projected: dict[str, NDArray[np.float64]] = {}
        for tile in self.tiles:
            missing = np.flatnonzero(np.isnan(out[:, 0]))
            if not len(missing):
                break
            key = str(tile.crs)
            if key not in projected:
                projected[key] = _project(lonlat, tile.crs)
            x, y = projected[key][missing].T
            a, b, c, d, e, f = tile.inverse[:6]
            column, row = a * x + b * y + c, d * x + e * y + f
            height, width = tile.shape
            inside = (column > -EDGE) & (column < width + EDGE) & (row > -EDGE)
            inside &= row < height + EDGE
            if inside.any():
                rows = missing[inside]
                out[rows] = self._read_tile(tile, column[inside], row[inside])
        return out

    def _read_tile(
        self, tile: Tile, column: NDArray[np.float64], row: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Read pixel positions of one tile, (N, D), square by square."""
        import rasterio
        from rasterio.errors import RasterioError
        from rasterio.windows import Window

        height, width = tile.shape
        if self.method == "bilinear":
            left = np.clip(np.floor(column - 0.5), 0, max(0, width - 2)).astype(int)
            top = np.clip(np.floor(row - 0.5), 0, max(0, height - 2)).astype(int)
        else:
            left = np.clip(np.floor(column), 0, width - 1).astype(int)
            top = np.clip(np.floor(row), 0, height - 1).astype(int)
        out = np.empty((len(column), self.embed_dim))
        square = (top // MAX_WINDOW_PIXELS) * (width // MAX_WINDOW_PIXELS + 1)
        square += left // MAX_WINDOW_PIXELS
        try:
            with rasterio.open(tile.path) as source:
                for one in np.unique(square):
                    rows = np.flatnonzero(square == one)
                    x, y = left[rows], top[rows]
                    more = self.method == "bilinear"
                    right, below = x.max() + more, y.max() + more
                    window = Window.from_slices(
                        (y.min(), min(height, below + 1)), (x.min(), min(width, right + 1))
                    )
                    block = source.read(window=window)
                    out[rows] = self._take(
                        block,
                        tile.nodata,
                        (column[rows] - x.min(), row[rows] - y.min()),
                        (x - x.min(), y - y.min()),
                    )
        except (RasterioError, OSError) as error:
            raise ValueError(
                f"{tile.path.name} is damaged or was cut: a part cannot be read; get it again."
            ) from error
        return out

    def _take(
        self,
        block: NDArray[Any],
        nodata: float | None,
        position: tuple[NDArray[np.float64], NDArray[np.float64]],
        corner: tuple[NDArray[np.int64], NDArray[np.int64]],
    ) -> NDArray[np.float64]:
        """Take places out of stored bands, (D, H, W): restored, (N, D), NaN without data."""
        left, top = corner
        if self.method == "nearest":
            return self._restore(block[:, top, left].T, nodata)
        right = np.minimum(left + 1, block.shape[2] - 1)
        below = np.minimum(top + 1, block.shape[1] - 1)
        u, v = (np.clip(p - 0.5 - c, 0, 1)[:, None] for p, c in zip(position, corner, strict=True))
        total = np.zeros((len(left), len(block)))
        for y, down in ((top, 1 - v), (below, v)):
            for x, along in ((left, 1 - u), (right, u)):
                # A pixel without weight may be one without data.
                values = self._restore(block[:, y, x].T, nodata)
                total += np.where(down * along > 0, down * along * values, 0.0)
        return total

    def _restore(self, stored: NDArray[Any], nodata: float | None) -> NDArray[np.float64]:
        """Turn stored vectors, (N, D), into those that are meant."""
        values = stored.astype(np.float64)
        unknown = ~np.isfinite(values).all(axis=1)
        if nodata is not None and np.isfinite(nodata):
            unknown |= (values == nodata).any(axis=1)
        values = self.profile.restore(values)
        values[unknown] = np.nan
        return values


def _project(lonlat: NDArray[np.float64], crs: Any) -> NDArray[np.float64]:
    """Project places to a tile's coordinates, (N, 2); infinite where that cannot be done."""
    from pyproj import Transformer

    there = Transformer.from_crs("EPSG:4326", crs.to_wkt(), always_xy=True)
    return np.stack(there.transform(lonlat[:, 0], lonlat[:, 1]), axis=1)


def read_rasters(
    path: str | Path,
    *,
    product: str | None = None,
    year: int | None = None,
    method: str = "nearest",
    name: str = "",
    dtype: str = "float32",
    device: str = "auto",
) -> RasterProduct:
    """Open a GeoTIFF, or a folder of them, as an encoder. Pixels are read where places are.

    Parameters
    ----------
    path : str or Path
        A .tif or .vrt, or a folder; tiles may lie in different UTM zones, and be flipped.
    product : str, optional
        A key of `profiles.PROFILES`; default what bands and kind of the files tell.
    year : int, optional
        Use the files alone whose path below the folder names this year.
    method : {"nearest", "bilinear"}
        As in `RasterProduct`.
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
    path = Path(path)
    files = _find(path, year)
    opened = [_open(file) for file in files]
    (bands, kind), first = opened[0][1], files[0]
    for file, (_, facts) in zip(files, opened, strict=True):
        if facts != (bands, kind):
            raise ValueError(
                f"{file.name} holds {facts[0]} bands of {facts[1]}, unlike {first.name} with "
                f"{bands} of {kind}; one encoder needs files of one kind."
            )
    profile = find_profile(product, bands, kind)
    tiles = [tile for tile, _ in opened]
    if profile.nodata is not None:
        tiles = [replace(t, nodata=profile.nodata) if t.nodata is None else t for t in tiles]
    title = name or path.stem + (f":year{year}" if year is not None else "")
    return RasterProduct(
        tiles, profile, bands, method=method, name=title, dtype=dtype, device=device
    )


def _find(path: Path, year: int | None) -> list[Path]:
    """List the rasters at a path, in the order of their names."""
    if path.is_file():
        files, root = [path], path.parent
    else:
        files, root = sorted(f for f in path.rglob("*") if f.suffix.lower() in SUFFIXES), path
    if year is not None:
        mark = re.compile(rf"(?<!\d){int(year)}(?!\d)")
        files = [f for f in files if mark.search(str(f.relative_to(root)))]
    if not files:
        which = f" of {year}" if year is not None else ""
        raise FileNotFoundError(f"no GeoTIFF{which} at {path}; pass a .tif or a folder of them.")
    return files


def _open(file: Path) -> tuple[Tile, tuple[int, str]]:
    """Read the header of a file: its tile, and its bands and kind."""
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with rasterio.open(file) as source:
            if source.crs is None or source.transform.is_identity:
                raise ValueError(f"{file.name} has no map position (CRS and transform).")
            if len(set(source.dtypes)) > 1:
                raise ValueError(f"{file.name} mixes kinds of numbers among its bands.")
            tile = Tile(file, source.crs, ~source.transform, source.shape, source.nodata)
            return tile, (source.count, source.dtypes[0])
    except (RasterioError, OSError) as error:
        raise ValueError(f"{file.name} is damaged or is not a raster.") from error

"""Where the bytes of a GeoTIFF are, and where on Earth it lies."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Location:
    """Where the bytes of a file are: a file of its own, or a stretch of a tar."""

    path: Path
    offset: int = 0
    size: int = -1

    @property
    def stamp(self) -> str:
        """Tell this content from another under the same name, without reading it."""
        found = self.path.stat()
        return f"{self.offset}:{self.size}:{found.st_size}:{found.st_mtime_ns}"

    @contextmanager
    def open(self) -> Iterator[Any]:
        """Open the image, as a GeoTIFF and nothing else: other formats can point anywhere."""
        rasterio = import_rasterio()
        if self.size < 0:
            with rasterio.open(self.path, driver="GTiff") as dataset:
                yield dataset
            return
        with self.path.open("rb") as stream:
            stream.seek(self.offset)
            content = stream.read(self.size)
        with rasterio.MemoryFile(content) as memory, memory.open(driver="GTiff") as dataset:
            yield dataset


def center(path: Path) -> tuple[float, float]:
    """Return the (lon, lat) of a file's center, degrees, from its own map projection.

    Raises
    ------
    ValueError
        If the file has no projection, cannot be read, or lies nowhere on Earth; it says which.
    """
    rasterio = import_rasterio()
    from rasterio.warp import transform

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with Location(path).open() as dataset:
                if dataset.crs is None:
                    raise ValueError("it has no map projection")
                easting, northing = dataset.xy(dataset.height / 2 - 0.5, dataset.width / 2 - 0.5)
                lon, lat = transform(dataset.crs, "EPSG:4326", [easting], [northing])
        if not (math.isfinite(lon[0]) and -90.0 <= lat[0] <= 90.0):
            raise ValueError("it lies nowhere on Earth")
    # Decoders and projections raise many kinds of errors on odd files.
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path.name} has no readable map position ({reason})") from error
    return float(lon[0]), float(lat[0])


def import_rasterio() -> Any:
    """Return rasterio, or say what to install."""
    try:
        import rasterio
        import rasterio.errors
        import rasterio.windows
    except ImportError as error:
        raise ImportError("reading GeoTIFFs needs rasterio: pip install rasterio.") from error
    return rasterio

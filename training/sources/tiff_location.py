"""Where the bytes of a GeoTIFF are, and where on Earth it lies."""

from __future__ import annotations

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


def center(path: Path) -> tuple[float, float] | None:
    """Return the (lon, lat) of a file's center from its own map projection; None without one."""
    rasterio = import_rasterio()
    from rasterio.warp import transform

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with Location(path).open() as dataset:
                if dataset.crs is None:
                    return None
                easting, northing = dataset.xy(dataset.height / 2 - 0.5, dataset.width / 2 - 0.5)
                lon, lat = transform(dataset.crs, "EPSG:4326", [easting], [northing])
    except (OSError, rasterio.errors.RasterioError):
        return None
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

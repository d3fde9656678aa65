"""Images in GeoTIFF files: S2-100K as it is distributed, or a folder of one's own."""

from __future__ import annotations

import hashlib
import math
import tarfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satclip_explore.files.columns import lonlat_columns
from satclip_explore.geo import as_lonlat


@dataclass(frozen=True)
class Location:
    """Where the bytes of a file are: a file of its own, or a stretch of a tar."""

    path: Path
    offset: int = 0
    size: int = -1

    @property
    def bytes(self) -> int:
        """Size of the content."""
        return self.path.stat().st_size if self.size < 0 else self.size

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


S2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
"""Bands of S2-100K, in the order of its files. B10 only sees cirrus and is not part of L2A."""

REFLECTANCE = 10_000.0
"""Digital numbers of Sentinel-2 at reflectance 1."""

SMALLEST_TILE = 10_000
"""Bytes below which the authors take a tile of S2-100K for empty pixels, and leave it out."""

BLUR_SIGMA = (0.1, 2.0)
"""Range of the deviation of the authors' 3 x 3 blur, in pixels."""

READERS = 8
"""Files that are decoded at once; decoding leaves the interpreter free."""


class GeoTiffs:
    """Every ``*.tif`` below a folder; each place is the center of its file.

    Parameters
    ----------
    root : pathlib.Path
        The folder.
    places : int
        Use at most this many files; 0 uses all.
    patch_size : int
        Smallest height and width; larger images are cropped to their center.
    allow_missing : bool
        Skip files that the index names and the folder lacks, instead of refusing.
    augmentations : int
        Versions: the image turned by quarter turns and mirrored, eight at most.
    seed : int
        Of the choice of files.
    bands : tuple of str
        What the bands are; empty takes the names in the first file.
    scale : float
        What the numbers in the files are divided by.
    blur : bool
        Blur all versions but the first, each with a deviation of its own.
    """

    name = "geotiffs"

    def __init__(
        self,
        root: Path,
        *,
        places: int = 0,
        patch_size: int = 256,
        allow_missing: bool = False,
        augmentations: int = 1,
        seed: int = 0,
        bands: tuple[str, ...] = (),
        scale: float = 1.0,
        blur: bool = False,
    ) -> None:
        if augmentations > 8:
            raise ValueError(
                f"augmentations must be at most 8, the turned and mirrored versions of an image; "
                f"got {augmentations}."
            )
        self.root, self.patch_size, self.augmentations = Path(root), patch_size, augmentations
        self.allow_missing, self.blur, self.seed = allow_missing, blur, seed
        names, lonlat, self.files = self._index()
        rows = np.arange(len(names))
        if 0 < places < len(rows):
            rows = np.sort(np.random.default_rng(seed).permutation(rows)[:places])
        self.lonlat = as_lonlat(lonlat)[rows]
        self.on_land = np.ones(len(rows), dtype=np.bool_)
        self.file_names = [names[row] for row in rows]
        self._last: tuple[bytes, list[NDArray[np.float32] | None]] = (b"", [])
        self.bands, self.scale = bands or self._band_names(), scale

    def _index(self) -> tuple[list[str], NDArray[np.float64], dict[str, Location]]:
        paths = sorted(p for p in self.root.rglob("*") if p.suffix.lower() in (".tif", ".tiff"))
        if not paths:
            raise FileNotFoundError(f"no *.tif in {self.root}.")
        files, lonlat = {}, []
        for path in paths:
            try:
                lonlat.append(center(path))
            except ValueError as error:
                warnings.warn(f"{error}; skipped.", stacklevel=4)
                continue
            files[str(path.relative_to(self.root))] = Location(path)
        if not files:
            raise ValueError(f"none of the {len(paths)} files in {self.root} is a usable GeoTIFF.")
        return list(files), np.array(lonlat), files

    def _band_names(self) -> tuple[str, ...]:
        with self.files[self.file_names[0]].open() as dataset:
            return tuple(text or f"band-{i + 1}" for i, text in enumerate(dataset.descriptions))

    @cached_property
    def whole_numbers(self) -> bool:
        """Whether the first file holds integers."""
        with self.files[self.file_names[0]].open() as dataset:
            return np.issubdtype(dataset.dtypes[0], np.integer)

    def read(self, rows: NDArray[np.int64], version: int = 0) -> NDArray[np.float32]:
        """Read images, shape (n, C, patch_size, patch_size); NaN where one cannot be used."""
        size = self.patch_size
        images = np.full((len(rows), len(self.bands), size, size), np.nan, dtype=np.float32)
        if self._last[0] != rows.tobytes():
            with ThreadPoolExecutor(READERS) as readers:
                locations = [self.files[self.file_names[row]] for row in rows]
                self._last = (rows.tobytes(), list(readers.map(self._decode, locations)))
        for row, image, values in zip(rows, images, self._last[1], strict=True):
            if values is not None:
                turned = np.rot90(values, version % 4, axes=(1, 2))
                turned = turned[:, :, ::-1] if version >= 4 else turned
                if self.blur and version:
                    sigma = np.random.default_rng([self.seed, 7, row, version]).uniform(*BLUR_SIGMA)
                    turned = _blurred(turned, sigma)
                image[:] = turned
        return images

    def _decode(self, location: Location) -> NDArray[np.float32] | None:
        """Read one file; None if damaged, small, of other bands, or with no or constant content."""
        rasterio = import_rasterio()
        try:
            with location.open() as dataset:
                size = self.patch_size
                top, left = (dataset.height - size) // 2, (dataset.width - size) // 2
                if dataset.count != len(self.bands) or top < 0 or left < 0:
                    return None
                # Only the center: a file may be larger than memory.
                window = rasterio.windows.Window(left, top, size, size)
                read = dataset.read(window=window, masked=True)
        except (OSError, ValueError, rasterio.errors.RasterioError):
            return None
        values = read.data.astype(np.float32) / np.float32(self.scale)
        whole = not np.ma.is_masked(read) and bool(np.isfinite(values).all())
        # All zeros is how a tile without data comes; one that is constant tells nothing either.
        return values if whole and np.ptp(values, axis=(1, 2)).any() else None

    def describe(self) -> dict[str, Any]:
        """Say which files, by name, and which content, by size and time of change."""
        stamps = [f"{name}:{self.files[name].stamp}" for name in self.file_names]
        return {
            "source": self.name,
            "content": hashlib.sha256("\n".join(stamps).encode()).hexdigest()[:16],
            "scale": self.scale,
            "files": len(self.file_names),
            "first": self.file_names[0],
            "last": self.file_names[-1],
            "patch_size": self.patch_size,
            "bands": list(self.bands),
            "augmentations": self.augmentations,
            **({"blur": self.seed} if self.blur else {}),
        }


def _blurred(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Blur an image (C, H, W) with the 3 x 3 Gaussian of a deviation in pixels, edges reflected."""
    side = np.exp(-0.5 / sigma**2)
    center, side = 1.0 / (1.0 + 2.0 * side), side / (1.0 + 2.0 * side)
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="reflect")
    rows = center * padded[:, 1:-1] + side * (padded[:, :-2] + padded[:, 2:])
    blurred = center * rows[:, :, 1:-1] + side * (rows[:, :, :-2] + rows[:, :, 2:])
    return blurred.astype(np.float32)


class S2100K(GeoTiffs):
    """The 100,000 Sentinel-2 images of SatCLIP: index.csv and ``images/*.tif`` or ``data/*.tar``.

    The shards are read where they are, without unpacking. Parameters are those of `GeoTiffs`,
    but for bands and scale, which are known.

    References
    ----------
    Klemmer et al. (2025), "SatCLIP: Global, General-Purpose Location Embeddings with Satellite
    Imagery", AAAI; https://huggingface.co/datasets/torchgeo/s2-100k.
    """

    name = "s2-100k"

    def __init__(self, root: Path, **settings: Any) -> None:
        super().__init__(root, bands=S2_BANDS, scale=REFLECTANCE, **settings)

    def _index(self) -> tuple[list[str], NDArray[np.float64], dict[str, Location]]:
        path = self.root / "index.csv"
        if not path.is_file():
            raise FileNotFoundError(
                f"No imagery at {self.root}: index.csv is missing. "
                "hf download torchgeo/s2-100k --repo-type dataset fetches it (78 GB)."
            )
        try:
            table = pd.read_csv(path)
        except (ValueError, OSError) as error:
            raise ValueError(f"{path} is not a readable table: {error}.") from error
        names = lonlat_columns(table.columns)
        if names is None or "fn" not in table.columns or not len(table):
            raise ValueError(f"{path} must have rows and the columns lon, lat, fn.")
        files = self._files()
        # Only the last part of a name counts: an index cannot point outside of the folder.
        wanted = [Path(str(name)).name for name in table["fn"]]
        here = np.array([name in files for name in wanted])
        if not here.all():
            self._complain(wanted, here)
        large = np.array([name in files and files[name].bytes >= SMALLEST_TILE for name in wanted])
        small = int((here & ~large).sum())
        if small:
            warnings.warn(
                f"{small:,} of {len(wanted):,} images are smaller than "
                f"{SMALLEST_TILE // 1000} kB and hold no picture; they are left out.",
                stacklevel=4,
            )
        if not large.any():
            raise ValueError(f"all images in {self.root} are smaller than {SMALLEST_TILE:,} bytes.")
        lonlat = table[list(names)].to_numpy(dtype=np.float64)[large]
        return [name for name, kept in zip(wanted, large, strict=True) if kept], lonlat, files

    def _files(self) -> dict[str, Location]:
        files: dict[str, Location] = {}
        for shard in sorted(self.root.glob("data/*.tar")) or sorted(self.root.glob("*.tar")):
            try:
                with tarfile.open(shard, "r:") as archive:
                    for member in archive:
                        if member.isfile():
                            name = Path(member.name).name
                            files[name] = Location(shard, member.offset_data, member.size)
            except (tarfile.TarError, OSError) as error:
                warnings.warn(
                    f"{shard.name} is damaged from some point on ({error}).", stacklevel=5
                )
        # An extracted file wins: the user may have replaced it.
        for folder in (self.root, self.root / "images"):
            files.update({path.name: Location(path) for path in sorted(folder.glob("*.tif"))})
        return files

    def _complain(self, wanted: list[str], here: NDArray[np.bool_]) -> None:
        missing = int((~here).sum())
        first = wanted[int(np.argmin(here))]
        text = (
            f"{missing:,} of the {len(wanted):,} images in {self.root / 'index.csv'} are not there "
            f"(the first is {first}): a shard under data/ is missing or cut short."
        )
        if not self.allow_missing or not here.any():
            raise FileNotFoundError(f"{text} Download it again, or set allow_missing=true.")
        warnings.warn(f"{text} They are skipped.", stacklevel=6)

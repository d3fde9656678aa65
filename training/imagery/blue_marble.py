"""NASA's Blue Marble: the whole Earth month by month, and at night; random places on its land."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satclip_explore.geo import equal_area_sample
from training.imagery.source import displace

OCEAN = (2, 5, 20)
"""Color of the water, flat over all oceans of the product; 8-bit RGB."""

OCEAN_DISTANCE = 24
"""Summed color difference above which a pixel is land; JPEG noise stays below it."""

MOST_LAND = 0.7
"""Largest share of land pixels; the edition without sea floor has .36."""

OFF_COAST_M = 200_000.0
"""Half of the places at sea are land places displaced by this standard deviation, in meters."""

MONTHS = tuple(range(1, 13))

LICENSE = "public domain; credit NASA Earth Observatory (Blue Marble Next Generation, R. Stöckli)"
NIGHT_LICENSE = "public domain; credit NASA Earth Observatory (Black Marble 2016, M. Román)"


class BlueMarble:
    """Random land places and the year of each, seen by MODIS in 2004.

    Parameters
    ----------
    root : pathlib.Path
        Folder with one JPEG or PNG for each month, 2:1 plate carrée, whose names contain 200401
        … 200412.
    places : int
        Number N of places, uniform by area over land.
    antarctica_fraction : float
        Fraction of the places on land that lie south of 60° S.
    ocean_fraction : float
        Fraction of the places that lie at sea, half of them off a coast.
    augmentations : int
        Versions of each image; all but the first have their center displaced.
    jitter_m : float
        Standard deviation of the displacement in meters.
    seed : int
        Of the places and displacements.
    patch_size : int
        Pixels along the edge of what `read` returns.
    night_lights : bool
        Whether the folder must also hold Black Marble 2016, the lights of the night.

    References
    ----------
    Stöckli et al. (2005), "The Blue Marble Next Generation - A true color Earth dataset including
    seasonal dynamics from MODIS", NASA Earth Observatory.
    Román et al. (2018), "NASA's Black Marble nighttime lights product suite", Remote Sensing of
    Environment 210.
    """

    name = "blue-marble"
    bands = tuple(f"{month:02d}-{color}" for month in MONTHS for color in ("R", "G", "B"))

    def __init__(
        self,
        root: Path,
        *,
        places: int,
        antarctica_fraction: float = 0.03,
        ocean_fraction: float = 0.0,
        augmentations: int = 1,
        jitter_m: float = 0.0,
        seed: int = 0,
        patch_size: int = 32,
        night_lights: bool = False,
    ) -> None:
        self.files = _monthly_files(Path(root))
        self.night_lights_file = _night_lights_file(Path(root)) if night_lights else None
        if places < 1:
            raise ValueError(f"Blue Marble needs a number of places to draw; got {places}.")
        self.augmentations, self.jitter_m, self.seed = augmentations, jitter_m, seed
        self.patch_size = patch_size
        self._places, self._ocean_fraction = places, ocean_fraction
        self._antarctica_fraction = antarctica_fraction

    def month(self, month: int) -> NDArray[np.uint8]:
        """Read the image of a month (1 … 12), shape (H, W, 3), north up, from 180° W."""
        return _read_image(self.files[month])

    def night(self) -> NDArray[np.uint8]:
        """Read the night lights as gray levels, shape (H, W), at the size of the months."""
        assert self.night_lights_file is not None
        height, width = self.survey[0].shape
        return _read_image(self.night_lights_file, "L", (width, height))

    @cached_property
    def year(self) -> list[NDArray[np.uint8]]:
        """All twelve images at once, as `read` needs them: .5 GB at 5,400 x 2,700 pixels."""
        return [self.month(month) for month in MONTHS]

    @cached_property
    def survey(self) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Where land is, and the yearly mean brightness (0 … 1), both (H, W)."""
        height, width = self.month(MONTHS[0]).shape[:2]
        land = np.zeros((height, width), dtype=np.bool_)
        brightness = np.zeros((height, width), dtype=np.float32)
        for month in MONTHS:
            image = self.month(month)
            if image.shape != (height, width, 3):
                raise ValueError(
                    f"the twelve images must have one size; {self.files[month].name} is "
                    f"{image.shape[1]} x {image.shape[0]}, the first {width} x {height}."
                )
            distance = np.zeros(land.shape, dtype=np.int16)
            for color in range(3):
                distance += np.abs(image[..., color].astype(np.int16) - np.int16(OCEAN[color]))
                brightness += image[..., color]
            land |= distance > OCEAN_DISTANCE
        if land.mean() > MOST_LAND:
            raise ValueError(
                f"the images in {self.files[MONTHS[0]].parent} show no seas of one color; take the "
                "edition without sea floor, whose names have no 'bathy' in them."
            )
        return land, brightness / np.float32(3 * 255 * len(MONTHS))

    @cached_property
    def lonlat(self) -> NDArray[np.float64]:
        """Places, (N, 2) degrees, from north to south (neighbors in memory read faster)."""
        land = self.survey[0]
        rng = np.random.default_rng([self.seed, 1])
        at_sea = round(self._ocean_fraction * self._places)
        south = round(self._antarctica_fraction * (self._places - at_sea))
        on_land = [
            _draw(land, self._places - at_sea - south, rng, north=True),
            _draw(land, south, rng, north=False),
        ]
        sea = _draw_sea(land, at_sea, np.concatenate(on_land), rng)
        lonlat = np.concatenate([*on_land, sea])
        return lonlat[np.argsort(-lonlat[:, 1], kind="stable")]

    @cached_property
    def on_land(self) -> NDArray[np.bool_]:
        """Which places lie on land, (N,)."""
        return _look_up(self.survey[0], self.lonlat)

    def centers(self, version: int) -> NDArray[np.float64]:
        """Return where the images of a version are centered, (N, 2) degrees."""
        if version == 0 or self.jitter_m == 0.0:
            return self.lonlat
        return displace(self.lonlat, self.jitter_m, np.random.default_rng([self.seed, 2, version]))

    def read(self, rows: NDArray[np.int64], version: int = 0) -> NDArray[np.float32]:
        """Cut out squares of pixels, (n, 36, patch_size, patch_size), 0 … 1; wraps at ±180."""
        height, width = self.survey[0].shape
        lon, lat = self.centers(version)[rows].T
        offset = np.arange(self.patch_size) - self.patch_size // 2
        row = np.floor((90.0 - lat) / 180.0 * height).astype(np.int64)[:, None] + offset
        column = np.floor((lon + 180.0) / 360.0 * width).astype(np.int64)[:, None] + offset
        row, column = np.clip(row, 0, height - 1), column % width
        patches = [image[row[:, :, None], column[:, None, :]] for image in self.year]
        stacked = np.concatenate(patches, axis=-1).transpose(0, 3, 1, 2)
        return np.ascontiguousarray(stacked, dtype=np.float32) / np.float32(255.0)

    def describe(self) -> dict[str, Any]:
        """Name files by their size: enough to notice another edition."""
        files, license = list(self.files.values()), LICENSE
        if self.night_lights_file is not None:
            files.append(self.night_lights_file)
            license = f"{LICENSE}; {NIGHT_LICENSE}"
        return {
            "source": self.name,
            "license": license,
            "files": {path.name: path.stat().st_size for path in files},
            "places": self._places,
            "antarctica_fraction": self._antarctica_fraction,
            "ocean_fraction": self._ocean_fraction,
            "augmentations": self.augmentations,
            "jitter_m": self.jitter_m,
            "seed": self.seed,
        }


def _monthly_files(root: Path) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for path in sorted(root.iterdir()):
        match = re.search(r"2004(0[1-9]|1[0-2])", path.name)
        if match and path.suffix.lower() in (".jpg", ".jpeg", ".png"):
            found.setdefault(int(match[1]), path)
    missing = [f"2004{month:02d}" for month in MONTHS if month not in found]
    if missing:
        raise FileNotFoundError(
            f"{root} must hold twelve monthly Blue Marble images; missing: {', '.join(missing)}. "
            "training.imagery.download.download_blue_marble(folder) fetches them."
        )
    return found


def _night_lights_file(root: Path) -> Path:
    for path in sorted(root.iterdir()):
        found = re.search(r"black_?marble_2016", path.name, re.IGNORECASE)
        if found and path.suffix.lower() in (".jpg", ".jpeg", ".png"):
            return path
    raise FileNotFoundError(
        f"{root} must also hold the lights of the night, an image named BlackMarble_2016…. "
        "training.imagery.download.download_blue_marble(folder) fetches it."
    )


def _read_image(
    path: Path, mode: str = "RGB", size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("reading Blue Marble needs Pillow: pip install pillow.") from error
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as image:
            width, height = image.size
            if width != 2 * height:
                raise ValueError(
                    f"{path.name} must cover the globe, twice as wide as high; got "
                    f"{width} x {height} pixels."
                )
            pixels = image.convert(mode)
            return np.asarray(pixels.resize(size, Image.Resampling.BILINEAR) if size else pixels)
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{path.name} has too many pixels; take an edition of 8,192 x 4,096 at most."
        ) from error
    # Decoders raise many kinds of errors on damaged files.
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path.name} is damaged ({error}). Download it again.") from error


def _draw(
    land: NDArray[np.bool_], n: int, rng: np.random.Generator, *, north: bool
) -> NDArray[np.float64]:
    """Draw n land places on one side of 60° S, uniform by area."""
    height = len(land)
    side = slice(0, round(height * 150 / 180)) if north else slice(round(height * 150 / 180), None)
    if n and not land[side].any():
        where = "north" if north else "south"
        raise ValueError(f"the images show no land {where} of 60° S: is this Blue Marble?")
    kept: list[NDArray[np.float64]] = [np.empty((0, 2))]
    while sum(map(len, kept)) < n:
        lonlat = equal_area_sample(max(4 * n, 1000), seed=rng)
        kept.append(lonlat[_look_up(land, lonlat) & ((lonlat[:, 1] >= -60.0) == north)])
    return np.concatenate(kept)[:n]


def _draw_sea(
    land: NDArray[np.bool_], n: int, on_land: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw n places at sea: half near land places, half anywhere by area."""
    if n and (land.all() or not len(on_land)):
        raise ValueError(
            "ocean_fraction above 0 needs sea in the images and places on land; set it lower."
        )
    near: list[NDArray[np.float64]] = [np.empty((0, 2))]
    far: list[NDArray[np.float64]] = [np.empty((0, 2))]
    for kept, wanted in ((near, n // 2), (far, n - n // 2)):
        while sum(map(len, kept)) < wanted:
            lonlat = (
                displace(on_land[rng.permutation(len(on_land))], OFF_COAST_M, rng)
                if kept is near
                else equal_area_sample(max(4 * n, 1000), seed=rng)
            )
            kept.append(lonlat[~_look_up(land, lonlat)])
    return np.concatenate([np.concatenate(near)[: n // 2], np.concatenate(far)[: n - n // 2]])


def _look_up(land: NDArray[np.bool_], lonlat: NDArray[np.float64]) -> NDArray[np.bool_]:
    height, width = land.shape
    row = np.minimum((90.0 - lonlat[:, 1]) / 180.0 * height, height - 1).astype(np.int64)
    column = np.minimum((lonlat[:, 0] + 180.0) / 360.0 * width, width - 1).astype(np.int64)
    return land[row, column]

"""Imagery sources: one protocol, and the jitter of locations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from satclip_explore.geo import EARTH_RADIUS_KM, unit_vectors, wrap_lon

FORMER_NAMES = {
    "antarctica": "antarctica_fraction",
    "elsewhere": "ocean_fraction",
    "copies": "augmentations",
    "licence": "license",
}
"""What settings and facts were called before version 0.2.0, and what they are called now."""


def current_names(tree: Any) -> Any:
    """Rename the settings of a file of an earlier version, sections included.

    Parameters
    ----------
    tree : mapping
        Nested settings, or the description of a source; anything else is returned as it is.

    Raises
    ------
    ValueError
        If a setting is there under both names.
    """
    if not isinstance(tree, Mapping):
        return tree
    renamed: dict[str, Any] = {}
    for key, value in tree.items():
        name = FORMER_NAMES.get(key) or key
        if name != key and name in tree:
            raise ValueError(f"{key!r} is the former name of {name!r}; got both. Leave it out.")
        renamed[name] = current_names(value)
    return renamed


def former_names(description: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a source as earlier versions did, so that their feature caches are found."""
    former = {name: key for key, name in FORMER_NAMES.items()}
    return {former.get(name, name): value for name, value in description.items()}


class ImagerySource(Protocol):
    """Places, and for each place an image in `augmentations` versions.

    Attributes
    ----------
    name : str
        As in the configuration.
    bands : tuple of str
        Names of the C bands, in the order of the arrays.
    augmentations : int
        Versions of each image; version 0 is the image as it is.
    """

    name: str
    bands: tuple[str, ...]
    augmentations: int

    @property
    def lonlat(self) -> NDArray[np.float64]:
        """Places, (N, 2) degrees."""
        ...

    @property
    def on_land(self) -> NDArray[np.bool_]:
        """Where the image tells a place from others, (N,); the sea looks the same everywhere."""
        ...

    def read(self, rows: NDArray[np.int64], version: int = 0) -> NDArray[np.float32]:
        """Read images, shape (n, C, H, W), reflectance or 0 … 1; NaN where one cannot be read."""
        ...

    def describe(self) -> dict[str, Any]:
        """Say in plain values what this is, enough to recognize the same images again."""
        ...


def displace(
    lonlat: NDArray[np.float64], jitter_m: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Move places by a symmetric normal displacement.

    Parameters
    ----------
    lonlat : numpy.ndarray, shape (N, 2)
        Degrees, longitude first.
    jitter_m : float
        Standard deviation toward the east and toward the north, in meters on the ground.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    numpy.ndarray, shape (N, 2), float64
        Degrees. A step over a pole continues on the other side.

    Notes
    -----
    The published code adds a uniform positive number of degrees to both coordinates, which moves
    every place north-east, and further at high latitudes.
    """
    east, north = rng.normal(0.0, jitter_m / (EARTH_RADIUS_KM * 1000.0), (2, len(lonlat)))
    lon, lat = np.radians(lonlat).T
    eastward = np.stack([-np.sin(lon), np.cos(lon), np.zeros_like(lon)])
    northward = np.stack([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)])
    step = np.hypot(east, north)
    # In space, not by dividing by cos(lat): the poles need no guard. sinc keeps a step of 0 exact.
    along = (east * eastward + north * northward) * np.sinc(step / np.pi)
    x, y, z = unit_vectors(lonlat).T * np.cos(step) + along
    return np.stack(
        [wrap_lon(np.degrees(np.arctan2(y, x))), np.degrees(np.arctan2(z, np.hypot(x, y)))], axis=1
    )

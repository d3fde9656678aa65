"""How the products that people use store their numbers: bands, nodata, and what undoes the int8."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILLERS = np.array([-9999.0, -99999.0, -32768.0, 1e20, -3.4028234663852886e38, 9.96921e36])
"""What programs write where there is no data, whether or not they say so (the last: NetCDF)."""


@dataclass(frozen=True)
class Profile:
    """What has to be known of a product before its numbers mean something.

    Parameters
    ----------
    name : str
        What one types as product=.
    restore : callable
        Stored numbers as floats to the numbers that the authors mean.
    bands : int or None
        Numbers per place; None takes any.
    nodata : float or None
        Stored number of a pixel without data, where files do not say it.
    dtype : str
        Stored kind that tells the product from others; empty where it tells nothing.
    """

    name: str
    restore: Callable[[NDArray[Any]], NDArray[Any]]
    bands: int | None = None
    nodata: float | None = None
    dtype: str = ""

    def vectors(self, stored: NDArray[Any], nodata: Sequence[float]) -> NDArray[Any]:
        """Restore stored vectors, (N, D); NaN where one has no data.

        Parameters
        ----------
        stored : numpy.ndarray, shape (N, D)
            As the file holds them.
        nodata : sequence of float
            What stands for no data in the file: in any number of a vector, but 0, which a vector
            may hold, in all of them. Floats that are all the same filler have none either.
        """
        unknown = np.zeros(len(stored), dtype=bool)
        if stored.dtype.kind == "f":
            unknown = ~np.isfinite(stored).all(axis=1)
            with np.errstate(over="ignore"):
                fillers = np.isin(stored[:, 0], FILLERS.astype(stored.dtype))
            unknown |= fillers & (stored == stored[:, :1]).all(axis=1) & (stored.shape[1] > 1)
        for code in nodata:
            hits = stored == code
            unknown |= hits.any(axis=1) if code else hits.all(axis=1)
        values = self.restore(stored.astype(np.float64))
        values[unknown] = np.nan
        return values


def signed_square(stored: NDArray[Any]) -> NDArray[Any]:
    """Undo AlphaEarth's int8: (v / 127.5)² with the sign of v.

    References
    ----------
    Brown et al. (2025), "AlphaEarth Foundations", arXiv:2507.22291, and the readme of its GeoTIFFs.
    """
    return np.sign(stored) * (stored / 127.5) ** 2


def _as_stored(stored: NDArray[Any]) -> NDArray[Any]:
    return stored


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("alphaearth", signed_square, bands=64, nodata=-128.0, dtype="int8"),
        Profile("plain", _as_stored),
    )
}
"""Known products; plain is a raster of vectors as they are."""


def find_profile(product: str | None, bands: int, dtype: Any) -> Profile:
    """Return the profile that is asked for, or the one that a file's bands and kind tell.

    Raises
    ------
    ValueError
        If the product is unknown, or the file does not have its bands, or holds integers that no
        product explains: guessing how they are scaled would give wrong numbers in silence.
    """
    kind = np.dtype(dtype)
    if product is None:
        found = [p for p in PROFILES.values() if p.dtype == kind.name and p.bands == bands]
        if not found and kind.kind != "f":
            raise ValueError(
                f"these rasters hold {bands} bands of {kind.name}, which no known product has; say "
                f"product='plain' if they are not scaled, or one of {', '.join(PROFILES)}."
            )
        return found[0] if found else PROFILES["plain"]
    if product not in PROFILES:
        raise ValueError(f"product must be one of {', '.join(PROFILES)}; got {product!r:.60}.")
    profile = PROFILES[product]
    if profile.bands not in (None, bands):
        raise ValueError(f"{product} has {profile.bands} bands; these rasters have {bands}.")
    return profile

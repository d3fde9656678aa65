"""Whether coordinates can be what their columns' names say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from satclip_explore.atlas import codes_at
from satclip_explore.files.geometry_columns import Located
from satclip_explore.files.raw_table import RawTable

SWAPPED_SHARE = 0.05
"""Share of places that may contradict the columns' names by mistake."""

SAMPLE, LEAST = 2_000, 20
"""How many places are looked up on land or sea, and from how many on that says something."""


def check_degrees(found: Located, raw: RawTable, in_range: NDArray[np.bool_]) -> None:
    """Refuse coordinates most of which are not degrees, and pairs that fit only when swapped."""
    x, y = found.lon, found.lat
    finite = np.isfinite(x) & np.isfinite(y)
    if not finite.any():
        return
    n_out = int((finite & ~in_range).sum())
    largest = float(np.abs(y[finite]).max())
    swapped = np.abs(x[finite]).max() <= 90.0 < largest <= 180.0
    if swapped and n_out > SWAPPED_SHARE * finite.sum():
        lon, lat = found.roles.get("lon", "lon"), found.roles.get("lat", "lat")
        row = int(np.argmax(finite & ~in_range))
        raise ValueError(
            f"{lat!r} cannot be latitude: {n_out:,} of {finite.sum():,} values lie outside "
            f"[-90, 90] (first {y[row]:g}, {raw.counted_in} {raw.lines[row]:,}), while every value "
            f"of {lon!r} lies inside. Are they swapped? Say lon={lat!r}, lat={lon!r}."
        )
    if n_out > 0.5 * finite.sum():
        largest = max(largest, float(np.abs(x[finite]).max()))
        raise ValueError(
            f"most coordinates are not degrees (up to {largest:,.0f}): coordinates in meters? Give "
            "longitude and latitude in degrees, or say crs=, e.g. crs='EPSG:32633'."
        )


def sea_note(found: Located, raw: RawTable, kept: NDArray[np.bool_]) -> list[str]:
    """Ask about places that lie at sea, and on land if they are swapped."""
    places = np.column_stack([found.lon, found.lat])[kept]
    places = places[:: len(places) // SAMPLE + 1]
    if raw.counted_in == "cell" or len(places) < LEAST or np.abs(places).max() > 90.0:
        return []
    as_read, swapped = ((codes_at(p, offshore=False) > 0).mean() for p in (places, places[:, ::-1]))
    if as_read > SWAPPED_SHARE or swapped < 1.0 - SWAPPED_SHARE:
        return []
    return [
        f"{1.0 - as_read:.0%} of the places lie at sea, and {swapped:.0%} would lie on land with "
        "longitude and latitude swapped; lon= and lat= say which is which"
    ]

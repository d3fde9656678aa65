"""Where the pixels of an array lie: its coordinates, or a transform, in a reference system."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from satclip_explore.encoders.products.stores import Variable
from satclip_explore.encoders.products.tiles import WGS84

DEGREES = ("lat", "latitude", "lon", "long", "longitude")

UNEVEN = 0.02
"""Pixels by which a coordinate may differ from even spacing: float32 meters of UTM do."""


def find_transform(
    axes: Sequence[Variable | None], shape: tuple[int, int], said: Any
) -> tuple[float, ...]:
    """Return the affine transform of a grid's pixel corners.

    Parameters
    ----------
    axes : sequence of Variable or None
        Centers along x and y. They count, where there are any: a transform may be meant for
        centers or corners.
    shape : tuple of int
        Rows and columns.
    said : sequence of float or None
        Attribute ``spatial:transform``: a, b, c, d, e, f from the corner of the first pixel.

    Raises
    ------
    ValueError
        If there is neither, or the centers are not evenly spaced.
    """
    steps = [None if axis is None else _step(axis) for axis in axes]
    if all(step is not None for step in steps):
        (x, dx), (y, dy) = steps  # type: ignore[misc]
        return dx, 0.0, x - dx / 2, 0.0, dy, y - dy / 2
    try:
        values = tuple(float(value) for value in said)[:6]
        if len(values) == 6 and np.isfinite(values).all() and values[0] * values[4] != 0:
            return values
    except TypeError:
        pass
    raise ValueError(
        f"a grid of {shape[0]} x {shape[1]} pixels needs coordinates of at least two evenly spaced "
        "centers along each axis, or an attribute spatial:transform."
    )


def _step(axis: Variable) -> tuple[float, float] | None:
    """Return the first center and the spacing; None for a single one."""
    centers = axis.all().astype(np.float64)
    if centers.ndim != 1 or centers.size < 2:
        return None
    step = float(centers[-1] - centers[0]) / (centers.size - 1)
    even = centers[0] + step * np.arange(centers.size)
    rounding = 2 * np.abs(centers).max() * float(np.finfo(np.float32).eps)
    rounding = rounding if axis.dtype == np.float32 else 0.0
    if not step or not (np.abs(centers - even) <= UNEVEN * abs(step) + rounding).all():
        raise ValueError(f"{axis.name} must be evenly spaced centers, as those of a grid are.")
    return float(centers[0]), step


def find_crs(
    said: Callable[[str], Any],
    beside: Callable[[str], Variable | None],
    names: Sequence[str],
    axes: Sequence[Variable | None],
) -> str:
    """Return the reference system of a grid as an authority code or WKT.

    Parameters
    ----------
    said : callable
        Name of an attribute to its value, or None.
    beside : callable
        Name of an array to it, or None.
    names : sequence of str
        Of the axes y and x.
    axes : sequence of Variable or None
        Their coordinates.

    Raises
    ------
    ValueError
        If the axes are not degrees and nothing names the system, or what is named is none.
    """
    mapping = beside(str(said("grid_mapping"))) or beside("spatial_ref") or beside("crs")
    attrs = dict(mapping.attrs) if mapping is not None else {}
    nested = said("geo:proj") or said("proj")
    nested = nested if isinstance(nested, dict) else {}
    given = (
        *(said(f"proj:{key}") or nested.get(key) for key in ("code", "wkt2", "projjson")),
        *(attrs.get(key) or said(key) for key in ("crs_wkt", "spatial_ref")),
        said("crs"),
    )
    for value in given:
        if value:
            return checked_crs(value)
    units = [str(axis.attrs.get("units", "")) for axis in axes if axis is not None]
    if all(name.lower() in DEGREES for name in names) or (
        units and all(unit.startswith("degree") for unit in units)
    ):
        return WGS84
    raise ValueError(
        f"a grid along {names[0]} and {names[1]} needs a reference system and the file names none; "
        "say crs=, e.g. crs='EPSG:32633'."
    )


def checked_crs(value: Any) -> str:
    """Return what a file calls its reference system, if it is a code, WKT or PROJJSON."""
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        if isinstance(value, dict):
            return str(CRS.from_json_dict(value).to_wkt())
        # A PROJ string may name files on this machine.
        text = str(value).strip()
        if re.fullmatch(r"[A-Za-z]+:[0-9]+", text) or re.match(r"[A-Z_]+\[", text):
            CRS.from_user_input(text)
            return text
    except CRSError:
        pass
    raise ValueError(
        f"the file names a reference system that is none: {value!r:.60}; say crs=, e.g. "
        "crs='EPSG:32633'."
    )

"""Months and years: one encoder at another time, and what changes between two."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from satclip_explore.checks import known_keywords
from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.fields import Progress, as_field, collect, iter_rows, unit_rows, view
from satclip_explore.geo import GLOBE, Bounds, Grid

OPTIONS = ("month", "year", "time")
"""Options of `load_encoder` that choose a time."""


def chosen_time(encoder: LocationEncoder) -> Any:
    """Return the month or year that an encoder was loaded with; None where it was with none."""
    if encoder.times is None:
        return None
    return (encoder.origin or {}).get(encoder.times.option)


def timeless_name(encoder: LocationEncoder) -> str:
    """Return the name of an encoder without the month or year that it was loaded with."""
    if encoder.times is None:
        return encoder.name
    chosen = chosen_time(encoder)
    name = encoder.name.removesuffix(f":{encoder.times.option}{chosen}")
    return name.removesuffix(f":{chosen}")


def at_time(encoder: LocationEncoder, step: Any) -> LocationEncoder:
    """Load an encoder again, at another of its times.

    Parameters
    ----------
    encoder : LocationEncoder
        One with `times`.
    step : int or str, optional
        One of them; None for what it is where none is asked for.

    Returns
    -------
    LocationEncoder

    Raises
    ------
    ValueError
        If it has no times, no call loads it, or this one is none of them.
    """
    if encoder.times is None or encoder.origin is None:
        raise ValueError(f"{encoder.name} is the same in every month and year.")
    call: dict[str, Any] = {key: v for key, v in encoder.origin.items() if key not in OPTIONS}
    if step is not None:
        call[encoder.times.option] = step
    dtype = str(encoder.dtype).removeprefix("torch.")
    return load_encoder(**call, dtype=dtype, device=str(encoder.device))


def at_two_times(before: LocationEncoder, after: LocationEncoder) -> bool:
    """Tell whether two encoders are one at two times, so that their numbers can be compared."""
    if before.embed_dim != after.embed_dim:
        return False
    products = {getattr(encoder, "product", "plain") for encoder in (before, after)}
    if len(products) == 1 and products != {"plain"}:
        return True
    calls = [
        {
            key: value
            for key, value in (encoder.origin or {}).items()
            if key not in (*OPTIONS, "name")
        }
        for encoder in (before, after)
    ]
    return bool(calls[0]) and calls[0] == calls[1]


@known_keywords
def change_raster(
    before: LocationEncoder,
    after: LocationEncoder,
    resolution: float = 0.5,
    bounds: Bounds = GLOBE,
    *,
    region: Any = None,
    grid: Grid | None = None,
    progress: Progress | None = None,
) -> xr.DataArray:
    """Map how far embeddings turn between two times.

    Parameters
    ----------
    before, after : LocationEncoder
        One encoder at two times: loaded alike but for ``month=``, ``year=`` or ``time=``, or two
        files of one product that is made for it, as AlphaEarth.
    resolution, bounds, region, grid, progress
        As in `similarity_raster`.

    Returns
    -------
    xarray.DataArray, dims (lat, lon), shape (H, W), float32
        One minus the cosine, in [0, 2]: 0 is no change; NaN without coverage at either time.

    Raises
    ------
    ValueError
        If the encoders are not one at two times, or the grid is invalid.

    Examples
    --------
    >>> winter = load_encoder("climplicit", month=1)  # doctest: +SKIP
    >>> change_raster(winter, load_encoder("climplicit", month=7), 1.0)  # doctest: +SKIP
    """
    if not at_two_times(before, after):
        raise ValueError(
            f"{before.name} and {after.name} are not one encoder at two times, so that their "
            "numbers mean different things; load one file twice, as with month=1 and month=7."
        )
    grid, inside = view(resolution, bounds, region, grid)
    pairs = zip(
        iter_rows(before, grid), iter_rows(after, grid, progress=progress), strict=True
    )  # fmt: skip
    # Half the squared distance of unit vectors: one minus the cosine, without its cancellation.
    blocks = (
        (rows, ((unit_rows(first) - unit_rows(second)) ** 2).sum(dim=-1, keepdim=True) / 2)
        for (rows, first), (_, second) in pairs
    )
    values = collect(blocks, grid)[..., 0].astype(np.float32)
    values[~inside] = np.nan
    return as_field(values, grid, after, None, before=before.name)

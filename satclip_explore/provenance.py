"""Where a result comes from: encoder, weights, grid and versions, as plain strings."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from satclip_explore import __version__

if TYPE_CHECKING:
    from satclip_explore.encoders.base import LocationEncoder
    from satclip_explore.geo import Grid

PACKAGES = ("numpy", "torch", "xarray", "pandas")
"""Whose versions are noted beside our own."""


def provenance(
    encoder: LocationEncoder | None = None, grid: Grid | None = None, **more: Any
) -> dict[str, str]:
    """Describe how a result was made, in the words that every exported file carries.

    Parameters
    ----------
    encoder : LocationEncoder, optional
        Made the embeddings.
    grid : Grid, optional
        Pixel centers of a raster.
    **more
        Further facts, e.g. ``place=(13.4, 52.5)``; None is left out.

    Returns
    -------
    dict of str to str
        encoder, encoder_family, weights_hash, embed_dim, encoder_parts (of one that is made of
        others); grid_bounds (lon_min, lat_min, lon_max,
        lat_max in degrees), grid_shape (rows, columns), crs; the further facts; software and
        versions. No time stamp: the same call gives the same file.
    """
    facts: dict[str, Any] = {}
    if encoder is not None:
        facts |= {
            "encoder": encoder.name,
            "encoder_family": encoder.family,
            "weights_hash": encoder.weights_hash or "none",
            "embed_dim": encoder.embed_dim,
        }
        if encoder.parts:
            facts["encoder_parts"] = [f"{p.name} {p.weights_hash or 'none'}" for p in encoder.parts]
    if grid is not None:
        facts |= {"grid_bounds": grid.bounds, "grid_shape": grid.shape, "crs": "EPSG:4326"}
    facts |= more
    facts |= {"software": f"satclip_explore {__version__}", "versions": _versions()}
    return {key: _text(value) for key, value in facts.items() if value is not None}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError:
        return str(value)


def clean_facts(facts: Mapping[Any, Any]) -> dict[str, str]:
    """Turn facts into strings that every format can hold: short keys, no control characters."""
    return {
        re.sub(r"[^A-Za-z0-9_]", "_", str(key))[:60]: "".join(
            char if char.isprintable() else " " for char in _text(value)
        )
        for key, value in facts.items()
        if value is not None
    }


@cache
def _versions() -> str:
    found = [f"{name} {version(name)}" for name in PACKAGES]
    return ", ".join([f"python {platform.python_version()}", *found])

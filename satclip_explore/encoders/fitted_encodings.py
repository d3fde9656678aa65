"""TorchSpatial's position encodings whose numbers come from a file: rff, tile_ffn and rbf.

References
----------
Wu et al. (2024), "TorchSpatial: A Location Encoding Framework and Benchmark for Spatial
Representation Learning", NeurIPS.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from satclip_explore.encoders.tensor_files import take_tensors
from satclip_explore.geo import as_lonlat

FITTED = ("rff", "tile_ffn", "rbf")
"""The `spa_enc_type` of files that are read here."""

WORLD = (-180.0, 180.0, -90.0, 90.0)
"""West, east, south, north: the extent of files that state none."""

Features = Callable[[torch.Tensor], torch.Tensor]


def fitted_features(
    params: Mapping[str, Any], state: Mapping[Any, Any], train_locs: Any, source: str
) -> tuple[Features, int]:
    """Make the features of a fitted encoding.

    Parameters
    ----------
    params, state : mapping
        Of the file.
    train_locs : array_like, shape (M, 2), or None
        TorchSpatial's training places in their order, degrees, longitude first: an rbf file holds
        only which of them are its anchors.
    source : str
        Name of the file, for messages.

    Returns
    -------
    features : callable
        Places (N, 2), float64 degrees, to features, float64.
    width : int
        How many.

    Raises
    ------
    ValueError
        If the file lacks what its encoding needs, or `train_locs` is missing or does not fit.
    """
    kind = params["spa_enc_type"]
    if kind == "rbf":
        return _radial(params, train_locs)
    if train_locs is not None:
        raise ValueError(f"train_locs belongs to files of rbf; {source} is of {kind}.")
    return (_random_fourier if kind == "rff" else _tiles)(params, state, source)


def _take(state: Mapping[Any, Any], keys: tuple[str, ...], source: str) -> list[torch.Tensor]:
    """Take tensors of the position encoder, in float64, whatever precedes their keys."""
    found = {}
    for end in keys:
        value = next(
            (v for k, v in state.items() if str(k).endswith(f"position_encoder.{end}")), None
        )
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"{source} lacks position_encoder.{end}.")
        found[end] = value
    taken = take_tensors(found, {key: tuple(v.shape) for key, v in found.items()}, source)
    return [taken[key].double() for key in keys]


def _extent(params: Mapping[str, Any]) -> tuple[float, float, float, float]:
    extent = params.get("map_range", WORLD)
    try:
        west, east, south, north = (float(value) for value in extent)
    except (TypeError, ValueError) as error:
        raise ValueError(f"map_range must be four numbers; got {extent!r:.60}.") from error
    if not (west < east and south < north):
        raise ValueError(f"map_range must be (west, east, south, north); got {extent!r:.60}.")
    return west, east, south, north


def _random_fourier(
    params: Mapping[str, Any], state: Mapping[Any, Any], source: str
) -> tuple[Features, int]:
    """√(2/F) cos(x · ω + b) of places scaled to -1 … 1 over the extent."""
    directions, shift = _take(state, ("dirvec", "shift"), source)
    if directions.ndim != 2 or directions.shape != (2, len(shift)):
        raise ValueError(f"dirvec in {source} must have shape (2, {len(shift)}).")
    west, east, south, north = _extent(params)
    gain = math.sqrt(2.0 / len(shift))

    def features(lonlat: torch.Tensor) -> torch.Tensor:
        low, high = lonlat.new_tensor([[west, south], [east, north]])
        scaled = (lonlat - low) / (high - low) * 2 - 1
        return torch.cos(scaled @ directions.to(lonlat) + shift.to(lonlat)) * gain

    return features, len(shift)


def _tiles(
    params: Mapping[str, Any], state: Mapping[Any, Any], source: str
) -> tuple[Features, int]:
    """The vector of the tile that a place lies in; tiles are counted from the south-west."""
    (table,) = _take(state, ("embedding.weight",), source)
    west, east, south, north = _extent(params)
    size = params.get("min_radius")
    if isinstance(size, bool) or not isinstance(size, (int, float)) or not 0 < size < 1e6:
        raise ValueError(f"min_radius, the size of a tile, must be above 0; got {size!r:.60}.")
    columns, rows = math.ceil((east - west) / size), math.ceil((north - south) / size)
    if table.ndim != 2 or len(table) != columns * rows:
        raise ValueError(
            f"{source} holds {len(table):,} tiles; its extent and min_radius make "
            f"{rows:,} x {columns:,}."
        )

    def features(lonlat: torch.Tensor) -> torch.Tensor:
        column = ((lonlat[:, 0] - west) / size).floor().clamp(0, columns - 1)
        row = ((lonlat[:, 1] - south) / size).floor().clamp(0, rows - 1)
        return table.to(lonlat.device)[(row * columns + column).long()]

    return features, table.shape[1]


def _radial(params: Mapping[str, Any], train_locs: Any) -> tuple[Features, int]:
    """exp(-d² / 2σ²) of the distance in degrees, on a flat map, to every anchor."""
    ids, size = params.get("rbf_anchor_pt_ids"), params.get("rbf_kernel_size")
    if isinstance(size, bool) or not isinstance(size, (int, float)) or not 0 < size < 1e6:
        raise ValueError(f"rbf_kernel_size must be above 0; got {size!r:.60}.")
    if not isinstance(ids, (list, tuple)) or not ids:
        raise ValueError("rbf_anchor_pt_ids must list which training places are anchors.")
    if train_locs is None:
        raise ValueError(
            f"a file of rbf holds which of its training places are its {len(ids)} anchors, not "
            "where they are; pass train_locs=, the places of TorchSpatial's training set in their "
            "order."
        )
    places = as_lonlat(train_locs, east_edge=True)
    rows = [int(i) for i in ids]
    if min(rows) < 0 or max(rows) >= len(places):
        raise ValueError(
            f"train_locs has {len(places)} places; anchor {max(rows)} is not among them."
        )
    anchors = torch.from_numpy(places[rows])

    def features(lonlat: torch.Tensor) -> torch.Tensor:
        away = lonlat[:, None, :] - anchors.to(lonlat)
        return torch.exp(-(away**2).sum(dim=2) / (2.0 * size**2))

    return features, len(rows)

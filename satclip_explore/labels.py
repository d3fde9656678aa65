"""Label places by clicking: from a handful of labels to a map of the world, at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from satclip_explore.checks import real_number
from satclip_explore.fields import EmbeddedGrid, as_field, unit_rows
from satclip_explore.geo import as_lonlat

PENALTY = 0.03
"""Of the squared weights, for embeddings of unit length: one label alone is fitted to 3 %."""


def predict_labels(
    globe: EmbeddedGrid, lonlat: Any, codes: Sequence[int], *, penalty: float = PENALTY
) -> xr.DataArray:
    """Spread labels over the globe: ridge regression on one target per class, in closed form.

    Embeddings are centered on the mean of the globe, so that what all places share tells nothing.

    Parameters
    ----------
    globe : EmbeddedGrid
        A grid encoded once, H x W pixels.
    lonlat : array_like
        N labeled places in degrees, longitude first; at least two.
    codes : sequence of int
        Class of each place, from 0; at least two different ones.
    penalty : float
        Of the squared weights, above 0.

    Returns
    -------
    xarray.DataArray, dims (lat, lon), int16
        Class codes, -1 without coverage. The coordinate `margin` (lat, lon) says how far the best
        class is ahead of the second: 0 … 1 between the labels, clipped.

    Raises
    ------
    ValueError
        If there are fewer than two classes, or lengths disagree, or a place has no coverage.
    TypeError
        If a code is no whole number, or the penalty is no number.
    """
    places = as_lonlat(lonlat)
    labels = np.asarray(codes)
    if labels.dtype.kind not in "iu" and len(labels):
        raise TypeError(f"class codes must be whole numbers; got {codes!r:.60}.")
    labels = labels.astype(np.int64)
    if labels.shape != (len(places),):
        raise ValueError(f"need one class per place; got {labels.shape} for {len(places)} places.")
    if len(np.unique(labels)) < 2:
        raise ValueError("label places of at least two classes; the world then follows each click.")
    if labels.min() < 0:
        raise ValueError(f"class codes start at 0; got {labels.min()}.")
    if not real_number(penalty, "penalty") > 0.0:
        raise ValueError(f"penalty must be above 0; got {penalty}.")
    # A row without coverage is NaN throughout.
    missing = torch.isnan(globe.unit[:, 0])
    center = _mean_row(globe.unit, missing)
    x = unit_rows(torch.from_numpy(globe.encoder.embed(places)).float()) - center
    if torch.isnan(x).any():
        raise ValueError(f"{globe.encoder.name} has no coverage at one of the labeled places.")
    target = torch.nn.functional.one_hot(torch.from_numpy(labels)).float()
    share = target.mean(dim=0)
    gram = x @ x.T + penalty * torch.eye(len(x))
    weight = x.T @ torch.linalg.solve(gram, target - share)
    scores = globe.unit @ weight + (share - center @ weight)
    # A code without a label of its own can never win.
    scores[:, share == 0] = -torch.inf
    best = scores.topk(2, dim=1)
    codes_of = best.indices[:, 0].to(torch.int16)
    codes_of[missing] = -1
    margin = (best.values[:, 0] - best.values[:, 1]).clamp(0.0, 1.0)
    margin[missing] = 0.0
    field = as_field(
        codes_of.reshape(globe.grid.shape).numpy(), globe.grid, globe.encoder, None,
        labeled_places=len(places), nodata=-1,
    )  # fmt: skip
    return field.assign_coords(margin=(("lat", "lon"), margin.reshape(globe.grid.shape).numpy()))


def _mean_row(unit: torch.Tensor, missing: torch.Tensor) -> torch.Tensor:
    """Average the rows that are not missing: (D,)."""
    rows = unit[~missing] if bool(missing.any()) else unit
    # A product with ones reads the memory once; `mean` over the first axis is several times slower.
    return torch.ones(len(rows)) @ rows / len(rows)

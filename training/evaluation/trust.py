"""Where to trust a prediction, and which labels would help most: distances among embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray

from satclip_explore.atlas import load_atlas
from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.fields import collect, iter_rows
from satclip_explore.geo import Grid, as_lonlat
from training.evaluation.contenders import Labels
from training.evaluation.ridge import RidgeFolds
from training.tasks.distances import nearest_km
from training.tasks.folds import Rung
from training.tasks.splits import shuffled

MOST_LABELS = 4000
"""Labels that stand for all where distances among embeddings are measured."""

CHUNK = 2048
"""Places whose distances to the labels are measured at once."""

CANDIDATES = 2000
"""Places of the embedded atlas among which the next labels are looked for."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Applicability:
    """How unlike the labels a place is, and from where on that is unlike anything tested.

    Parameters
    ----------
    mean, scale : numpy.ndarray, shape (D,)
        Turn features into the space where distances are measured: standardized, and weighted by
        how much ridge regression makes of each.
    points : torch.Tensor, shape (N, D)
        The labels in that space.
    typical : float
        Mean distance between two labels.
    threshold : float
        Dissimilarity that few labels had to those of other folds: the third quartile plus 1.5
        times the interquartile range, or the largest where that is less.

    References
    ----------
    Meyer & Pebesma (2021), "Predicting into unknown space? Estimating the area of applicability
    of spatial prediction models", Methods in Ecology and Evolution 12(9).
    """

    mean: Array
    scale: Array
    points: torch.Tensor
    typical: float
    threshold: float

    @classmethod
    def fit(cls, labels: Labels, rung: Rung) -> Self:
        """Measure the labels against those of other folds of a rung."""
        x = np.asarray(labels.features, dtype=np.float64)
        rows = np.sort(shuffled(len(x), 0)[:MOST_LABELS])
        fold = rung.fold[0, rows]
        tests = [np.flatnonzero(rung.fold[0] == number) for number in range(rung.n_folds)]
        weights, _ = RidgeFolds(x, labels.columns).fit_all(tests)
        deviation = x.std(0)
        importance = np.abs(weights.weight[0]).mean(1) * deviation
        mean = x.mean(0)
        known = (importance > 0) & (deviation > 0)
        scale = np.where(known, importance / np.where(known, deviation, 1.0), 0.0)
        points = torch.from_numpy((x[rows] - mean) * scale).float()
        sample = points[shuffled(len(points), 1)[:1000]]
        typical = float(torch.cdist(sample, sample).sum()) / max(1, len(sample) * (len(sample) - 1))
        typical = max(typical, 1e-12)
        apart = np.empty(len(rows))
        for number in range(rung.n_folds):
            inside = torch.from_numpy(fold == number)
            if inside.any() and not inside.all():
                apart[inside.numpy()] = _nearest(points[inside], points[~inside]) / typical
        low, high = np.quantile(apart, (0.25, 0.75))
        threshold = min(float(high + 1.5 * (high - low)), float(apart.max()))
        return cls(mean, scale, points, typical, threshold)

    def place(self, features: NDArray[np.floating]) -> torch.Tensor:
        """Bring features (Q, D) into the space where distances are measured."""
        return torch.from_numpy((np.asarray(features, np.float64) - self.mean) * self.scale).float()

    def dissimilarity(self, features: NDArray[np.floating]) -> Array:
        """Return the distance to the nearest label in units of `typical`, shape (Q,)."""
        return _nearest(self.place(features), self.points) / self.typical


def _nearest(query: torch.Tensor, points: torch.Tensor) -> Array:
    parts = [torch.cdist(part, points).min(1).values for part in query.split(CHUNK)]
    return torch.cat(parts).double().numpy()


def trust_raster(
    encoder: LocationEncoder,
    applicability: Applicability,
    lonlat: Array,
    grid: Grid,
    inside: NDArray[np.bool_],
) -> xr.Dataset:
    """Map how unlike the labels every pixel is, and how far from them.

    Parameters
    ----------
    encoder : LocationEncoder
        Whose embeddings are compared.
    applicability : Applicability
        Of the same encoder.
    lonlat : numpy.ndarray, shape (N, 2)
        The labeled places, degrees.
    grid : Grid
        Pixel centers, shape (H, W).
    inside : numpy.ndarray, shape (H, W), bool
        Others are NaN.

    Returns
    -------
    xarray.Dataset, dims (lat, lon), north first
        dissimilarity (float32), trusted (1 or 0, float32), distance_km (float32).
    """
    blocks = (
        (
            rows,
            torch.from_numpy(
                applicability.dissimilarity(values.reshape(-1, values.shape[-1]).cpu().numpy())
            ).reshape(*values.shape[:2], 1),
        )
        for rows, values in iter_rows(encoder, grid)
    )
    unlike = collect(blocks, grid)[..., 0].astype(np.float32)
    away = nearest_km(grid.lonlat, lonlat).reshape(grid.shape).astype(np.float32)
    unlike[~inside], away[~inside] = np.nan, np.nan
    trusted = np.where(np.isnan(unlike), np.nan, unlike <= applicability.threshold)
    axes = ("lat", "lon")
    return xr.Dataset(
        {
            "dissimilarity": (axes, unlike),
            "trusted": (axes, trusted.astype(np.float32)),
            "distance_km": (axes, away),
        },
        {"lat": grid.lat, "lon": grid.lon},
        {"threshold": applicability.threshold},
    )


def next_labels(
    encoder: LocationEncoder,
    applicability: Applicability,
    lonlat: Array,
    candidates: Array | None,
    count: int,
) -> pd.DataFrame:
    """Choose places whose labels would bring all others nearer to a label, one after the other.

    Each is the place that most reduces the mean dissimilarity of all candidates, so that it stands
    for many, and is not merely odd.

    Returns
    -------
    pandas.DataFrame
        lon, lat; dissimilarity, to the labels and the places above it; gain, the share of the mean
        dissimilarity that it removes; km, to the nearest label. Best first.

    References
    ----------
    Nemhauser, Wolsey & Fisher (1978), "An analysis of approximations for maximizing submodular set
    functions", Mathematical Programming 14, for the greedy choice.
    """
    if candidates is None:
        places = as_lonlat(load_atlas().places)
        candidates = places[np.sort(shuffled(len(places), 0)[:CANDIDATES])]
    candidates = candidates[encoder.coverage(candidates)]
    if not len(candidates):
        raise ValueError(f"no candidate lies where {encoder.name} has coverage; give others.")
    features = encoder.embed(candidates)
    points = applicability.place(features)
    apart = torch.cdist(points, points).double().numpy() / applicability.typical
    left = applicability.dissimilarity(features)
    before, rows = max(float(left.mean()), 1e-12), []
    for _ in range(min(count, len(candidates))):
        gains = np.clip(left[:, None] - apart, 0.0, None).mean(0)
        row = int(gains.argmax())
        rows.append((row, float(left[row]), float(gains[row]) / before))
        left = np.minimum(left, apart[:, row])
    chosen = [row for row, _, _ in rows]
    return pd.DataFrame(
        {
            "lon": candidates[chosen, 0],
            "lat": candidates[chosen, 1],
            "dissimilarity": [unlike for _, unlike, _ in rows],
            "gain": [gain for _, _, gain in rows],
            "km": nearest_km(candidates[chosen], lonlat),
        }
    )

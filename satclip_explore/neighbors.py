"""Places whose embeddings are most similar: exact cosine search with filters on the ground."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from satclip_explore.atlas import load_atlas
from satclip_explore.checks import known_keywords, real_number, whole_number
from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.fields import one_place, unit_rows
from satclip_explore.geo import as_lonlat, great_circle_km
from satclip_explore.html_view import facts_table
from satclip_explore.provenance import provenance
from satclip_explore.regions import region as find_region
from satclip_explore.store import RESULTS

FIRST_LOOK = 1000
"""Best rows that are filtered first; eight times as many where too few of them pass."""

WEAK = 0.05
"""Share of all places from which on the best of some is said to be weakly alike."""


@dataclass(frozen=True)
class NeighborIndex:
    """Places with their embeddings, ready to be searched.

    Parameters
    ----------
    encoder : LocationEncoder
        Made the embeddings.
    places : pandas.DataFrame, M rows
        Columns lon and lat in degrees, and whatever is known of each place.
    lonlat : numpy.ndarray, shape (M, 2)
        The same coordinates, checked and wrapped.
    unit : torch.Tensor, shape (M, D), float32
        Embeddings of unit length; NaN where the encoder has no coverage.
    """

    encoder: LocationEncoder
    places: pd.DataFrame
    lonlat: NDArray[np.float64]
    unit: torch.Tensor

    def _repr_html_(self) -> str:
        return facts_table(
            f"Places to search with {self.encoder.name}",
            {
                "places": f"{len(self.places):,}",
                "numbers per place": self.unit.shape[1],
                "known of each": ", ".join(map(str, self.places.columns)),
            },
        )

    @classmethod
    def of(cls, encoder: LocationEncoder, places: pd.DataFrame) -> NeighborIndex:
        """Encode `places`, a table with coordinate columns; see `geo.as_lonlat`."""
        lonlat = as_lonlat(places)
        if not len(lonlat):
            raise ValueError("there are no places to search: the table is empty.")
        unit = (
            RESULTS.get(("unit embeddings", encoder, lonlat), lambda: _unit(encoder, lonlat))
            if encoder.weights_hash  # without one nothing tells that the weights have changed
            else _unit(encoder, lonlat)
        )
        return cls(encoder, places.reset_index(drop=True), lonlat, unit)

    def query(
        self,
        lonlat: Any,
        n_neighbors: int = 10,
        *,
        min_distance_km: float = 500.0,
        spacing_km: float = 0.0,
        region: Any = None,
    ) -> pd.DataFrame:
        """Find the places most similar to one place; see `nearest_neighbors`."""
        whole_number(n_neighbors, "n_neighbors", 1, sys.maxsize)
        for name, value in (("min_distance_km", min_distance_km), ("spacing_km", spacing_km)):
            if real_number(value, name) < 0.0:
                raise ValueError(f"{name} must be 0 km or more; got {value}.")
        place = one_place(lonlat)
        query = unit_rows(torch.from_numpy(self.encoder.embed(place)).float())[0]
        if not torch.isfinite(query).all():
            raise ValueError(f"{self.encoder.name} has no coverage at {tuple(place[0].tolist())}.")
        inside = None if region is None else find_region(region)
        similarity = (self.unit @ query).numpy()

        def allowed(rows: NDArray[np.intp]) -> NDArray[np.intp]:
            rows = rows[great_circle_km(place, self.lonlat[rows]) >= min_distance_km]
            if inside is not None:
                rows = rows[inside.contains(self.lonlat[rows])]
            return self._apart(rows, spacing_km, n_neighbors)

        rows = best_rows(similarity, n_neighbors, allowed)
        found = self.places.iloc[rows].drop(columns=["lon", "lat"], errors="ignore")
        known = similarity[np.isfinite(similarity)]
        better = np.sort(known[known > similarity[rows].min(initial=np.inf)])
        ahead = len(better) - np.searchsorted(better, similarity[rows], side="right")
        more_alike = ahead / max(len(known), 1)
        table = pd.DataFrame(
            {
                "lon": self.lonlat[rows, 0],
                "lat": self.lonlat[rows, 1],
                "similarity": similarity[rows].clip(-1.0, 1.0),
                "distance_km": great_circle_km(place, self.lonlat[rows]),
                "more_alike": more_alike,
                **{name: found[name].to_numpy() for name in found},
            }
        )
        weak = len(rows) > 0 and more_alike[0] > WEAK
        said = (
            f"a weak likeness: the best of these has cosine {similarity[rows[0]]:.2f}, and "
            f"{more_alike[0]:.0%} of all places that were searched are more alike."
        ) if weak else None  # fmt: skip
        table.attrs = provenance(self.encoder, place=tuple(place[0].tolist()), note=said)
        return table

    def _apart(self, rows: NDArray[np.intp], spacing_km: float, n: int) -> NDArray[np.intp]:
        """Keep of `rows`, in order, the first `n` that lie `spacing_km` from all kept before."""
        if spacing_km == 0.0:
            return rows
        kept: list[int] = []
        for row in rows.tolist():
            if len(kept) == n:
                break
            if (great_circle_km(self.lonlat[kept], self.lonlat[row]) >= spacing_km).all():
                kept.append(row)
        return np.array(kept, dtype=np.intp)


def best_rows(
    score: NDArray[Any], n: int, allowed: Callable[[NDArray[np.intp]], NDArray[np.intp]]
) -> NDArray[np.intp]:
    """Find the rows of the `n` highest scores that a filter lets through, without sorting the rest.

    Parameters
    ----------
    score : numpy.ndarray, shape (M,)
        Higher is better; what is not finite is never returned.
    n : int
        Rows wanted.
    allowed : callable
        Takes rows, best first, and returns those that pass, in the same order; whether one passes
        may depend on those before it.

    Returns
    -------
    numpy.ndarray, shape (up to n,)
        Best first; ties go by row, so that the answer is the same on every machine.
    """
    finite = np.isfinite(score)
    score = score if finite.all() else np.where(finite, score, -np.inf)
    n_finite = int(finite.sum())
    count = max(FIRST_LOOK, 8 * n)
    while True:
        count = min(count, n_finite)
        rows = allowed(_highest(score, count))
        if len(rows) >= n or count == n_finite:
            return rows[:n]
        count *= 8


def _highest(score: NDArray[Any], count: int) -> NDArray[np.intp]:
    """Return the rows of the `count` highest scores, best first, ties by row."""
    candidates = np.arange(len(score))
    if 0 < count < len(score):
        lowest = np.partition(score, len(score) - count)[len(score) - count]
        candidates = np.flatnonzero(score >= lowest)
    return candidates[np.argsort(-score[candidates], kind="stable")][:count]


def atlas_index(encoder: LocationEncoder, check: Callable[[], None] | None = None) -> NeighborIndex:
    """Encode the embedded atlas of land places once per encoder.

    `check` is called now and then; it raises once the places are no longer wanted.
    """
    places, lonlat = RESULTS.get(("atlas",), _atlas_places)

    def encode() -> torch.Tensor:
        parts = []
        for start in range(0, len(lonlat), encoder.chunk_size):
            if check is not None:
                check()
            parts.append(_unit(encoder, lonlat[start : start + encoder.chunk_size]))
        return torch.cat(parts)

    # The embeddings alone are shared: an index would keep its encoder.
    unit = RESULTS.get(("atlas embeddings", encoder), encode, check)
    return NeighborIndex(encoder, places, lonlat, unit)


def has_atlas_index(encoder: LocationEncoder) -> bool:
    """Tell whether the embedded atlas has been encoded: a search takes milliseconds then."""
    return RESULTS.peek(("atlas embeddings", encoder)) is not None


def _unit(encoder: LocationEncoder, lonlat: NDArray[np.float64]) -> torch.Tensor:
    return unit_rows(torch.from_numpy(encoder.embed(lonlat)).float())


def _atlas_places() -> tuple[pd.DataFrame, NDArray[np.float64]]:
    places = load_atlas().places
    return places, as_lonlat(places)


@known_keywords
def nearest_neighbors(
    encoder: LocationEncoder,
    lonlat: Any,
    n_neighbors: int = 10,
    min_distance_km: float = 500.0,
    region: Any = None,
    *,
    spacing_km: float = 0.0,
    places: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Find the places whose embeddings are most similar to that of one place.

    The search is exact. Similar embeddings are no proof of similar places, and no cause.

    Parameters
    ----------
    encoder : LocationEncoder
        Any encoder.
    lonlat : array_like
        One place, (lon, lat) in degrees.
    n_neighbors : int
        Rows to return; fewer where the filters leave fewer.
    min_distance_km : float
        Leave out places closer than this to the query, in great-circle km: what lies next door is
        alike for the wrong reason.
    region : str, tuple, geometry or Region, optional
        Search only inside; see `regions.region`.
    spacing_km : float
        Keep the neighbors this far from one another as well; 0 keeps the plain best.
    places : pandas.DataFrame, optional
        Where to search, with coordinate columns; default the embedded atlas of land places.

    Returns
    -------
    pandas.DataFrame
        Best first: lon, lat (degrees), similarity (cosine), distance_km, more_alike (share of all
        places, near and far, inside the region or not, that are more similar), then the columns
        of the places: country, continent, biome, … Rows come back however poor they are; where
        even the best is, ``attrs["note"]`` says so.

    Raises
    ------
    ValueError
        If the place, a setting or the region is invalid, or the encoder has no coverage there.
    """
    index = atlas_index(encoder) if places is None else NeighborIndex.of(encoder, places)
    return index.query(
        lonlat,
        n_neighbors,
        min_distance_km=min_distance_km,
        spacing_km=spacing_km,
        region=region,
    )

"""Places whose embeddings are most alike: exact cosine search with filters on the ground."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from satclip_explore.atlas import load_atlas
from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.fields import one_place, unit_rows
from satclip_explore.geo import as_lonlat, great_circle_km
from satclip_explore.html_view import facts_table
from satclip_explore.provenance import provenance
from satclip_explore.regions import region as find_region
from satclip_explore.store import RESULTS


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
        unit = unit_rows(torch.from_numpy(encoder.embed(lonlat)).float())
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
        """Find the places most like one place; see `nearest_neighbors`."""
        if n_neighbors < 1:
            raise ValueError(f"n_neighbors must be at least 1; got {n_neighbors}.")
        if not min_distance_km >= 0.0 or not spacing_km >= 0.0:
            raise ValueError(
                "distances must be 0 km or more; got "
                f"min_distance_km={min_distance_km}, spacing_km={spacing_km}."
            )
        place = one_place(lonlat)
        query = unit_rows(torch.from_numpy(self.encoder.embed(place)).float())[0]
        if not torch.isfinite(query).all():
            raise ValueError(f"{self.encoder.name} has no coverage at {tuple(place[0].tolist())}.")
        distance = great_circle_km(place, self.lonlat)
        allowed = distance >= min_distance_km
        if region is not None:
            allowed &= find_region(region).contains(self.lonlat)
        similarity = (self.unit @ query).numpy()
        allowed &= np.isfinite(similarity)
        rows = self._best(np.where(allowed, similarity, -np.inf), n_neighbors, spacing_km)
        found = self.places.iloc[rows].drop(columns=["lon", "lat"], errors="ignore")
        table = pd.DataFrame(
            {
                "lon": self.lonlat[rows, 0],
                "lat": self.lonlat[rows, 1],
                "similarity": similarity[rows].clip(-1.0, 1.0),
                "distance_km": distance[rows],
                **{name: found[name].to_numpy() for name in found},
            }
        )
        table.attrs = provenance(self.encoder, place=tuple(place[0].tolist()))
        return table

    def _best(self, score: NDArray[Any], n_neighbors: int, spacing_km: float) -> NDArray[np.intp]:
        """Return the rows of the highest scores, best first, each `spacing_km` apart."""
        n_allowed = int(np.isfinite(score).sum())
        if spacing_km == 0.0:
            n_neighbors = min(n_neighbors, n_allowed)
            # Ties go by row, so that the answer is the same on every machine.
            return np.argsort(-score, kind="stable")[:n_neighbors]
        rows: list[int] = []
        for row in np.argsort(-score, kind="stable")[:n_allowed]:
            if len(rows) == n_neighbors:
                break
            if (great_circle_km(self.lonlat[rows], self.lonlat[row]) >= spacing_km).all():
                rows.append(int(row))
        return np.array(rows, dtype=np.intp)


def atlas_index(encoder: LocationEncoder) -> NeighborIndex:
    """Encode the embedded atlas of land places once per encoder."""
    places, lonlat = RESULTS.get(("atlas",), _atlas_places)
    # The embeddings alone are shared: an index would keep its encoder.
    unit = RESULTS.get(
        ("atlas embeddings", encoder), lambda: NeighborIndex.of(encoder, places).unit
    )
    return NeighborIndex(encoder, places, lonlat, unit)


def _atlas_places() -> tuple[pd.DataFrame, NDArray[np.float64]]:
    places = load_atlas().places
    return places, as_lonlat(places)


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
    """Find the places whose embeddings are most like that of one place.

    The search is exact. Likeness in embedding space is no cause, and no proof of likeness on the
    ground.

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
        Best first: lon, lat (degrees), similarity (cosine), distance_km, then the columns of the
        places: country, continent, biome, …

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

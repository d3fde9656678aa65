"""What a fitted probe is asked with: embeddings of places, and columns that were joined to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from satclip_explore.areas import areas_of
from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.files.places import read_places
from satclip_explore.files.reading import Reading
from satclip_explore.geo import as_lonlat, unit_vectors


class Inputs(NamedTuple):
    """N places as a probe takes them.

    Parameters
    ----------
    lonlat : numpy.ndarray, shape (N, 2)
        Degrees, longitude first.
    features : torch.Tensor, shape (N, D), float32
        Embeddings, then covariates; 0 where one is missing.
    vectors : torch.Tensor, shape (N, 3), float32
        Places as unit vectors.
    missing : numpy.ndarray, shape (N,), bool
        Where the encoder has no coverage, or a covariate is missing.
    """

    lonlat: NDArray[np.float64]
    features: torch.Tensor
    vectors: torch.Tensor
    missing: NDArray[np.bool_]


def embed_places(
    encoder: LocationEncoder, places: Any, covariates: Sequence[str] = (), polygons: str = "mean"
) -> Inputs:
    """Embed places, or average over polygons, and join columns of their table.

    Parameters
    ----------
    encoder : LocationEncoder
        Whose embeddings.
    places : array_like or table
        See `geo.as_lonlat`; a table with the columns, where there are covariates.
    covariates : sequence of str
        Names of the columns.
    polygons : {"mean", "point"}
        What stands for a polygon, as when the probe was trained.

    Raises
    ------
    ValueError
        If the places are not valid, or a column is missing or holds no numbers.
    """
    areas = areas_of(places, polygons)
    lonlat = as_lonlat(places) if areas is None else areas.inside
    embeddings = encoder.embed(lonlat) if areas is None else areas.mean(encoder.embed)
    features = torch.from_numpy(embeddings).float()
    if covariates:
        columns = torch.from_numpy(covariate_columns(places, covariates)).float()
        features = torch.cat([features, columns], dim=1)
    missing = torch.isnan(features).any(1)
    features = torch.where(missing[:, None], 0.0, features)
    vectors = torch.from_numpy(unit_vectors(lonlat)).float()
    return Inputs(lonlat, features, vectors, missing.numpy())


def covariate_columns(table: Any, names: Sequence[str]) -> NDArray[np.float64]:
    """Take columns of a table as numbers, shape (N, F); NaN where one is missing.

    Raises
    ------
    ValueError
        If a column is missing or holds text.
    """
    absent = [name for name in names if name not in getattr(table, "columns", ())]
    if absent:
        raise ValueError(
            f"the probe joins {', '.join(names)} to the embedding: give a table with these "
            f"columns; {absent[0]!r} is missing."
        )
    for name in names:
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise ValueError(
                f"covariates must be columns of numbers; {name!r} holds {table[name].dtype}: "
                "turn classes into columns of 0 and 1, as pandas.get_dummies does."
            )
    columns = [table[name].to_numpy(np.float64, na_value=np.nan) for name in names]
    return np.stack(columns, axis=1)


def with_predictions(
    table: Any, predict: Callable[[pd.DataFrame], pd.DataFrame], options: Mapping[str, Any]
) -> pd.DataFrame:
    """Read a table and return it with the columns that `predict` adds to lon and lat.

    Raises
    ------
    ValueError
        If a column of that name is there already.
    """
    if isinstance(table, Reading):
        table = table.frame
    frame = table if isinstance(table, pd.DataFrame) else read_places(table, **options).frame
    found = predict(frame).drop(columns=["lon", "lat"]).set_axis(frame.index)
    for name in frame.columns.intersection(found.columns)[:1]:
        raise ValueError(f"the table has a column {name} already; drop or rename it first.")
    joined = pd.concat([frame, found], axis=1)
    joined.attrs = {**frame.attrs, **found.attrs}
    return joined

"""How similar two encoders are on the same places: linear CKA, shared neighbors, side by side."""

from __future__ import annotations

import html
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from satclip_explore.atlas import load_atlas
from satclip_explore.embedding_geometry import (
    LEAST_PLACES,
    centered,
    covariance_spectrum,
    half_variance_km,
    participation_ratio,
    semivariogram,
    two_nn_dimension,
    unit_length,
)
from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.fields import Progress

N_SAMPLES = 4000
"""Places on which encoders are compared by default: about 190 km apart."""


SHAPE_COLUMNS = ["encoder", "dim", "participation_ratio", "intrinsic_dimension", "half_variance_km"]


@dataclass(frozen=True)
class Comparison:
    """Encoders on the same places, uniform by area over land.

    Parameters
    ----------
    places : int
        How many places all of them cover.
    pairs : pandas.DataFrame
        One row per pair: first, second, cka, overlap.
    shapes : pandas.DataFrame
        One row per encoder: dim, participation_ratio, intrinsic_dimension (two-neighbor estimate;
        NaN where too few places differ), half_variance_km (distance at which the semivariogram
        first reaches one half; NaN where it starts above).
    spectra : mapping of str to numpy.ndarray
        Share of the variance in each principal component, falling, by encoder.
    variograms : mapping of str to pandas.DataFrame
        By encoder; see `semivariogram`.
    n_neighbors : int
        Neighbors counted in overlap.
    chance : float
        Overlap of two unrelated encoders.
    """

    places: int
    pairs: pd.DataFrame
    shapes: pd.DataFrame
    spectra: Mapping[str, NDArray[np.float64]]
    variograms: Mapping[str, pd.DataFrame]
    n_neighbors: int
    chance: float

    def _repr_html_(self) -> str:
        caption = html.escape(f"{self.places:,} land places, {self.n_neighbors} neighbors")
        tables = [t.to_html(index=False, float_format="%.3f") for t in (self.pairs, self.shapes)]
        return f"<div>{caption}{''.join(tables)}</div>"


def linear_cka(first: ArrayLike, second: ArrayLike, *, debiased: bool = True) -> float:
    """Compare two embeddings of the same places by linear centered kernel alignment.

    1 where they are the same up to rotation, shift and one common scale; 0 where what one says is
    unrelated to the other.

    Parameters
    ----------
    first, second : array_like, shapes (N, D) and (N, E)
        Embeddings of the same N places.
    debiased : bool
        Use the unbiased estimate of each product, so that unrelated embeddings give 0 (give or
        take, and below 0 at times) however many numbers they have. False gives the plain formula,
        which for unrelated ones grows like D / (N + D).

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the numbers of places differ, values are not finite, there are fewer than 20 places, or
        one embedding is the same everywhere.

    References
    ----------
    Kornblith, Norouzi, Lee & Hinton (2019), "Similarity of Neural Network Representations
    Revisited", ICML. Song, Smola, Gretton, Bedo & Borgwardt (2012), "Feature Selection via
    Dependence Maximization", JMLR 13, theorem 2.
    """
    x, y = centered(first), centered(second)
    if len(x) != len(y):
        raise ValueError(f"both embeddings need the same places; got {len(x)} and {len(y)}.")
    # The scale cancels; without it squares of large embeddings could overflow.
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    shared = _alignment(x, y, debiased)
    norm = _alignment(x, x, debiased) * _alignment(y, y, debiased)
    return float(shared / np.sqrt(norm))


def _alignment(x: NDArray[np.float64], y: NDArray[np.float64], debiased: bool) -> float:
    """Sum the product of two centered linear kernels, up to a factor that cancels."""
    n = len(x)
    if max(x.shape[1], y.shape[1]) > n:
        total = float(np.sum((x @ x.T) * (y @ y.T)))
    else:
        total = float(np.sum((x.T @ y) ** 2))
    if not debiased:
        return total
    a, b = np.einsum("nd,nd->n", x, x), np.einsum("nd,nd->n", y, y)
    # Without the diagonals; rows of a centered kernel sum to zero, so those sums are -a and -b.
    return float(total - (n / (n - 2)) * (a @ b) + a.sum() * b.sum() / ((n - 1) * (n - 2)))


def nearest_rows(unit: NDArray[np.float64], n_neighbors: int) -> NDArray[np.intp]:
    """Return the rows of the K nearest of every row by cosine, exact, shape (N, K), in no order."""
    n = len(unit)
    if not 1 <= n_neighbors <= n - 2:
        raise ValueError(f"n_neighbors must lie in 1 … {n - 2} for {n} places; got {n_neighbors}.")
    found = np.empty((n, n_neighbors), dtype=np.intp)
    for start in range(0, n, 500):
        rows = np.arange(start, min(start + 500, n))
        cosine = unit[rows] @ unit.T
        cosine[np.arange(len(rows)), rows] = -np.inf
        found[rows] = np.argpartition(cosine, n - n_neighbors, axis=1)[:, n - n_neighbors :]
    return found


def shared_neighbors(first: NDArray[np.intp], second: NDArray[np.intp]) -> float:
    """Tell which share of a place's neighbors two embeddings have in common, on average.

    Parameters
    ----------
    first, second : numpy.ndarray, shape (N, K)
        From `nearest_rows`, for the same N places.

    Returns
    -------
    float
        0 … 1; K / (N - 1) where the two are unrelated.
    """
    return float((first[:, :, None] == second[:, None, :]).any(axis=2).mean())


def compare_encoders(
    encoders: Sequence[LocationEncoder | str],
    *,
    n_samples: int = N_SAMPLES,
    n_neighbors: int = 10,
    progress: Progress | None = None,
) -> Comparison:
    """Compare encoders on the places of the embedded atlas that all of them cover.

    Parameters
    ----------
    encoders : sequence of LocationEncoder or str
        Two or more, each with a name of its own; a string is a registered name or a file.
    n_samples : int
        Land places, uniform by area, at most 20,000.
    n_neighbors : int
        Neighbors counted in overlap.
    progress : callable, optional
        Called with (steps done, steps in all). An exception raised inside cancels the work.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If there are fewer than two encoders, two share a name, too few places are covered by all,
        or an encoder says the same everywhere.
    """
    loaded = [load_encoder(e) if isinstance(e, str) else e for e in encoders]
    names = [encoder.name for encoder in loaded]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"need two or more encoders with different names; got {names}.")
    lonlat = load_atlas().lonlat[:n_samples]
    pairs = list(itertools.combinations(names, 2))
    steps = itertools.count(1)

    def step() -> None:
        if progress is not None:
            progress(next(steps), 2 * len(names) + len(pairs))

    embeddings: dict[str, NDArray[Any]] = {}
    for encoder in loaded:
        embeddings[encoder.name] = encoder.embed(lonlat).astype(np.float64)
        step()
    covered = np.all([np.isfinite(x).all(axis=1) for x in embeddings.values()], axis=0)
    if covered.sum() < max(LEAST_PLACES, n_neighbors + 2):
        raise ValueError(
            f"{', '.join(names)} cover only {int(covered.sum())} of {len(lonlat)} sampled land "
            "places in common: too few to compare."
        )
    lonlat = lonlat[covered]
    shapes, spectra, variograms, near = [], {}, {}, {}
    for name in names:
        x = embeddings[name] = embeddings[name][covered]
        try:
            near[name] = nearest_rows(unit_length(x), n_neighbors)
            spectra[name] = covariance_spectrum(x)
            variograms[name] = semivariogram(lonlat, x)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        ratio = participation_ratio(spectra[name])
        half_km = half_variance_km(variograms[name])
        shapes.append((name, x.shape[1], ratio, _intrinsic_dimension(x), half_km))
        step()
    rows = []
    for a, b in pairs:
        rows.append(
            (a, b, linear_cka(embeddings[a], embeddings[b]), shared_neighbors(near[a], near[b]))
        )
        step()
    return Comparison(
        len(lonlat),
        pd.DataFrame(rows, columns=["first", "second", "cka", "overlap"]),
        pd.DataFrame(shapes, columns=SHAPE_COLUMNS),
        spectra,
        variograms,
        n_neighbors,
        n_neighbors / (len(lonlat) - 1),
    )


def _intrinsic_dimension(x: NDArray[np.float64]) -> float:
    """Estimate the dimension, or NaN where a table gives most places the same vector."""
    try:
        return two_nn_dimension(x)
    except ValueError:
        return float("nan")

"""Geo-bias: whether errors huddle together on the map, more than luck would have it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satclip_explore.geo import EARTH_RADIUS_KM, unit_vectors
from training.evaluation.cells import Cell
from training.evaluation.conformal import nonconformity
from training.tasks.task import Task

N_NEIGHBORS = 4
"""Nearest points that count as neighbors, as on a square grid."""

BACKGROUND = 5
"""Points of the background for each place of a neighborhood."""

PLACES = (5, 30, 100)
"""In a neighborhood: fewest; the median, where no radius is asked for; most."""

CENTERS = 200
"""Neighborhoods at most, around places drawn at random."""

SHUFFLES = 5
"""Times that errors are dealt anew among the places of a neighborhood."""

WORST = 0.75
"""Share of values that count as well predicted: the worst quarter is not."""


@dataclass(frozen=True)
class GeoBias:
    """How surprising the places of errors are, in nats; averages over neighborhoods with errors.

    Parameters
    ----------
    unmarked : float
        Surprisal of where the places are, whatever their errors.
    marked : float
        Surprisal of which of them are predicted badly, and where they are.
    by_chance : float
        The same, of as many errors strewn at random over the same places.
    neighborhoods : int
        How many were averaged.
    radius_km : float
        Of a neighborhood.
    """

    unmarked: float
    marked: float
    by_chance: float
    neighborhoods: int
    radius_km: float

    @property
    def relative(self) -> float:
        """What errors add by their arrangement alone: about 0 where they are strewn at random."""
        return self.marked - self.by_chance


def geo_bias(
    lonlat: NDArray[np.float64],
    bad: NDArray[np.bool_],
    *,
    radius_km: float | None = None,
    seed: int = 0,
) -> GeoBias:
    """Score how unevenly errors lie on the map, by the geo-bias score of TorchSpatial.

    Parameters
    ----------
    lonlat : numpy.ndarray, shape (N, 2)
        Tested places, degrees.
    bad : numpy.ndarray, shape (N,), bool
        Which are predicted badly.
    radius_km : float, optional
        Of a neighborhood; default such that half of them hold 30 places at least.
    seed : int
        Which neighborhoods, and how errors are strewn.

    Returns
    -------
    GeoBias
        NaN where no neighborhood holds five places and an error.

    References
    ----------
    Wu et al. (2024), "TorchSpatial", arXiv:2406.15658; Wang et al. (2024), "Probing the Information
    Theoretical Roots of Spatial Dependence Measures", arXiv:2405.18459, for the surprisal.
    """
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(seed)
    points = unit_vectors(lonlat)
    tree = cKDTree(points)
    fewest, usual, most = (min(count, len(points)) for count in PLACES)
    if radius_km is None:
        chords = tree.query(points, k=[usual])[0]
        radius_km = float(np.median(2.0 * np.arcsin(chords / 2.0))) * EARTH_RADIUS_KM
    angle = radius_km / EARTH_RADIUS_KM
    found = []
    for center in rng.permutation(len(points))[:CENTERS]:
        chords, near = tree.query(points[center], k=most)
        inside = near[chords <= 2.0 * np.sin(angle / 2.0)]
        if len(inside) >= max(fewest, PLACES[0]) and bad[inside].any():
            found.append(_neighborhood(points[center], points[inside], bad[inside], angle, rng))
    unmarked, marked, by_chance = np.mean(found, axis=0) if found else np.full(3, np.nan)
    return GeoBias(float(unmarked), float(marked), float(by_chance), len(found), radius_km)


def bias_by_rung(task: Task, cells: dict[str, Cell]) -> pd.DataFrame:
    """Score the out-of-fold errors of one contender, rung by rung.

    Parameters
    ----------
    task : Task
        N labeled places.
    cells : mapping of str to Cell
        Its predictions by rung.

    Returns
    -------
    pandas.DataFrame
        By rung: the fields of `GeoBias`, and relative. Badly predicted are classes that are named
        wrong in half of the draws at least, and the quarter of values with the largest errors.
    """
    rows = {}
    for rung, cell in cells.items():
        if task.is_classification:
            bad = (cell.best != task.target).mean(0) >= 0.5
        else:
            error = nonconformity(task, cell).mean(0)
            bad = error > np.quantile(error, WORST)
        found = geo_bias(task.lonlat, bad)
        rows[rung] = {"relative": found.relative, **asdict(found)}
    frame = pd.DataFrame.from_dict(rows, "index")
    frame.index.name = "rung"
    return frame


def bias_words(biases: pd.DataFrame, contender: str) -> str:
    """Say in a sentence what the geo-bias on the nearest and the farthest rung is."""
    known = biases["relative"].dropna()
    if known.empty:
        return "Geo-bias: not known, since no neighborhood holds five places and an error."
    ends = known.iloc[[0, -1]] if len(known) > 1 else known
    said = " and ".join(f"{value:+.1f} ({rung})" for rung, value in ends.items())
    return (
        f"Geo-bias of {contender}: {said}, in nats above errors strewn at random over the same "
        "places: about 0 where nothing but luck decides where errors lie, high where whole "
        "neighborhoods are predicted badly."
    )


def _neighborhood(
    center: NDArray[np.float64],
    places: NDArray[np.float64],
    bad: NDArray[np.bool_],
    angle: float,
    rng: np.random.Generator,
) -> tuple[float, float, float]:
    """Return the surprisal of a neighborhood: unmarked, marked, and marked by chance."""
    points = np.concatenate([places, background(center, angle, len(places))])
    neighbors = nearest_others(points)
    empty = np.zeros(len(points) - len(places))
    marks = np.where(bad, -1.0, 1.0)
    dealt = [marks, *(rng.permutation(marks) for _ in range(SHUFFLES))]
    marked, *strewn = surprisal(np.stack([np.append(each, empty) for each in dealt]), neighbors)
    unmarked = surprisal(np.append(np.ones(len(places)), empty)[None], neighbors)[0]
    return float(unmarked), float(marked), float(np.mean(strewn))


def background(center: NDArray[np.float64], angle: float, n_places: int) -> NDArray[np.float64]:
    """Lay rings of points around a center, BACKGROUND for each place, as unit vectors.

    Parameters
    ----------
    center : numpy.ndarray, shape (3,)
        Unit vector.
    angle : float
        Radius, radians.
    n_places : int
    """
    step = 1.0 / np.sqrt(np.ceil(BACKGROUND * n_places / (np.pi * angle**2)))
    rings = np.arange(1, int(np.ceil(angle / step)) + 1)
    counts = np.ceil(2.0 * np.pi * rings).astype(int)
    away = np.repeat(step * rings, counts)
    around = np.concatenate([2.0 * np.pi * np.arange(n) / n - np.pi for n in counts])
    south, east = _south_east(center)
    return np.asarray(
        np.cos(away)[:, None] * center
        + (np.sin(away) * np.cos(around))[:, None] * south
        + (np.sin(away) * np.sin(around))[:, None] * east
    )


def _south_east(center: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the unit vectors to the south and to the east of a place."""
    x, y, z = center
    across = np.hypot(x, y)
    cos, sin = (x / across, y / across) if across > 0 else (1.0, 0.0)
    return np.array([z * cos, z * sin, -across]), np.array([-sin, cos, 0.0])


def nearest_others(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the N_NEIGHBORS nearest other points of each, shape (n, N_NEIGHBORS)."""
    from scipy.spatial import cKDTree

    found = cKDTree(points).query(points, k=N_NEIGHBORS + 1)[1]
    own = found == np.arange(len(points))[:, None]
    # Of points in one place, each may find the others only: the farthest goes then.
    own[~own.any(1), -1] = True
    return np.asarray(found[~own].reshape(len(points), N_NEIGHBORS), dtype=np.int64)


def surprisal(values: NDArray[np.float64], neighbors: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the self-information of how values lie beside each other, shape (R,), in nats.

    It is minus the logarithm of the normal density, in units of the data, of the sum over
    neighbors of products of deviations from the mean, Moran's I without its scale.

    Parameters
    ----------
    values : numpy.ndarray, shape (R, n)
        The same few different values in R orders; the most frequent should be most of them.
    neighbors : numpy.ndarray, shape (n, K)
        Points beside each.
    """
    different, counts = np.unique(values[0], return_counts=True)
    n, k = neighbors.shape
    average = values[0].mean()
    away = values - average
    seen = (away * away[:, neighbors].sum(2)).sum(1)

    deviation = different - average
    pairs = k * np.outer(counts, counts) / n
    np.fill_diagonal(pairs, k * counts * (counts - 1) / n - 1.0)
    mean = float((np.outer(deviation, deviation) * pairs).sum())

    rare = np.arange(len(different)) != counts.argmax()
    own, of = different[rare] - different[~rare], counts[rare]
    shift = deviation[~rare]
    most = np.maximum.outer(of, of)
    spread = k * np.outer(of, of) / n * (1.0 - k * most / n)
    products = np.outer(deviation[rare], deviation[rare])
    # Of an ordered pair, the first alone is taken twice, as published.
    weight = (products - 2.0 * deviation[rare][:, None] * shift + shift**2) ** 2
    np.fill_diagonal(spread, 2.0 * k * of * (of - 1) / n * (1.0 - k * (2 * of - 1) / (3.0 * n)))
    np.fill_diagonal(weight, own**4)
    variance = float((weight * spread).sum())
    if variance <= 0.0:
        return np.full(len(values), np.nan)
    return 0.5 * ((seen - mean) ** 2 / variance + np.log(2.0 * np.pi * variance))

"""The verdict: what adds to interpolation, how far from a label, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import pandas as pd
from numpy.typing import NDArray

INTERPOLATION = ("idw", "nearest")
"""Contenders that use nothing but labels and where they are."""

COORDINATES = ("lonlat", "harmonics-l10")
"""Encoders that know where a place is, and nothing of what is there."""

LEVEL = 0.95
"""Of intervals, and of what is said to be told apart."""


def paired(
    difference: NDArray[np.float64], test_share: float, level: float = LEVEL
) -> tuple[float, float, float, float]:
    """Compare two contenders on the same folds, drawn several times.

    Parameters
    ----------
    difference : numpy.ndarray, shape (n,)
        Of their scores, fold by fold.
    test_share : float
        Test places for each training place. Folds share training places, so that their scores
        vary together: the variance of the mean is (1/n + test_share) of theirs.
    level : float
        Of the interval.

    Returns
    -------
    mean, low, high, p : float
        Mean difference, its interval, and the chance of one as large where there is none.

    References
    ----------
    Nadeau & Bengio (2003), "Inference for the generalization error", Machine Learning 52.
    """
    from scipy.stats import t

    n, mean = len(difference), float(difference.mean())
    if n < 2:
        return mean, float("nan"), float("nan"), 1.0
    error = float(np.sqrt((1.0 / n + test_share) * difference.var(ddof=1)))
    if error == 0.0:
        return mean, mean, mean, 0.0 if mean else 1.0
    half = error * float(t.ppf(0.5 + level / 2.0, n - 1))
    return mean, mean - half, mean + half, float(2.0 * t.sf(abs(mean) / error, n - 1))


def mean_score(scores: pd.DataFrame, metric: str) -> tuple[float, float, float]:
    """Return the mean of one contender's scores on one rung, and its interval."""
    share = float((scores["test_places"] / scores["train_places"]).mean())
    known = scores[metric].dropna().to_numpy(dtype=np.float64)
    return paired(known, share)[:3] if len(known) else (float("nan"),) * 3


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correct p-values for their number.

    References
    ----------
    Holm (1979), "A simple sequentially rejective multiple test procedure".
    """
    order = np.argsort(p)
    steps = p[order] * (len(p) - np.arange(len(p)))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


def compare(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Compare every contender with interpolation, rung by rung, on the same folds.

    Parameters
    ----------
    scores : pandas.DataFrame
        As `Ladder.scores`.
    metric : str
        Its column.

    Returns
    -------
    pandas.DataFrame
        rung, contender, against (the better of both interpolations there), folds, difference, low,
        high (95 %), p, and p_holm: p corrected for the number of rows that are not of coordinates
        alone, NaN in those.
    """
    rows = []
    for rung, part in scores.groupby("rung", sort=False):
        table = part.pivot(index=["seed", "fold"], columns="contender", values=metric)
        share = float((part["test_places"] / part["train_places"]).mean())
        known = [name for name in INTERPOLATION if name in table]
        if not known:
            continue
        against = max(known, key=lambda name: table[name].mean())
        for name in part["contender"].unique():
            if name in (*INTERPOLATION, "constant"):
                continue
            difference = (table[name] - table[against]).dropna().to_numpy()
            if len(difference):
                found = paired(difference, share)
                rows.append((rung, name, against, len(difference), *found))
    columns = ["rung", "contender", "against", "folds", "difference", "low", "high", "p"]
    frame = pd.DataFrame(rows, columns=columns)
    asked = ~frame["contender"].isin(COORDINATES)
    frame.loc[asked, "p_holm"] = holm(frame.loc[asked, "p"].to_numpy(dtype=np.float64))
    return frame


def verdict(
    scores: pd.DataFrame,
    comparisons: pd.DataFrame,
    distances: pd.Series,
    metric: str,
) -> list[str]:
    """Say in plain sentences where an embedding helps.

    Parameters
    ----------
    scores, comparisons : pandas.DataFrame
        As `Ladder.scores` and `compare`.
    distances : pandas.Series
        Median kilometers from test to training places, by rung.
    metric : {"r2", "accuracy"}
    """
    said = []
    asked = comparisons[~comparisons["contender"].isin(COORDINATES)]
    if asked.empty:
        return ["Nothing can be said yet: no embedding was scored."]
    near = distances.sort_values(kind="stable").index
    rungs = [rung for rung in near if rung in set(asked["rung"])]
    outcomes = [_outcome(scores, comparisons, rung, metric) for rung in rungs]
    numbered = zip(rungs, outcomes, strict=True)
    for (kind, name), group in groupby(numbered, key=lambda pair: (pair[1][0], pair[1][1])):
        members = list(group)
        where = _where([distances[rung] for rung, _ in members])
        rows = [row for _, (_, _, row) in members]
        said.append(_sentence(kind, name, where, rows, metric))
    few, many = asked["folds"].min(), asked["folds"].max()
    folds = f"{few:g}" if few == many else f"{few:g} to {many:g}"
    said.append(
        f"Intervals are 95 % each, over {folds} folds. Of {len(asked)} comparisons some would look "
        'good by chance: "adds" is said only where Holm\'s correction for all of them leaves p '
        f"below {1 - LEVEL:.2f}."
    )
    return said


Row = dict[str, float]


def _outcome(
    scores: pd.DataFrame, comparisons: pd.DataFrame, rung: str, metric: str
) -> tuple[str, str, Row]:
    """Tell what a rung shows: (kind, contender, its figures)."""
    here = scores[scores["rung"] == rung]
    table = here.pivot(index=["seed", "fold"], columns="contender", values=metric)
    means = table.mean()
    rivals = comparisons[comparisons["rung"] == rung].set_index("contender")
    embeddings = [name for name in rivals.index if name not in COORDINATES]
    best = str(means[embeddings].idxmax())
    row = rivals.loc[best]
    against = str(row["against"])
    figures = {
        "score": float(means[best]), "interpolation": float(means[against]),
        "coordinates": float(means[[encoder for encoder in COORDINATES if encoder in means]].max()),
        **{name: float(row[name]) for name in ("difference", "low", "high")},
    }  # fmt: skip
    top = str(means.drop("constant").idxmax())
    share = float((here["test_places"] / here["train_places"]).mean())
    above = (table[top] - table["constant"]).dropna().to_numpy()
    if paired(above, share)[1] <= 0.0:
        return "nothing", "", figures
    if row["difference"] > 0 and row["low"] > 0:
        return ("adds" if row["p_holm"] < 1.0 - LEVEL else "may add"), best, figures
    if row["high"] < 0 and (rivals.loc[embeddings, "p_holm"] < 1.0 - LEVEL).all():
        return "interpolation", "", figures
    return "same", best, figures


def _sentence(kind: str, name: str, where: str, rows: Sequence[Row], metric: str) -> str:
    unit = "R²" if metric == "r2" else "accuracy"
    if kind == "nothing":
        return f"{where} nothing helps: no contender is clearly better than a constant guess."
    known = _range([row["interpolation"] for row in rows], metric)
    if kind == "interpolation":
        return f"{where} interpolation is better than any embedding ({unit} {known})."
    ends = (rows[0],) if len(rows) == 1 else (rows[0], rows[-1])
    gains = " and ".join(
        f"{_signed(row['difference'], metric)} ({_signed(row['low'], metric)} to "
        f"{_signed(row['high'], metric)})"
        for row in ends
    )
    reached = _range([row["score"] for row in rows], metric)
    place = (
        "; with coordinates in the place of the embedding it is as good"
        if _coordinates_suffice(rows)
        else ""
    )
    if kind == "same":
        return (
            f"{where} interpolation is as good ({unit} {known}): with {name} it is {reached}, a "
            f"difference of {gains} that chance may explain."
        )
    adds = "adds" if kind == "adds" else "may add"
    doubt = "" if kind == "adds" else "; the correction for many comparisons does not confirm it"
    return (
        f"{where} {name} {adds} {gains} {unit} to interpolation: {reached} in place of "
        f"{known}{place}{doubt}."
    )


def _coordinates_suffice(rows: Sequence[Row]) -> bool:
    """Tell whether coordinates score as high on average over some rungs."""
    return bool(np.mean([row["coordinates"] - row["score"] for row in rows]) >= 0.0)


def _where(km: Sequence[float]) -> str:
    low, high = words_km(min(km)), words_km(max(km))
    if low == high:
        return f"About {low} from the nearest label,"
    return f"Between {low} and {high} from the nearest label,"


def words_km(km: float) -> str:
    """Write a distance with two digits that count."""
    if km < 0.95:
        return f"{float(f'{1000.0 * km:.2g}'):g} m" if km >= 0.001 else "0 km"
    digits = max(0, 1 - int(np.floor(np.log10(km))))
    rounded = round(km, 1 - int(np.floor(np.log10(km))))
    return f"{rounded:,.{digits}f} km"


def _signed(value: float, metric: str) -> str:
    if metric == "accuracy":
        return f"{100.0 * value:+.1f} points"
    return f"{value:+.2f}"


def _range(values: Sequence[float], metric: str) -> str:
    def write(value: float) -> str:
        return f"{100.0 * value:.0f} %" if metric == "accuracy" else f"{value:.2f}"

    first, last = write(values[0]), write(values[-1])
    return first if first == last else f"{first} to {last}"

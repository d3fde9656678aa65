"""The verdict: what adds to interpolation, how far from a label, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

INTERPOLATION = ("idw", "nearest")
"""Contenders that use nothing but labels and where they are."""

COORDINATES = ("lonlat", "harmonics-l10")
"""Encoders that know where a place is, and nothing of what is there."""

PLACE = " + place"
"""How the name ends of an embedding that is joined with where the place is."""

LEVEL = 0.95
"""Of intervals, and of what is said to be told apart."""

EVEN = 0.005
"""A lead below this in R² or accuracy, not told apart from none, is no lead."""

KINDS = {
    "better": "better (statistically significant)",
    "ahead": "ahead, but not proven",
    "level": "no better",
    "worse": "worse (statistically significant)",
    "nothing": "nothing helps (no method is clearly better than a constant guess)",
}
"""What the best embedding may be beside interpolation, in words."""


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
    covariates: Sequence[str] = (),
) -> list[str]:
    """Say in plain sentences where an embedding helps: an answer first, then what it rests on.

    Parameters
    ----------
    scores, comparisons : pandas.DataFrame
        As `Ladder.scores` and `compare`.
    distances : pandas.Series
        Median kilometers from test to training places, by rung.
    metric : {"r2", "accuracy"}
    covariates : sequence of str
        What stands beside every embedding.
    """
    asked = comparisons[~comparisons["contender"].isin(COORDINATES)]
    if asked.empty:
        return ["Nothing can be said yet: no embedding was scored."]
    near = distances.sort_values(kind="stable").index
    rungs = [rung for rung in near if rung in set(asked["rung"])]
    found = [_outcome(scores, comparisons, rung, distances[rung], metric) for rung in rungs]
    said = [_answer(found), *(_figures(each, metric) for each in found)]
    if covariates:
        said.append(
            f"Beside every embedding, and beside coordinates, stand {', '.join(covariates)}; "
            "interpolation knows nothing of them."
        )
    return [*said, _certainty(asked, metric)]


@dataclass(frozen=True)
class _Outcome:
    """What one rung shows: `kind` is one of `KINDS`."""

    kind: str
    rung: str
    name: str
    km: float
    score: float
    interpolation: float
    coordinates: float
    difference: float
    low: float
    high: float


def _outcome(
    scores: pd.DataFrame, comparisons: pd.DataFrame, rung: str, km: float, metric: str
) -> _Outcome:
    here = scores[scores["rung"] == rung]
    table = here.pivot(index=["seed", "fold"], columns="contender", values=metric)
    means = table.mean()
    rivals = comparisons[comparisons["rung"] == rung].set_index("contender")
    embeddings = [name for name in rivals.index if name not in COORDINATES]
    best = str(means[embeddings].idxmax())
    row = rivals.loc[best]
    told_apart = bool(row["p_holm"] < 1.0 - LEVEL)
    if not _skilled(here, table, metric):
        kind = "nothing"
    elif told_apart and not row["low"] <= 0 <= row["high"]:
        kind = "better" if row["difference"] > 0 else "worse"
    else:
        kind = "ahead" if row["difference"] >= EVEN else "level"
    return _Outcome(
        kind,
        rung,
        best,
        km,
        float(means[best]),
        float(means[str(row["against"])]),
        float(means[[name for name in COORDINATES if name in means]].max()),
        float(row["difference"]),
        float(row["low"]),
        float(row["high"]),
    )


def _skilled(here: pd.DataFrame, table: pd.DataFrame, metric: str) -> bool:
    """Tell whether the best contender of a rung is clearly better than a constant guess."""
    top = str(table.mean().drop("constant").idxmax())
    share = float((here["test_places"] / here["train_places"]).mean())
    above = (table[top] - table["constant"]).dropna().to_numpy()
    # R² is against the mean of the tested places themselves, the best of constants.
    known = metric == "r2" and mean_score(here[here["contender"] == top], metric)[1] > 0.0
    return known or paired(above, share)[1] > 0.0


def _answer(found: Sequence[_Outcome]) -> str:
    """Answer the question itself, in one sentence."""
    kinds = [each.kind for each in found]
    better = [each for each in found if each.kind == "better"]
    ahead = [each for each in found if each.kind == "ahead"]
    everywhere = _where(found, found)
    if not better:
        if all(kind == "nothing" for kind in kinds):
            return f"No: nothing predicts this better than a constant guess, {everywhere}."
        if ahead == list(found):
            return f"Perhaps: {_names(found)} is ahead of interpolation {everywhere}, not proven."
        if not ahead:
            alone = all(each.coordinates > each.interpolation for each in found)
            more = "; a model of coordinates alone scores higher than both" if alone else ""
            return f"No: interpolation is as good as any embedding, or better, {everywhere}{more}."
        return (
            f"Not clearly: an embedding is ahead of interpolation {_where(ahead, found)}, but that "
            f"is not proven; at {len(found) - len(ahead)} it is not ahead."
        )
    where = _where(better, found)
    if _coordinates_suffice(better):
        return (
            f"Yes, but no embedding is needed: {_names(better)} beats interpolation, and "
            f"coordinates in the place of the embedding do as well, {where}."
        )
    if better == list(found):
        return f"Yes: {_names(better)} predicts better than interpolation {where}."
    unproven = f"; at {len(ahead)} it is ahead, but that is not proven" if ahead else ""
    without = len(found) - len(better) - len(ahead)
    rest = f"; at {without} it does not help" if without else ""
    return (
        f"Depends on distance: {_names(better)} predicts better than interpolation {where}"
        f"{unproven}{rest}."
    )


def _figures(each: _Outcome, metric: str) -> str:
    """Give the figures of one rung: how far, both scores, the difference."""
    unit = "R²" if metric == "r2" else "accuracy"
    alone = ""
    if each.kind in ("better", "ahead") and _coordinates_suffice([each]):
        alone = "; coordinates in the place of the embedding reach that too"
    elif each.kind in ("level", "worse") and each.coordinates > each.interpolation:
        alone = f"; {_score(each.coordinates, metric)} by coordinates alone"
    return (
        f"{words_km(each.km)} to the nearest known value ({_held_out(each.rung)}), "
        f"{KINDS[each.kind]}: {unit} "
        f"{_score(each.score, metric)} by {each.name}, {_score(each.interpolation, metric)} by "
        f"interpolation; a difference of {_signed(each.difference, each.low, each.high, metric)}"
        f"{alone}."
    )


def _certainty(asked: pd.DataFrame, metric: str) -> str:
    meaning = (
        "R² is the share of the variation that is predicted: 1 is all of it, 0 no better than "
        "their mean."
        if metric == "r2"
        else "Accuracy is the share of places whose class is named right."
    )
    few, many = asked["folds"].min(), asked["folds"].max()
    folds = f"{few:g}" if few == many else f"{few:g} to {many:g}"
    place = ""
    if asked["contender"].str.endswith(PLACE).any():
        place = f" “{PLACE.strip()}” joins an embedding with where the place is."
    return (
        f"In brackets: 95 % intervals over {folds} folds, parts of the places that the rest "
        f"predict. Of the {len(asked)} comparisons some look good by luck alone; significant is "
        f"what passes p < {1 - LEVEL:.2f} after Holm's correction for all of them, which an "
        f"interval above 0 may not.{place} {meaning} Other distances were not tested."
    )


def _coordinates_suffice(rows: Sequence[_Outcome]) -> bool:
    """Tell whether coordinates score as high on average over some rungs."""
    return bool(np.mean([row.coordinates - row.score for row in rows]) >= 0.0)


def _names(rows: Sequence[_Outcome]) -> str:
    """Name what is best, where an embedding with and without the place takes turns only once."""
    names = dict.fromkeys(row.name for row in rows)
    if len(names) > 1:
        names = dict.fromkeys(name.removesuffix(PLACE) for name in names)
    return " or ".join(names)


def _held_out(rung: str) -> str:
    """Say what is held out on a rung, by its name."""
    known = {"random": "places at random", "region": "continents"}
    return f"cells of {rung}" if rung.endswith("°") else known.get(rung, rung)


def _where(rows: Sequence[_Outcome], found: Sequence[_Outcome]) -> str:
    """Count the distances of some rungs; those of two rungs may be the same when rounded."""
    at = [number for number, each in enumerate(found) if each in rows]
    near, far = (words_km(found[number].km) for number in (at[0], at[-1]))
    together = at[-1] - at[0] < len(at)
    span = f"{near} to {far}" if together else f"some between {near} and {far}"
    span = near if near == far else span
    if len(rows) == len(found):
        return f"at every distance that was tested ({span} to a known value)"
    return (
        f"at {len(rows)} of the {len(found)} distances that were tested ({span} to a known value)"
    )


def words_km(km: float) -> str:
    """Write a distance with two digits that count."""
    if km < 0.95:
        return f"{float(f'{1000.0 * km:.2g}'):g} m" if km >= 0.001 else "0 km"
    digits = max(0, 1 - int(np.floor(np.log10(km))))
    rounded = round(km, 1 - int(np.floor(np.log10(km))))
    return f"{rounded:,.{digits}f} km"


def _signed(value: float, low: float, high: float, metric: str) -> str:
    if metric == "accuracy":
        return f"{100 * value:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"
    return f"{value:+.2f} ({low:+.2f} to {high:+.2f})"


def _score(value: float, metric: str) -> str:
    return f"{100.0 * value:.0f} %" if metric == "accuracy" else f"{value:.2f}"

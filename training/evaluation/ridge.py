"""Ridge regression over folds: sums over rows once, then one decomposition for every penalty."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Self

import numpy as np
from numpy.typing import NDArray

from training.tasks.splits import shuffled

PENALTIES = tuple(10.0 ** (k / 2) for k in range(-4, 13))
"""Penalties that are tried, of standardized features."""

GROWTHS = (1.0, 10.0, 100.0)
"""How much more each chunk of nested features may be penalized than the one before."""

SKETCH = 32
"""Columns that stand for the classes while a penalty is chosen."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Sums over some rows: all that ridge regression needs to know of them.

    Parameters
    ----------
    count : float
        n.
    x, y : numpy.ndarray, shapes (D,) and (C,)
        Sums of features and of targets.
    xx, xy : numpy.ndarray, shapes (D, D) and (D, C)
        Sums of products.
    yy : float
        Sum of the squares of all targets.
    """

    count: float
    x: Array
    y: Array
    xx: Array
    xy: Array
    yy: float

    @classmethod
    def of(cls, x: Array, y: Array) -> Self:
        """Sum over the rows of x (n, D) and y (n, C)."""
        return cls(len(x), x.sum(0), y.sum(0), x.T @ x, x.T @ y, float(np.square(y).sum()))

    def __add__(self, other: Moments) -> Moments:
        return self._with(other, 1.0)

    def __sub__(self, other: Moments) -> Moments:
        return self._with(other, -1.0)

    def _with(self, other: Moments, sign: float) -> Moments:
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Moments(*(mine + sign * theirs for mine, theirs in pairs))


@dataclass(frozen=True)
class Weights:
    """Linear maps from features to targets, one for each setting.

    Parameters
    ----------
    weight : numpy.ndarray, shape (P, D, C)
    bias : numpy.ndarray, shape (P, C)
    """

    weight: Array
    bias: Array

    def squared_error(self, rows: Moments) -> Array:
        """Return the sum of squared errors over the rows behind some moments, shape (P,)."""
        fitted = np.einsum("pdc,pdc->p", self.weight, rows.xx @ self.weight)
        fitted += 2.0 * np.einsum("pc,pc->p", self.bias, rows.x @ self.weight)
        fitted += rows.count * np.square(self.bias).sum(1)
        crossed = np.einsum("pdc,dc->p", self.weight, rows.xy) + self.bias @ rows.y
        return rows.yy - 2.0 * crossed + fitted

    def predict(self, x: Array, setting: int = 0) -> Array:
        """Predict from features (n, D), shape (n, C)."""
        return x @ self.weight[setting] + self.bias[setting]


def chunks_of(width: int, prefixes: Sequence[int]) -> NDArray[np.int64]:
    """Number the chunk of each of `width` features, shape (D,): which prefix it is new in."""
    return np.searchsorted(np.asarray(prefixes, dtype=np.int64), np.arange(width), side="right")


def solve(
    rows: Moments, penalties: Sequence[float] = PENALTIES, chunk: NDArray[np.int64] | None = None
) -> Weights:
    """Fit ridge regression, with an intercept that is not penalized, for every penalty.

    Features are standardized on the rows behind the moments.

    Parameters
    ----------
    rows : Moments
        Of the training rows.
    penalties : sequence of float
        Added to the diagonal of the standardized XᵀX, as scikit-learn's alpha.
    chunk : numpy.ndarray, shape (D,), optional
        Of each feature; where given, settings are all pairs of a growth in `GROWTHS` and a
        penalty, and chunk k is penalized growth**k times as much.

    Returns
    -------
    Weights
        P settings, in the order of growths, then penalties.

    References
    ----------
    Hoerl & Kennard (1970), "Ridge regression", Technometrics 12(1).
    """
    x_mean, y_mean = rows.x / rows.count, rows.y / rows.count
    gram = rows.xx - rows.count * np.outer(x_mean, x_mean)
    crossed = rows.xy - rows.count * np.outer(x_mean, y_mean)
    spread = np.sqrt(np.clip(gram.diagonal() / rows.count, 0.0, None))
    scale = np.where(spread > 1e-6 * (1.0 + np.abs(x_mean)), spread, np.inf)
    weights = []
    for growth in GROWTHS if chunk is not None else (1.0,):
        unit = scale if chunk is None else scale * growth ** (chunk / 2.0)
        values, basis = np.linalg.eigh(gram / np.outer(unit, unit))
        turned = basis.T @ (crossed / unit[:, None])
        shrunk = np.clip(values, 0.0, None)[None] + np.asarray(penalties)[:, None]
        weights.append((basis @ (turned[None] / shrunk[..., None])) / unit[None, :, None])
    weight = np.concatenate(weights)
    return Weights(weight, y_mean - x_mean @ weight)


class RidgeFolds:
    """Ridge regression over the folds of one seed.

    The penalty of a fold is chosen by the other folds, each predicted in turn without itself: as
    far from its labels as the tested fold is, and never with a look at that.

    Parameters
    ----------
    x : numpy.ndarray, shape (N, D)
        Features.
    y : numpy.ndarray, shape (N, C)
        Targets.
    penalties : sequence of float
        Those to choose from.
    chunk : numpy.ndarray, shape (D,), optional
        See `solve`.
    """

    def __init__(
        self,
        x: Array,
        y: Array,
        penalties: Sequence[float] = PENALTIES,
        chunk: NDArray[np.int64] | None = None,
    ) -> None:
        self.x = np.asarray(x, dtype=np.float64)
        # Sums of squares lose digits where features or targets are far from zero.
        self.x_mean = self.x.mean(0)
        self.x = self.x - self.x_mean
        self.y_mean = y.mean(0)
        y = y - self.y_mean
        self.y, self.penalties, self.chunk = y, penalties, chunk
        signs = np.random.default_rng(0).choice((-1.0, 1.0), (y.shape[1], SKETCH))
        self.sketch = y @ signs if y.shape[1] > SKETCH else None
        self.total = Moments.of(self.x, self.y)

    def scores(
        self, tests: Sequence[NDArray[np.int64]], trains: Sequence[NDArray[np.int64]]
    ) -> Iterator[Array]:
        """Predict the test rows of each fold from its training rows, shapes (T, C)."""
        chosen = self._choose(tests, trains)
        for test, weights, setting in zip(tests, self.weights(trains), chosen, strict=True):
            yield weights.predict(self.x[test], setting)

    def weights(self, trains: Sequence[NDArray[np.int64]]) -> Iterator[Weights]:
        """Fit the training rows of each fold with every setting, for centered features `x`."""
        everyone = np.arange(len(self.x))
        for train in trains:
            aside = np.setdiff1d(everyone, train, assume_unique=True)
            fitted = solve(self.total - self._sum(aside), self.penalties, self.chunk)
            yield Weights(fitted.weight, fitted.bias + self.y_mean)

    def fit_all(self, tests: Sequence[NDArray[np.int64]]) -> tuple[Weights, float]:
        """Fit all rows with the setting that is best over all folds.

        Returns
        -------
        weights : Weights
            One setting, for features as they are given.
        penalty : float
            That of the first chunk.
        """
        everyone = np.arange(len(self.x))
        trains = [np.setdiff1d(everyone, test) for test in tests]
        y = self.y if self.sketch is None else self.sketch
        error = sum(
            solve(Moments.of(self.x[train], y[train]), self.penalties, self.chunk).squared_error(
                Moments.of(self.x[test], y[test])
            )
            for test, train in zip(tests, trains, strict=True)
        )
        best = int(np.argmin(error))
        fitted = solve(self.total, self.penalties, self.chunk)
        weight, bias = fitted.weight[best : best + 1], fitted.bias[best : best + 1]
        penalty = self.penalties[best % len(self.penalties)]
        return Weights(weight, bias + self.y_mean - self.x_mean @ weight), penalty

    def _sum(self, rows: NDArray[np.int64]) -> Moments:
        return Moments.of(self.x[rows], self.y[rows])

    def _choose(
        self, tests: Sequence[NDArray[np.int64]], trains: Sequence[NDArray[np.int64]]
    ) -> list[int]:
        """Return the best setting of each fold, judged by all the others."""
        if len(self.penalties) == 1 and self.chunk is None:
            return [0] * len(tests)
        y = self.y if self.sketch is None else self.sketch
        if len(tests) < 3:
            return [self._halves(train, y) for train in trains]
        everyone = np.arange(len(y))
        aside = [np.setdiff1d(everyone, train, assume_unique=True) for train in trains]
        total = self.total if self.sketch is None else Moments.of(self.x, y)
        judged = [Moments.of(self.x[test], y[test]) for test in tests]
        plain = all(len(test) == len(rows) for test, rows in zip(tests, aside, strict=True))
        settings = len(self.penalties) * (1 if self.chunk is None else len(GROWTHS))
        error = np.zeros((len(tests), settings))
        for first, second in combinations(range(len(tests)), 2):
            if plain:
                left_out = judged[first] + judged[second]
            else:
                rows = np.union1d(aside[first], aside[second])
                left_out = Moments.of(self.x[rows], y[rows])
            if total.count - left_out.count < 2:
                continue
            fitted = solve(total - left_out, self.penalties, self.chunk)
            error[first] += fitted.squared_error(judged[second])
            error[second] += fitted.squared_error(judged[first])
        return [int(each) for each in error.argmin(1)]

    def _halves(self, train: NDArray[np.int64], y: Array) -> int:
        """Choose a setting where there is no third fold to judge it: half of the rows by half."""
        train = train[shuffled(len(train), 0)]
        first, second = (Moments.of(self.x[half], y[half]) for half in (train[::2], train[1::2]))
        error = solve(first, self.penalties, self.chunk).squared_error(second)
        error += solve(second, self.penalties, self.chunk).squared_error(first)
        return int(error.argmin())

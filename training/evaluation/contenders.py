"""What is compared: models on embeddings, embedding and place together, and interpolation alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from satclip_explore.geo import unit_vectors
from training.evaluation.ridge import PENALTIES, RidgeFolds, chunks_of
from training.evaluation.verdict import PLACE
from training.probes.data import TrainingData
from training.probes.kriging import KrigingProbe
from training.tasks.distances import nearest_km, nearest_places
from training.tasks.folds import Rung
from training.tasks.splits import shuffled

Array = NDArray[np.float64]

Predictor = Callable[[NDArray[Any], Array], Array]
"""Given features (Q, D) and lonlat (Q, 2), returns scores (Q, C): of classes, or the value."""

IDW_NEIGHBORS = 50
"""As in CoordBench."""

TIE = 1e-9
"""How much the shares of classes weigh against labels nearby: only classes that none of these
names, and that would all be alike otherwise, are told apart by it."""

KRIGING_VALID = 128
"""Labels on which it chooses its settings."""

KRIGING_QUERY = 1024
"""Places that it predicts at once."""


@dataclass(frozen=True, eq=False)
class Labels:
    """What a contender may learn from.

    Parameters
    ----------
    lonlat : numpy.ndarray, shape (N, 2)
        Degrees.
    target : numpy.ndarray, shape (N,)
        Class codes (int64), or values (float64).
    n_classes : int
        0 for values.
    features : numpy.ndarray, shape (N, D)
        Embeddings, and what else is known of the places; D is 0 for interpolation.
    groups : numpy.ndarray, shape (N,), int64
        What stays together.
    prefixes : tuple of int
        Lengths at which the first features stand for all, as in Matryoshka embeddings.
    """

    lonlat: Array
    target: NDArray[Any]
    n_classes: int
    features: NDArray[Any]
    groups: NDArray[np.int64]
    prefixes: tuple[int, ...] = ()

    @property
    def columns(self) -> Array:
        """The target as numbers, shape (N, C): one column for each class, or one of values."""
        if not self.n_classes:
            return np.asarray(self.target, dtype=np.float64)[:, None]
        return np.eye(self.n_classes)[self.target]


class Model(ABC):
    """One way to predict from labels; a new one is a class and a line in `MODELS`.

    Attributes
    ----------
    kind : str
        Its name in `evaluate(models=…)`.
    suffix : str
        What it adds to the name of an encoder.
    seeds : int, optional
        How many draws of the folds it is given, at most: slow ones get fewer.
    """

    kind: ClassVar[str]
    suffix: ClassVar[str] = ""
    seeds: ClassVar[int | None] = None

    @abstractmethod
    def fit(self, labels: Labels, rows: NDArray[np.int64], gap_km: float) -> Predictor:
        """Learn from some rows, to predict places about `gap_km` from the nearest of them."""

    def out_of_fold(self, labels: Labels, rung: Rung) -> Iterator[tuple[int, int, Array]]:
        """Predict every place by labels of other folds: yields seed, fold, scores (T, C)."""
        for seed, fold, split in rung.splits(self.seeds):
            gap = nearest_km(labels.lonlat[split.test], labels.lonlat[split.train])
            predict = self.fit(labels, split.train, float(np.median(gap)))
            yield seed, fold, predict(labels.features[split.test], labels.lonlat[split.test])

    def fit_all(self, labels: Labels, rung: Rung, gap_km: float) -> Predictor:
        """Learn from all labels, to predict places as far from them as those of a rung."""
        del rung
        return self.fit(labels, np.arange(len(labels.target)), gap_km)


class Constant(Model):
    """The mean of the labels, or their most frequent class: what knowing nothing gives."""

    kind = "constant"

    def fit(self, labels: Labels, rows: NDArray[np.int64], gap_km: float) -> Predictor:
        """Average the labels; see `Model.fit`."""
        del gap_km
        mean = labels.columns[rows].mean(0)
        return lambda features, lonlat: np.tile(mean, (len(lonlat), 1))


@dataclass(frozen=True)
class InverseDistance(Model):
    """The labels of the nearest places, weighted by inverse great-circle distance.

    References
    ----------
    Shepard (1968), "A two-dimensional interpolation function for irregularly-spaced data".
    """

    n_neighbors: int = IDW_NEIGHBORS
    kind = "idw"

    def fit(self, labels: Labels, rows: NDArray[np.int64], gap_km: float) -> Predictor:
        """Keep the labels; see `Model.fit`."""
        del gap_km
        near, values = labels.lonlat[rows], labels.columns[rows]
        count = min(self.n_neighbors, len(rows))
        likely = TIE * values.mean(0) if labels.n_classes else 0.0

        def predict(features: NDArray[Any], lonlat: Array) -> Array:
            del features
            km, found = nearest_places(lonlat, near, count)
            with np.errstate(divide="ignore"):
                weight = 1.0 / km
            # Labels at the very place count, and no others.
            at_place = np.isinf(weight)
            weight = np.where(at_place.any(1, keepdims=True), at_place, weight)
            weight /= weight.sum(1, keepdims=True)
            return np.einsum("qk,qkc->qc", weight, values[found]) + likely

        return predict


class Nearest(InverseDistance):
    """The label of the nearest place."""

    kind = "nearest"

    def __init__(self) -> None:
        super().__init__(1)


class Ridge(Model):
    """Ridge regression, in closed form over all folds; for classes, of one column for each."""

    kind = "ridge"

    def __init__(self, penalties: Sequence[float] = PENALTIES) -> None:
        self.penalties = penalties

    def _folds(self, labels: Labels) -> RidgeFolds:
        width = labels.features.shape[1]
        inner = [end for end in labels.prefixes if end < width]
        chunk = chunks_of(width, inner) if inner else None
        return RidgeFolds(labels.features, labels.columns, self.penalties, chunk)

    def fit(self, labels: Labels, rows: NDArray[np.int64], gap_km: float) -> Predictor:
        """Fit some rows, the penalty chosen by fifths of them; see `Model.fit`."""
        del gap_km
        part = Labels(labels.lonlat[rows], labels.target[rows], labels.n_classes,
                      labels.features[rows], labels.groups[rows], labels.prefixes)  # fmt: skip
        fifths = shuffled(len(rows), 0) % 5
        weights, _ = self._folds(part).fit_all(
            [np.flatnonzero(fifths == fifth) for fifth in range(5)]
        )
        return lambda features, lonlat: weights.predict(np.asarray(features, dtype=np.float64))

    def out_of_fold(self, labels: Labels, rung: Rung) -> Iterator[tuple[int, int, Array]]:
        """Predict all folds from sums over rows; see `Model.out_of_fold`."""
        folds = self._folds(labels)
        for seed in range(rung.n_seeds):
            splits = [rung.split(seed, fold) for fold in range(rung.n_folds)]
            scores = folds.scores(
                [split.test for split in splits], [split.train for split in splits]
            )
            yield from ((seed, fold, each) for fold, each in enumerate(scores))

    def fit_all(self, labels: Labels, rung: Rung, gap_km: float) -> Predictor:
        """Fit all labels, the penalty chosen over the folds of a rung; see `Model.fit_all`."""
        del gap_km
        tests = [rung.split(0, fold).test for fold in range(rung.n_folds)]
        weights, _ = self._folds(labels).fit_all(tests)
        return lambda features, lonlat: weights.predict(np.asarray(features, dtype=np.float64))


class Kriging(Model):
    """A Gaussian process on place and embedding: near a label it interpolates, far it reads.

    Each place solves for the weights of 64 labels near it in either space, so that the cost is
    bounded; see `training.probes.kriging`.
    """

    kind = "kriging"
    suffix = PLACE
    seeds = 2

    def fit(self, labels: Labels, rows: NDArray[np.int64], gap_km: float) -> Predictor:
        """Choose both kernels on labels that are hidden as far as the test is; see `Model.fit`."""
        target, mean, scale = labels.target[rows], 0.0, 1.0
        if not labels.n_classes:
            mean, scale = float(target.mean()), float(target.std()) or 1.0
            target = ((target - mean) / scale).astype(np.float32)
        _, group = np.unique(labels.groups[rows], return_inverse=True)
        n_groups = int(group.max()) + 1
        n_valid = min(KRIGING_VALID, max(2, n_groups // 10), n_groups - 1)
        data = TrainingData(
            torch.from_numpy(np.asarray(labels.features[rows], dtype=np.float32)),
            torch.from_numpy(unit_vectors(labels.lonlat[rows])).float(),
            torch.from_numpy(target),
            labels.n_classes,
            torch.from_numpy(np.isin(group, shuffled(n_groups, 1)[:n_valid])),
            gap_km,
        )
        probe = KrigingProbe.fit(data, (0,))

        def predict(features: NDArray[Any], lonlat: Array) -> Array:
            places = torch.from_numpy(unit_vectors(lonlat)).float()
            known = torch.from_numpy(np.asarray(features, dtype=np.float32))
            parts = [
                probe.scores(part, place)[0]
                for part, place in zip(
                    known.split(KRIGING_QUERY), places.split(KRIGING_QUERY), strict=True
                )
            ]
            return torch.cat(parts).double().numpy() * scale + mean

        return predict


class Logistic(Model):
    """scikit-learn's multinomial logistic regression, on standardized features."""

    kind = "logistic"
    suffix = " (logistic)"
    seeds = 1

    def fit(self, labels: Labels, rows: NDArray[np.int64], gap_km: float) -> Predictor:
        """Fit with a penalty of 1; see `Model.fit`."""
        del gap_km
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        if not labels.n_classes:
            raise ValueError("logistic regression predicts classes; for values use ridge.")
        return _by_class(
            make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)), labels, rows
        )


class Boosting(Model):
    """scikit-learn's gradient boosting of trees, on embedding and covariates."""

    kind = "boosting"
    suffix = " (boosting)"
    seeds = 1

    def fit(self, labels: Labels, rows: NDArray[np.int64], gap_km: float) -> Predictor:
        """Fit trees; see `Model.fit`."""
        del gap_km
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        # Stopping early would judge by neighbors, and cannot part a class of one place.
        settings = {"random_state": 0, "early_stopping": False}
        if labels.n_classes:
            return _by_class(HistGradientBoostingClassifier(**settings), labels, rows)
        fitted = HistGradientBoostingRegressor(**settings)
        fitted.fit(labels.features[rows], labels.target[rows])
        return lambda features, lonlat: np.asarray(fitted.predict(features))[:, None]


def _by_class(model: Any, labels: Labels, rows: NDArray[np.int64]) -> Predictor:
    """Fit a classifier; classes without a training place have a column too, with a chance of 0."""
    target = labels.target[rows]
    if (target == target[0]).all():
        # scikit-learn refuses one class, or forgets its column.
        return Constant().fit(labels, rows, 0.0)
    fitted = model.fit(labels.features[rows], target)

    def predict(features: NDArray[Any], lonlat: Array) -> Array:
        del lonlat
        scores = np.zeros((len(features), labels.n_classes))
        scores[:, fitted.classes_] = fitted.predict_proba(features)
        return scores

    return predict


MODELS: Mapping[str, type[Model]] = MappingProxyType(
    {
        model.kind: model
        for model in (Ridge, Kriging, Logistic, Boosting, InverseDistance, Nearest, Constant)
    }
)
"""Models by `kind`. A new one is a line here."""

ON_EMBEDDINGS = ("ridge", "kriging", "logistic", "boosting")
"""What `evaluate(models=…)` takes; the others say nothing of an embedding."""


@dataclass(frozen=True, eq=False)
class Contender:
    """A model, and the features that it is given.

    Parameters
    ----------
    name : str
        As shown to people.
    model : Model
    encoder : LocationEncoder, optional
        Where its features come from; None for interpolation.
    """

    name: str
    model: Model
    encoder: Any = None

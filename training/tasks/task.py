"""Labeled places: what a probe is asked to predict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satclip_explore.areas import Areas
from satclip_explore.geo import as_lonlat, codes_by_appearance, place_codes, unit_vectors
from satclip_explore.html_view import facts_table

COUNTS = "counts"
"""Kind of a task whose targets are counts: of animals, of cases, of events."""

KINDS = ("classification", "regression", COUNTS)

PRESENCE = "presence"
"""Kind of a task of presences beside background places; see `training.tasks.presence`."""

MIN_PLACES = 10
"""Fewer labeled places than this cannot be split into training, validation and test."""


LARGEST_COUNT = 1e12
"""Larger whole numbers are no counts."""

LARGEST_VALUE, LEAST_SPREAD, LEAST_RELATIVE_SPREAD = 1e250, 1e-250, 1e-12
"""Beyond these, predictions of a target leave float64, or lose their digits in it."""


def check_spread(values: NDArray[np.float64], name: str) -> None:
    """Refuse values (N,) that float64 cannot standardize.

    Raises
    ------
    ValueError
        If the largest is too large, or they are too much alike.
    """
    largest = float(np.abs(values).max())
    if largest > LARGEST_VALUE:
        raise ValueError(
            f"{name} must lie within ±{LARGEST_VALUE:g}; got {largest:.3g}: use a larger unit."
        )
    spread = float(np.ptp(values))
    if spread < max(LEAST_SPREAD, LEAST_RELATIVE_SPREAD * largest):
        raise ValueError(
            f"{name} must differ by more than {LEAST_SPREAD:g}, and {LEAST_RELATIVE_SPREAD:g} of "
            f"the largest; got {spread:.3g} around {values.mean():.6g}: subtract what they share, "
            "or use a smaller unit."
        )


def check_counts(values: NDArray[Any], name: str) -> None:
    """Refuse what is no count.

    Raises
    ------
    ValueError
        If one of the values (N,) is below 0, no whole number, or too large.
    """
    odd = (values < 0) | (values != np.round(values)) | (values > LARGEST_COUNT)
    if odd.any():
        raise ValueError(
            f"counts must be whole numbers from 0 to {LARGEST_COUNT:g}; {name!r} holds "
            f"{values[odd][0]:g}: use kind='regression' for other numbers."
        )


@dataclass(frozen=True, eq=False, repr=False)
class Task:
    """Labeled places.

    Parameters
    ----------
    name : str
        As shown to people.
    kind : {"classification", "regression", "counts"}
        What the target is.
    lonlat : numpy.ndarray, shape (N, 2)
        Degrees, longitude first.
    target : numpy.ndarray, shape (N,)
        Class codes (int64) for classification, else values or counts (float64) in `unit`.
    classes : tuple of str
        Name of each class code; empty for values and counts.
    unit : str
        Of values.
    source, license : str
        Where the labels come from and who may use them.
    dropped : mapping of str to int
        How many rows of the table were left out, by reason.
    areas : Areas, optional
        Places inside polygons, whose mean embedding stands for each; `lonlat` is a point inside.
    image_features : numpy.ndarray, shape (N, F), optional
        Features of an image taken at each place, or covariates, joined to its embedding; NaN is a
        gap.
    groups : numpy.ndarray, shape (N,), int64, optional
        Rows with the same number stay together, in training or in test; as years at one place.
        Default: the rows of each place.
    weights : numpy.ndarray, shape (N,), float64, optional
        How much each row counts, above 0, while a probe learns; scores count all rows alike.
    covariates : tuple of str
        Names of columns of `image_features` that came from a table: predictions ask for them.
    published_test : numpy.ndarray, shape (N,), bool, optional
        The rows that whoever published the task tests on.

    Raises
    ------
    ValueError
        If shapes disagree, there are fewer than ten places, or all targets are the same.
    """

    name: str
    kind: str
    lonlat: NDArray[np.float64]
    target: NDArray[Any]
    classes: tuple[str, ...] = ()
    unit: str = ""
    source: str = ""
    license: str = ""
    dropped: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    image_features: NDArray[np.float32] | None = None
    groups: NDArray[np.int64] | None = None
    weights: NDArray[np.float64] | None = None
    covariates: tuple[str, ...] = ()
    published_test: NDArray[np.bool_] | None = None
    areas: Areas | None = None

    def __post_init__(self) -> None:
        if self.kind not in (*KINDS, PRESENCE):
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {self.kind!r}.")
        object.__setattr__(self, "lonlat", as_lonlat(self.lonlat))
        dtype = np.int64 if self.is_classification else np.float64
        target = np.asarray(self.target)
        if target.shape != (len(self.lonlat),):
            raise ValueError(
                f"a task needs one target per place; got {target.shape} for "
                f"{len(self.lonlat):,} places."
            )
        if len(target) < MIN_PLACES:
            raise ValueError(
                f"a task needs at least {MIN_PLACES} labeled places; got {len(target)}"
                f"{self._dropped_text()}."
            )
        if not np.isfinite(target).all():
            raise ValueError(f"targets must be finite; {self.name!r} holds values that are not.")
        if (target == target[0]).all():
            content, way_on = "one value", ""
            if self.is_classification:
                content = "one class"
                way_on = (
                    "presences alone go beside background places with kind='presence', or add "
                    "places of absence, or "
                )
            raise ValueError(
                f"nothing to learn: all {len(target):,} places have {content}; {way_on}choose "
                "another target."
            )
        if not self.is_classification:
            check_spread(target.astype(np.float64), f"the targets of {self.name!r}")
        if self.is_counts:
            check_counts(target, self.name)
        if self.is_classification and not 0 <= target.min() <= target.max() < len(self.classes):
            raise ValueError(f"class codes must lie in 0 … {len(self.classes) - 1}.")
        features = self.image_features
        if features is not None and (features.ndim != 2 or len(features) != len(target)):
            raise ValueError(
                f"image_features must have shape ({len(target)}, F); got {features.shape}."
            )
        if self.groups is not None:
            self._check_groups(np.asarray(self.groups))
        if self.areas is not None and len(self.areas.counts) != len(target):
            raise ValueError(f"areas must be those of {len(target)} polygons.")
        if self.weights is not None:
            self._check_weights(np.asarray(self.weights, dtype=np.float64))
        test = self.published_test
        if test is not None and (test.shape != target.shape or test.dtype != np.bool_):
            raise ValueError(
                f"published_test must be bool, of shape ({len(target)},); got {test.dtype} of "
                f"{test.shape}."
            )
        object.__setattr__(self, "target", target.astype(dtype))

    def _check_weights(self, weights: NDArray[np.float64]) -> None:
        if weights.shape != (len(self.lonlat),):
            raise ValueError(f"weights must have shape ({len(self.lonlat)},); got {weights.shape}.")
        odd = ~(np.isfinite(weights) & (weights > 0.0))
        if odd.any():
            raise ValueError(
                f"weights must be finite and above 0; got {weights[odd][0]:g} in {odd.sum():,} "
                "rows: leave out rows that are not to count."
            )
        object.__setattr__(self, "weights", weights)

    def _check_groups(self, groups: NDArray[Any]) -> None:
        if groups.shape != (len(self.lonlat),):
            raise ValueError(f"groups must have shape ({len(self.lonlat)},); got {groups.shape}.")
        places = place_codes(unit_vectors(self.lonlat))
        _, first = np.unique(places, return_index=True)
        apart = groups != groups[first][places]
        if apart.any():
            lon, lat = self.lonlat[apart][0]
            raise ValueError(
                f"rows at ({lon:g}, {lat:g}) lie in several groups, and would be in training and "
                "in test; group by something that keeps a place whole."
            )

    @property
    def is_classification(self) -> bool:
        """Whether the target is a class."""
        return self.kind in ("classification", PRESENCE)

    @property
    def is_counts(self) -> bool:
        """Whether the target is a count, whose rate is predicted."""
        return self.kind == COUNTS

    @property
    def is_presence(self) -> bool:
        """Whether the classes are background, 0, and presence, 1."""
        return self.kind == PRESENCE

    def __len__(self) -> int:
        return len(self.target)

    @cached_property
    def group_codes(self) -> NDArray[np.int64]:
        """Number what stays together, from 0, in order of first appearance, shape (N,)."""
        if self.groups is None:
            return place_codes(unit_vectors(self.lonlat))
        return codes_by_appearance(np.asarray(self.groups))

    def subset(self, rows: NDArray[Any]) -> Task:
        """Keep some rows (indices or a mask); class codes stay as they are."""
        features = None if self.image_features is None else self.image_features[rows]
        return replace(
            self,
            lonlat=self.lonlat[rows],
            target=self.target[rows],
            image_features=features,
            groups=None if self.groups is None else self.groups[rows],
            weights=None if self.weights is None else self.weights[rows],
            published_test=None if self.published_test is None else self.published_test[rows],
            areas=None if self.areas is None else self.areas.subset(rows),
        )

    @property
    def has_gaps(self) -> NDArray[np.bool_]:
        """Where something that joins the embedding is missing, shape (N,)."""
        if self.image_features is None:
            return np.zeros(len(self), dtype=bool)
        return np.asarray(np.isnan(self.image_features).any(axis=1))

    def frame(self) -> pd.DataFrame:
        """Return the places as a table: lon, lat, target (class names or values)."""
        target = np.array(self.classes)[self.target] if self.is_classification else self.target
        return pd.DataFrame({"lon": self.lonlat[:, 0], "lat": self.lonlat[:, 1], "target": target})

    def _dropped_text(self) -> str:
        if not self.dropped:
            return ""
        return " after leaving out " + ", ".join(
            f"{n:,} ({why})" for why, n in self.dropped.items()
        )

    def _summary(self) -> str:
        if self.is_classification:
            return f"{len(self.classes)} classes"
        return f"{self.target.min():.4g} to {self.target.max():.4g} {self.unit}".strip()

    def __repr__(self) -> str:
        return f"Task({self.name!r}, {self.kind}, {len(self):,} places, {self._summary()})"

    def _repr_html_(self) -> str:
        rows = {
            "kind": self.kind,
            "places": f"{len(self):,}",
            "target": self._summary(),
            "polygons": "" if self.areas is None else self.areas.summary(),
            "left out": self._dropped_text().removeprefix(" after leaving out "),
            "source": self.source,
            "license": self.license,
        }
        return facts_table(self.name, rows)

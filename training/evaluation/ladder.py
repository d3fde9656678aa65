"""`Ladder`: what `evaluate` found, from places beside the labels to places far from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from satclip_explore.atlas import land_mask
from satclip_explore.checks import known_keywords, whole_number
from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.fields import view
from satclip_explore.geo import GLOBE, Bounds, Grid
from training.evaluation.cells import Cell, kilometers, labels_of, score_cells
from training.evaluation.conformal import checked_level, coverage
from training.evaluation.contenders import Contender
from training.evaluation.geobias import bias_by_rung
from training.evaluation.prediction import predict_pixels, predict_places, scored_rungs
from training.evaluation.report import summary_html, write_report
from training.evaluation.trust import Applicability, next_labels, trust_raster
from training.evaluation.verdict import COORDINATES, compare, verdict, words_km
from training.tasks.distances import nearest_km
from training.tasks.folds import Rung, closest_rung
from training.tasks.tables import as_places
from training.tasks.task import Task


@dataclass(frozen=True, eq=False, repr=False)
class Ladder:
    """Scores of contenders by distance, a verdict, intervals and a report; made by `evaluate`.

    Parameters
    ----------
    task : Task
        The labeled places, those without coverage left out.
    rungs : sequence of Rung
        Ways to hold out.
    contenders : mapping of str to Contender
        By name.
    cells : mapping of (str, str) to Cell
        Out-of-fold predictions by (rung, contender); fewer where it was stopped.
    places : numpy.ndarray, shape (M, 2), optional
        Those that are to be predicted, degrees.
    notes : sequence of str
        What was assumed, bounded or left out.
    facts : mapping of str to str
        Provenance.
    """

    task: Task
    rungs: tuple[Rung, ...]
    contenders: Mapping[str, Contender]
    cells: Mapping[tuple[str, str], Cell]
    places: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def metric(self) -> str:
        """What contenders are compared by: "r2", or "accuracy" for classes."""
        return "accuracy" if self.task.is_classification else "r2"

    @property
    def complete(self) -> bool:
        """Whether every contender was scored on every rung."""
        return len(self.cells) == len(self.rungs) * len(self.contenders)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Scores fold by fold: rung, contender, seed, fold, test_places, train_places, metrics.

        For values r2 (against the mean of the tested fold) and mae (in their unit), for classes
        accuracy, balanced_accuracy and macro_f1.
        """
        return score_cells(self.task, {rung.name: rung for rung in self.rungs}, self.cells)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Mean and standard deviation over folds: rungs as rows, (contender, mean or sd)."""
        table = self.scores.groupby(["rung", "contender"], sort=False)[self.metric]
        wide = table.agg(["mean", "std"]).rename(columns={"std": "sd"}).unstack("contender")
        wide = wide.swaplevel(axis=1)
        scored = wide.columns.get_level_values(0)
        names = [name for name in self.contenders if name in scored]
        rungs = [rung.name for rung in self.rungs if rung.name in wide.index]
        return wide.loc[rungs, [(name, part) for name in names for part in ("mean", "sd")]]

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """Every contender against interpolation; see `training.evaluation.verdict.compare`."""
        return compare(self.scores, self.metric)

    @cached_property
    def distances(self) -> pd.DataFrame:
        """Kilometers from test to nearest training place: p10, median, p90, by rung.

        Where places to predict were given, a row "yours" has theirs to the nearest label, and
        `apart` says how unlike the distances of each rung are; see `closest_rung`.
        """
        quantiles = {
            rung.name: np.quantile(kilometers(self.task, rung), (0.1, 0.5, 0.9))
            for rung in self.rungs
        }
        if self.places is not None:
            quantiles["yours"] = np.quantile(
                nearest_km(self.places, self.task.lonlat), (0.1, 0.5, 0.9)
            )
        frame = pd.DataFrame.from_dict(quantiles, "index", columns=["p10", "median", "p90"])
        if self.places is not None:
            frame["apart"] = closest_rung(self.rungs, self.task.lonlat, self.places)[1]
        frame.index.name = "rung"
        return frame

    @cached_property
    def verdict(self) -> tuple[str, ...]:
        """What the figures say, in sentences, and how sure that is."""
        medians = self.distances["median"].drop("yours", errors="ignore")
        known = self.task.covariates
        said = verdict(self.scores, self.comparisons, medians, self.metric, known)
        if self.places is not None:
            near = closest_rung(self.rungs, self.task.lonlat, self.places)[0]
            said.insert(
                1,
                "The places to predict lie "
                f"{words_km(float(self.distances.loc['yours', 'median']))} from the nearest label "
                f"(median): the rung that is most like them is {near.name}.",
            )
        if not self.complete:
            said.append("It was stopped early: rungs or contenders are missing.")
        return tuple(said)

    def rung(self, name: str) -> Rung:
        """Look up a rung by name.

        Raises
        ------
        ValueError
            If there is none.
        """
        for rung in self.rungs:
            if rung.name == name:
                return rung
        raise ValueError(
            f"no rung {name!r}; there are {', '.join(repr(rung.name) for rung in self.rungs)}."
        )

    def best(self, rung: str | None = None) -> str:
        """Name the contender with the best mean on a rung, or over all; interpolation counts.

        Over all means: over the rungs on which most contenders were scored.
        """
        means = self.summary.xs("mean", axis=1, level=1)
        if rung is not None:
            return str(means.loc[self.rung(rung).name].idxmax())
        counts = means.notna().sum(axis=1)
        return str(means[counts == counts.max()].mean().idxmax())

    def coverage(self, level: float = 0.9, contender: str | None = None) -> pd.DataFrame:
        """Check conformal intervals rung by rung; see `training.evaluation.conformal.coverage`.

        Parameters
        ----------
        level : float
            Chance that an interval promises.
        contender : str, optional
            Default: the best over all rungs.
        """
        name = contender or self.best()
        rows = {
            rung.name: coverage(self.task, rung, self.cells[rung.name, name], checked_level(level))
            for rung in scored_rungs(self, name)
        }
        frame = pd.DataFrame.from_dict(rows, "index")
        frame.index.name = "rung"
        return frame

    @cached_property
    def geo_bias(self) -> pd.DataFrame:
        """How the errors of the best contender huddle on the map; see `bias_by_rung`."""
        name = self.best()
        rungs = [rung.name for rung in scored_rungs(self, name)]
        return bias_by_rung(self.task, {rung: self.cells[rung, name] for rung in rungs})

    def predict_interval(
        self, places: Any, level: float = 0.9, contender: str | None = None
    ) -> pd.DataFrame:
        """Predict places, with intervals that widen with the distance from the labels.

        Parameters
        ----------
        places : array_like, frame or path
            Q places, degrees.
        level : float
            Chance with which a label lies in its interval, or set of classes.
        contender : str, optional
            Default: the best on the rung that is most like these places.

        Returns
        -------
        pandas.DataFrame
            lon, lat, km (to the nearest label), rung (whose errors the interval is made of),
            prediction, low and high; for classes prediction, set and set_size. Where the encoder
            has no coverage, prediction is missing.
        """
        return predict_places(self, as_places(places), checked_level(level), contender)

    @known_keywords
    def predict_raster(
        self,
        resolution: float = 2.0,
        bounds: Bounds = GLOBE,
        *,
        region: Any = None,
        contender: str | None = None,
        level: float = 0.9,
        land_only: bool = True,
    ) -> xr.Dataset:
        """Predict every pixel, and say where that is to be trusted.

        Parameters
        ----------
        resolution, bounds, region
            As for `embed_grid`.
        contender, level
            As for `predict_interval`.
        land_only : bool
            Leave out the sea.

        Returns
        -------
        xarray.Dataset, dims (lat, lon), north first
            prediction, low and high in the unit of the target; for classes prediction, a code or
            -1, and set_size, how many classes may hold. Beside them what `trust` gives, but where
            there are covariates.
        """
        grid, inside = view(resolution, bounds, region, None)
        if land_only:
            inside = inside & land_mask(grid)
        found = predict_pixels(self, grid, inside, checked_level(level), contender)
        if self.task.image_features is None:
            found = found.merge(self._trust(grid, inside, None, None), combine_attrs="no_conflicts")
        return found

    @known_keywords
    def trust(
        self,
        resolution: float = 2.0,
        bounds: Bounds = GLOBE,
        *,
        region: Any = None,
        encoder: str | None = None,
        rung: str | None = None,
    ) -> xr.Dataset:
        """Map where predictions are like what was tested; see `training.evaluation.trust`.

        Parameters
        ----------
        resolution, bounds, region
            As for `embed_grid`.
        encoder : str, optional
            Whose embeddings are compared; default the first one that was asked for.
        rung : str, optional
            Whose folds say how unlike its training places a tested one may be; default the last.

        Returns
        -------
        xarray.Dataset, dims (lat, lon), north first
            dissimilarity to the labels; trusted, 1 within the area of applicability; distance_km
            to the nearest label.
        """
        grid, inside = view(resolution, bounds, region, None)
        return self._trust(grid, inside, encoder, rung)

    def _trust(
        self, grid: Grid, inside: NDArray[np.bool_], encoder: str | None, rung: str | None
    ) -> xr.Dataset:
        found = self._applicability(encoder, rung)
        return trust_raster(self._encoder(encoder), found, self.task.lonlat, grid, inside)

    @known_keywords
    def next_labels(
        self, count: int = 10, candidates: Any = None, *, encoder: str | None = None
    ) -> pd.DataFrame:
        """Choose places where labels would help most; see `training.evaluation.trust.next_labels`.

        Parameters
        ----------
        count : int
            How many.
        candidates : array_like, frame or path, optional
            Where a label could be had, degrees; default land places of the embedded atlas.
        encoder : str, optional
            Whose embeddings are to be covered; default the first one that was asked for.
        """
        count = whole_number(count, "count", 1, 1000)
        among = None if candidates is None else as_places(candidates)
        found = self._applicability(encoder, None)
        return next_labels(self._encoder(encoder), found, self.task.lonlat, among, count)

    def _encoder(self, name: str | None) -> LocationEncoder:
        encoders = [each.encoder for each in self.contenders.values() if each.encoder]
        known = {encoder.name: encoder for encoder in encoders}
        asked = [each for each in known if each not in COORDINATES] or list(known)
        if name is not None and name not in known:
            raise ValueError(f"no encoder {name!r}; there are {', '.join(known)}.")
        return known[name or asked[0]]

    def _applicability(self, encoder: str | None, rung: str | None) -> Applicability:
        if self.task.image_features is not None:
            raise ValueError("covariates are not known elsewhere; evaluate without covariates=.")
        labels = labels_of(self.task, self._encoder(encoder))
        return Applicability.fit(labels, self.rungs[-1] if rung is None else self.rung(rung))

    def report(self, folder: str | Path) -> Path:
        """Write report.html, which needs nothing else, report.md, figures and scores.csv.

        Returns
        -------
        pathlib.Path
            Of report.html.
        """
        return write_report(self, Path(folder))[0]

    def table(self) -> pd.DataFrame:
        """Return the ladder as text, "mean ± sd", for people; distances beside it."""
        means = self.summary
        names = dict.fromkeys(means.columns.get_level_values(0))
        km = self.distances["median"]
        frame = pd.DataFrame({"km": [words_km(km[rung]) for rung in means.index]}, means.index)
        for name in names:
            pairs = zip(means[name, "mean"], means[name, "sd"], strict=True)
            frame[name] = [f"{mean:.3f} ± {sd:.3f}" for mean, sd in pairs]
        return frame

    def __repr__(self) -> str:
        return (
            f"Ladder({self.task.name!r}, {len(self.rungs)} rungs, "
            f"{len(self.contenders)} contenders, best: {self.best()})"
        )

    def _repr_html_(self) -> str:
        return summary_html(self)

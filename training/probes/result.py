"""What `train_probe` found: scores beside the baselines, curves, and where the errors are."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray

from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.geo import GLOBE, Bounds, unit_vectors
from training.probes.base import Probe
from training.probes.baselines import task_features
from training.probes.data import Scale
from training.probes.figures import figure_html
from training.probes.losses import Losses, tidy_losses
from training.probes.metrics import (
    HIGHER_IS_BETTER,
    classification_metrics,
    count_metrics,
    paired_bootstrap,
    poisson_deviances,
    regression_metrics,
    standard_deviation,
)
from training.probes.predictions import chunks, class_chances
from training.probes.saved import ProbeModel
from training.probes.suitability import placements, suitability_metrics
from training.probes.uncertainty import (
    calibration_table,
    expected_calibration_error,
    interval_table,
)
from training.tasks.splits import Split
from training.tasks.task import Task


class Fitted(NamedTuple):
    """An encoder of the comparison (None for "nearest"), its probe, its test predictions.

    `predicted` is (S, N, R) ranked classes or (S, N) values.
    """

    encoder: LocationEncoder | None
    probe: Probe
    predicted: NDArray[Any]


@dataclass(frozen=True, eq=False, repr=False)
class ProbeResult:
    """Scores, curves and predictions of a probe and its baselines; made by `train_probe`.

    Parameters
    ----------
    task : Task
        What was predicted.
    split : Split
        Which of its places trained and which tested.
    name : str
        The encoder in question; others in `fitted` are there to compare.
    fitted : mapping of str to Fitted
        By encoder name.
    losses : sequence of Losses
        Of every validation, in order.
    scale : Scale
        Of a regression target.
    facts : mapping of str to str
        Provenance.
    threshold : float, optional
        For presences: the suitability from which a place is called suitable.
    """

    task: Task
    split: Split
    name: str
    fitted: Mapping[str, Fitted]
    losses: Sequence[Losses]
    scale: Scale
    facts: Mapping[str, str]
    threshold: float | None = None

    @property
    def primary(self) -> str:
        """The metric that comparisons use.

        accuracy of classes, auc of presences, mse of the standardized target, deviance of counts.
        """
        if self.task.is_presence:
            return "auc"
        if self.task.is_counts:
            return "deviance"
        return "accuracy" if self.task.is_classification else "mse"

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Mean and sd over seeds of every metric, one row per encoder, the probed one first.

        `difference` is this encoder minus that row in `primary`, `low` and `high` its 95 %
        interval: a paired bootstrap over blocks of test places.
        """
        target = self.task.target[self.split.test]
        rows = {}
        mine = self._contributions(self.fitted[self.name])
        for name in sorted(self.fitted, key=lambda name: (name != self.name, name != "nearest")):
            fitted = self.fitted[name]
            scores = pd.DataFrame(
                [self._scores(predicted, target) for predicted in fitted.predicted]
            )
            row: dict[str, float] = {}
            for metric in scores:
                row[str(metric)] = float(scores[metric].mean())
                row[f"{metric}_sd"] = (
                    standard_deviation(scores[metric], 1) if len(scores) > 1 else 0.0
                )
            if name != self.name:
                rows_of = self.split.test[target == 1] if self.task.is_presence else self.split.test
                lonlat = self.task.lonlat[rows_of]
                difference = paired_bootstrap(mine, self._contributions(fitted), lonlat)
                row |= dict(zip(("difference", "low", "high"), difference, strict=True))
            rows[name] = row
        frame = pd.DataFrame.from_dict(rows, orient="index")
        frame.index.name = "encoder"
        return frame

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Losses while training: encoder, step, seed, train, valid."""
        return tidy_losses(self.losses)

    @cached_property
    def test(self) -> pd.DataFrame:
        """The test places: lon, lat, target, prediction, error.

        The prediction joins the seeds (majority, or mean); error is the share of seeds that are
        wrong, or prediction minus target in its unit.
        """
        rows = self.split.test
        predicted = self.fitted[self.name].predicted
        frame = self.task.frame().iloc[rows].reset_index(drop=True)
        target = self.task.target[rows]
        if self.threshold is not None:
            called = predicted >= self.threshold
            frame["suitability"] = predicted.mean(axis=0)
            best = (frame["suitability"] >= self.threshold).astype(np.int64)
            frame["prediction"] = np.array(self.task.classes)[best]
            frame["error"] = (called != target).mean(axis=0)
        elif self.task.is_classification:
            best = _majority(predicted[..., 0])
            frame["prediction"] = np.array(self.task.classes)[best]
            frame["error"] = (predicted[..., 0] != target).mean(axis=0)
        else:
            frame["prediction"] = predicted.mean(axis=0)
            frame["error"] = frame["prediction"] - target
        frame.attrs.update(self.facts)
        return frame

    @property
    def ceiling(self) -> float:
        """Share of test places whose class has a training place: no probe scores above it."""
        if not self.task.is_classification:
            return 1.0
        seen = np.unique(self.task.target[self.split.train])
        return float(np.isin(self.task.target[self.split.test], seen).mean())

    @cached_property
    def model(self) -> ProbeModel:
        """The probe of this encoder, as an object that predicts and can be saved."""
        mine = self.fitted[self.name]
        assert mine.encoder is not None
        return ProbeModel(
            mine.encoder,
            mine.probe,
            self.task.name,
            self.task.classes,
            self.task.unit,
            self.scale,
            self.facts,
            self.metrics,
            None if self.task.is_classification else np.sort(np.abs(self.test["error"])),
            self.task.covariates,
            self.threshold,
        )

    def predict_frame(self, table: Any, *, polygons: str = "mean", **options: Any) -> Any:
        """Predict the rows of a table; see `ProbeModel.predict_frame`."""
        return self.model.predict_frame(table, polygons=polygons, **options)

    @cached_property
    def calibration(self) -> pd.DataFrame:
        """How far its probabilities, or intervals, can be trusted at the test places.

        Classes: `calibration_table` of the probability of the predicted class. Values: level, the
        coverage of intervals that half of the test places were calibrated on in the other half,
        and their width in the unit of the target.
        """
        if self.task.is_presence:
            raise ValueError("suitability ranks places, and is no probability to calibrate.")
        rows = self.split.test
        if not self.task.is_classification:
            return interval_table(self.test["error"].to_numpy())
        mine = self.fitted[self.name]
        features = task_features(mine.encoder, self.task)[rows]
        vectors = torch.from_numpy(unit_vectors(self.task.lonlat[rows])).float()
        best = [
            class_chances(mine.probe, scores).max(1)
            for scores in chunks(mine.probe, features, vectors)
        ]
        confidence, predicted = (torch.cat(part).numpy() for part in zip(*best, strict=True))
        return calibration_table(confidence, predicted == self.task.target[rows])

    @property
    def calibration_error(self) -> float:
        """Mean gap between probability and frequency (expected calibration error); for classes."""
        if not self.task.is_classification:
            raise ValueError("the calibration error is of classes; see .calibration for intervals.")
        return expected_calibration_error(self.calibration)

    def predict_proba(self, lonlat: Any) -> pd.DataFrame:
        """Predict how likely each class is; see `ProbeModel.predict_proba`."""
        return self.model.predict_proba(lonlat)

    def predict_interval(self, lonlat: Any, *, level: float = 0.9) -> pd.DataFrame:
        """Predict intervals of a value; see `ProbeModel.predict_interval`."""
        return self.model.predict_interval(lonlat, level=level)

    def predict(self, lonlat: Any, *, polygons: str = "mean") -> pd.DataFrame:
        """Predict places; see `ProbeModel.predict`."""
        return self.model.predict(lonlat, polygons=polygons)

    def predict_raster(
        self, resolution: float = 0.5, bounds: Bounds = GLOBE, **options: Any
    ) -> xr.DataArray:
        """Predict every pixel of a grid; see `ProbeModel.predict_raster`."""
        return self.model.predict_raster(resolution, bounds, **options)

    def save(self, path: str | Path) -> Path:
        """Write the probe, its scores and provenance; `load_probe` reads them back."""
        return self.model.save(path)

    def verdict(self) -> list[str]:
        """Say in a few sentences what the figures show, and what they do not."""
        table, metric = self.metrics, self.primary
        sign = 1.0 if HIGHER_IS_BETTER[metric] else -1.0
        lines = [
            f"{self.split.description}; trained on {len(self.split.train):,} places, "
            f"tested on {len(self.split.test):,}."
        ]
        if self.ceiling < 0.999:
            lines.append(
                f"{1 - self.ceiling:.0%} of the test places belong to classes without a single "
                "training place: no probe can be right there."
            )
        if self.threshold is not None:
            lines.append(
                f"{self.task.source}. Suitability ranks places; it is no probability. From "
                f"{self.threshold:.3g} on a place is called suitable: there sensitivity plus "
                "specificity is largest, on training places that each fit had left out."
            )
        explained = {"mse": "R²", "deviance": "D²"}.get(metric, "")
        if explained and explained.lower().replace("²", "2") not in table:
            lines.append(f"All test targets are the same, so there is no {explained} to give.")
        for name, row in table.iloc[1:].iterrows():
            low, high = sorted((sign * row["low"], sign * row["high"]))
            if low > 0:
                word = "better than"
            elif high < 0:
                word = "worse than"
            else:
                word = "not clearly different from"
            lines.append(
                f"{self.name} is {word} {name} in {metric} "
                f"({row['difference']:+.3f}, 95 % interval {row['low']:+.3f} … {row['high']:+.3f})."
            )
        return lines

    def __repr__(self) -> str:
        score = self.metrics.loc[self.name]
        return (
            f"ProbeResult({self.task.name!r}, {self.name}, {self.primary} "
            f"{score[self.primary]:.3f} ± {score[self.primary + '_sd']:.3f})"
        )

    def _repr_html_(self) -> str:
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in self.verdict())
        table = self.table().to_html(escape=True)
        figure = figure_html(self.task, self.name, self.curves, self.test)
        return f"<h4>{html.escape(self.task.name)}</h4>{table}<ul>{lines}</ul>{figure}"

    def table(self) -> pd.DataFrame:
        """Return the scores as text, "mean ± sd", for people."""
        names = [name for name in HIGHER_IS_BETTER if name in self.metrics]
        return pd.DataFrame(
            {
                name: [
                    _with_deviation(mean, sd)
                    for mean, sd in zip(self.metrics[name], self.metrics[f"{name}_sd"], strict=True)
                ]
                for name in names
            },
            index=self.metrics.index,
        )

    def _scores(self, predicted: NDArray[Any], target: NDArray[Any]) -> dict[str, float]:
        """Score the predictions of one seed."""
        if self.threshold is not None:
            return suitability_metrics(predicted, target == 1, self.threshold)
        if self.task.is_classification:
            return classification_metrics(predicted, target)
        if self.task.is_counts:
            return count_metrics(predicted, target)
        return regression_metrics(predicted, target, self.scale.deviation)

    def _contributions(self, fitted: Fitted) -> NDArray[np.float64]:
        """Return what each test place adds to the primary metric, averaged over seeds."""
        target = self.task.target[self.split.test]
        if self.task.is_presence:
            return np.mean([placements(each, target == 1) for each in fitted.predicted], axis=0)
        if self.task.is_classification:
            return np.asarray((fitted.predicted[..., 0] == target).mean(axis=0), dtype=np.float64)
        if self.task.is_counts:
            return np.asarray(poisson_deviances(fitted.predicted, target).mean(axis=0))
        error = (fitted.predicted - target) / self.scale.deviation
        return np.asarray(np.square(error).mean(axis=0), dtype=np.float64)


def _with_deviation(mean: float, sd: float) -> str:
    """Write "mean ± sd", with three decimals where these say anything."""
    digits = ".3f" if not mean or 1e-3 <= abs(mean) < 1e7 else ".3g"
    return f"{mean:{digits}} ± {sd:{digits}}"


def _majority(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the most frequent code of each column, (S, N) to (N,); ties go to the first seed."""
    votes = (codes[:, None] == codes[None]).sum(axis=1)
    return np.take_along_axis(codes, votes.argmax(axis=0)[None], axis=0)[0]

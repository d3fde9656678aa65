"""A fitted probe and its encoder: predictions, probabilities and intervals, also as rasters."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray

from satclip_explore.checks import known_keywords
from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.fields import check_memory, view
from satclip_explore.geo import GLOBE, Bounds, Grid
from training.probes.base import Probe
from training.probes.data import Scale
from training.probes.inputs import Inputs, embed_places, with_predictions
from training.probes.predictions import (
    CHUNK_SCORES,
    class_chances,
    name_raster,
    predict_grid,
    summarize,
)
from training.probes.uncertainty import conformal_quantile

RASTERS = ("prediction", "probability", "entropy")
"""What `predict_raster` draws."""


@dataclass(frozen=True, eq=False, repr=False)
class Predictor:
    """A probe that can be applied; `ProbeModel` is one that can be saved, too.

    Parameters
    ----------
    encoder : LocationEncoder
        Whose embeddings the probe was trained on.
    probe : Probe
        The fitted probe.
    task : str
        Name of the task.
    classes : tuple of str
        Class names by code; empty for regression.
    unit : str
        Of a regression target.
    scale : Scale
        Of a regression target.
    facts : mapping of str to str
        Provenance.
    metrics : pandas.DataFrame
        Scores at the time of training, as in `ProbeResult.metrics`.
    residuals : numpy.ndarray, shape (M,), optional
        Absolute errors at the test places, in `unit`: what intervals are made of.
    covariates : tuple of str
        Columns that were joined to the embedding; predictions ask for them.
    threshold : float, optional
        For presences: the suitability from which a place is called suitable.
    """

    encoder: LocationEncoder
    probe: Probe
    task: str
    classes: tuple[str, ...]
    unit: str
    scale: Scale
    facts: Mapping[str, str]
    metrics: pd.DataFrame
    residuals: NDArray[np.float64] | None = None
    covariates: tuple[str, ...] = ()
    threshold: float | None = None

    def predict(self, lonlat: Any, *, polygons: str = "mean") -> pd.DataFrame:
        """Predict places, or polygons.

        Parameters
        ----------
        lonlat : array_like or table
            N places in degrees, longitude first, or a GeoDataFrame of polygons; see `embed`. A
            table with the columns that were joined to the embedding, where some were.
        polygons : {"mean", "point"}
            What stands for a polygon, as when the probe was trained.

        Returns
        -------
        pandas.DataFrame
            lon, lat, prediction (a class name, a value in `unit`, or a mean count) and spread: the
            share of the seeds that name another class, or the standard deviation of their values.
            Missing where the encoder has no coverage. For presences also the suitability, 0 … 1, of
            which spread is then the standard deviation.
        """
        places = self._inputs(lonlat, polygons)
        values, spread = self._collect(places, self._prediction, 2)
        frame = pd.DataFrame({"lon": places.lonlat[:, 0], "lat": places.lonlat[:, 1]})
        if self.threshold is not None:
            names = np.array(self.classes, dtype=object)
            frame["prediction"] = names[(values >= self.threshold).astype(np.int64)]
            frame.loc[places.missing, "prediction"] = None
            frame["suitability"] = values
        elif self.classes:
            codes = np.where(places.missing, 0, values).astype(np.int64)
            frame["prediction"] = np.array(self.classes, dtype=object)[codes]
            frame.loc[places.missing, "prediction"] = None
        else:
            frame["prediction"] = values
        frame["spread"] = spread
        frame.attrs.update(self.facts)
        return frame

    def predict_frame(self, table: Any, *, polygons: str = "mean", **options: Any) -> Any:
        """Predict the rows of a table and give it back with columns prediction and spread.

        Parameters
        ----------
        table : frame, Reading, or anything that `read_places` reads
            N places or polygons; a frame keeps its rows and columns as they are.
        polygons : {"mean", "point"}
            As in `predict`.
        **options
            Of `read_places`, for files.

        Returns
        -------
        pandas.DataFrame or geopandas.GeoDataFrame
            A new table with geometry where there was one; see `to_vector`.

        Raises
        ------
        ValueError
            If the places cannot be read, or a column of that name is there already.
        """
        return with_predictions(
            table, lambda frame: self.predict(frame, polygons=polygons), options
        )

    def predict_proba(self, lonlat: Any) -> pd.DataFrame:
        """Predict how likely each class is.

        Parameters
        ----------
        lonlat : array_like or table
            N places in degrees, longitude first; see `geo.as_lonlat`.

        Returns
        -------
        pandas.DataFrame
            lon, lat, and a column per class; they sum to one. The likeliest is the `prediction` of
            `predict`. Missing where the encoder has no coverage.

        Raises
        ------
        ValueError
            If the target is a value.

        Notes
        -----
        Seeds are joined by the geometric mean of their probabilities. How far these can be trusted
        is in `ProbeResult.calibration`.
        """
        self._check_classes("predict_proba")
        places = self._inputs(lonlat)
        chances = self._collect(places, self._chances, len(self.classes))
        names = [f"{name} (class)" if name in ("lon", "lat") else name for name in self.classes]
        numbers = np.concatenate([places.lonlat, chances.T], axis=1)
        frame = pd.DataFrame(numbers, columns=["lon", "lat", *names])
        frame.attrs.update(self.facts)
        return frame

    def predict_interval(self, lonlat: Any, *, level: float = 0.9) -> pd.DataFrame:
        """Predict intervals that hold the true value with a probability.

        Parameters
        ----------
        lonlat : array_like or table
            N places in degrees, longitude first; see `geo.as_lonlat`.
        level : float
            Share of the intervals that hold the value, above 0 and below 1.

        Returns
        -------
        pandas.DataFrame
            lon, lat, prediction, low, high, in `unit`.

        Raises
        ------
        ValueError
            If the target is a class, or there were too few test places for this level.

        Notes
        -----
        Split conformal: the level holds for places that are to the labels as the test places were.
        Where these were drawn at random, it does not hold far from every label.
        """
        if self.classes:
            raise ValueError("intervals are for values, not classes; see predict_proba.")
        if self.residuals is None:
            raise ValueError("this probe was saved without test errors; train it again.")
        half = conformal_quantile(self.residuals, level)
        if not np.isfinite(half):
            least = int(np.ceil(level / (1.0 - level)))
            raise ValueError(
                f"an interval at level {level:g} needs {least:,} test places; "
                f"there were {len(self.residuals):,}."
            )
        frame = self.predict(lonlat).drop(columns="spread")
        frame["low"], frame["high"] = frame["prediction"] - half, frame["prediction"] + half
        if self.scale.log:
            frame["low"] = frame["low"].clip(lower=0.0)
        return frame

    def _inputs(self, places: Any, polygons: str = "mean") -> Inputs:
        inputs = embed_places(self.encoder, places, self.covariates, polygons)
        self._check_width(inputs.features.shape[1])
        return inputs

    @torch.no_grad()
    def _collect(
        self, places: Inputs, reduce: Callable[[torch.Tensor], torch.Tensor], width: int
    ) -> NDArray[np.float64]:
        """Reduce the scores of places some at a time, (width, N); NaN without coverage."""
        values = np.full((width, len(places.lonlat)), np.nan)
        step = max(1, min(2048, CHUNK_SCORES // self.probe.n_scores))
        for start in range(0, len(places.lonlat), step):
            part = slice(start, start + step)
            scores = self.probe.scores(places.features[part], places.vectors[part])
            values[:, part] = reduce(scores).cpu().numpy()
        values[:, places.missing] = np.nan
        return values

    def _prediction(self, scores: torch.Tensor) -> torch.Tensor:
        """Return prediction and spread, (2, N); a suitability for presences."""
        if self.threshold is None:
            return torch.stack([
                part.double() for part in summarize(scores, bool(self.classes), self.scale)
            ])  # fmt: skip
        joint = class_chances(self.probe, scores)[:, 1]
        return torch.stack([joint, self.probe.chances(scores)[..., 1].std(0, correction=0)])

    def _chances(self, scores: torch.Tensor) -> torch.Tensor:
        """Return the probability of each class, (C, N)."""
        return class_chances(self.probe, scores).T

    def _entropy(self, scores: torch.Tensor) -> torch.Tensor:
        """Return the entropy of the classes in bits, (1, N)."""
        chances = class_chances(self.probe, scores)
        return -torch.xlogy(chances, chances).sum(1, keepdim=True).T / math.log(2.0)

    def _check_classes(self, asked: str) -> None:
        if not self.classes:
            raise ValueError(f"{asked} is for classes; {self.task!r} is a value: predict_interval.")

    @known_keywords
    def predict_raster(
        self,
        resolution: float = 0.5,
        bounds: Bounds = GLOBE,
        *,
        kind: str = "prediction",
        region: Any = None,
        grid: Grid | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> xr.DataArray:
        """Predict every pixel of a grid.

        Parameters
        ----------
        resolution : float
            Pixel size in degrees.
        bounds : tuple of float
            (lon_min, lat_min, lon_max, lat_max) in degrees; lon_min above lon_max crosses the
            antimeridian.
        kind : {"prediction", "probability", "entropy"}
            The class or value; how likely each class is; how unsure that leaves one, in bits. For
            presences the prediction is the suitability, 0 … 1.
        region : str, sequence, mapping, geometry or Region, optional
            In place of bounds; see `satclip_explore.region`. Pixels outside are missing.
        grid : Grid, optional
            The pixels themselves, in place of resolution and bounds.
        progress : callable, optional
            Called with (rows done, rows in all).

        Returns
        -------
        xarray.DataArray, dims (lat, lon), shape (H, W); with "probability" (lat, lon, class)
            Values in `unit`, or class codes (int16) whose names are in ``attrs["classes"]``, north
            first. Values are float32, or float64 where that is too coarse for the target. Missing,
            without coverage or outside of the region, is NaN or code -1. For predictions, the
            coordinate `spread` (lat, lon) holds the spread over seeds, as in `predict`.

        Raises
        ------
        ValueError
            If resolution, bounds or region make no grid, the result would pass 4 GB, the kind is
            unknown or not of this target, or the probe was trained with covariates.
        """
        if kind not in RASTERS:
            raise ValueError(f"kind must be one of {', '.join(RASTERS)}; got {kind!r:.40}.")
        if kind != "prediction":
            self._check_classes(f"kind={kind!r}")
        if self.covariates:
            raise ValueError(
                f"a raster needs {', '.join(self.covariates)} at every pixel; give predict a table "
                "of pixel centers with these columns."
            )
        grid, inside = view(resolution, bounds, region, grid)
        self._check_width(self.encoder.embed_dim)
        reduce, width = {
            "prediction": (self._prediction, 2),
            "probability": (self._chances, len(self.classes)),
            "entropy": (self._entropy, 1),
        }[kind]
        dtype = np.dtype(np.float32 if self.scale.dtype == torch.float32 else np.float64)
        check_memory(grid, width, dtype.itemsize)
        values = predict_grid(self.encoder, self.probe, grid, reduce, width, dtype, progress)
        values[:, ~inside] = np.nan
        facts = dict(self.facts)
        if self.threshold is not None:
            facts["threshold"] = f"{self.threshold:.6g}"
        elif self.classes and kind == "prediction":
            facts["classes"] = json.dumps(self.classes, ensure_ascii=False)
        raster = name_raster(values, grid, self.classes, kind, "threshold" in facts)
        raster.attrs = facts | raster.attrs
        if not self.classes:
            raster.attrs["units"] = self.unit
        return raster.rename(self.task)

    def _check_width(self, width: int) -> None:
        expected = self.probe.n_features
        if expected is not None and width != expected:
            raise ValueError(
                f"this probe takes {expected} numbers per place and {self.encoder.name} gives "
                f"{width}; a probe on image features cannot predict from coordinates alone."
            )

"""A fitted probe and its encoder: predicts places and rasters; saved as one safetensors file."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from satclip_explore.areas import areas_of
from satclip_explore.checks import known_keywords
from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.fields import view
from satclip_explore.files.atomic import write_whole
from satclip_explore.files.places import read_places
from satclip_explore.files.reading import Reading
from satclip_explore.geo import GLOBE, Bounds, Grid, as_lonlat, unit_vectors
from satclip_explore.provenance import clean_facts
from training.probes.base import Probe
from training.probes.data import Scale
from training.probes.predictions import predict_grid, summarize
from training.probes.registry import FORMER_NAMES, PROBES

FORMAT = "satclip_explore probe 1"
"""First line of the header of a saved probe."""

FORMER_FACTS = {"task_licence": "task_license"}
"""Provenance in files of earlier versions, and what it is called now."""


@dataclass(frozen=True, eq=False, repr=False)
class ProbeModel:
    """A probe that can be applied.

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
    """

    encoder: LocationEncoder
    probe: Probe
    task: str
    classes: tuple[str, ...]
    unit: str
    scale: Scale
    facts: Mapping[str, str]
    metrics: pd.DataFrame

    @torch.no_grad()
    def predict(self, lonlat: Any, *, polygons: str = "mean") -> pd.DataFrame:
        """Predict places, or polygons.

        Parameters
        ----------
        lonlat : array_like or table
            N places in degrees, longitude first, or a GeoDataFrame of polygons; see `embed`.
        polygons : {"mean", "point"}
            What stands for a polygon, as when the probe was trained.

        Returns
        -------
        pandas.DataFrame
            lon, lat, prediction (a class name, or a value in `unit`) and spread: the share of the
            seeds that name another class, or the standard deviation of their values. Missing
            where the encoder has no coverage.
        """
        areas = areas_of(lonlat, polygons)
        places = as_lonlat(lonlat) if areas is None else areas.inside
        embed = self.encoder.embed
        features = torch.from_numpy(embed(places) if areas is None else areas.mean(embed)).float()
        vectors = torch.from_numpy(unit_vectors(places)).float()
        self._check_width(features.shape[1])
        missing = torch.isnan(features).any(1)
        features = torch.where(missing[:, None], 0.0, features)
        parts = [
            summarize(self.probe.scores(part, here), bool(self.classes), self.scale)
            for part, here in zip(features.split(2048), vectors.split(2048), strict=True)
        ]
        empty = np.zeros(0)
        values = np.concatenate([part[0].numpy() for part in parts]) if parts else empty
        spread = np.concatenate([part[1].numpy() for part in parts]) if parts else empty
        prediction: Any = values.astype(np.float64)
        if self.classes:
            prediction = np.array(self.classes, dtype=object)[values.astype(np.int64)]
            prediction[missing.numpy()] = None
        else:
            prediction[missing.numpy()] = np.nan
        frame = pd.DataFrame(
            {
                "lon": places[:, 0],
                "lat": places[:, 1],
                "prediction": prediction,
                "spread": np.where(missing.numpy(), np.nan, spread.astype(np.float64)),
            }
        )
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
        if isinstance(table, Reading):
            table = table.frame
        frame = table if isinstance(table, pd.DataFrame) else read_places(table, **options).frame
        names = ["prediction", "spread"]
        for name in frame.columns.intersection(names)[:1]:
            raise ValueError(f"the table has a column {name} already; drop or rename it first.")
        found = self.predict(frame, polygons=polygons)[names].set_axis(frame.index)
        joined = pd.concat([frame, found], axis=1)
        joined.attrs = {**frame.attrs, **self.facts}
        return joined

    @known_keywords
    def predict_raster(
        self,
        resolution: float = 0.5,
        bounds: Bounds = GLOBE,
        *,
        region: Any = None,
        grid: Grid | None = None,
    ) -> xr.DataArray:
        """Predict every pixel of a grid.

        Parameters
        ----------
        resolution : float
            Pixel size in degrees.
        bounds : tuple of float
            (lon_min, lat_min, lon_max, lat_max) in degrees; lon_min above lon_max crosses the
            antimeridian.
        region : str, sequence, mapping, geometry or Region, optional
            In place of bounds; see `satclip_explore.region`. Pixels outside are missing.
        grid : Grid, optional
            The pixels themselves, in place of resolution and bounds.

        Returns
        -------
        xarray.DataArray, dims (lat, lon), shape (H, W)
            Values in `unit`, or class codes (int16) whose names are in ``attrs["classes"]``, north
            first. Values are float32, or float64 where that is too coarse for the target. Missing,
            without coverage or outside of the region, is NaN or code -1. The coordinate `spread`
            (lat, lon) holds the spread over seeds, as in `predict`.

        Raises
        ------
        ValueError
            If resolution, bounds or region make no grid.
        """
        grid, inside = view(resolution, bounds, region, grid)
        is_class = bool(self.classes)
        self._check_width(self.encoder.embed_dim)
        single = self.scale.dtype == torch.float32
        dtype = np.dtype(np.float32 if single else np.float64)
        prediction = np.empty(grid.shape, dtype=np.int16 if is_class else dtype)
        spread = np.empty(grid.shape, dtype=dtype)
        for rows, values, spreads in predict_grid(
            self.encoder, self.probe, grid, is_class, self.scale
        ):
            prediction[rows], spread[rows] = values, spreads
        prediction[~inside] = -1 if is_class else np.nan
        spread[~inside] = np.nan
        facts = dict(self.facts) | clean_facts(
            {"grid_bounds": grid.bounds, "grid_shape": grid.shape, "crs": "EPSG:4326"}
        )
        if is_class:
            facts["classes"] = json.dumps(self.classes, ensure_ascii=False)
        else:
            facts["units"] = self.unit
        return xr.DataArray(
            prediction,
            dims=("lat", "lon"),
            coords={"lat": grid.lat, "lon": grid.lon, "spread": (("lat", "lon"), spread)},
            name=self.task,
            attrs=facts,
        )

    def _check_width(self, width: int) -> None:
        expected = self.probe.n_features
        if expected is not None and width != expected:
            raise ValueError(
                f"this probe takes {expected} numbers per place and {self.encoder.name} gives "
                f"{width}; a probe on image features cannot predict from coordinates alone."
            )

    def save(self, path: str | Path) -> Path:
        """Write the probe, its scores and its provenance to a safetensors file; return its path."""
        from safetensors.torch import save

        header = {
            "format": FORMAT,
            "kind": self.probe.kind,
            "settings": json.dumps(self.probe.settings),
            "task": self.task,
            "classes": json.dumps(self.classes),
            "unit": self.unit,
            "scale": json.dumps([self.scale.mean, self.scale.deviation]),
            "facts": json.dumps(dict(self.facts)),
            "metrics": self.metrics.to_json(orient="split", double_precision=15),
        }
        tensors = {name: t.cpu().contiguous() for name, t in self.probe.tensors().items()}
        return write_whole(path, save(tensors, header))

    def __repr__(self) -> str:
        return f"ProbeModel({self.task!r}, {self.probe.kind} on {self.encoder.name})"

    def _repr_html_(self) -> str:
        title = html.escape(f"{self.task}: {self.probe.kind} on {self.encoder.name}")
        return f"<h4>{title}</h4>{self.metrics.to_html(float_format='%.3f', escape=True)}"


MAX_FILE_BYTES = 2_000_000_000
"""Larger files are not probes."""


def load_probe(path: str | Path, *, encoder: LocationEncoder | None = None) -> ProbeModel:
    """Read a probe that `save` wrote.

    Parameters
    ----------
    path : path
        The safetensors file.
    encoder : LocationEncoder, optional
        Default: the registered encoder of the name in the file.

    Returns
    -------
    ProbeModel

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a probe, or the encoder is not the one it was trained on.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no probe at {path}.")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"{path.name} is too large to be a probe ({path.stat().st_size:,} bytes).")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise ValueError(f"{path.name} is not a probe of this package.")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts = json.loads(header["facts"]).items()
        facts = {FORMER_FACTS.get(str(k), str(k)): str(v) for k, v in facts}
        classes = tuple(str(name) for name in json.loads(header["classes"]))
        mean, deviation = (float(number) for number in json.loads(header["scale"]))
        kind = FORMER_NAMES.get(header["kind"], header["kind"])
        if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
            raise ValueError(f"{path.name} holds weights that are not finite.")
        if not (math.isfinite(mean) and 0.0 < deviation < math.inf):
            raise ValueError(f"{path.name} has no usable scale: mean {mean}, sd {deviation}.")
        if kind not in PROBES:
            raise ValueError(f"unknown kind of probe {kind!r:.40}.")
        probe = PROBES[kind].from_tensors(tensors, json.loads(header["settings"]), len(classes))
        metrics = _metrics(json.loads(header["metrics"]))
    except SafetensorError as error:
        raise ValueError(f"{path.name} is not a safetensors file, or it is damaged.") from error
    except (KeyError, TypeError, AttributeError, OverflowError, json.JSONDecodeError) as error:
        raise ValueError(f"{path.name} is not a complete probe ({error}).") from error
    encoder = encoder or load_encoder(facts.get("encoder"))
    expected = facts.get("weights_hash", "none")
    if (encoder.weights_hash or "none") != expected:
        raise ValueError(
            f"{path.name} was trained on weights {expected} of {facts.get('encoder')}; "
            f"this {encoder.name} has {encoder.weights_hash or 'none'}."
        )
    unit, task = header.get("unit", ""), header.get("task", "")
    return ProbeModel(encoder, probe, task, classes, unit, Scale(mean, deviation), facts, metrics)


def _metrics(content: Any) -> pd.DataFrame:
    return pd.DataFrame(content["data"], index=content["index"], columns=content["columns"])

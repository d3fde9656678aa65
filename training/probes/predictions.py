"""Predictions of a fitted probe: test places, any places, and whole rasters, a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.files.cf import LAT, LON
from satclip_explore.geo import Grid, unit_vectors
from satclip_explore.provenance import clean_facts
from training.probes.base import Probe
from training.probes.data import Scale
from training.tasks.task import Task

CHUNK_SCORES = 4_000_000
"""Scores (seeds x places x classes) that are held at once."""

FIRST = 256
"""Places that are scored before the others, to tell how long these will take."""

RANKS = 5
"""Best classes that are kept of every test place."""


def predict_test(
    probe: Probe,
    features: torch.Tensor,
    vectors: torch.Tensor,
    task: Task,
    scale: Scale,
    scored: Callable[[int, int], None] | None = None,
) -> NDArray[Any]:
    """Predict the test places of a task, embedded as `features` (N, D), at `vectors` (N, 3).

    `scored` is called with how many of how many are done; what it raises ends the work.

    Returns
    -------
    numpy.ndarray, shape (S, N, up to 5), int64, or (S, N), float64
        The best classes of each place, best first; or values in the unit of the target. For
        presences the suitability, (S, N).
    """
    if task.is_presence:
        likely = [
            probe.chances(scores)[..., 1].cpu().double()
            for scores in chunks(probe, features, vectors, scored)
        ]
        return torch.cat(likely, dim=1).numpy()
    if task.is_classification:
        ranked = [
            scores.topk(min(RANKS, scores.shape[2]), dim=2).indices.cpu()
            for scores in chunks(probe, features, vectors, scored)
        ]
        return torch.cat(ranked, dim=1).numpy()
    parts = [scores[..., 0].cpu().double() for scores in chunks(probe, features, vectors, scored)]
    return scale.values(torch.cat(parts, dim=1)).numpy()


def chunks(
    probe: Probe,
    features: torch.Tensor,
    vectors: torch.Tensor,
    scored: Callable[[int, int], None] | None = None,
) -> Iterator[torch.Tensor]:
    """Score places some at a time, the first few alone: they tell how long the rest will take."""
    total = len(features)
    step = 2048 if probe.n_scores * 2048 <= CHUNK_SCORES else max(1, CHUNK_SCORES // probe.n_scores)
    first = min(step, FIRST)
    edges = [0, first // 2, first, *range(first + step, total, step), total]
    with torch.no_grad():
        for start, stop in pairwise(sorted({min(edge, total) for edge in edges})):
            yield probe.scores(features[start:stop], vectors[start:stop])
            if scored is not None:
                scored(stop, total)


def summarize(scores: torch.Tensor, is_class: bool, scale: Scale) -> tuple[torch.Tensor, ...]:
    """Join the seeds' scores, (S, N, C).

    Returns
    -------
    prediction : torch.Tensor, shape (N,)
        The class with the best mean score (codes), or the mean value.
    spread : torch.Tensor, shape (N,)
        Share of the seeds that name another class, or the standard deviation of their values.
    """
    if is_class:
        # Mean log-probability: classes of a seed that is sure of itself do not count for more.
        joint = (
            (scores - scores.logsumexp(2, keepdim=True)).mean(0) if len(scores) > 1 else scores[0]
        )
        best = joint.argmax(1)
        return best, (scores.argmax(2) != best).float().mean(0)
    values = scale.values(scores[..., 0])
    if scale.log:
        return values.mean(0), values.std(0, correction=0)
    return values.mean(0), scores[..., 0].std(0, correction=0).to(values) * scale.deviation


def class_chances(probe: Probe, scores: torch.Tensor) -> torch.Tensor:
    """Join the seeds' probabilities of classes by their geometric mean, (S, N, C) to (N, C).

    The likeliest class is that of `summarize`.
    """
    chances = probe.chances(scores)
    if len(chances) == 1:
        return chances[0]
    return chances.clamp(min=1e-30).log().mean(0).softmax(1)


def predict_grid(
    encoder: LocationEncoder,
    probe: Probe,
    grid: Grid,
    reduce: Callable[[torch.Tensor], torch.Tensor],
    width: int,
    dtype: np.dtype[Any],
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[Any]:
    """Predict a grid from north to south.

    Linear probes and the first layer of others are folded into the encoder's last layer. `reduce`
    turns scores (S, N, C) into `width` numbers of each place, (K, N); `progress` is called with
    (rows done, rows in all).

    Returns
    -------
    numpy.ndarray, shape (K, H, W)
        NaN where the encoder has no coverage.
    """
    # A probe from a file is on the CPU, its encoder where there is room.
    probe = probe.to(encoder.device)
    vectors = torch.from_numpy(unit_vectors(grid.lonlat)).float()
    height, across = grid.shape
    result = np.empty((width, height, across), dtype=dtype)
    step = max(256, CHUNK_SCORES // probe.n_scores)
    for rows, values in encoder.iter_grid(grid, probe.readout):
        flat = values.reshape(-1, values.shape[-1]).float()
        place = vectors[rows.start * across : rows.stop * across].to(flat.device)
        missing = torch.isnan(flat).any(1)
        flat = torch.where(missing[:, None], 0.0, flat)
        parts = zip(flat.split(step), place.split(step), strict=True)
        with torch.no_grad():
            joined = torch.cat([reduce(probe.finish(*part)) for part in parts], dim=1)
        joined[:, missing] = torch.nan
        result[:, rows] = joined.reshape(width, -1, across).cpu().numpy()
        if progress is not None:
            progress(rows.stop, height)
    return result


def name_raster(
    values: NDArray[Any], grid: Grid, classes: Sequence[str], kind: str, suitability: bool
) -> xr.DataArray:
    """Name the axes and units of a raster of numbers (K, H, W); see `Predictor.predict_raster`."""
    dims: list[str] = ["lat", "lon"]
    coords: dict[str, Any] = {"lat": ("lat", grid.lat, LAT), "lon": ("lon", grid.lon, LON)}
    field, unit = values[0], "bit" if kind == "entropy" else "1"
    if kind == "probability":
        field = np.moveaxis(values, 0, 2)
        dims, coords = [*dims, "class"], coords | {"class": np.array(classes)}
    elif kind == "prediction" and classes and not suitability:
        field, unit = np.where(np.isnan(field), -1, field).astype(np.int16), ""
    facts = clean_facts({"grid_bounds": grid.bounds, "grid_shape": grid.shape, "crs": "EPSG:4326"})
    if unit:
        facts["units"] = unit
    if kind == "prediction":
        coords["spread"] = (("lat", "lon"), values[1])
    return xr.DataArray(field, dims=dims, coords=coords, attrs=facts)

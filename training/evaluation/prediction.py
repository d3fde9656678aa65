"""Predictions of places and maps by what an evaluation found best, with honest intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray

from satclip_explore.atlas import codes_at
from satclip_explore.geo import GLOBE, Bounds, Grid
from training.evaluation.cells import kilometers, labels_of
from training.evaluation.conformal import calibrated, interval_frame, nonconformity
from training.evaluation.trust import CANDIDATES
from training.tasks.distances import nearest_km
from training.tasks.folds import Rung, closest_rung
from training.tasks.splits import shuffled

if TYPE_CHECKING:
    from training.evaluation.ladder import Ladder

MAP_ROWS = 90
"""Pixels from north to south of a map of the land around the labels."""

MISSING_CODE = -1
"""Of classes, in pixels that are not predicted."""


@dataclass(frozen=True, eq=False)
class Survey:
    """What the labels say of the land around them.

    Parameters
    ----------
    raster : xarray.Dataset
        As `Ladder.predict_raster`.
    following : pandas.DataFrame
        As `Ladder.next_labels`.
    """

    raster: xr.Dataset
    following: pd.DataFrame


def survey(ladder: Ladder) -> Survey | None:
    """Map the land around the labels; None where covariates are not known elsewhere."""
    if ladder.task.image_features is not None:
        return None
    task = ladder.task
    bounds, resolution = around(task.lonlat)
    at_sea = float((codes_at(task.lonlat) == 0).mean()) > 0.5
    raster = ladder.predict_raster(resolution, bounds, land_only=not at_sea)
    candidates = ladder.places
    if candidates is None and (bounds != GLOBE or at_sea):
        rows, columns = np.nonzero(raster["distance_km"].notnull().to_numpy())
        candidates = np.stack(
            [raster["lon"].to_numpy()[columns], raster["lat"].to_numpy()[rows]], 1
        )
    if candidates is not None:
        candidates = candidates[shuffled(len(candidates), 0)[:CANDIDATES]]
    return Survey(raster, ladder.next_labels(candidates=candidates))


def around(lonlat: NDArray[np.float64]) -> tuple[Bounds, float]:
    """Choose what a map of some places shows, twice as wide as high, and its resolution, degrees.

    Places on more than half of all longitudes, or on both sides of the antimeridian, get the globe.
    """
    (west, south), (east, north) = lonlat.min(0), lonlat.max(0)
    width = 1.2 * max(east - west, 2.0 * (north - south), 0.5)
    if width >= 180.0:
        return GLOBE, 180.0 / MAP_ROWS
    middle = np.clip((west + east) / 2.0, width / 2.0 - 180.0, 180.0 - width / 2.0)
    center = np.clip((south + north) / 2.0, width / 4.0 - 90.0, 90.0 - width / 4.0)
    box = (middle - width / 2.0, center - width / 4.0, middle + width / 2.0, center + width / 4.0)
    return tuple(float(edge) for edge in box), width / 2.0 / MAP_ROWS  # type: ignore[return-value]


def scored_rungs(ladder: Ladder, name: str) -> list[Rung]:
    """List the rungs on which a contender was scored.

    Raises
    ------
    ValueError
        If there is no such contender, or it was stopped before its first rung.
    """
    rungs = [rung for rung in ladder.rungs if (rung.name, name) in ladder.cells]
    if not rungs:
        scored = dict.fromkeys(each for _, each in ladder.cells)
        raise ValueError(f"no contender {name!r} was scored; there are {', '.join(scored)}.")
    return rungs


def predict_places(
    ladder: Ladder, lonlat: NDArray[np.float64], level: float, contender: str | None
) -> pd.DataFrame:
    """Predict places with intervals; see `Ladder.predict_interval`."""
    seen = [rung for rung in ladder.rungs if rung.name in ladder.summary.index]
    near = closest_rung(seen, ladder.task.lonlat, lonlat)[0]
    name = contender or ladder.best(near.name)
    rungs = scored_rungs(ladder, name)
    scores = _scores(ladder, name, near, lonlat)
    km = nearest_km(lonlat, ladder.task.lonlat)
    medians = np.log1p([np.median(kilometers(ladder.task, rung)) for rung in rungs])
    of = np.abs(np.log1p(km)[:, None] - medians).argmin(1)
    errors = [nonconformity(ladder.task, ladder.cells[rung.name, name]) for rung in rungs]
    widths = np.array(
        [_width(error, rung, level) for error, rung in zip(errors, rungs, strict=True)]
    )
    where = {
        "lon": lonlat[:, 0],
        "lat": lonlat[:, 1],
        "km": km,
        "rung": np.array([rung.name for rung in rungs])[of],
    }
    frame = pd.DataFrame(where).join(interval_frame(ladder.task, scores, widths[of]))
    frame.attrs.update({**ladder.facts, "contender": name, "level": f"{level:g}"})
    return frame


def _width(errors: NDArray[np.float64], rung: Rung, level: float) -> float:
    """Calibrate by the errors (S, N) of every draw of the folds, and average over those."""
    units = np.broadcast_to(rung.units, rung.fold.shape)
    return float(np.mean([calibrated(*each, level) for each in zip(errors, units, strict=False)]))


def _scores(
    ladder: Ladder, name: str, near: Rung, lonlat: NDArray[np.float64]
) -> NDArray[np.float64]:
    contender = ladder.contenders[name]
    encoder = contender.encoder
    if encoder is not None and ladder.task.image_features is not None:
        raise ValueError(
            f"{name} was given covariates, which are not known at other places; evaluate "
            "without covariates=, or name interpolation with contender='idw'."
        )
    gap = float(np.median(nearest_km(lonlat, ladder.task.lonlat)))
    predict = contender.model.fit_all(labels_of(ladder.task, encoder), near, gap)
    if encoder is None:
        return predict(np.zeros((len(lonlat), 0)), lonlat)
    covered = encoder.coverage(lonlat)
    if not covered.any():
        raise ValueError(f"no place to predict lies where {encoder.name} has coverage.")
    scores = np.full((len(lonlat), max(1, len(ladder.task.classes))), np.nan)
    with torch.no_grad():
        scores[covered] = predict(encoder.embed(lonlat[covered]), lonlat[covered])
    return scores


def predict_pixels(
    ladder: Ladder, grid: Grid, inside: NDArray[np.bool_], level: float, contender: str | None
) -> xr.Dataset:
    """Predict the pixels of a grid that lie inside; see `Ladder.predict_raster`."""
    if not inside.any():
        raise ValueError("no pixel to predict lies here; use finer pixels or other bounds.")
    found = predict_places(ladder, grid.lonlat[inside.ravel()], level, contender)
    classes = ladder.task.classes

    def field(values: pd.Series) -> NDArray[np.float32]:
        pixels = np.full(grid.shape, np.nan, dtype=np.float32)
        pixels[inside] = values
        return pixels

    axes, coordinates = ("lat", "lon"), {"lat": grid.lat, "lon": grid.lon}
    if classes:
        codes = np.full(grid.shape, MISSING_CODE, dtype=np.int16)
        codes[inside] = pd.Index(classes).get_indexer(found["prediction"])
        sizes = found["set_size"].where(found["prediction"].notna())
        raster = xr.Dataset({"set_size": (axes, field(sizes))}, coordinates)
        raster["prediction"] = (axes, codes, {"classes": list(classes)})
    else:
        names = ("prediction", "low", "high")
        raster = xr.Dataset({name: (axes, field(found[name])) for name in names}, coordinates)
        for name in names:
            raster[name].attrs["units"] = ladder.task.unit
    return raster.assign_attrs({name: found.attrs[name] for name in ("contender", "level")})

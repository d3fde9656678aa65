"""What a trained probe can be had as: rasters, tables, and the cell that trains it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from satclip_explore.atlas import land_mask
from satclip_explore.files.geotiff import geotiff_bytes
from satclip_explore.files.raster import grid_of
from satclip_explore.files.table import csv_bytes
from satclip_explore.files.vector_files import vector_bytes
from satclip_explore.panes import cells
from satclip_explore.panes.downloads import (
    Check,
    Choice,
    code_choice,
    colored,
    raster_choices,
    stem,
    table_choices,
)
from satclip_explore.panes.probe.views import RESOLUTION, painted
from satclip_explore.panes.uploads import table_code
from training.tasks.task import PRESENCE


def offer(pane: Any) -> list[Choice]:
    """List what the probe of a pane gives now.

    Parameters
    ----------
    pane : ProbePane
        Its result stands; without one there is nothing.
    """
    result, field = pane.result, pane.field
    if result is None:
        raise ValueError("press Train first; then its maps, scores and code are here.")
    task = result.task
    name = stem(task.name, result.name)

    def on_land(raster: xr.DataArray) -> xr.DataArray:
        land = land_mask(grid_of(raster))
        missing = raster.attrs.get("nodata", -1) if raster.dtype.kind == "i" else np.nan
        return raster.where(land if raster.ndim == 2 else land[..., None], missing)

    def raster(kind: str) -> Callable[[Check], bytes]:
        return lambda check: geotiff_bytes(
            on_land(result.predict_raster(RESOLUTION, kind=kind, progress=check))
        )

    def saved(_: Check) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            return bytes(result.save(Path(folder) / "probe.safetensors").read_bytes())

    def picture(_: Check) -> xr.DataArray:
        return colored(painted(result, field)[0], field)

    says = f"the class of every {RESOLUTION:g}° of land, with names and colors"
    if not task.is_classification or task.is_presence:
        unit = "suitability" if task.is_presence else f"{task.name} {f'in {task.unit}'.strip()}"
        says = f"{unit} of every {RESOLUTION:g}° of land"
    found = raster_choices(lambda _: on_land(field), picture, name, says)
    if task.is_classification and not task.is_presence:
        found += [
            Choice("GeoTIFF of probabilities", f"a band for each of {len(task.classes)} classes",
                   f"{name}-probability.tif", raster("probability")),
            Choice("GeoTIFF of entropy", "how unsure the probe is, in bits; 0 is sure",
                   f"{name}-entropy.tif", raster("entropy")),
        ]  # fmt: skip
    scores = result.metrics.reset_index()
    found.append(
        Choice("CSV of scores", "mean and deviation over runs, for the encoder and each baseline",
               f"{name}-scores.csv", lambda _: csv_bytes(scores, result.facts))
    )  # fmt: skip
    found += table_choices(
        lambda _: result.test,
        f"{name}-test",
        f"{len(result.split.test):,} tested places: label, prediction, error",
    )
    upload = pane.uploaded()
    if task.areas is not None and upload is not None:
        found.append(
            Choice("GeoPackage of polygons", "your polygons with prediction and spread",
                   f"{name}-polygons.gpkg",
                   lambda _: vector_bytes(result.predict_frame(upload), ".gpkg", result.facts))
        )  # fmt: skip
    found.append(
        Choice("Probe", "the small model itself, for sx.load_probe", f"{name}.safetensors", saved)
    )
    return [*found, code_choice(_code(pane))]


def _code(pane: Any) -> str:
    settings: dict[str, Any] = {"encoder": cells.Code("encoder")}
    upload = pane.uploaded()
    task: Any = pane.task
    if upload is not None:
        task = table_code(upload)
        given = {"target": pane.column.strip() or None, "kind": pane.kind}
        if pane.kind == PRESENCE:
            given |= {"species": pane.species.strip() or None, "background": pane.background}
        settings |= {name: value for name, value in given.items() if value not in (None, "auto")}
    settings |= pane.split() | {"model": pane.model, "seeds": pane.seeds}
    return cells.cell(
        {"encoder": pane.encoder},
        f"result = {cells.call('sx.train_probe', task, **settings)}",
        f"field = result.predict_raster({RESOLUTION:g})",
        "result",
    )

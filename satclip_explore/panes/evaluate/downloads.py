"""What an evaluation can be had as: a report, tables, the map of trust, and the cell behind it."""

from __future__ import annotations

from typing import Any

import xarray as xr

from satclip_explore.files.geotiff import geotiff_bytes
from satclip_explore.files.table import csv_bytes
from satclip_explore.panes import cells
from satclip_explore.panes.downloads import Choice, code_choice, stem, table_choices
from satclip_explore.panes.uploads import table_code
from training.evaluation.report import report_files


def offer(pane: Any, models: tuple[str, ...], seeds: int) -> list[Choice]:
    """List what the evaluation of a pane gives now.

    Parameters
    ----------
    pane : EvaluatePane
        Its result stands; without one there is nothing.
    models, seeds : tuple of str, int
        What it was evaluated with.
    """
    found = pane.result
    if found is None:
        raise ValueError("press Evaluate first; the report, scores and map are here when it ends.")
    ladder, survey = found.ladder, found.survey
    name = stem(ladder.task.name)

    listed = [
        Choice("Report", "one HTML file: verdict, figures, table, what was assumed",
               f"{name}-report.html", lambda _: report_files(ladder, survey)["report.html"]),
        Choice("CSV of scores", "one row for each contender, rung, draw and fold",
               f"{name}-scores.csv", lambda _: csv_bytes(ladder.scores, ladder.facts)),
    ]  # fmt: skip
    if survey is not None:
        raster, following = survey.raster, survey.following
        layers = [str(layer) for layer in raster.data_vars]

        def bands(_: Any) -> bytes:
            joined = raster.astype("float32").to_array("band").transpose("lat", "lon", "band")
            return geotiff_bytes(xr.DataArray(joined).assign_attrs(raster.attrs))

        listed.append(
            Choice("GeoTIFF", f"a band each: {', '.join(layers)}", f"{name}-trust.tif", bands)
        )
        listed += table_choices(lambda _: following, f"{name}-next-labels",
                                "the labels to get next", ladder.facts)  # fmt: skip
    return [*listed, code_choice(_code(pane, models, seeds))]


def _code(pane: Any, models: tuple[str, ...], seeds: int) -> str:
    contenders = pane.result.ladder.contenders.values()
    known = {each.encoder.name: each.encoder for each in contenders if each.encoder}
    beside = [name for name in pane.beside if name != pane.encoder.name]
    encoders = {"encoder": pane.encoder}
    encoders |= {f"other_{number}": known[name] for number, name in enumerate(beside, start=1)}
    task: Any = pane.task
    given: dict[str, Any] = {}
    upload = pane.uploaded()
    if upload is not None:
        task = table_code(upload)
        said = {"target": pane.column.strip() or None, "kind": pane.kind}
        given = {name: value for name, value in said.items() if value not in (None, "auto")}
    call = cells.call(
        "sx.evaluate", task, **given, encoders=[cells.Code(name) for name in encoders],
        models=models, max_places=pane.places, seeds=seeds,
    )  # fmt: skip
    return cells.cell(encoders, f"ladder = {call}", "ladder")

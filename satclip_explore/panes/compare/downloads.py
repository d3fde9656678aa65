"""What a comparison can be had as: globes, tables, and the cell that compares."""

from __future__ import annotations

from functools import partial
from typing import Any

from satclip_explore.files.raster import png_bytes
from satclip_explore.files.table import csv_bytes
from satclip_explore.geo import Grid
from satclip_explore.panes import cells, world
from satclip_explore.panes.downloads import Choice, code_choice, stem
from satclip_explore.provenance import provenance


def offer(pane: Any) -> list[Choice]:
    """List what a comparison gives now.

    Parameters
    ----------
    pane : ComparePane
        Two encoders of it are loaded at least.
    """
    encoders = pane.encoders()
    if len(encoders) < 2:
        raise ValueError("choose two to four encoders first, and wait until they are drawn.")
    listed = []
    for name, encoder in encoders.items():
        near = pane.near.raster(name)
        grid = near[0] if near else Grid.from_resolution(world.WORLD_RESOLUTION)
        paint = partial(world.painted, encoder, grid, land_only=pane.land_only)
        listed.append(
            Choice(f"PNG of {name}", f"{grid.shape[1]:,} × {grid.shape[0]:,} pixels in its colors",
                   f"{stem(name)}.png", _png(paint))
        )  # fmt: skip
    facts = provenance(encoders=list(encoders), weights=[e.weights_hash for e in encoders.values()])
    if pane.comparison is not None:
        tables = {"pairs": "likeness and shared neighbors of every two",
                  "shapes": "dimensions and half-variance distance of each"}  # fmt: skip
        for kind, inside in tables.items():
            frame = getattr(pane.comparison, kind)
            listed.append(Choice(f"CSV of {kind}", inside, f"encoder-{kind}.csv",
                                 partial(_csv, frame, facts)))  # fmt: skip
    if pane.result is not None:
        scores = pane.result.metrics.reset_index()
        listed.append(
            Choice("CSV of scores", f"of {pane.result.task.name}, mean and deviation over runs",
                   f"{stem(pane.result.task.name)}-scores.csv",
                   partial(_csv, scores, pane.result.facts))
        )  # fmt: skip
    return [*listed, code_choice(_code(pane, encoders))]


def _png(paint: Any) -> Any:
    return lambda check: png_bytes(paint(progress=check))


def _csv(frame: Any, facts: Any, _: Any) -> bytes:
    return csv_bytes(frame, facts)


def _code(pane: Any, encoders: Any) -> str:
    variables = dict(zip(("first", "second", "third", "fourth"), encoders.values(), strict=False))
    names = [cells.Code(variable) for variable in variables]
    lines = [f"comparison = {cells.call('sx.compare_encoders', names)}", "comparison"]
    if pane.result is not None:
        region = {} if pane.hold_out == "random" else {"region": pane.hold_out}
        call = cells.call(
            "sx.train_probe", pane.task, encoder=names[0], encoders=names[1:],
            baselines=("nearest",), model=pane.model, seeds=3, **region,
        )  # fmt: skip
        lines += [f"result = {call}", "result.table()"]
    return cells.cell(variables, *lines)

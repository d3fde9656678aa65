"""Which numbers an experiment of the paper is made of: encoders, tasks, ways to hold out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from training.probes.baselines import BASELINES
from training.probes.full_batch_mlp import FullBatchMLPProbe
from training.probes.registry import MODELS, PROBES
from training.tasks.task import Task

TABLE1_TASKS = ("air_temperature", "elevation", "population", "country", "biome", "ecoregion")
"""Tasks of Table 1 that the embedded atlas holds; iNaturalist needs files, see `inaturalist`."""

ENCODERS = (
    "mini-l40", "mini-l10", "mini-satclip-l10", "satclip-vit16-l40", "satclip-vit16-l10",
    "csp-fmow", "csp-inat", "gps2vec-tag", "gps2vec-visual", "mosaiks",
)  # fmt: skip
"""The embedded encoders and those of the paper, which are run where their weights are at hand."""

FIGURE2B_SHOTS = (0.01, 0.05, 0.1, 0.25)
"""Parts of the held-out continent that train."""

SEEDS = 10


@dataclass(frozen=True)
class Cell:
    """One number of the benchmark: an encoder, a task, a way to hold out.

    Parameters
    ----------
    encoder : str
        Name or path, or "nearest"; "shown=path" is shown under the first.
    task : str
        A name in `list_tasks`.
    region : str or None
        Held out; None for random halves.
    shots : float
        Part of the region that trains.
    model : str
        The probe.
    seeds : int
        Independent runs.
    tune : bool
        Choose the probe's settings on the validation rows first.
    """

    encoder: str
    task: str
    region: str | None = None
    shots: float = 0.01
    model: str = "mlp"
    seeds: int = SEEDS
    tune: bool = False


def tuned(cells: Iterable[Cell]) -> list[Cell]:
    """Mark the cells whose probe has settings to choose.

    Raises
    ------
    ValueError
        If there is none.
    """
    listed = list(cells)
    able = {name for name in MODELS if PROBES[name].alternatives(PROBES[name].Settings())}
    if not any(cell.model in able for cell in listed):
        raise ValueError(f"--tune needs a probe with a search: {', '.join(sorted(able))}.")
    return [replace(cell, tune=cell.model in able) for cell in listed]


def published(cells: Iterable[Cell], tasks: Mapping[str, Task]) -> list[Cell]:
    """List cells of the published notebook's probe beside those of an MLP on a number.

    Raises
    ------
    ValueError
        If there are none.
    """
    found = [
        replace(cell, model=FullBatchMLPProbe.kind)
        for cell in cells
        if cell.encoder != "nearest"
        and cell.model != "kriging"
        and not tasks[cell.task].is_classification
    ]
    if not found:
        raise ValueError(
            "--published needs a task whose target is a number, and a probe beside it."
        )
    return found


def table1(encoders: Sequence[str], tasks: Sequence[str], model: str, seeds: int) -> list[Cell]:
    """List the cells of Table 1: random halves of every task."""
    return [Cell(name, task, model=model, seeds=seeds) for task in tasks for name in encoders]


def figure2b(
    encoders: Sequence[str], tasks: Sequence[str], model: str, seeds: int, region: str
) -> list[Cell]:
    """List the cells of Figure 2b: a continent held out but for a growing part of its places.

    Encoders also stand in the probe that joins embedding and place, of which one run is enough:
    nothing in it is random. Coordinates in that probe show what place alone does.
    """
    ways = [(name, model, seeds) for name in encoders]
    if model != "kriging":
        ways += [(name, "kriging", 1) for name in encoders if name not in BASELINES]
        ways += [("xyz", "kriging", 1)]
    return [
        Cell(name, task, region, shots, probe, runs)
        for task in tasks
        for shots in FIGURE2B_SHOTS
        for name, probe, runs in ways
    ]

"""Whether an embedding helps your data, and how far from the labels that carries.

Run it from the repository::

    python -m training.evaluate plots.csv --target biomass
    python -m training.evaluate plots.csv --target crop --group farm --encoders mini-l40 mind

Every finished cell is kept under `--out`; a run that is stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from satclip_explore.checks import known_keywords, whole_number
from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.errors import sentence
from satclip_explore.progress import Cancel, Cancelled, interruptible
from satclip_explore.provenance import provenance
from training.evaluation.cells import Step
from training.evaluation.contenders import MODELS, ON_EMBEDDINGS, Contender, Ridge
from training.evaluation.ladder import Ladder
from training.evaluation.loop import fill_cells
from training.evaluation.verdict import COORDINATES
from training.probes.baselines import as_encoder, covered_places, line_up
from training.probes.kriging import MAX_SEARCHED
from training.tasks.folds import RUNGS, Rung, make_rungs
from training.tasks.kinds import doubtful_labels, refuse_copies
from training.tasks.splits import shuffled
from training.tasks.tables import as_places, as_task
from training.tasks.task import MIN_PLACES, Task

DEFAULT_MODELS = ("ridge", "kriging")


@known_keywords
@interruptible
def evaluate(
    data: Any,
    target: str | None = None,
    *,
    kind: str = "auto",
    encoders: str | LocationEncoder | Sequence[str | LocationEncoder] | None = None,
    models: Sequence[str] = DEFAULT_MODELS,
    covariates: Sequence[str] = (),
    group: Any = None,
    rungs: Sequence[Any] = RUNGS,
    folds: int = 5,
    seeds: int = 5,
    buffer_km: float = 0.0,
    max_places: int | None = None,
    places: Any = None,
    folder: str | Path | None = None,
    on_progress: Callable[[Step], object] | None = None,
    cancel: Cancel | None = None,
    device: str = "auto",
) -> Ladder:
    """Ask whether embeddings help to predict labels, close to known ones and far from them.

    Each way to hold out places is a rung: at random, the nearest label is close; with wider and
    wider cells, it is farther away. On every rung, contenders predict each place from the labels
    of other folds: interpolation, coordinates, embeddings, and embedding and place together.

    Parameters
    ----------
    data : str, path, frame or Task
        Your own labeled places, or a name in `list_tasks`.
    target, kind : str, optional
        Column of a table, and what it holds; see `task_from_table`.
    encoders : str, LocationEncoder or sequence of them, optional
        Default: the embedded encoder.
    models : sequence of {"ridge", "kriging", "logistic", "boosting"}
        What is fitted on each encoder; kriging joins embedding and place.
    covariates : sequence of str
        Numeric columns of the table that stand beside every embedding; rows with a gap are left
        out.
    group : object, optional
        A column, as a state or a site, whose groups are held out whole on a rung of their own.
    rungs : sequence
        "random"; numbers, for cells of so many degrees; "clusters"; "region", for one continent
        after the other.
    folds, seeds : int
        How many folds, and how often they are drawn.
    buffer_km : float
        Labels closer than this to a tested place do not train.
    max_places : int, optional
        Use so many of the labeled places at most, drawn once at random; default all.
    places : array_like, frame or path, optional
        Places where predictions are wanted; the verdict says which rung is most like them. They
        are not predicted here.
    folder : path, optional
        Where finished cells are kept, so that a stopped run can go on.
    on_progress : callable, optional
        Called with `Step` after every cell.
    cancel : object with is_set(), optional
        Stops; what is finished by then is returned. An interrupt does the same.
    device : str
        Of the encoders. "auto" takes CUDA where there is one.

    Returns
    -------
    Ladder
        `.scores`, `.summary`, `.verdict`, `.distances`, `.predict_interval(places)`, `.trust()`,
        `.next_labels()`, `.report(folder)`; shows itself.

    Raises
    ------
    ValueError
        If the data cannot be read, a name is unknown, or the places allow no way to hold out.
    Cancelled
        If it was stopped before anything was finished.

    Notes
    -----
    No choice sees a tested label: penalties are chosen among the other folds, kernels among
    labels that are hidden as far as the test is.

    References
    ----------
    Corley et al. (2026), CoordBench, arXiv:2609.25454, for the cells.
    """
    task, group_name = _read(data, target, kind, group, covariates)
    drawn = draw_places(task, max_places)
    chosen = _models(models, drawn)
    asked = [as_encoder(encoder, device) for encoder in _listed(encoders)]
    known = line_up(asked[0], asked[1:], COORDINATES, device)
    used, left_out = _complete(drawn, known.values())
    if len(drawn) < len(task):
        left_out.insert(0, f"{len(drawn):,} of {len(task):,} places, drawn at random.")
    # The column is a rung of its own; on the others only the rows of a place stay together.
    columns = {} if used.groups is None else {group_name: used.groups}
    task = replace(used, groups=None)
    ladder_rungs, notes = make_rungs(
        task, [*rungs, *columns], folds=folds, seeds=seeds, buffer_km=buffer_km, columns=columns
    )
    notes = left_out + doubtful_labels(task) + notes
    contenders = _contenders(known, [encoder.name for encoder in asked], chosen)
    notes += _bounds(task, contenders, ladder_rungs)
    to_predict = None if places is None else as_places(places)
    cells = fill_cells(
        task, ladder_rungs, contenders, tuple(notes),
        None if folder is None else Path(folder) / "cells", on_progress, cancel,
    )  # fmt: skip
    facts = provenance(
        asked[0],
        task=task.name,
        task_kind=task.kind,
        task_source=task.source,
        task_license=task.license,
        places=len(task),
        encoders=[encoder.name for encoder in asked],
        models=list(models),
        rungs=[rung.name for rung in ladder_rungs],
        folds=folds,
        seeds=seeds,
        buffer_km=buffer_km,
    )
    return Ladder(
        task, tuple(ladder_rungs), contenders, MappingProxyType(cells), to_predict, tuple(notes),
        facts,
    )  # fmt: skip


def _read(
    data: Any, target: str | None, kind: str, group: Any, covariates: Sequence[str]
) -> tuple[Task, str]:
    """Read the task, and the name of the column that its groups are from."""
    beside = (covariates,) if isinstance(covariates, str) else tuple(covariates)
    task = as_task(data, target, kind=kind, group=group, covariates=beside)
    refuse_copies(task)
    return task, "group" if group is None else str(group)


def draw_places(task: Task, max_places: int | None) -> Task:
    """Keep so many places of a task at most, drawn at random, the same ones each time."""
    if max_places is None:
        return task
    most = whole_number(max_places, "max_places", MIN_PLACES, 10**9)
    return task if len(task) <= most else task.subset(np.sort(shuffled(len(task), 0)[:most]))


def _complete(task: Task, encoders: Any) -> tuple[Task, list[str]]:
    """Leave out what an encoder or a covariate does not cover, and say so."""
    task, uncovered = covered_places(task, encoders)
    left_out = []
    if uncovered:
        left_out.append(f"{uncovered:,} places left out, where an encoder has no coverage.")
    if task.has_gaps.any():
        left_out.append(f"{task.has_gaps.sum():,} places left out, where a covariate is missing.")
        task = task.subset(~task.has_gaps)
    if task.weights is not None:
        left_out.append("weights of the rows are not used: all count alike.")
    return task, left_out


def _listed(
    encoders: str | LocationEncoder | Sequence[str | LocationEncoder] | None,
) -> list[str | LocationEncoder | None]:
    if encoders is None or isinstance(encoders, str | LocationEncoder):
        return [encoders]
    if not encoders:
        raise ValueError("name one encoder at least; leave encoders out for the embedded one.")
    return list(encoders)


def _models(models: Sequence[str], task: Task) -> list[str]:
    chosen = [models] if isinstance(models, str) else list(dict.fromkeys(models))
    unknown = [model for model in chosen if model not in ON_EMBEDDINGS]
    if unknown or not chosen:
        raise ValueError(
            f"models are {', '.join(ON_EMBEDDINGS)}; got {', '.join(map(str, unknown)) or 'none'}."
        )
    if "logistic" in chosen and not task.is_classification:
        raise ValueError("logistic regression predicts classes; for values use models=('ridge',).")
    return chosen


def _contenders(
    known: Mapping[str, LocationEncoder | None], asked: Sequence[str], models: Sequence[str]
) -> dict[str, Contender]:
    """List what is compared: cheap ones first, so that something is seen at once."""
    listed = [Contender(name, MODELS[name]()) for name in ("constant", "idw", "nearest")]
    listed += [Contender(name, Ridge(), known[name]) for name in COORDINATES]
    for kind in models:
        listed += [
            Contender(f"{name}{MODELS[kind].suffix}", MODELS[kind](), known[name])
            for name in dict.fromkeys(asked)
            if not (kind == "ridge" and name in COORDINATES)
        ]
    named = {contender.name: contender for contender in listed}
    if len(named) < len(listed):
        twice = next(name for name in named if sum(each.name == name for each in listed) > 1)
        raise ValueError(
            f"{twice!r} is a contender of every evaluation; give your encoder another name with "
            "load_encoder(…, name=…)."
        )
    return named


def _bounds(task: Task, contenders: Mapping[str, Contender], rungs: Sequence[Rung]) -> list[str]:
    """Say before it starts what is done for fewer draws, with fewer labels, or not at all."""
    said = []
    for name, contender in contenders.items():
        limit, most = contender.model.seeds, max(rung.n_seeds for rung in rungs)
        if limit is not None and limit < most:
            said.append(f"{name}: {limit} of {most} draws of the folds, since it is slow.")
        if contender.model.kind == "kriging" and len(task) > MAX_SEARCHED:
            said.append(
                f"{name}: looks for labels that are alike among {MAX_SEARCHED:,}, drawn at random; "
                "for near ones among all."
            )
    if not (task.is_classification or task.is_counts) and task.target.min() >= 0:
        said.append(
            "no label is below 0, yet intervals may reach below it: read such an end as 0 where "
            "the target cannot be negative."
        )
    return said


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 2 for bad arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("data", help="a file of labeled places, or a name from list_tasks()")
    parser.add_argument("--target", default=None, help="column to predict")
    parser.add_argument("--kind", default="auto", choices=("auto", "classification", "regression"))
    parser.add_argument("--encoders", nargs="+", default=None, help="names or files")
    parser.add_argument("--models", nargs="+", default=DEFAULT_MODELS, choices=ON_EMBEDDINGS)
    parser.add_argument("--covariates", nargs="+", default=(), help="columns beside the embedding")
    parser.add_argument("--group", default=None, help="column whose groups are held out whole")
    parser.add_argument(
        "--rungs", nargs="+", default=RUNGS, type=_as_rung,
        help="random, clusters, region, or widths of cells in degrees",
    )  # fmt: skip
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--buffer-km", type=float, default=0.0)
    parser.add_argument("--max-places", type=int, default=None, help="draw so many at random")
    parser.add_argument(
        "--places", default=None,
        help="a file of places; the report says which rung is most like predicting there",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=None, help="folder; default runs/evaluate")
    chosen = vars(parser.parse_args(arguments))
    out = chosen.pop("out") or Path("runs") / "evaluate"
    try:
        ladder = evaluate(**chosen, folder=out, on_progress=_say)
    except (FileNotFoundError, ImportError, ValueError, Cancelled) as error:
        print(sentence(error), file=sys.stderr)
        return 2
    page = ladder.report(out)
    print("\n".join(["", ladder.table().to_string(), "", *ladder.verdict, "", str(page)]))
    return 0


def _as_rung(text: str) -> float | str:
    try:
        return float(text.rstrip("°"))
    except ValueError:
        return text


def _say(step: Step) -> None:
    if not step.done:
        print("\n".join(step.notes))
        return
    left = "" if step.seconds_left != step.seconds_left else f"{step.seconds_left:6.0f} s left"
    print(f"{step.rung:8} {step.contender:28.28} {step.score:7.3f} {left}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""Few-shot probes: what an encoder knows of a task, beside the baselines it has to beat."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from numbers import Integral
from pathlib import Path
from typing import Any

import torch

from satclip_explore.checks import known_keywords, whole_number
from satclip_explore.encoders.base import LocationEncoder, resolve_device
from satclip_explore.errors import sentence
from satclip_explore.files.geotiff import to_geotiff
from satclip_explore.progress import Cancel, Cancelled, interruptible
from satclip_explore.provenance import provenance
from training.probes.base import Probe
from training.probes.baselines import (
    BASELINES,
    as_encoder,
    baseline_names,
    covered_places,
    fit_once,
    line_up,
    task_features,
)
from training.probes.data import Scale, fill_gaps, training_data, valid_rows
from training.probes.losses import Losses, Reports
from training.probes.nearest import NearestProbe, NearestSettings
from training.probes.predictions import predict_test
from training.probes.registry import MODELS, PROBES, find_model
from training.probes.result import Fitted, ProbeResult
from training.probes.suitability import choose_threshold
from training.probes.tuning import tune as tuned
from training.tasks.blocks import block_split
from training.tasks.presence import BACKGROUNDS
from training.tasks.splits import Split, published_split, random_split, region_split
from training.tasks.tables import as_task
from training.tasks.task import KINDS, PRESENCE, Task

MAX_SEEDS = 100

BASELINE_SEEDS = 3
"""Seeds of a baseline, the first of those of the run: their mean moves little beyond."""


@known_keywords
@interruptible
def train_probe(
    task: Any = "ecoregion",
    *,
    target: str | None = None,
    kind: str = "auto",
    species: str | None = None,
    background: str | None = None,
    group: Any = None,
    weights: Any = None,
    covariates: Sequence[Any] = (),
    region: Any = None,
    shots: float | int = 0.01,
    split: str | Split | None = None,
    model: str = "mlp",
    seeds: int | Sequence[int] = 10,
    encoder: str | LocationEncoder | None = None,
    baselines: bool | Sequence[str] = True,
    encoders: Sequence[str | LocationEncoder] = (),
    settings: Any = None,
    tune: bool = False,
    on_progress: Callable[[Losses], object] | None = None,
    cancel: Cancel | None = None,
    split_seed: int = 0,
    device: str = "auto",
) -> ProbeResult:
    """Train a small model on frozen embeddings, for all seeds at once, and score it.

    Parameters
    ----------
    task : str, Task, path or table
        A name in `list_tasks`; a task; or your own labeled places, as a file or a frame.
    target, kind : str, optional
        Column of such a table, and what it holds; see `task_from_table`. kind="presence" takes
        occurrences of a species, and predicts suitability; kind="counts" predicts mean counts, by
        Poisson regression.
    species, background : str, optional
        Which species of such occurrences, and how the background is drawn: "random",
        "target-group" or "thickened". `presence_task` has more to choose.
    group, weights : object, optional
        Columns: whose rows stay together in training or in test; how much each row counts.
    covariates : sequence
        Columns of numbers that join the embedding, standardized on the training rows; predictions
        then ask for them.
    region : str, sequence, mapping or Region, optional
        Hold out this part of the Earth, but for `shots`; see `satclip_explore.region`.
    shots : float or int
        Part of the region's places that train: a fraction, or a number per class.
    split : {"random", "blocks", "published"} or Split, optional
        Used when there is no region; default that of the task where one was published, else
        "random", half of the places.
    model : {"mlp", "linear", "knn", "kriging", "full-batch-mlp"}
        The probe; see `training.probes.registry`. "kriging", a Gaussian process, joins embedding
        and place, and can beat the nearest labeled place. "full-batch-mlp" is that of SatCLIP's
        published notebook.
    seeds : int or sequence of int
        How many independent first weights and row orders, or which ones. The split is the same.
    encoder : str or LocationEncoder, optional
        Default: the embedded encoder.
    baselines : bool or sequence of str
        Which of `BASELINES` to run beside it, for the first three seeds; True for all.
    encoders : sequence
        Further encoders to compare, for all seeds.
    settings : mapping or Settings of the probe, optional
        As in ``{"hidden_dim": 64}``.
    tune : bool
        Search the settings on the validation rows, for each encoder; for probes that can be tuned.
    on_progress : callable, optional
        Called with `Losses` while it trains, from this thread.
    cancel : object with is_set(), optional
        Stops the run; what is trained by then is returned. An interrupt (Ctrl-C, the stop button of
        a notebook) does the same.
    split_seed : int
        Which places are held out.
    device : str
        "auto" takes CUDA where there is one.

    Returns
    -------
    ProbeResult
        `.metrics`, `.predict(lonlat)`, `.predict_raster()`, `.save(path)`; shows itself.

    Raises
    ------
    ValueError
        If a name is unknown, the split leaves nothing to train or test on, or there are fewer
        training places than seeds.
    TypeError
        If a setting is unknown, or belongs to another probe, or something is no number.
    Cancelled
        If it was stopped before the encoder itself was trained.

    Notes
    -----
    Test rows touch nothing before they are scored: standardization, medians for gaps, early
    stopping and every choice of settings see training rows only, a tenth of which are kept for
    validation.
    """
    probe = find_model(model)
    settings = probe.as_settings(settings)
    if tune and not probe.alternatives(probe.Settings()):
        raise ValueError(f"tune=True needs a probe with a search; {model!r} chooses its own.")
    chosen_seeds = _seeds(seeds)
    split_seed = whole_number(split_seed, "split_seed", -(2**63), 2**63 - 1)
    where = resolve_device(device)
    task = as_task(
        task,
        target,
        kind=kind,
        species=species,
        background=background,
        group=group,
        weights=weights,
        covariates=tuple(covariates),
    )
    if task.covariates and model == "full-batch-mlp":
        raise ValueError("'full-batch-mlp' takes embeddings as they are; covariates need another.")
    if task.is_counts and not probe.takes_counts:
        able = [name for name in MODELS if PROBES[name].takes_counts]
        raise ValueError(
            f"model={model!r} predicts no counts; take {' or '.join(able)}, or kind='regression'."
        )
    encoder = as_encoder(encoder, device)
    rivals = [as_encoder(rival, device) for rival in encoders]
    compared = line_up(encoder, rivals, baseline_names(baselines), device)
    task, uncovered = covered_places(task, compared.values())
    if uncovered and isinstance(split, Split):
        raise ValueError(
            f"a Split counts all places of the task, and {uncovered:,} lie where an encoder has no "
            "coverage; leave those out of the task first, with encoder.coverage(task.lonlat)."
        )
    rows = hold_out(task, region, shots=shots, split=split, seed=split_seed)
    task = fill_gaps(task, rows)
    valid = valid_rows(task, rows, chosen_seeds, split_seed)
    scale = Scale.of(task, rows)
    test = torch.from_numpy(rows.test).to(where)

    in_question = {each.name for each in (encoder, *rivals)}
    baseline_seeds = chosen_seeds[:BASELINE_SEEDS]
    fitted: dict[str, Fitted] = {}
    reports = Reports(len(compared), on_progress)
    threshold: float | None = None
    # One nearest place is no ranking: presences among many say how near they are.
    nearest = NearestSettings(50) if task.is_presence else None
    for position, (name, each) in enumerate(compared.items()):
        if cancel is not None and cancel.is_set():
            break
        reports.begin(position, name)
        features = task_features(each, task).to(where)
        data, vectors = training_data(task, rows, features, valid, scale, where)
        if each is None:
            found: Probe = NearestProbe.fit(data, baseline_seeds, nearest)
        else:
            chosen = tuned(probe, data, settings, cancel) if tune else settings
            several = chosen_seeds if name in in_question else baseline_seeds
            if each.weights_hash or name in BASELINES:
                found = fit_once(probe, data, several, chosen, reports.step, cancel)
            else:  # nobody can ask for it again
                found = probe.fit(data, several, chosen, on_step=reports.step, cancel=cancel)
        if task.is_presence and each is encoder:
            threshold = choose_threshold(probe, data, chosen_seeds, chosen)
        predicted = predict_test(found, features[test], vectors[test], task, scale, reports.scored)
        fitted[name] = Fitted(each, found.to(torch.device("cpu")), predicted)
    if encoder.name not in fitted:
        raise Cancelled(f"stopped before {encoder.name} had a probe; nothing to show yet.")
    facts = provenance(
        encoder,
        task=task.name,
        task_kind=task.kind,
        task_source=task.source,
        task_license=task.license,
        places=len(task),
        places_without_coverage=uncovered or None,
        **{f"split_{key}": value for key, value in rows.facts.items()},
        split_description=rows.description,
        model=model,
        seeds=list(chosen_seeds),
        baseline_seeds=list(baseline_seeds) if set(fitted) - in_question else None,
        tuned=tune,
        settings=fitted[encoder.name].probe.settings,
        complete=len(fitted) == len(compared),
    )
    return ProbeResult(task, rows, encoder.name, fitted, reports.losses, scale, facts, threshold)


def _seeds(seeds: Any) -> tuple[int, ...]:
    """Check how many seeds, or which, before anything is made of their number."""
    several = isinstance(seeds, Iterable) and not isinstance(seeds, (str, bytes, Mapping))
    listed = list(islice(seeds, MAX_SEEDS + 1)) if several else [seeds]
    whole = all(isinstance(seed, Integral) and not isinstance(seed, bool) for seed in listed)
    if whole and not several and 1 <= seeds <= MAX_SEEDS:
        return tuple(range(int(seeds)))
    few = several and 1 <= len(listed) <= MAX_SEEDS and len(set(listed)) == len(listed)
    if whole and few and min(listed) >= 0 and max(listed) < 2**63:
        return tuple(int(seed) for seed in listed)
    raise ValueError(
        f"seeds must be 1 to {MAX_SEEDS}, or that many different whole numbers from 0 to 2⁶³ - 1; "
        f"got {seeds!r:.80}."
    )


def hold_out(
    task: Task,
    region: Any = None,
    *,
    shots: float | int = 0.01,
    split: str | Split | None = None,
    seed: int = 0,
) -> Split:
    """Split a task as `train_probe` would.

    Parameters
    ----------
    task : Task
        Labeled places.
    region, shots, split
        As for `train_probe`.
    seed : int
        Which places are held out.
    """
    if isinstance(split, Split):
        return split
    if region is not None:
        if split is not None:
            raise ValueError("give region= or split=, not both.")
        return region_split(task, region, shots=shots, seed=seed)
    split = split or ("random" if task.published_test is None else "published")
    if split == "published":
        return published_split(task)
    makers = {"random": random_split, "blocks": block_split}
    if split not in makers:
        raise ValueError(f"split must be random, blocks or published; got {split!r}.")
    return makers[split](task, seed=seed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 2 where something cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m training.probe", description=__doc__)
    parser.add_argument("task", help="a name in list_tasks(), or a file of labeled places")
    parser.add_argument("--target", help="column to predict; with presences, that of the species")
    parser.add_argument(
        "--kind", default="auto", choices=("auto", *KINDS, PRESENCE),
        help="what the target is; presence: occurrences of a species, without absences",
    )  # fmt: skip
    parser.add_argument("--species", help="which species of the occurrences")
    parser.add_argument("--background", choices=BACKGROUNDS, help="beside the occurrences")
    parser.add_argument("--group", help="column whose rows stay together in training or in test")
    parser.add_argument("--weights", help="column that says how much each row counts")
    parser.add_argument("--covariates", nargs="+", default=(), help="columns beside the embedding")
    parser.add_argument("--region", help="hold out this country or continent, but for --shots")
    parser.add_argument("--shots", type=float, default=0.01, help="part of it that trains")
    parser.add_argument("--split", choices=("random", "blocks", "published"))
    parser.add_argument("--model", default="mlp", choices=MODELS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--encoder", help="a name in list_encoders(), or a file")
    parser.add_argument("--save", type=Path, help="write the probe here, as safetensors")
    parser.add_argument("--raster", type=Path, help="write its map here, as GeoTIFF")
    parser.add_argument("--resolution", type=float, default=0.5, help="of the map, degrees")
    chosen = vars(parser.parse_args(arguments))
    save, raster, resolution = (chosen.pop(name) for name in ("save", "raster", "resolution"))
    try:
        result = train_probe(**chosen)
        print(result.table().to_string(), *result.verdict(), sep="\n")
        if save is not None:
            print(result.save(save))
        if raster is not None:
            print(to_geotiff(result.predict_raster(resolution), raster))
    except (FileNotFoundError, ImportError, TypeError, ValueError) as error:
        print(sentence(error), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

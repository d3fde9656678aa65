"""Few-shot probes: what an encoder knows of a task, beside the baselines it has to beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from satclip_explore.encoders.base import LocationEncoder, resolve_device
from satclip_explore.progress import interruptible
from satclip_explore.provenance import provenance
from training.probes.base import Cancel, Head
from training.probes.baselines import (
    as_encoder,
    baseline_names,
    covered_places,
    line_up,
    task_features,
)
from training.probes.kriging import fit_kernel
from training.probes.linear import fit_linear
from training.probes.mlp import MLPSettings, fit_mlp
from training.probes.nearest import fit_knn, fit_nearest
from training.probes.predictions import ranked_classes, values_per_seed
from training.probes.result import Fitted, ProbeResult
from training.probes.training_rows import scale_of, training_data, valid_rows
from training.probes.tuning import tune_mlp
from training.tasks.atlas import load_task
from training.tasks.splits import Split, block_split, random_split, region_split
from training.tasks.task import Task

MODELS: dict[str, Callable[..., Head]] = {
    "linear": fit_linear,
    "mlp": fit_mlp,
    "knn": fit_knn,
    "kernel": fit_kernel,
}
"""Probes by name."""


@dataclass(frozen=True)
class Losses:
    """State of a training run, as `on_update` receives it.

    Parameters
    ----------
    encoder : str
        Whose embeddings are being probed.
    train, valid : numpy.ndarray, shape (S,)
        Loss of each seed; NaN where there is none yet.
    done : float
        Fraction of all the encoders that are finished, 0 … 1.
    """

    encoder: str
    train: NDArray[np.float32]
    valid: NDArray[np.float32]
    done: float


class ProbeCancelledError(RuntimeError):
    """The run was stopped before the encoder itself had a probe."""


@interruptible
def train_probe(
    task: str | Task = "ecoregion",
    *,
    region: Any = None,
    shots: float | int = 0.01,
    split: str | Split | None = None,
    model: str = "mlp",
    seeds: int | Sequence[int] = 10,
    encoder: str | LocationEncoder | None = None,
    baselines: bool | Sequence[str] = True,
    encoders: Sequence[str | LocationEncoder] = (),
    settings: MLPSettings | None = None,
    tune: bool = False,
    on_update: Callable[[int, Losses], None] | None = None,
    cancel: Cancel | None = None,
    split_seed: int = 0,
    device: str = "auto",
) -> ProbeResult:
    """Train a small model on frozen embeddings, for all seeds at once, and score it.

    Parameters
    ----------
    task : str or Task
        A name in `list_tasks`, or a task of one's own; see `task_from_table`.
    region : str, sequence, mapping or Region, optional
        Hold out this part of the Earth, but for `shots`; see `satclip_explore.region`.
    shots : float or int
        Part of the region's places that train: a fraction, or a number per class.
    split : {"random", "blocks"} or Split, optional
        Used when there is no region; default "random", half of the places.
    model : {"mlp", "linear", "knn", "kernel"}
        The probe. "kernel" joins embedding and place, and can beat the nearest labelled place.
    seeds : int or sequence of int
        How many independent first weights and row orders, or which ones. The split is the same.
    encoder : str or LocationEncoder, optional
        Default: the embedded encoder.
    baselines : bool or sequence of str
        Which of `BASELINES` to run beside it; True for all.
    encoders : sequence
        Further encoders to compare.
    settings : MLPSettings, optional
        Of the "mlp".
    tune : bool
        Search width, weight decay and learning rate on the validation rows, for each encoder.
    on_update : callable, optional
        Called with (step, `Losses`) while it trains, from this thread.
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
    ProbeCancelledError
        If it was cancelled before the encoder itself was trained.

    Notes
    -----
    Test rows touch nothing before they are scored: standardization, early stopping and every
    choice of settings see training rows only, a tenth of which are kept for validation.
    """
    if model not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}; got {model!r}.")
    if tune and model != "mlp":
        raise ValueError(f"tune=True searches settings of the mlp; {model!r} chooses its own.")
    chosen_seeds = _seeds(seeds)
    where = resolve_device(device)
    task = load_task(task) if isinstance(task, str) else task
    main = as_encoder(encoder, device)
    others = [as_encoder(one, device) for one in encoders]
    contenders = line_up(main, others, baseline_names(baselines), device)
    task, uncovered = covered_places(task, [one for one in contenders.values() if one is not None])
    rows = hold_out(task, region, shots=shots, split=split, seed=split_seed)
    valid = valid_rows(task, rows, chosen_seeds, split_seed)
    scale = scale_of(task, rows.train)

    fitted: dict[str, Fitted] = {}
    curves: list[tuple[str, int, NDArray[Any], NDArray[Any]]] = []
    for position, (name, one) in enumerate(contenders.items()):
        if cancel is not None and cancel.is_set():
            break

        def report(
            step: int, train: torch.Tensor, loss: torch.Tensor, name: str = name, at: int = position
        ) -> None:
            curves.append((name, step, train.numpy(), loss.numpy()))
            if on_update is not None:
                on_update(step, Losses(name, train.numpy(), loss.numpy(), at / len(contenders)))

        features = task_features(one, task).to(where)
        data, vectors = training_data(task, rows, features, valid, scale, where)
        fit = MODELS[model] if one is not None else fit_nearest
        more: dict[str, Any] = {}
        if fit is fit_mlp:
            more["settings"] = tune_mlp(data, settings, cancel) if tune else settings
        head = fit(data, chosen_seeds, on_step=report, cancel=cancel, **more)
        test = torch.from_numpy(rows.test).to(where)
        if task.is_classification:
            predicted: NDArray[Any] = ranked_classes(head, features[test], vectors[test])
        else:
            predicted = values_per_seed(head, features[test], vectors[test], scale)
        fitted[name] = Fitted(one, head.to(torch.device("cpu")), predicted)
    if main.name not in fitted:
        raise ProbeCancelledError(f"stopped before {main.name} had a probe; nothing to show yet.")
    facts = provenance(
        main,
        task=task.name,
        task_kind=task.kind,
        task_source=task.source,
        task_licence=task.licence,
        places=len(task),
        places_without_coverage=uncovered or None,
        **{f"split_{key}": value for key, value in rows.facts.items()},
        split_description=rows.description,
        model=model,
        seeds=list(chosen_seeds),
        tuned=tune,
        settings=fitted[main.name].head.settings,
        complete=len(fitted) == len(contenders),
    )
    return ProbeResult(task, rows, main.name, fitted, curves, scale, facts)


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    chosen = tuple(range(seeds)) if isinstance(seeds, int) else tuple(int(s) for s in seeds)
    if not 1 <= len(chosen) <= 100 or len(set(chosen)) != len(chosen) or min(chosen) < 0:
        raise ValueError(f"seeds must be 1 to 100 different numbers from 0 on; got {seeds!r}.")
    return chosen


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
        Labelled places.
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
    makers = {"random": random_split, "blocks": block_split}
    if (split or "random") not in makers:
        raise ValueError(f"split must be random or blocks; got {split!r}.")
    return makers[split or "random"](task, seed=seed)

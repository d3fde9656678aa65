"""Where a run is: what every callback gets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from satclip_explore.encoders.satclip import SatCLIP
from satclip_explore.progress import Progress
from training.pretraining.config import PretrainConfig
from training.pretraining.retrieval import Retrieval


@dataclass(frozen=True)
class TrainingProgress(Progress):
    """Where a run is.

    Parameters
    ----------
    stage : str
        "imagery" while it is opened, "features" while the cache is filled, "preparing" while
        features are whitened, "resumed" when an earlier run is gone on with, then "training".
    done, total : int
        Optimizer steps, or blocks of features; 0 where there are none.
    places_per_second : float
        Pairs, or images described, per second in this session.
    seconds_left : float
        Estimate; NaN before the first step.
    epoch, epochs : int
        Finished epochs, and in all.
    loss : float
        Of the last step; the mean over the epoch in `on_epoch`; NaN before the first.
    logit_scale : float
        Learned inverse temperature.
    learning_rate : float
        Of the last step.
    validation : Retrieval or None
        At the end of an epoch.
    probes : mapping of str to float
        At the end of an epoch: accuracy or R² of the tasks in the setting `probes`.
    encoder : SatCLIP or None
        The location encoder as it is at the end of an epoch.
    past : tuple of TrainingProgress
        With "resumed": step, loss and validation of every epoch of before.
    """

    epoch: int = 0
    epochs: int = 0
    loss: float = math.nan
    logit_scale: float = math.nan
    learning_rate: float = 0.0
    validation: Retrieval | None = None
    probes: Mapping[str, float] = field(default_factory=dict)
    encoder: SatCLIP | None = None
    past: tuple[TrainingProgress, ...] = ()


Callback = Callable[[TrainingProgress], object]


def past_epochs(
    history: Sequence[Mapping[str, Any]], steps_per_epoch: int, epochs: int
) -> tuple[TrainingProgress, ...]:
    """Turn the history in a checkpoint into what `on_epoch` was called with, encoders apart."""
    names = [each.name for each in fields(Retrieval)]
    return tuple(
        TrainingProgress(
            stage="training",
            done=row["epoch"] * steps_per_epoch,
            total=epochs * steps_per_epoch,
            epoch=row["epoch"],
            epochs=epochs,
            loss=row.get("training_loss", math.nan),
            validation=Retrieval(**{name: row[name] for name in names}),
            probes=row.get("probes", {}),
        )
        for row in history
    )


@contextmanager
def with_events(
    config: PretrainConfig,
    folder: Path,
    is_first: bool,
    on_progress: Callback | None,
    on_epoch: Callback | None,
) -> Iterator[tuple[Callback | None, Callback | None]]:
    """Yield callbacks that write events too; the caller's own where none are wanted.

    Parameters
    ----------
    config : PretrainConfig
        Its `tensorboard` decides.
    folder : pathlib.Path
        Of the run; events go to its sub-folder `events`.
    is_first : bool
        Whether this process writes files.
    on_progress, on_epoch : callable or None
        The caller's.

    Raises
    ------
    ImportError
        If events are wanted and tensorboard is not installed.
    """
    if not (config.training.tensorboard and is_first):
        yield on_progress, on_epoch
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError("tensorboard=true needs TensorBoard: pip install tensorboard.") from error
    with SummaryWriter(str(folder / "events")) as writer:

        def each_step(progress: TrainingProgress) -> None:
            if progress.stage == "training":
                writer.add_scalar("loss/step", progress.loss, progress.done)
                writer.add_scalar("learning_rate", progress.learning_rate, progress.done)
                writer.add_scalar("logit_scale", progress.logit_scale, progress.done)
            if on_progress is not None:
                on_progress(progress)

        def each_epoch(progress: TrainingProgress) -> None:
            found = progress.validation
            if found is not None:
                writer.add_scalar("loss/validation", found.loss, progress.done)
                writer.add_scalar("recall_at_1", found.recall_at_1, progress.done)
                writer.add_scalar("recall_at_10", found.recall_at_10, progress.done)
            for task, score in progress.probes.items():
                writer.add_scalar(f"probes/{task}", score, progress.done)
            if on_epoch is not None:
                on_epoch(progress)

        yield each_step, each_epoch

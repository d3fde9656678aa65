"""Where a run is: what every callback gets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from satclip_explore.encoders.satclip import SatCLIP
from training.pretraining.config import PretrainConfig
from training.pretraining.retrieval import Retrieval


@dataclass(frozen=True)
class Progress:
    """Where a run is.

    Parameters
    ----------
    stage : str
        "imagery" while it is opened, "features" while the cache is filled, "preparing" while
        features are whitened, "resumed" when an earlier run is gone on with, then "training".
    step, steps : int
        Optimizer steps, or blocks of features, done and in all; 0 where there are none.
    epoch, epochs : int
        Finished epochs, and in all.
    loss : float
        Of the last step; the mean over the epoch in `on_epoch`; NaN before the first.
    logit_scale : float
        Learned inverse temperature.
    learning_rate : float
        Of the last step.
    places_per_second : float
        Pairs, or images described, per second in this session.
    seconds_left : float
        Estimate; NaN before the first step.
    validation : Retrieval or None
        At the end of an epoch.
    probes : mapping of str to float
        At the end of an epoch: accuracy or R² of the tasks in the setting `probes`.
    encoder : SatCLIP or None
        The location encoder as it is at the end of an epoch.
    past : tuple of Progress
        With "resumed": step, loss and validation of every epoch of before.
    """

    stage: str
    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float = math.nan
    logit_scale: float = math.nan
    learning_rate: float = 0.0
    places_per_second: float = 0.0
    seconds_left: float = math.nan
    validation: Retrieval | None = None
    probes: Mapping[str, float] = field(default_factory=dict)
    encoder: SatCLIP | None = None
    past: tuple[Progress, ...] = ()


Callback = Callable[[Progress], None]


def past_epochs(
    history: Sequence[Mapping[str, Any]], steps_per_epoch: int, epochs: int
) -> tuple[Progress, ...]:
    """Turn the history in a checkpoint into what `on_epoch` was called with, encoders apart."""
    names = [each.name for each in fields(Retrieval)]
    return tuple(
        Progress(
            stage="training",
            step=row["epoch"] * steps_per_epoch,
            steps=epochs * steps_per_epoch,
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
    on_step: Callback | None,
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
    on_step, on_epoch : callable or None
        The caller's.

    Raises
    ------
    ImportError
        If events are wanted and tensorboard is not installed.
    """
    if not (config.training.tensorboard and is_first):
        yield on_step, on_epoch
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError("tensorboard=true needs TensorBoard: pip install tensorboard.") from error
    with SummaryWriter(str(folder / "events")) as writer:

        def each_step(progress: Progress) -> None:
            if progress.stage == "training":
                writer.add_scalar("loss/step", progress.loss, progress.step)
                writer.add_scalar("learning_rate", progress.learning_rate, progress.step)
                writer.add_scalar("logit_scale", progress.logit_scale, progress.step)
            if on_step is not None:
                on_step(progress)

        def each_epoch(progress: Progress) -> None:
            found = progress.validation
            if found is not None:
                writer.add_scalar("loss/validation", found.loss, progress.step)
                writer.add_scalar("recall_at_1", found.recall_at_1, progress.step)
                writer.add_scalar("recall_at_10", found.recall_at_10, progress.step)
            for task, score in progress.probes.items():
                writer.add_scalar(f"probes/{task}", score, progress.step)
            if on_epoch is not None:
                on_epoch(progress)

        yield each_step, each_epoch

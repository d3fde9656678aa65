"""TensorBoard events beside the caller's callbacks, where the configuration asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.config import PretrainConfig
from training.progress import Callback, Progress


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

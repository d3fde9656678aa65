"""Losses of probes while they train, and how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from satclip_explore.progress import Progress

WORTH_SAYING = 2.0
"""Seconds that scoring takes before it is said how long it will."""


@dataclass(frozen=True, eq=False)
class Losses(Progress):
    """State of a training run, as `on_progress` receives it; `done` counts finished encoders.

    Parameters
    ----------
    encoder : str
        Whose embeddings are being probed.
    step : int
        Of its training, or of its search for settings.
    train, valid : numpy.ndarray, shape (S,)
        Loss of each seed; NaN where there is none yet.
    """

    encoder: str = ""
    step: int = 0
    train: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    valid: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def loss(self) -> float:
        """Mean validation loss over the seeds; NaN where there is none yet."""
        known = self.valid[np.isfinite(self.valid)]
        return float(known.mean()) if known.size else float("nan")


def tidy_losses(losses: Sequence[Losses]) -> pd.DataFrame:
    """Return encoder, step, seed (its position), train and valid: a row per validation and seed."""
    columns = ["encoder", "step", "seed", "train", "valid"]
    parts = [
        pd.DataFrame(
            {
                "encoder": each.encoder,
                "step": each.step,
                "seed": np.arange(len(each.valid)),
                "train": each.train,
                "valid": each.valid,
            }
        )
        for each in losses
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


class Reports:
    """Keeps the losses of one encoder after another, and passes them on with the time left.

    Parameters
    ----------
    total : int
        Encoders that are compared.
    on_progress : callable or None
        Called with `Losses`.
    """

    def __init__(self, total: int, on_progress: Callable[[Losses], object] | None) -> None:
        self.losses: list[Losses] = []
        self._total, self._on_progress = total, on_progress
        self._done, self._name, self._began = 0, "", time.perf_counter()
        self._scoring: float | None = None

    def begin(self, position: int, name: str) -> None:
        """Go on to the next encoder."""
        self._done, self._name, self._scoring = position, name, None

    def step(self, step: int, train: torch.Tensor, valid: torch.Tensor) -> None:
        """Take the losses of a validation; see `training.probes.base.Step`."""
        losses = Losses(
            "probe", self._done, self._total, encoder=self._name, step=step,
            train=train.numpy(), valid=valid.numpy(),
        )  # fmt: skip
        self.losses.append(losses)
        if self._on_progress is not None:
            self._on_progress(losses)

    def scored(self, done: int, places: int) -> None:
        """Hear that so many of the test places are scored; say when all will be.

        Encoders to come are taken to need as long as those before them.
        """
        now = time.perf_counter()
        if self._scoring is None:
            self._scoring, self._scored = now, done
            return
        each = (now - self._scoring) / (done - self._scored)
        mine = each * (places - done)
        if mine < WORTH_SAYING or self._on_progress is None:
            return
        so_far = (now - self._began + mine) / (self._done + 1)
        last = self.losses[-1] if self.losses and self.losses[-1].encoder == self._name else None
        self._on_progress(
            Losses(
                "scores", self._done, self._total,
                seconds_left=mine + so_far * (self._total - self._done - 1),
                encoder=self._name,
                step=last.step if last else 0,
                valid=last.valid if last else np.zeros(0, np.float32),
            )
        )  # fmt: skip

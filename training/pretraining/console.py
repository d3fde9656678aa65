"""What a run says on a terminal."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import TextIO

from satclip_explore.encoders.checkpoint import read_config
from satclip_explore.errors import Offer
from training.pretraining.progress import TrainingProgress

TERMINAL_SECONDS, FILE_SECONDS = 0.5, 10.0
"""Between two lines of progress: one line is rewritten on a terminal, others grow."""

BEFORE_TRAINING = {
    "imagery": "opening the imagery",
    "preparing": "whitening the features",
}


OFFERS = {
    Offer.START_OVER: "Pass --fresh to start over, or another --output FOLDER.",
    Offer.DOWNLOAD: "Pass --download to fetch it.",
}
"""How the command line says what answers an error."""


class Console:
    """Says where a run is: progress on one line, every epoch on a line of its own.

    Parameters
    ----------
    stream : file, optional
        Default standard output.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._terminal = self._stream.isatty()
        self._last, self._stage, self._width = -math.inf, "", 0

    def step(self, progress: TrainingProgress) -> None:
        """Say what is being done, now and then; fits `pretrain(on_progress=…)`."""
        if progress.stage == "resumed":
            if progress.epoch == progress.epochs:
                self._print(f"all {progress.epochs} epochs were done before")
            else:
                self._print(f"goes on after epoch {progress.epoch} of {progress.epochs}")
            return
        if progress.stage in BEFORE_TRAINING:
            self._print(f"{BEFORE_TRAINING[progress.stage]} …")
            return
        pause = TERMINAL_SECONDS if self._terminal else FILE_SECONDS
        begins = progress.stage != self._stage
        ends = progress.stage == "features" and progress.done == progress.total
        now = time.monotonic()
        if begins or ends or now - self._last >= pause:
            self._last, self._stage = now, progress.stage
            self._print(line(progress), stays=ends or not self._terminal)

    def epoch(self, progress: TrainingProgress) -> None:
        """Say how an epoch went; fits `pretrain(on_epoch=…)`."""
        found = progress.validation
        assert found is not None
        self._print(
            f"epoch {progress.epoch}/{progress.epochs} · loss {progress.loss:.3f} · validation "
            f"{found.loss:.3f} · recall@1 {found.recall_at_1:.3f} of {found.candidates:,} · "
            f"inverse temperature {progress.logit_scale:.1f}"
            + "".join(f" · {task} {score:.3f}" for task, score in progress.probes.items())
        )

    def end(self, folder: Path, epochs: int) -> None:
        """Say what there is now, and how to go on where it was stopped."""
        done = int(read_config(folder)["card"]["epochs"])
        if done < epochs:
            self._print(
                f"stopped; {folder} holds epoch {done} of {epochs}, and the same command goes on "
                "from there."
            )
        self._print(f"{folder}: satclip_explore.load_encoder({str(folder)!r}) opens it.")

    def clear(self) -> None:
        """Leave the line that is being rewritten."""
        if self._width:
            self._print("")

    def _print(self, words: str, *, stays: bool = True) -> None:
        start = "\r" if self._width else ""
        padding = " " * max(0, self._width - len(words))
        self._width = 0 if stays else len(words)
        self._stream.write(f"{start}{words}{padding}{chr(10) if stays else ''}")
        self._stream.flush()


def line(progress: TrainingProgress) -> str:
    """Write where a run is, in one line."""
    words = [f"{progress.stage} {progress.done:,}/{progress.total:,}"]
    if math.isfinite(progress.loss):
        words.append(f"loss {progress.loss:.3f}")
    if progress.places_per_second:
        words.append(f"{progress.places_per_second:,.0f} places/s")
    if math.isfinite(progress.seconds_left) and progress.done < progress.total:
        words.append(f"{duration(progress.seconds_left)} left")
    return " · ".join(words)


def duration(seconds: float) -> str:
    """Write a time as people say it: 40 s, 12 min, 1 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"

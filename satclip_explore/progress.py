"""How long work says where it is, and how it is asked to stop."""

from __future__ import annotations

import functools
import math
import signal
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])

_guarded: ContextVar[bool] = ContextVar("guarded", default=False)


class Cancel(Protocol):
    """Tells whether to stop, as threading.Event does."""

    def is_set(self) -> bool:
        """Tell whether to stop."""
        ...


class Cancelled(Exception):
    """The caller asked to stop; the message says what was kept."""


@dataclass(frozen=True)
class Progress:
    """Where some long work is; what every `on_progress` is called with.

    Parameters
    ----------
    stage : str
        What is being done, as in "download", "features", "training", "raster".
    done, total : int
        Bytes, blocks, steps or rows; a total of 0 is not known.
    places_per_second : float
        Places, images or pixels per second in this session; 0 where they are not counted.
    seconds_left : float
        Estimate for this stage; NaN where there is none.
    """

    stage: str
    done: int = 0
    total: int = 0
    places_per_second: float = 0.0
    seconds_left: float = math.nan

    @property
    def share(self) -> float:
        """How much of the stage is done, 0 to 1; NaN where the total is not known."""
        return self.done / self.total if self.total else math.nan


OnProgress = Callable[[Progress], object]


class Meter:
    """Turns counts into `Progress`, with the rate of this session.

    Parameters
    ----------
    stage : str
        See `Progress`.
    on_progress : callable or None
        Called with each `Progress`.
    total, done : int
        In all, and what an earlier session left.
    places_per_unit : float
        Places in one of what is counted.
    """

    def __init__(
        self,
        stage: str,
        on_progress: OnProgress | None,
        *,
        total: int = 0,
        done: int = 0,
        places_per_unit: float = 0.0,
    ) -> None:
        self._stage, self._on_progress, self._places = stage, on_progress, places_per_unit
        self._total, self._before, self._started = total, done, time.perf_counter()

    def __call__(self, done: int) -> None:
        """Report that so much is done."""
        if self._on_progress is None:
            return
        rate = (done - self._before) / max(time.perf_counter() - self._started, 1e-9)
        left = (self._total - done) / rate if rate > 0 and self._total else math.nan
        if done == self._total:
            left = 0.0
        self._on_progress(
            Progress(self._stage, done, self._total, max(rate, 0.0) * self._places, left)
        )


def stop_if(cancel: Cancel | None, words: str) -> None:
    """Raise `Cancelled` with these words once `cancel` is set."""
    if cancel is not None and cancel.is_set():
        raise Cancelled(words)


class _Interrupt:
    """Set by an interrupt, or by the flag of the caller."""

    def __init__(self, given: Cancel | None) -> None:
        self._given = given
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set() or (self._given is not None and self._given.is_set())


def interruptible(function: Function) -> Function:
    """Let an interrupt set the `cancel` of a call in place of ending it.

    The second interrupt ends the call as usual. Outside of the main thread, which alone receives
    interrupts, nothing changes; nor within another such call, whose interrupt it is.

    Parameters
    ----------
    function : callable
        With a keyword parameter `cancel`, an object with is_set() or None.

    Returns
    -------
    callable
        Called in the same way.
    """

    @functools.wraps(function)
    def guarded(*args: Any, cancel: Cancel | None = None, **kwargs: Any) -> Any:
        if _guarded.get() or threading.current_thread() is not threading.main_thread():
            return function(*args, cancel=cancel, **kwargs)
        interrupt = _Interrupt(cancel)
        before = signal.getsignal(signal.SIGINT)

        def stop(*_: Any) -> None:
            interrupt.set()
            signal.signal(signal.SIGINT, before)

        signal.signal(signal.SIGINT, stop)
        outer = _guarded.set(True)
        try:
            return function(*args, cancel=interrupt, **kwargs)
        finally:
            _guarded.reset(outer)
            signal.signal(signal.SIGINT, before)

    return cast(Function, guarded)

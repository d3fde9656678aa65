"""Ctrl-C, or a notebook's stop button, as a request to stop that keeps what was learned."""

from __future__ import annotations

import functools
import signal
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])

_guarded: ContextVar[bool] = ContextVar("guarded", default=False)


class Flag(Protocol):
    """Says whether to stop, as threading.Event does."""

    def is_set(self) -> bool:
        """Tell whether to stop."""
        ...


class _Interrupt:
    """Set by an interrupt, or by the flag of the caller."""

    def __init__(self, given: Flag | None) -> None:
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
    def guarded(*args: Any, cancel: Flag | None = None, **kwargs: Any) -> Any:
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

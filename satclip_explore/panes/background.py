"""Slow work beside the page: one daemon thread at a time, results on the page's own thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import panel as pn

from satclip_explore.progress import Cancelled


class Job:
    """A running piece of work, made on the thread of the page that wants its result; a `Cancel`.

    Results go to the session of that page, in a notebook to the kernel's event loop, and where
    there is neither (a script, a test) they are delivered at once.
    """

    def __init__(self) -> None:
        document = pn.state.curdoc
        served = document is not None and document.session_context is not None
        self._document = document if served else None
        self._loop: asyncio.AbstractEventLoop | None
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None
        if served:
            pn.state.on_session_destroyed(lambda _: self.stop())
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def is_set(self) -> bool:
        """Tell whether the work is no longer wanted."""
        gone = self._document is not None and self._document.session_context is None
        return gone or self._stop.is_set()

    def check(self, *_: Any) -> None:
        """Raise `Cancelled` once the work is no longer wanted; fits as a progress callback."""
        if self.is_set():
            raise Cancelled("stopped: its result is no longer wanted.")

    def deliver(self, callback: Callable[[], object]) -> None:
        """Run a callback on the page's thread, unless the work was stopped meanwhile."""

        def unless_stopped() -> None:
            if not self.is_set():
                callback()

        if self._document is not None:
            if not self.is_set():  # a page that is gone takes nothing
                self._document.add_next_tick_callback(unless_stopped)
        elif self._loop is not None:
            self._loop.call_soon_threadsafe(unless_stopped)
        else:
            unless_stopped()

    def stop(self) -> None:
        """Ask the work to end; it does so at its next check."""
        self._stop.set()

    def begin(self, run: Callable[[], None]) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=run, daemon=True, name="satclip-job")
        self._thread.start()

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the thread to end, at most `timeout` seconds."""
        if self._thread is not None:
            self._thread.join(timeout)


class Background:
    """Runs jobs one at a time: starting one stops the one before."""

    def __init__(self) -> None:
        self._job: Job | None = None

    def start(
        self,
        work: Callable[[Job], Any],
        done: Callable[[Any], object],
        failed: Callable[[ValueError], object],
    ) -> Job:
        """Run `work(job)` in a thread; its result goes to `done`, a ValueError to `failed`."""
        self.stop()
        job = self._job = Job()

        def run() -> None:
            try:
                result = work(job)
            except Cancelled:
                return
            except ValueError as error:
                problem = error
                job.deliver(lambda: failed(problem))
            else:
                job.deliver(lambda: done(result))

        job.begin(run)
        return job

    def stop(self) -> None:
        """Stop the running job, if any."""
        if self._job is not None:
            self._job.stop()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the last job has ended."""
        if self._job is not None:
            self._job.wait(timeout)

"""Slow work beside the page: in a few threads for all, results on the page's own thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import panel as pn

from satclip_explore.panes.served.closing import is_served
from satclip_explore.panes.served.lanes import Lane, report
from satclip_explore.panes.served.settings import SETTINGS
from satclip_explore.progress import Cancelled

WORK = Lane(SETTINGS.workers)
"""Where rasters and tables are computed."""

TRAININGS = Lane(SETTINGS.trainings, SETTINGS.waiting)
"""Where probes and encoders are trained, for minutes: a click never waits for them."""


class Job:
    """A running piece of work, made on the thread of the page that wants its result; a `Cancel`.

    Results go to the session of that page, in a notebook to the kernel's event loop, and where
    there is neither (a script, a test) they are delivered at once.
    """

    def __init__(self) -> None:
        document = pn.state.curdoc
        served = is_served(document)
        self._document = document if served else None
        self._loop: asyncio.AbstractEventLoop | None
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None
        if served:
            pn.state.on_session_destroyed(lambda _: self.stop())
        self._stop = threading.Event()
        self._ended: threading.Event | None = None

    def is_set(self) -> bool:
        """Tell whether the work is no longer wanted."""
        gone = self._document is not None and not is_served(self._document)
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

    def begin(self, run: Callable[[], None], lane: Lane) -> bool:
        """Queue the work in a lane; False where too many wait there already."""
        ended = self._ended = threading.Event()

        def unless_stopped() -> None:
            try:
                if not self.is_set():
                    run()
            except Exception as error:
                report(error)
            finally:
                ended.set()

        owner = id(self) if self._document is None else id(self._document)
        if not lane.put(owner, unless_stopped):
            ended.set()
            return False
        return True

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the work to end, at most `timeout` seconds."""
        if self._ended is not None:
            self._ended.wait(timeout)


class Background:
    """Runs jobs one at a time: starting one stops the one before.

    Parameters
    ----------
    lane : Lane, optional
        Default the one of rasters and tables.
    """

    def __init__(self, lane: Lane = WORK) -> None:
        self._job: Job | None = None
        self._lane = lane

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

        if not job.begin(run, self._lane):
            problem = ValueError(
                f"{self._lane.running} trainings run and {self._lane.waiting} wait on this server; "
                "try again in a few minutes."
            )
            job.deliver(lambda: failed(problem))
        return job

    def stop(self) -> None:
        """Stop the running job, if any."""
        if self._job is not None:
            self._job.stop()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the last job has ended."""
        if self._job is not None:
            self._job.wait(timeout)

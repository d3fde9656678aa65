"""Slow work of all readers in a few threads, one of each reader in turn."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable


class Lane:
    """A few daemon threads, and a queue in which every owner has one turn after the other's.

    Parameters
    ----------
    workers : int
        Pieces of work that run at a time.
    waiting : int, optional
        Pieces that may wait; default any number.
    """

    def __init__(self, workers: int, waiting: int | None = None) -> None:
        self.workers, self.most_waiting = workers, waiting
        self._changed = threading.Condition()
        self._queue: OrderedDict[Hashable, deque[Callable[[], None]]] = OrderedDict()
        self._threads = self._idle = 0

    @property
    def waiting(self) -> int:
        """How many pieces of work wait."""
        with self._changed:
            return sum(map(len, self._queue.values()))

    @property
    def running(self) -> int:
        """How many run."""
        with self._changed:
            return self._threads - self._idle

    def put(self, owner: Hashable, run: Callable[[], None]) -> bool:
        """Add a piece of work, which must not raise; False, and it is not, where too many wait."""
        with self._changed:
            waiting = sum(map(len, self._queue.values()))
            full = self.most_waiting is not None and waiting >= self.most_waiting
            if full and self._threads == self.workers and not self._idle:
                return False
            self._queue.setdefault(owner, deque()).append(run)
            if self._idle <= waiting and self._threads < self.workers:
                self._threads += 1
                threading.Thread(target=self._work, daemon=True, name="satclip-job").start()
            self._changed.notify()
        return True

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                while not self._queue:
                    self._changed.wait()
                self._idle -= 1
                owner, pieces = self._queue.popitem(last=False)
                run = pieces.popleft()
                if pieces:
                    self._queue[owner] = pieces
            run()
            # Else the last work would be kept, with its page, until the next comes.
            del run, pieces, owner


def report(error: Exception) -> None:
    """Say that work has failed, as Python does when a thread ends in an error."""
    facts = (type(error), error, error.__traceback__, threading.current_thread())
    threading.excepthook(threading.ExceptHookArgs(facts))

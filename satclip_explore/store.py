"""Results that a process computes once and shares: bounded, keyed by what they depend on."""

from __future__ import annotations

import hashlib
import sys
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

CAPACITY = 512 * 2**20
"""Bytes kept by default: seven globes of 1 degree and 256 dimensions, or 170 of 0.25 degrees."""

WAIT_SECONDS = 0.1
"""How often somebody who waits for another's result asks whether it is still wanted."""

_MISSING = object()


class Store:
    """Keeps results until there is no room, least recently used first out; safe among threads.

    A key is a tuple: what the result is, and everything it depends on. An encoder in it stands for
    its name, the hash of its weights, dtype, device and settings; one without a hash for the object
    itself, held weakly, so that its results go when it goes. An array stands for its content.
    A result must not hold an encoder of its key, or neither would ever go before it is pushed out.

    Parameters
    ----------
    capacity : int
        Bytes to keep. What is larger than that is handed out, and not kept.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        # What was pushed out while somebody still uses it is found again, at no cost.
        self._in_use: weakref.WeakValueDictionary[Hashable, Any] = weakref.WeakValueDictionary()
        self._running: dict[Hashable, threading.Event] = {}
        self._gone: deque[_SameObject] = deque()
        self._nbytes = 0

    def get(
        self, key: tuple[Any, ...], make: Callable[[], Any], check: Callable[[], None] | None = None
    ) -> Any:
        """Return the result of a key; whoever asks first computes it, the others wait.

        Parameters
        ----------
        key : tuple
            What the result depends on.
        make : callable
            Computes it. What it raises is raised to its caller alone: of those who wait, one
            computes in turn.
        check : callable, optional
            Called now and then while waiting; raises where the result is no longer wanted.

        Returns
        -------
        object
            Shared by all who ask: not to be changed.
        """
        known = self._known(key)
        while True:
            with self._lock:
                found = self._find(known)
                if found is not _MISSING:
                    return found
                running = self._running.get(known)
                if running is None:
                    mine = self._running[known] = threading.Event()
                    break
            while not running.wait(WAIT_SECONDS):
                if check is not None:
                    check()
        try:
            value = make()
            self._keep(known, value)
            return value
        finally:
            with self._lock:
                del self._running[known]
            mine.set()

    def peek(self, key: tuple[Any, ...]) -> Any:
        """Return the result of a key where it is at hand, else None; computes nothing."""
        known = self._known(key)
        with self._lock:
            found = self._find(known)
        return None if found is _MISSING else found

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self._in_use.clear()
            self._nbytes = 0

    @property
    def nbytes(self) -> int:
        """Bytes that are kept."""
        with self._lock:
            self._sweep()
            return self._nbytes

    def __len__(self) -> int:
        with self._lock:
            self._sweep()
            return len(self._kept)

    def _known(self, key: tuple[Any, ...]) -> Hashable:
        return tuple(_identity(part, self._gone.append) for part in key)

    def _find(self, key: Hashable) -> Any:
        self._sweep()
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        return self._in_use.get(key, _MISSING)

    def _keep(self, key: Hashable, value: Any) -> None:
        size = size_of(value)
        with self._lock:
            self._sweep()
            with suppress(TypeError):  # numbers, strings and tuples cannot be held weakly
                self._in_use[key] = value
            if size > self.capacity:
                return
            self._kept[key] = (value, size)
            self._nbytes += size
            while self._nbytes > self.capacity:
                _, (_, freed) = self._kept.popitem(last=False)
                self._nbytes -= freed

    def _sweep(self) -> None:
        """Drop the results of objects that are gone; they are only noted when they go."""
        while self._gone:
            token = self._gone.popleft()
            for key in [key for key in self._kept if _holds(key, token)]:
                self._nbytes -= self._kept.pop(key)[1]


RESULTS = Store()
"""What this process shares: encoders, globes, projections, comparisons."""


class _SameObject:
    """Stands for one object by identity, without keeping it; never equal to a later one."""

    def __init__(self, owner: Any, gone: Callable[[_SameObject], None]) -> None:
        self._hash = id(owner)
        self._owner = weakref.ref(owner, lambda _: gone(self))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, _SameObject):
            return self is other
        owner = self._owner()
        return owner is not None and owner is other._owner()


def _holds(key: Any, token: _SameObject) -> bool:
    return key is token or (isinstance(key, tuple) and any(_holds(part, token) for part in key))


def _identity(part: Any, gone: Callable[[_SameObject], None]) -> Hashable:
    """Turn a part of a key into what it depends on."""
    if isinstance(part, tuple | list):
        return tuple(_identity(item, gone) for item in part)
    if isinstance(part, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(part).tobytes()).hexdigest()
        return ("array", part.shape, str(part.dtype), digest)
    if not hasattr(part, "weights_hash"):
        return part
    if not part.weights_hash:
        return _SameObject(part, gone)
    # Weights alone do not say how they are used: frequencies, harmonics, chosen layers do.
    return (type(part).__qualname__, part.weights_hash, str(part.dtype), str(part.device),
            _settings(part), _settings(getattr(part, "network", None)))  # fmt: skip


def _settings(owner: Any) -> Hashable:
    plain = (str, int, float, bool, type(None))
    return tuple(
        (name, value)
        for name, value in sorted(getattr(owner, "__dict__", {}).items())
        if isinstance(value, plain)
        or (isinstance(value, tuple) and all(isinstance(item, plain) for item in value))
    )


def size_of(value: Any) -> int:
    """Count the bytes of a value and of all that it holds; what occurs twice counts once."""
    seen: set[int] = set()
    total, left = 0, [value]
    while left:
        item = left.pop()
        if id(item) in seen or isinstance(item, type):
            continue
        seen.add(id(item))
        if hasattr(item, "memory_usage"):
            total += int(np.sum(item.memory_usage(deep=True)))
        elif hasattr(item, "nbytes"):
            total += int(item.nbytes)
        else:
            total += sys.getsizeof(item)
            if isinstance(item, Mapping):
                left += [*item.keys(), *item.values()]
            elif isinstance(item, list | tuple | set | frozenset):
                left += item
            left += getattr(item, "__dict__", {}).values()
    return total

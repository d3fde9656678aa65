"""Work in parts: one after another, in threads, or on any Dask scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from satclip_explore.checks import whole_number
from satclip_explore.encoders.base import LocationEncoder


def run(
    work: Callable[..., None], encoder: LocationEncoder, tasks: list[tuple[Any, ...]], workers: int
) -> None:
    """Run `work(encoder, *task)` for every task.

    Parameters
    ----------
    work : callable
        What is done; its result is dropped.
    encoder : LocationEncoder
        Sent to each worker once.
    tasks : list of tuple
        Further arguments of each call.
    workers : int
        Threads, where no Dask client is active; an active client decides in their place.

    Raises
    ------
    ImportError
        If there are to be several workers, and no Dask.
    """
    whole_number(workers, "workers", 1, 1024)
    client = _client()
    if client is None and workers == 1:
        for task in tasks:
            work(encoder, *task)
        return
    try:
        from dask.base import compute
        from dask.delayed import delayed
    except ImportError as error:
        raise ImportError("workers need Dask: pip install 'satclip-explore[scale]'") from error
    sent = delayed(encoder, pure=True)
    jobs = [delayed(work)(sent, *task) for task in tasks]
    if client is not None:
        compute(*jobs, scheduler=client)
        return
    with _threads_each(max(1, torch.get_num_threads() // workers)):
        compute(*jobs, scheduler="threads", num_workers=workers)


def _client() -> Any:
    """Return the active Dask client; None where there is none."""
    try:
        from distributed import get_client
    except ImportError:
        return None
    try:
        return get_client()
    except ValueError:
        return None


@contextmanager
def _threads_each(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

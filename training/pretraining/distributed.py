"""One process, or as many as torchrun started."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from satclip_explore.encoders.base import resolve_device
from satclip_explore.errors import Offer, RunConflictError

LONGEST_WAIT = timedelta(hours=12)
"""Other processes wait for the first one to fill the feature cache."""


LONGEST_SENTENCE = 1000
"""Bytes of what the first process says to the others when it fails."""

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """One process among all.

    Parameters
    ----------
    rank, count : int
        Number of this process, from 0, and how many there are.
    device : torch.device
        Where it computes.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def after_first(self, work: Callable[[], T]) -> T | None:
        """Let the first process do something while the others wait; where it fails, all do.

        Returns
        -------
        object
            What `work` returned; None in the others.
        """
        if self.count == 1:
            return work()
        result, error = None, None
        if self.is_first:
            try:
                result = work()
            except Exception as failed:
                error = failed
        # The offer goes along by name: each process words it for its own front end.
        offer = getattr(error, "offer", None)
        problem = getattr(error, "problem", "") or str(error) or type(error).__name__
        said = f"{offer.name if offer else ''}\n{problem}".encode() if error else b""
        said = said[:LONGEST_SENTENCE]
        words = torch.zeros(LONGEST_SENTENCE, dtype=torch.uint8, device=self.device)
        words[: len(said)] = torch.tensor(list(said), dtype=torch.uint8)
        dist.broadcast(words, src=0)
        if error is not None:
            raise error
        if words.any():
            text = bytes(words.tolist()).rstrip(b"\0").decode(errors="replace")
            name, _, heard = text.partition("\n")
            raise RunConflictError(
                f"the first process stopped: {heard}", Offer[name] if name else None
            )
        return result

    def agree(self, description: str) -> None:
        """Make sure that all processes say the same.

        Raises
        ------
        ValueError
            If one sees other files than another.
        """
        if self.count == 1:
            return
        number = int.from_bytes(hashlib.blake2b(description.encode(), digest_size=7).digest())
        extremes = torch.tensor([number, -number], device=self.device)
        dist.all_reduce(extremes, op=dist.ReduceOp.MAX)
        if extremes.sum().item():
            raise ValueError(
                "the processes do not see the same images and checkpoints; imagery, output and "
                "cache must lie on a disk that all machines share."
            )

    def broadcast(self, tensors: Iterable[torch.Tensor]) -> None:
        """Give every process what the first one holds in these tensors."""
        if self.count > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def mean(self, value: torch.Tensor) -> float:
        """Average a scalar over all processes."""
        if self.count > 1:
            dist.all_reduce(value)
        return float(value) / self.count

    def any(self, flag: bool) -> bool:
        """Tell whether the flag is set in any process."""
        if self.count == 1:
            return flag
        value = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
        return bool(value.item())


@contextmanager
def processes(device: str, batch_size: int) -> Iterator[Processes]:
    """Join the processes that torchrun started, or be the only one.

    Parameters
    ----------
    device : str
        "auto", "cpu", "cuda", …; with several processes each takes its own GPU.
    batch_size : int
        Over all processes.

    Raises
    ------
    ValueError
        If the device is not available, there are fewer GPUs than processes, or the batch cannot be
        divided evenly.
    """
    launched = dist.is_available() and dist.is_torchelastic_launched()
    if not launched or dist.is_initialized():
        yield Processes(0, 1, resolve_device(device))
        return
    # Chosen before anything is allocated: each process would take memory of the first GPU too.
    resolved = resolve_device(_own_gpu(device))
    if resolved.type == "cuda":
        torch.cuda.set_device(resolved)
        dist.init_process_group("nccl", timeout=LONGEST_WAIT, device_id=resolved)
    else:
        dist.init_process_group("gloo", timeout=LONGEST_WAIT)
    count = dist.get_world_size()
    if batch_size % count:
        dist.destroy_process_group()
        raise ValueError(
            f"batch_size must divide evenly among {count} processes; got {batch_size}."
        )
    yield Processes(dist.get_rank(), count, resolved)
    # Not where one has failed: it would wait here for others that wait for it.
    dist.destroy_process_group()


def _own_gpu(device: str) -> str:
    """Name the GPU of this process where GPUs are wanted, else the device as it is."""
    wanted = device.partition(":")[0] == "cuda" or (device == "auto" and torch.cuda.is_available())
    if not wanted:
        return device
    # torchrun hands over the number of the process on this machine in no other way.
    number, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if 0 < count <= number:
        raise ValueError(
            f"each process needs a GPU of its own; this machine has {count} and process {number} "
            f"none. Start torchrun with --nproc-per-node={count}."
        )
    return f"cuda:{number}"

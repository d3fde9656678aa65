"""One process, or as many as torchrun started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from satclip_explore.encoders.base import resolve_device

LONGEST_WAIT = timedelta(hours=12)
"""Other processes wait for the first one to fill the feature cache."""


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

    def wait(self) -> None:
        """Let all processes get here."""
        if self.count > 1:
            dist.barrier()

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
    try:
        count = dist.get_world_size()
        if batch_size % count:
            raise ValueError(
                f"batch_size must divide evenly among {count} processes; got {batch_size}."
            )
        yield Processes(dist.get_rank(), count, resolved)
    finally:
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

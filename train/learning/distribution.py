"""Training by several processes: ``torchrun --nproc-per-node 2 -m train …`` (gloo on CPUs, NCCL on GPUs).

Each worker learns from its share of every batch; torch's ``DistributedDataParallel`` averages the gradients. Without
torchrun there is one worker, and nothing here does anything.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed

if TYPE_CHECKING:
    from numpy.typing import NDArray

WAIT = datetime.timedelta(hours=2)
"""How long workers wait for each other; the first one decodes the images while the others wait."""


@dataclass(frozen=True)
class Workers:
    """This process's number among ``count``; the first one, 0, writes files and log output."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and log output."""
        return self.rank == 0

    def share(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """This worker's contiguous share of a batch or a data set."""
        return np.array_split(positions, self.count)[self.rank]

    def any(self, flag: bool) -> bool:
        """Whether any worker says so: all workers must ask at the same place."""
        if self.count == 1:
            return flag
        counted = torch.tensor([int(flag)])
        torch.distributed.all_reduce(counted)
        return bool(counted.item())

    def sum(self, value: float) -> float:
        """The sum over the workers, the same number on each."""
        if self.count == 1:
            return value
        total = torch.tensor([value], dtype=torch.float64)
        torch.distributed.all_reduce(total)
        return float(total.item())

    def concatenate(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rows of all workers in the order of their shares."""
        if self.count == 1:
            return rows
        gathered: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(gathered, rows)
        return np.concatenate(gathered)

    def wait(self) -> None:
        """Wait until every worker is here."""
        if self.count > 1:
            torch.distributed.barrier()

    @contextlib.contextmanager
    def first_goes_first(self) -> Iterator[None]:
        """Let the first worker do the block alone, then the others, who find its files."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()


@contextlib.contextmanager
def joined_workers() -> Iterator[Workers]:
    """Join the processes that torchrun started, for the duration of the block."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield Workers()
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    torch.distributed.init_process_group(backend, timeout=WAIT)
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    try:
        yield Workers(torch.distributed.get_rank(), torch.distributed.get_world_size())
    finally:
        torch.distributed.destroy_process_group()

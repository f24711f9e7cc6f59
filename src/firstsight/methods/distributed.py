"""Several processes that train together, as `torchrun` starts them: each takes its share of every batch.

All draw the same random numbers for the whole batch and keep every n-th, and gradients are averaged before each step.
So n processes take the steps that one would with the same batch; only dropout and the wrong classes of the ranking loss
differ, which each process draws for the rows it has.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from firstsight.errors import InputError

PATIENCE = timedelta(days=1)  # with a process that is late: the first may be shrinking very many pictures


@dataclass(frozen=True)
class Ranks:
    """The processes that train together, as one of them sees them; `Ranks()` is a process that trains alone.

    Attributes:
        rank: number of this process; the first, 0, writes files and talks.
        n: how many processes there are.
    """

    rank: int = 0
    n: int = 1

    def check_shared(self, **batches: int) -> None:
        """Raise an InputError where a batch, by the name of its setting, cannot be shared evenly."""
        for name, size in batches.items():
            if size % self.n:
                raise InputError(f"{name} must be a multiple of {self.n}, the processes that share it; got {size}")

    def share(self, drawn: Tensor) -> Tensor:
        """Return this rank's rows of random numbers that all ranks have drawn alike."""
        return drawn[self.rank :: self.n]

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the ranks, in one message."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if self.n > 1 and gradients:
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            distributed.all_reduce(flat)
            flat /= self.n
            for gradient, mean in zip(gradients, flat.split([one.numel() for one in gradients]), strict=True):
                gradient.copy_(mean.view_as(gradient))

    def mean_of_all(self, values: Tensor) -> Tensor:
        """Return the mean of a tensor over the ranks; the tensor is written to."""
        if self.n > 1:
            distributed.all_reduce(values)
            values /= self.n
        return values

    def any_of_all(self, is_so: bool) -> bool:
        """Tell whether something is so in any of the ranks."""
        if self.n == 1:
            return is_so
        flag = torch.tensor(float(is_so), device="cuda" if distributed.get_backend() == "nccl" else "cpu")
        distributed.all_reduce(flag)
        return bool(flag > 0)

    @contextmanager
    def first_goes_ahead(self) -> Iterator[None]:
        """Let the first rank go through the block alone; the others follow and find what it wrote."""
        if self.rank:
            distributed.barrier()
            yield
            return
        try:
            yield
        finally:  # after an error too: each of the others then says the same
            if self.n > 1:
                distributed.barrier()


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the other processes that `torchrun` started, if it did.

    Yields:
        the ranks; `Ranks()` where this process is alone.
    """
    if distributed.is_initialized():
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
        return
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield Ranks()
        return
    import torch.distributed.nn  # imported later, its functions would hold on to the group, and that to its threads

    has_gpus = torch.cuda.is_available()
    if has_gpus:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if has_gpus else "gloo", timeout=PATIENCE)
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()

"""Several processes that train together, as `torchrun` starts them: each takes its share of every batch.

All draw the same random numbers for the whole batch and keep every n-th, and gradients are averaged before each step.
So n processes take the steps that one would with the same batch; only dropout and the wrong classes of the ranking loss
differ, which each process draws for the rows it has.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

PATIENCE = timedelta(days=1)  # with a process that is late: the first may be shrinking very many pictures


@contextmanager
def joined() -> Iterator[int]:
    """Join the other processes that `torchrun` started, if it did.

    Yields:
        which of them this one is; 0 where it is alone. The first writes files and talks.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or distributed.is_initialized():
        yield rank()
        return
    import torch.distributed.nn  # imported later, its functions would hold on to the group, and that to its threads

    has_gpus = torch.cuda.is_available()
    if has_gpus:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if has_gpus else "gloo", timeout=PATIENCE)
    try:
        yield distributed.get_rank()
    finally:
        distributed.destroy_process_group()


@contextmanager
def first_goes_ahead() -> Iterator[None]:
    """The first process goes through the block alone; the others follow, and find what it has left in the cache."""
    if n_ranks() == 1:
        yield
        return
    if rank():
        distributed.barrier()
        yield
        return
    try:
        yield
    finally:  # an error too: each of them then says the same
        distributed.barrier()


def rank() -> int:
    """Which process this is."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def n_ranks() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def share(drawn: Tensor) -> Tensor:
    """This process's rows of what all have drawn alike."""
    return drawn[rank() :: n_ranks()]


def average_gradients(parameters: list[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes, in one message."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if n_ranks() > 1 and gradients:
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= n_ranks()
        for gradient, mean in zip(gradients, flat.split([one.numel() for one in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


def mean_of_all(values: Tensor) -> Tensor:
    """The mean over the processes."""
    if n_ranks() > 1:
        distributed.all_reduce(values)
        values /= n_ranks()
    return values


def any_of_all(is_so: bool, device: torch.device) -> bool:
    """Whether it is so in any process."""
    if n_ranks() == 1:
        return is_so
    flag = torch.tensor(float(is_so), device=device)
    distributed.all_reduce(flag)
    return bool(flag > 0)

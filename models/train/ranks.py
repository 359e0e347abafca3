"""One training shared by several processes, each on its rows of every batch."""

from __future__ import annotations

import os
from typing import NamedTuple

import torch
from torch import Tensor, distributed, nn


class Ranks(NamedTuple):
    """Process `rank` of `world`."""

    rank: int = 0
    world: int = 1

    def rows(self, batch: int) -> slice:
        """The rows of a batch that this process has. Raises ValueError unless all have as many."""
        if batch % self.world:
            raise ValueError(f"a batch of {batch} cannot be shared by {self.world} processes: choose a multiple")
        each = batch // self.world
        return slice(self.rank * each, (self.rank + 1) * each)

    def shared(self, player: nn.Module) -> nn.Module:
        """The module, whose gradients are then the mean over all processes."""
        return player if self.world == 1 else nn.parallel.DistributedDataParallel(player, find_unused_parameters=True)

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean over all processes."""
        if self.world > 1:
            distributed.all_reduce(tensor)
        return tensor / self.world

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            distributed.barrier()


ALONE = Ranks()


def here() -> Ranks:
    """This process among those that were joined."""
    if distributed.is_available() and distributed.is_initialized():
        return Ranks(distributed.get_rank(), distributed.get_world_size())
    return ALONE


def join(device: torch.device) -> Ranks:
    """Joins the processes that torchrun started; ALONE where it did not.

    They talk by NCCL on GPUs, of which each has its own, and by gloo on the CPU.
    """
    if "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return here()


def leave() -> None:
    """Takes leave of the processes that were joined."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()

"""The random numbers of one step of training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class Chance:
    """What a step draws by chance, for some `rows` of a batch of `total`.

    Step k of a seed draws the same in any process, and each row gets the same however many processes share the batch:
    all draw for the whole batch, on the CPU, and keep their own rows, on `device`.
    """

    def __init__(self, seed: int, step: int, total: int, rows: slice = slice(None), device: torch.device | str = "cpu"):
        self.seed, self.step, self.total, self.rows, self.device = seed, step, total, rows, torch.device(device)
        # The generator takes 32 bits of its seed: step and seed have to share them.
        self.generator = torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**32)

    def own(self, whole: Tensor) -> Tensor:
        """The rows of a tensor [total, ...] that are kept, on the device."""
        return whole[self.rows].to(self.device, non_blocking=True)

    def normal(self, *shape: int) -> Tensor:
        """Unit normals [rows, *shape]."""
        return self.own(torch.randn(self.total, *shape, generator=self.generator))

    def uniform(self, *shape: int) -> Tensor:
        """Numbers in 0..1, [rows, *shape]."""
        return self.own(torch.rand(self.total, *shape, generator=self.generator))


Draw = Callable[[Chance], tuple[Tensor, Tensor]]
"""What gives pictures [B, C, H, W] and the rows of their words [B, W], 0 where there is none."""


def sharing(batch: Callable[[int, torch.Generator], tuple[Tensor, Tensor]]) -> Draw:
    """What draws a process's own rows of a batch that is made whole by `batch(count, generator)`."""

    def draw(chance: Chance) -> tuple[Tensor, Tensor]:
        pictures, rows = batch(chance.total, chance.generator)
        return chance.own(pictures), chance.own(rows)

    return draw

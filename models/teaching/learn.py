"""A small net that learns to guess the whole picture from what a process has left of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..nets.unet import UNet
from ..train.chance import Chance
from ..train.denoiser import net_config
from ..train.pyramid import by_chance
from .processes import Process


class Undoer(nn.Module):
    """Guesses x0 from x_t: (1 − t)·x_t + net(x_t, t). As a player its loss is the mean absolute error.

    That is the loss of Bansal et al. 2022, arXiv:2208.09392.
    """

    def __init__(self, net: UNet, process: Process):
        super().__init__()
        self.net, self.process = net, process

    def forward(self, x0: Tensor, rows: Tensor, chance: Chance) -> Tensor:
        noise, t = chance.normal(*x0.shape[1:]), chance.uniform()
        return (self.predict(self.process.degrade(x0, t, noise), t) - x0).abs().mean()

    def predict(self, x: Tensor, t: float | Tensor) -> Tensor:
        """A guess at x0 [B, C, H, W], t a number or [B]."""
        t = torch.as_tensor(t, dtype=x.dtype, device=x.device).reshape(-1)
        return (1 - t[:, None, None, None]) * x + self.net(x, self.net.embed(t)).to(x.dtype)


def undoer(process: Process, shape: Sequence[int], seed: int = 0) -> Undoer:
    """One that has learned nothing yet, of pictures [C, H, W]. Raises ValueError for sides that no net can have."""
    net = by_chance(lambda: UNet(net_config("tiny", shape, 1)), seed)
    net.words.requires_grad_(False)  # it is told no words, and Adam keeps no moments of what has no gradient
    return Undoer(net, process)

"""Pictures of 8 bits a number: the values that they may have, and how well a noisy state tells which."""

from __future__ import annotations

import torch
from torch import Tensor

AT_ONCE = 2**16  # numbers that are compared with all values


def values(channels: str) -> list[Tensor]:
    """For each channel of x0 its ascending possible values, as `pixels.encode` makes them of 8 bits.

    "rgb": 256. "rgba": of colours 257, for what is transparent is 0; of alpha 2. Raises ValueError for other channels.
    """
    colours = 2 * torch.arange(256, dtype=torch.float64) / 255 - 1
    if channels == "rgb":
        return [colours] * 3
    if channels == "rgba":
        return [torch.cat([colours, torch.zeros(1).double()]).sort().values] * 3 + [torch.tensor([-1.0, 1.0]).double()]
    raise ValueError(f"{channels} are no channels of 8 bits")


def rounded(x0: Tensor, channels: str) -> Tensor:
    """x0 [B, C, H, W] with each number at the nearest that it may have."""
    planes = [_nearest(plane, each)[1] for plane, each in zip(x0.unbind(1), values(channels), strict=True)]
    return torch.stack(planes, 1).to(x0)


def log_posterior(x0: Tensor, z: Tensor, alpha: float, sigma: float, channels: str) -> Tensor:
    """ln P(x0 | z) of each picture [B] where z = α·x0 + σ·ε and all values were as likely before; float64.

    The reconstruction of Kingma et al. 2021, arXiv:2107.00630, section 3.3.
    """
    total = torch.zeros(len(x0), dtype=torch.float64)
    for plane, state, each in zip(x0.unbind(1), z.unbind(1), values(channels), strict=True):
        index = _nearest(plane, each)[0]
        logs = []
        for seen, true in zip(state.flatten().split(AT_ONCE), index.flatten().split(AT_ONCE), strict=True):
            likely = -(seen.double().cpu()[:, None] - alpha * each).square() / (2 * sigma**2)
            logs.append(likely.log_softmax(1).gather(1, true[:, None])[:, 0])
        total += torch.cat(logs).view(len(x0), -1).sum(1)
    return total


def _nearest(plane: Tensor, each: Tensor) -> tuple[Tensor, Tensor]:
    """Which of the ascending values is nearest to each number, and that value."""
    between = (each[1:] + each[:-1]) / 2
    index = torch.bucketize(plane.double().cpu().contiguous(), between)
    return index, each[index]

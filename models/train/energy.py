"""How far apart two sets of pictures are, number by number."""

from __future__ import annotations

import torch
from torch import Tensor


def energy_distance(first: Tensor, second: Tensor) -> float:
    """2·E|X−Y| − E|X−X′| − E|Y−Y′| of pictures [N, ...] and [M, ...], a number of a picture at a time.

    Without bias, and 0 in the mean where both are alike (Székely & Rizzo 2013, "Energy statistics"). Of a single
    picture it takes the distance to itself.
    """
    first, second = first.flatten(1).double(), second.flatten(1).double()
    between = torch.cdist(first, second).mean()
    return ((2 * between - _within(first) - _within(second)) / first.shape[1] ** 0.5).item()


def _within(pictures: Tensor) -> Tensor:
    count = len(pictures)
    return torch.cdist(pictures, pictures).sum() / max(1, count * (count - 1))

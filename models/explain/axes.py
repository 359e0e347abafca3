"""The axes of a generator's noise: which of them change the picture, and how."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

REACH = 2.0  # deviations to each side
AT_ONCE = 256  # pictures


class Axes(NamedTuple):
    """Axes of the noise by how much they change a picture, most first: which they are, and how much: a root mean
    square difference between both ends, over all starts."""

    order: list[int]
    effects: list[float]


@torch.no_grad()
def strongest_axes(draw: Callable[[Tensor], Tensor], noise: Tensor, reach: float = REACH) -> Axes:
    """All axes of noises [B, ...] to start from, each moved to −reach and to reach; `draw(noise [N, ...])` -> [N, ...].

    It draws two pictures for each axis and each start.
    """
    flat = noise.flatten(1)
    count = flat.shape[1]
    squares = torch.zeros(count, dtype=torch.float64)
    some = max(1, AT_ONCE // (2 * len(flat)))
    for first in range(0, count, some):
        axes = range(first, min(first + some, count))
        moved = flat.repeat(2 * len(axes), 1).view(2, len(axes), len(flat), count)
        for place, axis in enumerate(axes):
            moved[0, place, :, axis], moved[1, place, :, axis] = -reach, reach
        drawn = draw(moved.view(-1, *noise.shape[1:])).flatten(1).double().cpu()
        low, high = drawn.view(2, len(axes), -1)
        squares[first : axes.stop] = (high - low).square().mean(1)
    effects = squares.sqrt()
    order = effects.argsort(descending=True, stable=True)
    return Axes(order.tolist(), effects[order].tolist())


def along(noise: Tensor, axis: int, places: Tensor) -> Tensor:
    """Noise [...] with its number `axis` at each of `places` [N]: [N, ...]."""
    moved = noise.flatten().repeat(len(places), 1)
    moved[:, axis] = places.to(moved)
    return moved.view(-1, *noise.shape)

"""How large a net of a generator is, for pictures of a size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import torch
from torch import nn

SIZES = {"tiny": 16, "small": 32, "medium": 48, "large": 64, "huge": 96}
"""The width of a net by the name of its size."""
MULTIPLIERS = (1, 2, 3, 4, 4, 4)

Net = TypeVar("Net", bound=nn.Module)


def pyramid(size: str, shape: Sequence[int], smallest: int) -> dict[str, Any]:
    """What the configs of generators' nets share, for pictures [C, H, W]; the lowest level has sides of `smallest`.

    Raises ValueError for a size unknown.
    """
    if size not in SIZES:
        raise ValueError(f"there is no size {size!r:.40}: choose {', '.join(SIZES)}")
    channels, *sides = shape
    patch = 2 if min(sides) >= 8 and not any(side % 2 for side in sides) else 1
    levels = 1
    while levels < len(MULTIPLIERS) and all(
        side % (patch * 2**levels) == 0 and side // (patch * 2**levels) >= smallest for side in sides
    ):
        levels += 1
    return {
        "in_channels": channels,
        "sides": tuple(sides),
        "patch": patch,
        "width": SIZES[size],
        "multipliers": MULTIPLIERS[:levels],
    }


def settings(config: Any) -> dict[str, Any]:
    """A net's config as JSON has it."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(config).items()}


def by_chance(make: Callable[[], Net], seed: int) -> Net:
    """What `make` makes, by chance that is alike for the same seed, and takes none of anybody else's."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return make()

"""Keeping part of a picture: a denoiser that already knows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..denoising.space import Space


def noised(space: Space, x0: Tensor, sigma: float, noise: Tensor) -> Tensor:
    """The state α(σ)·x0 + σ·noise."""
    return torch.add(x0 * space.alpha(sigma), noise, alpha=sigma)


def keeping(D: Callable, space: Space, known: Tensor, mask: Tensor, noise: Tensor) -> Callable[[Tensor, float], Any]:
    """D that repaints where `mask` [B, 1, H, W] is 1 and knows x0 = `known` where it is 0.

    The known part of each state is `known` at that noise level, always with the same `noise` (RePaint, Lugmayr et
    al. 2022, arXiv:2201.09865, without resampling).
    """

    def knowing(x: Tensor, sigma: float) -> Any:
        x0 = D(torch.lerp(noised(space, known, sigma, noise), x, mask), sigma)
        if isinstance(x0, tuple):
            return tuple(torch.lerp(known, each, mask) for each in x0)
        return torch.lerp(known, x0, mask)

    return knowing

"""Keeping part of a picture: a denoiser that already knows it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..denoising.space import Space


def noised(space: Space, x0: Tensor, sigma: float, noise: Tensor) -> Tensor:
    """The state α(σ)·x0 + σ·noise."""
    return torch.add(x0 * space.alpha(sigma), noise, alpha=sigma)


def keeping(D: Callable, space: Space, known: Tensor, mask: Tensor, noise: Tensor) -> Callable[[Tensor, float], Tensor]:
    """D that repaints where `mask` [B, 1, H, W] is 1 and knows x0 = `known` where it is 0.

    The known part of each state is `known` at that noise level, always with the same `noise` (RePaint, Lugmayr et
    al. 2022, arXiv:2201.09865, without resampling).
    """

    def knowing(x: Tensor, sigma: float) -> Tensor:
        x = torch.lerp(noised(space, known, sigma, noise), x, mask)
        return torch.lerp(known, D(x, sigma), mask)

    return knowing

"""The variational bound of diffusion, in continuous time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..denoising.space import Space


class Bound(NamedTuple):
    """What pictures cost in nats [B], float64: pure noise that is none (`prior`), and the way down from it."""

    prior: Tensor
    diffusion: Tensor


@torch.no_grad()
def bound(
    D: Callable[[Tensor, Tensor], Tensor],
    x0: Tensor,
    space: Space,
    sigma_min: float,
    sigma_max: float,
    *,
    pure_noise: float | None = None,
    levels: int = 64,
    seed: int = 0,
) -> Bound:
    """The divergence of the noising of each x0 [B, ...] from the model's way down, by D(x, sigma [B]) -> x0.

    Kingma et al. 2021, "Variational diffusion models", arXiv:2107.00630, equations 4 and 17:
    D_KL(q(x at σ_max) ‖ N(0, pure_noise²)) + ½ ∫ E‖x0 − D(x, σ)‖² dSNR, with SNR = (α/σ)² from σ_max to σ_min.
    The integral is drawn by chance: a level in each of `levels` even parts of ln(1 + SNR), other ones for each picture,
    with fresh noise. So an estimate has no error of discretisation, only a spread, which that over pictures contains.
    """
    generator = torch.Generator().manual_seed(seed)
    batch, lifted = len(x0), [-1] + [1] * (x0.ndim - 1)
    low, high = (math.log1p(_snr(space, sigma)) for sigma in (sigma_max, sigma_min))
    total = torch.zeros(batch, dtype=torch.float64, device=x0.device)
    for part in range(levels):
        position = (part + torch.rand(batch, generator=generator, dtype=torch.float64)) / levels
        snr = torch.expm1(low + (high - low) * position).to(x0.device)
        sigma = space.sigma_of_snr(snr.sqrt()).clamp(sigma_min, sigma_max)
        noise = torch.randn(x0.shape, generator=generator, dtype=x0.dtype).to(x0.device)
        level = sigma.to(x0.dtype).view(lifted)
        error = x0 - D(space.alpha(level) * x0 + level * noise, level.flatten())
        total += (1 + snr) * error.double().flatten(1).square().sum(1) / 2
    return Bound(_prior(x0, space, sigma_max, pure_noise or sigma_max).cpu(), ((high - low) / levels * total).cpu())


def _snr(space: Space, sigma: float) -> float:
    return (space.alpha(sigma) / sigma) ** 2


def _prior(x0: Tensor, space: Space, sigma: float, deviation: float) -> Tensor:
    """D_KL(N(α·x0, σ²) ‖ N(0, deviation²)) of each picture."""
    flat, ratio = x0.flatten(1).double(), (sigma / deviation) ** 2
    spread = flat.shape[1] / 2 * (ratio - 1 - math.log(ratio))
    return spread + space.alpha(sigma) ** 2 * flat.square().sum(1) / (2 * deviation**2)

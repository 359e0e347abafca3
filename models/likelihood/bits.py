"""Bits per number of a picture, of denoisers: exact, and bounded."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..generating.generator import Generator
from ..train.chance import Chance
from .bound import bound
from .density import log_density, log_normal
from .eight_bits import log_posterior, rounded

SIGMA = 1 / 255  # half the step between two values: of densities that are flat so far it costs 0.002 bits


@dataclass(frozen=True)
class Bits:
    """Of each picture [B], in bits per number (channel of a pixel), float64."""

    each: Tensor

    @classmethod
    def of(cls, nats: Tensor, count: int) -> Bits:
        """Of the nats [B] that pictures of `count` numbers cost."""
        return cls(nats.double().cpu() / (count * math.log(2)))

    @property
    def mean(self) -> float:
        return self.each.mean().item()

    @property
    def error(self) -> float:
        """The standard error of the mean, of pictures that differ and what was drawn by chance; NaN for one picture."""
        return self.each.std().item() / math.sqrt(len(self.each)) if len(self.each) > 1 else math.nan


def exact_bits(
    denoiser: Any,
    x0: Tensor,
    cond: Any = None,
    *,
    eight_bits: bool = False,
    steps: int = 40,
    probes: int | None = None,
    seed: int = 0,
    wrap: Callable = lambda D: D,
) -> Bits:
    """Of pictures x0 [B, ...], by the density that the probability-flow ODE of a denoiser gives, see `log_density`.

    What is measured is x0 with the noise of σ_min on it, z, as it is where a sampler's last step begins; as a density,
    so that data in finer units cost more, unless `eight_bits`. Then it is what pictures of 8 bits cost, whose values
    z tells only by their likelihood: −ln p(z) + ln q(z | x0) − ln P(x0 | z), a bound from above in the mean
    (dequantisation by the noise of σ_min, close to that of Zheng et al. 2023, arXiv:2305.03935), 0.12 bits
    above where the density is flat and σ_min 0.002; x0 is rounded.
    `wrap(D)` sees each evaluation; 4·steps of them, a gradient a probe with each.
    """
    x0, z, alpha, sigma = _start(denoiser, x0, eight_bits, seed)
    if isinstance(cond, dict):
        with torch.inference_mode(False):  # gradients pass where it is used
            cond = {name: tensor.clone() for name, tensor in cond.items()}
    D = wrap(lambda x, sigma: denoiser(x, sigma, cond))
    high = denoiser.sigma_max
    log_p, _ = log_density(
        D, z, sigma, high, pure_noise=_pure_noise(denoiser), steps=steps, probes=probes, seed=seed + 1
    )
    if not eight_bits:
        return Bits.of(-log_p - z[0].numel() * math.log(alpha), z[0].numel())
    return Bits.of(_of_eight_bits(-log_p, x0, z, alpha, sigma, denoiser.channels), z[0].numel())


def bound_bits(
    denoiser: Any,
    x0: Tensor,
    cond: Any = None,
    *,
    eight_bits: bool = False,
    levels: int = 64,
    seed: int = 0,
    wrap: Callable = lambda D: D,
) -> Bits:
    """The variational bound of the same: `bound`, and the entropy of the last noise or the reconstruction from it.

    In the mean above what the model's stochastic way down would cost, and equal to `exact_bits` where the denoiser is
    the best there is. `wrap(D)` sees each evaluation, `levels` of them.
    """
    x0, z, alpha, sigma = _start(denoiser, x0, eight_bits, seed)
    D = wrap(lambda x, sigma: denoiser(x, sigma, cond))
    high = denoiser.sigma_max
    cost = bound(D, x0, denoiser.space, sigma, high, pure_noise=_pure_noise(denoiser), levels=levels, seed=seed + 1)
    count = x0[0].numel()
    if eight_bits:
        last = -log_posterior(x0, z, alpha, sigma, denoiser.channels)
    else:
        last = count * math.log(math.sqrt(2 * math.pi * math.e) * sigma / alpha)
    return Bits.of(cost.prior + cost.diffusion + last, count)


def generator_bits(generator: Generator, x0: Tensor, rows: Tensor, *, samples: int = 16, seed: int = 0) -> Bits:
    """Of pictures of 8 bits x0 [B, C, H, W] and rows of words [B, W], by the bound of a VAE, see `Generator.bound`.

    Dequantised as in `exact_bits`, by noise of SIGMA. Raises ValueError for what has no likelihood.
    """
    x0 = rounded(x0, generator.channels)
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed), dtype=x0.dtype).to(x0.device)
    z = x0 + SIGMA * noise
    nats = generator.bound(z, rows, Chance(seed, 1, len(x0)), samples)
    return Bits.of(_of_eight_bits(nats, x0, z, 1.0, SIGMA, generator.channels), x0[0].numel())


def _of_eight_bits(nats: Tensor, x0: Tensor, z: Tensor, alpha: float, sigma: float, channels: str) -> Tensor:
    """What x0 costs of which z = α·x0 + σ·ε is known and costs `nats` as a density; nats [B], float64."""
    noising = log_normal(z - alpha * x0, sigma)
    return nats.double().cpu() + noising.cpu() - log_posterior(x0, z, alpha, sigma, channels)


def _start(denoiser: Any, x0: Tensor, eight_bits: bool, seed: int) -> tuple[Tensor, Tensor, float, float]:
    """x0, it with the noise of σ_min on it, and α and σ there."""
    if eight_bits:
        x0 = rounded(x0, denoiser.channels)
    sigma = denoiser.sigma_min
    alpha = denoiser.space.alpha(sigma)
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed), dtype=x0.dtype).to(x0.device)
    return x0, alpha * x0 + sigma * noise, alpha, sigma


def _pure_noise(denoiser: Any) -> float:
    return getattr(denoiser, "pure_noise", float)(denoiser.sigma_max)

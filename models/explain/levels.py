"""How well a denoiser finds pictures again, by noise level."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class LevelErrors:
    """Of each noise level: the mean square error of x0, a number of the picture at a time, and its standard error.

    `keeping` is the error of a denoiser that answers x/α, `knowing` that of one which answers the pictures' mean:
    a good one is below both.
    """

    sigmas: tuple[float, ...]
    errors: tuple[float, ...]
    uncertain: tuple[float, ...]
    keeping: tuple[float, ...]
    knowing: float


@torch.no_grad()
def errors_by_level(
    denoiser: Any, x0: Tensor, sigmas: Sequence[float], cond: Any = None, *, seed: int = 0, wrap: Callable = lambda D: D
) -> LevelErrors:
    """Of pictures x0 [B, ...] with noise of each of `sigmas` on them, fresh noise a level; `wrap(D)` sees each call.

    The least that any denoiser can have is the mean variance of x0 given x: of Gaussian data of variance v it is
    v·σ²/(α²·v + σ²). Raises ValueError for fewer than two pictures.
    """
    if len(x0) < 2:
        raise ValueError("errors by noise level take two pictures or more")
    generator = torch.Generator().manual_seed(seed)
    D, errors, uncertain = wrap(lambda x, sigma: denoiser(x, sigma, cond)), [], []
    for sigma in sigmas:
        noise = torch.randn(x0.shape, generator=generator, dtype=x0.dtype).to(x0.device)
        answer = D(denoiser.space.alpha(sigma) * x0 + sigma * noise, sigma)
        each = (answer - x0).double().square().flatten(1).mean(1)
        errors.append(each.mean().item())
        uncertain.append(each.std().item() / math.sqrt(len(each)))
    keeping = tuple((sigma / alpha) ** 2 if (alpha := denoiser.space.alpha(sigma)) else math.inf for sigma in sigmas)
    knowing = x0.double().var(0, unbiased=False).mean().item()
    return LevelErrors(tuple(sigmas), tuple(errors), tuple(uncertain), keeping, knowing)


def levels_of(denoiser: Any, count: int) -> list[float]:
    """`count` descending noise levels of a denoiser, even in log-SNR; in flow from σ = 0.99 down."""
    space, low = denoiser.space, denoiser.sigma_min
    high = min(denoiser.sigma_max, 0.99 * space.sigma_limit)
    start, end = space.log_snr(high), space.log_snr(low)
    middle = [space.sigma(start + (end - start) * index / (count - 1)) for index in range(1, count - 1)]
    return [high, *middle, low]

"""Guidance: pure functions combine(positive, negative, x, sigma) -> x0, and the wrapper that feeds them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Combine = Callable[[Tensor, Tensor, Tensor, float], Tensor]


def cfg(scale: float) -> Combine:
    """Classifier-free guidance, negative + scale·(positive − negative) (Ho & Salimans 2022, arXiv:2207.12598)."""

    def combine(positive: Tensor, negative: Tensor, x: Tensor, sigma: float) -> Tensor:
        return torch.lerp(negative, positive, scale)

    return combine


def rescaled_cfg(scale: float, phi: float = 0.7) -> Combine:
    """cfg, its spread drawn back to the positive's by the share `phi` (Lin et al. 2023, arXiv:2305.08891, eq. 16)."""
    guided = cfg(scale)

    def combine(positive: Tensor, negative: Tensor, x: Tensor, sigma: float) -> Tensor:
        x0 = guided(positive, negative, x, sigma)
        dims = tuple(range(1, x0.ndim))
        ratio = positive.std(dims, keepdim=True) / x0.std(dims, keepdim=True).clamp_min(1e-12)
        return x0 * (1 + phi * (ratio - 1))

    return combine


METHODS: dict[str, Callable[..., Combine]] = {"cfg": cfg, "rescale": rescaled_cfg}


@dataclass(frozen=True)
class Guidance:
    """A method of `METHODS` with its knobs, and the σ interval [low, high] in which it acts.

    Outside it the positive alone decides (Kynkäänniemi et al. 2024, arXiv:2404.07724).
    """

    method: str = "cfg"
    knobs: tuple[tuple[str, float], ...] = ()
    low: float = 0.0
    high: float = math.inf

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"unknown guidance {self.method!r}: use one of {', '.join(METHODS)}")
        if not self.low <= self.high:
            raise ValueError(f"the guidance interval ends at σ {self.high:g}, below its start at {self.low:g}")

    def combine(self, scale: float) -> Combine:
        return METHODS[self.method](scale, **dict(self.knobs))

    def acts(self, sigma: float) -> bool:
        return self.low <= sigma <= self.high


CFG = Guidance()


def guided(
    denoiser: Any,
    sigmas: Sequence[float],
    shape: Sequence[int],
    *,
    positive: Any = None,
    negative: Any = None,
    scale: float = 1.0,
) -> Callable[[Tensor, float], Tensor]:
    """D(x, sigma) -> x0 of a run over `sigmas` with states of `shape`: the denoiser, conditioned and guided.

    Both halves go through the net in one call if the denoiser has `prepare_guided`, else through two. With `scale` 1,
    and outside the guidance's interval, only the positive is computed.
    """
    guidance = getattr(denoiser, "guidance", CFG)
    plain_levels = sigmas if scale == 1 else [sigma for sigma in sigmas if not guidance.acts(sigma)]
    guided_levels = [] if scale == 1 else [sigma for sigma in sigmas if guidance.acts(sigma)]
    plain = _prepared(denoiser, plain_levels, positive, shape)
    if not guided_levels:
        return plain
    combine = guidance.combine(scale)
    both = _both(denoiser, guided_levels, positive, negative, shape)

    def D(x: Tensor, sigma: float) -> Tensor:
        if not guidance.acts(sigma):
            return plain(x, sigma)
        return combine(*both(x, sigma), x, sigma)

    return D


def _prepared(denoiser: Any, sigmas: Sequence[float], cond: Any, shape: Sequence[int]) -> Callable:
    if hasattr(denoiser, "prepare"):
        return denoiser.prepare(sigmas, cond, shape) if sigmas else denoiser
    return lambda x, sigma: denoiser(x, sigma, cond)


def _both(denoiser: Any, sigmas: Sequence[float], positive: Any, negative: Any, shape: Sequence[int]) -> Callable:
    if hasattr(denoiser, "prepare_guided"):
        stacked = denoiser.prepare_guided(sigmas, positive, negative, shape)
        return lambda x, sigma: stacked(torch.cat([x, x]), sigma).chunk(2)
    halves = [_prepared(denoiser, sigmas, cond, shape) for cond in (positive, negative)]
    return lambda x, sigma: [half(x, sigma) for half in halves]

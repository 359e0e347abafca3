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
    pairs: bool = False,
) -> Callable[[Tensor, float], Any]:
    """D(x, sigma) -> x0 of a run over `sigmas` with states of `shape`: the denoiser, conditioned and guided.

    `positive` and `negative` are conditions, or lists of conditions whose predictions are averaged. All go through the
    net in one call if the denoiser has `prepare_all`, else through one each. With `scale` 1, without any condition, and
    outside the guidance's interval, only the positive is computed. With `pairs` D gives x0 and the negative's, always.
    """
    guidance = getattr(denoiser, "guidance", CFG)
    positives, negatives = _as_list(positive), _as_list(negative)
    if not (positives and negatives):
        raise ValueError("an empty list is no condition: pass None for the unconditional denoiser")
    if all(cond is None for cond in positives + negatives):
        scale = 1.0
    guided_levels = [sigma for sigma in sigmas if pairs or (scale != 1 and guidance.acts(sigma))]
    plain_levels = [sigma for sigma in sigmas if sigma not in guided_levels]
    plain = _outputs(denoiser, plain_levels, positives, shape)
    both = _outputs(denoiser, guided_levels, positives + negatives, shape)
    combine = guidance.combine(scale)

    def pair(x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        outputs = both(x, sigma)
        positive, negative = _mean(outputs[: len(positives)]), _mean(outputs[len(positives) :])
        acts = scale != 1 and guidance.acts(sigma)
        return combine(positive, negative, x, sigma) if acts else positive, negative

    def D(x: Tensor, sigma: float) -> Tensor:
        if scale == 1 or not guidance.acts(sigma):
            return _mean(plain(x, sigma))
        return pair(x, sigma)[0]

    return pair if pairs else D


def _as_list(cond: Any) -> list:
    return cond if isinstance(cond, list) else [cond]


def _mean(outputs: Sequence[Tensor]) -> Tensor:
    return outputs[0] if len(outputs) == 1 else torch.stack(list(outputs)).mean(0)


def _outputs(
    denoiser: Any, sigmas: Sequence[float], conds: list, shape: Sequence[int]
) -> Callable[[Tensor, float], Sequence[Tensor]]:
    if hasattr(denoiser, "prepare_all") and sigmas:
        return denoiser.prepare_all(sigmas, conds, shape)
    return lambda x, sigma: [denoiser(x, sigma, cond) for cond in conds]

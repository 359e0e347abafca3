"""Methods of guidance: each makes, for a strength, the function combine(positive, negative, x, sigma) -> x0.

Predictions are x0's of states x [B, ...] at noise level sigma. Some methods take a third one, see `OTHERS`. What a
function remembers between calls is of one run: make one for each.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Combine = Callable[..., Tensor]


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


def apg(scale: float, eta: float = 0.0, norm_threshold: float = 0.0, momentum: float = 0.0) -> Combine:
    """Adaptive projected guidance, positive + (scale − 1)·Δ (Sadat et al. 2024, arXiv:2410.02416, algorithm 1).

    Δ is positive − negative, plus `momentum` times the Δ before, then shortened to the length `norm_threshold` (0:
    any), then its part along the positive multiplied by `eta`. With `eta` 1 and the others 0 it is cfg.
    """
    guided, average = cfg(scale), None

    def combine(positive: Tensor, negative: Tensor, x: Tensor, sigma: float) -> Tensor:
        nonlocal average
        difference = positive - negative
        average = difference + momentum * average if momentum and average is not None else difference
        update = _no_longer_than(norm_threshold, average) if norm_threshold else average
        if eta != 1:
            update = update - (1 - eta) * _along(positive, update)
        return guided(positive, negative, x, sigma) + (scale - 1) * (update - difference)

    return combine


def cfg_zero_star(scale: float, strength: float = 1.0, zero_init: int = 0) -> Combine:
    """cfg with the best multiple of the negative's velocity (x − x0)/σ (Fan et al. 2025, arXiv:2503.18886).

    s* = ⟨positive, negative⟩ / ‖negative‖² of the velocities, taken by the share `strength`; 0 is cfg. At the first
    `zero_init` noise levels the velocity is 0, which is for flow.
    """
    guided, first = cfg(scale), []

    def combine(positive: Tensor, negative: Tensor, x: Tensor, sigma: float) -> Tensor:
        if sigma not in first and len(first) < zero_init:
            first.append(sigma)
        if sigma in first:
            return x
        x0 = guided(positive, negative, x, sigma)
        velocity = x - negative
        excess = _along(velocity, x - positive) - velocity
        return x0 + (scale - 1) * strength * excess if strength else x0

    return combine


def perturbed_attention(scale: float, strength: float = 1.0) -> Combine:
    """cfg + strength·(positive − perturbed), the positive with attention that looks nowhere (Ahn et al. 2024,
    arXiv:2403.17377). With `scale` 1 it needs no negative."""
    guided = cfg(scale)

    def combine(
        positive: Tensor, negative: Tensor | None, x: Tensor, sigma: float, perturbed: Tensor | None = None
    ) -> Tensor:
        x0 = positive if scale == 1 else guided(positive, negative, x, sigma)
        return x0 + strength * (positive - perturbed) if strength else x0

    return combine


def perp_neg(scale: float, strength: float = 1.0) -> Combine:
    """cfg with the empty prompt, and away from the part of the negative that is perpendicular to the positive, by the
    share `strength` (Armandpour et al. 2023, arXiv:2304.04968).

    Without `empty` the negative is the empty prompt, and this cfg.
    """
    guided = cfg(scale)

    def combine(positive: Tensor, negative: Tensor, x: Tensor, sigma: float, empty: Tensor | None = None) -> Tensor:
        if empty is None:
            return guided(positive, negative, x, sigma)
        x0, away = guided(positive, empty, x, sigma), negative - empty
        perpendicular = away - _along(positive - empty, away)
        return x0 - scale * strength * perpendicular if strength else x0

    return combine


METHODS: dict[str, Callable[..., Combine]] = {
    "cfg": cfg,
    "rescale": rescaled_cfg,
    "apg": apg,
    "cfg_zero_star": cfg_zero_star,
    "pag": perturbed_attention,
    "perp_neg": perp_neg,
}
OTHERS = {"pag": "perturbed", "perp_neg": "empty"}
"""What some methods take beside positive and negative: the positive's without attention, or the empty prompt's."""


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Of each sample, [B, 1, ..., 1]."""
    return (a * b).sum(tuple(range(1, a.ndim)), keepdim=True)


def _along(direction: Tensor, vector: Tensor) -> Tensor:
    """The part of `vector` along `direction`."""
    return direction * (_dot(vector, direction) / _dot(direction, direction).clamp_min(1e-20))


def _no_longer_than(length: float, vector: Tensor) -> Tensor:
    return vector * (length / _dot(vector, vector).sqrt().clamp_min(1e-20)).clamp_max(1)

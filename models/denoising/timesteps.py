"""Discrete models: the σ's they were trained at, and which of them is nearest."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from typing import Any

BETA_CURVES: dict[str, Callable[[float, float, float], float]] = {
    "linear": lambda u, start, end: start + u * (end - start),
    "scaled_linear": lambda u, start, end: (start**0.5 + u * (end**0.5 - start**0.5)) ** 2,
}

LARGEST_DISCRETE_SIGMA = 4518.0
"""What a terminal signal-to-noise ratio of zero is rounded to, as ComfyUI does, so that σ stays finite."""


def discrete(
    betas: str = "scaled_linear",
    start: float = 0.00085,
    end: float = 0.012,
    timesteps: int = 1000,
    zero_terminal_snr: bool = False,
) -> list[float]:
    """The ascending σ table of a discrete model, σ_t = √((1−ᾱ_t)/ᾱ_t).

    `zero_terminal_snr` shifts and scales √ᾱ so that the last one is 0 (Lin et al. 2023, arXiv:2305.08891,
    algorithm 1); that last σ is capped at `LARGEST_DISCRETE_SIGMA`.
    """
    if betas not in BETA_CURVES:
        raise ValueError(f"unknown beta curve {betas!r}: use one of {', '.join(BETA_CURVES)}")
    root_alpha_bar, product = [], 1.0
    for index in range(timesteps):
        product *= 1 - BETA_CURVES[betas](index / (timesteps - 1), start, end)
        root_alpha_bar.append(math.sqrt(product))
    if zero_terminal_snr:
        first, last = root_alpha_bar[0], root_alpha_bar[-1]
        root_alpha_bar = [(root - last) * first / (first - last) for root in root_alpha_bar]
    return [
        min(LARGEST_DISCRETE_SIGMA, math.sqrt(1 - root**2) / root) if root > 0 else LARGEST_DISCRETE_SIGMA
        for root in root_alpha_bar
    ]


TABLES: dict[str, Callable[[], list[float]]] = {
    "scaled_linear": discrete,
    "zero_snr": partial(discrete, zero_terminal_snr=True),
    "linear": partial(discrete, "linear", 1e-4, 0.02),
}
"""Those in use: Stable Diffusion's; the same down to no signal at all; and that of Ho et al. 2020, DiT's."""


@cache
def table(name: str) -> tuple[float, ...]:
    """One of TABLES."""
    return tuple(TABLES[name]())


def nearest(name: str) -> Callable[[Any], Any]:
    """The label of a discrete net: σ, a float or a tensor -> the index of the level nearest in log σ."""
    logs = [math.log(sigma) for sigma in table(name)]
    bounds = [(low + high) / 2 for low, high in pairwise(logs)]

    def label(sigma: Any) -> Any:
        if isinstance(sigma, (int, float)):
            return float(bisect_left(bounds, math.log(sigma)))
        import torch

        edges = torch.tensor(bounds, dtype=torch.float64, device=sigma.device)
        return torch.bucketize(sigma.double().log(), edges).to(sigma.dtype)

    return label

"""Samplers of models that jump to x0 in one evaluation: each step believes x0 and noises it anew."""

from __future__ import annotations

import math

from .discrete_time import sigma_of, time_of


def lcm(D, x, steps, space, W, *, s_noise: float = 1.0):
    """Consistency sampling (Song et al. 2023, arXiv:2303.01469, algorithm 1; Luo et al. 2023, arXiv:2310.04378)."""
    for s, t in steps:
        x0 = D(x, s)
        if t == 0:
            return x0
        x = space.alpha(t) * x0 + (t * s_noise) * W(s, t)
    return x


def tcd(D, x, steps, space, W, *, gamma: float = 0.3, s_noise: float = 1.0):
    """Strategic stochastic sampling (Zheng et al. 2024, arXiv:2402.19159): DDIM to time (1 − γ)·t, and noise up to t.

    γ = 0 adds no noise, γ = 1 is lcm.
    """
    for s, t in steps:
        x0 = D(x, s)
        if t == 0:
            return x0
        time = time_of(t, space)
        down = t * (sigma_of(max(0.0, 1 - gamma) * time, space) / sigma_of(time, space))
        keep = space.alpha(t) / space.alpha(down)
        up = math.sqrt(max(0.0, t**2 - (keep * down) ** 2))
        noise = (x - space.alpha(s) * x0) / s
        x = space.alpha(t) * x0 + (keep * down) * noise
        if up:
            x = x + (up * s_noise) * W(s, t)
    return x

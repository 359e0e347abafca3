"""Ancestral solvers: below the next σ along the ODE, then noise back up to it."""

from __future__ import annotations

import math
from typing import NamedTuple

from ...denoising.space import FLOW


class Landing(NamedTuple):
    """Where an ancestral step to t lands: at σ `down`, and from there x_t = keep·x_down + up·noise."""

    down: float
    keep: float
    up: float


def landing(s: float, t: float, space, eta: float) -> Landing:
    """Of a step from σ s: in VE as ancestral chains do (Ho et al. 2020), in flow space at t·(1 + (t/s − 1)·η)."""
    if space is FLOW:
        down = max(0.0, t * (1 + (t / s - 1) * eta))
        keep = space.alpha(t) / space.alpha(down)
        return Landing(down, keep, math.sqrt(max(0.0, t**2 - (keep * down) ** 2)))
    up = min(t, eta * t * math.sqrt(1 - (t / s) ** 2))
    return Landing(math.sqrt(t**2 - up**2), 1.0, up)


def lifted(x, s: float, t: float, land: Landing, s_noise: float, W):
    """The state at t of the state x at `land.down`."""
    x = land.keep * x
    return x + (land.up * s_noise) * W(s, t) if land.up else x


def euler_ancestral(D, x, steps, space, W, *, eta: float = 1.0, s_noise: float = 1.0):
    """With an Euler step."""
    for s, t in steps:
        x0 = D(x, s)
        if t == 0:
            return x0
        land = landing(s, t, space, eta)
        x = x0 + (land.down / s) * (x - x0)
        x = lifted(x, s, t, land, s_noise, W)
    return x


def dpm_2_ancestral(D, x, steps, space, W, *, eta: float = 1.0, s_noise: float = 1.0):
    """With a midpoint step, the midpoint taken in log σ, as in dpm_2."""
    for s, t in steps:
        d = (x - D(x, s)) / s
        land = landing(s, t, space, eta)
        if land.down > 0:
            middle = math.sqrt(s * land.down)
            halfway = x + (middle - s) * d
            d = (halfway - D(halfway, middle)) / middle
        x = lifted(x + (land.down - s) * d, s, t, land, s_noise, W)
    return x


def dpmpp_2s_ancestral(D, x, steps, space, W, *, eta: float = 1.0, s_noise: float = 1.0):
    """With a step of DPM-Solver++(2S) (Lu et al. 2022, arXiv:2211.01095), its midpoint taken in log-SNR.

    Where α is 0 the midpoint falls on the start, and an Euler step is left.
    """
    for s, t in steps:
        x0 = D(x, s)
        if t == 0:
            return x0
        land = landing(s, t, space, eta)
        if land.down > 0 and space.alpha(s) > 0:
            middle = space.sigma((space.log_snr(s) + space.log_snr(land.down)) / 2)
            x0 = D(x0 + (middle / s) * (x - x0), middle)
        x = x0 + (land.down / s) * (x - x0)
        x = lifted(x, s, t, land, s_noise, W)
    return x

"""The time of a σ, from 0 to 1: in VE that of Stable Diffusion's 1,000 noise levels, in flow space σ itself."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from ...denoising.space import FLOW, Space


@cache
def _log_sigmas() -> np.ndarray:
    betas = np.linspace(math.sqrt(0.00085), math.sqrt(0.012), 1000) ** 2
    signal = np.cumprod(1 - betas)
    return np.log((1 - signal) / signal) / 2


def time_of(sigma: float, space: Space) -> float:
    """Beyond the 1,000 levels, the time of the nearest."""
    if space is FLOW:
        return sigma
    levels = _log_sigmas()
    return float(np.interp(math.log(sigma), levels, np.arange(len(levels)))) / (len(levels) - 1)


def sigma_of(time: float, space: Space) -> float:
    """Between levels, even in log σ."""
    if space is FLOW:
        return time
    levels = _log_sigmas()
    return math.exp(np.interp(time * (len(levels) - 1), np.arange(len(levels)), levels))

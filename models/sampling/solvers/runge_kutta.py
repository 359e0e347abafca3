"""One-step solvers of the probability-flow ODE, dx/dσ = (x − x0)/σ, the same equation in VE and flow space."""

from __future__ import annotations

import math


def euler(D, x, steps):
    """Karras et al. 2022 (arXiv:2206.00364), algorithm 1 without the second-order correction; DDIM with η = 0."""
    for s, t in steps:
        d = (x - D(x, s)) / s
        x = x + (t - s) * d
    return x


def heun(D, x, steps):
    """Karras et al. 2022, algorithm 1: a trapezoidal step; Euler where σ ends in 0."""
    for s, t in steps:
        d = (x - D(x, s)) / s
        end = x + (t - s) * d
        if t > 0:
            d = (d + (end - D(end, t)) / t) / 2
            end = x + (t - s) * d
        x = end
    return x


def dpm_2(D, x, steps):
    """A midpoint step, the midpoint taken in log σ (DPM-Solver-2, Lu et al. 2022, arXiv:2206.00927)."""
    for s, t in steps:
        d = (x - D(x, s)) / s
        if t > 0:
            middle = math.sqrt(s * t)
            halfway = x + (middle - s) * d
            d = (halfway - D(halfway, middle)) / middle
        x = x + (t - s) * d
    return x

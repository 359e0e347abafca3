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


def heunpp2(D, x, steps):
    """Heun's step with a third slope, of the step after; their weights fall with σ over the schedule's first σ.

    The last step is Euler's, the one before has two slopes. As ComfyUI has it; no paper tells of it, and these weights
    leave first order.
    """
    sigmas = steps.sigmas
    for s, t in steps:
        d = (x - D(x, s)) / s
        ahead, slope = x + (t - s) * d, d
        later = sigmas[steps.index + 1 : -1][:2]
        for level, below in zip(later, sigmas[steps.index + 2 :], strict=False):
            d_level = (ahead - D(ahead, level)) / level
            slope = slope + (level / (len(later) + 1) / sigmas[0]) * (d_level - d)
            ahead = ahead + (below - level) * d_level
        x = x + (t - s) * slope
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

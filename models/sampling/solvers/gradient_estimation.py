"""Gradient estimation: Euler steps along extrapolated slopes (Permenter & Yuan 2023, arXiv:2306.04848)."""

from __future__ import annotations


def gradient_estimation(D, x, steps, *, gamma: float = 2.0):
    """The slope is γ times this step's and 1 − γ times the last's; γ = 3/2 on even steps is Adams-Bashforth's."""
    return _gradient_estimation(D, x, steps, gamma, None)


def gradient_estimation_cfg_pp(D, x, steps, U, *, gamma: float = 2.0):
    """The same, its slope that of the denoiser without the prompt (Chung et al. 2024, arXiv:2406.08070)."""
    return _gradient_estimation(D, x, steps, gamma, U)


def _gradient_estimation(D, x, steps, gamma, U):
    previous = None
    for s, t in steps:
        x0 = D(x, s)
        if t == 0:
            return x0
        d = (x - (U() if U else x0)) / s
        x = x0 + t * d
        if previous is not None:
            x = x + ((gamma - 1) * (t - s)) * (d - previous)
        previous = d
    return x

"""Solvers that add noise: samplers of the reverse SDE and of ancestral chains.

Their time is the noise-to-signal ratio ρ = σ/α. Written without 1/α_s they have their limit at α = 0, where flow
models start: nothing is shifted.
"""

from __future__ import annotations

import math

from ...denoising.space import FLOW


def _ancestral_step(x, x0, s, t, space, W, eta, s_noise):
    """From σ s to t > 0: deterministically to a lower level, then noise back up to t, all in the ratio ρ = σ/α."""
    alpha_s, alpha_t = space.alpha(s), space.alpha(t)
    rho_t = t / alpha_t
    shrink = rho_t * alpha_s / s
    up = min(rho_t, eta * rho_t * math.sqrt(1 - shrink**2))
    down = math.sqrt(rho_t**2 - up**2)
    x = (alpha_t * down / s) * x + (alpha_t * (1 - down * alpha_s / s)) * x0
    return x + (alpha_t * up * s_noise) * W(s, t) if up else x


def euler_ancestral(D, x, steps, space, W, *, eta: float = 1.0, s_noise: float = 1.0):
    """An Euler step below the next σ, then noise back up to it; in flow space, below is t·(1 + (t/s − 1)·η)."""
    for s, t in steps:
        x0 = D(x, s)
        if t == 0:
            return x0
        if space is FLOW:
            down = t * (1 + (t / s - 1) * eta)
            keep = space.alpha(t) / space.alpha(down)
            x = (keep * down / s) * x + (keep * (1 - down / s)) * x0
            up = math.sqrt(max(0.0, t**2 - (keep * down) ** 2))
            if up:
                x = x + (up * s_noise) * W(s, t)
        else:
            x = _ancestral_step(x, x0, s, t, space, W, eta, s_noise)
    return x


def ddpm(D, x, steps, space, W):
    """Draws from q(x_t | x_s, x0) (Ho et al. 2020, arXiv:2006.11239, equation 7; Kingma et al. 2021 for any space)."""
    for s, t in steps:
        x0 = D(x, s)
        if t == 0:
            return x0
        x = _ancestral_step(x, x0, s, t, space, W, eta=1.0, s_noise=1.0)
    return x


def lcm(D, x, steps, space, W, *, s_noise: float = 1.0):
    """Consistency sampling: x0, noised anew (Song et al. 2023, arXiv:2303.01469, algorithm 1; Luo et al. 2023)."""
    for s, t in steps:
        x0 = D(x, s)
        if t == 0:
            return x0
        x = space.alpha(t) * x0 + (t * s_noise) * W(s, t)
    return x


def dpmpp_sde(D, x, steps, space, W, *, eta: float = 1.0, s_noise: float = 1.0, r: float = 0.5):
    """DPM-Solver++(S) with noise: two ancestral steps, the second with the output at λ_s + r·h mixed in.

    Both noises belong to one Brownian path. Where α is 0 the middle point falls on the start, and one step is left.
    """
    for s, t in steps:
        x0 = D(x, s)
        if t == 0:
            return x0
        if space.alpha(s) > 0:
            start, end = space.log_snr(s), space.log_snr(t)
            middle = space.sigma(start + r * (end - start))
            x0_middle = D(_ancestral_step(x, x0, s, middle, space, W, eta, s_noise), middle)
            x0 = x0 + (x0_middle - x0) / (2 * r)
        x = _ancestral_step(x, x0, s, t, space, W, eta, s_noise)
    return x


def dpmpp_2m_sde(D, x, steps, space, W, *, eta: float = 1.0, s_noise: float = 1.0, variant: str = "midpoint"):
    """SDE-DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095); `variant` "midpoint" or "heun"."""
    previous, h_previous = None, math.inf
    for s, t in steps:
        x0 = D(x, s)
        if t == 0:
            return x0
        h = space.log_snr(t) - space.log_snr(s)
        h_noise = eta * h if eta else 0.0
        alpha, decay = space.alpha(t), -math.expm1(-(h + h_noise))
        x = (t / s * math.exp(-h_noise)) * x + (alpha * decay) * x0
        if previous is not None:
            second = decay / 2 if variant == "midpoint" else 1 - decay / (h + h_noise)
            x = x + (alpha * second * h / h_previous) * (x0 - previous)
        if eta and s_noise:
            x = x + (t * math.sqrt(-math.expm1(-2 * h_noise)) * s_noise) * W(s, t)
        previous, h_previous = x0, h
    return x

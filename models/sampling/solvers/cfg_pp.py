"""CFG++ solvers: the guided x0, and the noise that the denoiser sees without the prompt (Chung et al., arXiv:2406.08070)."""

from __future__ import annotations

import math


def euler_ancestral_cfg_pp(D, x, steps, space, W, U, *, eta: float = 1.0, s_noise: float = 1.0):
    """Euler steps along the unprompted noise below the next σ, then noise back up to it, in the ratio ρ = σ/α."""
    for s, t in steps:
        x0 = D(x, s)
        if t == 0:
            return x0
        alpha_s, alpha_t = space.alpha(s), space.alpha(t)
        noise = (x - alpha_s * U()) / s
        rho_t = t / alpha_t
        up = min(rho_t, eta * rho_t * math.sqrt(1 - (rho_t * alpha_s / s) ** 2))
        x = alpha_t * x0 + (alpha_t * math.sqrt(rho_t**2 - up**2)) * noise
        if up:
            x = x + (alpha_t * up * s_noise) * W(s, t)
    return x


def euler_cfg_pp(D, x, steps, space, U):
    """The same without noise."""
    return euler_ancestral_cfg_pp(D, x, steps, space, None, U, eta=0.0)

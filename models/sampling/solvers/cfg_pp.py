"""CFG++ solvers (Chung et al. 2024, arXiv:2406.08070): the guided x0, and the noise seen without the prompt."""

from __future__ import annotations

import math

from .ancestral import landing, lifted


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


def dpmpp_2m_cfg_pp(D, x, steps, U):
    """DPM-Solver++(2M) whose state and last output are those without the prompt."""
    previous, h_previous = None, 0.0
    for s, t in steps:
        x0 = D(x, s)
        if t == 0:
            return x0
        h, unprompted = math.log(s / t), U()
        x = x0 + (t / s) * (x - unprompted)
        if previous is not None:
            x = x + (-math.expm1(-h) * h / h_previous / 2) * (x0 - previous)
        previous, h_previous = unprompted, h
    return x


def dpmpp_2s_ancestral_cfg_pp(D, x, steps, space, W, U, *, eta: float = 1.0, s_noise: float = 1.0):
    """Ancestral steps of DPM-Solver++(2S), midpoint in log σ, from x + (guided − unprompted).

    Unprompted is, as in ComfyUI, the output asked for last: at the start for the midpoint, there for the whole step.
    The difference then is not 0 without guidance either, and many steps come to no exact result.
    """
    for s, t in steps:
        x0 = end = D(x, s)
        if t == 0:
            return x0
        land = landing(s, t, space, eta)
        if land.down > 0:
            middle = math.sqrt(s * land.down)
            end = D(x0 + (middle / s) * (x - U()), middle)
        x = lifted(end + (land.down / s) * (x + x0 - U() - end), s, t, land, s_noise, W)
    return x

"""Solvers that add noise: samplers of the reverse SDE and of ancestral chains.

Their time is the noise-to-signal ratio ρ = σ/α. Written without 1/α_s they have their limit at α = 0, where flow
models start: nothing is shifted.
"""

from __future__ import annotations

import math

from .phi import h_phi_1, h_phi_2


def between(space, s: float, t: float, r: float) -> float:
    """The σ at the share r of the step from s to t in log-SNR; s itself where α(s) is 0, but for r = 1."""
    return t if r == 1 else space.sigma((1 - r) * space.log_snr(s) + r * space.log_snr(t))


def log_snr_steps(space, s: float, t: float, eta: float) -> tuple[float, float]:
    """The step h in log-SNR, infinite where α(s) is 0, and η·h, by which noise is renewed on it."""
    h = space.log_snr(t) - space.log_snr(s)
    return h, eta * h if eta else 0.0


def _ancestral_step(x, x0, s, t, space, W, eta, s_noise):
    """From σ s to t > 0: deterministically to a lower level, then noise back up to t, all in the ratio ρ = σ/α."""
    alpha_s, alpha_t = space.alpha(s), space.alpha(t)
    rho_t = t / alpha_t
    shrink = rho_t * alpha_s / s
    up = min(rho_t, eta * rho_t * math.sqrt(1 - shrink**2))
    down = math.sqrt(rho_t**2 - up**2)
    x = (alpha_t * down / s) * x + (alpha_t * (1 - down * alpha_s / s)) * x0
    return x + (alpha_t * up * s_noise) * W(s, t) if up else x


def ddpm(D, x, steps, space, W):
    """Draws from q(x_t | x_s, x0) (Ho et al. 2020, arXiv:2006.11239, equation 7; Kingma et al. 2021 for any space)."""
    for s, t in steps:
        x0 = D(x, s)
        if t == 0:
            return x0
        x = _ancestral_step(x, x0, s, t, space, W, eta=1.0, s_noise=1.0)
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
            middle = between(space, s, t, r)
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
        h, renewed = log_snr_steps(space, s, t, eta)
        x = _sde_step(x, x0, s, t, renewed, space, W, s_noise)
        if previous is not None:
            second = h_phi_1(h + renewed) / 2 if variant == "midpoint" else h_phi_2(h + renewed)
            x = x + (space.alpha(t) * second * h / h_previous) * (x0 - previous)
        previous, h_previous = x0, h
    return x


def dpmpp_2m_sde_heun(D, x, steps, space, W, *, eta: float = 1.0, s_noise: float = 1.0):
    """The same with "heun"."""
    return dpmpp_2m_sde(D, x, steps, space, W, eta=eta, s_noise=s_noise, variant="heun")


def dpmpp_3m_sde(D, x, steps, space, W, *, eta: float = 1.0, s_noise: float = 1.0):
    """SDE-DPM-Solver++(3M) as k-diffusion has it: its last term is half of what the parabola through outputs gives."""
    outputs, spans = [], []
    for s, t in steps:
        x0 = D(x, s)
        if t == 0:
            return x0
        h, renewed = log_snr_steps(space, s, t, eta)
        x = _sde_step(x, x0, s, t, renewed, space, W, s_noise)
        outputs, spans = [x0, *outputs][:3], [h, *spans][:3]
        for weight, output in zip(_3m_weights(spans, h + renewed), outputs, strict=True):
            x = x + (space.alpha(t) * weight) * output
    return x


def _3m_weights(spans: list[float], total: float) -> list[float]:
    """What outputs, newest first, add to the first-order step; `spans` are the steps in log-SNR, newest first."""
    if len(spans) == 1:
        return [0.0]
    second = h_phi_2(total)
    newer = second * spans[0] / spans[1]
    if len(spans) == 2:
        return [newer, -newer]
    r0, r1 = spans[1] / spans[0], spans[2] / spans[0]
    bend = (second * r0 - second / total + 0.5) / (r0 + r1)
    return [newer + bend / r0, -newer - bend / r0 - bend / r1, bend / r1]


def _sde_step(x, x0, s, t, renewed, space, W, s_noise):
    """The first-order step from σ s to t > 0."""
    decay = (t / s) * math.exp(-renewed)
    x = decay * x + (space.alpha(t) - space.alpha(s) * decay) * x0
    if renewed and s_noise:
        x = x + (t * math.sqrt(-math.expm1(-2 * renewed)) * s_noise) * W(s, t)
    return x

"""ER-SDE-Solvers: the reverse SDE with an adjustable noise scale φ(ρ), ρ = σ/α (Cui et al. 2023, arXiv:2309.06169)."""

from __future__ import annotations

import math

import numpy as np

from .lagrange import integral


def er_sde(
    D,
    x,
    steps,
    space,
    W,
    *,
    order: int = 3,
    eta: float = 1.0,
    s_noise: float = 1.0,
    variant: str = "er",
):
    """Order 1 to 3 of the paper's algorithm.

    `variant` "er" is the paper's φ = ρ·(exp(ρ^0.3) + 10), which η does not change; "reverse" is φ = ρ^(1+η), the usual
    reverse SDE, and for η = 0 the ODE.
    """
    growth = (lambda rho: np.exp(np.minimum(rho, 1e9) ** 0.3) + 10) if variant == "er" else (lambda rho: rho**eta)
    past, rhos = [], []
    for s, t in steps:
        x0 = D(x, s)
        if t == 0:
            return x0
        alpha, rho_t = space.alpha(t), t / space.alpha(t)
        rhos = [s / space.alpha(s) if space.alpha(s) else math.inf, *rhos][:3]
        keep = float(growth(rho_t) / growth(rhos[0]))
        past = _taylor(x0, past, rhos)[:order]
        x = (t / s * keep) * x
        for weight, derivative in zip(_weights(growth, rhos[0], rho_t, keep, len(past)), past, strict=True):
            x = x + (alpha * weight) * derivative
        if s_noise and keep < 1:
            x = x + (t * math.sqrt(1 - keep**2) * s_noise) * W(s, t)
    return x


def _taylor(x0, past: list, rhos: list[float]) -> list:
    """x0 and its first two derivatives in ρ, from those of the step before, as the paper takes them."""
    derivatives = [x0]
    if past:
        derivatives.append((x0 - past[0]) / (rhos[0] - rhos[1]))
    if len(past) > 1:
        derivatives.append((derivatives[1] - past[1]) / ((rhos[0] - rhos[2]) / 2))
    return derivatives


def _weights(growth, rho_s: float, rho_t: float, keep: float, count: int) -> list[float]:
    """What the first `count` derivatives of x0 add to the state at ρ_t, over α."""
    weights = [1 - rho_t / rho_s * keep]
    scale, step = rho_t * growth(rho_t), rho_t - rho_s

    def over_phi(power: int) -> float:
        """∫ (ρ − ρ_s)^power/φ(ρ) dρ from ρ_t to ρ_s, in log ρ."""
        return integral(lambda u: (np.exp(u) - rho_s) ** power / growth(np.exp(u)), math.log(rho_t), math.log(rho_s))

    if count > 1:
        weights.append(float(step + scale * over_phi(0)))
    if count > 2:
        weights.append(float(step**2 / 2 + scale * over_phi(1)))
    return weights

"""SEEDS: exponential Runge-Kutta solvers of the reverse SDE in log-SNR (Gonzalez et al. 2023, arXiv:2305.14267).

Where α is 0 their middle points fall on the start, and one step of first order is left.
"""

from __future__ import annotations

import math

from .phi import h_phi_1, h_phi_2
from .stochastic import between, log_snr_steps


class _Walk:
    """The states on the way of one step from state x at σ s; their noises belong to one path."""

    def __init__(self, x, s, space, W, eta, s_noise):
        self.x, self.s, self.space, self.W, self.eta, self.s_noise = x, s, space, W, eta, s_noise
        self.level, self.noise = s, None

    def to(self, m, drift):
        """The state at σ m; `drift` is what outputs add to it, over α."""
        _, renewed = log_snr_steps(self.space, self.s, m, self.eta)
        state = (m / self.s * math.exp(-renewed)) * self.x + self.space.alpha(m) * drift
        return state + (m * self.s_noise) * self._noise_at(m) if renewed and self.s_noise else state

    def _noise_at(self, m):
        if m < self.level:
            _, renewed = log_snr_steps(self.space, self.level, m, self.eta)
            new = math.sqrt(-math.expm1(-2 * renewed)) * self.W(self.level, m)
            self.noise = new if self.noise is None else math.exp(-renewed) * self.noise + new
            self.level = m
        return self.noise


def seeds_2(
    D,
    x,
    steps,
    space,
    W,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    r: float = 0.5,
    variant: str = "phi_1",
):
    """Two stages; `variant` is the weight of the second: "phi_1" as dpmpp_sde's, "phi_2" exact along a line."""
    for s, t in steps:
        x0 = D(x, s)
        if t == 0:
            return x0
        walk = _Walk(x, s, space, W, eta, s_noise)
        total = (1 + eta) * log_snr_steps(space, s, t, eta)[0]
        drift, middle = h_phi_1(total) * x0, between(space, s, t, r)
        if middle < s:
            slope = (D(walk.to(middle, h_phi_1(r * total) * x0), middle) - x0) / r
            drift = drift + (h_phi_1(total) / 2 if variant == "phi_1" else h_phi_2(total)) * slope
        x = walk.to(t, drift)
    return x


def seeds_3(D, x, steps, space, W, *, eta: float = 1.0, s_noise: float = 1.0):
    """Three stages, at a third and two thirds of the step."""
    for s, t in steps:
        x0 = D(x, s)
        if t == 0:
            return x0
        walk = _Walk(x, s, space, W, eta, s_noise)
        total = (1 + eta) * log_snr_steps(space, s, t, eta)[0]
        drift, third = h_phi_1(total) * x0, between(space, s, t, 1 / 3)
        if third < s:
            two_thirds = between(space, s, t, 2 / 3)
            slope = 2 * (D(walk.to(third, h_phi_1(total / 3) * x0), third) - x0)
            stage = h_phi_1(total * 2 / 3) * x0 + h_phi_2(total * 2 / 3) * slope
            drift = drift + (1.5 * h_phi_2(total)) * (D(walk.to(two_thirds, stage), two_thirds) - x0)
        x = walk.to(t, drift)
    return x


def exp_heun_2_x0_sde(D, x, steps, space, W, *, eta: float = 1.0, s_noise: float = 1.0, variant: str = "phi_2"):
    """seeds_2 whose second stage is at the end of the step."""
    return seeds_2(D, x, steps, space, W, eta=eta, s_noise=s_noise, r=1.0, variant=variant)


def exp_heun_2_x0(D, x, steps, space, *, variant: str = "phi_2"):
    """The same without noise."""
    return exp_heun_2_x0_sde(D, x, steps, space, None, eta=0.0, variant=variant)

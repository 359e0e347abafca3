"""What diffusers does not have, against the papers' own integrals and tables."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from exact import KARRAS, LINEAR, RANGE, assert_same_path, grid, no_noise, small_mixture, states
from scipy.integrate import quad

from varifold.models.denoising.space import FLOW, SPACES, VE
from varifold.models.sampling import solver
from varifold.models.sampling.solver import SOLVERS

torch.set_num_threads(1)

# The linear VP process whose σ is 0.002 at time 10⁻³ and 80 at time 1: log(1 + σ²) = β·t²/2 + β₀·t.
TIMES = np.array([1e-3, 1.0])
BETA, BETA_0 = np.linalg.solve(np.stack([TIMES**2 / 2, TIMES], 1), np.log1p(np.array([0.002, 80.0]) ** 2))


def time_of(sigma):
    return (math.sqrt(BETA_0**2 + 2 * BETA * math.log1p(sigma**2)) - BETA_0) / BETA


def sigma_and_slope(t):
    """σ(t) and dσ/dt."""
    exponent = BETA * t**2 / 2 + BETA_0 * t
    sigma = math.sqrt(math.expm1(exponent))
    return sigma, math.exp(exponent) * (BETA * t + BETA_0) / (2 * sigma)


def deis(D, x, sigmas, order):
    """tAB-DEIS (Zhang & Chen 2022, equation 15): the noise ε̂ extrapolated by a polynomial in t, and integrated."""
    history = []
    for s, t in pairwise(sigmas):
        history = [(time_of(s), (x - D(x, s)) / s), *history][:order]
        step = torch.zeros_like(x)
        for j, (own, slope) in enumerate(history):
            others = [time for k, (time, _) in enumerate(history) if k != j]

            def integrand(time, own=own, others=others):
                basis = math.prod((time - other) / (own - other) for other in others)
                return basis * sigma_and_slope(time)[1]

            step = step + quad(integrand, time_of(s), time_of(t), epsabs=1e-13, epsrel=1e-12)[0] * slope
        x = x + step
    return x


@pytest.mark.parametrize("space", SPACES.values(), ids=list(SPACES))
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_deis(order, space):
    """Above zero: to zero ComfyUI and we take x0 itself."""
    D, sigmas = small_mixture(space), grid(KARRAS, 7, *RANGE[space])
    x, plan = states(D, sigmas[0]), solver.plan("deis", sigmas, space, order=order)
    assert_same_path(plan, lambda D: deis(D, x, sigmas, order), D, x, no_noise, tolerance=1e-9)


def adams_weights(plan, row):
    """What a row weighs the slopes (x_k − d_k)/σ_k with, newest first, in units of its step."""
    terms = dict(plan.rows[row].terms)
    step = plan.rows[row].sigma - plan.rows[row - 1].sigma
    weights = {slot.index: -w * plan.rows[slot.index].sigma / step for slot, w in terms.items() if slot.kind == "d"}
    return [weights[index] for index in sorted(weights, reverse=True)]


@pytest.mark.parametrize(
    ("name", "order", "weights"),
    [
        ("ipndm", 2, [3 / 2, -1 / 2]),
        ("ipndm", 3, [23 / 12, -16 / 12, 5 / 12]),
        ("ipndm", 4, [55 / 24, -59 / 24, 37 / 24, -9 / 24]),
        ("lms", 4, [55 / 24, -59 / 24, 37 / 24, -9 / 24]),
        ("ipndm_v", 2, [3 / 2, -1 / 2]),
        ("ipndm_v", 3, [23 / 12, -16 / 12, 5 / 12]),
        ("ipndm_v", 4, [57 / 24, -65 / 24, 43 / 24, -11 / 24]),
    ],
)
def test_adams_bashforth_weights_on_an_even_grid(name, order, weights):
    """Those of every textbook, but for ipndm_v's with four slopes, which are ComfyUI's."""
    plan = solver.plan(name, grid(LINEAR, 8, 5.0, 1.0), VE, order=order)
    for row in range(order, len(plan.rows)):
        assert adams_weights(plan, row) == pytest.approx(weights, rel=1e-10)


@pytest.mark.parametrize("name", [name for name, entry in SOLVERS.items() if not entry.stochastic])
def test_solvers_of_the_ode_need_not_know_their_space(name):
    """dx/dσ = (x − x0)/σ in both, so on the same σ's their rows are the same."""
    sigmas = grid(KARRAS, 6, 0.95, 0.05)
    assert solver.plan(name, sigmas, VE).rows == solver.plan(name, sigmas, FLOW).rows


def test_euler_is_ddim():
    """Song et al. 2021 (arXiv:2010.02502), equation 12 with σ = 0, in the variance-preserving state."""
    sigmas = grid(KARRAS, 6, *RANGE[VE])
    D = small_mixture(VE)

    def ddim(D):
        state = x / math.sqrt(1 + sigmas[0] ** 2)
        for s, t in pairwise(sigmas):
            root, root_next = (1 / math.sqrt(1 + sigma**2) for sigma in (s, t))
            x0 = D(state / root, s)
            noise = (state - root * x0) / math.sqrt(1 - root**2)
            state = root_next * x0 + math.sqrt(1 - root_next**2) * noise
        return state * math.sqrt(1 + sigmas[-1] ** 2)

    x = states(D, sigmas[0])
    assert_same_path(solver.plan("euler", sigmas), ddim, D, x, no_noise, tolerance=1e-9)

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


def phi(k, z):
    """φ_k(z) = ∫ e^((1−θ)z)·θ^(k−1)/(k−1)! dθ over [0, 1], the functions of exponential Runge-Kutta."""
    integrand = lambda theta: math.exp((1 - theta) * z) * theta ** (k - 1) / math.factorial(k - 1)  # noqa: E731
    return quad(integrand, 0, 1, epsabs=1e-14, epsrel=1e-13)[0]


def exponential_runge_kutta(D, x, sigmas, nodes, stages, weights):
    """u' = −u + x0 in λ = −log σ: stage i is e^(−cᵢh)·u + h·Σ aᵢⱼ·x0ⱼ, with aᵢⱼ = stages(h)[i][j], and so the end."""
    for s, t in pairwise(sigmas):
        h = math.log(s / t)
        outputs = []
        for c, row in zip(nodes, stages(h), strict=True):
            state = math.exp(-c * h) * x + h * sum(a * output for a, output in zip(row, outputs, strict=True))
            outputs.append(D(state, s * math.exp(-c * h)))
        x = math.exp(-h) * x + h * sum(b * output for b, output in zip(weights(h), outputs, strict=True))
    return x


def res_2s(h, c=0.5):
    """Hochbruck & Ostermann 2005, equation 5.4."""
    b2 = phi(2, -h) / c
    return [[], [c * phi(1, -c * h)]], [phi(1, -h) - b2, b2]


def res_3s(h):
    """Hochbruck & Ostermann 2005, equation 5.8, with γ from 2(γ·c₂ + c₃) = 3(γ·c₂² + c₃²)."""
    c2, c3 = 1 / 2, 1.0
    gamma = (3 * c3**2 - 2 * c3) / (2 * c2 - 3 * c2**2)
    a32 = gamma * c2 * phi(2, -c2 * h) + c3**2 / c2 * phi(2, -c3 * h)
    b2, b3 = gamma / (gamma * c2 + c3) * phi(2, -h), 1 / (gamma * c2 + c3) * phi(2, -h)
    return [[], [c2 * phi(1, -c2 * h)], [c3 * phi(1, -c3 * h) - a32, a32]], [phi(1, -h) - b2 - b3, b2, b3]


@pytest.mark.parametrize(("name", "tableau", "nodes"), [("res_2s", res_2s, (0, 0.5)), ("res_3s", res_3s, (0, 0.5, 1))])
@pytest.mark.parametrize("space", SPACES.values(), ids=list(SPACES))
def test_exponential_runge_kutta(name, tableau, nodes, space):
    D, sigmas = small_mixture(space), grid(KARRAS, 5, *RANGE[space])
    x, plan = states(D, sigmas[0]), solver.plan(name, sigmas, space)
    stages, weights = (lambda h, part=part: tableau(h)[part] for part in (0, 1))
    assert_same_path(plan, lambda D: exponential_runge_kutta(D, x, sigmas, nodes, stages, weights), D, x, no_noise)


def dpm_solver_3(D, x, sigmas):
    """Lu et al. 2022 (arXiv:2206.00927), algorithm 2, r₁ = 1/3, r₂ = 2/3, in VE, where α is 1."""
    r1, r2 = 1 / 3, 2 / 3
    for s, t in pairwise(sigmas):
        h = math.log(s / t)
        s1, s2 = s * math.exp(-r1 * h), s * math.exp(-r2 * h)
        eps = (x - D(x, s)) / s
        u1 = x - s1 * (math.exp(r1 * h) - 1) * eps
        D1 = (u1 - D(u1, s1)) / s1 - eps
        u2 = x - s2 * (math.exp(r2 * h) - 1) * eps - s2 * r2 / r1 * ((math.exp(r2 * h) - 1) / (r2 * h) - 1) * D1
        D2 = (u2 - D(u2, s2)) / s2 - eps
        x = x - t * (math.exp(h) - 1) * eps - t / r2 * ((math.exp(h) - 1) / h - 1) * D2
    return x


def test_dpm_solver_3():
    D, sigmas = small_mixture(VE), grid(KARRAS, 5, *RANGE[VE])
    x = states(D, sigmas[0])
    plan = solver.plan("dpm_solver_3", sigmas)
    assert_same_path(plan, lambda D: dpm_solver_3(D, x, sigmas), D, x, no_noise, tolerance=1e-9)


def dpmpp_3m(D, x, sigmas, order):
    """σ·∫ x0(λ)·e^λ dλ (Lu et al. 2022, arXiv:2211.01095, equation 9) with the polynomial through past x0's in λ."""
    history = []
    for s, t in pairwise(sigmas):
        history = [(-math.log(s), D(x, s)), *history][:order]
        step = torch.zeros_like(x)
        for j, (own, output) in enumerate(history):
            others = [node for k, (node, _) in enumerate(history) if k != j]

            def integrand(lam, own=own, others=others):
                return math.exp(lam) * math.prod((lam - other) / (own - other) for other in others)

            step = step + quad(integrand, -math.log(s), -math.log(t), epsabs=1e-13, epsrel=1e-12)[0] * output
        x = t / s * x + t * step
    return x


@pytest.mark.parametrize("order", [1, 2, 3])
def test_dpmpp_3m(order):
    """Where k-diffusion and diffusers weigh the parabola's bend with half: see dpmpp_3m_sde."""
    D, sigmas = small_mixture(VE), grid(KARRAS, 6, *RANGE[VE])
    x = states(D, sigmas[0])
    plan = solver.plan("dpmpp_3m", sigmas, order=order)
    assert_same_path(plan, lambda D: dpmpp_3m(D, x, sigmas, order), D, x, no_noise, tolerance=1e-9)


def test_ddim_is_euler():
    assert (
        solver.plan("ddim", grid(KARRAS, 6, *RANGE[VE])).rows == solver.plan("euler", grid(KARRAS, 6, *RANGE[VE])).rows
    )


@pytest.mark.parametrize("name", ["dpmpp_sde", "dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde"])
def test_names_of_comfyui_that_end_in_gpu_are_the_same(name):
    sigmas = grid(KARRAS, 6, *RANGE[VE])
    assert solver.plan(f"{name}_gpu", sigmas).rows == solver.plan(name, sigmas).rows


TOLD = {"exp_heun_2_x0", "euler_cfg_pp"}
"""Solvers of the ODE that look at α: steps even in log-SNR, and noise apart from the prompt."""


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


@pytest.mark.parametrize("name", [name for name, entry in SOLVERS.items() if not entry.stochastic and name not in TOLD])
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

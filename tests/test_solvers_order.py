"""The order of convergence of every solver, measured against the exact solution of the ODE."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from exact import (
    KARRAS,
    LINEAR,
    LOG,
    NOISE_FREE,
    RANGE,
    gentle,
    grid,
    no_noise,
    ode_solution,
    rms,
    rough,
    small_mixture,
    solve,
    states,
)

from varifold.models.denoising.space import FLOW, VE
from varifold.models.sampling import solver
from varifold.models.sampling.sample import run
from varifold.models.sampling.solver import SOLVERS

torch.set_num_threads(1)

NOT_OF_THE_ODE = {"ddpm", "lcm"}

# These want an even grid.
EVEN = {"ipndm", "ipndm_v", "plms"}

# What is left when neither start nor end limits it (see `gentle`).
OWN_ORDER = {
    name: entry.order
    for name, entry in SOLVERS.items()
    if name not in NOT_OF_THE_ODE | EVEN | {"dpm_fast", "dpmpp_2s_ancestral_cfg_pp"}
}

# On Karras' curve, where the first step of a multistep solver is Euler's and so costs all but two orders.
ONE_STEP = {"dpm_solver_3", "res_3s", "seeds_3"}
CORRECTED = {"sa_solver", "sa_solver_pece"}
KARRAS_ORDER = {
    name: SOLVERS[name].order if name in ONE_STEP else min(2, SOLVERS[name].order)
    for name in {*OWN_ORDER, *EVEN} - CORRECTED
}

KNOBS = {
    "deis_log order 2": ("deis_log", {"order": 2}, 2),
    "deis_log order 4": ("deis_log", {"order": 4}, 4),
    "dpmpp_3m order 2": ("dpmpp_3m", {"order": 2}, 2),
    "dpmpp_3m order 4": ("dpmpp_3m", {"order": 4}, 4),
    "dpmpp_2s r=1/3": ("dpmpp_2s", {"r": 1 / 3}, 2),
    "res_2s r=1": ("res_2s", {"r": 1.0}, 2),
    "exp_heun_2_x0 phi_1": ("exp_heun_2_x0", {"variant": "phi_1"}, 2),
    "seeds_2 phi_2": ("seeds_2", {"eta": 0.0, "variant": "phi_2"}, 2),
    "sa_solver order 1": ("sa_solver", {"eta": 0.0, "order": 1}, 2),
    "er_sde order 1": ("er_sde", {"variant": "reverse", "eta": 0.0, "order": 1}, 1),
    "dpmpp_2m_sde heun": ("dpmpp_2m_sde", {"eta": 0.0, "variant": "heun"}, 2),
    "dpmpp_sde r=1/3": ("dpmpp_sde", {"eta": 0.0, "r": 1 / 3}, 2),
    "uni_pc bh2": ("uni_pc", {"variant": "bh2"}, 4),
    "uni_pc order 2": ("uni_pc", {"order": 2}, 3),
    "uni_pc order 1": ("uni_pc", {"order": 1}, 2),
    "deis order 2": ("deis", {"order": 2}, 2),
    "lms order 3": ("lms", {"order": 3}, 3),
    "lms order 1": ("lms", {"order": 1}, 1),
}


@pytest.fixture(scope="module", params=[VE, FLOW], ids=lambda space: space.name)
def problem(request):
    space = request.param
    D, (high, low) = small_mixture(space), RANGE[space]
    x = states(D, high)
    return space, D, x, ode_solution(D, x, high, low)


def errors(problem, name, curve, steps, **knobs):
    space, D, x, exact = problem
    return [rms(solve(name, D, x, grid(curve, n, *RANGE[space]), space, **knobs) - exact) for n in steps]


def order_of(problem, name, curve, steps=(80, 160), **knobs):
    coarse, fine = errors(problem, name, curve, steps, **knobs)
    return math.log(coarse / fine) / math.log(steps[1] / steps[0])


def test_the_reference_is_exact_enough(problem):
    space, D, x, exact = problem
    coarse, fine = (solve("uni_pc", D, x, grid(gentle(LOG), n, *RANGE[space]), space) for n in (200, 400))
    assert rms(fine + (fine - coarse) / 15 - exact) < 1e-10


def test_every_solver_of_the_ode_is_measured():
    own_tests = CORRECTED | {"dpm_fast", "dpmpp_2s_ancestral_cfg_pp"}
    assert set(SOLVERS) - NOT_OF_THE_ODE - own_tests == set(KARRAS_ORDER)
    assert set(NOISE_FREE) == {name for name, entry in SOLVERS.items() if entry.stochastic} - NOT_OF_THE_ODE


@pytest.mark.parametrize("name", OWN_ORDER)
def test_own_order(problem, name):
    steps = (160, 320) if name == "dpmpp_3m_sde" else (80, 160)
    order = order_of(problem, name, gentle(LOG), steps, **NOISE_FREE.get(name, {}))
    assert order == pytest.approx(OWN_ORDER[name], abs=0.16)


@pytest.mark.parametrize("name", sorted(KARRAS_ORDER))
def test_order_on_karras(problem, name):
    order = order_of(problem, name, KARRAS, (160, 320), **NOISE_FREE.get(name, {}))
    assert order == pytest.approx(KARRAS_ORDER[name], abs=0.2)


@pytest.mark.parametrize("label", KNOBS)
def test_order_with_knobs(problem, label):
    name, knobs, order = KNOBS[label]
    assert order_of(problem, name, gentle(LOG), **knobs) == pytest.approx(order, abs=0.16)


@pytest.mark.parametrize("name", OWN_ORDER)
def test_order_does_not_need_an_even_grid(problem, name):
    lowest = min(2, OWN_ORDER[name])
    assert order_of(problem, name, rough(LOG), **NOISE_FREE.get(name, {})) > lowest - 0.16


@pytest.mark.parametrize("name", ["ipndm", "plms"])
def test_ipndm_needs_an_even_grid(problem, name):
    """Its weights are those of an even grid: where every other step is half as long, first order is left."""
    assert order_of(problem, name, rough(LOG)) == pytest.approx(1, abs=0.1)


def test_ipndm_v_does_not_converge_on_a_rough_grid(problem):
    """As ComfyUI computes them its weights see the grid wrongly: with steps of 2 : 1 more steps do not help."""
    coarse, fine = errors(problem, "ipndm_v", rough(LOG), (80, 160))
    assert fine > 0.5 * coarse


def test_dpm_fast_has_the_order_of_its_last_steps(problem):
    """Of third order are all but the last two, which are of second and of first order."""
    coarse, fine = errors(problem, "dpm_fast", LOG, (60, 120))
    assert math.log2(coarse / fine) == pytest.approx(SOLVERS["dpm_fast"].order, abs=0.16)


def test_dpmpp_2s_ancestral_cfg_pp_does_not_converge(problem):
    """As in ComfyUI it subtracts outputs of two places, half a step apart: as many errors of a step's size as steps."""
    order = order_of(problem, "dpmpp_2s_ancestral_cfg_pp", gentle(LOG), eta=0.0)
    assert order == pytest.approx(SOLVERS["dpmpp_2s_ancestral_cfg_pp"].order, abs=0.1)


@pytest.mark.parametrize("name", sorted(CORRECTED))
def test_a_corrected_start_costs_one_order(problem, name):
    assert order_of(problem, name, KARRAS, (160, 320), **NOISE_FREE[name]) > SOLVERS[name].order - 1 - 0.16


def test_solvers_not_of_the_ode_promise_little():
    """ddpm's law converges with order 1, lcm's not at all: see test_solvers_moments."""
    assert {name: SOLVERS[name].order for name in NOT_OF_THE_ODE} == {"ddpm": 1, "lcm": 0}


def polynomial_slope(degree):
    """D of the slope (x − x0)/σ = σ^degree, and the integral of that slope."""
    return lambda x, sigma: x - sigma * torch.full_like(x, sigma**degree), lambda s: s ** (degree + 1) / (degree + 1)


EXACT_DEGREES = [
    ("lms", KARRAS, 4, 3),
    ("lms", KARRAS, 3, 2),
    ("lms", rough(LINEAR), 4, 3),
    ("ipndm", LINEAR, 4, 3),
    ("ipndm", LINEAR, 3, 2),
    ("ipndm", LINEAR, 2, 1),
    ("ipndm", KARRAS, 4, 0),
    ("ipndm_v", LINEAR, 4, 2),
    ("ipndm_v", LINEAR, 3, 2),
    ("ipndm_v", KARRAS, 2, 1),
    ("ipndm_v", KARRAS, 3, 1),
    ("ipndm_v", KARRAS, 4, -1),
]


@pytest.mark.parametrize(("name", "curve", "order", "degree"), EXACT_DEGREES)
def test_adams_weights_integrate_polynomials(name, curve, order, degree):
    """The order conditions on the numbers themselves: once started, a step is exact up to `degree` and no further.

    ComfyUI's weights of ipndm_v for four slopes are not those of Adams-Bashforth even on an even grid (57, -65, 43,
    -11 in 24ths where 55, -59, 37, -9 belong), and on others they do not add up to the step.
    """
    sigmas = grid(curve, 10, 3.0, 0.5)
    plan = solver.plan(name, sigmas, VE, order=order)
    for power in range(degree + 2):
        D, integral = polynomial_slope(power)
        seen = []
        run(
            plan,
            lambda x, sigma, D=D, seen=seen: seen.append(x.item()) or D(x, sigma),
            torch.zeros(1).double(),
            no_noise,
        )
        steps = np.diff(seen)[order - 1 :]
        wanted = np.diff([integral(sigma) for sigma in sigmas[:-1]])[order - 1 :]
        error = np.abs(steps - wanted).max()
        assert (error < 1e-12) == (power <= degree), (power, error)

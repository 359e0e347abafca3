"""The tracer: a solver run on symbols gives the numbers that it computes on tensors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from exact import KARRAS, RANGE, BrownianPath, grid, small_mixture, states, unit_noises

from varifold.models.denoising.space import FLOW, SPACES, VE
from varifold.models.sampling import schedule, solver
from varifold.models.sampling.plan import START, Slot
from varifold.models.sampling.sample import run
from varifold.models.sampling.solver import SOLVERS
from varifold.models.sampling.symbol import Atoms, Increment, Steps, Symbol, trace

torch.set_num_threads(1)

VARIED = [
    ("lms", {"order": 2}),
    ("deis", {"order": 4}),
    ("deis", {"order": 1}),
    ("ipndm", {"order": 3}),
    ("ipndm_v", {"order": 3}),
    ("uni_pc", {"order": 2, "variant": "bh2"}),
    ("uni_pc", {"order": 1}),
    ("euler_ancestral", {"eta": 0.3, "s_noise": 1.1}),
    ("euler_ancestral", {"eta": 0.0}),
    ("dpmpp_sde", {"eta": 0.6, "s_noise": 0.9, "r": 0.3}),
    ("dpmpp_sde", {"eta": 0.0}),
    ("dpmpp_2m_sde", {"eta": 0.6, "s_noise": 0.9, "variant": "heun"}),
    ("dpmpp_2m_sde", {"eta": 0.0}),
    ("lcm", {"s_noise": 0.7}),
    ("tcd", {"gamma": 0.8, "s_noise": 0.7}),
    ("deis_log", {"order": 4}),
    ("dpmpp_3m", {"order": 4}),
    ("gradient_estimation", {"gamma": 1.5}),
    ("dpm_2_ancestral", {"eta": 0.3, "s_noise": 1.1}),
    ("dpmpp_2s_ancestral", {"eta": 5.0}),
    ("dpmpp_2s_ancestral_cfg_pp", {"eta": 0.3, "s_noise": 1.1}),
    ("res_multistep_ancestral", {"eta": 5.0}),
    ("dpmpp_3m_sde", {"eta": 0.6, "s_noise": 0.9}),
    ("seeds_2", {"eta": 0.6, "s_noise": 0.9, "r": 0.3, "variant": "phi_2"}),
    ("seeds_3", {"eta": 0.0}),
    ("exp_heun_2_x0", {"variant": "phi_1"}),
    ("er_sde", {"order": 2, "s_noise": 0.9}),
    ("er_sde", {"variant": "reverse", "eta": 0.6}),
    ("sa_solver", {"order": 1, "eta": 0.6, "s_noise": 0.9}),
    ("sa_solver_pece", {"order": 2}),
]
CASES = [*((name, {}) for name in SOLVERS), *VARIED]
OWN_LEVELS = {"uni_pc", "uni_pc_bh2", "dpm_fast", "heunpp2"}
"""Solvers that ask elsewhere than between the ends of a step."""

SCHEDULES = {
    "ve": grid(KARRAS, 9, *RANGE[VE]),
    "ve to zero": schedule.karras(9, 0.01, 20.0),
    "flow": grid(KARRAS, 9, *RANGE[FLOW]),
    "flow from one to zero": schedule.linear(9, 0.0, 1.0),
    "ve in one step": [7.0, 0.0],
    "flow in two steps": [1.0, 0.4, 0.0],
}


@pytest.mark.parametrize("label", SCHEDULES)
@pytest.mark.parametrize(
    ("name", "knobs"), CASES, ids=lambda v: v if isinstance(v, str) else "-".join(map(str, v.values()))
)
def test_a_plan_does_what_the_solver_does_on_tensors(name, knobs, label):
    space, sigmas = SPACES[label.split()[0]], SCHEDULES[label]
    D = small_mixture(space)
    x = states(D, sigmas[0])
    plan, noise = solver.plan(name, sigmas, space, **knobs), unit_noises(x.shape)
    unprompted, asked, requests = small_mixture(space, seed=5), [], []

    def pair(x, sigma):
        return (D(x, sigma), unprompted(x, sigma)) if plan.asks_for_negatives else D(x, sigma)

    def ask(x, sigma):
        asked.append((x, sigma))
        return D(x, sigma)

    def listen(high, low):
        requests.extend([high, low])
        return torch.zeros_like(x)

    def on_tensors(W):
        return SOLVERS[name](ask, x, Steps(sigmas), space, W, lambda: unprompted(*asked[-1]), **knobs)

    on_tensors(listen)
    on_tensors = on_tensors(BrownianPath(requests, noise))
    assert (run(plan, pair, x, noise) - on_tensors).abs().max() < 1e-12 * max(1.0, on_tensors.abs().max().item())


@pytest.mark.parametrize("name", SOLVERS)
def test_rows_tell_their_step_and_their_level(name):
    sigmas = schedule.karras(6, 0.01, 20.0)
    plan = solver.plan(name, sigmas)
    assert [row.step for row in plan.rows] == sorted(row.step for row in plan.rows)
    assert {row.step for row in plan.rows} == set(range(6))
    for row in plan.rows[:-1]:
        assert sigmas[row.step + 1] * (1 - 1e-12) <= row.sigma <= sigmas[row.step] or name in OWN_LEVELS
    assert plan.rows[-1].sigma == 0.0
    assert plan.rows[0].terms == ((START, 1.0),)


@pytest.mark.parametrize("name", SOLVERS)
def test_the_table_tells_the_evaluations(name):
    """A step asks as often as the table says; where σ ends in 0, the last step asks once."""
    often = SOLVERS[name].evaluations
    above, to_zero = (solver.plan(name, [8.0, 6.0, 4.0, 2.0, low]).evaluations for low in (1.0, 0.0))
    assert (above, to_zero) == {
        "heunpp2": (3 + 3 + 2 + 1, 3 + 3 + 2 + 1),  # the end comes into view
        "plms": (5, 5),  # one more for the start
        "sa_solver_pece": (7, 7),  # the first step has nothing to correct
    }.get(name, (4 * often, 3 * often + 1))


def test_symbols_add_up_weights():
    a, b = Symbol({Slot("x", 0): 1.0}), Symbol({Slot("d", 0): 1.0})
    mixed = 2 * (a - b) / 4 + -b + b * 3
    assert mixed.weights == {Slot("x", 0): 0.5, Slot("d", 0): 1.5}
    assert a.weights == {Slot("x", 0): 1.0}


def test_a_state_is_named_when_the_denoiser_is_asked():
    def twice(D, x, steps, W, U):
        for s, t in steps:
            x0 = D(x, s)
            x = 0.5 * x + 0.25 * x0 + W(s, t)
        return x

    plan = trace(twice, [4.0, 2.0, 1.0], "twice", "ve")
    assert [{str(slot): weight for slot, weight in row.terms} for row in plan.rows] == [
        {"n0": 1.0},
        {"x0": 0.5, "d0": 0.25, "n1": 1.0},
        {"x1": 0.5, "d1": 0.25, "n2": 1.0},
    ]


def test_terms_that_cancel_are_left_out():
    def returning(D, x, steps, W, U):
        return x + D(x, 1.0) - x

    assert [slot.kind for slot, _ in trace(returning, [1.0, 0.0], "returning", "ve").rows[-1].terms] == ["d"]


def test_increments_have_the_covariance_of_a_path():
    increments = [
        Increment(5.0, 1.0),
        Increment(5.0, 3.0),
        Increment(4.0, 2.0),
        Increment(1.0, 0.5),
        Increment(3.0, 1.0),
    ]
    atoms = Atoms(iter(increments))
    weights = np.zeros((len(increments), len(atoms.spans)))
    for row, increment in zip(weights, increments, strict=True):
        for slot, share in atoms.split(increment):
            row[slot.index - 1] = share

    def covariance(a, b):
        shared = min(a.high, b.high) - max(a.low, b.low)
        return max(0.0, shared) / math.sqrt((a.high - a.low) * (b.high - b.low))

    wanted = [[covariance(a, b) for b in increments] for a in increments]
    assert np.allclose(weights @ weights.T, wanted, rtol=0, atol=1e-15)


def test_no_atom_is_made_where_no_noise_is_asked_for():
    atoms = Atoms(iter([Increment(9.0, 8.0), Increment(2.0, 1.0)]))
    assert atoms.spans == [Increment(9.0, 8.0), Increment(2.0, 1.0)]


@pytest.mark.parametrize(
    ("name", "knobs", "sigmas", "space", "says"),
    [
        ("eulr", {}, [2.0, 1.0], VE, "unknown solver 'eulr'.*dpmpp_2m"),
        ("lms", {"ordre": 2}, [2.0, 1.0], VE, "unknown knob 'ordre'.*order"),
        ("euler", {"eta": 1.0}, [2.0, 1.0], VE, "unknown knob 'eta'.*none"),
        ("euler", {}, [1.0, 2.0], VE, "does not descend"),
        ("euler", {}, [1.0, 1.0], VE, "does not descend"),
        ("euler", {}, [1.0], VE, "at least two"),
        ("euler", {}, [], VE, "denoise 0"),
        ("euler", {}, [math.nan, 1.0], VE, "σ number 0.*nan"),
        ("euler", {}, [2.0, -1.0], VE, "σ number 1.*-1"),
        ("euler", {}, [math.inf, 1.0], VE, "finite"),
        ("euler", {}, [1.5, 1.0], FLOW, "starts at σ = 1.5.*flow"),
    ],
)
def test_what_cannot_be_planned_is_explained(name, knobs, sigmas, space, says):
    with pytest.raises(ValueError, match=says):
        solver.plan(name, sigmas, space, **knobs)

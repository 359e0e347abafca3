"""Every solver of ours that bears a name of ComfyUI's, against ComfyUI's own sampler."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from exact import KARRAS, RANGE, grid, mutants, small_mixture, states

from varifold.models.denoising.space import FLOW, SPACES
from varifold.models.sampling import schedule, solver
from varifold.models.sampling.adaptive import dpm_adaptive
from varifold.models.sampling.sample import run
from varifold.models.sampling.solver import SOLVERS
from varifold.models.sampling.solvers import er_sde
from varifold.models.sampling.solvers.multistep import _VP_BETA_D, _VP_BETA_MIN, _adams, _vp_time
from varifold.models.sampling.symbol import Steps

pytestmark = pytest.mark.comfyui
torch.set_num_threads(1)

STEPS = 8
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Case:
    """A sampler of ComfyUI's with its options, and ours with its knobs."""

    theirs: str
    options: dict = field(default_factory=dict)
    knobs: dict = field(default_factory=dict)

    @property
    def ours(self) -> str:
        return self.theirs.partition(":")[0]


HALF, FREE = {"eta": 0.5, "s_noise": 0.9}, {"eta": 0.0}
CASES = [
    Case("euler"),
    Case("heun"),
    Case("dpm_2"),
    Case("lms"),
    Case("lms:2", {"order": 2}, {"order": 2}),
    Case("ipndm"),
    Case("ipndm:3", {"max_order": 3}, {"order": 3}),
    Case("ipndm_v"),
    Case("ipndm_v:3", {"max_order": 3}, {"order": 3}),
    Case("ipndm_v:2", {"max_order": 2}, {"order": 2}),
    Case("dpmpp_2m"),
    Case("uni_pc"),
    Case("uni_pc_bh2"),
    Case("euler_ancestral"),
    Case("euler_ancestral:half", HALF, HALF),
    Case("dpmpp_sde"),
    Case("dpmpp_sde:half", {"eta": 0.5, "s_noise": 0.9, "r": 0.4}, {"eta": 0.5, "s_noise": 0.9, "r": 0.4}),
    Case("dpmpp_sde:free", FREE, FREE),
    Case("dpmpp_2m_sde"),
    Case("dpmpp_2m_sde:heun", {"solver_type": "heun"}, {"variant": "heun"}),
    Case("dpmpp_2m_sde:half", HALF, HALF),
    Case("dpmpp_2m_sde:free", FREE, FREE),
    Case("dpmpp_2m_sde_heun"),
    Case("dpmpp_2m_sde_heun:half", HALF, HALF),
    Case("dpmpp_3m_sde"),
    Case("dpmpp_3m_sde:half", HALF, HALF),
    Case("dpmpp_3m_sde:free", FREE, FREE),
    Case("ddim"),
    Case("heunpp2"),
    Case("dpm_fast"),
    Case("exp_heun_2_x0"),
    Case("exp_heun_2_x0:phi_1", {"solver_type": "phi_1"}, {"variant": "phi_1"}),
    Case("exp_heun_2_x0_sde"),
    Case("exp_heun_2_x0_sde:half", {**HALF, "solver_type": "phi_1"}, {**HALF, "variant": "phi_1"}),
    Case("seeds_2"),
    Case("seeds_2:half", {**HALF, "r": 0.4, "solver_type": "phi_2"}, {**HALF, "r": 0.4, "variant": "phi_2"}),
    Case("seeds_2:free", FREE, FREE),
    Case("seeds_3"),
    Case("seeds_3:half", HALF, HALF),
    Case("res_multistep"),
    Case("res_multistep_ancestral"),
    Case("res_multistep_ancestral:half", HALF, HALF),
    Case("res_multistep_ancestral:free", FREE, FREE),
    Case("gradient_estimation"),
    Case("gradient_estimation:half", {"ge_gamma": 1.5}, {"gamma": 1.5}),
    Case("dpm_2_ancestral"),
    Case("dpm_2_ancestral:half", HALF, HALF),
    Case("dpmpp_2s_ancestral"),
    Case("dpmpp_2s_ancestral:half", HALF, HALF),
    Case("sa_solver"),
    Case("sa_solver:half", {"predictor_order": 2, "corrector_order": 3, "s_noise": 0.9}, {"order": 2, "s_noise": 0.9}),
    Case("sa_solver_pece"),
    Case("er_sde"),
    Case("er_sde:2", {"max_stage": 2, "s_noise": 0.9}, {"order": 2, "s_noise": 0.9}),
    Case("er_sde:1", {"max_stage": 1}, {"order": 1}),
    Case("euler_cfg_pp"),
    Case("euler_ancestral_cfg_pp"),
    Case("euler_ancestral_cfg_pp:half", HALF, HALF),
    Case("dpmpp_2m_cfg_pp"),
    Case("dpmpp_2s_ancestral_cfg_pp"),
    Case("dpmpp_2s_ancestral_cfg_pp:half", HALF, HALF),
    Case("dpmpp_2s_ancestral_cfg_pp:free", FREE, FREE),
    Case("res_multistep_cfg_pp"),
    Case("res_multistep_ancestral_cfg_pp"),
    Case("res_multistep_ancestral_cfg_pp:half", HALF, HALF),
    Case("res_multistep_ancestral_cfg_pp:free", FREE, FREE),
    Case("gradient_estimation_cfg_pp"),
    Case("ddpm"),
    Case("lcm"),
    Case("lcm:quiet", {"s_noise": 0.8}, {"s_noise": 0.8}),
    Case("deis"),
    Case("deis:2", {"max_order": 2}, {"order": 2}),
    Case("deis:4", {"max_order": 4}, {"order": 4}),
]
BY_NAME = {case.theirs: case for case in CASES}
BY_QUADRATURE = {"deis", "er_sde"}
EXACT = [case for case in CASES if case.ours not in BY_QUADRATURE or case.theirs == "er_sde:1"]

VE_ONLY = {"ddpm", "dpmpp_2s_ancestral_cfg_pp", "res_multistep_ancestral", "res_multistep_ancestral_cfg_pp"}
"""Those that ComfyUI runs on flow states with the formula of VE for what noise to add."""

NOT_IN_COMFYUI = {"deis_log", "dpm_solver_3", "dpmpp_2s", "dpmpp_3m", "plms", "res_2s", "res_3s", "tcd"}
"""Held to diffusers and to papers."""


ADAPTIVE = {
    "dpm_adaptive": {},
    "dpm_adaptive:2": {"order": 2},
    "dpm_adaptive:close": {"rtol": 1e-4, "atol": 1e-4, "h_init": 0.5},
}


def as_spec(mixture):
    return {name: getattr(mixture, name).tolist() for name in ("means", "variances", "log_weights")}


@pytest.fixture(scope="module", params=["ve", "ve to zero", "flow", "flow to zero"])
def problem(request):
    """The space, σ's, denoiser and start of one run of all of ComfyUI's samplers, and what they made of it."""
    space = SPACES[request.param.split()[0]]
    sigmas = grid(KARRAS, STEPS, *RANGE[space])
    if "zero" in request.param:
        sigmas = [*sigmas, 0.0]
    D = small_mixture(space)
    x = states(D, sigmas[0])
    run_theirs = request.getfixturevalue("comfy_samplers")
    spec = {
        "space": space.name,
        "sigmas": sigmas,
        "x": x.tolist(),
        "seed": 3,
        "mixture": as_spec(D),
        "unprompted": as_spec(small_mixture(space, seed=5)),
        "samplers": {**{case.theirs: case.options for case in CASES}, **ADAPTIVE},
    }
    return space, sigmas, D, x, run_theirs(spec)


def noise_of(found, key):
    """The unit noises of ComfyUI's path, numbered as a plan numbers them."""
    table = torch.from_numpy(found[f"{key}/increments"])
    return lambda index: table[index - 1]


def ours(problem, case):
    space, sigmas, D, x, found = problem
    plan = solver.plan(case.ours, sigmas, space, **case.knobs)
    return plan, run(plan, asked_by(plan, D), x, noise_of(found, case.theirs))


def asked_by(plan, D):
    """D, with what another mixture says for the prompt left out where the plan wants to know."""
    unprompted = small_mixture(D.space, seed=5)
    return (lambda x, sigma: (D(x, sigma), unprompted(x, sigma))) if plan.asks_for_negatives else D


def deviation(a, b):
    return (a - torch.as_tensor(b)).abs().max().item()


def deviates(problem, case):
    return problem[0] is FLOW and case.ours in VE_ONLY and case.knobs.get("eta") != 0


@pytest.mark.parametrize("case", EXACT, ids=lambda case: case.theirs)
def test_same_result(problem, case):
    """Where ComfyUI applies the formula of VE to flow states, the two must differ: ours has the law of the noised data
    (see test_solvers_moments)."""
    _, last = ours(problem, case)
    theirs = problem[4][f"{case.theirs}/x"]
    if deviates(problem, case):
        assert deviation(last, theirs) > 0.01
    else:
        assert deviation(last, theirs) < TOLERANCE


@pytest.mark.parametrize("case", EXACT, ids=lambda case: case.theirs)
def test_same_evaluations(problem, case):
    plan, _ = ours(problem, case)
    asked, theirs = [row.sigma for row in plan.rows[:-1]], list(problem[4][f"{case.theirs}/evaluations"])
    assert len(asked) == len(theirs) if deviates(problem, case) else asked == pytest.approx(theirs)


@pytest.mark.parametrize("case", EXACT, ids=lambda case: case.theirs)
def test_a_wrong_weight_is_noticed(problem, case):
    """But for early ones of lcm and seeds_3, which forget them; their last steps are made alike.

    (test_solvers_as_diffusers compares lcm state by state.)
    """
    _, _, D, x, found = problem
    if deviates(problem, case):
        pytest.skip("nothing to compare with")
    plan, _ = ours(problem, case)
    theirs, noise = found[f"{case.theirs}/x"], noise_of(found, case.theirs)
    remembered = {"lcm": 2, "seeds_3": 4}.get(case.ours, len(plan.rows))
    for place, mutant in mutants(plan, 1e-3):
        unseen = deviation(run(mutant, asked_by(mutant, D), x, noise), theirs) < TOLERANCE
        row = int(place.split(",")[0].split()[1])
        assert not unseen or row < len(plan.rows) - remembered, place


def riemann(steps_of_sum):
    """deis with ComfyUI's quadrature, a sum over linspace's points, their number as given."""

    def weights(nodes, t):
        if len(nodes) == 1:
            return [t - nodes[0]]
        known = [_vp_time(node) for node in nodes]
        times = np.linspace(known[0], _vp_time(t), steps_of_sum)
        exponent = times**2 * _VP_BETA_D / 2 + times * _VP_BETA_MIN
        slope = np.exp(exponent) * (times * _VP_BETA_D + _VP_BETA_MIN) / (2 * np.sqrt(np.expm1(exponent)))
        sums = []
        for j, own in enumerate(known):
            basis = np.prod([(times - other) / (own - other) for k, other in enumerate(known) if k != j], axis=0)
            sums.append(float(np.sum(slope * basis)) * (times[-1] - times[0]) / steps_of_sum)
        return sums

    return lambda D, x, steps, order: _adams(D, x, steps, order, weights)


@pytest.mark.parametrize("case", [BY_NAME["deis"], BY_NAME["deis:2"], BY_NAME["deis:4"]], ids=lambda case: case.theirs)
def test_deis_but_for_the_quadrature(problem, case):
    """ComfyUI sums 10,000 points where we integrate: an error of its own that falls as 1/N. With its sum put in the
    place of our integral the two agree, and as N grows the sum comes to ours."""
    _, sigmas, D, x, found = problem
    theirs = torch.from_numpy(found[f"{case.theirs}/x"])
    _, last = ours(problem, case)
    assert deviation(last, theirs) < 1e-3
    order = case.knobs.get("order", 3)
    by_sum = {n: riemann(n)(D, x, Steps(sigmas), order) for n in (10_000, 20_000)}
    assert deviation(by_sum[10_000], theirs) < TOLERANCE
    assert deviation(by_sum[20_000], last) == pytest.approx(deviation(by_sum[10_000], last) / 2, rel=0.01)
    assert deviation(2 * by_sum[20_000] - by_sum[10_000], last) < TOLERANCE


@pytest.mark.parametrize("case", [BY_NAME["er_sde"], BY_NAME["er_sde:2"]], ids=lambda case: case.theirs)
def test_er_sde_but_for_the_quadrature(problem, case, monkeypatch):
    """ComfyUI sums 200 points where we integrate."""
    theirs = torch.from_numpy(problem[4][f"{case.theirs}/x"])
    _, last = ours(problem, case)
    assert deviation(last, theirs) < 1e-3

    def sum_of_200(f, start, end):
        step = (math.exp(end) - math.exp(start)) / 200
        rho = math.exp(start) + step * np.arange(200)
        return float(np.sum(f(np.log(rho)) / rho) * step)

    monkeypatch.setattr(er_sde, "integral", sum_of_200)
    plan, last = ours(problem, case)
    assert deviation(last, theirs) < TOLERANCE
    _, _, D, x, found = problem
    for place, mutant in mutants(plan, 1e-3):
        assert deviation(run(mutant, D, x, noise_of(found, case.theirs)), theirs) > TOLERANCE, place


@pytest.mark.parametrize("key", ADAPTIVE)
def test_dpm_adaptive(problem, key):
    _, sigmas, D, x, found = problem
    asked = []

    def watched(x, sigma):
        asked.append(sigma)
        return D(x, sigma)

    knobs = {"h" if name == "h_init" else name: value for name, value in ADAPTIVE[key].items()}
    last = dpm_adaptive(watched, x, sigmas[0], sigmas[-1] or sigmas[-2], **knobs)
    assert asked == pytest.approx(list(found[f"{key}/evaluations"]))
    assert deviation(last, found[f"{key}/x"]) < TOLERANCE


def test_every_solver_is_compared():
    assert {case.ours for case in CASES} == set(SOLVERS) - NOT_IN_COMFYUI


def test_at_flow_sigma_one_comfyui_comes_to_our_limit(comfy_samplers):
    """At σ = 1 the log-SNR is −∞. ComfyUI's SNR samplers then start from a slightly lower σ; ours has the limit."""
    D, sigmas = small_mixture(FLOW), schedule.linear(STEPS, 0.0, 1.0)
    x = states(D, 1.0)
    mixtures = {"mixture": as_spec(D), "unprompted": as_spec(D)}
    spec = {"space": "flow", "sigmas": sigmas, "x": x.tolist(), "seed": 3, **mixtures}
    names = ["euler", "dpmpp_2m", "heun", "euler_ancestral", "dpm_2_ancestral", "res_multistep"]
    shifted = ["dpmpp_2m_sde", "dpmpp_3m_sde", "er_sde", "sa_solver", "exp_heun_2_x0"]
    found = comfy_samplers({**spec, "samplers": {name: {} for name in names + shifted}})
    for name in names + shifted:
        last = run(solver.plan(name, sigmas, FLOW), D, x, noise_of(found, name))
        error = deviation(last, found[f"{name}/x"])
        assert (error < TOLERANCE) == (name not in shifted), (name, error)
        assert error < 1e-2, (name, error)

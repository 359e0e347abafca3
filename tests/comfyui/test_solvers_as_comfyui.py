"""Every solver of ours that bears a name of ComfyUI's, against ComfyUI's own sampler."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from exact import KARRAS, RANGE, grid, mutants, small_mixture, states

from varifold.models.denoising.space import FLOW, SPACES
from varifold.models.sampling import schedule, solver
from varifold.models.sampling.sample import run
from varifold.models.sampling.solver import SOLVERS
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
        return {"uni_pc_bh2": "uni_pc"}.get(self.theirs.partition(":")[0], self.theirs.partition(":")[0])


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
    Case("uni_pc_bh2", {}, {"variant": "bh2"}),
    Case("euler_ancestral"),
    Case("euler_ancestral:half", {"eta": 0.5, "s_noise": 0.9}, {"eta": 0.5, "s_noise": 0.9}),
    Case("dpmpp_sde"),
    Case("dpmpp_sde:half", {"eta": 0.5, "s_noise": 0.9, "r": 0.4}, {"eta": 0.5, "s_noise": 0.9, "r": 0.4}),
    Case("dpmpp_sde:free", {"eta": 0.0}, {"eta": 0.0}),
    Case("dpmpp_2m_sde"),
    Case("dpmpp_2m_sde:heun", {"solver_type": "heun"}, {"variant": "heun"}),
    Case("dpmpp_2m_sde:half", {"eta": 0.5, "s_noise": 0.9}, {"eta": 0.5, "s_noise": 0.9}),
    Case("dpmpp_2m_sde:free", {"eta": 0.0}, {"eta": 0.0}),
    Case("ddpm"),
    Case("lcm"),
    Case("lcm:quiet", {"s_noise": 0.8}, {"s_noise": 0.8}),
    Case("deis"),
    Case("deis:2", {"max_order": 2}, {"order": 2}),
    Case("deis:4", {"max_order": 4}, {"order": 4}),
]
BY_NAME = {case.theirs: case for case in CASES}
EXACT = [case for case in CASES if case.ours != "deis"]


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
        "mixture": {
            "means": D.means.tolist(),
            "variances": D.variances.tolist(),
            "log_weights": D.log_weights.tolist(),
        },
        "samplers": {case.theirs: case.options for case in CASES},
    }
    return space, sigmas, D, x, run_theirs(spec)


def noise_of(found, key):
    """The unit noises of ComfyUI's path, numbered as a plan numbers them."""
    table = torch.from_numpy(found[f"{key}/increments"])
    return lambda index: table[index - 1]


def ours(problem, case):
    space, sigmas, D, x, found = problem
    plan = solver.plan(case.ours, sigmas, space, **case.knobs)
    return plan, run(plan, D, x, noise_of(found, case.theirs))


def deviation(a, b):
    return (a - torch.as_tensor(b)).abs().max().item()


def flow_ddpm(problem, case):
    return problem[0] is FLOW and case.ours == "ddpm"


@pytest.mark.parametrize("case", EXACT, ids=lambda case: case.theirs)
def test_same_result(problem, case):
    """ComfyUI's ddpm applies the formula of VE to flow states too: there the two must differ, and ours is the
    posterior (see test_solvers_moments)."""
    _, last = ours(problem, case)
    theirs = problem[4][f"{case.theirs}/x"]
    if flow_ddpm(problem, case):
        assert deviation(last, theirs) > 0.01
    else:
        assert deviation(last, theirs) < TOLERANCE


@pytest.mark.parametrize("case", EXACT, ids=lambda case: case.theirs)
def test_same_evaluations(problem, case):
    plan, _ = ours(problem, case)
    assert [row.sigma for row in plan.rows[:-1]] == pytest.approx(list(problem[4][f"{case.theirs}/evaluations"]))


@pytest.mark.parametrize("case", EXACT, ids=lambda case: case.theirs)
def test_a_wrong_weight_is_noticed(problem, case):
    """But for early ones of lcm, which forgets them: test_solvers_as_diffusers compares it state by state."""
    _, _, D, x, found = problem
    if flow_ddpm(problem, case):
        pytest.skip("nothing to compare with")
    plan, _ = ours(problem, case)
    theirs, noise = found[f"{case.theirs}/x"], noise_of(found, case.theirs)
    last_rows = {len(plan.rows) - 1, len(plan.rows) - 2}
    for place, mutant in mutants(plan, 1e-3):
        unseen = deviation(run(mutant, D, x, noise), theirs) < TOLERANCE
        assert not unseen or (case.ours == "lcm" and int(place.split(",")[0].split()[1]) not in last_rows), place


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


def test_every_solver_is_compared():
    assert {case.ours for case in CASES} == set(SOLVERS)


def test_at_flow_sigma_one_comfyui_comes_to_our_limit(comfy_samplers):
    """At σ = 1 the log-SNR is −∞. ComfyUI's SNR samplers then start from a slightly lower σ; ours has the limit."""
    D, sigmas = small_mixture(FLOW), schedule.linear(STEPS, 0.0, 1.0)
    x = states(D, 1.0)
    mixture = {name: getattr(D, name).tolist() for name in ("means", "variances", "log_weights")}
    spec = {"space": "flow", "sigmas": sigmas, "x": x.tolist(), "seed": 3, "mixture": mixture}
    names = ["dpmpp_2m_sde", "euler", "dpmpp_2m", "heun", "euler_ancestral"]
    found = comfy_samplers({**spec, "samplers": {name: {} for name in names}})
    for name in names:
        last = run(solver.plan(name, sigmas, FLOW), D, x, noise_of(found, name))
        error = deviation(last, found[f"{name}/x"])
        assert (error < TOLERANCE) == (name != "dpmpp_2m_sde"), (name, error)
        assert error < 1e-2, (name, error)

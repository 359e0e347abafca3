"""What a Plan tells of a run: the weight of each output in the result, and the local error of each step."""

from __future__ import annotations

import math

import pytest
import torch

from varifold.models.denoising.analytic import GaussianMixture
from varifold.models.denoising.space import FLOW, VE
from varifold.models.sampling import schedule, solver
from varifold.models.sampling.analysis import contributions, error_rows
from varifold.models.sampling.noise import Noise
from varifold.models.sampling.plan import Slot
from varifold.models.sampling.sample import run
from varifold.models.sampling.solver import SOLVERS
from varifold.models.sampling.trace import Recorder

torch.set_num_threads(1)

SPACES = {"ve": VE, "flow": FLOW}
GRIDS = {"ve": schedule.karras(9, 0.03, 30.0), "flow": schedule.linear(9, 0.0, 1.0)}
PLAIN = [name for name, each in SOLVERS.items() if not each.asks_for_negatives]
EXACT = [name for name in PLAIN if not SOLVERS[name].stochastic]
AT_ITS_LEVELS = [name for name in EXACT if name != "dpm_fast"]
FINER = {"dpm_solver_3", "res_2s", "res_3s"}
"""More exact than the parabola that they are held against."""
REMEMBERING = {"uni_pc", "uni_pc_bh2", "ipndm", "ipndm_v", "plms"}
NOISY = [name for name in PLAIN if SOLVERS[name].stochastic]
every_space = pytest.mark.parametrize("space", SPACES)


def record(plan, D, shape=(2, 3, 4, 4), seed=0, start=1.0):
    """(the errors told, the states that the denoiser saw, its outputs, the noises, the result), in float64."""
    recorder, states, outputs = Recorder(plan), [], []
    streams = Noise(seed, range(shape[0]), shape[1:], dtype=torch.float64)

    def watched(x, sigma):
        states.append(x.clone())
        outputs.append(D(x, sigma))
        return outputs[-1]

    result = run(plan, watched, start * plan.sigmas[0] * streams(0), streams, recorder=recorder)
    return recorder.trace().errors, states, outputs, streams, result


@every_space
@pytest.mark.parametrize("name", PLAIN)
def test_contributions_add_up_to_the_result(name, space):
    plan = solver.plan(name, GRIDS[space], SPACES[space])
    noise = torch.Generator().manual_seed(0)
    _, _, outputs, streams, result = record(
        plan, lambda x, sigma: torch.randn(x.shape, generator=noise, dtype=torch.float64)
    )
    weights = contributions(plan)
    assert {slot.kind for slot in weights} <= {"d", "n"}
    start = plan.sigmas[0] * streams(0)
    parts = {Slot("n", 0): start} | {Slot("d", i): output for i, output in enumerate(outputs)}
    told = sum(weight * parts.get(slot, streams(slot.index)) for slot, weight in weights.items())
    assert torch.allclose(told, result, rtol=0, atol=1e-9 * result.abs().max())


@pytest.mark.parametrize("name", EXACT)
def test_outputs_count_for_all_of_a_picture(name):
    """What is always believed is what comes out, so the weights of the outputs add up to 1."""
    weights = contributions(solver.plan(name, GRIDS["ve"], VE))
    assert sum(w for slot, w in weights.items() if slot.kind == "d") == pytest.approx(1, abs=2e-3)


@every_space
@pytest.mark.parametrize("name", AT_ITS_LEVELS)
def test_of_outputs_along_a_parabola_the_error_is_exact(name, space):
    """x0 = a + b·σ + c·σ² solves the ODE in closed form, and the corrector has to find it."""
    a, b, c = 0.3, -0.2, 0.05

    def step(x, s, t):
        return t / s * x + t * (a * (1 / t - 1 / s) + b * math.log(s / t) + c * (s - t))

    plan = solver.plan(name, GRIDS[space], SPACES[space])
    errors, states, _, _, _ = record(plan, lambda x, sigma: torch.full_like(x, a + b * sigma + c * sigma**2))
    starts = [[row.step for row in plan.rows].index(k) for k in range(plan.steps)]
    first, *others = zip(plan.sigmas, plan.sigmas[1:], starts, starts[1:], errors, strict=False)
    for s, t, start, end, told in others:
        true = (states[end] - step(states[start], s, t)).square().mean().sqrt()
        assert told == pytest.approx(true.item(), rel=1e-6, abs=1e-10)
    assert first[-1] is not None  # along a line: there is no step before it
    assert errors[-1] is None


@every_space
@pytest.mark.parametrize("name", [name for name in AT_ITS_LEVELS if name not in REMEMBERING])
def test_the_error_is_about_that_of_the_step(name, space):
    """Against the same step in 100 Heun steps, on a mixture whose trajectories bend."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(20, 8, 1, 1, generator=generator, dtype=torch.float64)
    mixture = GaussianMixture(means, torch.full((20,), 0.05).double(), torch.zeros(20).double(), SPACES[space])
    plan = solver.plan(name, GRIDS[space], SPACES[space])
    errors, states, _, streams, _ = record(plan, mixture, (64, 8, 1, 1))
    starts = [[row.step for row in plan.rows].index(k) for k in range(plan.steps)]
    ratios = []
    for k in range(plan.steps - 1):
        s, t = plan.sigmas[k : k + 2]
        fine = solver.plan("heun", [s + (t - s) * i / 100 for i in range(101)], SPACES[space])
        true = run(fine, mixture, states[starts[k]], streams)
        ratios.append(errors[k] / (states[starts[k + 1]] - true).square().mean().sqrt().item())
    mean = math.prod(ratios) ** (1 / len(ratios))
    if name in FINER:
        assert mean > 1, ratios
    else:
        assert all(0.2 < ratio < 4 for ratio in ratios) and 0.6 < mean < 1.5, ratios


@every_space
@pytest.mark.parametrize("name", [name for name in PLAIN if name != "ipndm_v"])  # its weights do not add up
def test_what_never_changes_its_mind_makes_no_error(name, space):
    plan = solver.plan(name, GRIDS[space], SPACES[space])
    errors, _, _, _, _ = record(plan, lambda x, sigma: torch.full_like(x, 0.7))
    assert all(error is None or error < 1e-9 for error in errors), errors


@every_space
@pytest.mark.parametrize("name", NOISY)
def test_noise_is_no_error(name, space):
    """With x0 along a line the error is the solver's mean against the line's, whatever noise it drew."""
    plan = solver.plan(name, GRIDS[space], SPACES[space])
    told = [record(plan, lambda x, sigma: torch.full_like(x, sigma), seed=seed)[0] for seed in (1, 2)]
    assert told[0][-1] is told[1][-1] is None
    assert told[0][:-1] == pytest.approx(told[1][:-1], rel=1e-9)
    assert max(told[0][:-1]) > 1e-3


@pytest.mark.parametrize("name", PLAIN)
def test_recording_changes_nothing(name):
    plan = solver.plan(name, GRIDS["ve"], VE)
    streams = Noise(3, range(2), (3, 4, 4), dtype=torch.float64)

    def D(x, sigma):
        return x.tanh() / (1 + sigma)

    plain = run(plan, D, plan.sigmas[0] * streams(0), streams)
    watched = run(plan, D, plan.sigmas[0] * streams(0), streams, recorder=Recorder(plan))
    assert torch.equal(plain, watched)


def test_a_run_of_one_step_tells_nothing():
    assert error_rows(solver.plan("euler", [1.0, 0.0], VE)) == {}
    assert contributions(solver.plan("euler", [1.0, 0.0], VE)) == {Slot("d", 0): 1.0}


def test_finer_schedules_have_smaller_errors():
    means = torch.tensor([-1.0, 1.0]).double().view(2, 1, 1, 1)
    mixture = GaussianMixture(means, torch.full((2,), 0.1).double(), torch.zeros(2).double())
    largest = []
    for steps in (10, 20, 40):
        plan = solver.plan("euler", schedule.karras(steps, 0.03, 30.0), VE)
        largest.append(max(error for error in record(plan, mixture, (256, 1, 1, 1))[0] if error is not None))
    assert largest[0] > 2.5 * largest[1] > 6 * largest[2]


def test_levels_of_a_plan_s_own_tell_no_error():
    plan = solver.plan("dpm_fast", GRIDS["ve"], VE)
    assert error_rows(plan) == {} and record(plan, lambda x, sigma: x / 2)[0] == (None,) * plan.steps


@pytest.mark.parametrize("name", sorted(set(SOLVERS) - set(PLAIN)))
def test_two_answers_at_once_tell_no_error(name):
    plan = solver.plan(name, GRIDS["ve"], VE)
    assert error_rows(plan) == {}
    assert {slot.kind for slot in contributions(plan)} >= {"d"}

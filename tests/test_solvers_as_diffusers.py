"""Every solver that diffusers has too, against diffusers' own scheduler, in float64."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from diffusers_oracle import data, doubled, epsilon, float64, make, walk
from exact import (
    KARRAS,
    RANGE,
    BrownianPath,
    assert_same_path,
    grid,
    small_mixture,
    states,
    unit_noises,
)

from varifold.models.denoising.space import FLOW, VE
from varifold.models.sampling import solver

pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore:__array", "ignore:.*algorithm_type")
torch.set_num_threads(1)

STEPS = 8


def schedule_of(space, end_in_zero=False):
    sigmas = grid(KARRAS, STEPS, *RANGE[space])
    return [*sigmas, 0.0] if end_in_zero else sigmas


def compare(name, space, sigmas, theirs, noise=None, **knobs):
    """Ours against `theirs(D, x)`, and proof that any weight wrong by 1e-4 would be seen."""
    D = small_mixture(space)
    x = states(D, sigmas[0])
    noise = noise or unit_noises(x.shape)
    plan = solver.plan(name, sigmas, space, **knobs)
    assert_same_path(plan, lambda D: theirs(D, x, noise, plan), D, x, noise)


zero_or_not = pytest.mark.parametrize("to_zero", [False, True], ids=["above zero", "to zero"])


@zero_or_not
def test_euler_ve(to_zero):
    sigmas = schedule_of(VE, to_zero)
    compare("euler", VE, sigmas, lambda D, x, *_: walk(make("Euler", sigmas), D, x, sigmas[:-1], epsilon, sigmas[-1]))


@zero_or_not
def test_euler_flow(to_zero):
    sigmas = schedule_of(FLOW, to_zero)
    compare(
        "euler", FLOW, sigmas, lambda D, x, *_: walk(make("FlowEuler", sigmas), D, x, sigmas[:-1], epsilon, sigmas[-1])
    )


@zero_or_not
@pytest.mark.parametrize(("space", "key"), [(VE, "Heun"), (FLOW, "FlowHeun")], ids=["ve", "flow"])
def test_heun(space, key, to_zero):
    sigmas = schedule_of(space, to_zero)
    levels = doubled(sigmas)
    asked = levels[: 2 * STEPS + to_zero]

    def theirs(D, x, *_):
        scheduler = make(key, levels)
        scheduler.timesteps = torch.arange(len(asked), dtype=torch.float64)
        return walk(scheduler, D, x, asked, epsilon, sigmas[-1])

    compare("heun", space, sigmas, theirs)


def test_dpm_2():
    """Above zero; where σ ends in 0 diffusers takes a midpoint in log σ that does not exist."""
    sigmas = schedule_of(VE)
    twice = doubled(sigmas)
    middles = [math.sqrt(s * t) for s, t in itertools.pairwise(sigmas)]
    asked = [level for pair in zip(sigmas, middles, strict=False) for level in pair]

    def theirs(D, x, *_):
        scheduler = make("KDPM2", twice)
        scheduler.timesteps = torch.arange(len(asked), dtype=torch.float64)
        scheduler.sigmas_interpol = float64([0.0, *(m for m in middles for _ in range(2))])
        return walk(scheduler, D, x, asked, epsilon, sigmas[-1])

    compare("dpm_2", VE, sigmas, theirs)


def test_lms():
    """Above zero: to zero diffusers extrapolates the slopes, where k-diffusion and we take x0 itself."""
    sigmas = schedule_of(VE)
    compare("lms", VE, sigmas, lambda D, x, *_: walk(make("LMS", sigmas), D, x, sigmas[:-1], epsilon, sigmas[-1]))


def test_ipndm():
    """Above zero, as for lms. diffusers walks its own trigonometric schedule: it is given ours, and v for its net."""
    sigmas = schedule_of(VE)
    total = [math.sqrt(1 + sigma**2) for sigma in sigmas]

    def v(x, x0, sigma):
        return (epsilon(x, x0, sigma) - sigma * x0) / math.sqrt(1 + sigma**2)

    def theirs(D, x, *_):
        scheduler = make("IPNDM", sigmas)
        scheduler.ets = []
        scheduler.alphas = float64([1 / t for t in total])
        scheduler.betas = float64([s / t for s, t in zip(sigmas, total, strict=True)])
        return walk(scheduler, D, x, sigmas[:-1], v, sigmas[-1], vp=True)

    compare("ipndm", VE, sigmas, theirs)


SPACES_OF_DPM = pytest.mark.parametrize("space", [VE, FLOW], ids=lambda space: space.name)


def dpm_config(**more):
    return {"prediction_type": "sample", "lower_order_final": False, "final_sigmas_type": "sigma_min", **more}


def flow_config(space):
    return {"use_flow_sigmas": True} if space is FLOW else {}


@zero_or_not
@SPACES_OF_DPM
def test_dpmpp_2m(space, to_zero):
    """`lower_order_final` is off: under 15 steps diffusers ends with a first-order step, the paper and we only at 0.

    In flow space ComfyUI and we walk in −log σ, where diffusers walks in log-SNR: its scheduler must not know that it
    is in flow space. (Both are of second order; ours in log-SNR is dpmpp_2m_sde with η = 0.)
    """
    sigmas = schedule_of(space, to_zero)
    config = dpm_config(solver_order=2, euler_at_final=to_zero)

    def theirs(D, x, *_):
        return walk(make("DPM", sigmas, **config), D, x, sigmas[:-1], data, sigmas[-1], vp=True)

    compare("dpmpp_2m", space, sigmas, theirs)


@zero_or_not
def test_res_multistep(to_zero):
    """DPM-Solver++(2M) with the exact weight of its second term, diffusers' variant heun."""
    sigmas = schedule_of(VE, to_zero)
    config = dpm_config(solver_order=2, solver_type="heun", euler_at_final=to_zero)

    def theirs(D, x, *_):
        return walk(make("DPM", sigmas, **config), D, x, sigmas[:-1], data, sigmas[-1], vp=True)

    compare("res_multistep", VE, sigmas, theirs)


@zero_or_not
@SPACES_OF_DPM
def test_dpmpp_2m_in_log_snr(space, to_zero):
    sigmas = schedule_of(space, to_zero)
    config = dpm_config(solver_order=2, euler_at_final=to_zero, **flow_config(space))

    def theirs(D, x, *_):
        return walk(make("DPM", sigmas, **config), D, x, sigmas[:-1], data, sigmas[-1], vp=space is VE)

    compare("dpmpp_2m_sde", space, sigmas, theirs, eta=0.0)


@zero_or_not
@SPACES_OF_DPM
@pytest.mark.parametrize("variant", ["midpoint", "heun"])
def test_dpmpp_2m_sde(space, variant, to_zero):
    sigmas = schedule_of(space, to_zero)
    sde = {"algorithm_type": "sde-dpmsolver++", "solver_type": variant}
    config = dpm_config(solver_order=2, euler_at_final=to_zero, **sde, **flow_config(space))

    def theirs(D, x, noise, _):
        scheduler = make("DPM", sigmas, **config)
        return walk(scheduler, D, x, sigmas[:-1], data, sigmas[-1], vp=space is VE, noise=noise)

    compare("dpmpp_2m_sde", space, sigmas, theirs, variant=variant)


@SPACES_OF_DPM
@pytest.mark.parametrize("variant", ["bh1", "bh2"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_uni_pc(space, variant, order):
    """Above zero: to zero ComfyUI and we stop at σ 0.001, diffusers gives x0 itself. In flow space as for dpmpp_2m."""
    sigmas = schedule_of(space)
    config = {"prediction_type": "sample", "solver_order": order, "solver_type": variant}

    def theirs(D, x, *_):
        return walk(make("UniPC", sigmas, **config), D, x, sigmas[:-1], data, sigmas[-1], vp=True)

    compare("uni_pc", space, sigmas, theirs, variant=variant, order=order)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_deis_log(order):
    """Above zero: its step to zero is not a number. deis is the same in the time of a VP process, as in ComfyUI."""
    sigmas = schedule_of(VE)
    config = {"prediction_type": "sample", "solver_order": order, "lower_order_final": False}

    def theirs(D, x, *_):
        return walk(make("DEIS", sigmas, **config), D, x, sigmas[:-1], data, sigmas[-1], vp=True)

    compare("deis_log", VE, sigmas, theirs, order=order)


def test_deis_log_of_order_2_is_dpm_solver_2m():
    sigmas = schedule_of(VE)
    config = dpm_config(solver_order=2, algorithm_type="dpmsolver", solver_type="heun")

    def theirs(D, x, *_):
        return walk(make("DPM", sigmas, **config), D, x, sigmas[:-1], data, sigmas[-1], vp=True)

    compare("deis_log", VE, sigmas, theirs, order=2)


@zero_or_not
@SPACES_OF_DPM
def test_dpmpp_3m_sde_without_noise(space, to_zero):
    """With noise diffusers has the wrong sign before a half, which leaves first order: ComfyUI is the oracle there."""
    sigmas = schedule_of(space, to_zero)
    config = dpm_config(solver_order=3, solver_type="heun", euler_at_final=to_zero, **flow_config(space))

    def theirs(D, x, *_):
        return walk(make("DPM", sigmas, **config), D, x, sigmas[:-1], data, sigmas[-1], vp=space is VE)

    compare("dpmpp_3m_sde", space, sigmas, theirs, eta=0.0)


@pytest.mark.parametrize(("name", "variant"), [("dpmpp_2s", "midpoint"), ("res_2s", "heun")])
def test_singlestep(name, variant):
    """diffusers walks the midpoints as levels of the schedule."""
    sigmas = schedule_of(VE)
    levels = [sigmas[0], *itertools.chain(*((math.sqrt(s * t), t) for s, t in itertools.pairwise(sigmas)))]
    config = {"prediction_type": "sample", "solver_order": 2, "solver_type": variant, "final_sigmas_type": "sigma_min"}

    def theirs(D, x, *_):
        scheduler = make("Singlestep", levels, **config)
        scheduler.order_list = [1, 2] * STEPS
        return walk(scheduler, D, x, levels[:-1], data, sigmas[-1], vp=True)

    compare(name, VE, sigmas, theirs)


def test_plms():
    """Above zero: to zero diffusers extrapolates the slopes, where we take x0 itself."""
    sigmas = schedule_of(VE)
    asked = [sigmas[0], sigmas[1], *sigmas[1:-1]]

    def theirs(D, x, *_):
        scheduler = make("PNDM", sigmas, skip_prk_steps=True, num_train_timesteps=STEPS)
        scheduler.alphas_cumprod = float64([1 / (1 + sigma**2) for sigma in reversed(sigmas)])
        scheduler.timesteps, scheduler.prk_timesteps = [STEPS, STEPS - 1, *range(STEPS - 1, 0, -1)], []
        return walk(scheduler, D, x, asked, epsilon, sigmas[-1], vp=True)

    compare("plms", VE, sigmas, theirs)


def test_tcd():
    """On levels of diffusers' own table, where its rounding of times has nothing to round."""
    times = [900, 700, 500, 300]
    table = make(
        "TCD", [1.0], beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    ).alphas_cumprod.double()
    signal = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0)
    assert torch.allclose(table, signal, rtol=1e-5)
    sigmas = [math.sqrt(1 / signal[time] - 1) for time in (*times, 0)]

    def theirs(D, x, noise, _):
        scheduler = make("TCD", sigmas, prediction_type="sample")
        scheduler.alphas_cumprod, scheduler.timesteps = signal, torch.tensor(times)
        step = scheduler.step
        scheduler.step = lambda *args, **kwargs: step(*args, eta=0.5, **kwargs)
        return walk(scheduler, D, x, sigmas[:-1], data, sigmas[-1], vp=True, noise=noise)

    compare("tcd", VE, sigmas, theirs, gamma=0.5)


@zero_or_not
def test_euler_ancestral_ve(to_zero):
    sigmas = schedule_of(VE, to_zero)

    def theirs(D, x, noise, _):
        return walk(make("EulerAncestral", sigmas), D, x, sigmas[:-1], epsilon, sigmas[-1], noise=noise)

    compare("euler_ancestral", VE, sigmas, theirs)


@zero_or_not
@pytest.mark.parametrize("eta", [1.0, 0.5])
def test_euler_ancestral_flow(eta, to_zero):
    sigmas = schedule_of(FLOW, to_zero)

    def theirs(D, x, noise, _):
        scheduler = make("FlowAncestral", sigmas, eta=eta)
        return walk(scheduler, D, x, sigmas[:-1], epsilon, sigmas[-1], noise=noise)

    compare("euler_ancestral", FLOW, sigmas, theirs, eta=eta)


def test_dpmpp_sde():
    """Both noises of a step come from one Brownian path; theirs is given ours."""
    sigmas = schedule_of(VE)

    def theirs(D, x, noise, plan):
        scheduler = make("DPMSDE", doubled(sigmas))
        asked = [row.sigma for row in plan.rows[:-1]]
        scheduler.timesteps = torch.arange(len(asked), dtype=torch.float64)
        path = BrownianPath.of(plan, noise)
        scheduler.noise_sampler = lambda high, low: path(float(high), float(low))
        return walk(scheduler, D, x, asked, epsilon, sigmas[-1])

    compare("dpmpp_sde", VE, sigmas, theirs)


def test_ddpm():
    """To zero, the only way that diffusers walks; its table of ᾱ is given our σ's."""
    sigmas = schedule_of(VE, end_in_zero=True)
    levels = sigmas[:-1]

    def theirs(D, x, noise, _):
        scheduler = make("DDPM", sigmas, prediction_type="sample", clip_sample=False)
        scheduler.alphas_cumprod = float64([1 / (1 + sigma**2) for sigma in reversed(levels)])
        scheduler.timesteps = torch.arange(len(levels) - 1, -1, -1)
        scheduler.one, scheduler.custom_timesteps = float64(1.0), True
        return walk(scheduler, D, x, levels, data, 0.0, vp=True, noise=noise)

    compare("ddpm", VE, sigmas, theirs)


def test_lcm_ve():
    """diffusers adds the boundary scalings c_skip and c_out, which belong to the net: a huge scaling turns them off."""
    sigmas = schedule_of(VE, end_in_zero=True)
    levels = sigmas[:-1]

    def theirs(D, x, noise, _):
        scheduler = make("LCM", sigmas, prediction_type="sample", clip_sample=False, timestep_scaling=1e12)
        scheduler.alphas_cumprod = float64([0.5, *(1 / (1 + sigma**2) for sigma in levels)])
        scheduler.timesteps = torch.arange(1, len(levels) + 1)
        return walk(scheduler, D, x, levels, data, 0.0, vp=True, noise=noise)

    compare("lcm", VE, sigmas, theirs)


@zero_or_not
def test_lcm_flow(to_zero):
    sigmas = schedule_of(FLOW, to_zero)

    def theirs(D, x, noise, _):
        return walk(make("FlowLCM", sigmas), D, x, sigmas[:-1], epsilon, sigmas[-1], noise=noise)

    compare("lcm", FLOW, sigmas, theirs)

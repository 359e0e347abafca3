"""Schedules against k-diffusion's and diffusers' formulas, written anew or run, in double precision."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.interpolate import PchipInterpolator

from varifold.models.denoising.space import FLOW, VE
from varifold.models.sampling import schedule
from varifold.models.sampling.interpolate import monotone_cubic
from varifold.models.sampling.schedules.quantiles import beta_quantile

pytestmark = pytest.mark.filterwarnings("ignore:__array")

COUNTS = pytest.mark.parametrize("steps", [2, 5, 40])


def close(found, expected, rel=1e-12):
    assert found == pytest.approx(list(expected), rel=rel, abs=0)


@COUNTS
@pytest.mark.parametrize("rho", [1.0, 3.0, 7.0])
def test_karras(steps, rho):
    """k-diffusion's get_sigmas_karras, which appends the 0."""
    low, high = 0.03 ** (1 / rho), 14.6 ** (1 / rho)
    close(schedule.karras(steps, 0.03, 14.6, rho), [*((high + np.linspace(0, 1, steps) * (low - high)) ** rho), 0])


@COUNTS
def test_exponential(steps):
    """k-diffusion's get_sigmas_exponential."""
    close(schedule.exponential(steps, 0.03, 14.6), [*np.exp(np.linspace(math.log(14.6), math.log(0.03), steps)), 0])


@COUNTS
@pytest.mark.parametrize("rho", [0.5, 1.0, 2.0])
def test_polyexponential(steps, rho):
    """k-diffusion's get_sigmas_polyexponential."""
    ramp = np.linspace(1, 0, steps) ** rho
    expected = np.exp(ramp * (math.log(14.6) - math.log(0.03)) + math.log(0.03))
    close(schedule.polyexponential(steps, 0.03, 14.6, rho), [*expected, 0])


@COUNTS
def test_vp(steps):
    """k-diffusion's get_sigmas_vp."""
    t = np.linspace(1, 1e-3, steps)
    close(schedule.vp(steps), [*np.sqrt(np.exp(19.9 * t**2 / 2 + 0.1 * t) - 1), 0], rel=1e-11)


@COUNTS
def test_linear_and_cosine(steps):
    close(schedule.linear(steps, 0.1, 0.9), [*np.linspace(0.9, 0.1, steps), 0])
    close(schedule.cosine(steps, 0.1, 9.0), [*np.tan(np.linspace(math.atan(9.0), math.atan(0.1), steps)), 0])
    assert schedule.linear(steps, 0.0, 1.0) == pytest.approx(np.linspace(1, 0, steps + 1))


def betas(curve, start, end, count):
    if curve == "linear":
        return np.linspace(start, end, count)
    return np.linspace(start**0.5, end**0.5, count) ** 2


@pytest.mark.parametrize(
    ("curve", "start", "end"), [("scaled_linear", 0.00085, 0.012), ("linear", 1e-4, 0.02), ("linear", 0.00085, 0.012)]
)
def test_discrete_table(curve, start, end):
    alphas_bar = np.cumprod(1 - betas(curve, start, end, 1000))
    close(schedule.discrete(curve, start, end), np.sqrt((1 - alphas_bar) / alphas_bar), rel=1e-11)


def test_zero_terminal_snr():
    """Lin et al. 2023, algorithm 1: shift √ᾱ so that its last is 0, then scale so that its first is what it was."""
    root = np.sqrt(np.cumprod(1 - betas("scaled_linear", 0.00085, 0.012, 1000)))
    first, last = root[0], root[-1]
    shifted = (root - last) * first / (first - last)
    expected = np.sqrt(1 - shifted[:-1] ** 2) / shifted[:-1]
    table = schedule.discrete(zero_terminal_snr=True)
    close(table[:-1], expected, rel=1e-9)
    assert table[-1] == schedule.LARGEST_DISCRETE_SIGMA
    assert table[0] == pytest.approx(schedule.discrete()[0], rel=1e-9)


def diffusers_euler(**config):
    diffusers = pytest.importorskip("diffusers")
    return diffusers.EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", **config)


@pytest.mark.parametrize("steps", [7, 20, 50])
def test_normal_is_linspace(steps):
    """diffusers' "linspace". It interpolates σ between timesteps, and keeps float32; ComfyUI and we take log σ."""
    table = schedule.discrete()
    ours = schedule.normal(steps, table)
    close(ours, [*np.exp(np.interp(np.linspace(999, 0, steps), np.arange(1000), np.log(table))), 0], rel=1e-11)
    scheduler = diffusers_euler(timestep_spacing="linspace")
    scheduler.set_timesteps(steps)
    assert ours == pytest.approx(scheduler.sigmas.tolist(), rel=2e-4)


def test_one_normal_step_starts_at_the_top():
    """As in ComfyUI; diffusers' one step is the table's lowest."""
    assert schedule.normal(1, schedule.discrete()) == pytest.approx([schedule.discrete()[-1], 0.0])


@pytest.mark.parametrize("steps", [1, 8, 20, 50])
def test_simple_is_trailing(steps):
    """diffusers' "trailing", where the steps divide the table."""
    scheduler = diffusers_euler(timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    assert schedule.simple(steps, schedule.discrete()) == pytest.approx(scheduler.sigmas.tolist(), rel=2e-5)


@pytest.mark.parametrize("shift", [0.5, 1.0, 3.0, 12.0])
def test_flow_shift(shift):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    sigmas = schedule.linear(9, 0.0, 1.0)
    scheduler.set_timesteps(sigmas=sigmas[:-1])
    assert schedule.flow_shift(sigmas, shift) == pytest.approx(scheduler.sigmas.tolist(), rel=1e-6)


def diffusers_levels(name, steps, mu=None, **config):
    """What a scheduler of diffusers makes, in its float32; a DPM-Solver unless named otherwise."""
    diffusers = pytest.importorskip("diffusers")
    discrete = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    scheduler = getattr(diffusers, name)(**({} if name.startswith("Flow") else discrete), **config)
    extra = {} if mu is None else {"mu": mu, "sigmas": np.linspace(1, 1 / steps, steps)}
    scheduler.set_timesteps(steps, **extra)
    return scheduler.sigmas.tolist()


DPM = "DPMSolverMultistepScheduler"
STABLE = schedule.discrete()
ENDS = (STABLE[0], STABLE[-1])


@pytest.mark.parametrize(
    ("config", "ours"),
    [
        ({"use_karras_sigmas": True}, lambda n: schedule.karras(n, *ENDS)),
        ({"use_exponential_sigmas": True}, lambda n: schedule.exponential(n, *ENDS)),
        ({"use_lu_lambdas": True}, lambda n: schedule.exponential(n, *ENDS)),
        ({"use_beta_sigmas": True}, lambda n: schedule.beta_sigmas(n, *ENDS)),
        (
            {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0},
            lambda n: schedule.flow_shift(schedule.linear(n, 0.0, 0.999), 3.0),
        ),
        ({"timestep_spacing": "trailing"}, lambda n: schedule.simple(n, STABLE)),
    ],
    ids=["karras", "exponential", "lu", "beta", "flow", "trailing"],
)
@pytest.mark.parametrize("steps", [4, 10, 25])
def test_as_the_dpm_solvers_of_diffusers(config, ours, steps):
    assert ours(steps) == pytest.approx(diffusers_levels(DPM, steps, **config), rel=3e-5)


@pytest.mark.parametrize("steps", [3, 9, 37])
def test_sgm_uniform_is_the_linspace_of_dpm_solvers(steps):
    """But that they round timesteps, where 27 steps, or 37, divide 999."""
    found = diffusers_levels(DPM, steps, timestep_spacing="linspace")
    assert schedule.sgm_uniform(steps, STABLE) == pytest.approx(found, rel=3e-5)


@pytest.mark.parametrize("steps", [1, 7, 20, 37])
def test_ddim_uniform_is_leading(steps):
    """Of DPM-Solvers the stride is that of a step more."""
    spacing = {"timestep_spacing": "leading", "steps_offset": 1}
    found = diffusers_levels("EulerDiscreteScheduler", steps, **spacing)
    assert schedule.ddim_uniform(steps, STABLE) == pytest.approx(found, rel=3e-5)
    longer = schedule.ddim_uniform(steps + 1, STABLE)
    assert [*longer[:-2], 0.0] == pytest.approx(diffusers_levels(DPM, steps, **spacing), rel=3e-5)


@pytest.mark.parametrize("steps", [1, 4, 25])
@pytest.mark.parametrize("size", [(512, 512), (1024, 768)])
def test_flux_is_dynamic_shifting(steps, size):
    """With μ on the line that diffusers' FluxPipeline draws."""
    tokens = size[0] * size[1] / 256
    mu = np.interp(tokens, [256, 4096], [0.5, 1.15])
    found = diffusers_levels("FlowMatchEulerDiscreteScheduler", steps, mu=mu, use_dynamic_shifting=True)
    assert schedule.flux(steps, tokens) == pytest.approx(found, rel=1e-6)


@pytest.mark.parametrize("steps", [2, 8, 30])
def test_ltxv_is_dynamic_shifting_stretched_to_a_terminal(steps):
    mu = 0.95 + (1500 - 1024) * (2.05 - 0.95) / (4096 - 1024)
    config = {"use_dynamic_shifting": True, "shift_terminal": 0.1}
    found = diffusers_levels("FlowMatchEulerDiscreteScheduler", steps, mu=mu, **config)
    assert schedule.ltxv(steps, 1500) == pytest.approx(found, rel=1e-5)


@pytest.mark.parametrize("family", ["sd1", "sdxl", "svd"])
def test_align_your_steps_is_what_diffusers_publishes(family):
    pytest.importorskip("diffusers")
    from diffusers.schedulers import AysSchedules

    key = {"sd1": "StableDiffusion", "sdxl": "StableDiffusionXL", "svd": "StableDiffusionVideo"}[family]
    published = AysSchedules[f"{key}Sigmas"]
    assert schedule.align_your_steps(10, family) == pytest.approx(published, rel=0.015)


@pytest.mark.parametrize(("a", "b"), [(0.6, 0.6), (0.05, 3.0), (1.0, 1.0), (2.5, 0.4), (50.0, 50.0)])
def test_quantiles_are_scipys(a, b):
    for p in np.linspace(0, 1, 33):
        assert beta_quantile(p, a, b) == pytest.approx(scipy.stats.beta.ppf(p, a, b), rel=1e-11, abs=1e-13)


def test_laplace_is_symmetric_about_its_centre():
    """Quantiles of a Laplace distribution of log σ: as far above mu as below, and half of the mass within β·ln 2."""
    mu, width = 0.3, 0.6
    heights = [math.log(sigma) - mu for sigma in schedule.laplace(81, 1e-6, 1e6, mu, width)[:-1]]
    assert heights == pytest.approx([-height for height in reversed(heights)], abs=1e-9)
    assert heights[20] == pytest.approx(width * math.log(2), rel=1e-4)


def test_linear_quadratic_is_smooth_where_its_halves_meet():
    sigmas = schedule.linear_quadratic(40, 1.0)
    falls = [s - t for s, t in pairwise(sigmas)]
    assert falls[:20] == pytest.approx([0.025 / 20] * 20)
    assert falls[20] - falls[19] == pytest.approx((falls[21] - falls[20]) / 2)


def test_a_logit_normal_has_its_median_in_the_middle():
    pixels = 1024 * 1024
    sigmas = schedule.ideogram4(10, pixels, mu=0.2)
    logit = math.log(sigmas[5] / (1 - sigmas[5]))
    assert logit == pytest.approx(0.2 + math.log(pixels / 512**2) / 2)


PUBLISHED = {
    "sd1": lambda n: schedule.align_your_steps(n),
    "svd": lambda n: schedule.align_your_steps(n, "svd"),
    "gits": lambda n: schedule.gits(n),
    "flux": lambda n: schedule.optimal_steps(n),
    "chroma": lambda n: schedule.optimal_steps(n, "chroma"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_levels_go_on_for_any_number_of_steps(name):
    for steps in (1, 2, 3, 9, 10, 20, 21, 40, 41, 1000):
        sigmas = PUBLISHED[name](steps)
        assert len(sigmas) == steps + 1
        VE.check(sigmas)
    whole = PUBLISHED[name](40)
    assert PUBLISHED[name](80)[::2] == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("steps", range(1, 31))
def test_every_coefficient_of_gits_descends(steps):
    found = [schedule.gits(steps, 0.8 + 0.05 * index) for index in range(15)]
    for sigmas in found:
        assert len(sigmas) == steps + 1
        VE.check(sigmas)
    assert steps < 2 or found[0] != found[-1]


def test_flow_shift_composes():
    """Shifts multiply; shift 1 changes nothing, and the ends stay."""
    sigmas = schedule.linear(9, 0.0, 1.0)
    twice = schedule.flow_shift(schedule.flow_shift(sigmas, 3.0), 2.0)
    assert twice == pytest.approx(schedule.flow_shift(sigmas, 6.0))
    assert schedule.flow_shift(sigmas, 1.0) == pytest.approx(sigmas)
    assert (twice[0], twice[-1]) == (1.0, 0.0)


@pytest.mark.parametrize("seed", range(20))
def test_monotone_cubic_is_scipy_s_pchip(seed):
    chance = random.Random(seed)
    count = chance.randint(2, 8)
    xs = sorted(chance.uniform(0, 1) for _ in range(count))
    ys = [chance.choice([chance.uniform(-3, 3), 1.0]) for _ in range(count)]
    at = np.linspace(xs[0], xs[-1], 101)
    curve = monotone_cubic(xs, ys)
    assert np.allclose([curve(x) for x in at], PchipInterpolator(xs, ys)(at), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_drawn_curves(seed):
    chance = random.Random(seed)
    inner = sorted(chance.uniform(0.02, 0.98) for _ in range(chance.randint(0, 6)))
    sigmas = sorted((math.exp(chance.uniform(-5, 4)) for _ in range(len(inner) + 2)), reverse=True)
    points = list(zip([0.0, *inner, 1.0], sigmas, strict=True))
    expected = np.exp(PchipInterpolator([p for p, _ in points], np.log(sigmas))(np.linspace(0, 1, 12)))
    chance.shuffle(points)
    found = schedule.from_points(12, points)
    close(found, [*expected, 0], rel=1e-11)
    assert (found[0], found[-2]) == (sigmas[0], sigmas[-1])


CURVES = {
    "karras": lambda n, low, high, knob: schedule.karras(n, low, high, 1 + 9 * knob),
    "polyexponential": lambda n, low, high, knob: schedule.polyexponential(n, low, high, 0.3 + 2 * knob),
    "exponential": lambda n, low, high, knob: schedule.exponential(n, low, high),
    "linear": lambda n, low, high, knob: schedule.linear(n, low, high),
    "cosine": lambda n, low, high, knob: schedule.cosine(n, low, high),
    "beta_sigmas": lambda n, low, high, knob: schedule.beta_sigmas(n, low, high, 0.5 + knob, 1.5 - knob),
    "drawn": lambda n, low, high, knob: schedule.from_points(n, [(0, high), (0.5, (low * high) ** 0.5), (1, low)]),
}


@pytest.mark.parametrize("name", CURVES)
def test_every_curve_descends_from_end_to_end(name):
    chance = random.Random(0)
    for _ in range(200):
        steps = chance.randint(2, 60)
        low = math.exp(chance.uniform(-7, 1))
        high = low * math.exp(chance.uniform(0.1, 8))
        sigmas = CURVES[name](steps, low, high, chance.random())
        assert len(sigmas) == steps + 1
        assert (sigmas[0], sigmas[-2], sigmas[-1]) == (high, low, 0.0)
        assert all(type(sigma) is float for sigma in sigmas)
        VE.check(sigmas)


@pytest.mark.parametrize("curve", [schedule.karras, schedule.linear, schedule.cosine, schedule.beta_sigmas])
def test_curves_that_reach_zero_by_themselves(curve):
    for steps in (1, 2, 9):
        sigmas = curve(steps, 0.0, 1.0)
        assert len(sigmas) == steps + 1
        FLOW.check(sigmas)
        assert (sigmas[0], sigmas[-1]) == (1.0, 0.0)


@pytest.mark.parametrize("name", CURVES)
def test_one_step_goes_from_the_top_to_zero(name):
    assert CURVES[name](1, 0.03, 14.6, 0.5) == [14.6, 0.0]


def test_discrete_schedules_descend():
    for table in (
        schedule.discrete(),
        schedule.discrete("linear", 1e-4, 0.02),
        schedule.discrete(zero_terminal_snr=True),
    ):
        assert all(a < b for a, b in pairwise(table))
        for steps in (1, 2, 3, 7, 30, 999, 1000):
            for sigmas in (make(steps, table) for make in (schedule.simple, schedule.normal, schedule.sgm_uniform)):
                VE.check(sigmas)
                assert (len(sigmas), sigmas[0], sigmas[-1]) == (steps + 1, pytest.approx(table[-1]), 0.0)


def test_timesteps_there_and_back():
    table = schedule.discrete()
    for timestep in (0.0, 0.5, 1.0, 371.25, 998.999, 999.0):
        assert schedule.timestep_of(table, schedule.at_timestep(table, timestep)) == pytest.approx(timestep, abs=1e-9)
    assert schedule.at_timestep(table, 17) == pytest.approx(table[17], rel=1e-12)
    assert schedule.timestep_of(table, 1e-9) == 0.0
    assert schedule.timestep_of(table, 1e9) == 999.0


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: schedule.karras(0, 0.1, 1.0), "at least 1 step, not 0"),
        (lambda: schedule.simple(0, schedule.discrete()), "at least 1 step"),
        (lambda: schedule.normal(-3, schedule.discrete()), "at least 1 step"),
        (lambda: schedule.vp(0), "at least 1 step"),
        (lambda: schedule.karras(5, 1.0, 0.1), "sigma_min < sigma_max, not 1 and 0.1"),
        (lambda: schedule.linear(5, 1.0, 1.0), "sigma_min < sigma_max"),
        (lambda: schedule.cosine(5, -0.1, 1.0), "0 ≤ sigma_min"),
        (lambda: schedule.karras(5, 0.1, math.inf), "sigma_max"),
        (lambda: schedule.karras(5, math.nan, 1.0), "sigma_min"),
        (lambda: schedule.exponential(5, 0.0, 1.0), "log σ.*0.002"),
        (lambda: schedule.polyexponential(5, 0.0, 1.0), "log σ"),
        (lambda: schedule.simple(1001, schedule.discrete()), "table of 1000 σ's has no 1001"),
        (lambda: schedule.ddim_uniform(1000, schedule.discrete()), "1000 different steps.*at most 999"),
        (lambda: schedule.ddim_uniform(0, schedule.discrete()), "at least 1 step"),
        (lambda: schedule.sgm_uniform(0, schedule.discrete()), "at least 1 step"),
        (lambda: schedule.beta(0, schedule.discrete()), "at least 1 step"),
        (lambda: schedule.beta(1001, schedule.discrete()), "1001 different steps"),
        (lambda: schedule.beta(5, schedule.discrete(), alpha=0.0), "alpha > 0.*not 0"),
        (lambda: schedule.beta_sigmas(5, 0.1, 1.0, beta=-1.0), "beta > 0.*-1"),
        (lambda: schedule.beta_sigmas(0, 0.1, 1.0), "at least 1 step"),
        (lambda: schedule.laplace(5, 0.0, 1.0), "log σ"),
        (lambda: schedule.laplace(0, 0.1, 1.0), "at least 1 step"),
        (lambda: schedule.laplace(5, 0.1, 1.0, mu=5.0), "σ 1 would be followed by 1: .*mu within it"),
        (lambda: schedule.linear_quadratic(0, 1.0), "at least 1 step"),
        (lambda: schedule.linear_quadratic(5, 0.0), "sigma_max"),
        (lambda: schedule.sd_turbo(0, schedule.discrete()), "at least 1 step"),
        (lambda: schedule.sd_turbo(11, schedule.discrete()), "10 levels at denoise 1, and 11"),
        (lambda: schedule.align_your_steps(5, "flux"), "no levels for 'flux': choose sd1, sdxl, svd"),
        (lambda: schedule.optimal_steps(0), "at least 1 step"),
        (lambda: schedule.gits(0), "at least 1 step"),
        (lambda: schedule.gits(5, 2.0), "from 0.8 to 1.5, not 2"),
        (lambda: schedule.flux(0, 4096), "at least 1 step"),
        (lambda: schedule.ideogram4(0, 4096), "at least 1 step"),
        (lambda: schedule.ideogram4(300, 1024 * 1024, mu=12.0), "mu nearer 0"),
        (lambda: schedule.discrete("quadratic"), "'quadratic'.*scaled_linear"),
        (lambda: schedule.flow_shift([1.0, 0.0], 0.0), "positive factor, not 0"),
        (lambda: schedule.flow_shift([14.6, 0.0], 3.0), "σ ≤ 1.*14.6"),
        (lambda: schedule.from_points(5, []), "at least two points"),
        (lambda: schedule.from_points(5, [(0, 1.0)]), "at least two points"),
        (lambda: schedule.from_points(5, [(0, 1.0), (0.9, 0.1)]), "the last at 1"),
        (lambda: schedule.from_points(5, [(0, 1.0), (0.5, 2.0), (1, 0.1)]), r"must fall.*\(0, σ 1\).*\(0.5, σ 2\)"),
        (lambda: schedule.from_points(5, [(0, 1.0), (0.5, 0.5), (0.5, 0.4), (1, 0.1)]), "must fall"),
        (lambda: schedule.from_points(5, [(0, 1.0), (1, 0.0)]), "must fall"),
        (lambda: schedule.from_points(0, [(0, 1.0), (1, 0.1)]), "at least 1 step"),
    ],
)
def test_bad_input_is_explained(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize(("steps", "denoise"), [(10, 1.0), (10, 0.5), (7, 0.3), (1, 0.2), (20, 0.95)])
def test_denoise_is_the_last_part_of_a_longer_schedule(steps, denoise):
    def make(count):
        return schedule.karras(count, 0.03, 14.6)

    part = schedule.last_part(make, steps, denoise)
    whole = make(int(steps / denoise))
    assert part == whole[len(whole) - steps - 1 :]
    assert len(part) == steps + 1


def test_denoise_zero_leaves_nothing():
    assert schedule.last_part(lambda count: schedule.karras(count, 0.03, 14.6), 10, 0.0) == []


def test_rounding_to_a_wire_keeps_a_schedule_walkable():
    """SIGMAS are float32 on ComfyUI's wires: neighbours must not become equal."""
    for make in (schedule.karras, schedule.exponential, schedule.linear, schedule.cosine):
        VE.check(torch.tensor(make(1000, 0.002, 80.0), dtype=torch.float32).tolist())


def test_a_tiny_denoise_is_refused_before_it_is_computed():
    with pytest.raises(ValueError, match="raise denoise"):
        schedule.last_part(lambda steps: pytest.fail("computed"), 18, 1e-9)

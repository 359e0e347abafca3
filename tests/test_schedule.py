"""Schedules against k-diffusion's and diffusers' formulas, written anew or run, in double precision."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.interpolate import PchipInterpolator

from varifold.models.denoising.space import FLOW, VE
from varifold.models.sampling import schedule
from varifold.models.sampling.interpolate import monotone_cubic

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


@pytest.mark.parametrize("curve", [schedule.karras, schedule.linear, schedule.cosine])
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
            for sigmas in (schedule.simple(steps, table), schedule.normal(steps, table)):
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

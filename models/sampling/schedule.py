"""Noise schedules: pure functions to N+1 descending floats, computed in double precision.

The curves over a range of σ take N steps and the range and give N σ's from `sigma_max` to `sigma_min`, then 0. One that
can reach 0 by itself does so when `sigma_min` is 0. Those of discrete models pick from their ascending σ table.
"""

from __future__ import annotations

from collections.abc import Callable

from ..denoising.timesteps import BETA_CURVES, LARGEST_DISCRETE_SIGMA, discrete
from .schedules.drawn import from_points
from .schedules.flow import flow_shift, flux, flux2, ideogram4, ltxv
from .schedules.published import align_your_steps, gits, optimal_steps
from .schedules.ranges import (
    beta_sigmas,
    cosine,
    exponential,
    karras,
    laplace,
    linear,
    linear_quadratic,
    polyexponential,
    vp,
)
from .schedules.spacing import Schedule
from .schedules.timesteps import (
    at_timestep,
    beta,
    ddim_uniform,
    normal,
    sd_turbo,
    sgm_uniform,
    simple,
    timestep_of,
)

__all__ = [
    "BETA_CURVES",
    "LARGEST_DISCRETE_SIGMA",
    "Schedule",
    "align_your_steps",
    "at_timestep",
    "beta",
    "beta_sigmas",
    "cosine",
    "ddim_uniform",
    "discrete",
    "exponential",
    "flow_shift",
    "flux",
    "flux2",
    "from_points",
    "gits",
    "ideogram4",
    "karras",
    "laplace",
    "last_part",
    "linear",
    "linear_quadratic",
    "ltxv",
    "normal",
    "optimal_steps",
    "polyexponential",
    "sd_turbo",
    "sgm_uniform",
    "simple",
    "timestep_of",
    "vp",
]

MOST_STEPS = 100_000


def last_part(make: Callable[[int], Schedule], steps: int, denoise: float) -> Schedule:
    """The last `steps` steps of the schedule `make` of steps/denoise, as KSampler's denoise; empty for 0.

    Raises ValueError where that schedule would have more than `MOST_STEPS`.
    """
    if denoise <= 0:
        return []
    if steps / denoise > MOST_STEPS:
        raise ValueError(f"{steps} steps at denoise {denoise:g} are part of {steps / denoise:.0f}: raise denoise")
    return make(int(steps / denoise))[-(steps + 1) :]

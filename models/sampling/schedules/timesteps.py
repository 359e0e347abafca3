"""Curves that pick from the σ table of a discrete model."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from .quantiles import beta_quantile
from .spacing import Schedule, check_steps, descending, ramp

TURBO_STEPS = 10


def at_timestep(table: Sequence[float], timestep: float) -> float:
    """σ of a fractional timestep, by linear interpolation of log σ in an ascending table."""
    low = max(0, min(int(timestep), len(table) - 2))
    share = min(max(timestep - low, 0.0), 1.0)
    return math.exp((1 - share) * math.log(table[low]) + share * math.log(table[low + 1]))


def timestep_of(table: Sequence[float], sigma: float) -> float:
    """The fractional timestep of σ, the inverse of `at_timestep`; clamped to the table."""
    if sigma <= table[0]:
        return 0.0
    if sigma >= table[-1]:
        return len(table) - 1.0
    low = bisect_right(table, sigma) - 1
    return low + math.log(sigma / table[low]) / math.log(table[low + 1] / table[low])


def _check_enough(steps: int, table: Sequence[float], most: int) -> None:
    check_steps(steps)
    if steps > most:
        raise ValueError(
            f"a table of {len(table)} σ's has no {steps} different steps for this curve: "
            f"take at most {most}, or a higher denoise"
        )


def simple(steps: int, table: Sequence[float]) -> Schedule:
    """Every (T/N)-th σ of a discrete model's table, counted from the end; diffusers calls it "trailing"."""
    _check_enough(steps, table, len(table))
    return [*(table[-(1 + int(index * len(table) / steps))] for index in range(steps)), 0.0]


def normal(steps: int, table: Sequence[float]) -> Schedule:
    """Evenly spaced in the timestep of a discrete model; diffusers calls it "linspace"."""
    last = len(table) - 1
    return [*(at_timestep(table, last * (1 - u)) for u in ramp(steps, 1.0)), 0.0]


def sgm_uniform(steps: int, table: Sequence[float]) -> Schedule:
    """`normal` of a step more, without its lowest level; the "linspace" of diffusers' DPM-Solvers."""
    check_steps(steps)
    return [*normal(steps + 1, table)[:-2], 0.0]


def ddim_uniform(steps: int, table: Sequence[float]) -> Schedule:
    """Every ⌊T/N⌋-th σ counted from timestep 1, so that it starts below the last; diffusers calls it "leading".

    ComfyUI's own goes on to the top where N does not divide T, in more than N steps; these are the last N of them.
    """
    _check_enough(steps, table, len(table) - 1)
    stride = len(table) // steps
    return [*(table[1 + stride * index] for index in reversed(range(steps))), 0.0]


def beta(steps: int, table: Sequence[float], alpha: float = 0.6, beta: float = 0.6) -> Schedule:
    """Quantiles of the beta distribution over the timesteps, rounded (Lee et al. 2024, arXiv:2407.12173).

    Raises ValueError where two would be the same timestep: ComfyUI takes fewer steps then.
    """
    _check_enough(steps, table, len(table))
    last = len(table) - 1
    timesteps = [round(last * beta_quantile(1 - index / steps, alpha, beta)) for index in range(steps)]
    return descending(
        [*(table[timestep] for timestep in timesteps), 0.0],
        f"{steps} steps are too many for a table of {len(table)} σ's with this alpha and beta",
    )


def sd_turbo(steps: int, table: Sequence[float], denoise: float = 1.0) -> Schedule:
    """The first N of the ten timesteps that SD Turbo knows, 999, 899, ..., 99 of 1000 (arXiv:2311.17042).

    `denoise` leaves out the first of the ten.
    """
    check_steps(steps)
    left = int(TURBO_STEPS * denoise)
    if steps > left:
        raise ValueError(f"sd_turbo has {left} levels at denoise {denoise:g}, and {steps} steps were asked for")
    levels = [table[round(len(table) * (index + 1) / TURBO_STEPS) - 1] for index in reversed(range(left))]
    return [*levels[:steps], 0.0]

"""Discrete models: their σ table, and the curves that pick from it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence

from .quantiles import beta_quantile
from .spacing import Schedule, check_steps, descending, ramp

BETA_CURVES: dict[str, Callable[[float, float, float], float]] = {
    "linear": lambda u, start, end: start + u * (end - start),
    "scaled_linear": lambda u, start, end: (start**0.5 + u * (end**0.5 - start**0.5)) ** 2,
}

LARGEST_DISCRETE_SIGMA = 4518.0
"""What a terminal signal-to-noise ratio of zero is rounded to, as ComfyUI does, so that σ stays finite."""

TURBO_STEPS = 10


def discrete(
    betas: str = "scaled_linear",
    start: float = 0.00085,
    end: float = 0.012,
    timesteps: int = 1000,
    zero_terminal_snr: bool = False,
) -> list[float]:
    """The ascending σ table of a discrete model, σ_t = √((1−ᾱ_t)/ᾱ_t).

    `zero_terminal_snr` shifts and scales √ᾱ so that the last one is 0 (Lin et al. 2023, arXiv:2305.08891,
    algorithm 1); that last σ is capped at `LARGEST_DISCRETE_SIGMA`.
    """
    if betas not in BETA_CURVES:
        raise ValueError(f"unknown beta curve {betas!r}: use one of {', '.join(BETA_CURVES)}")
    root_alpha_bar, product = [], 1.0
    for index in range(timesteps):
        product *= 1 - BETA_CURVES[betas](index / (timesteps - 1), start, end)
        root_alpha_bar.append(math.sqrt(product))
    if zero_terminal_snr:
        first, last = root_alpha_bar[0], root_alpha_bar[-1]
        root_alpha_bar = [(root - last) * first / (first - last) for root in root_alpha_bar]
    return [
        min(LARGEST_DISCRETE_SIGMA, math.sqrt(1 - root**2) / root) if root > 0 else LARGEST_DISCRETE_SIGMA
        for root in root_alpha_bar
    ]


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

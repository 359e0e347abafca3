"""Noise schedules: pure functions to N+1 descending floats, computed in double precision.

Every curve takes N steps and a σ range and gives N σ's from `sigma_max` to `sigma_min`, then 0. A curve that
can reach 0 by itself does so when `sigma_min` is 0.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise

from .interpolate import monotone_cubic

Schedule = list[float]

MOST_STEPS = 100_000


def _ramp(steps: int, sigma_min: float) -> list[float]:
    if steps < 1:
        raise ValueError(f"a schedule needs at least 1 step, not {steps}")
    points = steps if sigma_min > 0 else steps + 1
    return [index / (points - 1) for index in range(points)] if points > 1 else [0.0]


def _check_range(sigma_min: float, sigma_max: float, *, zero_allowed: bool = True) -> None:
    if not (0 <= sigma_min < sigma_max < math.inf):
        raise ValueError(f"a σ range needs 0 ≤ sigma_min < sigma_max, not {sigma_min:g} and {sigma_max:g}")
    if sigma_min == 0 and not zero_allowed:
        raise ValueError("this curve works on log σ and needs sigma_min > 0: use karras or linear, or 0.002")


def _ends_exactly(curve: list[float], sigma_min: float, sigma_max: float) -> Schedule:
    curve[-1] = sigma_min
    curve[0] = sigma_max
    return [*curve, 0.0] if curve[-1] > 0 else curve


def karras(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Schedule:
    """Evenly spaced in σ^(1/ρ) (Karras et al. 2022, arXiv:2206.00364, equation 5)."""
    _check_range(sigma_min, sigma_max)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return _ends_exactly([(high + u * (low - high)) ** rho for u in _ramp(steps, sigma_min)], sigma_min, sigma_max)


def polyexponential(steps: int, sigma_min: float, sigma_max: float, rho: float = 1.0) -> Schedule:
    """log σ falls as (1 − u)^ρ."""
    _check_range(sigma_min, sigma_max, zero_allowed=False)
    span = math.log(sigma_max / sigma_min)
    curve = [sigma_min * math.exp(span * (1 - u) ** rho) for u in _ramp(steps, sigma_min)]
    return _ends_exactly(curve, sigma_min, sigma_max)


def exponential(steps: int, sigma_min: float, sigma_max: float) -> Schedule:
    """Evenly spaced in log σ."""
    return polyexponential(steps, sigma_min, sigma_max, rho=1.0)


def linear(steps: int, sigma_min: float, sigma_max: float) -> Schedule:
    """Evenly spaced in σ: the usual curve of flow models, with sigma_min 0."""
    _check_range(sigma_min, sigma_max)
    curve = [sigma_max + u * (sigma_min - sigma_max) for u in _ramp(steps, sigma_min)]
    return _ends_exactly(curve, sigma_min, sigma_max)


def cosine(steps: int, sigma_min: float, sigma_max: float) -> Schedule:
    """Evenly spaced in the angle φ = arctan σ, the continuous cosine schedule (arXiv:2202.00512, section 4)."""
    _check_range(sigma_min, sigma_max)
    high, low = math.atan(sigma_max), math.atan(sigma_min)
    curve = [math.tan(high + u * (low - high)) for u in _ramp(steps, sigma_min)]
    return _ends_exactly(curve, sigma_min, sigma_max)


def vp(steps: int, beta_d: float = 19.9, beta_min: float = 0.1, eps: float = 1e-3) -> Schedule:
    """The continuous variance-preserving schedule, t from 1 to `eps` (Song et al. 2021, arXiv:2011.13456)."""
    times = [1 + u * (eps - 1) for u in _ramp(steps, eps)]
    return [*(math.sqrt(math.expm1(beta_d * t**2 / 2 + beta_min * t)) for t in times), 0.0]


BETA_CURVES: dict[str, Callable[[float, float, float], float]] = {
    "linear": lambda u, start, end: start + u * (end - start),
    "scaled_linear": lambda u, start, end: (start**0.5 + u * (end**0.5 - start**0.5)) ** 2,
}

LARGEST_DISCRETE_SIGMA = 4518.0
"""What a terminal signal-to-noise ratio of zero is rounded to, as ComfyUI does, so that σ stays finite."""


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


def simple(steps: int, table: Sequence[float]) -> Schedule:
    """Every (T/N)-th σ of a discrete model's table, counted from the end; diffusers calls it "trailing"."""
    _ramp(steps, 1.0)
    if steps > len(table):
        raise ValueError(f"a table of {len(table)} σ's has no {steps} different steps: take fewer, or a higher denoise")
    return [*(table[-(1 + int(index * len(table) / steps))] for index in range(steps)), 0.0]


def normal(steps: int, table: Sequence[float]) -> Schedule:
    """Evenly spaced in the timestep of a discrete model; diffusers calls it "linspace"."""
    last = len(table) - 1
    return [*(at_timestep(table, last * (1 - u)) for u in _ramp(steps, 1.0)), 0.0]


def flow_shift(sigmas: Sequence[float], shift: float) -> Schedule:
    """σ → s·σ / (1 + (s − 1)·σ) in flow space (Esser et al. 2024, arXiv:2403.03206, section 5.3.2)."""
    if shift <= 0:
        raise ValueError(f"a flow shift is a positive factor, not {shift:g}")
    if sigmas and max(sigmas) > 1:
        raise ValueError(f"a flow shift needs σ ≤ 1, and this schedule starts at {max(sigmas):g}")
    return [shift * sigma / (1 + (shift - 1) * sigma) for sigma in sigmas]


def from_points(steps: int, points: Sequence[tuple[float, float]]) -> Schedule:
    """A hand-drawn curve: a monotone cubic through (position, σ), on log σ.

    Positions run from 0 (the first step) to 1 (the last σ above 0). The points must fall and stay
    above 0; the curve then falls between them too.
    """
    points = sorted((float(position), float(sigma)) for position, sigma in points)
    if len(points) < 2 or points[0][0] != 0 or points[-1][0] != 1:
        raise ValueError("a drawn curve needs at least two points, the first at position 0 and the last at 1")
    for (p, s), (q, t) in pairwise(points):
        if not (p < q and s > t > 0 and math.isfinite(s)):
            raise ValueError(f"a drawn curve must fall: ({p:g}, σ {s:g}) is followed by ({q:g}, σ {t:g})")
    positions = [position for position, _ in points]
    heights = [math.log(sigma) for _, sigma in points]
    curve = monotone_cubic(positions, heights)
    return _ends_exactly([math.exp(curve(u)) for u in _ramp(steps, 1.0)], points[-1][1], points[0][1])


def last_part(make: Callable[[int], Schedule], steps: int, denoise: float) -> Schedule:
    """The last `steps` steps of the schedule `make` of steps/denoise, as KSampler's denoise; empty for 0.

    Raises ValueError where that schedule would have more than `MOST_STEPS`.
    """
    if denoise <= 0:
        return []
    if steps / denoise > MOST_STEPS:
        raise ValueError(f"{steps} steps at denoise {denoise:g} are part of {steps / denoise:.0f}: raise denoise")
    return make(int(steps / denoise))[-(steps + 1) :]

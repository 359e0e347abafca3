"""What the curves share: evenly spaced shares, a σ range that is one, and words for what does not descend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

Schedule = list[float]


def check_steps(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"a schedule needs at least 1 step, not {steps}")


def ramp(steps: int, sigma_min: float) -> list[float]:
    """N evenly spaced shares from 0 to 1, N+1 where the curve reaches σ 0 by itself; one is 0."""
    check_steps(steps)
    points = steps if sigma_min > 0 else steps + 1
    return [index / (points - 1) for index in range(points)] if points > 1 else [0.0]


def check_range(sigma_min: float, sigma_max: float, *, zero_allowed: bool = True) -> None:
    if not (0 <= sigma_min < sigma_max < math.inf):
        raise ValueError(f"a σ range needs 0 ≤ sigma_min < sigma_max, not {sigma_min:g} and {sigma_max:g}")
    if sigma_min == 0 and not zero_allowed:
        raise ValueError("this curve works on log σ and needs sigma_min > 0: use karras or linear, or 0.002")


def ends_exactly(curve: list[float], sigma_min: float, sigma_max: float) -> Schedule:
    curve[-1] = sigma_min
    curve[0] = sigma_max
    return [*curve, 0.0] if curve[-1] > 0 else curve


def descending(sigmas: Schedule, why: str) -> Schedule:
    """`sigmas` as they are. Raises ValueError with `why` where one is not below the one before."""
    for s, t in pairwise(sigmas):
        if not s > t:
            raise ValueError(f"σ {s:.4g} would be followed by {t:.4g}: {why}")
    return sigmas


def log_linear(levels: Sequence[float], count: int) -> list[float]:
    """`count` levels along a descending list, by linear interpolation of log σ between its evenly placed points."""
    last, heights = len(levels) - 1, [math.log(level) for level in levels]
    found = []
    for index in range(count):
        place = index * last / (count - 1)
        low = min(int(place), last - 1)
        share = place - low
        found.append(math.exp((1 - share) * heights[low] + share * heights[low + 1]))
    return found

"""A curve drawn by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from ..interpolate import monotone_cubic
from .spacing import Schedule, ends_exactly, ramp


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
    return ends_exactly([math.exp(curve(u)) for u in ramp(steps, 1.0)], points[-1][1], points[0][1])

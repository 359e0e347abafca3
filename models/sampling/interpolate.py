"""Monotone cubic interpolation."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise


def _inner_tangent(h0: float, h1: float, slope0: float, slope1: float) -> float:
    if slope0 * slope1 <= 0:
        return 0.0
    w0, w1 = 2 * h1 + h0, h1 + 2 * h0
    return (w0 + w1) / (w0 / slope0 + w1 / slope1)


def _end_tangent(h0: float, h1: float, slope0: float, slope1: float) -> float:
    tangent = ((2 * h0 + h1) * slope0 - h0 * slope1) / (h0 + h1)
    if tangent * slope0 <= 0:
        return 0.0
    if slope0 * slope1 <= 0 and abs(tangent) > 3 * abs(slope0):
        return 3 * slope0
    return tangent


def monotone_cubic(xs: Sequence[float], ys: Sequence[float]) -> Callable[[float], float]:
    """A curve through the points that rises and falls only where they do, for at least two ascending `xs`.

    Fritsch & Butland 1984 ("pchip"): the tangent at a point is the weighted harmonic mean of the slopes beside it.
    """
    h = [b - a for a, b in pairwise(xs)]
    slope = [(b - a) / width for a, b, width in zip(ys, ys[1:], h, strict=False)]
    if len(h) == 1:
        tangent = [slope[0], slope[0]]
    else:
        tangent = [
            _end_tangent(h[0], h[1], slope[0], slope[1]),
            *(_inner_tangent(h[i], h[i + 1], slope[i], slope[i + 1]) for i in range(len(h) - 1)),
            _end_tangent(h[-1], h[-2], slope[-1], slope[-2]),
        ]

    def curve(x: float) -> float:
        i = max(0, min(bisect_right(xs, x) - 1, len(h) - 1))
        t = (x - xs[i]) / h[i]
        return (
            (1 + 2 * t) * (1 - t) ** 2 * ys[i]
            + t * (1 - t) ** 2 * h[i] * tangent[i]
            + t * t * (3 - 2 * t) * ys[i + 1]
            + t * t * (t - 1) * h[i] * tangent[i + 1]
        )

    return curve

"""Quantiles of the beta distribution, in double precision."""

from __future__ import annotations

import math

_TINY = 1e-300


def beta_quantile(p: float, a: float, b: float) -> float:
    """x with I_x(a, b) = p, for p in [0, 1] and a, b > 0: Newton's steps, halving where they leave the bracket."""
    if not (0 < a < math.inf and 0 < b < math.inf):
        raise ValueError(f"a beta distribution needs alpha > 0 and beta > 0, not {a:g} and {b:g}")
    if p <= 0 or p >= 1:
        return min(max(p, 0.0), 1.0)
    low, high, x = 0.0, 1.0, a / (a + b)
    while True:
        excess = _incomplete_beta(x, a, b) - p
        low, high = (low, x) if excess > 0 else (x, high)
        nearer = x - excess / math.exp(_log_density(x, a, b))
        if not low < nearer < high:
            nearer = (low + high) / 2
        if abs(nearer - x) <= 4e-15 * x or not low < nearer < high:
            return x
        x = nearer


def _log_density(x: float, a: float, b: float) -> float:
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return scale + (a - 1) * math.log(x) + (b - 1) * math.log1p(-x)


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """I_x(a, b), by the continued fraction (DLMF 8.17.22) on the side where it converges fast."""
    weight = math.exp(_log_density(x, a, b)) * x * (1 - x)
    if x < (a + 1) / (a + b + 2):
        return weight * _fraction(x, a, b) / a
    return 1 - weight * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """1/(1 + d₁/(1 + d₂/(1 + ...))), by Lentz's method."""
    value = upper = 1.0
    lower = 0.0
    for m in range(10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)) if m else 0.0
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        before = value
        for d in (even, odd) if m else (odd,):
            lower = 1 / (_away_from_zero(1 + d * lower))
            upper = _away_from_zero(1 + d / upper)
            value *= upper * lower
        if abs(value - before) <= 1e-16 * abs(value):
            break
    return 1 / value


def _away_from_zero(number: float) -> float:
    return number if abs(number) > _TINY else _TINY

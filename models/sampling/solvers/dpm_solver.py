"""DPM-Solver: singlestep solvers of the ODE in λ = −log σ that extrapolate ε (Lu et al. 2022, arXiv:2206.00927).

Written for VE, where ε = (x − x0)/σ; in flow space that slope obeys the same equation.
"""

from __future__ import annotations

import math


def _eps(D, x, s: float):
    return (x - D(x, s)) / s


def dpm_solver_12(D, x, s: float, t: float):
    """The states at t of DPM-Solver-1 and -2, in two evaluations."""
    eps, middle = _eps(D, x, s), math.sqrt(s * t)
    end = x + (t - s) * eps
    bend = _eps(D, x + (middle - s) * eps, middle) - eps
    return end, end + (t - s) * bend


def dpm_solver_23(D, x, s: float, t: float):
    """The states at t of DPM-Solver-2 with r₁ = 1/3 and -3, in three evaluations."""
    eps = _eps(D, x, s)
    third, two_thirds = (s * (t / s) ** r for r in (1 / 3, 2 / 3))
    end = x + (t - s) * eps
    first = _eps(D, x + (third - s) * eps, third) - eps
    stage = x + (two_thirds - s) * eps + (2 * _second(s, two_thirds)) * first
    second = _eps(D, stage, two_thirds) - eps
    return end + (1.5 * (t - s)) * first, end + (1.5 * _second(s, t)) * second


def _second(s: float, t: float) -> float:
    """The integral of −ε's second term, −σ_t·((e^h − 1)/h − 1)."""
    return (t - s) / math.log(s / t) + t


def dpm_solver_3(D, x, steps):
    """DPM-Solver-3: three evaluations a step."""
    for s, t in steps:
        if t == 0:
            return D(x, s)
        x = dpm_solver_23(D, x, s, t)[1]
    return x


def dpm_fast(D, x, steps):
    """DPM-Solver-fast: as many evaluations as the schedule has steps, its levels even in log σ.

    Of the schedule it takes only the first level, the last above 0, where it ends, and the number of steps.
    """
    count, start = len(steps), steps.sigmas[0]
    end = steps.sigmas[-1] or steps.sigmas[-2]
    if end == start:
        return D(x, start)
    asked = iter(steps)

    def ask(x, sigma):
        next(asked)
        return D(x, sigma)

    orders = [3] * (count // 3 - 1) + [2, 1] if count % 3 == 0 else [3] * (count // 3) + [count % 3]
    for k, order in enumerate(orders):
        s, t = (start * (end / start) ** (place / len(orders)) for place in (k, k + 1))
        if order == 1:
            x = x + (t - s) * _eps(ask, x, s)
        else:
            x = (dpm_solver_12 if order == 2 else dpm_solver_23)(ask, x, s, t)[1]
    return x

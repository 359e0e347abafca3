"""Exponential integrators: exact in the linear part of the ODE, d(x/σ)/dλ = e^λ·x0 with λ = −log σ.

That equation holds in VE and in flow space alike, so these solvers need not know which one they are in.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .lagrange import lagrange_integrals
from .phi import h_phi_1, h_phi_2


def dpmpp_2m(D, x, steps):
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095, algorithm 2); first order where σ ends in 0."""
    previous, h_previous = None, 0.0
    for s, t in steps:
        x0 = D(x, s)
        if t == 0:
            return x0
        h = math.log(s / t)
        estimate = x0 if previous is None else x0 + (x0 - previous) * (h / h_previous / 2)
        x = (t / s) * x - math.expm1(-h) * estimate
        previous, h_previous = x0, h
    return x


def dpmpp_3m(D, x, steps, *, order: int = 3):
    """DPM-Solver++(3M): the exact integral of the parabola through the last three outputs.

    Programs in use weigh its bend with half of that, which leaves second order (see dpmpp_3m_sde).
    """
    outputs, nodes = [], []
    for s, t in steps:
        x0 = D(x, s)
        if t == 0:
            return x0
        outputs, nodes = [x0, *outputs][:order], [math.log(s), *nodes][:order]
        weights = lagrange_integrals(nodes, math.log(t), math.log(s), lambda u: np.exp(-u))
        x = (t / s) * x
        for weight, output in zip(weights, outputs, strict=True):
            x = x + (t * weight) * output
    return x


def dpmpp_2s(D, x, steps, *, r: float = 0.5):
    """DPM-Solver++(2S): the output at the share r of the step in λ tells the slope."""
    return _two_stages(D, x, steps, r, lambda h: h_phi_1(h) / 2)


def res_2s(D, x, steps, *, r: float = 0.5):
    """Exponential Runge-Kutta of stiff order 2 (Hochbruck & Ostermann 2005, equation 5.4, c₂ = r)."""
    return _two_stages(D, x, steps, r, h_phi_2)


def _two_stages(D, x, steps, r: float, second: Callable[[float], float]):
    for s, t in steps:
        x0 = D(x, s)
        if t == 0:
            return x0
        h = math.log(s / t)
        middle = s * math.exp(-r * h)
        slope = (D(_step(x, s, middle, x0), middle) - x0) / r
        x = _step(x, s, t, x0) + second(h) * slope
    return x


def _step(x, s: float, t: float, x0):
    """The step from σ s to t that keeps x0."""
    return (t / s) * x + (1 - t / s) * x0


def res_3s(D, x, steps):
    """Exponential Runge-Kutta of stiff order 3 (Hochbruck & Ostermann 2005, equation 5.8, c₂ = 1/2, c₃ = 1, γ = 4)."""
    for s, t in steps:
        x0 = D(x, s)
        if t == 0:
            return x0
        h, middle = math.log(s / t), math.sqrt(s * t)
        first = D(_step(x, s, middle, x0), middle) - x0
        end = _step(x, s, t, x0)
        second = D(end + (4 * h_phi_2(h / 2) + 2 * h_phi_2(h)) * first, t) - x0
        x = end + (h_phi_2(h) / 3) * (4 * first + second)
    return x


UNI_PC_END = 0.001
"""Where uni_pc stops if the schedule ends in 0, as ComfyUI's does."""


def uni_pc(D, x, steps, *, order: int = 3, variant: str = "bh1"):
    """UniPC (Zhao et al. 2023, arXiv:2302.04867), predicting x0; variant "bh1" or "bh2" is the paper's B(h).

    The corrector uses the evaluation of the next step, so it costs none; the last step is not corrected.
    """
    order = max(1, min(order, len(steps) - 1))
    outputs, lambdas, correct = [], [], None
    for s, t in steps:
        x0 = D(x, s)
        if correct is not None:
            x = correct(x, x0)
        outputs, lambdas = [x0, *outputs][:order], [-math.log(s), *lambdas][:order]
        t = t or min(UNI_PC_END, s / 2)
        p = min(order, steps.index + 1, len(steps) - steps.index)
        x, correct = _uni_pc_step(x, outputs[:p], lambdas[:p], s, t, variant)
    return x


def uni_pc_bh2(D, x, steps, *, order: int = 3):
    """The same with "bh2"."""
    return uni_pc(D, x, steps, order=order, variant="bh2")


def _uni_pc_step(x, outputs, lambdas, s: float, t: float, variant: str):
    """The prediction at t, and the function that corrects it by the output there."""
    p, h = len(outputs), math.log(s / t)
    ratios = [(lam - lambdas[0]) / h for lam in lambdas[1:]]
    differences = [(output - outputs[0]) / ratio for output, ratio in zip(outputs[1:], ratios, strict=True)]
    scale, matrix, moments = _uni_pc_system(h, [*ratios, 1.0], variant)
    # The paper fixes these two weights at 1/2 instead of solving for them.
    predictor = [0.5] if p == 2 else np.linalg.solve(matrix[:-1, :-1], moments[:-1])
    corrector = [0.5] if p == 1 else np.linalg.solve(matrix, moments)

    x = (t / s) * x - math.expm1(-h) * outputs[0]
    for rho, difference in zip(predictor, differences, strict=True):
        x = x + (-scale * float(rho)) * difference

    def correct(x, x0):
        changes = [float(c) - float(q) for c, q in zip(corrector, [*predictor, 0.0], strict=True)]
        for change, difference in zip(changes, [*differences, x0 - outputs[0]], strict=True):
            x = x + (-scale * change) * difference
        return x

    return x, correct


def _uni_pc_system(h: float, ratios: list[float], variant: str) -> tuple[float, np.ndarray, np.ndarray]:
    """B(h), the matrix R and the vector b of the paper's equation 9, for x0 prediction (h taken negative)."""
    scale = {"bh1": -h, "bh2": math.expm1(-h)}[variant]
    p = len(ratios)
    phi, factorial, moments = math.expm1(-h) / -h - 1, 1.0, []
    for k in range(1, p + 1):
        moments.append(phi * factorial / scale)
        factorial *= k + 1
        phi = phi / -h - 1 / factorial
    matrix = np.vander(ratios, p, increasing=True).T
    return scale, matrix, np.array(moments)

"""Exponential integrators: exact in the linear part of the ODE, d(x/σ)/dλ = e^λ·x0 with λ = −log σ.

That equation holds in VE and in flow space alike, so these solvers need not know which one they are in.
"""

from __future__ import annotations

import math

import numpy as np


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

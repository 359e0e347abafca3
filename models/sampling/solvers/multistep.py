"""Adams-Bashforth solvers: each step extrapolates the slopes d = (x − x0)/σ of the last few.

They differ only in the weights, which a function `weights(nodes, t)` gives for the σ's `nodes` (newest first) of the
slopes and the σ to go to.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

Weights = Callable[[list[float], float], list[float]]


def _adams(D, x, steps, order: int, weights: Weights):
    slopes, nodes = [], []
    for s, t in steps:
        x0 = D(x, s)
        slopes, nodes = [(x - x0) / s, *slopes][:order], [s, *nodes][:order]
        if t == 0:
            return x0
        for weight, slope in zip(weights(nodes, t), slopes, strict=True):
            x = x + weight * slope
    return x


@cache
def _gauss_legendre() -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(64)


def _lagrange_integrals(nodes: list[float], t: float, time: Callable) -> list[float]:
    """∫ L_j(time(σ)) dσ from nodes[0] to t, for the Lagrange polynomials L_j on time(nodes); t > 0."""
    middle, half = math.log(nodes[0] * t) / 2, math.log(t / nodes[0]) / 2
    points, weights = _gauss_legendre()
    sigma = np.exp(middle + half * points)
    at, known = time(sigma), [time(node) for node in nodes]
    integrals = []
    for j, own in enumerate(known):
        others = [(at - other) / (own - other) for k, other in enumerate(known) if k != j]
        basis = np.prod(others, axis=0) if others else np.ones_like(sigma)
        integrals.append(float(half * np.sum(weights * sigma * basis)))
    return integrals


def lms(D, x, steps, *, order: int = 4):
    """Linear multistep: the exact Adams-Bashforth weights of an uneven grid in σ."""
    return _adams(D, x, steps, order, lambda nodes, t: _lagrange_integrals(nodes, t, time=lambda sigma: sigma))


_VP_BETA_D = 2 * (math.log1p(0.002**2) / 1e-3 - math.log1p(80.0**2)) / (1e-3 - 1)
_VP_BETA_MIN = math.log1p(80.0**2) - _VP_BETA_D / 2


def _vp_time(sigma):
    return (np.sqrt(_VP_BETA_MIN**2 + 2 * _VP_BETA_D * np.log1p(sigma**2)) - _VP_BETA_MIN) / _VP_BETA_D


def deis(D, x, steps, *, order: int = 3):
    """tAB-DEIS (Zhang & Chen 2022, arXiv:2204.13902): polynomials in the time of a linear VP process.

    The process is the one whose times 10⁻³ and 1 have σ 0.002 and 80.
    """
    return _adams(D, x, steps, order, lambda nodes, t: _lagrange_integrals(nodes, t, time=_vp_time))


_EVEN = {
    1: (1,),
    2: (3 / 2, -1 / 2),
    3: (23 / 12, -16 / 12, 5 / 12),
    4: (55 / 24, -59 / 24, 37 / 24, -9 / 24),
}


def ipndm(D, x, steps, *, order: int = 4):
    """iPNDM (Zhang & Chen 2022): Adams-Bashforth weights of an even grid, whatever the grid is."""
    return _adams(D, x, steps, order, lambda nodes, t: [(t - nodes[0]) * weight for weight in _EVEN[len(nodes)]])


def _ipndm_v_weights(nodes: list[float], t: float) -> list[float]:
    h, *past = [a - b for a, b in zip([t, *nodes], nodes, strict=False)]
    if not past:
        return [h]
    h1 = past[0]
    first = h / h1 / 2
    weights = [1 + first, -first]
    if len(past) > 1:
        h2 = past[1]
        second = (1 - h**2 / (3 * h1 * (h1 + h2))) / 2
        weights = [weights[0] + second, weights[1] - (1 + h1 / h2) * second, h1 / h2 * second]
    if len(past) > 2:
        h3 = past[2]
        q = h1 * (h1 + h2) / (h2 * (h2 + h3))
        third = (1 - h / (3 * (h + h1))) / 2 + (1 - h / (2 * (h + h1))) * h / (6 * (h + h1 + h2))
        third *= h * (h + h1) * (h + h1 + h2) / (h1 * (h1 + h2) * (h1 + h2 + h3))
        change = [
            third,
            -(1 + h1 / h2 + q) * third,
            (h1 / h2 + q * (1 + h2 / h3)) * third,
            -q * h1 / h2 * third,
        ]
        weights = [weight + more for weight, more in zip([*weights, 0.0], change, strict=True)]
    return [h * weight for weight in weights]


def ipndm_v(D, x, steps, *, order: int = 4):
    """iPNDM with weights that look at the grid, as ComfyUI computes them.

    With three slopes they equal the exact weights on an even grid only, with four on none, and where steps keep
    changing abruptly it does not converge; `lms` has the exact weights of any grid.
    """
    return _adams(D, x, steps, order, _ipndm_v_weights)

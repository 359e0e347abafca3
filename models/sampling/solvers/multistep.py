"""Adams-Bashforth solvers: each step extrapolates the slopes d = (x − x0)/σ of the last few.

They differ only in the weights, which a function `weights(nodes, t)` gives for the σ's `nodes` (newest first) of the
slopes and the σ to go to.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .lagrange import lagrange_integrals

Weights = Callable[[list[float], float], list[float]]


def _adams(D, x, steps, order: int, weights: Weights):
    slopes, nodes = [], []
    for s, t in steps:
        x0 = D(x, s)
        slopes, nodes = [(x - x0) / s, *slopes][:order], [s, *nodes][:order]
        if t == 0:
            return x0
        x = _along(x, slopes, weights(nodes, t))
    return x


def _along(x, slopes: list, weights: list[float]):
    for slope, weight in zip(slopes, weights, strict=True):
        x = x + weight * slope
    return x


def _integrals(nodes: list[float], t: float, time: Callable) -> list[float]:
    """∫ L_j(time(σ)) dσ from nodes[0] to t > 0, for the Lagrange polynomials L_j on time(nodes)."""
    times = [time(node) for node in nodes]
    return lagrange_integrals(times, math.log(nodes[0]), math.log(t), np.exp, lambda u: time(np.exp(u)))


def lms(D, x, steps, *, order: int = 4):
    """Linear multistep: the exact Adams-Bashforth weights of an uneven grid in σ."""
    return _adams(D, x, steps, order, lambda nodes, t: _integrals(nodes, t, time=lambda sigma: sigma))


_VP_BETA_D = 2 * (math.log1p(0.002**2) / 1e-3 - math.log1p(80.0**2)) / (1e-3 - 1)
_VP_BETA_MIN = math.log1p(80.0**2) - _VP_BETA_D / 2


def _vp_time(sigma):
    return (np.sqrt(_VP_BETA_MIN**2 + 2 * _VP_BETA_D * np.log1p(sigma**2)) - _VP_BETA_MIN) / _VP_BETA_D


def deis(D, x, steps, *, order: int = 3):
    """tAB-DEIS (Zhang & Chen 2022, arXiv:2204.13902): polynomials in the time of a linear VP process.

    The process is the one whose times 10⁻³ and 1 have σ 0.002 and 80.
    """
    return _adams(D, x, steps, order, lambda nodes, t: _integrals(nodes, t, time=_vp_time))


def deis_log(D, x, steps, *, order: int = 3):
    """DEIS in log σ: the same with polynomials in log σ, the time in which the ODE is smooth.

    With two slopes this is DPM-Solver-2M (Lu et al. 2022, arXiv:2206.00927) with exact weights.
    """
    return _adams(D, x, steps, order, lambda nodes, t: _integrals(nodes, t, time=np.log))


_EVEN = {
    1: (1,),
    2: (3 / 2, -1 / 2),
    3: (23 / 12, -16 / 12, 5 / 12),
    4: (55 / 24, -59 / 24, 37 / 24, -9 / 24),
}


def _even_weights(nodes: list[float], t: float) -> list[float]:
    return [(t - nodes[0]) * weight for weight in _EVEN[len(nodes)]]


def ipndm(D, x, steps, *, order: int = 4):
    """iPNDM (Zhang & Chen 2022): Adams-Bashforth weights of an even grid, whatever the grid is."""
    return _adams(D, x, steps, order, _even_weights)


def plms(D, x, steps, *, order: int = 4):
    """Pseudo linear multistep (Liu et al. 2022, arXiv:2202.09778): ipndm, its first step Heun's, of two evaluations."""
    slopes = []
    for s, t in steps:
        x0 = D(x, s)
        slopes = [(x - x0) / s, *slopes][:order]
        if t == 0:
            return x0
        if steps.index == 0:
            ahead = x + (t - s) * slopes[0]
            x = x + ((t - s) / 2) * (slopes[0] + (ahead - D(ahead, t)) / t)
        else:
            x = _along(x, slopes, _even_weights([s] * len(slopes), t))
    return x


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

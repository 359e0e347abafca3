"""SA-Solver: stochastic Adams with a predictor and a corrector in log-SNR (Xue et al. 2023, arXiv:2309.05019)."""

from __future__ import annotations

import math

import numpy as np

from .discrete_time import sigma_of
from .lagrange import lagrange_integrals
from .phi import h_phi_1


def sa_solver(D, x, steps, space, W, *, order: int = 3, eta: float = 1.0, s_noise: float = 1.0):
    """The corrector, of one order more, uses the evaluation of the next step, so it costs none.

    η is the paper's τ, and acts in the middle of the noise levels: between the times 0.2 and 0.8. Orders fall at both
    ends of a schedule that ends in 0.
    """
    return _stochastic_adams(D, x, steps, space, W, order, eta, s_noise, again=False)


def sa_solver_pece(D, x, steps, space, W, *, order: int = 3, eta: float = 1.0, s_noise: float = 1.0):
    """sa_solver that asks again about what it has corrected: two evaluations a step."""
    return _stochastic_adams(D, x, steps, space, W, order, eta, s_noise, again=True)


def _stochastic_adams(D, x, steps, space, W, order, eta, s_noise, again):
    low, high = sigma_of(0.2, space), sigma_of(0.8, space)
    outputs, nodes, correct = [], [], None
    for s, t in steps:
        x0 = D(x, s)
        left = len(steps) - steps.index if steps.sigmas[-1] == 0 else math.inf
        outputs, nodes = [x0, *outputs][: order + 1], [space.log_snr(s), *nodes][: order + 1]
        if correct and (t > 0 or again):
            x = correct(x, outputs, nodes, min(order + 1, left))
            if again:
                x0 = D(x, s)
                outputs[0] = x0
        if t == 0:
            return x0
        rate = 1 + (eta**2 if low <= t <= high else 0.0)
        x, correct = _sa_step(x, outputs, nodes, s, t, min(order, left - 1), rate, space, W, s_noise)
    return x


def _sa_step(x, outputs, nodes, s, t, order, rate, space, W, s_noise):
    """The prediction at t, and the function that corrects it by the output there; `rate` is 1 + τ²."""
    start, end, alpha = nodes[0], space.log_snr(t), space.alpha(t)
    renewed = (rate - 1) * (end - start) if rate > 1 else 0.0
    predictor = [alpha * w for w in _adams_weights(nodes[:order], start, end, rate)]
    x = (t / s * math.exp(-renewed)) * x
    for weight, output in zip(predictor, outputs, strict=False):
        x = x + weight * output
    if renewed and s_noise:
        x = x + (t * math.sqrt(-math.expm1(-2 * renewed)) * s_noise) * W(s, t)

    def correct(x, outputs, nodes, order):
        corrector = [alpha * w for w in _adams_weights(nodes[:order], start, end, rate)]
        known = [0.0, *predictor]
        for k, output in enumerate(outputs):
            x = x + (_at(corrector, k) - _at(known, k)) * output
        return x

    return x, correct


def _at(weights: list[float], index: int) -> float:
    return weights[index] if index < len(weights) else 0.0


def _adams_weights(nodes: list[float], start: float, end: float, rate: float) -> list[float]:
    """∫ rate·e^(rate·(λ − end))·L_j(λ) dλ from `start` to `end`; a node at −∞, where α is 0, has no say."""
    finite = [node for node in nodes if node > -math.inf] or nodes
    if len(finite) == 1:
        weights = [h_phi_1(rate * (end - start))]
    else:
        weights = lagrange_integrals(finite, start, end, lambda u: rate * np.exp(rate * (u - end)))
    return [*weights, *[0.0] * (len(nodes) - len(finite))]

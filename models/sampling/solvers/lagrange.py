"""Integrals of Lagrange polynomials: the weights of multistep solvers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

Function = Callable[[np.ndarray], np.ndarray]


@cache
def _gauss_legendre() -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(64)


def integral(f: Function, start: float, end: float) -> float:
    """∫ f(u) du from start to end, of a smooth f."""
    points, weights = _gauss_legendre()
    half = (end - start) / 2
    return float(half * np.sum(weights * f((start + end) / 2 + half * points)))


def lagrange_integrals(
    nodes: Sequence[float], start: float, end: float, weight: Function, time: Function = lambda u: u
) -> list[float]:
    """∫ weight(u)·L_j(time(u)) du from start to end, for each Lagrange polynomial L_j on `nodes`, which are times."""

    def integrand(j: int) -> Function:
        others = [node for k, node in enumerate(nodes) if k != j]
        return lambda u: weight(u) * np.prod([(time(u) - other) / (nodes[j] - other) for other in others], axis=0)

    return [integral(integrand(j), start, end) for j in range(len(nodes))]

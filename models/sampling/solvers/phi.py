"""φ functions of exponential integrators, φ₁(z) = (e^z − 1)/z and φ₂(z) = (φ₁(z) − 1)/z, times the step h."""

from __future__ import annotations

import math


def h_phi_1(h: float) -> float:
    """h·φ₁(−h), for 0 < h ≤ ∞."""
    return -math.expm1(-h)


def h_phi_2(h: float) -> float:
    """h·φ₂(−h), for 0 < h ≤ ∞."""
    return 1 + math.expm1(-h) / h

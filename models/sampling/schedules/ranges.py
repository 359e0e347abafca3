"""Curves over a range of σ: N σ's from `sigma_max` to `sigma_min`, then 0."""

from __future__ import annotations

import math

from .quantiles import beta_quantile
from .spacing import Schedule, check_range, check_steps, descending, ends_exactly, ramp


def karras(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Schedule:
    """Evenly spaced in σ^(1/ρ) (Karras et al. 2022, arXiv:2206.00364, equation 5)."""
    check_range(sigma_min, sigma_max)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return ends_exactly([(high + u * (low - high)) ** rho for u in ramp(steps, sigma_min)], sigma_min, sigma_max)


def polyexponential(steps: int, sigma_min: float, sigma_max: float, rho: float = 1.0) -> Schedule:
    """log σ falls as (1 − u)^ρ."""
    check_range(sigma_min, sigma_max, zero_allowed=False)
    span = math.log(sigma_max / sigma_min)
    curve = [sigma_min * math.exp(span * (1 - u) ** rho) for u in ramp(steps, sigma_min)]
    return ends_exactly(curve, sigma_min, sigma_max)


def exponential(steps: int, sigma_min: float, sigma_max: float) -> Schedule:
    """Evenly spaced in log σ; diffusers has it as "lu lambdas" too (Lu et al. 2022, arXiv:2206.00927)."""
    return polyexponential(steps, sigma_min, sigma_max, rho=1.0)


def linear(steps: int, sigma_min: float, sigma_max: float) -> Schedule:
    """Evenly spaced in σ: the usual curve of flow models, with sigma_min 0."""
    check_range(sigma_min, sigma_max)
    curve = [sigma_max + u * (sigma_min - sigma_max) for u in ramp(steps, sigma_min)]
    return ends_exactly(curve, sigma_min, sigma_max)


def cosine(steps: int, sigma_min: float, sigma_max: float) -> Schedule:
    """Evenly spaced in the angle φ = arctan σ, the continuous cosine schedule (arXiv:2202.00512, section 4).

    ComfyUI calls it "kl_optimal" (arXiv:2404.14507, theorem 3.1).
    """
    check_range(sigma_min, sigma_max)
    high, low = math.atan(sigma_max), math.atan(sigma_min)
    curve = [math.tan(high + u * (low - high)) for u in ramp(steps, sigma_min)]
    return ends_exactly(curve, sigma_min, sigma_max)


def beta_sigmas(steps: int, sigma_min: float, sigma_max: float, alpha: float = 0.6, beta: float = 0.6) -> Schedule:
    """Quantiles of the beta distribution over the range of σ: diffusers' reading of arXiv:2407.12173."""
    check_range(sigma_min, sigma_max)
    span = sigma_max - sigma_min
    curve = [sigma_min + span * beta_quantile(1 - u, alpha, beta) for u in ramp(steps, sigma_min)]
    return descending(ends_exactly(curve, sigma_min, sigma_max), "take fewer steps, or alpha and beta nearer 1")


def laplace(steps: int, sigma_min: float, sigma_max: float, mu: float = 0.0, beta: float = 0.5) -> Schedule:
    """Quantiles of a Laplace distribution of log σ, centre `mu`, width `beta` (Hang et al. 2024, arXiv:2407.03297).

    It keeps within the range and need not reach its ends. ComfyUI's ends above 0; this one is the same and then 0.
    """
    check_range(sigma_min, sigma_max, zero_allowed=False)
    curve = []
    for u in ramp(steps, sigma_min):
        side = (u < 0.5) - (u > 0.5)
        level = math.exp(mu - side * beta * math.log(1 - 2 * abs(0.5 - u) + 1e-5))
        curve.append(min(max(level, sigma_min), sigma_max))
    return descending([*curve, 0.0], "take fewer steps, a wider range of σ, a mu within it or a larger beta")


def linear_quadratic(steps: int, sigma_max: float, threshold: float = 0.025) -> Schedule:
    """Half of the steps evenly down by the share `threshold` of σ_max, then quadratically to 0: Mochi's curve.

    As in genmo's own sampler, github.com/genmoai/mochi; for flow models.
    """
    check_steps(steps)
    check_range(0.0, sigma_max)
    if steps == 1:
        return [sigma_max, 0.0]
    slow = steps // 2
    rest = 1 - threshold * steps / slow
    gone = [threshold * i / slow + rest * (max(0, i - slow) / (steps - slow)) ** 2 for i in range(steps)]
    return [*(sigma_max * (1 - share) for share in gone), 0.0]


def vp(steps: int, beta_d: float = 19.9, beta_min: float = 0.1, eps: float = 1e-3) -> Schedule:
    """The continuous variance-preserving schedule, t from 1 to `eps` (Song et al. 2021, arXiv:2011.13456)."""
    times = [1 + u * (eps - 1) for u in ramp(steps, eps)]
    return [*(math.sqrt(math.expm1(beta_d * t**2 / 2 + beta_min * t)) for t in times), 0.0]

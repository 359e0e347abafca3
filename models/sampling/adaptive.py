"""DPM-Solver with steps that it chooses itself, from the data: no table, hence no Plan."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .solvers.dpm_solver import dpm_solver_12, dpm_solver_23

SLOWEST = 0.81
"""A step whose successor would be shorter than this share of it is made again."""


@torch.no_grad()
def dpm_adaptive(
    D: Callable[[Tensor, float], Tensor],
    x: Tensor,
    sigma_max: float,
    sigma_min: float,
    *,
    order: int = 3,
    rtol: float = 0.05,
    atol: float = 0.0078,
    h: float = 0.05,
    limit: int = 1000,
) -> Tensor:
    """The state at `sigma_min` > 0 of the ODE from state `x` [B, ...] at `sigma_max`, by D(x, sigma) -> x0.

    DPM-Solver-12 or, of order 3, -23 (Lu et al. 2022, arXiv:2206.00927, appendix C), in VE and in flow space. Steps are
    as long as keeps the difference of the two, over the larger of `atol` and `rtol` times the state, at one on the
    average of the batch; `h` is the first, in log σ. A step takes `order` evaluations; so does one made again. The
    defaults are k-diffusion's.

    Raises ValueError for an order, σ's and tolerances that cannot be, and ArithmeticError where `limit` evaluations
    do not suffice or D returns NaN or infinity.
    """
    if order not in (2, 3):
        raise ValueError(f"order should be 2 or 3, and is {order}")
    if not (0 < sigma_min < sigma_max < math.inf and h > 0 and min(rtol, atol) >= 0 and max(rtol, atol) > 0):
        raise ValueError(
            "dpm_adaptive wants 0 < sigma_min < sigma_max, h above 0 and a tolerance above 0, and has "
            f"sigma_min {sigma_min:g}, sigma_max {sigma_max:g}, h {h:g}, rtol {rtol:g}, atol {atol:g}"
        )
    pair, s, previous, asked = (dpm_solver_12 if order == 2 else dpm_solver_23), sigma_max, x, 0
    while math.log(s / sigma_min) > 1e-5:
        if asked + order > limit:
            raise ArithmeticError(f"at σ = {s:.4g} after {asked} evaluations: raise rtol, or limit")
        t = max(sigma_min, s * math.exp(-h))
        coarse, fine = pair(D, x, s, t)
        asked += order
        change = _growth(coarse - fine, torch.maximum(coarse.abs(), previous.abs()) * rtol, atol, order)
        if not math.isfinite(change):
            raise ArithmeticError(f"the denoiser returned NaN or infinity between σ = {s:.4g} and {t:.4g}")
        if change >= SLOWEST:
            s, x, previous = t, fine, coarse
        h *= change
    return x


def _growth(difference: Tensor, allowed: Tensor, atol: float, order: int) -> float:
    """How much longer the next step should be, from about 0.2 to 2.6."""
    error = (difference / allowed.clamp_min(atol)).square().mean().sqrt().item()
    return 1 + math.atan((error + 1e-8) ** (-1 / order) - 1)

"""The density that a denoiser gives to states, by the probability-flow ODE and the change of variables along it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

EXACT_UP_TO = 64  # numbers of a state


class Density(NamedTuple):
    """log p [B] in nats, float64, and its standard error [B] by the probes; 0 where the divergence is exact."""

    log_p: Tensor
    error: Tensor


@torch.inference_mode(False)
def log_density(
    D: Callable[[Tensor, float], Tensor],
    x: Tensor,
    sigma_min: float,
    sigma_max: float,
    *,
    pure_noise: float | None = None,
    steps: int = 40,
    probes: int | None = None,
    seed: int = 0,
) -> Density:
    """The density of states x [B, ...] at σ_min, by D(x, sigma) -> x0, in either space.

    The ODE dx/d ln σ = x − x0 carries them up to σ_max, where they are normal of deviation `pure_noise` (σ_max if not
    given), and ln p changes by −div: the instantaneous change of variables (Chen et al. 2018, arXiv:1806.07366; for
    diffusion Song et al. 2021, arXiv:2011.13456, section 4.3). Walked in `steps` even steps of ln σ by the classical
    Runge-Kutta method: four calls of D each, an error that falls with steps⁴.
    The divergence takes a gradient a probe. Exact, one for each number of a state, where there are at most 64; else
    the mean of `probes` vectors of random signs (Hutchinson 1990), by default 2, of which at least 2 tell their error.
    """
    x, batch, count = x.clone(), x.shape[0], x[0].numel()
    exact = probes is None and count <= EXACT_UP_TO
    vectors = _axes(x) if exact else _signs(x, 2 if probes is None else probes, seed)

    def slope(x: Tensor, log_sigma: float) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            x0 = D(x, min(math.exp(log_sigma), sigma_max))
            traces = [_product(x0, x, vector) for vector in vectors()]
        traces = torch.stack(traces).double()
        return (x - x0).detach(), count - (traces.sum(0, keepdim=True) if exact else traces)

    low, high = math.log(sigma_min), math.log(sigma_max)
    h, gained = (high - low) / steps, torch.zeros(1, batch, dtype=torch.float64, device=x.device)
    for step in range(steps):
        s = low + h * step
        k1, d1 = slope(x, s)
        k2, d2 = slope(x + h / 2 * k1, s + h / 2)
        k3, d3 = slope(x + h / 2 * k2, s + h / 2)
        k4, d4 = slope(x + h * k3, s + h)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        gained = gained + h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
    log_p = log_normal(x, pure_noise or sigma_max) + gained
    error = log_p.std(0) / math.sqrt(len(log_p)) if len(log_p) > 1 else torch.full_like(log_p[0], math.nan)
    return Density(log_p.mean(0).cpu(), (torch.zeros_like(error) if exact else error).cpu())


def log_normal(x: Tensor, deviation: float) -> Tensor:
    """ln N(x; 0, deviation²) of each [B], float64."""
    flat = x.flatten(1).double()
    return -flat.square().sum(1) / (2 * deviation**2) - flat.shape[1] * math.log(math.sqrt(2 * math.pi) * deviation)


Vectors = Callable[[], Iterator[Tensor]]


def _axes(x: Tensor) -> Vectors:
    def each() -> Iterator[Tensor]:
        for index in range(x[0].numel()):
            vector = torch.zeros_like(x)
            vector.view(len(x), -1)[:, index] = 1
            yield vector

    return each


def _signs(x: Tensor, probes: int, seed: int) -> Vectors:
    """The same ones at each call: the ODE is then one of a smooth function."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [2 * torch.randint(2, x.shape, generator=generator).to(x) - 1 for _ in range(probes)]
    return lambda: iter(drawn)


def _product(x0: Tensor, x: Tensor, vector: Tensor) -> Tensor:
    """vᵀ (∂x0/∂x) v of each sample, [B]."""
    gradient = torch.autograd.grad(x0, x, vector, retain_graph=True)[0]
    return (gradient * vector).flatten(1).sum(1)

"""What the engine is measured against: Gaussian mixtures, the exact solution of their ODE, mutated plans."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from varifold.models.denoising.analytic import GaussianMixture
from varifold.models.denoising.space import FLOW, VE, Space
from varifold.models.sampling import solver
from varifold.models.sampling.plan import Plan, Row
from varifold.models.sampling.sample import run
from varifold.models.sampling.solver import SOLVERS

RANGE = {VE: (5.0, 0.2), FLOW: (0.9, 0.1)}
"""σ's to walk between where the ODE must be smooth: it is not at 0."""

NOISE_FREE = {name: {"eta": 0.0} for name, entry in SOLVERS.items() if "eta" in entry.knobs} | {
    "er_sde": {"variant": "reverse", "eta": 0.0},
    "tcd": {"gamma": 0.0},
}
"""The knobs that make a stochastic solver one of the ODE."""


def small_mixture(space: Space, count: int = 3, dims: int = 2, seed: int = 0) -> GaussianMixture:
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(count, dims, generator=generator, dtype=torch.float64)
    variances = 0.1 + 0.3 * torch.rand(count, generator=generator, dtype=torch.float64)
    log_weights = torch.randn(count, generator=generator, dtype=torch.float64)
    return GaussianMixture(means, variances, log_weights, space)


def states(mixture: GaussianMixture, sigma: float, count: int = 4, seed: int = 1) -> Tensor:
    """`count` states at noise level `sigma`, [count, *shape] in float64."""
    generator = torch.Generator().manual_seed(seed)
    x0 = mixture.draw(count, generator)
    return mixture.space.alpha(sigma) * x0 + sigma * torch.randn(x0.shape, generator=generator, dtype=x0.dtype)


def unit_noises(shape: Sequence[int], seed: int = 2, most: int = 200) -> Callable[[int], Tensor]:
    table = torch.randn(most, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return lambda index: table[index - 1]


def no_noise(index: int) -> Tensor:
    raise AssertionError(f"noise {index} was asked for")


def ode_solution(D: Callable, x: Tensor, sigma: float, end: float) -> Tensor:
    """The probability-flow ODE dx/dσ = (x − x0)/σ, solved in log σ far more exactly than by any solver here."""

    def slope(log_sigma: float, flat: np.ndarray) -> np.ndarray:
        state = torch.from_numpy(flat).view_as(x)
        return (state - D(state, math.exp(log_sigma))).numpy().ravel()

    span = (math.log(sigma), math.log(end))
    solution = solve_ivp(slope, span, x.numpy().ravel(), method="DOP853", rtol=1e-12, atol=1e-13)
    return torch.from_numpy(solution.y[:, -1].copy()).view_as(x)


def answering(plan: Plan, D: Callable) -> Callable:
    """D as `run` asks it: for CFG++ plans a pair, the same with the prompt and without."""
    return (lambda x, sigma: (D(x, sigma),) * 2) if plan.asks_for_negatives else D


def solve(name: str, D: Callable, x: Tensor, sigmas: Sequence[float], space: Space, **knobs) -> Tensor:
    plan = solver.plan(name, sigmas, space, **knobs)
    return run(plan, answering(plan, D), x, no_noise)


Curve = Callable[[float, float, float], float]
"""curve(u, high, low): the σ at position u in [0, 1] between high and low."""


def root(rho: float) -> Curve:
    """Even in σ^(1/ρ)."""
    return lambda u, high, low: (high ** (1 / rho) * (1 - u) + low ** (1 / rho) * u) ** rho


LINEAR, KARRAS = root(1.0), root(7.0)


def LOG(u: float, high: float, low: float) -> float:
    return high ** (1 - u) * low**u


def gentle(curve: Curve) -> Curve:
    """`curve` with steps at both ends that are as long as the square of the others.

    Multistep solvers start with lower orders, and UniPC ends with them: on such a grid that costs them nothing.
    """
    return lambda u, high, low: curve(u * u * (3 - 2 * u), high, low)


def rough(curve: Curve) -> Curve:
    """`curve` with steps alternately long and short, 2 : 1, however many they are."""

    def walk(u: float, high: float, low: float, steps: int) -> float:
        index = round(u * steps)
        return curve((index + index % 2 / 3) / steps, high, low)

    walk.wants_steps = True
    return walk


def grid(curve: Curve, steps: int, high: float, low: float) -> list[float]:
    count = {"steps": steps} if getattr(curve, "wants_steps", False) else {}
    inner = [curve(index / steps, high, low, **count) for index in range(1, steps)]
    return [high, *inner, low]


def rms(tensor: Tensor) -> float:
    return tensor.square().mean().sqrt().item()


def mutants(plan: Plan, change: float) -> Iterator[tuple[str, Plan]]:
    """The plan with one weight changed, for every weight in turn."""
    for index, row in enumerate(plan.rows):
        for place, (slot, weight) in enumerate(row.terms):
            terms = (*row.terms[:place], (slot, weight + change), *row.terms[place + 1 :])
            rows = (*plan.rows[:index], Row(row.sigma, row.step, terms), *plan.rows[index + 1 :])
            yield f"row {index}, {slot}", dataclasses.replace(plan, rows=rows)


def path_of(walk: Callable[[Callable], Tensor], D: Callable) -> Tensor:
    """All the states that `walk(D)` asks D about, and then its result: [evaluations + 1, ...]."""
    seen = []

    def watched(x: Tensor, sigma: float) -> Tensor:
        seen.append(x.clone())
        return D(x, sigma)

    last = walk(watched)
    return torch.stack([*seen, last])


def assert_same_path(
    plan: Plan,
    theirs: Callable[[Callable], Tensor],
    D: Callable,
    x: Tensor,
    noise: Callable,
    tolerance: float = 1e-6,
    change: float = 1e-4,
) -> None:
    """Every state of the plan's run is that of `theirs(D)`, and no weight could be wrong by `change` unnoticed."""
    expected = path_of(theirs, D)
    worst = (path_of(lambda D: run(plan, D, x, noise), D) - expected).abs().max().item()
    assert worst < tolerance, f"{plan.solver} deviates by {worst:.2g}"
    for place, mutant in mutants(plan, change):
        error = (path_of(lambda D, mutant=mutant: run(mutant, D, x, noise), D) - expected).abs().max().item()
        assert error > tolerance, f"{plan.solver}: nobody would notice a change in {place}"


class BrownianPath:
    """A Brownian path over σ: `path(high, low)` is its increment, scaled to unit variance.

    Between neighbouring `levels`, counted down from the highest, it makes the steps noise(1), noise(2), ...
    """

    def __init__(self, levels: Sequence[float], noise: Callable[[int], Tensor]):
        self.levels = sorted(set(levels), reverse=True)
        self.noise = noise

    def __call__(self, high: float, low: float) -> Tensor:
        first, last = (min(range(len(self.levels)), key=lambda i: abs(self.levels[i] - s)) for s in (high, low))
        lengths = [self.levels[i] - self.levels[i + 1] for i in range(first, last)]
        steps = [math.sqrt(length) * self.noise(i + 1) for i, length in zip(range(first, last), lengths, strict=True)]
        return torch.stack(steps).sum(0) / math.sqrt(sum(lengths))

    @classmethod
    def of(cls, plan: Plan, noise: Callable[[int], Tensor]) -> BrownianPath:
        return cls([row.sigma for row in plan.rows if row.sigma > 0], noise)

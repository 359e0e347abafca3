"""Fits beside the best of all other solvers: `python tests/bench/fit.py [--embedded]`.

On a mixture of 60 Gaussians in 192 dimensions, in VE, in flow, and guided with cfg over two mixtures; with --embedded
on the embedded denoiser guided by 1.5 instead. Every deterministic solver takes, at each number of evaluations, the
schedule that is best for it on the starts that the fit learns from, by median or by root mean square; then all are
measured on other starts, and other prompts, against a fine Heun in float64. A row has the best of these peers, our
fits, and the better one's error as a share of the best peer's.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))

from mixture import OURS, problem

from varifold.models import load_denoiser
from varifold.models.denoising.analytic import GaussianMixture
from varifold.models.denoising.denoiser import Denoiser
from varifold.models.denoising.guidance import guided
from varifold.models.denoising.space import FLOW, VE, Space
from varifold.models.sampling import fit, schedule
from varifold.models.sampling.fit import Figures, Starts
from varifold.models.sampling.plan import Plan
from varifold.models.sampling.solver import plan as make_plan

FITTED = ("dpmpp_2m", "ipndm")
EVALUATIONS = (5, 6, 8, 10, 15, 20)
Curves = dict[str, Callable[[int], list[float]]]


class Measured(NamedTuple):
    """Starts, and where a fine run leads from them."""

    starts: Starts
    reference: Tensor

    def figures(self, plan: Plan) -> Figures:
        return Figures.of(self.starts.walk(plan), self.reference)


@dataclass(frozen=True)
class Problem:
    """What to learn from, what to validate the fit on, what schedules are chosen by, and what all is measured on."""

    name: str
    space: Space
    start: Callable[[int], list[float]]
    train: Starts
    unseen: Starts
    choose: Measured
    test: Measured
    curves: Curves


def measured(starts: Starts, exact: Starts, space: Space, sigma_max: float, steps: int) -> Measured:
    levels = schedule.karras(steps, 0.002, sigma_max, 7.0 if space is VE else 2.0)
    return Measured(starts, exact.walk(make_plan("heun", levels, space)))


def in_ve(rhos: Sequence[float] = (5, 7, 9, 12), lows: Sequence[float] = (0.002, 0.01, 0.03)) -> Curves:
    curves = {
        f"karras {rho} from {low}": partial(schedule.karras, sigma_min=low, sigma_max=80.0, rho=rho)
        for rho, low in product(rhos, lows)
    }
    curves |= {f"exponential from {low}": partial(schedule.exponential, sigma_min=low, sigma_max=80.0) for low in lows}
    published = {"align_your_steps": partial(schedule.align_your_steps, family="svd"), "gits": schedule.gits}
    return curves | {name: partial(stretched, levels, 0.002, 80.0) for name, levels in published.items()}


def in_flow() -> Curves:
    shifts, rhos = (1, 1.5, 2, 3, 5), (2, 3, 5, 7)
    curves = {f"linear shifted by {shift}": partial(shifted, shift) for shift in shifts}
    curves |= {f"karras {rho}": partial(schedule.karras, sigma_min=0.01, sigma_max=1.0, rho=rho) for rho in rhos}
    curves |= {"beta_sigmas": partial(schedule.beta_sigmas, sigma_min=0.002, sigma_max=1.0)}
    curves |= {"linear_quadratic": partial(schedule.linear_quadratic, sigma_max=1.0)}
    return curves | {"optimal_steps": lambda steps: [1.0, *schedule.optimal_steps(steps)[1:]]}


def shifted(shift: float, steps: int) -> list[float]:
    return [shift * sigma / (1 + (shift - 1) * sigma) for sigma in schedule.linear(steps, 0.0, 1.0)]


def stretched(levels: Callable[[int], list[float]], low: float, high: float, steps: int) -> list[float]:
    """A published schedule of another σ range, laid over this one in log σ."""
    first, *between, last = levels(steps)[:-1]
    share = math.log(high / low) / math.log(first / last)
    return [high, *(low * (sigma / last) ** share for sigma in between), low, 0.0]


class Fast(GaussianMixture):
    """The same by matrix products, fifty times as fast for hundreds of starts; to 1e-14 in float64."""

    def __call__(self, x: Tensor, sigma: float, cond: None = None) -> Tensor:
        alpha, means = self.space.alpha(sigma), self.means
        spread = alpha**2 * self.variances + sigma**2
        apart = x.square().sum(1, keepdim=True) - 2 * alpha * x @ means.T + alpha**2 * means.square().sum(1)
        posterior = (self.log_weights - x.shape[1] / 2 * spread.log() - apart / (2 * spread)).softmax(1)
        gain = posterior * (alpha * self.variances / spread)
        return (posterior - alpha * gain) @ means + gain.sum(1, keepdim=True) * x


def on_mixture(space: Space, guidance: float = 1.0) -> Problem:
    """Guidance pulls from the whole mixture to the first eight of its Gaussians."""
    parts = problem()[0]
    whole = Fast(parts.means, parts.variances, parts.log_weights, space)
    some = Fast(parts.means[:8], parts.variances[:8], parts.log_weights[:8], space)
    noise = torch.randn(128 + 256, 192, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def D(x: Tensor, sigma: float) -> Tensor:
        negative = whole(x, sigma)
        return negative if guidance == 1 else torch.lerp(negative, some(x, sigma), guidance)

    def starts(first: int, last: int) -> Starts:
        return Starts(whole.sigma_max * noise[first:last], lambda levels: D)

    choose, test = starts(0, 128), starts(128, 384)
    return Problem(
        f"mixture, {space.name}" + (f", cfg {guidance:g}" if guidance != 1 else ""),
        space,
        partial(fit.usual_start, whole),
        starts(0, 96),
        starts(96, 128),
        measured(choose, choose, space, whole.sigma_max, 1000),
        measured(test, test, space, whole.sigma_max, 1000),
        in_ve() if space is VE else in_flow(),
    )


def on_embedded(guidance: float = 1.5) -> Problem:
    """32 starts with random prompts to fit by, of which 8 choose the schedules; 24 with others to measure on."""
    denoiser, exact = load_denoiser(), load_denoiser(dtype=torch.float64)
    prompts = denoiser.vocabulary.random_prompts(32 + 24, 0)
    noise = torch.randn(32 + 24, *denoiser.shape, generator=torch.Generator().manual_seed(1))

    def starts(denoiser: Denoiser, first: int, last: int) -> Starts:
        x = (denoiser.sigma_max * noise[first:last]).to(denoiser.dtype)
        cond = denoiser.join([denoiser.prompt(text) for text in prompts[first:last]], 1)
        return Starts(x, lambda levels: guided(denoiser, levels, x.shape, positive=cond, scale=guidance))

    def both(first: int, last: int) -> Measured:
        return measured(starts(denoiser, first, last), starts(exact, first, last), VE, denoiser.sigma_max, 100)

    train, unseen = starts(denoiser, 0, 24), starts(denoiser, 24, 32)
    curves = in_ve(rhos=(7, 12), lows=(0.002, 0.03))
    name, start = f"embedded denoiser, guidance {guidance:g}", partial(fit.usual_start, denoiser)
    return Problem(name, VE, start, train, unseen, both(16, 24), both(32, 56), curves)


class Peer(NamedTuple):
    solver: str
    curve: str
    figures: Figures


def peers(problem: Problem, evaluations: int) -> tuple[Peer, Peer]:
    """The best of all solvers by median and by root mean square, each at the schedule that was chosen by that."""
    found = {"median": [], "rms": []}
    for solver in OURS:
        plans = {curve: plan_of(solver, levels, evaluations, problem.space) for curve, levels in problem.curves.items()}
        chosen = {curve: problem.choose.figures(plan) for curve, plan in plans.items() if plan is not None}
        for by, best in found.items():
            curve = min(chosen, key=lambda curve: finite(getattr(chosen[curve], by)))
            best.append(Peer(solver, curve, problem.test.figures(plans[curve])))
    return tuple(min(best, key=lambda peer: finite(getattr(peer.figures, by))) for by, best in found.items())


def plan_of(solver: str, levels: Callable[[int], list[float]], evaluations: int, space: Space) -> Plan | None:
    """The longest plan of so many evaluations at most."""
    plans = (make_plan(solver, levels(steps), space) for steps in range(evaluations, 1, -1))
    return next((plan for plan in plans if plan.evaluations <= evaluations), None)


def finite(error: float) -> float:
    return error if math.isfinite(error) else math.inf


def show(problem: Problem, evaluations: Sequence[int]) -> None:
    print(f"\n{problem.name}: median / root mean square\n", flush=True)
    names = "".join(f"{f'fit of {solver}':>20}" for solver in FITTED)
    print(f"{'':4}{'best peer by median':>54}{'best peer by rms':>54}{names}{'of the peers':>16}")
    for count in evaluations:
        by_median, by_rms = peers(problem, count)
        fits = [
            problem.test.figures(
                fit.fit(problem.train, problem.unseen, problem.start(count), solver, problem.space).plan
            )
            for solver in FITTED
        ]
        best = min(fits, key=lambda figures: figures.median)
        shares = f"{best.median / by_median.figures.median:.2f} / {best.rms / by_rms.figures.rms:.2f}"
        row = "".join(f"{f'{p.solver}, {p.curve} {told(p.figures)}':>54}" for p in (by_median, by_rms))
        print(f"{count:4}{row}" + "".join(f"{told(figures):>20}" for figures in fits) + f"{shares:>16}", flush=True)


def told(figures: Figures) -> str:
    return f"{figures.median:.4f} / {figures.rms:.4f}"


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--embedded", action="store_true", help="the embedded denoiser; takes over an hour")
    embedded = parser.parse_args().embedded
    torch.set_num_threads(1)
    began = time.perf_counter()
    if embedded:
        show(on_embedded(), EVALUATIONS)
    else:
        for space, guidance in ((VE, 1.0), (FLOW, 1.0), (VE, 2.0)):
            show(on_mixture(space, guidance), EVALUATIONS)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()

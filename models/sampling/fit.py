"""A schedule and a table of weights fitted to one denoiser, so that few evaluations draw what a fine run would.

A fine run, the teacher, is walked once from many starts. Of its noise levels those are chosen whose steps stray least from
it, by dynamic programming (as GITS does: Chen et al. 2024, arXiv:2405.11326). Then each row's weights are fitted, in the
order of the run, so that the student's next state is closest to the teacher's. What was fitted counts only if it wins on
starts and prompts that it has not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..denoising.guidance import guided
from ..denoising.space import FLOW, Space
from . import schedule as curves
from .noise import Noise
from .plan import START, Plan, Row, Slot
from .sample import run
from .solver import SOLVERS
from .solver import plan as make_plan

TEACHER_STEPS = 60
TEACHER = "dpmpp_2m"
MEMORY = 3  # outputs that a fitted row looks at
RIDGE = 1e-3  # how strongly the solver's own weights are held to, by the size of what they weigh
ROUNDS = 8  # of reweighting; each makes outliers count less
MOST_ELEMENTS = 4096  # of a state that errors are measured on
SPREAD_THAT_SHOWS = 0.01  # a typical error of so much of the pictures' spread is called invisible

Ask = Callable[[Sequence[float]], Callable[[Tensor, float], Tensor]]
"""ask(levels) -> D(x, sigma) -> x0: for a run over these levels, from all starts at once."""


@dataclass(frozen=True)
class Starts:
    """Where trajectories start, x [K, C, H, W] at the first level, and the denoiser that knows the prompt of each."""

    x: Tensor
    ask: Ask

    def walk(self, plan: Plan, recorder: Any = None) -> Tensor:
        """The results of a plan without noise."""
        return run(plan, self.ask([row.sigma for row in plan.rows[:-1]]), self.x, _no_noise, recorder=recorder)


@dataclass(frozen=True)
class Figures:
    """Errors against the teacher, root mean square over the elements of each picture: the median, and over all."""

    median: float
    rms: float

    def beats(self, other: Figures) -> bool:
        """Whether it is nearer in the median, and no farther over all."""
        return self.median < other.median and self.rms <= other.rms


@dataclass(frozen=True)
class Fit:
    """What came of a fit: the plan to use, and figures of unseen starts by what was tried, the plan used first.

    `curve` has the median error of fits of other numbers of steps, and `spread` the deviation of the pictures.
    """

    plan: Plan
    figures: dict[str, Figures]
    curve: dict[int, float]
    spread: float

    @property
    def enough(self) -> int | None:
        """The fewest steps whose error does not show, as far as was measured."""
        return next((n for n, error in sorted(self.curve.items()) if error < SPREAD_THAT_SHOWS * self.spread), None)


def fit(
    train: Starts,
    unseen: Starts,
    start: Sequence[float],
    solver: str,
    space: Space,
    *,
    curve: Sequence[int] = (),
) -> Fit:
    """Fit `solver` to a denoiser, to walk as many steps as the schedule `start` and from its first σ.

    `start` is what has to be beaten, on `unseen` starts. `curve` lists other numbers of steps to measure. Asks for
    60 outputs of all starts, and for as many more as the plans that are tried have. Raises ValueError for a solver that
    adds noise or follows two answers at once.
    """
    chosen = SOLVERS.get(solver)
    if chosen is None or chosen.stochastic or chosen.asks_for_negatives:
        raise ValueError(f"{solver} cannot be fitted: take a solver without noise and without CFG++, such as dpmpp_2m")
    start = [_single(sigma) for sigma in start]
    space.check(start)
    if not 2 <= len(start) - 1 <= TEACHER_STEPS // 2 or start[-1] != 0:
        raise ValueError(f"a fit walks 2 to {TEACHER_STEPS // 2} steps, down to σ 0")
    teacher = Teacher.walk(train, _teacher_levels(start, space), space)
    reference = unseen.walk(make_plan(TEACHER, teacher.levels, space))
    paths = teacher.paths(max(len(start) - 1, *curve, 1))

    def fitted(steps: int) -> tuple[Plan, Plan]:
        levels = [teacher.levels[index] for index in paths[steps]]
        own = make_plan(solver, levels, space)
        return own, own if chosen.evaluations > 1 else _fit_rows(own, train, teacher, paths[steps])

    own, table = fitted(len(start) - 1)
    plans = {"fitted table": table, "fitted schedule": own, "start": make_plan(solver, start, space)}
    figures = {name: _figures(unseen.walk(plan), reference) for name, plan in plans.items()}
    best = next(
        (name for name in ("fitted table", "fitted schedule") if figures[name].beats(figures["start"])), "start"
    )
    figures = {best: figures[best], **figures}
    errors = {len(start) - 1: figures[best].median}
    errors |= {n: _figures(unseen.walk(fitted(n)[1]), reference).median for n in curve if n not in errors}
    return Fit(plans[best], figures, dict(sorted(errors.items())), reference.std().item())


def schedule(
    denoiser: Any, steps: int, *, solver: str = "dpmpp_2m", cond: Any = None, guidance: float = 1.0, seed: int = 0
) -> list[float]:
    """The σ's of a fit of one of our denoisers for one condition, N+1 floats that end in 0; see `fit`."""
    return list(plan(denoiser, steps, solver=solver, conds=[cond], guidance=guidance, seed=seed).plan.sigmas)


def plan(
    denoiser: Any,
    steps: int,
    *,
    solver: str = "dpmpp_2m",
    conds: Sequence[Any] = (None,),
    negative: Any = None,
    guidance: float = 1.0,
    trajectories: int = 32,
    seed: int = 0,
    curve: Sequence[int] = (),
    wrap: Callable = lambda D: D,
) -> Fit:
    """A fit of one of our denoisers, a quarter of its `trajectories` unseen; `wrap(D)` hears of each evaluation.

    Trajectory k starts from noise stream (seed, k) and has condition k of `conds`, counted round; each is a dict of
    tensors for one sample, or None. Where there are several, the last quarter of them is unseen as well.
    """
    unseen = max(1, trajectories // 4)
    seen = max(1, trajectories - unseen)
    held = conds[-max(1, len(conds) // 4) :] if len(conds) > 1 else conds
    taught = conds[: -len(held)] if len(conds) > 1 else conds
    start = usual_start(denoiser, steps)

    def starts(count: int, first: int, conds: Sequence[Any]) -> Starts:
        x = Noise(seed, range(first, first + count), denoiser.shape, denoiser.device)(0) * start[0]
        each = [conds[index % len(conds)] for index in range(count)]
        positive = None if all(cond is None for cond in each) else denoiser.join(each, 1)

        def ask(levels: Sequence[float]) -> Callable[[Tensor, float], Tensor]:
            return wrap(guided(denoiser, levels, x.shape, positive=positive, negative=negative, scale=guidance))

        return Starts(x, ask)

    return fit(starts(seen, 0, taught), starts(unseen, seen, held), start, solver, denoiser.space, curve=curve)


def usual_start(denoiser: Any, steps: int) -> list[float]:
    """The schedule that one would take without a fit: Karras' in VE, even steps in flow."""
    if denoiser.space is FLOW:
        return curves.linear(steps, 0.0, denoiser.sigma_max)
    return curves.karras(steps, denoiser.sigma_min, denoiser.sigma_max)


def _teacher_levels(start: Sequence[float], space: Space) -> list[float]:
    lowest = min(start[-2], 0.002) if len(start) > 2 else 0.002
    levels = curves.karras(TEACHER_STEPS, lowest, start[0], rho=2.0 if space is FLOW else 7.0)
    return [_single(sigma) for sigma in levels]


@dataclass(frozen=True)
class Teacher:
    """A fine run: states [N+1, K, E] and outputs [N, K, E] at its `levels`, of some elements of each state."""

    levels: list[float]
    states: Tensor
    outputs: Tensor
    elements: Tensor

    @classmethod
    def walk(cls, starts: Starts, levels: list[float], space: Space) -> Teacher:
        count = starts.x[0].numel()
        elements = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:MOST_ELEMENTS]
        elements = elements.to(starts.x.device)
        states, outputs = [], []
        D = starts.ask(levels[:-1])

        def watched(x: Tensor, sigma: float) -> Tensor:
            x0 = D(x, sigma)
            states.append(x.flatten(1)[:, elements])
            outputs.append(x0.flatten(1)[:, elements])
            return x0

        last = run(make_plan(TEACHER, levels, space), watched, starts.x, _no_noise)
        states.append(last.flatten(1)[:, elements])
        return cls(levels, torch.stack(states), torch.stack(outputs), elements)

    def paths(self, most: int) -> dict[int, list[int]]:
        """Number of steps -> the levels to step on, first and last included, for which Euler steps stray least in sum."""
        last = len(self.levels) - 1
        strays = np.full((last + 1, last + 1), np.inf)
        for i in range(last):
            keep = torch.tensor(self.levels[i + 1 :], device=self.states.device)[:, None, None] / self.levels[i]
            reached = keep * self.states[i] + (1 - keep) * self.outputs[i]
            apart = (reached - self.states[i + 1 :]).square().mean(2).sqrt()
            strays[i, i + 1 :] = apart.mean(1).double().cpu().numpy()
        cost, before = np.full(last + 1, np.inf), []
        cost[0] = 0.0
        paths = {}
        for steps in range(1, min(most, last) + 1):
            through = cost[:, None] + strays
            before.append(through.argmin(0))
            cost = through.min(0)
            path = [last]
            for origins in reversed(before):
                path.append(int(origins[path[-1]]))
            paths[steps] = path[::-1]
        return paths


def _fit_rows(plan: Plan, train: Starts, teacher: Teacher, path: list[int]) -> Plan:
    """The plan with weights fitted row by row, along the run that they make."""
    D = train.ask(plan.sigmas[:-1])
    state, slots, rows = train.x * 1.0, {START: train.x}, [plan.rows[0]]
    for index, row in enumerate(plan.rows[1:]):
        slots[Slot("x", index)], slots[Slot("d", index)] = state, D(state, plan.sigmas[index])
        state = sum(weight * slots[slot] for slot, weight in row.terms)
        # Differences only: what never changes its mind is still drawn as it is.
        changes = [((Slot("d", index), 1.0), (Slot("x", index), -1.0))]
        changes += [
            ((Slot("d", past), 1.0), (Slot("d", index), -1.0)) for past in range(max(0, index - MEMORY + 1), index)
        ]
        basis = [sum(weight * slots[slot] for slot, weight in change) for change in changes]
        short = [part.flatten(1)[:, teacher.elements] for part in (*basis, state)]
        shares = _robust_fit(torch.stack(short[:-1]), teacher.states[path[index + 1]] - short[-1])
        state = state + sum(share * part for share, part in zip(shares, basis, strict=True))
        terms = dict(row.terms)
        for share, change in zip(shares, changes, strict=True):
            for slot, weight in change:
                terms[slot] = terms.get(slot, 0.0) + share * weight
        rows.append(Row(row.sigma, row.step, tuple(terms.items())))
    return replace(plan, solver=f"{plan.solver}, fitted", rows=tuple(rows))


def _robust_fit(basis: Tensor, target: Tensor) -> list[float]:
    """Shares [J] of basis [J, K, E] that bring each trajectory near target [K, E], far ones counting less.

    Least squares reweighted by 1 over each trajectory's distance: their sum is what is made small, not that of their
    squares, which a few that end elsewhere would decide.
    """
    basis, target = basis.double(), target.double()
    gram = torch.einsum("ike,jke->kij", basis, basis).cpu()
    aim = torch.einsum("ike,ke->ki", basis, target).cpu()
    size = target.square().sum(1).cpu()
    weights = torch.ones_like(size)
    for _ in range(ROUNDS):
        normal = torch.einsum("k,kij->ij", weights, gram)
        normal = normal + torch.diag(RIDGE * normal.diagonal() + 1e-30)
        shares = torch.linalg.solve(normal, weights @ aim)
        left = size - 2 * aim @ shares + torch.einsum("kij,i,j->k", gram, shares, shares)
        distance = left.clamp_min(0).sqrt()
        weights = 1 / (distance + 0.1 * distance.median() + 1e-30)
    return shares.tolist()


def _figures(drawn: Tensor, reference: Tensor) -> Figures:
    squares = (drawn - reference).flatten(1).square().mean(1)
    return Figures(squares.sqrt().median().item(), squares.mean().sqrt().item())


def _single(sigma: float) -> float:
    """As SIGMAS carry it."""
    return float(np.float32(sigma))


def _no_noise(index: int) -> Tensor:
    raise AssertionError("a fitted plan draws no noise")
